import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { after, before, beforeEach, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import { readBackup, SCHEDULE_LABEL } from "../../core/catalog.ts";
import { listFolder } from "../../core/contents.ts";
import { deleteBackup } from "../../core/delete.ts";
import { readBackupDocument } from "../../core/documents.ts";
import { LifeboatError } from "../../core/errors.ts";
import { lastLocationVerification, lastVerification, readVerified } from "../../core/integrity/verified.ts";
import { backupKeys, PROGRESS, verifiedFolder } from "../../core/layout.ts";
import { lockState } from "../../core/lock.ts";
import type { Bucket, Platform } from "../../core/ports.ts";
import { scheduleDocument } from "../../core/schedule/standing.ts";
import { createService } from "../../core/service.ts";
import { JobFailed, type JobStatus } from "../../core/verdict.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { backupOf, settings } from "./integrity-sample.ts";

const TIMING = { renew: 300, valid: 1_500, poll: 20 };
const JOB = { kind: "verify" };

let server: ApiServer;
/** The files of one backup after the other, made once. */
let sample: Bucket;
let bucket: Bucket;

const MADE: [name: string, schedule?: string][] = [
  ["hourly-20261123020000", "hourly"],
  ["hourly-20261123030000", "hourly"],
  ["nightly-20261123020000", "nightly"],
  ["by-hand"],
];

before(async () => {
  server = await startApiServer({ objects: settings(3) });
  sample = memoryBucket();
  for (const [at, [name, schedule]] of MADE.entries()) {
    const labels: Record<string, string> = schedule === undefined ? {} : { [SCHEDULE_LABEL]: schedule };
    await backupOf(server, { bucket: sample, name, labels });
    // Records tell whole seconds, and the newest one is to be known.
    if (at === 0) await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
});
after(() => server?.stop());
beforeEach(async () => {
  bucket = memoryBucket();
  for (const key of (await listFolder(sample, "")).keys()) await bucket.put(key, await bytesOf(sample, key));
});

function service(env: Record<string, string> = {}) {
  const jobs: unknown[] = [];
  const platform: Platform = {
    buckets: { "file:": async () => bucket },
    secrets: {},
    clusters: {},
    jobs: async () => ({ enqueue: async (job) => void jobs.push(job) }),
  };
  const lines: string[] = [];
  const location = { LIFEBOAT_LOCATION: "file:///anywhere", ...env };
  const made = createService(platform, { env: location, timing: TIMING, listen: (line) => lines.push(line) });
  return { ...made, jobs, lines };
}

const names = async () => (await lastLocationVerification(bucket))?.document?.backups.map(({ name }) => name).sort();
const failure = (run: Promise<JobStatus>) =>
  run.then(
    () => assert.fail("it did not fail"),
    (error) => (error instanceof JobFailed ? error : assert.fail(String(error))),
  );
const tear = (name: string) => bucket.put(backupKeys(name).log, Buffer.from("torn"));
const mend = async (name: string) => {
  const { log } = backupKeys(name);
  await bucket.put(log, await bytesOf(sample, log));
};

describe("the verification of a location", () => {
  const NEWEST = ["hourly-20261123030000", "nightly-20261123020000"];
  const ALL = MADE.map(([name]) => name).sort();

  const CASES: [what: string, env: Record<string, string>, job: object, names: string[], read: number][] = [
    ["by itself is of the newest of each schedule, and reads no data", {}, {}, NEWEST, 0],
    ["as the configuration says", { BACKUPS: "all", READ_DATA: "true" }, {}, ALL, 1],
    ["as the job says, which wins", { BACKUPS: "all", SAMPLE: "5%" }, { backups: "newest", readData: true }, NEWEST, 1],
    ["which takes from the configuration what it doesn't say", { READ_DATA: "true" }, { backups: "all" }, ALL, 1],
  ];
  for (const [what, env, job, wanted, read] of CASES) {
    it(what, async () => {
      const settings = Object.entries(env).map(([name, value]) => [`LIFEBOAT_VERIFY_${name}`, value]);
      const ended = await service(Object.fromEntries(settings)).run({ ...JOB, ...job });
      assert.deepEqual(ended, { kind: "verify", name: "all", phase: "Completed", duplicate: false });
      assert.deepEqual(await names(), wanted);
      for (const name of wanted) {
        const last = await lastVerification(bucket, name);
        assert.deepEqual([last?.document.ok, last?.document.segments?.read], [true, read]);
        assert.equal(typeof last?.document.findingCount, "number");
      }
      assert.equal((await lockState({ bucket, kind: "verification", name: "all" })).state, "free");
    });
  }

  it("that finds damage fails for good, tells where, and what is good of the others", async () => {
    await tear("hourly-20261123030000");
    const { run, lines } = service();
    const { name, status, message } = await failure(run({ ...JOB, backups: "all" }));
    assert.deepEqual([name, status], ["JobFailedForGood", 422]);
    const reason = `${backupKeys("hourly-20261123030000").log}: it differs from its digest`;
    assert.equal(message, `1 backups are damaged, the first: hourly-20261123030000: ${reason}`);
    assert.ok(lines.some((line) => line.includes("level=error") && line.includes(reason)));
    assert.equal((await readVerified(bucket, "by-hand"))?.ok, true);
    const record = await readBackup(bucket, "hourly-20261123030000");
    const { verified } = await readBackupDocument(bucket, record);
    assert.deepEqual(verified, { at: verified?.at, ok: false, damage: { at: verified?.at, reason } });
  });

  it("looks at what has lost its record, or whose record can't be read", async () => {
    await bucket.put(backupKeys("by-hand").metadata, Buffer.from("{"));
    assert.match((await failure(service().run(JOB))).message, /^1 backups are damaged, the first: by-hand: /);
    await bucket.delete(backupKeys("by-hand").metadata);
    assert.match((await failure(service().run({ ...JOB, backups: "all" }))).message, /holds \d+ files, but no velero/);
  });

  it("a damage stays known until a verification that reads everything finds none", async () => {
    const { run } = service();
    const known = async () => {
      const verified = await readVerified(bucket, "by-hand");
      return [verified?.ok, (await lastVerification(bucket, "by-hand"))?.recovered];
    };
    await tear("by-hand");
    await failure(run({ ...JOB, backups: "all", readData: true }));
    assert.deepEqual(await known(), [false, false]);
    await mend("by-hand");
    await run({ ...JOB, backups: "all", sample: "50%" });
    assert.deepEqual(await known(), [false, false]);
    await run({ ...JOB, name: "by-hand", readData: true });
    assert.deepEqual(await known(), [true, true]);
    await deleteBackup(bucket, "by-hand");
    assert.equal((await listFolder(bucket, verifiedFolder("by-hand"))).size, 0);
  });

  it("of a slot is made once, however often and by however many it is triggered", async () => {
    const { run, lines } = service();
    const job = { ...JOB, slot: "2026-11-24T05:00:00Z" };
    const ended = await Promise.all(Array.from({ length: 5 }, () => run(job)));
    assert.equal(ended.filter(({ duplicate }) => !duplicate).length, 1);
    const skipped = "the verification of 2026-11-24T05:00:00Z is noted in memory:// already";
    assert.deepEqual(await run(job), { duplicate: true, skipped });
    const rows = await listFolder(bucket, verifiedFolder("hourly-20261123030000"));
    assert.equal(rows.size, 1);
    assert.equal(lines.filter((line) => line.includes("phase=Completed")).length, 1);
    assert.equal((await run({ ...job, slot: "2026-11-25T05:00:00Z" })).duplicate, false);
  });

  it("of a slot that found damage is a failure whenever it is delivered", async () => {
    await tear("nightly-20261123020000");
    const { run, lines } = service();
    for (let delivery = 0; delivery < 2; delivery++)
      assert.equal((await failure(run({ ...JOB, slot: "2026-11-24T05:00:00Z" }))).name, "JobFailedForGood");
    assert.equal(lines.filter((line) => line.includes("is damaged")).length, 1);
  });

  it("leaves what its time doesn't reach to a job of its own, which looks at nothing twice", async () => {
    const { run, jobs } = service();
    const { get } = bucket;
    const read: string[] = [];
    let slow = true;
    bucket.get = (key, options) => {
      const name = /^backups\/(.+)\/velero-backup\.json$/.exec(key)?.[1];
      if (name && !read.includes(name)) read.push(name);
      return slow && name !== undefined && read.length > 1 ? aborted(options?.signal) : get(key, options);
    };
    const slot = "2026-11-24T05:00:00Z";
    const job = { ...JOB, backups: "all", slot };
    const { phase, next, items } = await run(job, { deadline: new Date(Date.now() + 1_000) });
    assert.deepEqual([phase, items, jobs], [undefined, 1, [next]]);
    assert.equal((await lastLocationVerification(bucket))?.document, undefined);
    slow = false;
    const [first] = read.splice(0);
    assert.equal((await run(next)).phase, "Completed");
    const last = await lastLocationVerification(bucket);
    assert.deepEqual([last?.slot, last?.document?.backups.map(({ name }) => name).sort()], [slot, ALL]);
    assert.ok(!read.includes(first!));
    assert.deepEqual([...(await listFolder(bucket, PROGRESS)).keys()], []);
    assert.equal((await run(job)).duplicate, true);
  });

  it("fails where somebody else writes what it is to go on with, and begins with nothing that lies there", async () => {
    await tear("by-hand");
    const { run } = service();
    const { get } = bucket;
    bucket.get = (key, options) =>
      key === backupKeys("nightly-20261123020000").log ? aborted(options?.signal) : get(key, options);
    const slot = "2026-11-24T05:00:00Z";
    const job = { ...JOB, backups: "all", slot };
    const { next } = await run(job, { deadline: new Date(Date.now() + 1_000) });
    bucket.get = get;
    const [left = ""] = (await listFolder(bucket, PROGRESS)).keys();
    const nothing = { names: [], done: 0, backups: [], orphans: [] };
    const state = gzipSync(JSON.stringify(nothing)).toString("base64");
    const forged = Buffer.from(JSON.stringify({ schemaVersion: 1, state }));
    await bucket.put(left.replace("000001", "000002"), forged);
    assert.match((await failure(run(next))).message, /was not left by the run that is to go on/);
    await bucket.put(`${PROGRESS}${hash("sha256", slot, "hex").slice(0, 12)}/000001.json`, forged);
    assert.match((await failure(run(job))).message, /^1 backups are damaged, the first: by-hand/);
  });

  it("and that of one backup go on with the step at which their time was up", async () => {
    const { run, jobs } = service();
    const { get } = bucket;
    const { tar, log } = backupKeys("by-hand");
    let logs = 0;
    bucket.get = (key, options) => {
      if (key === log) logs++;
      return key === tar && options?.range ? aborted(options.signal) : get(key, options);
    };
    const job = { ...JOB, name: "by-hand", readData: true, caller: "ann" };
    const { next } = await run(job, { deadline: new Date(Date.now() + 1_000) });
    assert.deepEqual([next, jobs], [{ ...job, ...next }, [next]]);
    bucket.get = get;
    assert.equal((await run(next)).phase, "Completed");
    const last = await lastVerification(bucket, "by-hand");
    assert.deepEqual([last?.document.segments, logs], [{ total: 1, read: 1 }, 1]);
    assert.deepEqual([...(await listFolder(bucket, PROGRESS)).keys()], []);
  });

  it("that can't even verify one in its time says so, and may be tried again", async () => {
    bucket.get = (_, options) => aborted(options?.signal);
    const { name, cause } = await failure(
      service().run({ ...JOB, backups: "all" }, { deadline: new Date(Date.now() + 300) }),
    );
    assert.deepEqual([name, (cause as LifeboatError).kind], ["JobFailedTryAgain", "timeout"]);
  });

  it("needs no right to delete, nor to overwrite", async () => {
    const { put } = bucket;
    bucket.delete = () => Promise.reject(new LifeboatError("denied", "may not delete"));
    bucket.put = (key, body, options) => put(key, body, { ...options, ifAbsent: true });
    for (const _ of [1, 2]) assert.equal((await service().run(JOB)).phase, "Completed");
  });

  it("is told by the schedule, whose last good backup is none that is damaged", async () => {
    await tear("hourly-20261123030000");
    await failure(service().run(JOB));
    const schedule = {
      name: "hourly",
      schedule: "@hourly",
      cluster: "a",
      paused: false,
      skipImmediately: false,
      template: {},
    };
    const { lastBackup, lastGood, lastVerified } = await scheduleDocument(bucket, schedule, new Date());
    const [older, newer] = [MADE[0]![0], MADE[1]![0]];
    assert.deepEqual([lastBackup?.name, lastGood?.name], [newer, older]);
    assert.deepEqual([lastVerified?.name, lastVerified?.ok], [newer, false]);
  });

  for (const [what, job] of [
    ["a schedule and a name", { name: "x", schedule: "hourly" }],
    ["a choice beside a name", { name: "x", backups: "all" }],
    ["a slot beside a schedule", { schedule: "hourly", slot: "2026-11-24T05:00:00Z" }],
    ["another choice", { backups: "some" }],
    ["two shares", { readData: true, sample: "5%" }],
  ] as const) {
    it(`is refused for ${what}`, async () => {
      const { cause } = await failure(service().run({ ...JOB, ...job }));
      assert.equal((cause as LifeboatError).kind, "invalid");
    });
  }
});

/** Rejects when the signal aborts. */
function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const end = () => reject(signal?.reason);
    if (signal?.aborted) end();
    else signal?.addEventListener("abort", end);
  });
}

async function bytesOf(from: Bucket, key: string): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(await from.get(key)));
}
