import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { isLifeboatError } from "../../core/errors.ts";
import { cancelWork, claimLock, reopen, takeLock, tryLock } from "../../core/lock.ts";
import type { Bucket } from "../../core/ports.ts";
import { leaveSlice, readSlice, type SliceRow } from "../../core/slices.ts";
import { newestState, say } from "../../core/state.ts";
import { memoryBucket } from "../memory-bucket.ts";

const FOLDER = "metadata/lifeboat/locks/restores/r-1/";
const signal = AbortSignal.timeout(20_000);
const timing = { renew: 150, valid: 200, poll: 20 };
const schema = z.object({ state: z.string() });

const scopeOf = (bucket: Bucket) => ({ bucket, kind: "restores" as const, name: "r-1" });
const rowOf = (bucket: Bucket): SliceRow => ({ bucket, folder: FOLDER, of: "a backup", voucher: undefined, signal });

/** A row whose end somebody has put there, and one object beyond it. */
async function ended(state = "released"): Promise<Bucket> {
  const bucket = memoryBucket();
  for (const number of ["000001", "999999", "1000000"])
    await bucket.put(`${FOLDER}${number}.json`, Buffer.from(JSON.stringify({ run: "x", state })));
  return bucket;
}

describe("a row of numbered objects that is at its end", () => {
  const writers: Record<string, (bucket: Bucket) => Promise<unknown>> = {
    "what is said": (bucket) => say(bucket, FOLDER, schema, () => ({ state: "new" }), signal),
    "a lock that is waited for": (bucket) => takeLock(scopeOf(bucket), { settled: async () => false, signal, timing }),
    "a lock that is tried": (bucket) => tryLock(scopeOf(bucket), { signal, timing }),
    "a lock that is claimed": async (bucket) => (await claimLock(scopeOf(bucket), { signal, timing })).take(),
    "work that is called off": (bucket) => cancelWork(scopeOf(bucket), "alice", { signal, timing }),
    "a slice that leaves its state": async (bucket) => {
      const { number = 0 } = (await readSlice(rowOf(bucket))) ?? {};
      await leaveSlice(rowOf(bucket), number + 1, {});
    },
  };
  for (const [what, write] of Object.entries(writers))
    test(`${what}: the object there is named, and what to do`, { timeout: 10_000 }, async () => {
      await assert.rejects(write(await ended()), isEnd);
    });

  test("a lock whose run has died", { timeout: 10_000 }, async () => {
    const options = { settled: async () => false, signal, timing };
    await assert.rejects(takeLock(scopeOf(await ended("held")), options), isEnd);
  });

  test("work that was called off and is to be begun again", { timeout: 10_000 }, async () => {
    await assert.rejects(reopen(scopeOf(await ended("cancelled")), signal), isEnd);
  });

  test("what it says is read all the same", async () => {
    const { number, state } = (await newestState(await ended(), FOLDER, schema, signal)) ?? {};
    assert.deepEqual({ number, state }, { number: 999_999, state: { state: "released" } });
  });
});

function isEnd(error: unknown): boolean {
  assert(isLifeboatError(error, "corrupt"), String(error));
  assert.equal(error.key, `${FOLDER}999999.json`);
  assert.match(error.message, /999999\.json/);
  assert.match(error.hint ?? "", /who .* take/);
  return true;
}
