import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import { listBackups } from "../../core/catalog.ts";
import { listFolder } from "../../core/contents.ts";
import { LifeboatError } from "../../core/errors.ts";
import { type FleetDocument, readSummary } from "../../core/fleet/document.ts";
import { drive } from "../../core/fleet/engine.ts";
import { keepMembers, type Members } from "../../core/fleet/members.ts";
import type { ClusterDocument } from "../../core/fleet/standing.ts";
import { sweepRuns } from "../../core/fleet/sweep.ts";
import type { FleetJob, Job, LockedJob } from "../../core/job.ts";
import { backupKeys, fleetKeys, lockFolder } from "../../core/layout.ts";
import { claimLock } from "../../core/lock.ts";
import type { Bucket, Platform } from "../../core/ports.ts";
import { setPaused } from "../../core/schedule/pause.ts";
import { scheduledName } from "../../core/schedule/slots.ts";
import { createService } from "../../core/service.ts";
import type { JobFailed, JobStatus } from "../../core/verdict.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";

const SLOT = "2026-11-23T02:00:00.000Z";
const RUN = "nightly-20261123020000";
const NIGHTLY: FleetJob = { kind: "fleet", schedule: "nightly", slot: SLOT };
const TIMING = { renew: 300, valid: 30_000, poll: 50 };
const CHOSEN: Members = { schedule: "nightly", at: new Date(), clusters: ["a"], problems: [], warnings: [] };
const never = new AbortController().signal;

let dir: string;
let server: ApiServer;
let stranger: { url: string; stop: () => Promise<void> };

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "lifeboat-fleet-"));
  server = await startApiServer({});
  const refusing = createServer((_request, response) => {
    const body = { kind: "Status", status: "Failure", reason: "Unauthorized", message: "Unauthorized", code: 401 };
    response.writeHead(401, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise<void>((listening) => refusing.listen(0, "127.0.0.1", listening));
  stranger = {
    url: `http://127.0.0.1:${(refusing.address() as AddressInfo).port}`,
    stop: () => new Promise((closed) => refusing.close(() => closed())),
  };
  await writeFile(join(dir, "good.yaml"), server.kubeconfig);
  await writeFile(join(dir, "denied.yaml"), server.kubeconfig.replaceAll(server.url, stranger.url));
});
after(async () => {
  await server?.stop();
  await stranger?.stop();
  await rm(dir, { recursive: true, force: true });
});

let locations = 0;
const BROKEN = "this bucket is broken";

/**
 * A service of a fleet: `clusters` by whether their secret is good; `jobs`: what is handed over, while the queue is not `down`.
 * `quiet`: until those are lost of which nothing is heard.
 */
function fleet(clusters: Record<string, "good" | "denied" | "nosecret">, rest: object = {}, quiet = 0) {
  const root = join(dir, `location-${++locations}`);
  const jobs: LockedJob[] = [];
  const lines: string[] = [];
  const broken = new Set<string>();
  const queue = { down: false };
  const may = { delete: (_key: string): void => {} };
  const bucketAt = ({ pathname }: URL): Bucket => {
    const bucket = directoryBucket(pathname);
    return {
      ...bucket,
      get: (...given) => (broken.has(pathname) ? Promise.reject(new Error(BROKEN)) : bucket.get(...given)),
      delete: async (...given) => {
        may.delete(given[0]);
        await bucket.delete(...given);
      },
    };
  };
  const enqueue = async (job: Job) => {
    if (queue.down) throw new LifeboatError("unreachable", "the queue does not answer");
    jobs.push(job as LockedJob);
  };
  const platform: Platform = {
    buckets: {
      "file:": async (location) => {
        if (broken.has(location.pathname)) throw new Error(BROKEN);
        return bucketAt(location);
      },
    },
    secrets: {},
    clusters: {},
    jobs: async () => ({ enqueue }),
  };
  const config = JSON.stringify({
    location: `file://${root}`,
    clusters: Object.fromEntries(
      Object.entries(clusters).map(([name, secret]) => [
        name,
        { kubeconfig: `file:${join(dir, `${secret}.yaml`)}`, labels: { secret } },
      ]),
    ),
    schedules: { nightly: { schedule: "0 2 * * *", clusters: {} } },
    ...rest,
  });
  const file = join(dir, `config-${locations}.yaml`);
  const ready = writeFile(file, config);
  const options = { env: { LIFEBOAT_CONFIG: `file:${file}` }, timing: TIMING, fleetTiming: { poll: 0, quiet } };
  const service = createService(platform, { ...options, listen: (line) => lines.push(line) });
  const run = async (job: object, loops = false) => {
    await ready;
    return service.run(job, { loops, signal: never });
  };
  /** Runs what is handed over, until nothing is any more. */
  const workOff = async (lost: (job: LockedJob) => boolean = () => false): Promise<(JobStatus | JobFailed)[]> => {
    const ends: (JobStatus | JobFailed)[] = [];
    for (let job = jobs.shift(); job; job = jobs.shift())
      if (!lost(job)) ends.push(await run(job).catch((error: JobFailed) => error));
    return ends;
  };
  const bucket = directoryBucket(root);
  const member = (name: string) => directoryBucket(join(root, name));
  return { ...service, run, jobs, queue, may, lines, workOff, bucket, member, root, broken };
}

const clustersOf = (jobs: readonly LockedJob[]) => jobs.flatMap((job) => (job.kind === "backup" ? [job.cluster] : []));
const failure = (run: Promise<unknown>) =>
  run.then(
    () => assert.fail("it did not fail"),
    (error: JobFailed) => error,
  );

describe("a fleet's run", () => {
  it("makes a backup of each cluster in a location of its own, and one summary", async () => {
    const { run, jobs, workOff, bucket, member, lines } = fleet({ a: "good", b: "good" });
    const begun = await run(NIGHTLY);
    assert.deepEqual([begun.parts?.length, begun.next?.kind], [2, "fleet"]);
    assert.deepEqual(clustersOf(jobs), ["a", "b"]);
    const ends = await workOff();
    assert.deepEqual(
      ends.map(({ name }) => name),
      [RUN, RUN, RUN],
    );
    for (const cluster of ["a", "b"]) {
      const [{ name, record } = assert.fail()] = await listBackups(member(cluster));
      assert.deepEqual([name, record?.metadata.annotations?.["lifeboat/cluster"]], [RUN, cluster]);
      const top = await Array.fromAsync(member(cluster).list("", { delimiter: "/" }));
      assert.deepEqual(
        top.map(({ prefix }) => prefix),
        ["backups/", "metadata/"],
      );
    }
    const summary = await readSummary(bucket, RUN);
    assert.equal(summary?.phase, "Completed");
    assert.deepEqual(summary.counts, { clusters: 2, good: 2, skipped: 0, failed: 0 });
    assert(summary.items > 0 && summary.bytes > 0);
    const forAlarms = lines.filter((line) => line.includes("job=backup schedule=nightly phase=Completed"));
    assert.equal(forAlarms.length, 1);
  });

  it("that is delivered again, at any time, changes nothing", async () => {
    const { run, jobs, workOff, bucket, lines } = fleet({ a: "good", b: "denied" });
    await run(NIGHTLY);
    const [first] = jobs;
    await run(first!);
    await run(NIGHTLY);
    await workOff();
    const before = await listFolder(bucket, "");
    const told = lines.filter((line) => line.includes("fleet's run has ended")).length;
    const failed = await failure(run(NIGHTLY));
    assert.match(failed.message, /is PartiallyFailed: 1 of 2 clusters have no good backup: b; /);
    assert.equal(failed.name, "JobFailedForGood");
    await failure(run({ kind: "backup", schedule: "nightly", slot: SLOT }));
    assert.deepEqual(await listFolder(bucket, ""), before);
    assert.deepEqual([jobs.length, told], [0, 1]);
  });

  it("names clusters that fail, each with its reason, and the others are good", async () => {
    const { run, workOff, bucket } = fleet({ a: "good", denied: "denied", lost: "nosecret" });
    await run(NIGHTLY);
    await workOff();
    const summary = await readSummary(bucket, RUN);
    const reasons = Object.fromEntries(summary!.clusters.map(({ cluster, reason }) => [cluster, reason]));
    assert.deepEqual(reasons, { a: undefined, denied: "denied", lost: "missing" });
    assert.deepEqual(summary?.counts, { clusters: 3, good: 1, skipped: 0, failed: 2 });
    assert.match(summary.errors.map(({ message }) => message).join("\n"), /^denied: .*401.*\nlost: /s);
  });

  it("keeps its clusters though the configuration gets others meanwhile", async () => {
    const { run, jobs, bucket } = fleet({ a: "good" });
    const digest = await keepMembers(bucket, RUN, { ...CHOSEN, clusters: ["b"] }, never);
    await run({ ...NIGHTLY, members: digest });
    assert.deepEqual(clustersOf(jobs), ["b"]);
  });

  it("takes no clusters that others have chosen", async () => {
    const { run, jobs, bucket } = fleet({ a: "good", b: "good" });
    const { members } = fleetKeys(RUN);
    await bucket.put(`${members}${"0".repeat(64)}.json`, Buffer.from(JSON.stringify({ ...CHOSEN, clusters: ["b"] })));
    await run(NIGHTLY);
    assert.deepEqual(clustersOf(jobs), ["a", "b"]);
    assert.match((await failure(run({ ...NIGHTLY, members: "0".repeat(64) }))).message, /not what the run has stored/);
  });

  it("names a cluster that its schedule names and no cloud tells of", async () => {
    const choice = { names: ["a", "aws.one"] };
    const { run, workOff, bucket, fetch } = fleet(
      { a: "good" },
      {
        fleet: { discover: { aws: { eks: { region: "eu-west-1", tags: { backup: "yes" } } } } },
        schedules: { nightly: { schedule: "0 2 * * *", clusters: choice } },
      },
    );
    await run({ ...NIGHTLY, tried: 9 });
    await workOff();
    const { phase, errors } = (await readSummary(bucket, RUN))!;
    assert.equal(phase, "PartiallyFailed");
    const list = await (await fetch(new Request("http://lifeboat/v1/fleet"))).json();
    assert.match(JSON.stringify(list), /aws.one: schedule .*nightly.* names it, and it is not found/);
    assert(errors.some(({ message }) => message === 'aws.one: schedule "nightly" names it, and it is not found'));
  });

  it("of no cluster fails: a typing error would else be a night without backups", async () => {
    const { run, bucket } = fleet(
      { a: "good" },
      { schedules: { nightly: { schedule: "@daily", clusters: { matchLabels: { a: "b" } } } } },
    );
    await failure(run({ ...NIGHTLY, name: "now", slot: undefined }));
    assert.match((await readSummary(bucket, "now"))?.errors[0]?.message ?? "", /chooses no cluster/);
  });

  it("hands over once more what was not begun, and waits for that as long as it may last", async () => {
    const { run, jobs, bucket, lines } = fleet({ a: "good", b: "good" }, { fleet: { timeout: "1h" } });
    await run(NIGHTLY);
    const [backup = assert.fail(), , next = assert.fail()] = jobs.splice(0);
    await run(backup);
    await run(next);
    const [again, rest = assert.fail()] = jobs.splice(0);
    assert.deepEqual(clustersOf([again!]), ["b"]);
    assert(lines.some((line) => /handed over again.* clusters=1/.test(line)));
    await run(rest);
    assert.deepEqual(
      jobs.map(({ kind }) => kind),
      ["fleet"],
    );
    const at = new Date(Date.now() - 2 * 3_600_000);
    const members = await keepMembers(bucket, RUN, { ...CHOSEN, clusters: ["a", "b"], at }, never);
    await failure(run({ ...rest, members }));
    assert.deepEqual((await readSummary(bucket, RUN))?.errors, [
      { message: "b: it has not ended within fleet.timeout 1h" },
    ]);
  });

  it("hands over once more what died, and then names it", async () => {
    const { run, jobs, workOff, bucket, root, lines } = fleet({ a: "good", b: "good" });
    await run(NIGHTLY);
    const died = join("b", lockFolder("backups", RUN), "000001.json");
    await bucket.put(died, Buffer.from(JSON.stringify({ run: "one", state: "held" })));
    await utimes(join(root, died), new Date(0), new Date(0));
    let times = 0;
    const ends = await workOff((job) => job.kind === "backup" && job.cluster === "b" && ++times > 0);
    assert.equal(times, 2);
    assert.match(ends.at(-1)?.name ?? "", /JobFailed/);
    assert.equal(jobs.length, 0);
    assert(lines.some((line) => /handed over again.* clusters=1/.test(line)));
    assert.match((await readSummary(bucket, RUN))?.errors[0]?.message ?? "", /^b: its run has ended without a word/);
  });

  it("waits for a cluster that a run is still at", async () => {
    const { run, jobs, workOff, member } = fleet({ a: "good" });
    await run(NIGHTLY);
    const claim = await claimLock({ bucket: member("a"), kind: "backups", name: RUN }, { signal: never });
    await claim.take();
    const [, waiting = assert.fail()] = jobs.splice(0);
    const ended = await run(waiting);
    assert.deepEqual([ended.next?.kind, ended.parts], ["fleet", undefined]);
    await claim[Symbol.asyncDispose]();
    await workOff();
  });

  it("ends when its time is over", async () => {
    const { run, bucket } = fleet({ a: "good" }, { fleet: { timeout: "1h" } });
    const members = await keepMembers(bucket, RUN, { ...CHOSEN, at: new Date(SLOT) }, never);
    await failure(run({ ...NIGHTLY, members, given: 1 }));
    assert.match(
      (await readSummary(bucket, RUN))?.errors[0]?.message ?? "",
      /^a: it has not ended within fleet.timeout 1h/,
    );
  });

  it("that nobody is at any more has failed once its time is over, whoever looks at it", async () => {
    const { fetch, run, jobs, bucket, member, root } = fleet({ a: "good", b: "good" }, { fleet: { timeout: "1h" } });
    await run(NIGHTLY);
    await run(jobs[0]!);
    const { ends } = fleetKeys(RUN);
    const at = new Date(Date.now() - 2 * 3_600_000);
    await keepMembers(bucket, RUN, { ...CHOSEN, clusters: ["a", "b"], at }, never);
    const look = async () =>
      (await (await fetch(new Request(`http://lifeboat/v1/fleet/${RUN}`))).json()) as FleetDocument;
    assert.equal((await look()).phase, "InProgress", "something was heard just now");
    await utimes(join(root, ends, "a/000001.json"), at, at);
    const claim = await claimLock({ bucket: member("b"), kind: "backups", name: RUN }, { signal: never });
    await claim.take();
    assert.equal((await look()).phase, "InProgress", "a run is at b");
    await claim[Symbol.asyncDispose]();
    const { phase, errors, counts } = await look();
    assert.deepEqual([phase, counts.good], ["PartiallyFailed", 1]);
    assert.equal(errors[0]?.message, "b: it has not ended within fleet.timeout 1h, and nobody is at it any more");
    const standing = await (await fetch(new Request("http://lifeboat/v1/fleet"))).json();
    assert.match(JSON.stringify(standing), /nobody is at it any more/);
  });

  it("names a cluster whose own location can't be written to", async () => {
    const { run, workOff, bucket, broken, root } = fleet({ a: "good", b: "good" });
    broken.add(`${root}/b`);
    await run(NIGHTLY);
    await workOff();
    const summary = await readSummary(bucket, RUN);
    assert.deepEqual(summary?.errors, [{ message: "b: this bucket is broken" }]);
  });

  it("takes a failure after which the platform tries again for the end only where nothing more is heard", async () => {
    const { run, jobs, bucket, broken, root } = fleet({ a: "good" }, {}, 60_000);
    await run(NIGHTLY);
    const [backup = assert.fail(), next = assert.fail()] = jobs.splice(0);
    broken.add(`${root}/a`);
    await failure(run(backup));
    assert.equal((await run(next)).next?.kind, "fleet");
    assert.equal(await readSummary(bucket, RUN), undefined);
    broken.clear();
    await run(backup);
    assert.equal((await run(next)).phase, "Completed");
  });

  it("does not wait for more of what has been driven to its end, and tells why that failed", async () => {
    const { run, jobs, bucket, broken, root } = fleet({ a: "good" }, {}, 60_000);
    broken.add(`${root}/a`);
    const { parts = [], next } = await run(NIGHTLY, true);
    await failure(run(parts[0]!, true));
    await failure(run(next!, true));
    assert.deepEqual((await readSummary(bucket, RUN))?.errors, [{ message: "a: this bucket is broken" }]);
    assert.deepEqual(jobs, []);
  });

  const forged: [what: string, key: string, content: object][] = [
    ["that it is left out", `${fleetKeys(RUN).ends}b/000001.json`, { phase: "Skipped", message: "paused" }],
    ["that a backup was made", `${fleetKeys(RUN).ends}b/000001.json`, { phase: "Completed" }],
    ["what no one can read", `${fleetKeys(RUN).ends}b/000001.json`, []],
    ["that a backup is being made", `${fleetKeys(RUN).ends}b/tries/000001.json`, { phase: "InProgress" }],
  ];
  for (const [what, key, content] of forged)
    it(`makes the backup of a cluster of which somebody has noted ${what}`, async () => {
      const { run, workOff, bucket, member } = fleet({ a: "good", b: "good" });
      await bucket.put(key, Buffer.from(JSON.stringify(content)));
      await run(NIGHTLY);
      await workOff();
      assert.deepEqual(
        (await listBackups(member("b"))).map(({ name }) => name),
        [RUN],
      );
      assert.equal((await readSummary(bucket, RUN))?.counts.good, 2);
    });

  it("takes no backup for good that isn't signed where backups are", async () => {
    const { privateKey } = generateKeyPairSync("ed25519");
    await writeFile(join(dir, "signing.pem"), privateKey.export({ format: "pem", type: "pkcs8" }));
    const signing = { key: `file:${join(dir, "signing.pem")}` };
    const { run, workOff, bucket, member } = fleet({ a: "good", b: "good" }, { signing });
    const record = { kind: "Backup", metadata: { name: RUN }, status: { phase: "Completed" } };
    await member("b").put(backupKeys(RUN).metadata, Buffer.from(JSON.stringify(record)));
    await run(NIGHTLY);
    await workOff();
    const summary = await readSummary(bucket, RUN);
    assert.deepEqual(
      [summary?.phase, summary?.counts.good, summary?.errors],
      ["PartiallyFailed", 1, [{ message: `b: backup "${RUN}" is not signed` }]],
    );
  });

  it("believes no note of a backup that is not there", async () => {
    const { run, bucket } = fleet({ a: "good", b: "good" });
    const { parts = [], next } = await run(NIGHTLY, true);
    await run(parts[0]!, true);
    await bucket.put(`${fleetKeys(RUN).ends}b/000001.json`, Buffer.from('{"phase":"Completed"}'));
    const again = await run(next!, true);
    assert.deepEqual(clustersOf(again.parts ?? []), ["b"]);
    await failure(run(again.next!, true));
    const summary = await readSummary(bucket, RUN);
    assert.deepEqual(
      [summary?.counts.good, summary?.errors[0]?.message],
      [1, "b: its backup is noted as made, and is not in its location"],
    );
  });

  it("takes a backup that is there for good, though it was noted that its time was over", async () => {
    const { run, jobs, workOff, bucket } = fleet({ a: "good" });
    await run(NIGHTLY);
    await run(jobs[0]!);
    const late = { phase: "Failed", message: "cut off by fleet.timeout 1h", reason: "timeout" };
    await bucket.put(`${fleetKeys(RUN).ends}a/000002.json`, Buffer.from(JSON.stringify(late)));
    await workOff();
    assert.equal((await readSummary(bucket, RUN))?.phase, "Completed");
  });

  const summaries: [what: string, text: (summary: FleetDocument) => string][] = [
    ["all are good", (summary) => JSON.stringify(summary)],
    ["it is of no cluster", (summary) => JSON.stringify({ ...summary, clusters: [] })],
    ["it has failed", (summary) => JSON.stringify({ ...summary, phase: "Failed" })],
    ["nobody can read", () => "damaged"],
  ];
  for (const [what, text] of summaries)
    it(`makes its backups though a summary is there before which says that ${what}`, async () => {
      const { run, workOff, bucket, member } = fleet({ a: "good", b: "denied" });
      await run(NIGHTLY);
      await workOff();
      const name = "nightly-20261124020000";
      const content = text({ ...(await readSummary(bucket, RUN))!, name, phase: "Completed" });
      await bucket.put(fleetKeys(name).summary, Buffer.from(content));
      await run({ ...NIGHTLY, slot: "2026-11-24T02:00:00.000Z" });
      const ends = await workOff();
      assert.deepEqual(
        (await listBackups(member("a"))).map(({ name }) => name),
        [RUN, name],
      );
      const last = ends.at(-1);
      assert.match(
        last instanceof Error ? last.message : "",
        /is PartiallyFailed: 1 of 2 clusters have no good backup: b; /,
      );
    });

  it("hands over all that got lost, though one answer has no room for them, and then names them", async () => {
    const names = Array.from({ length: 600 }, (_, number) => `c${1000 + number}`);
    const { run } = fleet(Object.fromEntries(names.map((name) => [name, "good" as const])));
    const batches: number[] = [];
    let job: LockedJob | undefined = NIGHTLY;
    const ended = await failure(
      (async () => {
        while (job) {
          const { parts = [], next }: JobStatus = await run(job, true);
          batches.push(parts.length);
          job = next;
        }
      })(),
    );
    assert.deepEqual(batches, [500, 100, 500, 100]);
    assert.match(ended.message, /600 of 600 clusters have no good backup/);
  });

  it("is summed up though the backup of a cluster can't be read any more", async () => {
    const { run, workOff, bucket, member } = fleet({ a: "good", b: "good" });
    await run(NIGHTLY);
    await workOff(({ kind }) => kind === "fleet");
    const { metadata } = backupKeys(RUN);
    await member("b").delete(metadata);
    await member("b").put(metadata, Buffer.from("damaged"));
    const { next } = await run({ ...NIGHTLY }, true);
    await failure(run(next!, true));
    const summary = await readSummary(bucket, RUN);
    assert.deepEqual([summary?.counts.good, summary?.counts.failed], [1, 1]);
    assert.match(summary?.errors[0]?.message ?? "", /^b: its backup can't be read: /);
  });

  it("that is over fails for good: nobody begins what is left", async () => {
    const { run } = fleet({ a: "good" }, { fleet: { timeout: "1h" } });
    const { parts: [part = assert.fail()] = [] } = await run(NIGHTLY, true);
    const failed = await failure(run({ ...part, until: new Date(0).toISOString() }, true));
    assert.deepEqual([failed.name, failed.status], ["JobFailedForGood", 504]);
    assert.match(failed.message, /not begun before fleet.timeout 1h was over/);
  });

  it("is told of once, and not once for each of its clusters", async (t) => {
    const told: { kind: string; phase: string; name: string }[] = [];
    const hook = createServer(async (request, response) => {
      told.push(JSON.parse(Buffer.concat(await Array.fromAsync(request)).toString()));
      response.end();
    });
    await new Promise<void>((listening) => hook.listen(0, "127.0.0.1", listening));
    t.after(() => hook.close());
    const url = join(dir, "hook.txt");
    await writeFile(url, `http://127.0.0.1:${(hook.address() as AddressInfo).port}/`);
    const notifications = { ops: { url: `file:${url}`, on: "always" } };
    const { run, workOff, bucket } = fleet({ a: "good", b: "denied" }, { notifications });
    await run(NIGHTLY);
    await workOff();
    assert.deepEqual(
      told.splice(0).map(({ kind, phase }) => [kind, phase]),
      [["fleet", "PartiallyFailed"]],
    );
    const name = "nightly-20261124020000";
    const members = "0".repeat(64);
    await bucket.put(`${fleetKeys(name).members}${members}.json`, Buffer.from("damaged"));
    for (let time = 0; time < 2; time++) await failure(run({ kind: "fleet", schedule: "nightly", name, members }));
    assert.deepEqual(
      told.map(({ kind, phase, name }) => [kind, phase, name]),
      [["fleet", "Failed", name]],
      "a job that fails itself is told of, too",
    );
  });

  it("begins so many clusters a minute: one batch after the other, or, with who drives, all with their times", async () => {
    const clusters = { a: "good", b: "good", c: "good" } as const;
    const { run, jobs } = fleet(clusters, { fleet: { perMinute: 2 } });
    await run(NIGHTLY);
    const [, , next = assert.fail()] = jobs;
    assert.deepEqual(clustersOf(jobs.splice(0)), ["a", "b"]);
    assert(Math.abs(Date.parse(next.notBefore ?? "") - Date.now() - 60_000) < 5_000);
    await run({ ...next, notBefore: undefined });
    assert.deepEqual(clustersOf(jobs), ["c"]);

    const { parts = [] } = await fleet(clusters, { fleet: { perMinute: 2 } }).run(NIGHTLY, true);
    const waits = parts.map(({ notBefore }) => notBefore && Math.round((Date.parse(notBefore) - Date.now()) / 60_000));
    assert.deepEqual(waits, [undefined, undefined, 1]);
  });

  it("is driven to its end by who waits for its parts", async () => {
    const { run, bucket } = fleet({ a: "good", b: "denied" });
    let ended = 0;
    const driven = drive((job, trigger) => run(job as object, trigger?.loops), NIGHTLY, {
      ...{ atOnce: 2, signal: never },
      ended: () => ended++,
    });
    assert.match((await failure(driven)).message, /b; /);
    assert.deepEqual([ended, (await readSummary(bucket, RUN))?.counts.good], [2, 1]);
  });

  for (const [when, isThen] of [
    ["when it begins", ({ given }: FleetJob) => given === undefined],
    ["meanwhile", ({ given }: FleetJob) => given !== undefined],
  ] as const)
    it(`is made by who drives it though the bucket fails ${when}`, async () => {
      const { run, bucket, broken, root } = fleet({ a: "good" });
      let calls = 0;
      const driven = drive(
        async (job, trigger) => {
          const isNow = (job as LockedJob).kind === "fleet" && isThen(job as FleetJob);
          if (isNow && ++calls < 3) broken.add(root);
          const made = run(job as object, trigger?.loops);
          await made.catch(() => {});
          broken.clear();
          return made;
        },
        NIGHTLY,
        { atOnce: 1, signal: never, tryAgainMs: 1 },
      );
      assert.equal((await driven).phase, "Completed");
      assert.deepEqual([calls, (await readSummary(bucket, RUN))?.counts.good], [3, 1]);
    });

  it("is given up by who drives it after four calls that failed, and each of its parts after one", async () => {
    const { run, broken, root } = fleet({ a: "good" });
    const calls: string[] = [];
    const driven = drive(
      (job, trigger) => {
        const { kind } = job as LockedJob;
        calls.push(kind);
        if (kind === "backup") broken.add(root).add(`${root}/a`);
        return run(job as object, trigger?.loops);
      },
      NIGHTLY,
      { atOnce: 1, signal: never, tryAgainMs: 1 },
    );
    assert.equal((await failure(driven)).name, "JobFailedTryAgain");
    assert.deepEqual(calls, ["fleet", "backup", "fleet", "fleet", "fleet", "fleet"]);
  });

  it("is not begun while its schedule is paused; a cluster whose own is paused is left out", async () => {
    const { run, jobs, workOff, bucket, member } = fleet({ a: "good", b: "good" });
    await setPaused(bucket, { name: "nightly", paused: false }, true);
    assert.match((await run(NIGHTLY)).skipped ?? "", /is paused/);
    await setPaused(bucket, { name: "nightly", paused: false }, false);
    await setPaused(member("b"), { name: "nightly", paused: false }, true);
    await run(NIGHTLY);
    await workOff();
    assert.deepEqual(jobs, []);
    const { phase, counts, warnings } = (await readSummary(bucket, RUN))!;
    assert.deepEqual([phase, counts.skipped], ["Completed", 1]);
    assert.match(warnings[0]?.message ?? "", /^b: schedule "nightly" is paused/);
  });

  it("is handed over by a clock once a slot", async () => {
    const { tick, jobs, bucket, run, lines } = fleet(
      { a: "good" },
      { schedules: { often: { schedule: "@hourly", clusters: {} } } },
    );
    await run({ kind: "retention" });
    jobs.splice(0);
    const last = new Date(Date.now() - 60_000);
    await tick(last, ["backup"]);
    assert(!lines.some((line) => line.includes("handed over before")));
    await tick(last, ["backup"]);
    assert(lines.some((line) => /the slot was handed over before" schedule=often slot=/.test(line)));
    const slots = jobs.map((job) => [job.kind, "slot" in job && job.slot]);
    assert.equal(new Set(slots.map(String)).size, jobs.length);
    assert(jobs.length > 0 && jobs.every(({ kind }) => kind === "fleet"));
    assert.equal((await listFolder(bucket, "metadata/lifeboat/fleet/")).size, jobs.length);
  });

  it("is handed over by a clock though something lies where its run is to be, or did before its slot", async () => {
    const { tick, jobs, bucket, run, root, lines } = fleet(
      { a: "good" },
      { schedules: { often: { schedule: "* * * * *", clusters: {} } } },
    );
    await run({ kind: "retention" });
    jobs.splice(0);
    const minute = 60_000;
    const slots = [0, 1, 2, 3].map((number) => new Date((Math.floor(Date.now() / minute) - 2 + number) * minute));
    for (const slot of slots) {
      const { folder, asked } = fleetKeys(scheduledName("often", slot));
      await bucket.put(`${folder}other.json`, Buffer.from("{}"));
      await bucket.put(asked, Buffer.from("{}"));
      await utimes(join(root, asked), new Date(0), new Date(0));
    }
    await tick(new Date(Date.now() - minute), ["backup"]);
    assert(jobs.length > 0);
    assert(!lines.some((line) => line.includes("handed over before")));
  });
});

it("a slot that could not be handed over is so by the next tick, of who may not delete", async () => {
  const { tick, jobs, queue, may, run } = fleet(
    { a: "good" },
    { schedules: { often: { schedule: "* * * * *", clusters: {} } } },
  );
  await run({ kind: "retention" });
  jobs.splice(0);
  const last = new Date(Date.now() - 60_000);
  queue.down = true;
  may.delete = () => {
    throw new LifeboatError("denied", "this credential may not delete");
  };
  assert.match((await failure(tick(last, ["backup"]))).message, /the queue does not answer/);
  queue.down = false;
  await tick(last, ["backup"]);
  assert(jobs.length > 0 && jobs.every(({ kind }) => kind === "fleet"));
});

describe("jobs of a fleet", () => {
  it("of the whole location are one for each cluster", async () => {
    const { run, jobs, workOff } = fleet({ a: "good", b: "good" });
    for (const kind of ["retention", "verify"] as const) {
      await run({ kind });
      assert.deepEqual(
        jobs.map((job) => ({ cluster: undefined, ...job }).cluster),
        ["a", "b"],
      );
      for (const end of await workOff())
        assert.deepEqual([end.name, "phase" in end && end.phase], ["all", "Completed"]);
    }
  });

  it("of the whole location are handed over by the 500, and then the rest", async () => {
    const names = Array.from({ length: 1001 }, (_, number) => `c${1000 + number}`);
    const { run } = fleet(Object.fromEntries(names.map((name) => [name, "good" as const])));
    for (const kind of ["retention", "verify"] as const) {
      const given: (string | undefined)[] = [];
      const batches: number[] = [];
      for (let job: LockedJob | undefined = { kind }; job; ) {
        const { parts = [], next }: JobStatus = await run(job, true);
        batches.push(parts.length);
        given.push(...parts.map((part) => ({ cluster: undefined, ...part }).cluster));
        const { cluster }: { cluster?: string } = { cluster: undefined, ...next };
        if (cluster) given.push(cluster);
        job = cluster ? undefined : next;
      }
      assert.deepEqual(batches, [500, 500, 0]);
      assert.deepEqual(given, names);
    }
  });

  it("of retention take old runs away, but for the newest of each schedule", async () => {
    const { run, workOff, bucket } = fleet({ a: "good" });
    const older = "nightly-20261122020000";
    for (const slot of ["2026-11-22T02:00:00.000Z", SLOT]) {
      await run({ ...NIGHTLY, slot });
      await workOff();
    }
    const left = async () =>
      [...(await listFolder(bucket, "metadata/lifeboat/fleet/")).keys()].map((key) =>
        key.split("/fleet/")[1]?.replace(/\w{64}/, "…"),
      );
    const later = (days: number) => sweepRuns(bucket, new Date(Date.now() + days * 24 * 3_600_000), never);
    assert.equal(await later(0), 0);
    assert.equal(await later(2), 2);
    const kept = [`${RUN}/members/….json`, `${RUN}/summary.json`];
    assert.deepEqual(await left(), [`${older}/members/….json`, `${older}/summary.json`, ...kept]);
    assert.equal(await later(91), 2);
    assert.deepEqual(await left(), kept);
  });

  for (const [kind, told] of [
    ["conflict", /deleted" objects=1$/],
    ["denied", /level=warning msg="what old runs of the fleet had left is not all deleted: it must not go"/],
  ] as const)
    it(`of retention are handed over though what old runs had left is refused with ${kind}`, async () => {
      const { run, jobs, workOff, bucket, root, may, lines } = fleet({ a: "good", b: "good" });
      await run(NIGHTLY);
      await workOff();
      const old = new Date(Date.now() - 3 * 24 * 3_600_000);
      for (const key of (await listFolder(bucket, "metadata/lifeboat/fleet/")).keys())
        await utimes(join(root, key), old, old);
      const held = `${fleetKeys(RUN).ends}a/`;
      may.delete = (key) => {
        if (key.startsWith(held)) throw new LifeboatError(kind, "it must not go");
      };
      await run({ kind: "retention" });
      assert.equal(jobs.length, 2);
      assert.match(lines.find((line) => /what old runs/.test(line)) ?? "", told);
      const left = await listFolder(bucket, fleetKeys(RUN).ends);
      assert.deepEqual([...left.keys()], [`${held}000001.json`]);
    });

  it("of one cluster are its own", async () => {
    const { run, member } = fleet({ a: "good", b: "good" });
    await run({ kind: "backup", cluster: "b", name: "mine" });
    assert.deepEqual(
      (await listBackups(member("b"))).map(({ name }) => name),
      ["mine"],
    );
    const verified = await run({ kind: "verify", cluster: "b", name: "mine" });
    assert.equal(verified.phase, "Completed");
    assert.match((await failure(run({ kind: "verify", cluster: "a", name: "mine" }))).message, /no backup "mine"/);
  });

  const refused: [job: object, said: RegExp][] = [
    [{ kind: "backup" }, /names no cluster of the fleet/],
    [{ kind: "restore", spec: { backupName: "x" } }, /names no cluster of the fleet/],
    [{ kind: "backup", cluster: "elsewhere" }, /no cluster "elsewhere"/],
    [{ kind: "fleet", schedule: "none" }, /no schedule "none"/],
    [{ kind: "backup", cluster: "a", name: "x", fleet: "../../x" }, /fleet: is no name of a backup/],
  ];
  for (const [job, said] of refused)
    it(`${JSON.stringify(job)} is refused`, async () => {
      assert.match((await failure(fleet({ a: "good" }).run(job))).message, said);
    });
});

/** What is looked at of answers. */
interface Body {
  name: string;
  kind: string;
  detail: string;
  hint?: string;
  runs: { name: string; phase: string }[];
  phase: string;
  paths: object;
  clusters: Pick<
    Required<ClusterDocument>,
    "name" | "problems" | "lastGood" | "items" | "bytes" | "ageSeconds" | "next"
  >[];
}

describe("the HTTP API of a fleet", () => {
  const ask = async (
    { fetch }: Pick<ReturnType<typeof fleet>, "fetch">,
    method: string,
    path: string,
    json?: object,
  ) => {
    const headers = { "content-type": "application/json" };
    const request = new Request(`http://lifeboat${path}`, {
      method,
      ...(json && { body: JSON.stringify(json), headers }),
    });
    const answer = await fetch(request);
    return { status: answer.status, location: answer.headers.get("location"), body: (await answer.json()) as Body };
  };

  it("is that of each cluster, below its name", async () => {
    const made = fleet({ a: "good", b: "good" });
    await made.run({ kind: "retention" });
    made.jobs.splice(0);
    const asked = await ask(made, "POST", "/clusters/b/v1/backups", { name: "mine" });
    assert.deepEqual([asked.status, asked.location], [202, "/clusters/b/v1/backups/mine"]);
    assert.deepEqual(
      made.jobs.map((job) => ({ cluster: "", ...job }).cluster),
      ["b"],
    );
    await made.workOff();
    assert.equal((await ask(made, "GET", asked.location!)).body.phase, "Completed");
    assert.equal((await ask(made, "GET", "/clusters/a/v1/backups/mine")).status, 404);
    const other = await ask(made, "POST", "/clusters/a/v1/backups", { cluster: "b" });
    assert.deepEqual([other.status, other.body.kind], [400, "invalid"]);
    const red = await ask(made, "POST", "/clusters/a/v1/backups", { schedule: "none" });
    assert.match(`${red.body.detail} ${red.body.hint}`, /no schedule "none".*it has nightly/);
    assert.match(other.body.detail, /"b" is named where the fleet's "a" alone is meant/);
    assert("/v1/backups" in (await ask(made, "GET", "/clusters/a/openapi.json")).body.paths);
  });

  for (const [path, says] of [
    ["/v1/backups", /of one cluster.*\/clusters\/\{cluster\}\/v1\/backups/],
    ["/v1/restores/x/logs", /of one cluster.*\/clusters\/\{cluster\}\/v1\/restores\/x\/logs/],
    ["/v1/retention", /of one cluster/],
    ["/v1/search", /of one cluster/],
    ["/clusters", /GET \/v1\/fleet lists/],
    ["/clusters/a", /GET \/v1\/fleet lists/],
    ["/v1/none", /nothing at this path/],
    ["/clusters/c/v1/backups", /no cluster "c".*it has a/],
  ] as const)
    it(`tells where ${path} is to be asked`, async () => {
      const made = fleet({ a: "good" });
      await made.run({ kind: "retention" });
      const { status, body } = await ask(made, "GET", path);
      assert.deepEqual([status, body.kind], [404, "missing"]);
      assert.match(`${body.detail} ${body.hint}`, says);
    });

  it("runs a schedule, and tells how far that is and how all stands", async () => {
    const made = fleet({ a: "good", b: "denied" });
    await made.run({ kind: "retention" });
    made.jobs.splice(0);
    const asked = await ask(made, "POST", "/v1/fleet", { schedule: "nightly" });
    assert.equal(asked.status, 202);
    const phase = async () => (await ask(made, "GET", asked.location!)).body.phase;
    assert.equal(await phase(), "New");
    await made.run(made.jobs.shift()!);
    assert.equal(await phase(), "InProgress");
    await made.workOff();
    assert.equal(await phase(), "PartiallyFailed");
    const { body } = await ask(made, "GET", "/v1/fleet");
    const [a = assert.fail(), b = assert.fail()] = body.clusters;
    assert.deepEqual(
      body.runs.map(({ name, phase }) => [name, phase]),
      [[asked.body.name, "PartiallyFailed"]],
    );
    assert.deepEqual([a.name, a.problems, a.lastGood.name], ["a", [], asked.body.name]);
    assert(a.items > 0 && a.bytes > 0 && a.ageSeconds >= 0 && a.next);
    assert.match(b.problems.join("\n"), /401/);
    assert.equal((await ask(made, "POST", "/v1/fleet", { schedule: "none" })).status, 400);
    assert.equal((await ask(made, "GET", "/v1/fleet/none")).status, 404);
  });
});
