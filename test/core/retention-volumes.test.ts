import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { listFolder } from "../../core/contents.ts";
import { deleteBackup } from "../../core/delete.ts";
import { LifeboatError } from "../../core/errors.ts";
import { backupKeys, removalKey } from "../../core/layout.ts";
import type { Bucket } from "../../core/ports.ts";
import { previewRetention, runRetention } from "../../core/retention/retention.ts";
import type { VolumeRecord } from "../../core/volumes/record.ts";
import type { RemovalMeans } from "../../core/volumes/remover.ts";
import { RESTIC_TIMING, type ResticSettings } from "../../core/volumes/restic/settings.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { inCluster } from "./embedded-cluster.ts";
import { signal } from "./integrity-sample.ts";
import { putBackup, type SampleBackup } from "./location-sample.ts";
import { memoryDisks } from "./memory-disks.ts";

const about = { volume: "pvc-1", claim: { namespace: "shop", name: "data", uid: "u" } };
const onDisk = (snapshotHandle: string): VolumeRecord => ({
  ...{ ...about, method: "NativeSnapshot" },
  native: { snapshotHandle, volumeId: "vol-1", volumeType: "gp3", volumeAZ: "eu-west-1a" },
});
const byCsi: VolumeRecord = {
  ...{ ...about, method: "CSISnapshot" },
  csi: { driver: "d", snapshotHandle: "h", restoreSize: 1, snapshotName: "s", contentName: "c" },
};

const SNAPSHOTS: Record<string, string> = { old: "snap-01", older: "snap-02" };

/** Two backups on disks, one by CSI, one without copies: all of them past their ttl. */
async function location(
  bucket = memoryBucket(),
): Promise<{ bucket: Bucket; snapshots: Map<string, Record<string, string>> }> {
  const put = (name: string, volumes: SampleBackup["volumes"]) =>
    putBackup(bucket, name, [], { at: "2026-01-01T00:00:00Z", spec: { ttl: "24h" }, volumes });
  for (const [name, id] of Object.entries(SNAPSHOTS)) await put(name, [onDisk(id)]);
  await put("lost", [byCsi, { ...about, reason: "left out" }]);
  await put("plain", undefined);
  const tagged = Object.entries(SNAPSHOTS).map(([name, id]) => [id, { "velero.io/backup": name }] as const);
  return { bucket, snapshots: new Map(tagged) };
}

function means(snapshots: Map<string, Record<string, string>>, refused = ""): () => Promise<RemovalMeans> {
  const disks = memoryDisks(snapshots);
  const removeSnapshot: typeof disks.removeSnapshot = async (snapshot, signal) => {
    if (snapshot.id === refused) throw new LifeboatError("denied", "no right to delete it");
    return disks.removeSnapshot(snapshot, signal);
  };
  return async () => ({
    disks: { aws: async () => ({ ...disks, removeSnapshot }) },
    cluster: () => Promise.reject(new LifeboatError("unreachable", "the cluster is gone")),
  });
}

const scope = (bucket: Bucket) => ({ bucket, config: { schedules: {} }, now: new Date(), signal });
const names = async (bucket: Bucket) =>
  [...(await listFolder(bucket, "backups/")).keys()].filter((key) => key.endsWith("/velero-backup.json"));

describe("retention of backups with copies of volumes", () => {
  it("tells before how many go with each", async () => {
    const { bucket } = await location();
    const { rows } = await previewRetention(scope(bucket));
    const copies = rows.map(({ name, action, volumeCopies }) => [name, action, volumeCopies]);
    assert.deepEqual(copies, [
      ["lost", "delete", 1],
      ["old", "delete", 1],
      ["older", "delete", 1],
      ["plain", "delete", undefined],
    ]);
    const elsewhere = { ...bucket, location: "s3://copied" };
    const there = await previewRetention(scope(elsewhere));
    assert.ok(there.rows.every(({ volumeCopies }) => volumeCopies === undefined));
  });

  it("keeps what can't be removed now, tells why, and goes on with the others; the next run tries again", async () => {
    const { bucket, snapshots } = await location();
    const lines: string[] = [];
    const log = (_: string, message: string) => lines.push(message);
    const first = await runRetention({ ...scope(bucket), log, volumes: means(snapshots, "snap-02") });
    assert.equal(first.phase, "PartiallyFailed");
    assert.deepEqual(first.warnings, []);
    assert.deepEqual(
      first.errors.map(({ message }) => message),
      [
        'backup lost: 1 volume copy of backup "lost" can\'t be removed: the cluster is gone',
        'backup older: 1 of 1 volume copy of backup "older" could not be removed: no right to delete it',
      ],
    );
    assert.deepEqual(first.counts, { keep: 2, delete: 2 });
    assert.deepEqual([...snapshots.keys()], ["snap-02"]);
    assert.deepEqual(await names(bucket), [backupKeys("lost").metadata]);
    assert.ok((await listFolder(bucket, removalKey("older"))).size, "what names its copies is there");
    assert.ok(lines.includes("Deleted backup old: ttl 24h ended at 2026-01-02T00:00:00Z"));

    const second = await runRetention({ ...scope(bucket), log, volumes: means(snapshots) });
    assert.deepEqual(
      second.rows.filter(({ kind }) => kind === "unfinished").map(({ name, action, reason }) => [name, action, reason]),
      [["older", "delete", "its deletion did not end: copies of its volumes are to go yet"]],
    );
    assert.equal(snapshots.size, 0);
    assert.equal((await listFolder(bucket, "backups/older/")).size, 0);
    assert.equal((await listFolder(bucket, removalKey("older"))).size, 0);
    assert.equal(second.errors.length, 1);
  });

  it("deletes none of them where it is given nothing to remove copies by", async () => {
    const { bucket } = await location();
    await runRetention({ ...scope(bucket), log: () => {} });
    assert.deepEqual(
      await names(bucket),
      ["lost", "old", "older"].map((name) => backupKeys(name).metadata),
    );
  });

  it("whose copies of files can't be deleted leaves what names them, and asks once for each repository", async () => {
    const bucket = memoryBucket();
    const inRepository = (snapshotId: string, namespace: string): VolumeRecord => ({
      ...{ ...about, method: "PodVolumeBackup" },
      files: {
        ...{ snapshotId, namespace, size: 1, files: 1, added: 1 },
        ...{ podName: "", podUid: "", nodeName: "", volumeName: "" },
      },
    });
    const put = (name: string, ...volumes: VolumeRecord[]) =>
      putBackup(bucket, name, [], { at: "2026-01-01T00:00:00Z", spec: { ttl: "24h" }, volumes });
    await put("one", inRepository("a", "shop"));
    await put("two", inRepository("b", "shop"), inRepository("c", "blog"));
    let asked = 0;
    const files: ResticSettings = {
      ...{ image: "restic", location: "s3://backups", timing: RESTIC_TIMING },
      secrets: () => {
        asked++;
        return Promise.reject(new LifeboatError("denied", "no right to read the password"));
      },
    };
    await inCluster([], async (kube) => {
      const volumes = async () => ({ files, cluster: async () => kube });
      const first = await runRetention({ ...scope(bucket), log: () => {}, volumes });
      assert.equal(asked, 2);
      assert.deepEqual(first.counts, { keep: 2, delete: 0 });
      assert.match(
        first.errors[0]?.message ?? "",
        /^backup one: .* in the repository of shop can't be removed: no right/,
      );
      assert.deepEqual(await names(bucket), [], "what is listed is whole");
      for (const name of ["one", "two"]) assert.ok((await listFolder(bucket, removalKey(name))).size);

      const second = await runRetention({ ...scope(bucket), log: () => {}, volumes });
      assert.deepEqual([asked, second.errors.length], [4, 2]);
      await deleteBackup(bucket, "one", signal, { volumes: "removed" });
      await deleteBackup(bucket, "two", signal, { volumes: "keep" });
      assert.deepEqual([...(await listFolder(bucket, "")).keys()], []);
    });
  });
});
