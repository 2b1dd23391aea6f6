import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, mock, test } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import { listBackups } from "../../core/catalog.ts";
import { listFolder } from "../../core/contents.ts";
import { isLifeboatError } from "../../core/errors.ts";
import { verifyBackup } from "../../core/integrity/verify.ts";
import type { BackupJob, Job, LockedJob } from "../../core/job.ts";
import { shardJobs } from "../../core/jobs/shards.ts";
import { lockFolder, PIECES } from "../../core/layout.ts";
import { memoryJobs } from "../../core/memoryjobs.ts";
import { putJsonOnce } from "../../core/once.ts";
import type { Bucket, Platform } from "../../core/ports.ts";
import { createService, type Service } from "../../core/service.ts";
import type { JobStatus } from "../../core/verdict.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { cluster, signal } from "./slice-sample.ts";

/** What waits for shards comes again after a sixth of `valid`. */
const TIMING = { renew: 300, valid: 1_200, poll: 20 };

let dir: string;
let server: ApiServer;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "lifeboat-shards-"));
  server = await startApiServer({ objects: cluster().filter(({ metadata }) => metadata.name !== "scratches") });
  await writeFile(join(dir, "kubeconfig"), server.kubeconfig);
});
after(async () => {
  await server?.stop();
  await rm(dir, { recursive: true, force: true });
});

function service(jobs: Platform["jobs"] = async () => ({ enqueue: async () => {} })) {
  const bucket = memoryBucket();
  const lines: string[] = [];
  const platform = { buckets: { "file:": async () => bucket }, secrets: {}, clusters: {}, jobs };
  const env = {
    LIFEBOAT_LOCATION: "file:///anywhere",
    LIFEBOAT_CLUSTERS_A_KUBECONFIG: `file:${join(dir, "kubeconfig")}`,
    LIFEBOAT_SCHEDULES_HOURLY_SCHEDULE: "@hourly",
    LIFEBOAT_SCHEDULES_HOURLY_SHARDS: "3",
  };
  const made = createService(platform, { env, timing: TIMING, listen: (line) => lines.push(line) });
  return { ...made, bucket, lines };
}

/** Does what a job leaves, as a platform's engine does: the parts at the same time, each to its end, then the rest. */
async function driven(run: Service["run"], job: Job): Promise<JobStatus> {
  const ended = await run(job, { loops: true });
  await Promise.allSettled((ended.parts ?? []).map((part) => driven(run, part)));
  return ended.next ? driven(run, ended.next) : ended;
}

const shardsOf = (jobs: LockedJob[] = []) => jobs.map((job) => ("shard" in job ? job.shard : undefined));

describe("a sharded backup's jobs", () => {
  test("are one for each shard, and then the backup's own, which makes it", async () => {
    const { run, bucket } = service();
    const job = { kind: "backup", schedule: "hourly", slot: "2026-11-23T02:00:00Z" } as const;
    const begun = await run(job, { loops: true });
    assert.deepEqual(shardsOf(begun.parts), [1, 2, 3]);
    assert.equal(begun.next?.notBefore, undefined);
    assert.deepEqual(await listBackups(bucket), []);
    const reads = await Promise.all(begun.parts!.map((part) => run(part, { loops: true })));
    assert.ok(reads.every(({ items, next, skipped }) => items! > 0 && !next && !skipped));
    const { phase, name, next } = await run(begun.next, { loops: true });
    assert.deepEqual([phase, name, next], ["Completed", "hourly-20261123020000", undefined]);
    assert.equal((await verifyBackup(bucket, name!, { read: 1, signal })).ok, true);
    assert.deepEqual([...(await listFolder(bucket, PIECES)).keys()], []);
    assert.equal((await run(job, { loops: true })).duplicate, true);
  });

  test("can be asked for with a spec, and are cut by a deadline", async () => {
    const { run, bucket } = service();
    const until = { loops: true, deadline: new Date(Date.now() + 60_000) };
    const job = { kind: "backup", name: "b", spec: { excludedNamespaces: ["c"] }, shards: 2 } as const;
    const { parts, next } = await run(job, until);
    assert.deepEqual(shardsOf(parts), [1, 2]);
    assert.deepEqual([parts!.some((part) => "spec" in part), next && "spec" in next], [false, true]);
    for (const part of parts!) await driven(run, part);
    assert.equal((await driven(run, next!)).phase, "Completed");
    assert.equal((await verifyBackup(bucket, "b", { read: 1, signal })).ok, true);
  });

  test("are few bytes of an answer, however long the backup's own is", async () => {
    const spec = { includedNamespaces: Array.from({ length: 200 }, (_, number) => `namespace-of-team-${number}`) };
    const job = { kind: "backup", name: "b", cluster: "a", spec, caller: "é".repeat(500), shards: 100 } as const;
    const unread = Array.from({ length: 100 }, (_, place) => place + 1);
    const shards = { unread, of: 100, since: new Date().toISOString() };
    const { parts, next } = await shardJobs(job, { more: true, items: 0, shards }, { bucket: memoryBucket(), signal });
    assert.deepEqual(shardsOf(parts), unread);
    assert.deepEqual(next.spec, spec);
    assert.ok(JSON.stringify(parts).length < 100 * 100);
  });

  test("are waited for the longer, the longer they take", async () => {
    const waits: number[] = [];
    for (const minutes of [0, 20, 600]) {
      const since = new Date(Date.now() - 60_000 * minutes).toISOString();
      const at = new Date().toISOString();
      const job = { kind: "backup", name: "b", handed: { at, times: 1, items: 0 } } as const;
      const shards = { unread: [1], of: 2, since };
      const { next } = await shardJobs(job, { more: true, items: 0, shards }, { bucket: memoryBucket(), signal });
      waits.push(Math.round((Date.parse(next.notBefore!) - Date.parse(at)) / 1000));
    }
    assert.deepEqual(waits, [30, 120, 300]);
  });

  test("go through the platform's queue where nobody drives them", async () => {
    const queue = memoryJobs(async (job) => void (await queued.run(job)));
    const queued = service(async () => queue);
    await queued.run({ kind: "backup", name: "b", shards: 3 });
    const deadline = Date.now() + 20_000;
    while ((await listBackups(queued.bucket)).length === 0) {
      assert.ok(Date.now() < deadline, queued.lines.join("\n"));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await queue.idle();
    assert.equal((await verifyBackup(queued.bucket, "b", { read: 1, signal })).ok, true);
  });

  test("of a lost worker are given again once its lock has lapsed", async () => {
    const { run, bucket } = service();
    const { parts, next } = await run({ kind: "backup", name: "b", shards: 3 }, { loops: true });
    const [first, , third] = parts!;
    await run(first);
    await run(third);
    const lost = { run: "lost", state: "held", since: new Date().toISOString() };
    await putJsonOnce(bucket, `${lockFolder("shards", "b/shard-2")}000001.json`, lost);
    const died = Date.now();
    assert.match((await run(parts![1])).skipped!, /another run reads shard 2 of backup "b"/);
    let waiting = await run(next, { loops: true });
    for (; !waiting.parts; waiting = await run(waiting.next, { loops: true })) assert.ok(waiting.next?.notBefore);
    assert.ok(Date.now() - died >= TIMING.valid);
    assert.deepEqual(shardsOf(waiting.parts), [2]);
    await run(waiting.parts[0]);
    assert.equal((await run(waiting.next, { loops: true })).phase, "Completed");
  });

  test("are not given up while something is read", async () => {
    const { run } = service();
    const { parts, next } = await run({ kind: "backup", name: "b", shards: 3 }, { loops: true });
    await run(parts![0]);
    const at = new Date(Date.now() - TIMING.valid).toISOString();
    const again = await run({ ...next!, handed: { at, times: 20, items: 0 } } as Job, { loops: true });
    assert.deepEqual(shardsOf(again.parts), [2, 3]);
    const handed = again.next && "handed" in again.next ? again.next.handed : undefined;
    assert.deepEqual([handed?.times, (handed?.items ?? 0) > 0], [1, true]);
  });

  describe("in a queue where all else comes first", () => {
    const MINUTE = 60_000;
    const HOUR = 60 * MINUTE;
    const scope = (shard: number) => lockFolder("shards", `b/shard-${shard}`);

    /** What is handed over until so much time has passed, as minutes and shards. `passes`: hears of each minute. */
    async function handedOver(
      bucket: Bucket,
      lasts: number,
      passes: (minute: number) => Promise<void> = async () => {},
    ) {
      const begun = Date.now();
      const given: [minute: number, shard: number][] = [];
      for (let job: BackupJob & { name: string } = { kind: "backup", name: "b" }; Date.now() - begun < lasts; ) {
        const shards = { unread: [1, 2], of: 2, since: new Date(begun).toISOString() };
        const { parts = [], next } = await shardJobs(job, { more: true, items: 0, shards }, { bucket, signal });
        const minutes = Math.floor((Date.now() - begun) / MINUTE);
        given.push(...parts.map(({ shard = 0 }) => [minutes, shard] as [number, number]));
        const { notBefore, ...rest } = next;
        for (const due = Date.parse(notBefore ?? ""); Date.now() < due; ) {
          await passes(Math.floor((Date.now() - begun) / MINUTE));
          mock.timers.setTime(Math.min(due, Date.now() + MINUTE));
        }
        job = { ...rest, name: "b" };
      }
      return given;
    }

    beforeEach(() => mock.timers.enable({ apis: ["Date"], now: Date.parse("2026-11-27T02:00:00Z") }));
    afterEach(() => mock.timers.reset());

    test("are handed over again ever more seldom, and given up after a day", async () => {
      const minutes = (await handedOver(memoryBucket(), 24 * HOUR)).flatMap(([minute, shard]) =>
        shard === 1 ? minute : [],
      );
      assert.deepEqual(minutes.slice(0, 5), [0, 3, 6, 9, 12]);
      assert.ok(minutes.length < 80, `${minutes.length} times`);
      const waits = minutes.map((minute, at) => minute - (minutes[at - 1] ?? minute));
      assert.ok(Math.max(...waits) <= 36, `${Math.max(...waits)} minutes`);
      await assert.rejects(handedOver(memoryBucket(), 25 * HOUR), /still unread, a day after/);
    });

    test("are handed over at once where a lock has died, once for each death", async () => {
      const bucket = memoryBucket();
      const given = await handedOver(bucket, 3 * HOUR, async (minute) => {
        if (minute === 100) await putJsonOnce(bucket, `${scope(2)}000001.json`, { run: "lost", state: "held" });
      });
      const around = given.filter(([minute]) => minute > 100 && minute < 110);
      assert.deepEqual(
        around.map(([, shard]) => shard),
        [2],
        JSON.stringify(given),
      );
    });
  });

  test("are given up where nobody does them", async () => {
    const { run, bucket } = service();
    let { next } = await run({ kind: "backup", name: "b", shards: 3 }, { loops: true });
    const first = Date.now();
    await assert.rejects(
      async () => {
        while (next) {
          const handed = "handed" in next ? next.handed : undefined;
          const past = new Date(Date.parse(handed?.at ?? "") - TIMING.valid).toISOString();
          ({ next } = await run({ ...next, handed: { ...handed, at: past } }, { loops: true }));
          assert.ok(Date.now() - first < 20_000);
        }
      },
      (error: Error) => {
        assert.ok(isLifeboatError(error.cause, "timeout"));
        return /3 of 3 shards of backup "b" are still unread: 3 times they were handed over/.test(error.message);
      },
    );
    assert.deepEqual(await listBackups(bucket), []);
  });
});
