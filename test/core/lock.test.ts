import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readObject } from "../../core/contents.ts";
import { isLifeboatError, LifeboatError } from "../../core/errors.ts";
import { lockFolder } from "../../core/layout.ts";
import { type Cancellable, cancelWork, type Lock, lockState, reopen, takeLock, tryLock } from "../../core/lock.ts";
import type { Bucket } from "../../core/ports.ts";
import { memoryBucket } from "../memory-bucket.ts";

const TIMING = { renew: 150, valid: 600, poll: 20 };

const FOLDER = "metadata/lifeboat/locks/restores/r-1/";
const scopeOf = (bucket: Bucket = memoryBucket()): Cancellable => ({ bucket, kind: "restores", name: "r-1" });
const take = (scope: Cancellable, settled = async () => false, timing = TIMING) =>
  takeLock(scope, { settled, signal: AbortSignal.timeout(10_000), timing });
const held = (lock: Awaited<ReturnType<typeof takeLock>>): Lock => {
  assert(typeof lock !== "string", `expected a lock, got ${lock}`);
  return lock;
};
/** A run that died: its lock is neither renewed nor given back. */
const died = (scope: Cancellable) =>
  scope.bucket.put(`${FOLDER}000001.json`, Buffer.from('{"run":"x","state":"held"}'));

describe("the lock of a backup or restore", () => {
  test("of 20 contenders one gets it; the others see what it settles", async () => {
    const scope = scopeOf();
    let done = false;
    let working = 0;
    const ends = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const lock = await take(scope, async () => done, { ...TIMING, renew: 5_000, valid: 20_000 });
        if (typeof lock === "string") return lock;
        await using _ = lock;
        assert.equal(++working, 1);
        await sleep(100);
        done = true;
        working--;
        return "made";
      }),
    );
    assert.deepEqual(ends.sort(), [...Array(1).fill("made"), ...Array(19).fill("settled")]);
  });

  test("who meets a lock that is renewed is told that a run lives", async () => {
    const scope = scopeOf();
    await using _ = held(await take(scope));
    assert.equal(await take(scope), "running");
  });

  test("a run that fails when it looks once more gives it back", async () => {
    const scope = scopeOf();
    let looked = 0;
    const failing = async () => {
      if (++looked > 1) throw new LifeboatError("unreachable", "the bucket does not answer");
      return false;
    };
    await assert.rejects(take(scope, failing), /does not answer/);
    assert.equal((await lockState(scope)).state, "free");
  });

  test("what was given back can be taken at once", async () => {
    const scope = scopeOf();
    await held(await take(scope))[Symbol.asyncDispose]();
    assert.equal((await lockState(scope)).state, "free");
    const before = performance.now();
    await held(await take(scope))[Symbol.asyncDispose]();
    assert(performance.now() - before < TIMING.valid / 2);
  });

  test("the lock of a run that died is taken over once it is no longer valid, by one", async () => {
    const scope = scopeOf();
    await died(scope);
    const before = performance.now();
    const ends = await Promise.all([take(scope), take(scope), take(scope)]);
    assert(performance.now() - before >= TIMING.valid - 100);
    const locks = ends.filter((end) => typeof end !== "string");
    assert.equal(locks.length, 1);
    assert.deepEqual(
      ends.filter((end) => typeof end === "string"),
      ["running", "running"],
    );
    await locks[0]![Symbol.asyncDispose]();
  });

  for (const skew of [-3_600_000, 3_600_000]) {
    test(`the bucket's clock counts, though it is ${skew / 60_000} minutes off ours`, async () => {
      const bucket = memoryBucket();
      const skewed: Bucket = {
        ...bucket,
        async *list(...args) {
          for await (const listed of bucket.list(...args)) {
            yield listed.key === undefined
              ? listed
              : { ...listed, modified: new Date(listed.modified.getTime() + skew) };
          }
        },
      };
      const scope = scopeOf(skewed);
      await died(scope);
      const before = performance.now();
      await using _ = held(await take(scope));
      const waited = performance.now() - before;
      assert(waited >= TIMING.valid - 100 && waited < 4 * TIMING.valid, `waited ${waited} ms`);
    });
  }

  test("a run whose lock was taken over is told so", async () => {
    const scope = scopeOf();
    await using lock = held(await take(scope));
    await scope.bucket.put(`${FOLDER}000002.json`, Buffer.from('{"run":"other","state":"held"}'));
    await sleep(TIMING.renew + 200);
    assert(isLifeboatError(lock.signal.reason, "busy"));
  });

  test("a bucket that fails for a moment does not cost the lock; one that fails for long does", async () => {
    const bucket = memoryBucket();
    let down = false;
    const flaky: Bucket = {
      ...bucket,
      list: (...args) => {
        if (down) throw new Error("down");
        return bucket.list(...args);
      },
    };
    const scope = scopeOf(flaky);
    await using lock = held(await take(scope));
    down = true;
    await sleep(TIMING.renew);
    down = false;
    await sleep(TIMING.renew);
    assert.equal(lock.signal.aborted, false);
    down = true;
    await sleep(TIMING.valid + 200);
    assert.equal(lock.signal.aborted, true);
    down = false;
  });

  test("a run that is called off is told so, and nobody takes its place", async () => {
    const scope = scopeOf();
    const lock = held(await take(scope));
    const waiting = take(scope);
    assert.equal(await cancelWork(scope, "alice", { timing: TIMING }), "asked");
    await sleep(200);
    assert(isLifeboatError(lock.signal.reason, "conflict"));
    assert.match(lock.signal.reason.message, /cancelled by alice/);
    await lock[Symbol.asyncDispose]();
    assert.equal(await waiting, "cancelled");
    assert.equal(await take(scope), "cancelled");
  });

  test("work that is called off before it is begun is not begun, until it is let go on", async () => {
    const scope = scopeOf();
    assert.equal(await cancelWork(scope, "alice", { timing: TIMING }), "done");
    assert.equal(await take(scope), "cancelled");
    assert.equal((await lockState(scope)).state, "cancelled");
    await reopen(scope);
    await using next = held(await take(scope));
    await sleep(100);
    assert.equal(next.signal.aborted, false);
  });

  for (const kind of ["backups", "shards", "verification", "retention"] as const)
    test(`nobody calls off what isn't a restore: of ${kind} such an object is no lock, nor does it stay`, async () => {
      const scope = { bucket: memoryBucket(), kind, name: "r-1" };
      const folder = lockFolder(kind, "r-1");
      await scope.bucket.put(`${folder}000001.json`, Buffer.from('{"run":"x","state":"cancelled"}'));
      assert.equal((await lockState(scope)).state, "free");
      const options = { settled: async () => false, signal: AbortSignal.timeout(10_000), timing: TIMING };
      await held(await takeLock(scope, options))[Symbol.asyncDispose]();
      const newest = await readObject(scope.bucket, `${folder}000003.json`);
      assert.equal(JSON.parse(newest.toString()).state, "released");
    });

  test("a bucket that answers no more costs the lock in time", async () => {
    const bucket = memoryBucket();
    let hangs = false;
    const hanging: Bucket = {
      ...bucket,
      async *list(...args) {
        if (hangs) await new Promise(() => {});
        yield* bucket.list(...args);
      },
    };
    const scope = scopeOf(hanging);
    await using lock = held(await take(scope));
    hangs = true;
    const before = performance.now();
    while (!lock.signal.aborted) await sleep(10);
    assert(performance.now() - before < TIMING.valid);
    hangs = false;
  });

  test("what a renewal stores while the lock is given back does not keep it", async () => {
    const bucket = memoryBucket();
    const slow: Bucket = {
      ...bucket,
      async put(key, body, options) {
        await bucket.put(key, body, { ifAbsent: options?.ifAbsent });
        if (key.endsWith("000002.json")) await sleep(50);
        options?.signal?.throwIfAborted();
      },
    };
    const scope = scopeOf(slow);
    const lock = held(await take(scope));
    await sleep(TIMING.renew + 40);
    await lock[Symbol.asyncDispose]();
    assert.equal((await lockState(scope)).state, "free");
  });

  test("work that ends between a look at it and a look at the lock is not done again", async () => {
    const scope = scopeOf();
    let looked = 0;
    assert.equal(await take(scope, async () => ++looked > 1), "settled");
    assert.equal((await lockState(scope)).state, "free");
  });

  test("a run that died is told from one that works", async () => {
    const scope = scopeOf();
    await died(scope);
    assert.equal((await lockState(scope, { timing: TIMING })).state, "held");
    await sleep(TIMING.valid + 50);
    assert.equal((await lockState(scope, { timing: TIMING })).state, "died");
  });

  test("what the bucket stored, though its answer was lost, is no other run's", async () => {
    const bucket = memoryBucket();
    let lost = 0;
    const losing: Bucket = {
      ...bucket,
      async put(key, ...rest) {
        await bucket.put(key, ...rest);
        if (!key.endsWith("000002.json")) return;
        lost++;
        throw new LifeboatError("unreachable", "the answer is lost");
      },
    };
    const scope = scopeOf(losing);
    const lock = held(await take(scope));
    await sleep(2 * TIMING.renew + 200);
    assert.equal(lost, 1);
    assert.equal(lock.signal.aborted, false);
    assert.ok((await Array.fromAsync(bucket.list(`${FOLDER}000003`))).length > 0);
    await lock[Symbol.asyncDispose]();
    assert.equal((await lockState(scope)).state, "free");
  });

  test("nobody waits for what its own bucket's second try met", async () => {
    const bucket = memoryBucket();
    const retrying: Bucket = {
      ...bucket,
      async put(key, body, options) {
        await bucket.put(key, body, options);
        if (key.endsWith("000001.json")) await bucket.put(key, body, options);
      },
    };
    await using lock = held(await take(scopeOf(retrying)));
    assert.equal(lock.signal.aborted, false);
  });

  test("only for restores, which can be called off, is the bucket asked again and again", async () => {
    const bucket = memoryBucket();
    let lists = 0;
    const counting: Bucket = {
      ...bucket,
      list: (...args) => {
        lists++;
        return bucket.list(...args);
      },
    };
    const listed = async (kind: "backups" | "restores") => {
      const options = { settled: async () => false, signal: AbortSignal.timeout(10_000), timing: TIMING };
      await using _ = held(await takeLock({ bucket: counting, kind, name: "r-1" }, options));
      lists = 0;
      await sleep(2 * TIMING.renew);
      return lists;
    };
    assert.equal(await listed("backups"), 0);
    assert.ok((await listed("restores")) > 2);
  });

  test("who waits for nobody takes what is free, died or was called off, which stays so", async () => {
    const scope = scopeOf();
    const at = { signal: AbortSignal.timeout(10_000), timing: TIMING };
    await using _ = held(await take(scope));
    assert.equal(await tryLock(scope, at), "running");
    const other = scopeOf();
    await died(other);
    assert.equal(await tryLock(other, at), "running");
    await sleep(TIMING.valid + 50);
    await held(await tryLock(other, at))[Symbol.asyncDispose]();
    await cancelWork(other, "alice", { timing: TIMING });
    const lock = held(await tryLock(other, at));
    assert.equal((await lockState(other, { timing: TIMING })).state, "held");
    await lock[Symbol.asyncDispose]();
    assert.equal((await lockState(other)).state, "cancelled");
  });

  test("of a lock that is removed nothing is left, even where it was being renewed", async () => {
    const bucket = memoryBucket();
    const slow: Bucket = {
      ...bucket,
      async put(key, body, options) {
        if (key.endsWith("000002.json")) await sleep(100);
        await bucket.put(key, body, { ifAbsent: options?.ifAbsent });
      },
    };
    {
      await using lock = held(await take(scopeOf(slow)));
      await sleep(TIMING.renew + 40);
      await lock.remove();
    }
    await sleep(150);
    assert.deepEqual(await Array.fromAsync(bucket.list(FOLDER)), []);
  });

  test("a lock that somebody else has taken over isn't removed", async () => {
    const scope = scopeOf();
    await using lock = held(await take(scope));
    const other = `${FOLDER}000002.json`;
    await scope.bucket.put(other, Buffer.from('{"run":"other","state":"held"}'));
    await lock.remove();
    assert.equal((await lockState(scope, { timing: TIMING })).state, "held");
    assert.equal(await tryLock(scope, { signal: AbortSignal.timeout(10_000), timing: TIMING }), "running");
  });

  test("a credential that can neither overwrite nor delete is enough", async () => {
    const bucket = memoryBucket();
    const createOnly: Bucket = {
      ...bucket,
      put: (key, body, options) => bucket.put(key, body, { ...options, ifAbsent: true }),
      delete: () => assert.fail("deletes"),
    };
    const scope = scopeOf(createOnly);
    await held(await take(scope))[Symbol.asyncDispose]();
    await held(await take(scope))[Symbol.asyncDispose]();
  });
});
