import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type BackupResult, backup, backupSlice } from "../../core/backup/backup.ts";
import type { BackupSpec } from "../../core/backup/scope.ts";
import { listBackups, readLog } from "../../core/catalog.ts";
import { listFolder, readObject } from "../../core/contents.ts";
import { deleteBackup } from "../../core/delete.ts";
import { readFindings } from "../../core/documents.ts";
import { isLifeboatError, LifeboatError } from "../../core/errors.ts";
import { signedBy } from "../../core/integrity/seal.ts";
import { verifyBackup } from "../../core/integrity/verify.ts";
import type { Kube } from "../../core/kube/client.ts";
import { backupKeys, PIECES, pieceFolder } from "../../core/layout.ts";
import { numberedKey } from "../../core/once.ts";
import type { Bucket, Signer } from "../../core/ports.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { embeddedCluster } from "./embedded-cluster.ts";
import {
  cluster,
  contents,
  ENDLESS,
  failing,
  runOn,
  sideFiles,
  signal,
  signer,
  sliceOf,
  untilMade,
} from "./slice-sample.ts";

const { kube } = await embeddedCluster(cluster());

const runOf = (bucket: Bucket, spec?: BackupSpec) => runOn(kube, bucket, spec);

describe("a backup in slices", () => {
  for (const spec of [{}, { includedNamespaces: ["a", "c"] }] as BackupSpec[])
    it(`is the same as one that isn't cut: ${JSON.stringify(spec)}`, async () => {
      const uncut = memoryBucket();
      const whole = await backup(runOf(uncut, spec));
      const lengths = fc.array(fc.integer({ min: 4, max: 40 }), { minLength: 1 });
      const sizes = fc.constantFrom(1, 20_000, undefined);
      await fc.assert(
        fc.asyncProperty(lengths, sizes, async (lengths, pieceBytes) => {
          const cut = memoryBucket();
          let slices = 0;
          const { record, outcome } = await untilMade(async () => {
            assert.deepEqual(await listBackups(cut), []);
            return backupSlice(runOf(cut, spec), sliceOf(lengths[slices++ % lengths.length]!, pieceBytes));
          });
          assert.deepEqual(await contents(cut), await contents(uncut));
          assert.deepEqual(outcome, whole.outcome);
          assert.deepEqual(await readFindings(cut, record), await readFindings(uncut, whole.record));
          assert.deepEqual(await sideFiles(cut), await sideFiles(uncut));
          assert.deepEqual((await verifyBackup(cut, "b", { read: 1, signal })).damaged, []);
          assert.deepEqual([...(await listFolder(cut, pieceFolder("b"))).keys()], []);
          assert.equal((await readLog(cut, "backups", "b")).match(/Goes on with/g)?.length ?? 0, slices - 1);
        }),
        { numRuns: 3 },
      );
    });

  it("tells of a LIST that fails as one that isn't cut, and of none that was only read ahead", async () => {
    const refusing = (refuses: () => boolean): Kube => ({
      ...kube,
      request: async (request) => {
        if (!request.path.endsWith("/secrets") || !refuses()) return kube.request(request);
        const status = { kind: "Status", status: "Failure", code: 403, reason: "Forbidden", message: "not you" };
        return { status: 403, headers: {}, body: Buffer.from(JSON.stringify(status)), attempts: 1, latencyMs: 0 };
      },
    });
    const always = refusing(() => true);
    const whole = await backup({ ...runOf(memoryBucket()), kube: always });
    for (const pages of [3, 7]) {
      const cut = memoryBucket();
      const { outcome } = await untilMade(() => backupSlice({ ...runOf(cut), kube: always }, sliceOf(pages)));
      assert.deepEqual(asJson(outcome), asJson(whole.outcome));
    }
    const uncut = await backup(runOf(memoryBucket()));
    const secrets = uncut.outcome.items;
    let asked = 0;
    const once = refusing(() => asked++ === 0);
    const bucket = memoryBucket();
    const untilAsked = {
      ends: {
        get aborted() {
          return asked > 0;
        },
      } as AbortSignal,
    };
    assert.ok("more" in (await backupSlice({ ...runOf(bucket), kube: once }, untilAsked)));
    const { outcome } = await untilMade(() => backupSlice({ ...runOf(bucket), kube: once }, sliceOf(1000)));
    assert.deepEqual([outcome.items, outcome.errors], [secrets, uncut.outcome.errors]);
  });

  it("is the same whatever calls of the bucket fail", async () => {
    const uncut = memoryBucket();
    await backup(runOf(uncut));
    const faults = fc.array(fc.constantFrom("before", "after", undefined, undefined, undefined, undefined), {
      minLength: 20,
    });
    await fc.assert(
      fc.asyncProperty(faults, fc.integer({ min: 5, max: 30 }), async (faults, pages) => {
        const cut = memoryBucket();
        let calls = 0;
        const bucket = failing(cut, () => faults[calls++]);
        await untilMade(async () => {
          try {
            return await backupSlice(runOf(bucket), sliceOf(pages));
          } catch (error) {
            const committed = (await listBackups(cut)).length > 0;
            if (committed) return { record: (await listBackups(cut))[0]!.record!, adopted: false } as BackupResult;
            if (isLifeboatError(error, "unreachable")) return { more: true, items: 0 };
            throw error;
          }
        });
        assert.deepEqual(await contents(cut), await contents(uncut));
        assert.deepEqual((await verifyBackup(cut, "b", { read: 1, signal })).damaged, []);
      }),
      { numRuns: 5 },
    );
  });

  it("stores one that fits into its first slice at once", async () => {
    const bucket = memoryBucket();
    const keys: string[] = [];
    const watched = {
      ...bucket,
      put: (...call: Parameters<Bucket["put"]>) => {
        keys.push(call[0]);
        return bucket.put(...call);
      },
    };
    const result = await backupSlice(runOf(watched), sliceOf(1000));
    assert.ok(!("more" in result));
    assert.deepEqual(
      keys.filter((key) => key.startsWith(PIECES)),
      [],
    );
    assert.equal((await verifyBackup(bucket, "b", { read: 1, signal })).ok, true);
  });

  it("leaves no pieces, though its first slice is the only one", async () => {
    const bucket = memoryBucket();
    const pieces: string[] = [];
    const watched: Bucket = {
      ...bucket,
      put: (key, ...rest) => {
        if (key.startsWith(PIECES)) pieces.push(key);
        return bucket.put(key, ...rest);
      },
    };
    const result = await backupSlice(runOf(watched), { ...ENDLESS, pieceBytes: 10_000 });
    assert.ok("record" in result && pieces.length > 1);
    assert.deepEqual([...(await listFolder(bucket, PIECES)).keys()], []);
  });

  it("is no other backup's", async () => {
    const bucket = memoryBucket();
    await backupSlice(runOf(bucket), sliceOf(2));
    await assert.rejects(backupSlice(runOf(bucket, { includedNamespaces: ["a"] }), sliceOf(2)), {
      kind: "conflict",
      message: /an unfinished backup "b" in .* with other options lies there/,
      hint: /lifeboat backup delete b/,
    });
    assert.ok((await deleteBackup(bucket, "b")) > 0);
    assert.deepEqual(await Array.fromAsync(bucket.list("")), []);
  });

  it("ends where a piece was changed", async () => {
    const bucket = memoryBucket();
    await backupSlice(runOf(bucket), sliceOf(2));
    const [piece = ""] = [...(await listFolder(bucket, pieceFolder("b"))).keys()].filter((key) =>
      key.endsWith(".tar.gz"),
    );
    const body = await readObject(bucket, piece);
    body[body.length - 1]! ^= 1;
    await bucket.put(piece, body);
    await assert.rejects(backupSlice(runOf(bucket), sliceOf(1000)), { kind: "corrupt", key: piece });
    assert.deepEqual(await listBackups(bucket), []);
  });

  it("is signed by who signed all its slices", async () => {
    const bucket = memoryBucket();
    const [ours, others] = [signer(), signer()];
    const call = (by?: Signer) => backupSlice({ ...runOf(bucket), signer: by && (async () => by) }, sliceOf(10));
    assert.ok("more" in (await call(ours)));
    await assert.rejects(call(others), { kind: "conflict", message: /can't be finished and signed/ });
    const { record } = await untilMade(() => call(ours));
    assert.equal(signedBy(record), ours.publicKey);

    const unsigned = memoryBucket();
    await backupSlice(runOf(unsigned), sliceOf(10));
    await assert.rejects(backupSlice({ ...runOf(unsigned), signer: async () => ours }, sliceOf(10)), {
      kind: "conflict",
      message: /can't be finished and signed/,
    });
  });

  it("is signed though a run was stopped once its archive was there, but not where that is another's", async () => {
    const ours = signer();
    const keys = backupKeys("b");
    const stoppedAt = async (file: string) => {
      const bucket = memoryBucket();
      const put: Bucket["put"] = (key, ...rest) =>
        key === file ? Promise.reject(new LifeboatError("timeout", "it was stopped")) : bucket.put(key, ...rest);
      const call = (at: Bucket) => backupSlice({ ...runOf(at), signer: async () => ours }, sliceOf(10, 1000));
      await call(bucket);
      await assert.rejects(
        untilMade(() => call({ ...bucket, put })),
        { kind: "timeout" },
      );
      return { bucket, again: () => untilMade(() => call(bucket)) };
    };
    for (const file of [keys.index, keys.results, keys.log]) {
      const { bucket, again } = await stoppedAt(file);
      const { record } = await again();
      assert.equal(signedBy(record), ours.publicKey);
      const { damaged } = await verifyBackup(bucket, "b", { read: 1, trustedKeys: [ours.publicKey], signal });
      assert.deepEqual(damaged, []);
    }
    const { bucket, again } = await stoppedAt(keys.index);
    const body = await readObject(bucket, keys.tar);
    await bucket.put(keys.tar, body.subarray(1));
    await assert.rejects(again(), { kind: "conflict" });
    const { again: afterLog } = await stoppedAt(keys.metadata);
    await assert.rejects(afterLog(), { kind: "conflict", message: /nothing proves who wrote it/ });
  });

  it("is signed only where its state was left in its place, and its pieces lie there", async () => {
    const bucket = memoryBucket();
    const ours = signer();
    const call = (name: string, by?: Signer) =>
      backupSlice({ ...runOf(bucket), name, signer: by && (async () => by) }, sliceOf(10, 1000));
    const copy = async (from: string, to: string) =>
      bucket.put(numberedKey(pieceFolder(to), 1), await readObject(bucket, numberedKey(pieceFolder(from), 1)));
    await call("yesterday", ours);
    await copy("yesterday", "today");
    await assert.rejects(call("today", ours), { kind: "conflict", message: /can't be finished and signed/ });

    await call("unsigned");
    await copy("unsigned", "another");
    await assert.rejects(call("another"), { kind: "conflict", message: /unsigned.* is no piece of it/ });
    assert.deepEqual(await listBackups(bucket), []);
  });
});

const asJson = (value: unknown) => JSON.parse(JSON.stringify(value));
