import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { type BackupResult, backup, backupSlice } from "../../core/backup/backup.ts";
import type { BackupSpec } from "../../core/backup/scope.ts";
import { backupShard } from "../../core/backup/shards.ts";
import type { BackupMore } from "../../core/backup/slices.ts";
import { listBackups, readLog } from "../../core/catalog.ts";
import { listFolder, readObject } from "../../core/contents.ts";
import { deleteBackup } from "../../core/delete.ts";
import { isLifeboatError } from "../../core/errors.ts";
import { signedBy } from "../../core/integrity/seal.ts";
import { verifyBackup } from "../../core/integrity/verify.ts";
import type { Kube } from "../../core/kube/client.ts";
import { pieceFolder } from "../../core/layout.ts";
import { numberedKey } from "../../core/once.ts";
import type { Bucket, Signer } from "../../core/ports.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { embeddedCluster, inCluster } from "./embedded-cluster.ts";
import { someCluster } from "./shard-sample.ts";
import {
  cluster,
  contents,
  ENDLESS,
  failing,
  heldUp,
  runOn,
  sideFiles,
  signal,
  signer,
  sliceOf,
} from "./slice-sample.ts";

const someSpec: fc.Arbitrary<BackupSpec> = fc.constantFrom<BackupSpec>(
  {},
  { includedNamespaces: ["a", "a-b", "b"] },
  { excludedNamespaces: ["a"] },
  { labelSelector: { matchLabels: { app: "app-1" } } },
  { orLabelSelectors: [{ matchLabels: { app: "app-1" } }, { matchExpressions: [{ key: "app", operator: "Exists" }] }] },
  { includedResources: ["pods", "serviceaccounts", "widgets.example.com"] },
  { secrets: "omit", includedNamespaces: ["a*"] },
);

interface Sharding {
  shards?: number;
  /** Which of the shards that are left is next, of so many. */
  pick?: (left: number) => number;
  /** Of each run, how many pages it may read. */
  pages?: () => number;
  bucket?: Bucket;
  sign?: () => Promise<Signer>;
}

/** Makes a backup as whoever drives its runs does, one after the other; what fails for the bucket is run again later. */
async function inShards(kube: Kube, spec: BackupSpec, stored: Bucket, how: Sharding = {}): Promise<BackupResult> {
  const { shards = 3, pick = () => 0, pages = () => 1000, bucket = stored, sign } = how;
  const run = () => ({ ...runOn(kube, bucket, spec), signer: sign });
  const survived = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      if (isLifeboatError(error, "unreachable") || isLifeboatError(error, "conflict")) return undefined;
      throw error;
    }
  };
  for (let rounds = 0; rounds < 500; rounds++) {
    const ended = await survived(() => backupSlice(run(), sliceOf(pages()), shards));
    if (ended && !("more" in ended)) return ended;
    const committed = (await listBackups(stored))[0]?.record;
    if (committed) return { record: committed } as BackupResult;
    const left = [...(ended?.shards?.unread ?? [])];
    while (left.length > 0) {
      const place = pick(left.length);
      const end = await survived(() => backupShard(run(), left[place]!, sliceOf(pages())));
      if (!end || !("more" in end)) left.splice(place, 1);
      assert.deepEqual(await listBackups(stored), []);
    }
  }
  throw new Error("the backup is never made");
}

const asJson = (value: unknown) => JSON.parse(JSON.stringify(value));

const { kube } = await embeddedCluster(cluster());

describe("a backup in shards", () => {
  it("is the same as one by a single worker, whatever the cluster, its filters, the order of shards and where they are cut", async () => {
    const numbers = fc.array(fc.nat(1000), { minLength: 40 });
    let cut = 0;
    await fc.assert(
      fc.asyncProperty(
        someCluster,
        someSpec,
        fc.integer({ min: 2, max: 6 }),
        numbers,
        async (objects, spec, shards, some) => {
          await inCluster(objects, async (kube) => {
            let at = 0;
            const next = () => some[at++ % some.length]!;
            const [alone, together] = [memoryBucket(), memoryBucket()];
            const whole = await backup(runOn(kube, alone, spec));
            const made = await inShards(kube, spec, together, {
              ...{ shards, pick: (left) => next() % left, pages: () => 1 + (next() % 60) },
            });
            assert.deepEqual(await contents(together), await contents(alone));
            assert.deepEqual(asJson(made.outcome), asJson(whole.outcome));
            assert.deepEqual(await sideFiles(together), await sideFiles(alone));
            assert.deepEqual(comparable(made), comparable(whole));
            assert.deepEqual((await verifyBackup(together, "b", { read: 1, signal })).damaged, []);
            assert.deepEqual([...(await listFolder(together, pieceFolder("b"))).keys()], []);
            if ((await readLog(together, "backups", "b")).includes("Is read in")) cut++;
          });
        },
      ),
      { numRuns: 12, endOnFailure: true },
    );
    assert.ok(cut > 6, `only ${cut} were read in shards`);
  });

  const runOf = (bucket: Bucket, sign?: Signer) => ({
    ...runOn(kube, bucket),
    signer: sign && (async () => sign),
  });
  /** A backup whose shards are read, all but those that are named. */
  /** The key of the only state that a shard has left. */
  const leftOf = async (bucket: Bucket, shard: number) =>
    [...(await listFolder(bucket, pieceFolder("b"))).keys()].find((key) => key.endsWith(`-${shard}/000001.json`))!;
  async function readShards(bucket: Bucket, { but = [] as number[], sign = undefined as Signer | undefined } = {}) {
    const begun = (await backupSlice(runOf(bucket, sign), ENDLESS, 3)) as BackupMore;
    assert.deepEqual(begun.shards?.unread, [1, 2, 3]);
    for (const shard of [1, 2, 3])
      if (!but.includes(shard))
        assert.ok(!("more" in (await backupShard(runOf(bucket, sign), shard, ENDLESS))), `shard ${shard} is read`);
  }

  it("is the same whatever calls of the bucket fail", async () => {
    const alone = memoryBucket();
    await backup(runOf(alone));
    const faults = fc.array(fc.constantFrom("before", "after", ...Array<undefined>(6).fill(undefined)), {
      minLength: 30,
    });
    await fc.assert(
      fc.asyncProperty(faults, fc.integer({ min: 5, max: 30 }), async (faults, pages) => {
        const stored = memoryBucket();
        let calls = 0;
        const bucket = failing(stored, () => faults[calls++]);
        await inShards(kube, {}, stored, { pages: () => pages, bucket });
        assert.deepEqual(await contents(stored), await contents(alone));
        assert.deepEqual((await verifyBackup(stored, "b", { read: 1, signal })).damaged, []);
      }),
      { numRuns: 6, endOnFailure: true },
    );
  });

  it("whose worker is lost is taken over where that had got to", async () => {
    const [alone, stored] = [memoryBucket(), memoryBucket()];
    await backup(runOf(alone));
    await readShards(stored, { but: [3] });
    let calls = 0;
    const dying = failing(stored, () => (calls++ < 5 ? undefined : "before"));
    await assert.rejects(backupShard(runOf(dying), 3, { ...ENDLESS, pieceMs: 0 }), { kind: "unreachable" });
    const left = (await backupSlice(runOf(stored), ENDLESS, 3)) as BackupMore;
    assert.deepEqual(left.shards?.unread, [3]);
    assert.ok(left.items > 0);
    assert.ok(!("more" in (await backupShard(runOf(stored), 3, ENDLESS))));
    assert.ok(!("more" in (await backupSlice(runOf(stored), ENDLESS, 3))));
    assert.match(
      await readLog(stored, "backups", "b"),
      /Reads shard 3 of 3 as of resourceVersion \d+" backup=b slice=2/,
    );
    assert.deepEqual(await contents(stored), await contents(alone));
  });

  it("lets a shard be read by one of two that are at it", async () => {
    const stored = memoryBucket();
    await readShards(stored, { but: [3] });
    const both = await Promise.allSettled([1, 2].map(() => backupShard(runOf(stored), 3, { ...ENDLESS, pieceMs: 0 })));
    for (const one of both) if (one.status === "rejected") assert.equal(one.reason.kind, "conflict");
    await backupShard(runOf(stored), 3, ENDLESS);
    const made = (await backupSlice(runOf(stored), ENDLESS, 3)) as BackupResult;
    assert.deepEqual(made.outcome.items, (await backup(runOf(memoryBucket()))).outcome.items);
    assert.deepEqual((await verifyBackup(stored, "b", { read: 1, signal })).damaged, []);
  });

  describe("that two finish at the same time", () => {
    async function racing(stored: Bucket, runs: Promise<unknown>[]) {
      const ended = await Promise.allSettled(runs);
      assert.equal(ended.filter(({ status }) => status === "fulfilled").length, 1);
      const reasons = ended.flatMap((one) => (one.status === "rejected" ? one.reason.kind : []));
      assert.deepEqual(reasons, ["conflict"]);
      assert.equal((await listBackups(stored)).length, 1);
      assert.deepEqual((await verifyBackup(stored, "b", { read: 1, signal })).damaged, []);
      assert.deepEqual([...(await listFolder(stored, pieceFolder("b"))).keys()], []);
    }

    it("is committed once", async () => {
      for (let round = 0; round < 5; round++) {
        const stored = memoryBucket();
        await readShards(stored);
        await racing(
          stored,
          [1, 2].map(() => backupSlice(runOf(laggard(stored)), ENDLESS, 3)),
        );
      }
    });

    for (const file of ["/b.tar.gz", "/b-index.json.gz", "/b-logs.gz", "/velero-backup.json"])
      it(`is committed once, though one is held up before it stores ${file}`, async () => {
        const stored = memoryBucket();
        await readShards(stored);
        const slow = heldUp(stored, file);
        const first = backupSlice(runOf(slow.bucket), ENDLESS, 3);
        await slow.reached;
        const second = backupSlice(runOf(stored), ENDLESS, 3);
        await second;
        slow.free();
        await racing(stored, [first, second]);
      });
  });

  it("is signed by who signed all its shards; another's, changed or misplaced ones are refused", async () => {
    const [ours, others] = [signer(), signer()];
    const bucket = memoryBucket();
    await readShards(bucket, { but: [2], sign: ours });
    await assert.rejects(backupShard(runOf(bucket, others), 2, ENDLESS), {
      kind: "conflict",
      message: /can't be finished and signed/,
    });
    const stateOf = (shard: number) => leftOf(bucket, shard);
    await backupShard(runOf(bucket, ours), 2, ENDLESS);
    const [second, third] = [await stateOf(2), await stateOf(3)];
    const stored = await readObject(bucket, second);

    await bucket.put(second, await readObject(bucket, third));
    await assert.rejects(backupSlice(runOf(bucket, ours), ENDLESS, 3), {
      kind: "conflict",
      message: /can't be finished and signed/,
    });
    const changed = JSON.parse(stored.toString());
    changed.state = JSON.parse((await readObject(bucket, third)).toString()).state;
    await bucket.put(second, Buffer.from(JSON.stringify(changed)));
    await assert.rejects(backupSlice(runOf(bucket, ours), ENDLESS, 3), {
      kind: "conflict",
      message: /can't be finished and signed/,
    });
    assert.deepEqual(await listBackups(bucket), []);
    await bucket.put(second, stored);
    const { record } = (await backupSlice(runOf(bucket, ours), ENDLESS, 3)) as BackupResult;
    assert.equal(signedBy(record), ours.publicKey);
  });

  it("takes no shard's state for the whole backup's, nor for another shard's or another attempt's", async () => {
    const ours = signer();
    for (const by of [ours, undefined]) {
      const bucket = memoryBucket();
      await readShards(bucket, { sign: by });
      const stateOf = (shard: number) => leftOf(bucket, shard);
      const [first, second, third] = [await stateOf(1), await stateOf(2), await stateOf(3)];
      const whole = numberedKey(pieceFolder("b"), 2);
      const refused = (message: RegExp) =>
        assert.rejects(backupSlice(runOf(bucket, by), ENDLESS, 3), { kind: "conflict", message });
      await bucket.put(whole, await readObject(bucket, third));
      await refused(by ? /can't be finished and signed/ : /only a shard of it/);
      await bucket.delete(whole);

      const stored = await readObject(bucket, second);
      for (const other of [first, third, numberedKey(pieceFolder("b"), 1)]) {
        await bucket.put(second, await readObject(bucket, other));
        await refused(by ? /can't be finished and signed/ : /none of it|no piece of it/);
      }
      if (!by) {
        const { state, ...others } = JSON.parse(stored.toString());
        const known = JSON.parse(gunzipSync(Buffer.from(state, "base64")).toString());
        known.header.run = "another";
        const forged = { ...others, state: gzipSync(JSON.stringify(known)).toString("base64") };
        await bucket.put(second, Buffer.from(JSON.stringify(forged)));
        await refused(/what lies there as its shard 2 is none of it/);
      }
      await bucket.put(second, stored);
      assert.ok("record" in (await backupSlice(runOf(bucket, by), ENDLESS, 3)));
    }
  });

  it("leaves nothing when it is deleted, nor anything that a later one of its name would take for its own", async () => {
    const bucket = memoryBucket();
    await readShards(bucket, { but: [2] });
    const late = heldUp(bucket, "/000001.json");
    const seemingDead = backupShard(runOf(late.bucket), 2, ENDLESS);
    await late.reached;
    await deleteBackup(bucket, "b");
    assert.deepEqual(await Array.fromAsync(bucket.list("")), []);
    await readShards(bucket, { but: [2] });
    late.free();
    await seemingDead;
    const left = (await backupSlice(runOf(bucket), ENDLESS, 3)) as BackupMore;
    assert.deepEqual(left.shards?.unread, [2]);
    await backupShard(runOf(bucket), 2, ENDLESS);
    await backupSlice(runOf(bucket), ENDLESS, 3);
    assert.deepEqual((await verifyBackup(bucket, "b", { read: 1, signal })).damaged, []);
  });

  it("lists together what is in a namespace that is gone", async () => {
    const stray = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "stray", namespace: "gone" } };
    await inCluster([...cluster(), stray], async (kube) => {
      const [alone, together] = [memoryBucket(), memoryBucket()];
      await backup(runOn(kube, alone));
      await inShards(kube, {}, together);
      assert.deepEqual(await contents(together), await contents(alone));
    });
  });

  it("tells of what the server has no more at its revision, and of a LIST that fails, as a single worker does", async () => {
    const lacking: Kube = {
      ...kube,
      request: async (request) => {
        const { path, query } = request;
        const code =
          path.endsWith("/secrets") && query?.resourceVersion ? 410 : path.endsWith("/services") ? 403 : undefined;
        if (code === undefined) return kube.request(request);
        const status = { kind: "Status", status: "Failure", code, reason: "Expired", message: "no" };
        return { status: code, headers: {}, body: Buffer.from(JSON.stringify(status)), attempts: 1, latencyMs: 0 };
      },
    };
    const alone = await backup(runOn(lacking, memoryBucket()));
    const together = await inShards(lacking, {}, memoryBucket());
    assert.equal(together.outcome.consistency.grade, "mixed");
    assert.deepEqual(
      together.outcome.errors.flatMap(({ resource }) => (resource === "services" ? resource : [])),
      ["services"],
    );
    assert.deepEqual(asJson(together.outcome), asJson(alone.outcome));
  });

  for (const [reason, spec] of [
    ["orderedResources says in which order", { orderedResources: { pods: "a/web" } }],
    ["Pods have hooks", { hooks: { resources: [{ name: "h", pre: [{ exec: { command: ["true"] } }] }] } }],
    ["there are too few lists", { includedResources: ["persistentvolumes"], includedNamespaces: ["*"] }],
  ] as [string, BackupSpec][])
    it(`is read by one worker where ${reason}`, async () => {
      const bucket = memoryBucket();
      assert.ok(!("more" in (await backupSlice(runOn(kube, bucket, spec), ENDLESS, 3))));
      assert.match(await readLog(bucket, "backups", "b"), new RegExp(`not in 3 shards: .*${reason}`));
    });
});

/** A bucket whose every call takes some turns. */
function laggard(bucket: Bucket): Bucket {
  const late = async () => {
    for (let turns = Math.random() * 20; turns > 0; turns--) await turn();
  };
  return {
    location: bucket.location,
    put: async (...call) => late().then(() => bucket.put(...call)),
    get: async (...call) => late().then(() => bucket.get(...call)),
    list: (...call) => bucket.list(...call),
    delete: async (...call) => late().then(() => bucket.delete(...call)),
  };
}

/** A record without what is its run's own: times, ids, digests. */
function comparable({ record: { metadata, spec, status } }: BackupResult) {
  const { startTimestamp, completionTimestamp, ...others } = status ?? {};
  const own = ["lifeboat/run", "lifeboat/digests", "lifeboat/index-end", "lifeboat/digest"];
  const annotations = Object.entries(metadata.annotations ?? {}).filter(([name]) => !own.includes(name));
  return { labels: metadata.labels, annotations, spec, status: others };
}
