import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RecordedJob } from "../../core/job.ts";
import type { Jobs } from "../../core/ports.ts";
import { rejects } from "./bucket.ts";
import { type InTrouble, troubleTests, type WithoutTrouble } from "./troubles.ts";

/** Where a test's jobs go, and what has arrived there. */
export interface JobQueue {
  jobs: Jobs;
  /** What the handler has been given so far, oldest first; `at`: when. Asked for again and again. */
  received(): Promise<{ job: unknown; at: Date }[]>;
  /** An adapter for a function or queue that isn't there. */
  nowhere?: Jobs;
  inTrouble?: InTrouble;
  stop?(): Promise<void>;
}

/** How the ways of jobs may differ, each with the reason why. */
export interface JobsDifferences {
  /** The largest job that must fit, in bytes of JSON; one of twice its size is refused. Or the reason for no limit. */
  largest: number | string;
  /** Why there is no place that could be missing. */
  alwaysThere?: string;
  without?: WithoutTrouble;
}

const PATIENCE_MS = 20_000;
const AFTER_S = 2;

/**
 * The contract of the port `Jobs` as tests: every adapter passes them against its service, an emulator or a stand-in.
 * `start` is called once; each test's jobs have names of their own.
 */
export function jobsConformance(
  name: string,
  start: () => Promise<JobQueue>,
  { largest, alwaysThere, without = {} }: JobsDifferences,
): void {
  describe(`jobs: ${name}`, () => {
    let queue: JobQueue;
    before(async () => {
      queue = await start();
    });
    after(() => queue?.stop?.());

    test("jobs arrive as they were", async () => {
      const jobs: RecordedJob[] = [
        { kind: "backup", name: newName() },
        { kind: "backup", name: newName(), schedule: "hourly", slot: "2026-11-23T02:00:00Z", cluster: "prod" },
        {
          kind: "backup",
          name: newName(),
          caller: 'ü 日本 🚣 "\\ <&> \u2028',
          spec: { includedNamespaces: ["*"], labelSelector: { matchLabels: { a: "b" } }, ttl: "720h0m0s" },
        },
        { kind: "restore", name: newName(), spec: { backupName: "b", namespaceMapping: { a: "b" } } },
      ];
      for (const job of jobs) await queue.jobs.enqueue(job);
      for (const job of jobs) assert.deepEqual((await arrival(job)).job, job);
    });

    test("of 20 at once each arrives", async () => {
      const jobs = Array.from({ length: 20 }, (): RecordedJob => ({ kind: "backup", name: newName() }));
      await Promise.all(jobs.map((job) => queue.jobs.enqueue(job)));
      for (const job of jobs) assert.deepEqual((await arrival(job)).job, job);
    });

    test(`after ${AFTER_S} s: it arrives no earlier, or says when it may begin`, async () => {
      const job: RecordedJob = { kind: "backup", name: newName() };
      const earliest = Date.now() + AFTER_S * 1000;
      await queue.jobs.enqueue(job, { after: AFTER_S });
      const { job: arrived, at } = await arrival(job);
      const { notBefore, ...rest } = arrived as RecordedJob;
      assert.deepEqual(rest, job);
      const begins = Math.max(at.getTime(), notBefore ? Date.parse(notBefore) : 0);
      // Some services keep whole seconds.
      assert(begins > earliest - 1000, `it may begin ${earliest - begins} ms too early`);
      assert(begins < earliest + PATIENCE_MS);
    });

    test("a notBefore of the job itself is kept, where it is the later one", async () => {
      const notBefore = new Date(Date.now() + 2000).toISOString();
      const job: RecordedJob = { kind: "backup", name: newName(), notBefore };
      await queue.jobs.enqueue(job, { after: 1 });
      assert.deepEqual((await arrival(job)).job, job);
    });

    const limit = typeof largest === "number" ? largest : 0;
    const noLimit = typeof largest === "string" && largest;
    test(`${limit} bytes fit`, { skip: noLimit }, async () => {
      const job = jobOf(limit);
      await queue.jobs.enqueue(job);
      assert.deepEqual((await arrival(job)).job, job);
    });

    test("what is too large is invalid, and says how much fits", { skip: noLimit }, async () => {
      const job = jobOf(2 * limit);
      const error = await rejects("invalid", queue.jobs.enqueue(job));
      assert.match(error.message, /\d bytes/);
      assert.equal(await find(job), undefined);
    });

    test("a place that isn't there is missing", { skip: alwaysThere }, async () => {
      assert(queue.nowhere);
      await rejects("missing", queue.nowhere.enqueue({ kind: "backup", name: newName() }));
    });

    describe("in trouble", () => {
      troubleTests(
        (signal) => queue.jobs.enqueue({ kind: "backup", name: newName() }, { signal }),
        async (trouble, run) => {
          assert(queue.inTrouble, `the queue has no ${trouble}: name the reason in "without"`);
          await queue.inTrouble(trouble, run);
        },
        without,
      );
    });

    const find = async ({ name }: RecordedJob) =>
      (await queue.received()).find(({ job }) => typeof job === "object" && job && "name" in job && job.name === name);

    async function arrival(job: RecordedJob): Promise<{ job: unknown; at: Date }> {
      const deadline = Date.now() + PATIENCE_MS;
      for (;;) {
        const found = await find(job);
        if (found) return found;
        assert(Date.now() < deadline, `the job ${job.name} has not arrived within ${PATIENCE_MS} ms`);
        await sleep(50);
      }
    }
  });
}

const newName = () => `job-${randomUUID()}`;

/** A job of exactly `bytes` bytes of JSON, by its labels; of ASCII only. */
function jobOf(bytes: number): RecordedJob {
  const job = (filler: string): RecordedJob => ({ kind: "backup", name, spec: { includedNamespaces: [filler] } });
  const name = newName();
  return job("n".repeat(bytes - JSON.stringify(job("")).length));
}
