import assert from "node:assert/strict";
import { afterEach, before, describe, it, mock } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import { listFolder, readObject } from "../../core/contents.ts";
import { isLifeboatError } from "../../core/errors.ts";
import type { VerifyDocument, VerifyListDocument } from "../../core/integrity/document.ts";
import {
  verifyListStateSchema,
  verifyLocation,
  verifyLocationSlice,
  verifySlice,
  verifyStateSchema,
} from "../../core/integrity/verify.ts";
import { backupKeys, PROGRESS } from "../../core/layout.ts";
import type { Bucket } from "../../core/ports.ts";
import { newRun, openProgress } from "../../core/progress.ts";
import { backedUp, bucketWith, filesIn, settings, signal } from "./integrity-sample.ts";
import { failing, sliceOf } from "./slice-sample.ts";

const keys = backupKeys("b");
/** Of a backup of nine segments, and of a small one. */
let files: Map<string, Buffer>;

before(async () => {
  const bucket = await backedUp(settings(40, 0, 200_000));
  await backedUp(settings(3), "other", bucket);
  files = await filesIn(bucket);
});

afterEach(() => mock.timers.reset());

/** Places in the archive where a bit is flipped, and files that are torn, gone or too many. */
const damages = fc.record({
  flips: fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { maxLength: 4 }),
  torn: fc.subarray([keys.log, keys.results, keys.resourceList], { maxLength: 1 }),
  gone: fc.subarray([keys.volumeInfo, backupKeys("other").metadata], { maxLength: 1 }),
  extra: fc.boolean(),
});
type Damages = typeof damages extends fc.Arbitrary<infer T> ? T : never;

async function damaged({ flips, torn, gone, extra }: Damages): Promise<Bucket> {
  const left = new Map(files);
  const tar = Buffer.from(left.get(keys.tar)!);
  for (const place of flips) tar[Math.floor(place * tar.length)]! ^= 1;
  left.set(keys.tar, tar);
  for (const key of torn) left.set(key, Buffer.from("torn"));
  for (const key of gone) left.delete(key);
  if (extra) left.set(`${keys.folder}b-more.json`, Buffer.from("{}"));
  return bucketWith(left);
}

/** Calls until there is a document; a call may end in the bucket's being cut off. */
async function untilDone<T>(call: () => Promise<T | undefined>): Promise<{ document: T; calls: number }> {
  for (let calls = 1; calls < 500; calls++) {
    const document = await call().catch((error: unknown) => {
      if (!isLifeboatError(error, "unreachable")) throw error;
    });
    if (document) return { document, calls };
  }
  throw new Error("it never ends");
}

const lengths = fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 5 });
const faults = fc.array(fc.constantFrom("before", "after", undefined, undefined, undefined, undefined, undefined), {
  maxLength: 60,
});
const seed = "a sample";
const run = { id: newRun(), isRest: true, signal };
const asJson = (value: unknown) => JSON.parse(JSON.stringify(value));

describe("a verification in slices", () => {
  it("of one backup tells the same as one that isn't cut", async () => {
    await fc.assert(
      fc.asyncProperty(damages, fc.constantFrom(0, 0.4, 1), lengths, faults, async (damage, read, lengths, faults) => {
        const whole = await verifyLocation(await damaged(damage), { names: ["b"], read, seed, signal });
        const bucket = await damaged(damage);
        let slices = 0;
        let calls = 0;
        const cut = failing(bucket, () => faults[calls++]);
        const { document } = await untilDone<VerifyDocument>(async () => {
          const slice = sliceOf(lengths[slices++ % lengths.length]!);
          const progress = await openProgress({ ...run, bucket: cut, schema: verifyStateSchema, slice });
          const chosenBy = progress.before ? "another sample" : seed;
          const done = await verifySlice(cut, "b", { read, seed: chosenBy, signal }, progress);
          if (done) await progress.end();
          return done;
        });
        assert.deepEqual(asJson([document]), asJson(whole.backups));
      }),
      { numRuns: 12 },
    );
  });

  it("of a location tells the same as one that isn't cut, and leaves nothing", async () => {
    await fc.assert(
      fc.asyncProperty(damages, lengths, faults, async (damage, lengths, faults) => {
        const options = { read: 1, signal };
        const whole = await verifyLocation(await damaged(damage), options);
        const bucket = await damaged(damage);
        let slices = 0;
        let calls = 0;
        const cut = failing(bucket, () => faults[calls++]);
        const told = new Set<string>();
        const { document } = await untilDone<VerifyListDocument>(async () => {
          const slice = sliceOf(lengths[slices++ % lengths.length]!);
          const progress = await openProgress({ ...run, bucket: cut, schema: verifyListStateSchema, slice });
          const found = async ({ name }: VerifyDocument) => void told.add(name);
          const done = await verifyLocationSlice(cut, { ...options, found }, progress);
          if (done) await progress.end();
          return done;
        });
        assert.deepEqual(asJson(document), asJson(whole));
        assert.deepEqual(
          [...told].sort(),
          whole.backups.map(({ name }) => name),
        );
        assert.deepEqual([...(await listFolder(bucket, PROGRESS)).keys()], []);
      }),
      { numRuns: 12 },
    );
  });

  it("reads each segment once, however short its slices are", async () => {
    const bucket = await bucketWith(files);
    let read = 0;
    const watched: Bucket = {
      ...bucket,
      get: (key, options) => {
        if (key === keys.tar && options?.range) read += options.range.end - options.range.start;
        return bucket.get(key, options);
      },
    };
    const { calls } = await untilDone<VerifyDocument>(async () => {
      const slice = sliceOf(0);
      const progress = await openProgress({ ...run, bucket: watched, schema: verifyStateSchema, slice });
      return verifySlice(watched, "b", { read: 1, signal }, progress);
    });
    assert.ok(calls > 9, `${calls} slices`);
    const { length } = files.get(keys.tar)!;
    // Each slice reads one segment ahead that the next one reads again.
    assert.ok(read < 2.5 * length, `${read} bytes of ${length}`);
  });

  it("begins anew with a backup that has been made anew", async () => {
    const bucket = await bucketWith(files);
    const open = async (slice: { ends: AbortSignal }) =>
      openProgress({ ...run, bucket, schema: verifyStateSchema, slice });
    assert.equal(await verifySlice(bucket, "b", { read: 1, signal }, await open(sliceOf(8))), undefined);
    const another = await backedUp(settings(4, 1, 200_000));
    for (const [key, body] of await filesIn(another)) await bucket.put(key, body);
    const document = await verifySlice(bucket, "b", { read: 1, signal }, await open(sliceOf(1000)));
    assert.deepEqual([document?.ok, document?.segments?.total], [true, document?.segments?.read]);
  });

  it("goes on with nothing that its own slices have not left, and only at the rest", async () => {
    const bucket = await bucketWith(files);
    const open = (more: { id?: string; isRest?: boolean } = {}) =>
      openProgress({ ...run, ...more, bucket, schema: verifyStateSchema, slice: sliceOf(9) });
    const state = {
      ...{ record: "", position: { seed: "", agreed: true, segment: 9 } },
      findings: { found: [], keys: [], more: 0, unchecked: [] },
    };
    await (await open({ isRest: false })).leave(state);
    const [first = ""] = (await listFolder(bucket, PROGRESS)).keys();
    const second = first.replace("000001", "000002");
    assert.deepEqual([(await open()).before, (await open({ isRest: false })).before], [state, undefined]);
    assert.equal((await open({ id: newRun() })).before, undefined);

    const stored = await readObject(bucket, first);
    const { signature, ...unsigned } = JSON.parse(stored.toString());
    for (const forged of [stored, JSON.stringify(unsigned), '{"schemaVersion": 1, "state": "bm8="}']) {
      await bucket.put(second, Buffer.from(forged));
      await assert.rejects(open(), { kind: "conflict", message: /000002.json in .* was not left by the run/ });
    }
    const begun = await open({ isRest: false });
    await assert.rejects(begun.leave(state), { kind: "conflict", message: /another run goes on/ });
  });

  it("that is killed loses a minute of it at most, at the rest", async () => {
    const bucket = await bucketWith(files);
    const open = (isRest: boolean) =>
      openProgress({ ...run, id, isRest, bucket, schema: z.number(), slice: { ends: signal } });
    const id = newRun();
    const stepAfter = async (progress: Awaited<ReturnType<typeof open>>, ms: number, state: number) => {
      mock.timers.tick(ms);
      assert.ok(await progress.goOn(() => state));
    };
    mock.timers.enable({ apis: ["Date"] });
    const rest = await open(true);
    await stepAfter(rest, 59_999, 1);
    assert.equal((await open(true)).before, undefined);
    await stepAfter(rest, 1, 2);
    assert.equal((await open(true)).before, 2);
    await stepAfter(rest, 59_999, 3);
    assert.equal((await open(true)).before, 2);
    await stepAfter(rest, 1, 4);
    assert.equal((await open(true)).before, 4);
  });
});
