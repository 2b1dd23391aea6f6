import assert from "node:assert/strict";
import { afterEach, describe, it, mock } from "node:test";
import fc from "fast-check";
import type { Config } from "../../core/config.ts";
import { listFolder } from "../../core/contents.ts";
import { isLifeboatError, LifeboatError } from "../../core/errors.ts";
import type { JobContext } from "../../core/jobs/context.ts";
import { runRetentionJob } from "../../core/jobs/retention.ts";
import { noteFolder, PROGRESS, planKey } from "../../core/layout.ts";
import { pinBackup } from "../../core/pins.ts";
import type { Bucket } from "../../core/ports.ts";
import { newRun, openProgress } from "../../core/progress.ts";
import type { RetentionDocument } from "../../core/retention/document.ts";
import { retentionStateSchema, runRetention, runRetentionSlice } from "../../core/retention/retention.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { bucketWith, filesIn, signal } from "./integrity-sample.ts";
import { putBackup as putWithVolumes } from "./location-sample.ts";
import { memoryDisks } from "./memory-disks.ts";
import { DAY_MS, HOUR_MS, putBackup } from "./retention-sample.ts";
import { failing, sliceOf } from "./slice-sample.ts";

const NOW = new Date("2026-11-24T12:00:00Z");
const ago = (days: number) => new Date(NOW.getTime() - days * DAY_MS);
const ruled = {
  name: "ruled",
  cluster: "a",
  paused: false,
  skipImmediately: false,
  template: {},
  schedule: "0 3 * * *",
};
const config: Config = {
  ...{ location: "memory://", clusters: {}, notifications: {}, signing: {}, encryption: {}, volumes: {} },
  schedules: { ruled: { ...ruled, retention: { keepLast: 2, weekly: 2 } } },
  restoreTTL: "240h",
};

afterEach(() => mock.timers.reset());

/** What `work` puts is of that time. */
async function asOf<T>(time: Date, work: () => Promise<T>): Promise<T> {
  mock.timers.reset();
  mock.timers.enable({ apis: ["Date"], now: time });
  return work();
}

/** A location with backups of two schedules, at any intervals of days; one by hand with a snapshot of a disk, and what else goes. */
interface Place {
  ruled: number[];
  aged: number[];
  pinned: boolean;
}
const places: fc.Arbitrary<Place> = fc.record({
  ruled: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 8 }),
  aged: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 8 }),
  pinned: fc.boolean(),
});

async function placed({ ruled, aged, pinned }: Place): Promise<{ bucket: Bucket; disks: ReturnType<typeof disksOf> }> {
  const bucket = memoryBucket();
  const put = async (schedule: string, gaps: number[], ttl?: string) => {
    let day = 0;
    for (const gap of gaps) {
      day += gap;
      const start = ago(day);
      await asOf(start, () => putBackup(bucket, { name: `${schedule}-${day}`, start, schedule, ttl }));
    }
  };
  await put("ruled", ruled);
  await put("aged", aged, "72h");
  await asOf(ago(50), async () => {
    const native = { snapshotHandle: "snap-1", volumeId: "vol-1", volumeType: "gp3", volumeAZ: "eu-west-1a" };
    const claim = { namespace: "shop", name: "data", uid: "u" };
    const volumes = [{ volume: "pvc-1", claim, method: "NativeSnapshot" as const, native }];
    await putWithVolumes(bucket, "disk", [], { at: ago(50).toISOString(), spec: { ttl: "24h" }, volumes });
    await bucket.put(planKey("p"), Buffer.from("{}"));
    await bucket.put(`${noteFolder("dead")}000001.json.gz`, Buffer.from("{}"));
  });
  if (pinned && ruled.length > 0)
    await asOf(ago(0.5), () => pinBackup(bucket, `ruled-${ruled.reduce((a, b) => a + b)}`));
  return { bucket, disks: disksOf() };
}

function disksOf() {
  const disks = memoryDisks(new Map([["snap-1", { "velero.io/backup": "disk" }]]));
  const cluster = () => Promise.reject(new LifeboatError("unreachable", "the cluster is gone"));
  return async () => ({ disks: { aws: async () => disks }, cluster });
}

const lengths = fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 5 });
const faults = fc.array(fc.constantFrom("before", "after", ...Array(12).fill(undefined)), { maxLength: 200 });
const asJson = (value: unknown) => JSON.parse(JSON.stringify(value));

describe("retention in slices", () => {
  it("deletes and tells the same as one that isn't cut, and leaves nothing", async () => {
    await fc.assert(
      fc.asyncProperty(places, lengths, faults, async (place, lengths, faults) => {
        const scope = { config, now: NOW, signal, log: () => {} };
        const uncut = await placed(place);
        const whole = await asOf(NOW, () => runRetention({ ...scope, bucket: uncut.bucket, volumes: uncut.disks }));
        const { bucket, disks } = await placed(place);
        let calls = 0;
        const cut = failing(bucket, () => faults[calls++]);
        let document: RetentionDocument | undefined;
        const id = newRun();
        for (let slices = 0; !document; slices++) {
          assert.ok(slices < 500, "it never ends");
          // Locks that a killed run has left are of no use by then.
          document = await asOf(new Date(NOW.getTime() + slices * HOUR_MS), async () => {
            const slice = sliceOf(lengths[slices % lengths.length]!);
            const run = { bucket: cut, id, isRest: true, schema: retentionStateSchema, slice, signal };
            try {
              const progress = await openProgress(run);
              const done = await runRetentionSlice({ ...scope, bucket: cut, volumes: disks }, progress);
              await (done && progress.end());
              return done;
            } catch (error) {
              if (!isLifeboatError(error, "unreachable")) throw error;
            }
          });
        }
        assert.deepEqual(asJson(document), asJson(whole));
        const kept = (bucket: Bucket) => filesIn(bucket, "backups/");
        assert.deepEqual(await kept(bucket), await kept(uncut.bucket));
        assert.deepEqual([...(await listFolder(bucket, PROGRESS)).keys()], []);
      }),
      { numRuns: 60 },
    );
  });

  /** More backups that go than are deleted at a time. */
  async function many(): Promise<Bucket> {
    return (await placed({ ruled: [], aged: Array(20).fill(1), pinned: false })).bucket;
  }

  it("is a job of the same run, once there is no more time", async () => {
    const bucket = await many();
    const context = { bucket, config, signal, delivery: "d" } as JobContext;
    const { document, next, ...told } = {
      next: undefined,
      document: undefined,
      ...(await asOf(NOW, () =>
        runRetentionJob({ kind: "retention", caller: "ann" }, { ...context, slice: sliceOf(0) }),
      )),
    };
    assert.deepEqual([document, Object.keys(told).sort()], [undefined, ["duplicate", "items"]]);
    const { run, ...job } = next!;
    assert.deepEqual([asJson(job), /^[0-9a-f]{32}$/.test(run!)], [{ kind: "retention", caller: "ann" }, true]);
    const last = await asOf(NOW, () => runRetentionJob(next!, context));
    const uncut = { ...context, bucket: await many() };
    const whole = await asOf(NOW, () => runRetentionJob({ kind: "retention" }, uncut));
    assert.deepEqual(asJson(last), asJson(whole));
  });

  it("keeps what was pinned between two slices, and takes nobody's word for what time it is", async () => {
    const bucket = await many();
    const files = await filesIn(bucket);
    const id = newRun();
    const open = (bucket: Bucket) =>
      openProgress({ bucket, id, isRest: false, schema: retentionStateSchema, slice: sliceOf(0), signal });
    const scope = { config, now: NOW, signal, log: () => {} };
    const first = await open(bucket);
    await asOf(NOW, async () => assert.equal(await runRetentionSlice({ ...scope, bucket }, first), undefined));
    await asOf(NOW, () => pinBackup(bucket, "aged-4"));
    const again = await openProgress({ bucket, id, isRest: true, schema: retentionStateSchema, signal });
    const document = await asOf(NOW, () => runRetentionSlice({ ...scope, bucket }, again));
    assert.match(document?.warnings[0]?.message ?? "", /^backup aged-4: (pinned|backup "aged-4" is pinned)/);

    const forged = await bucketWith(files);
    const ahead = { now: new Date("2100-01-01"), facts: [], done: {}, begun: [] };
    const rows = document!.rows.map((row) => ({ ...row, action: "delete" as const }));
    await (await open(forged)).leave({ ...ahead, rows });
    const rest = await openProgress({ bucket: forged, id, isRest: true, schema: retentionStateSchema, signal });
    await asOf(NOW, () => runRetentionSlice({ ...scope, bucket: forged }, rest));
    assert.ok((await listFolder(forged, "backups/aged-1/")).size > 0);
  });
});
