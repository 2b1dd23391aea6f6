import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { type CsiDriver, DISK, startCsiDriver } from "../rig/csidriver.ts";
import { makeDir, removeDir, until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { installSnapshots } from "../rig/snapshotcrds.ts";
import { startVelero, VELERO } from "../rig/velero.ts";
import { type BackupDocument, document, type RestoreDocument } from "./lifeboat.ts";
import { objectsIn } from "./objects.ts";

const SNAPSHOTS = "volumesnapshots.snapshot.storage.k8s.io";
const CONTENTS = "volumesnapshotcontents.snapshot.storage.k8s.io";
/** What a backup holds of a claim whose data are in a CSI snapshot. */
const OF_SNAPSHOTS = ["persistentvolumeclaims", SNAPSHOTS, CONTENTS, "volumesnapshotclasses.snapshot.storage.k8s.io"];
/** Annotations of one side alone, with the reason. */
const BESIDES = {
  "backup.velero.io/must-include-additional-items": "Velero's, of interest only while it makes the backup",
  "lifeboat/storage-request": "ours: what the claim asked for before it had to ask for its snapshot's size",
};

describe("CSI snapshots and real Velero", { skip: requireOrSkip("rig", [...CONTROL_PLANE, ...VELERO]) }, () => {
  let storage: string;
  let s3: S3;
  const clusters: { cluster: Cluster; driver: CsiDriver }[] = [];
  /** The handle of our backup's snapshot. */
  let ours = "";

  async function start() {
    const cluster = await startCluster();
    await installSnapshots(cluster.api);
    return { cluster, driver: await startCsiDriver(cluster, storage) };
  }
  const flags = (cluster: Cluster) => ["--location", s3.location("shared"), "--kubeconfig", cluster.kubeconfigPath];

  before(async () => {
    storage = makeDir("storage");
    s3 = await startS3();
    clusters.push(...(await Promise.all([start(), start()])));
    const { cluster, driver } = clusters[0]!;
    await cluster.api.request("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
    await cluster.api.request("POST", "/api/v1/namespaces/shop/persistentvolumeclaims", {
      metadata: { name: "data", labels: { app: "shop" } },
      spec: { storageClassName: DISK, accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "100Mi" } } },
    });
    await writeFile(join(await driver.folder("shop", "data"), "file"), "precious");
    const create = ["backup", "create", "ours", ...flags(cluster), "--include-namespaces", "shop"];
    assert.equal((await document<BackupDocument>(create, s3.env)).phase, "Completed");
    [ours = ""] = await driver.stored();
  });
  after(async () => {
    for (const { cluster, driver } of clusters) {
      await driver[Symbol.asyncDispose]();
      await cluster.stop();
    }
    await s3?.stop();
    await removeDir(storage);
  });

  /** What a backup says of its snapshot, by resource: each object's fields, without what they hold. */
  async function stored(name: string) {
    const objects = (await objectsIn(join(s3.dir, "data", s3.bucket, `shared/backups/${name}/${name}.tar.gz`))) as Map<
      string,
      KubernetesObject
    >;
    const keys = (map: object = {}) =>
      Object.keys(map)
        .filter((key) => !Object.hasOwn(BESIDES, key))
        .sort();
    return [...objects]
      .map(([id, object]) => ({ resource: id.split(" ")[0]!, object }))
      .filter(({ resource }) => OF_SNAPSHOTS.includes(resource))
      .map(({ resource, object: { metadata, spec, status } }) => ({
        resource,
        ...{ labels: keys(metadata.labels), annotations: keys(metadata.annotations), finalizers: metadata.finalizers },
        ...{ spec: keys(spec as object), status: keys(status as object) },
      }))
      .sort((one, other) => OF_SNAPSHOTS.indexOf(one.resource) - OF_SNAPSHOTS.indexOf(other.resource));
  }

  test("we write what Velero writes, and restore what it wrote", async () => {
    const [source, target] = clusters;
    const velero = await startVelero(source!.cluster, s3, "shared", { csi: true });
    try {
      const made = await velero.createBackup("theirs", { includedNamespaces: ["shop"], snapshotVolumes: true });
      assert.equal(made.status?.phase, "Completed", velero.log());
    } finally {
      await velero.stop();
    }
    assert.deepEqual(await stored("ours"), await stored("theirs"));

    const { cluster, driver } = target!;
    const elsewhere = ["--namespace-mappings", "shop:theirs"];
    const create = ["restore", "create", "again", "--from-backup", "theirs", ...flags(cluster), ...elsewhere];
    const restored = await document<RestoreDocument>(create, s3.env);
    assert.equal(restored.phase, "Completed", JSON.stringify(restored));
    assert.equal(await readFile(join(await driver.folder("theirs", "data"), "file"), "utf8"), "precious");
    assert.equal((await driver.stored()).length, 2);
    for (const resource of [SNAPSHOTS, CONTENTS])
      assert.equal(await cluster.kubectl(["get", resource, "--all-namespaces", "-o", "name"]), "");
  });

  test("Velero restores what we wrote, and deletes it with its snapshot", async () => {
    const { cluster, driver } = clusters[1]!;
    const velero = await startVelero(cluster, s3, "shared", { csi: true });
    try {
      await velero.waitForSyncedBackup("ours");
      const { status } = await velero.createRestore("back", { backupName: "ours" });
      const details = await velero.cli(["restore", "describe", "back", "--details"]);
      assert.deepEqual([status?.phase, status?.errors ?? 0], ["Completed", 0], `${details}\n${velero.log()}`);
      assert.equal(await readFile(join(await driver.folder("shop", "data"), "file"), "utf8"), "precious");
      assert((await driver.stored()).includes(ours));
      await velero.cli(["backup", "delete", "ours", "--confirm"]);
      await until("the end of the snapshot", async () => !(await driver.stored()).includes(ours));
    } finally {
      await velero.stop();
    }
  });
});
