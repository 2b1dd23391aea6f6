import assert from "node:assert/strict";
import { buffer } from "node:stream/consumers";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { generateIdentity, identityToRecipient } from "age-encryption";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { MADE_IN, readBackup } from "../../core/catalog.ts";
import { listFolder } from "../../core/contents.ts";
import type { CopyWish } from "../../core/copies.ts";
import { deleteBackup } from "../../core/delete.ts";
import { unlocked } from "../../core/encryption/buckets.ts";
import { LifeboatError } from "../../core/errors.ts";
import { readCopies } from "../../core/integrity/copies.ts";
import { copyBackup } from "../../core/integrity/copy.ts";
import { backupKeys, removalKey } from "../../core/layout.ts";
import { samePlace } from "../../core/location.ts";
import type { Bucket } from "../../core/ports.ts";
import type { VolumeRecord } from "../../core/volumes/record.ts";
import type { RemovalMeans } from "../../core/volumes/remover.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { backedUp, filesIn, signal } from "./integrity-sample.ts";
import { putBackup, putVelero } from "./location-sample.ts";
import { memoryDisks } from "./memory-disks.ts";

const claim = { namespace: "shop", name: "data", uid: "u" };
const IDS = ["snap-01", "snap-02", "snap-03"];
const DISKS: VolumeRecord[] = IDS.map((snapshotHandle) => ({
  ...{ volume: `pvc-${snapshotHandle}`, claim, method: "NativeSnapshot" },
  native: { snapshotHandle, volumeId: "vol-1", volumeType: "gp3", volumeAZ: "eu-west-1a" },
}));
const CSI: VolumeRecord = {
  ...{ volume: "pvc-csi", claim, method: "CSISnapshot" },
  csi: { driver: "d.example.com", snapshotHandle: "h", restoreSize: 1, snapshotName: "s", contentName: "c" },
};
const FILES: VolumeRecord = {
  ...{ volume: "pvc-files", claim, method: "PodVolumeBackup" },
  files: {
    ...{ snapshotId: "0123456789abcdef", namespace: "shop", size: 1, files: 1, added: 1 },
    ...{ podName: "", podUid: "", nodeName: "", volumeName: "" },
  },
};

const snapshotsOf = (backup = "b") => new Map(IDS.map((id) => [id, { "velero.io/backup": backup }]));

/** Means that reach the disks alone, and count how often a cluster is asked for. */
function meansOf(snapshots: Map<string, Record<string, string>>, more: Partial<RemovalMeans> = {}) {
  const disks = { aws: async () => memoryDisks(snapshots) };
  const cluster = () => Promise.reject(new LifeboatError("unreachable", "the cluster is gone"));
  const means: RemovalMeans = { disks, cluster, ...more };
  return { means: async () => means } satisfies CopyWish;
}

const never: CopyWish = { means: () => Promise.reject(new Error("nobody needs them")) };

async function withCopies(volumes = DISKS, bucket = memoryBucket()): Promise<Bucket> {
  await putBackup(bucket, "b", [], { volumes });
  return bucket;
}

const left = async (bucket: Bucket) => [...(await listFolder(bucket, "")).keys()];

describe("copies of volumes", () => {
  it("go with their backup", async () => {
    const bucket = await withCopies();
    const snapshots = snapshotsOf();
    await deleteBackup(bucket, "b", signal, { volumes: meansOf(snapshots) });
    assert.deepEqual([...snapshots], []);
    assert.deepEqual(await left(bucket), []);
  });

  it("go with a backup whose deletion died, at whatever step, when it is done again", async () => {
    const cut = new LifeboatError("unreachable", "it dies here");
    let steps = 0;
    for (let whole = false; !whole; steps++) {
      const bucket = await withCopies();
      const snapshots = snapshotsOf();
      const [record, archive] = [backupKeys("b").metadata, backupKeys("b").tar];
      let at = 0;
      let dead = false;
      const step = async (work: () => Promise<void>) => {
        dead ||= at++ === steps;
        if (dead) throw cut;
        await work();
        const keys = await left(bucket);
        if (keys.includes(record)) assert.equal(snapshots.size, IDS.length, "a listed backup is whole");
        if (snapshots.size < IDS.length) assert.ok(!keys.includes(archive), "what has lost its copies is not adopted");
        if (snapshots.size > 0 && !keys.includes(record)) assert.ok(keys.includes(removalKey("b")));
      };
      const dying: Bucket = {
        ...bucket,
        put: (...given) => step(() => bucket.put(...given)),
        delete: (...given) => step(() => bucket.delete(...given)),
      };
      const disks = memoryDisks(snapshots);
      const removing = {
        aws: async () => ({
          ...disks,
          removeSnapshot: (...given: Parameters<typeof disks.removeSnapshot>) =>
            step(() => disks.removeSnapshot(...given)),
        }),
      };
      whole = await deleteBackup(dying, "b", signal, { volumes: meansOf(snapshots, { disks: removing }) }).then(
        () => true,
        (error) => {
          assert.equal(error.kind, "unreachable");
          return false;
        },
      );
      // What the dead run held is let go once it is old.
      for (const key of (await left(bucket)).filter((key) => key.includes("/locks/"))) await bucket.delete(key);
      if ((await left(bucket)).length > 0) await deleteBackup(bucket, "b", signal, { volumes: meansOf(snapshots) });
      assert.deepEqual([...snapshots], []);
      assert.deepEqual(await left(bucket), []);
    }
    assert.ok(steps > 8, `${steps} steps`);
  });

  it("that can't be removed leave what names them, and go when it is done again", async () => {
    const bucket = await withCopies();
    const snapshots = snapshotsOf();
    const disks = memoryDisks(snapshots);
    const denied = new LifeboatError("denied", "no right to delete snapshots");
    const half = {
      aws: async () => ({
        ...disks,
        removeSnapshot: async (...given: Parameters<typeof disks.removeSnapshot>) =>
          given[0].id === "snap-02" ? Promise.reject(denied) : disks.removeSnapshot(...given),
      }),
    };
    await assert.rejects(deleteBackup(bucket, "b", signal, { volumes: meansOf(snapshots, { disks: half }) }), {
      kind: "denied",
      message: '1 of 3 volume copies of backup "b" could not be removed: no right to delete snapshots',
      hint: /delete the backup again.*\n--keep-volume-data/s,
    });
    assert.deepEqual([...snapshots.keys()], ["snap-02"]);
    const keys = await left(bucket);
    const { tar, index, metadata, volumeInfo } = backupKeys("b");
    assert.deepEqual(
      [tar, metadata].filter((key) => keys.includes(key)),
      [],
    );
    assert.deepEqual(
      [index, volumeInfo, removalKey("b")].filter((key) => !keys.includes(key)),
      [],
    );
    await deleteBackup(bucket, "b", signal, { volumes: meansOf(snapshots) });
    assert.equal(snapshots.size, 0);
    assert.deepEqual(await left(bucket), []);
  });

  it("stay where that is asked for, and nothing is opened", async () => {
    const bucket = await withCopies([...DISKS, CSI, FILES]);
    const told: string[] = [];
    await deleteBackup(bucket, "b", signal, { volumes: "keep", tell: (message) => told.push(message) });
    assert.deepEqual(told, ["backup b leaves 5 volume copies in the storage"]);
    assert.deepEqual(await left(bucket), []);
  });

  it("are none of a backup whose claims were left out: nothing is opened", async () => {
    const bucket = await withCopies([{ volume: "v", claim, reason: "nobody asked for it" }]);
    await deleteBackup(bucket, "b", signal, { volumes: never });
    assert.deepEqual(await left(bucket), []);
  });

  it("stay when a copy of their backup is deleted, and go with the original", async () => {
    const from = await withCopies();
    const to: Bucket = { ...memoryBucket(), location: "s3://vault/blue?region=eu-west-1" };
    const snapshots = snapshotsOf();
    await copyBackup("b", { from, to, signal });
    const told: string[] = [];
    await deleteBackup(to, "b", signal, { volumes: never, tell: (message) => told.push(message) });
    assert.deepEqual(told, ["backup b leaves 3 volume copies in the storage, of the original, in memory://"]);
    assert.deepEqual(await left(to), []);
    assert.equal(snapshots.size, 3);
    await deleteBackup(from, "b", signal, { volumes: meansOf(snapshots) });
    assert.equal(snapshots.size, 0);
  });

  it("that a run left without a record, or the beginning of a copy names, stay until somebody says whose they are", async () => {
    const bucket = await withCopies();
    await bucket.delete(backupKeys("b").metadata);
    const before = await left(bucket);
    await assert.rejects(deleteBackup(bucket, "b", signal, { volumes: never }), {
      kind: "conflict",
      message: 'backup "b" has 3 volume copies, and no record that tells whose they are',
    });
    assert.deepEqual(
      (await left(bucket)).filter((key) => !key.includes("/locks/")),
      before,
    );
    await deleteBackup(bucket, "b", signal, { volumes: "keep" });
    assert.deepEqual(await left(bucket), []);
  });

  it("that an archive names which has no index stay until somebody says so", async () => {
    const bucket = await withCopies();
    const { metadata, index, tar } = backupKeys("b");
    for (const key of [metadata, index]) await bucket.delete(key);
    const refused = { kind: "conflict", message: /3 volume copies, and no record that tells whose they are/ };
    await assert.rejects(deleteBackup(bucket, "b", signal, { volumes: never }), refused);
    await bucket.put(index, Buffer.from("no index"));
    await assert.rejects(deleteBackup(bucket, "b", signal, { volumes: never }), refused);
    assert.ok((await left(bucket)).includes(tar));
    await deleteBackup(bucket, "b", signal, { volumes: "keep" });
    assert.deepEqual(await left(bucket), []);
  });

  it("of Velero stay with their backup: it removes both", async () => {
    const bucket = memoryBucket();
    await putVelero(bucket, "b", []);
    const infos = [{ pvName: "v", backupMethod: "CSISnapshot", csiSnapshotInfo: { snapshotHandle: "h", driver: "d" } }];
    await bucket.put(backupKeys("b").volumeInfo, gzipSync(JSON.stringify(infos)));
    await assert.rejects(deleteBackup(bucket, "b", signal, { volumes: never }), {
      kind: "conflict",
      message: 'backup "b" has 1 volume copy, and only Velero removes those that it made',
      hint: /"velero backup delete" removes both\n--keep-volume-data/,
    });
    await deleteBackup(bucket, "b", signal, { volumes: "keep" });
    assert.deepEqual(await left(bucket), []);
  });
});

/** A bound claim whose volume is a disk. */
const CLAIM: KubernetesObject[] = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
  {
    ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name: "pvc-1" } },
    spec: {
      csi: { driver: "ebs.csi.aws.com", volumeHandle: "vol-0123456789" },
      claimRef: { namespace: "shop", name: "db" },
    },
  },
  {
    ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: "db", namespace: "shop" } },
    ...{ spec: { volumeName: "pvc-1" }, status: { phase: "Bound" } },
  },
];

describe("copies of the volumes of a backup that is encrypted", () => {
  it("go for who can read what they are, and stay for who asks for that", async () => {
    const identity = await generateIdentity();
    const recipients = [await identityToRecipient(identity)];
    const snapshots = new Map<string, Record<string, string>>();
    const { means } = meansOf(snapshots);
    const { disks } = await means();
    const bucket = await backedUp(CLAIM, "b", memoryBucket(), { recipients, volumes: { disks } });
    await backedUp(CLAIM, "kept", bucket, { recipients, volumes: { disks } });
    assert.equal(snapshots.size, 2);
    const [locked, open] = [unlocked(bucket, async () => []), unlocked(bucket, async () => [identity])];

    const before = await left(bucket);
    await assert.rejects(deleteBackup(locked, "b", signal, { volumes: { means } }), {
      kind: "denied",
      message: /^what copies of volumes go with it can't be told: /,
      hint: /--keep-volume-data/,
    });
    assert.deepEqual(
      (await left(bucket)).filter((key) => !key.includes("/locks/")),
      before,
    );
    const keptRecord = backupKeys("kept", ".age").metadata;
    const record = await buffer(await bucket.get(keptRecord));
    await bucket.delete(keptRecord);
    await assert.rejects(deleteBackup(locked, "kept", signal, { volumes: { means } }), {
      kind: "denied",
      hint: /--keep-volume-data/,
    });
    await assert.rejects(deleteBackup(open, "kept", signal, { volumes: { means } }), {
      kind: "conflict",
      message: /1 volume copy, and no record/,
    });
    await bucket.put(keptRecord, record);
    await deleteBackup(open, "b", signal, { volumes: { means } });
    await deleteBackup(locked, "kept", signal, { volumes: "keep" });
    assert.deepEqual(
      [...snapshots.values()].map((tags) => tags["velero.io/backup"]),
      ["kept"],
    );
    assert.deepEqual(await left(bucket), []);
  });
});

it("what is removed of a CSI snapshot is known with its group, and with the secret that its driver needs", async () => {
  const bucket = memoryBucket();
  const crd: KubernetesObject = {
    ...{ apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition" },
    metadata: { name: "volumesnapshotcontents.snapshot.storage.k8s.io" },
    spec: {
      group: "snapshot.storage.k8s.io",
      scope: "Cluster",
      names: { plural: "volumesnapshotcontents", singular: "volumesnapshotcontent", kind: "VolumeSnapshotContent" },
      versions: [{ name: "v1", served: true, storage: true }],
    },
  };
  const prefix = "snapshot.storage.kubernetes.io/deletion-secret";
  const content: KubernetesObject = {
    ...{ apiVersion: "snapshot.storage.k8s.io/v1", kind: "VolumeSnapshotContent" },
    metadata: { name: "c", annotations: { [`${prefix}-name`]: "key", [`${prefix}-namespace`]: "storage" } },
    ...{ spec: { driver: "d.example.com" }, status: { snapshotHandle: "h" } },
  };
  await putBackup(bucket, "b", [crd, content], {
    cluster: "blue",
    volumes: [{ ...CSI, csi: { ...CSI.csi!, groupHandle: "g" } }],
  });
  assert.deepEqual(await readCopies(bucket, await readBackup(bucket, "b")), {
    ...{ backup: "b", cluster: "blue", native: [], files: [] },
    csi: [
      {
        ...{ driver: "d.example.com", snapshotHandle: "h", groupHandle: "g" },
        secret: { namespace: "storage", name: "key" },
      },
    ],
  });
});

const LACKING: {
  what: string;
  volumes: VolumeRecord[];
  wish?: CopyWish;
  spoil?: (bucket: Bucket) => Promise<void>;
  want: { kind: string; message: RegExp };
}[] = [
  { what: "any means", volumes: DISKS, want: { kind: "conflict", message: /3 volume copies, and nothing was given/ } },
  {
    what: "the cloud",
    volumes: DISKS,
    wish: meansOf(new Map(), { disks: {} }),
    want: { kind: "invalid", message: /3 volume copies of backup "b" can't be removed: .* aws's, whose disks/ },
  },
  {
    what: "the tag of this backup on a snapshot",
    volumes: DISKS,
    wish: meansOf(snapshotsOf("production")),
    want: { kind: "conflict", message: /snap-01 is not tagged as of this backup: velero.io\/backup is production/ },
  },
  {
    what: "the cluster",
    volumes: [...DISKS, CSI],
    wish: meansOf(snapshotsOf()),
    want: { kind: "unreachable", message: /4 volume copies of backup "b" can't be removed: the cluster is gone/ },
  },
  {
    what: "restic",
    volumes: [FILES],
    wish: meansOf(new Map(), { cluster: async () => ({}) as never }),
    want: { kind: "invalid", message: /1 volume copy .* volumes\.restic/ },
  },
  {
    what: "the word of what names them",
    volumes: DISKS,
    wish: meansOf(snapshotsOf()),
    spoil: (bucket) => bucket.put(backupKeys("b").volumeInfo, Buffer.from("other")),
    want: { kind: "corrupt", message: /what copies of volumes go with it can't be told: / },
  },
];

describe("a deletion that lacks", () => {
  for (const { what, volumes, wish, spoil, want } of LACKING)
    it(`${what} deletes nothing`, async () => {
      const bucket = await withCopies(volumes);
      await spoil?.(bucket);
      const before = await filesIn(bucket);
      await assert.rejects(deleteBackup(bucket, "b", signal, { volumes: wish }), {
        ...want,
        hint: /--keep-volume-data/,
      });
      const after = new Map([...(await filesIn(bucket))].filter(([key]) => !key.includes("/locks/")));
      assert.deepEqual(after, before);
      await deleteBackup(bucket, "b", signal, { volumes: "keep" });
      assert.deepEqual(await left(bucket), [], "who keeps them is in no need of it");
    });
});

const PLACES: [one: string, other: string, same: boolean][] = [
  ["s3://bucket/prefix?region=eu-west-1", "s3://bucket/prefix/?region=us-east-1&forcePathStyle=true", true],
  ["s3://bucket/prefix", "s3://bucket/other", false],
  ["s3://bucket", "s3://bucket/?endpoint=http://127.0.0.1:9000", false],
  ["s3://bucket/a%20b", "s3://bucket/a b", true],
  ["azblob://c/p?account=one&endpoint=https://x", "azblob://c/p?endpoint=https://x&account=one", true],
  ["azblob://c/p?account=one", "azblob://c/p?account=two", false],
  ["gs://bucket/p", "s3://bucket/p", false],
  ["file:///backups/", "file:///backups", true],
];

describe("the location of", () => {
  for (const [one, other, same] of PLACES)
    it(`${one} is ${same ? "" : "not "}that of ${other}`, () => assert.equal(samePlace(one, other), same));
});

it("a record names the location in which it was made only where it has volumes", async () => {
  const bucket = memoryBucket();
  await putBackup(bucket, "plain", []);
  await putBackup(bucket, "b", [], { volumes: DISKS });
  const annotations = async (name: string) =>
    JSON.parse(String((await filesIn(bucket)).get(backupKeys(name).metadata))).metadata.annotations;
  assert.equal((await annotations("plain"))[MADE_IN], undefined);
  assert.equal((await annotations("b"))[MADE_IN], "memory://");
});
