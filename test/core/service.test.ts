import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { listBackups, readBackup, readLog, readRestore } from "../../core/catalog.ts";
import { listFolder, readObject } from "../../core/contents.ts";
import { deleteBackup } from "../../core/delete.ts";
import { deliver } from "../../core/delivery.ts";
import { LifeboatError } from "../../core/errors.ts";
import { openSigner } from "../../core/integrity/keys.ts";
import { signedBy } from "../../core/integrity/seal.ts";
import { lastVerification } from "../../core/integrity/verified.ts";
import { backupKeys, runKeys } from "../../core/layout.ts";
import { cancelWork, lockState } from "../../core/lock.ts";
import type { Bucket, Platform } from "../../core/ports.ts";
import { abandonJob, readRun, submitJob } from "../../core/requests.ts";
import type { RetentionDocument } from "../../core/retention/document.ts";
import { dueSlot, dueSlots } from "../../core/schedule/due.ts";
import { setPaused } from "../../core/schedule/pause.ts";
import { scheduledName } from "../../core/schedule/slots.ts";
import { createService, readClockKinds } from "../../core/service.ts";
import type { JobFailed } from "../../core/verdict.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";
import { DAY_MS, putBackup } from "./retention-sample.ts";

/** Of a lock that is not to lapse, however slow the machine is, and of one that is. */
const TIMING = { renew: 300, valid: 30_000, poll: 50 };
const SHORT = { ...TIMING, valid: 1_500 };
const SLOT = "2026-11-23T02:00:00Z";
const SCHEDULED = { kind: "backup", schedule: "hourly", slot: SLOT };

let dir: string;
let source: ApiServer;
let target: ApiServer;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "lifeboat-service-"));
  source = await startApiServer({ objects: shop() });
  target = await startApiServer({});
  await writeFile(join(dir, "a.yaml"), source.kubeconfig);
  await writeFile(join(dir, "b.yaml"), target.kubeconfig);
  await writeFile(join(dir, "broken.yaml"), "password: hunter2-hunter2");
});
after(async () => {
  await source?.stop();
  await target?.stop();
  await rm(dir, { recursive: true, force: true });
});

let locations = 0;

/** A service with two clusters and an hourly schedule, and the bucket it writes to. */
function service(change: Record<string, string> = {}, timing = TIMING) {
  const bucket = directoryBucket(join(dir, `location-${++locations}`));
  const jobs: unknown[] = [];
  const lines: string[] = [];
  const platform: Platform = {
    buckets: { "file:": async () => bucket },
    secrets: {},
    clusters: {},
    jobs: async () => ({ enqueue: async (job) => void jobs.push(job) }),
  };
  const env = {
    LIFEBOAT_LOCATION: "file:///anywhere",
    LIFEBOAT_CLUSTERS_A_KUBECONFIG: `file:${join(dir, "a.yaml")}`,
    LIFEBOAT_CLUSTERS_B_KUBECONFIG: `file:${join(dir, "b.yaml")}`,
    LIFEBOAT_SCHEDULES_HOURLY_SCHEDULE: "0 */1 * * *",
    LIFEBOAT_SCHEDULES_HOURLY_CLUSTER: "a",
    LIFEBOAT_SCHEDULES_HOURLY_TEMPLATE_TTL: "720h",
    ...change,
  };
  const made = createService(platform, { env, timing, listen: (line) => lines.push(line) });
  return { ...made, bucket, jobs, lines };
}

const failure = async (run: Promise<unknown>): Promise<JobFailed> => {
  try {
    await run;
  } catch (error) {
    return error as JobFailed;
  }
  return assert.fail("it did not fail");
};
const kindOf = (error: JobFailed) => (error.cause as LifeboatError | undefined)?.kind;

/** A way to a server that takes so many milliseconds more. */
async function slowly({ url }: ApiServer, ms: number): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer(async (request, response) => {
    await sleep(ms);
    const headers = request.headers as Record<string, string>;
    const answer = await fetch(new URL(request.url ?? "", url), { method: request.method, headers });
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" });
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

describe("a scheduled backup", () => {
  test("is named by its slot, carries the schedule's label and follows its template", async () => {
    const { run, bucket } = service();
    const { name, phase, duplicate } = await run(SCHEDULED);
    assert.deepEqual([name, phase, duplicate], ["hourly-20261123020000", "Completed", false]);
    const { metadata, spec } = await readBackup(bucket, "hourly-20261123020000");
    assert.equal(metadata.labels?.["velero.io/schedule-name"], "hourly");
    assert.equal(spec?.ttl, "720h");
  });

  test("tells at its end, in a line that alarms can look for, how it ended", async () => {
    const { run, lines } = service();
    await run(SCHEDULED);
    assert.match(
      lines.at(-1) ?? "",
      / level=info msg="job ended" job=backup schedule=hourly phase=Completed name=hourly-20261123020000$/,
    );
  });

  test("without a slot takes the schedule's last one", async () => {
    const { run } = service();
    const before = new Date();
    const { name = "" } = await run({ kind: "backup", schedule: "hourly" });
    const hour = (date: Date) => `hourly-${date.toISOString().slice(0, 13).replace(/\D/g, "")}0000`;
    assert([hour(before), hour(new Date())].includes(name), name);
  });

  test("whose slot lies ahead, as of a trigger forced by hand, is that of the last one", async () => {
    const { run } = service();
    const { name = "" } = await run({ ...SCHEDULED, slot: new Date(Date.now() + 3_600_000).toISOString() });
    assert(name < `hourly-${new Date(Date.now() + 1000).toISOString().replace(/\D/g, "")}`);
  });

  test("triggered 20 times at once is made once, and all 20 end well", async () => {
    const { run, bucket } = service();
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => run(SCHEDULED)));
    assert.equal(outcomes.filter(({ duplicate }) => !duplicate).length, 1);
    assert.deepEqual(
      (await listBackups(bucket)).map(({ name }) => name),
      ["hourly-20261123020000"],
    );
    assert.deepEqual([...(await listFolder(bucket, "metadata/lifeboat/runs/")).keys()], []);
  });

  test("is not made while the schedule is paused, unless somebody names it", async () => {
    const { run, bucket } = service();
    await setPaused(bucket, { name: "hourly", paused: false }, true);
    assert.match((await run(SCHEDULED)).skipped ?? "", /paused/);
    assert.deepEqual(await listBackups(bucket), []);
    assert.equal((await run({ kind: "backup", schedule: "hourly", name: "now" })).phase, "Completed");
  });

  test("is taken over from a run that died", async () => {
    const { run, bucket } = service({}, SHORT);
    const folder = "metadata/lifeboat/locks/backups/hourly-20261123020000/";
    await bucket.put(`${folder}000001.json`, Buffer.from('{"run":"dead","state":"held"}'));
    const began = performance.now();
    assert.equal((await run(SCHEDULED)).duplicate, false);
    assert(performance.now() - began > SHORT.valid - 200);
  });
});

describe("retention", () => {
  const RULES = { LIFEBOAT_SCHEDULES_HOURLY_RETENTION_KEEP_LAST: "1" };
  const ago = (days: number) => new Date(Date.now() - days * DAY_MS);

  test("keeps what the rules of the schedule say, and ends in a few bytes", async () => {
    const { run, bucket, lines } = service(RULES);
    for (const days of [3, 2])
      await putBackup(bucket, { name: `hourly-${days}`, start: ago(days), schedule: "hourly" });
    const { name } = await run(SCHEDULED);
    assert.equal((await readBackup(bucket, name!)).status?.expiration, undefined);
    const ended = { kind: "retention", name: "all", phase: "Completed", duplicate: false };
    assert.deepEqual(await run({ kind: "retention" }), ended);
    assert.deepEqual(
      (await listBackups(bucket)).map((row) => row.name),
      [name],
    );
    assert.equal(lines.filter((line) => line.includes("Deleted backup hourly-")).length, 2);
    assert.deepEqual(await run({ kind: "retention", schedule: "hourly" }), { ...ended, name: "hourly" });
  });

  test("that could not delete everything is a failure for the platform, which no repetition helps", async () => {
    const { run, bucket } = service(RULES);
    for (const days of [3, 2])
      await putBackup(bucket, { name: `hourly-${days}`, start: ago(days), schedule: "hourly" });
    bucket.delete = (key) => Promise.reject(new LifeboatError("denied", `can't delete ${key}: AccessDenied`));
    const { name, message } = await failure(run({ kind: "retention" }));
    assert.equal(name, "JobFailedForGood");
    assert.match(message, /^retention all is PartiallyFailed: 1 errors, the first: backup hourly-3: .*AccessDenied$/);
    assert.equal((await listBackups(bucket)).length, 2);
  });

  for (const [what, job] of [
    ["another schedule", { kind: "retention", schedule: "hurly" }],
    ["a field that it has not", { kind: "retention", cluster: "a" }],
  ] as const) {
    test(`is refused for ${what}`, async () => {
      assert.equal(kindOf(await failure(service().run(job))), "invalid");
    });
  }
});

describe("a restore", () => {
  test("takes the newest backup that a schedule completed, and records who asked", async () => {
    const { run, bucket } = service();
    await run({ ...SCHEDULED, slot: "2026-11-22T02:00:00Z" });
    await run(SCHEDULED);
    const job = { kind: "restore", cluster: "b", name: "r", caller: "alice", spec: { scheduleName: "hourly" } };
    const { phase } = await run(job);
    assert.equal(phase, "Completed");
    const record = await readRestore(bucket, "r");
    assert.equal(record.spec.backupName, "hourly-20261123020000");
    assert.equal(record.metadata.annotations?.["lifeboat/caller"], "alice");
    assert.equal((await run(job)).duplicate, true);
  });

  test("that somebody calls off ends well, and leaves its log", async () => {
    const { run, bucket } = service({ LIFEBOAT_CLUSTERS_B_KUBECONFIG: `file:${join(dir, "silent.yaml")}` });
    await run({ kind: "backup", schedule: "hourly", name: "b" });
    const scope = { bucket, kind: "restores", name: "r" } as const;
    await writeFile(join(dir, "silent.yaml"), target.kubeconfig.replace(target.url, await silentServer()));
    const job = { kind: "restore", cluster: "b", name: "r", spec: { backupName: "b" } };
    const running = run(job);
    while ((await lockState(scope)).state !== "held") await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(await cancelWork(scope, "bob"), "asked");
    assert.match((await running).skipped ?? "", /cancelled by bob/);
    assert.match(await readLog(bucket, "restores", "r"), /cancelled by bob/);
    assert.equal((await lockState(scope)).state, "cancelled");
    assert.match((await run(job)).skipped ?? "", /called off/);
  });
});

describe("a job that fails", () => {
  const unreachable = { LIFEBOAT_CLUSTERS_A_KUBECONFIG: "env:NOT_SET_AT_ALL" };
  const cases: [what: string, env: Record<string, string>, job: unknown, kind: string, name: string][] = [
    ["no job at all", {}, "backup please", "invalid", "JobFailedForGood"],
    ["an unknown kind", {}, { kind: "explode" }, "invalid", "JobFailedForGood"],
    ["an unknown field", {}, { kind: "backup", colour: "red" }, "invalid", "JobFailedForGood"],
    ["an unknown field of the spec", {}, { kind: "backup", spec: { colour: "red" } }, "invalid", "JobFailedForGood"],
    ["a wrong type", {}, { kind: "backup", name: 7 }, "invalid", "JobFailedForGood"],
    ["an unknown schedule", {}, { kind: "backup", schedule: "daily" }, "invalid", "JobFailedForGood"],
    ["an unknown cluster", {}, { kind: "backup", name: "x", cluster: "c" }, "invalid", "JobFailedForGood"],
    ["no cluster named of two", {}, { kind: "backup", name: "x" }, "invalid", "JobFailedForGood"],
    ["a restore of nothing", {}, { kind: "restore", cluster: "b", spec: {} }, "invalid", "JobFailedForGood"],
    [
      "an unknown backup",
      {},
      { kind: "restore", cluster: "b", spec: { backupName: "x" } },
      "missing",
      "JobFailedForGood",
    ],
    ["a secret that isn't there", unreachable, SCHEDULED, "missing", "JobFailedForGood"],
    ["a location of another cloud", { LIFEBOAT_LOCATION: "s3://b/p" }, SCHEDULED, "invalid", "JobFailedForGood"],
  ];
  for (const [what, env, job, kind, name] of cases) {
    test(`${what}: ${kind}, ${name}, no backup`, async () => {
      const { run, bucket, lines } = service(env);
      const error = await failure(run(job));
      assert.deepEqual([kindOf(error), error.name], [kind, name], error.message);
      assert.deepEqual(await listBackups(bucket), []);
      assert(lines.some((line) => line.includes("level=error")));
      assert(!lines.some((line) => line.includes("phase=Completed")));
    });
  }

  test("for want of a cluster leaves its log and its result, and gives back the lock", async () => {
    const { run, bucket } = service({ LIFEBOAT_CLUSTERS_A_KUBECONFIG: `file:${join(dir, "broken.yaml")}` });
    const error = await failure(run(SCHEDULED));
    assert.equal(kindOf(error), "invalid");
    const runs = [...(await listFolder(bucket, "metadata/lifeboat/runs/backups/hourly-20261123020000/")).keys()];
    assert.deepEqual(runs.map((key) => key.replace(/.*-(\w+\.\w+)$/, "$1")).sort(), ["logs.gz", "result.json"]);
    const log = await readLog(bucket, "backups", "hourly-20261123020000");
    assert.match(log, /level=error/);
    for (const text of [log, error.message, String(error.stack)]) assert.doesNotMatch(text, /hunter2/);
    assert.equal((await lockState({ bucket, kind: "backups", name: "hourly-20261123020000" })).state, "free");
  });

  test("since the platform's time is up says so, and can be tried again", async () => {
    const { run, bucket } = service();
    const error = await failure(run(SCHEDULED, { deadline: new Date(Date.now() + 1) }));
    assert.deepEqual([kindOf(error), error.name], ["timeout", "JobFailedTryAgain"]);
    assert.deepEqual(await listBackups(bucket), []);
    assert.equal((await run(SCHEDULED)).phase, "Completed");
  });

  test("for which there is no time is made by the jobs that are left of it, as one", async () => {
    await using slow = await slowly(source, 40);
    await writeFile(join(dir, "slow.yaml"), source.kubeconfig.replaceAll(source.url, slow.url));
    const { run, bucket, jobs } = service({ LIFEBOAT_CLUSTERS_A_KUBECONFIG: `file:${join(dir, "slow.yaml")}` });
    let next: unknown;
    for (let deadlineMs = 400; !next; deadlineMs *= 1.15) {
      next = (await run(SCHEDULED, { deadline: new Date(Date.now() + deadlineMs) }).catch(() => undefined))?.next;
      assert.deepEqual(await listBackups(bucket), []);
    }
    assert.deepEqual(jobs, [next]);
    assert.deepEqual(JSON.parse(JSON.stringify(next)), {
      kind: "backup",
      schedule: "hourly",
      name: "hourly-20261123020000",
    });
    jobs.length = 0;
    const { name, phase } = await run(next, { deadline: new Date(Date.now() + 600_000), loops: true });
    assert.deepEqual([name, phase, jobs], ["hourly-20261123020000", "Completed", []]);
    const { metadata, spec } = await readBackup(bucket, "hourly-20261123020000");
    assert.equal(metadata.labels?.["velero.io/schedule-name"], "hourly");
    assert.equal(spec?.ttl, "720h");
    assert.equal((await run(SCHEDULED)).duplicate, true);
  });

  test("since its time is up while another run works on it, or before it may begin, says so too", async () => {
    const { run, bucket } = service();
    const folder = "metadata/lifeboat/locks/backups/hourly-20261123020000/";
    await bucket.put(`${folder}000001.json`, Buffer.from('{"run":"other","state":"held"}'));
    const notBefore = new Date(Date.now() + 60_000).toISOString();
    for (const job of [SCHEDULED, { ...SCHEDULED, notBefore }]) {
      assert.equal(kindOf(await failure(run(job, { deadline: new Date(Date.now() + 200) }))), "timeout");
    }
  });

  test("PartiallyFailed is a failure for the platform, however often it delivers it", async () => {
    const { run, bucket } = service({
      LIFEBOAT_SCHEDULES_HOURLY_TEMPLATE_INCLUDED_RESOURCES: "configmaps,widgets.example.com",
    });
    for (let delivery = 0; delivery < 2; delivery++) {
      const error = await failure(run(SCHEDULED));
      assert.equal(error.name, "JobFailedForGood");
      assert.match(error.message, /PartiallyFailed/);
    }
    assert.equal((await readBackup(bucket, "hourly-20261123020000")).status?.phase, "PartiallyFailed");
  });

  test("since its name is taken by a backup of something else says so", async () => {
    const { run } = service();
    await run({ kind: "backup", cluster: "a", name: "x" });
    const error = await failure(run({ kind: "backup", cluster: "b", name: "x" }));
    assert.deepEqual([kindOf(error), error.name], ["conflict", "JobFailedForGood"]);
    assert.match(error.message, /of the cluster "a"/);
  });

  const OF_SHOP = { includedNamespaces: ["shop"], ttl: "720h" };
  const BACKUPS: [spec: object | undefined, other: object | undefined, differs: RegExp][] = [
    [OF_SHOP, {}, /includedNamespaces, ttl/],
    [OF_SHOP, undefined, /includedNamespaces, ttl/],
    [undefined, OF_SHOP, /includedNamespaces, ttl/],
    [{ excludedNamespaces: ["shop"] }, {}, /excludedNamespaces/],
    [{ includedResources: ["configmaps"] }, { includedResources: ["configmaps", "secrets"] }, /includedResources/],
  ];
  for (const [spec, other, differs] of BACKUPS)
    test(`since a backup of ${JSON.stringify(spec)} is none of ${JSON.stringify(other)} says so`, async () => {
      const { run } = service();
      const job = { kind: "backup", cluster: "a", name: "x" };
      await run({ ...job, spec });
      assert.deepEqual(await run({ ...job, spec }), { kind: "backup", name: "x", phase: "Completed", duplicate: true });
      const error = await failure(run({ ...job, spec: other }));
      assert.deepEqual([kindOf(error), error.name], ["conflict", "JobFailedForGood"]);
      assert.match(error.message, differs);
    });

  test("since a restore of its name is of another spec, or plan, says so", async () => {
    const { run } = service();
    await run({ kind: "backup", cluster: "a", name: "x" });
    const spec = { backupName: "x", existingResourcePolicy: "update", namespaceMapping: { shop: "store" } };
    const job = { kind: "restore", cluster: "b" };
    for (const name of ["p", "q"]) await run({ ...job, name, spec, dryRun: true });
    const jobs = [
      { ...job, name: "of-spec", spec },
      { ...job, name: "of-plan", plan: "p" },
    ];
    for (const one of jobs) {
      assert.equal((await run(one)).duplicate, false);
      assert.equal((await run(one)).duplicate, true);
    }
    const fewer = await failure(run({ ...jobs[0], spec: { backupName: "x", namespaceMapping: { shop: "store" } } }));
    assert.deepEqual([kindOf(fewer), /existingResourcePolicy/.test(fewer.message)], ["conflict", true]);
    const other = await failure(run({ ...jobs[1], plan: "q" }));
    assert.deepEqual([kindOf(other), /of the plan "p", not "q"/.test(other.message)], ["conflict", true]);
  });

  test("unexpectedly tells the platform nothing of it, and the log all", async () => {
    const { bucket, ...made } = service();
    const platform = {
      buckets: { "file:": async () => bucket },
      secrets: {},
      clusters: {},
      jobs: async () => assert.fail(),
    };
    const lines: string[] = [];
    const broken = createService(platform, {
      config: () => Promise.reject(new TypeError("https://x?sig=SECRET")),
      listen: (line) => lines.push(line),
    });
    const error = await failure(broken.run(SCHEDULED));
    assert.doesNotMatch(error.message, /SECRET/);
    assert.match(lines.join(), /TypeError/);
    assert(made);
  });
});

describe("a verification", () => {
  test("of a schedule's newest backup ends well, without a cluster, and leaves what it found", async () => {
    const { run, bucket } = service();
    await run({ ...SCHEDULED, slot: "2026-11-22T02:00:00Z" });
    const { name = "" } = await run(SCHEDULED);
    const job = { kind: "verify", schedule: "hourly", readData: true };
    assert.deepEqual(await run(job), { kind: "verify", name, phase: "Completed", duplicate: false });
    const found = (await lastVerification(bucket, name))?.document;
    assert.deepEqual([found?.ok, found?.segments], [true, { total: 1, read: 1 }]);
    await deleteBackup(bucket, name);
    assert.equal(await lastVerification(bucket, name), undefined);
  });

  test("of a damaged backup fails for good, and names what is damaged", async () => {
    const { run, bucket, lines } = service();
    await run({ kind: "backup", cluster: "a", name: "x" });
    const keys = backupKeys("x");
    await bucket.put(keys.log, Buffer.from("torn"));
    const error = await failure(run({ kind: "verify", name: "x" }));
    assert.deepEqual([error.name, error.status], ["JobFailedForGood", 422]);
    const line = `${keys.log}: it differs from its digest`;
    assert.equal(error.message, `backup x is damaged: ${line}`);
    assert.ok(lines.some((text) => text.includes("level=error") && text.includes(line)));
    assert.equal((await lastVerification(bucket, "x"))?.document.ok, false);
  });

  test("of what isn't signed fails where keys are trusted", async () => {
    const { publicKey } = generateKeyPairSync("ed25519");
    await writeFile(join(dir, "trusted.pub"), publicKey.export({ format: "pem", type: "spki" }));
    const { run } = service({ LIFEBOAT_SIGNING_PUBLIC_KEYS: `file:${join(dir, "trusted.pub")}` });
    await run({ kind: "backup", cluster: "a", name: "x" });
    assert.match((await failure(run({ kind: "verify", name: "x" }))).message, /is not signed/);
    const error = await failure(run({ kind: "restore", cluster: "b", spec: { backupName: "x" } }));
    assert.deepEqual([kindOf(error), error.name], ["corrupt", "JobFailedForGood"]);
  });

  for (const [what, job] of [
    ["names both", { kind: "verify", name: "x", schedule: "hourly" }],
    ["names a cluster", { kind: "verify", name: "x", cluster: "a" }],
    ["names a share that is none", { kind: "verify", name: "x", sample: "5" }],
  ] as const) {
    test(`whose job ${what} is invalid`, async () => {
      assert.equal(kindOf(await failure(service().run(job))), "invalid");
    });
  }

  test("of a backup that isn't there is missing", async () => {
    assert.equal(kindOf(await failure(service().run({ kind: "verify", name: "none" }))), "missing");
  });
});

describe("a scheduled backup where backups are signed", () => {
  const publicKeys: Record<string, string | undefined> = {};
  before(async () => {
    for (const name of ["signing", "other"]) {
      const { privateKey, publicKey } = generateKeyPairSync("ed25519");
      await writeFile(join(dir, `${name}.pem`), privateKey.export({ format: "pem", type: "pkcs8" }));
      await writeFile(join(dir, `${name}.pub`), publicKey.export({ format: "pem", type: "spki" }));
      publicKeys[name] = publicKey.export({ format: "jwk" }).x;
    }
  });
  const signs = (name: string) => ({ LIFEBOAT_SIGNING_KEY: `file:${join(dir, `${name}.pem`)}` });
  const trusts = (name: string) => ({ LIFEBOAT_SIGNING_PUBLIC_KEYS: `file:${join(dir, `${name}.pub`)}` });

  test("is signed, and restored by who trusts its key", async () => {
    const { run, bucket } = service({ ...signs("signing"), ...trusts("signing") });
    const { name = "" } = await run(SCHEDULED);
    assert.equal(signedBy(await readBackup(bucket, name)), publicKeys.signing);
    const spec = { backupName: name, existingResourcePolicy: "update" };
    assert.equal((await run({ kind: "restore", cluster: "b", name: "r", spec })).phase, "Completed");
  });

  const THERE: [what: string, made: Record<string, string>, now: () => Record<string, string>, refused?: RegExp][] = [
    ["is not signed", {}, () => signs("signing"), /is not signed/],
    ["is not signed, as what it makes itself, where keys are only trusted", {}, () => trusts("signing")],
    [
      "is signed by another key",
      { by: "other" },
      () => ({ ...signs("signing"), ...trusts("signing") }),
      /not a trusted/,
    ],
    ["is signed by the key that signs", { by: "signing" }, () => signs("signing")],
    ["is signed by a trusted key", { by: "other" }, () => ({ ...signs("signing"), ...trusts("other") })],
  ];
  for (const [what, { by }, now, refused] of THERE)
    test(`${refused ? "is not made" : "is made"} where what lies there ${what}`, async () => {
      const made = service(by === undefined ? {} : signs(by));
      const { name = "" } = await made.run(SCHEDULED);
      const { run, bucket, lines } = service(now());
      for (const key of (await listFolder(made.bucket, backupKeys(name).folder)).keys())
        await bucket.put(key, await readObject(made.bucket, key));
      if (!refused) return assert.equal((await run(SCHEDULED)).duplicate, true);
      const error = await failure(run(SCHEDULED));
      assert.deepEqual([kindOf(error), error.name], ["conflict", "JobFailedForGood"]);
      assert.match(error.message, refused);
      assert.match(error.message, /lifeboat backup delete hourly-20261123020000/);
      assert.deepEqual(
        lines.filter((line) => line.includes("job ended")),
        [],
      );
    });

  test("stays, though newer ones are not signed, where keys are trusted: for retention and its preview", async () => {
    const { run, fetch, bucket } = service({
      ...trusts("signing"),
      LIFEBOAT_SCHEDULES_HOURLY_RETENTION_KEEP_LAST: "1",
    });
    const read = (path: string) => readFile(path, "utf8");
    const signer = await openSigner({ read }, join(dir, "signing.pem"));
    for (const [days, by] of [
      [3, signer],
      [2, signer],
      [1, undefined],
    ] as const) {
      const start = new Date(Date.now() - days * DAY_MS);
      await putBackup(bucket, { name: `hourly-${days}`, start, schedule: "hourly", signer: by });
    }
    const response = await fetch(new Request("http://a/v1/retention"));
    const { rows } = (await response.json()) as RetentionDocument;
    const kept = rows.flatMap(({ name, action }) => (action === "keep" ? [name] : []));
    assert.deepEqual(kept, ["hourly-1", "hourly-2"]);
    await run({ kind: "retention" });
    assert.deepEqual(
      (await listBackups(bucket)).map(({ name }) => name),
      kept,
    );
  });

  test("is not made by a few bytes under its name", async () => {
    const { run, bucket } = service(signs("signing"));
    const record = { kind: "Backup", metadata: { name: "hourly-20261123020000" }, status: { phase: "Completed" } };
    await bucket.put(backupKeys(record.metadata.name).metadata, Buffer.from(JSON.stringify(record)));
    assert.equal(kindOf(await failure(run(SCHEDULED))), "conflict");
  });
});

describe("a job without a name", () => {
  test("has the same one whenever the platform delivers it again", async () => {
    const { run } = service();
    const job = { kind: "backup", cluster: "a" };
    const { durationMs = 0, usage, ...first } = await run(job, { delivery: "one" });
    assert(usage && durationMs > 0 && usage.puts > 10 && usage.storedBytes > 1000, JSON.stringify(usage));
    assert.deepEqual(await run(job, { delivery: "one" }), { ...first, duplicate: true });
    assert.notEqual((await run(job, { delivery: "two" })).name, first.name);
  });
});

describe("a platform with one clock for all schedules", () => {
  const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);
  const OFTEN = {
    LIFEBOAT_LOCATION: "file:///anywhere",
    LIFEBOAT_CLUSTERS_A_KUBECONFIG: "env:A",
    LIFEBOAT_SCHEDULES_OFTEN_SCHEDULE: "* * * * *",
  };

  const HOURLY = { ...OFTEN, LIFEBOAT_SCHEDULES_OFTEN_SCHEDULE: "@hourly" };

  /** A platform whose queue takes nothing until it is no longer away. `slow`: every request to its bucket takes a while. */
  function away({ deletes = true, slow = false } = {}) {
    const stored = directoryBucket(join(dir, `location-${++locations}`));
    const wait = (ms = Math.random() * 40) => sleep(slow ? ms : 0);
    const bucket: Bucket = {
      ...stored,
      put: async (...given) => {
        await wait(20);
        await stored.put(...given);
      },
      async *list(...given) {
        await wait();
        yield* stored.list(...given);
      },
      delete: async (...given) => {
        await wait();
        if (!deletes) throw new LifeboatError("denied", "it may only create");
        await stored.delete(...given);
      },
    };
    const jobs = { away: true, taken: [] as unknown[] };
    const platform: Platform = {
      buckets: { "file:": async () => bucket },
      secrets: {},
      clusters: {},
      jobs: async () => ({
        enqueue: async (job) => {
          if (jobs.away) throw new Error("the queue is away");
          jobs.taken.push(job);
        },
      }),
    };
    return { bucket, jobs, platform };
  }

  test("hands over what has come due since it last looked, once", async () => {
    const { tick, jobs, run } = service();
    await tick(minutesAgo(60));
    await tick(minutesAgo(60));
    await tick(minutesAgo(0));
    assert.deepEqual(Object.keys(jobs[0] as object), ["kind", "schedule", "slot", "name"]);
    assert.equal(jobs.length, 1);
    assert.equal((await run(jobs[0])).phase, "Completed");
  });

  test("hands over a slot though a request lies there since before it, and tells of one that has been", async () => {
    const { tick, jobs, bucket, lines } = service();
    const hour = 3_600_000;
    const begun = Math.floor(Date.now() / hour) * hour;
    for (const slot of [begun, begun + hour]) {
      const { job } = runKeys("backups", scheduledName("hourly", new Date(slot)), "2020-01-01T00:00:00.000Z-x");
      await bucket.put(job, Buffer.from("{}"));
      const before = new Date(slot - 120_000);
      await utimes(join(fileURLToPath(bucket.location), job), before, before);
    }
    await tick(minutesAgo(60));
    assert.equal(jobs.length, 1);
    assert.deepEqual(lines, []);
    await tick(minutesAgo(60));
    const { slot } = jobs[0] as { slot: string };
    assert.equal(jobs.length, 1);
    assert.match(lines.join("\n"), /level=info msg="the slot was handed over before" schedule=hourly slot="/);
    assert.ok(lines.join().includes(slot));
  });

  test("hands over again what could not be handed over", async () => {
    const { jobs, platform } = away();
    const { tick } = createService(platform, { env: OFTEN, listen: () => {} });
    await assert.rejects(tick(minutesAgo(5)));
    jobs.away = false;
    await tick(minutesAgo(0));
    assert.equal(jobs.taken.length, 1);
  });

  test("hands over again what a bucket that takes no deletions could not forget", async () => {
    const { jobs: handed, platform } = away({ deletes: false });
    const { tick } = createService(platform, { env: OFTEN, listen: () => {} });
    await assert.rejects(tick(minutesAgo(5)));
    handed.away = false;
    await tick(minutesAgo(0));
    assert.equal(handed.taken.length, 1);
  });

  for (const deletes of [true, false]) {
    const where = `a slow bucket that takes ${deletes ? "" : "no "}deletions`;
    test(`of two that look at once into ${where}, one hands over and neither fails`, async () => {
      const told: string[] = [];
      for (let round = 0; round < 10; round++) {
        const { bucket, jobs, platform } = away({ deletes, slow: true });
        jobs.away = false;
        const { tick } = createService(platform, {
          env: HOURLY,
          listen: (line, level) => level !== "info" && told.push(line),
        });
        await Promise.all([tick(minutesAgo(60)), tick(minutesAgo(15))]);
        assert.equal(jobs.taken.length, 1);
        const { name } = jobs.taken[0] as { name: string };
        assert.equal((await readRun(bucket, "backup", name))?.phase, "New");
      }
      assert.deepEqual(told, []);
    });

    test(`of two that ask for one name at once in ${where}, one gets it`, async () => {
      const { bucket, jobs, platform } = away({ deletes, slow: true });
      jobs.away = false;
      const bothAsked = Promise.withResolvers<void>();
      let asked = 0;
      const deps = {
        jobs: await platform.jobs(),
        bucket: {
          ...bucket,
          put: async (...given: Parameters<Bucket["put"]>) => {
            await bucket.put(...given);
            if (!given[0].endsWith("-job.json")) return;
            asked += 1;
            if (asked === 2) bothAsked.resolve();
            await bothAsked.promise;
          },
        },
      };
      const ask = () => submitJob({ kind: "backup", name: "now", cluster: "a" }, deps);
      const refused = (await Promise.allSettled([ask(), ask()])).filter(({ status }) => status === "rejected");
      assert.equal(refused.length, 1);
      assert.equal(jobs.taken.length, 1);
      assert.equal((await readRun(bucket, "backup", "now"))?.phase, "New");
    });
  }

  test("hands over again what failed before it was asked for by name, and is then New", async () => {
    const { bucket, jobs, platform } = away({ deletes: false });
    const { tick } = createService(platform, { env: HOURLY, listen: () => {} });
    await assert.rejects(tick(minutesAgo(60)));
    const [key = ""] = (await listFolder(bucket, "metadata/lifeboat/runs/backups/")).keys();
    const name = key.split("/").at(-2)!;
    assert.equal((await readRun(bucket, "backup", name))?.phase, "Failed");
    await abandonJob(bucket, { kind: "backup", name }, "a run without a request failed");
    await assert.rejects(tick(minutesAgo(60)));
    jobs.away = false;
    await tick(minutesAgo(15));
    await tick(minutesAgo(15));
    assert.equal(jobs.taken.length, 1);
    assert.equal((await readRun(bucket, "backup", name))?.phase, "New");
  });

  test("knows its own request where the bucket's answer to it was lost", async () => {
    const { bucket, jobs, platform } = away();
    jobs.away = false;
    const put = bucket.put;
    bucket.put = async (key, ...rest) => {
      await put(key, ...rest);
      if (key.endsWith("-job.json")) await put(key, ...rest);
    };
    await createService(platform, { env: HOURLY, listen: () => {} }).tick(minutesAgo(60));
    assert.equal(jobs.taken.length, 1);
  });

  test("hands over the schedules beside one whose state can't be read, and fails", async () => {
    const { tick, jobs, bucket } = service({
      LIFEBOAT_SCHEDULES_DAILY_SCHEDULE: "0 */1 * * *",
      LIFEBOAT_SCHEDULES_DAILY_CLUSTER: "a",
      LIFEBOAT_RETENTION_SCHEDULE: "@hourly",
    });
    await bucket.put("metadata/lifeboat/schedules/daily/000001.json", Buffer.from("{}"), { ifAbsent: true });
    const { message } = await failure(tick(minutesAgo(60)));
    assert.match(message, /daily\/000001\.json .* does not say whether the schedule is paused/);
    const handed = jobs.map((job) => job as { kind: string; schedule?: string });
    assert.deepEqual(
      handed.map(({ kind, schedule }) => [kind, schedule]),
      [
        ["backup", "hourly"],
        ["retention", undefined],
      ],
    );
  });

  test("hands over nothing of a schedule that is paused, as the bucket says", async () => {
    const { tick, jobs, bucket } = service({ LIFEBOAT_SCHEDULES_HOURLY_PAUSED: "true" });
    await tick(minutesAgo(60));
    assert.equal(jobs.length, 0);
    await setPaused(bucket, { name: "hourly", paused: true }, false);
    await tick(minutesAgo(60));
    assert.equal(jobs.length, 1);
  });

  test("hands over retention and verification, when their own schedules have come due", async () => {
    const { tick, jobs } = service({
      LIFEBOAT_SCHEDULES_HOURLY_PAUSED: "true",
      LIFEBOAT_RETENTION_SCHEDULE: "@hourly",
      LIFEBOAT_VERIFY_SCHEDULE: "@hourly",
    });
    const hour = () => new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000).toISOString();
    const hours = [hour()];
    await tick(minutesAgo(60));
    hours.push(hour());
    const { slot } = jobs[1] as { slot: string };
    assert.deepEqual(jobs, [{ kind: "retention" }, { kind: "verify", slot }]);
    assert.ok(hours.includes(slot), slot);
    const at = (time: string) => new Date(`2026-11-23T${time}:00Z`);
    const due = (last: string, now: string) => dueSlot("30 3 * * *", at(last), at(now));
    const slots = [due("03:25", "03:30"), due("03:32", "03:37"), due("03:25", "03:29")];
    assert.deepEqual(slots, [at("03:30"), undefined, undefined]);
    assert.equal(dueSlot(undefined, at("03:25"), at("03:30")), undefined);
  });

  test("hands over only the kinds of jobs that are asked for", async () => {
    const { tick, jobs } = service({ LIFEBOAT_RETENTION_SCHEDULE: "@hourly", LIFEBOAT_VERIFY_SCHEDULE: "@hourly" });
    const kinds = () => jobs.splice(0).map((job) => (job as { kind: string }).kind);
    await tick(minutesAgo(60), readClockKinds("retention"));
    assert.deepEqual(kinds(), ["retention"]);
    await tick(minutesAgo(60), readClockKinds("verify, backup"));
    assert.deepEqual(kinds(), ["backup", "verify"]);
    await tick(minutesAgo(60), readClockKinds("none"));
    assert.deepEqual(kinds(), []);
    assert.deepEqual(readClockKinds(), ["backup", "verify", "retention"]);
    assert.throws(() => readClockKinds("backup,restore"), { kind: "invalid" });
  });

  test("looks back for what was missed, and not where the schedule says that it skips", () => {
    const at = (time: string) => new Date(`2026-11-23T${time}:00Z`);
    const schedule = { name: "s", schedule: "0 * * * *", cluster: "a", paused: false, template: {} };
    const due = (last: string | undefined, now: string, skipImmediately = false) =>
      dueSlots(
        { schedules: { s: { ...schedule, skipImmediately } } },
        last === undefined ? undefined : last === "never" ? new Date("0001-01-01T00:00:00Z") : at(last),
        at(now),
      ).map(({ slot }) => slot.toISOString().slice(11, 16));
    assert.deepEqual(due("02:55", "03:00"), ["03:00"]);
    assert.deepEqual(due("03:00", "03:05"), ["03:00"]);
    assert.deepEqual(due("03:05", "03:10", true), []);
    assert.deepEqual(due("02:30", "03:30", true), ["03:00"]);
    assert.deepEqual(due(undefined, "03:10"), ["03:00"]);
    assert.deepEqual(due("never", "03:10", true), ["03:00"]);
    assert.deepEqual(due("never", "03:20", true), []);
  });
});

describe("a job delivered by HTTP", () => {
  const post = (body: string) => new Request("http://function/", { method: "POST", body });

  test("answers 200 with its outcome", async () => {
    const answer = await deliver(service(), post(JSON.stringify({ ...SCHEDULED, slot: undefined })), { slot: SLOT });
    const { name } = (await answer.json()) as { name: string };
    assert.deepEqual([answer.status, name], [200, "hourly-20261123020000"]);
  });

  const SLOTTED: [job: Record<string, unknown>, has: boolean][] = [
    [{ kind: "backup", schedule: "hourly" }, true],
    [{ kind: "backup", schedule: "hourly", name: "x" }, false],
    [{ kind: "verify" }, true],
    [{ kind: "verify", schedule: "hourly" }, false],
    [{ kind: "retention", schedule: "hourly" }, false],
  ];
  for (const [job, has] of SLOTTED) {
    test(`${JSON.stringify(job)} is ${has ? "" : "not "}of the slot that the platform tells`, async () => {
      const run = async (message: unknown) => {
        assert.deepEqual(message, has ? { ...job, slot: SLOT } : job);
        return { duplicate: false };
      };
      assert.equal((await deliver({ ...service(), run }, post(JSON.stringify(job)), { slot: SLOT })).status, 200);
    });
  }

  const bad: [what: string, body: string, status: number][] = [
    ["malformed JSON", "{", 400],
    ["no job", "{}", 400],
    ["a list", "[]", 400],
    ["null", "null", 400],
    ["an unknown schedule", '{"kind":"backup","schedule":"x"}', 400],
    ["more than a mebibyte", `{"kind":"backup","name":"${"x".repeat(1 << 20)}"}`, 400],
  ];
  for (const [what, body, status] of bad) {
    test(`${what} is a problem document`, async () => {
      const answer = await deliver(service(), post(body), { slot: SLOT });
      assert.deepEqual([answer.status, answer.headers.get("content-type")], [status, "application/problem+json"]);
      assert.equal(((await answer.json()) as { status: number }).status, status);
    });
  }
});

/** The URL of a server that takes connections and never answers; it ends with the process. */
async function silentServer(): Promise<string> {
  const { createServer } = await import("node:net");
  const server = createServer(() => {}).unref();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => server.close());
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

function shop(): KubernetesObject[] {
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "settings", namespace: "shop" } },
  ];
}
