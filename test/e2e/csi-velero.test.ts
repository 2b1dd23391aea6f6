import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { itemPath, type KubernetesObject } from "../../core/archive/item.ts";
import { connect, type Kube } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { snapshotClasses } from "../../core/volumes/csi/classes.ts";
import { copyByCsi } from "../../core/volumes/csi/copy.ts";
import { csiRestore, snapshotForClaim, snapshotSource } from "../../core/volumes/csi/restore.ts";
import { csiRun } from "../../core/volumes/csi/run.ts";
import { claimFromSnapshot, withSnapshot } from "../../core/volumes/csi/stored.ts";
import type { Copied } from "../../core/volumes/volume.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { type CsiDriver, DISK, startCsiDriver } from "../rig/csidriver.ts";
import { makeDir, removeDir, until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { installSnapshots } from "../rig/snapshotcrds.ts";
import { startVelero, VELERO } from "../rig/velero.ts";

const run = promisify(execFile);
const CLAIMS = "/api/v1/namespaces/shop/persistentvolumeclaims";
const SNAPSHOTS = "volumesnapshots.snapshot.storage.k8s.io";
const CONTENTS = "volumesnapshotcontents.snapshot.storage.k8s.io";
const PATIENCE = { pollMs: 40 };
const never = new AbortController().signal;

describe("CSI snapshots and real Velero", { skip: requireOrSkip("rig", [...CONTROL_PLANE, ...VELERO]) }, () => {
  let storage: string;
  let s3: S3;
  const clusters: { cluster: Cluster; kube: Kube; driver: CsiDriver }[] = [];
  let claim: KubernetesObject;
  let ours: Copied;

  async function start() {
    const cluster = await startCluster();
    await installSnapshots(cluster.api);
    await cluster.api.request("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
    const driver = await startCsiDriver(cluster, storage);
    return { cluster, driver, kube: connect(readKubeconfig(cluster.kubeconfig)) };
  }

  before(async () => {
    storage = makeDir("storage");
    s3 = await startS3();
    clusters.push(...(await Promise.all([start(), start()])));
    const { cluster, driver, kube } = clusters[0]!;
    await cluster.api.request("POST", CLAIMS, {
      metadata: { name: "data", labels: { app: "shop" } },
      spec: { storageClassName: DISK, accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "100Mi" } } },
    });
    await writeFile(join(await driver.folder("shop", "data"), "file"), "precious");
    claim = await cluster.api.request<KubernetesObject>("GET", `${CLAIMS}/data`);
    const classes = await snapshotClasses(kube, never);
    ours = await copyByCsi(csiRun(kube, { backupName: "ours", signal: never, ...PATIENCE }), claim, classes![0]!).done;
  });
  after(async () => {
    for (const { cluster, kube, driver } of clusters) {
      await driver[Symbol.asyncDispose]();
      await kube.close();
      await cluster.stop();
    }
    await s3?.stop();
    await removeDir(storage);
  });

  const folder = (name: string) => join(s3.dir, "data", s3.bucket, "shared", "backups", name);

  /** The objects of a resource in Velero's archive. */
  async function stored(name: string, resource: string): Promise<KubernetesObject[]> {
    const dir = makeDir("archive");
    await run("tar", ["xzf", join(folder(name), `${name}.tar.gz`), "-C", dir]);
    const path = join(
      dir,
      dirname(itemPath({ resource, namespace: resource === CONTENTS ? "" : "shop", name: "any" })),
    );
    const texts = (await readdir(path)).map((file) => readFile(join(path, file), "utf8"));
    const objects = (await Promise.all(texts)).map((text) => JSON.parse(text));
    await removeDir(dir);
    return objects;
  }

  test("we write what Velero writes, and restore what it wrote", async () => {
    const { cluster, driver } = clusters[0]!;
    const velero = await startVelero(cluster, s3, "shared", { csi: true });
    try {
      const made = await velero.createBackup("theirs", { includedNamespaces: ["shop"], snapshotVolumes: true });
      assert.equal(made.status?.phase, "Completed", velero.log());
    } finally {
      await velero.stop();
    }
    const [theirs] = await stored("theirs", SNAPSHOTS);
    const [theirContent] = await stored("theirs", CONTENTS);
    const [theirClaim] = await stored("theirs", "persistentvolumeclaims");
    const ourClaim = withSnapshot(claim, ours.csi!, "ours");
    const said = (object: KubernetesObject) => {
      const { labels, annotations, finalizers } = object.metadata;
      // Of interest only while Velero makes the backup; it leaves it on the claim.
      const passing = "backup.velero.io/must-include-additional-items";
      const keys = [labels, annotations].map((map) =>
        Object.keys(map ?? {})
          .filter((key) => key !== passing)
          .sort(),
      );
      return {
        keys,
        finalizers,
        spec: Object.keys(object.spec as object).sort(),
        status: Object.keys((object.status ?? {}) as object).sort(),
      };
    };
    const [snapshot, content] = ours.objects!;
    assert.deepEqual(said(snapshot!), said(theirs!));
    assert.deepEqual(said(content!), said(theirContent!));
    assert.deepEqual(said(ourClaim), said(theirClaim!));

    const to = clusters[1]!;
    const restoring = csiRestore(to.kube, { restoreName: "again", signal: never, ...PATIENCE });
    const place = { namespace: "shop", name: "data" };
    const made = await snapshotForClaim(restoring, { claim: place, from: snapshotSource(theirs!, theirContent)! });
    const { spec } = claimFromSnapshot(theirClaim!, made);
    await to.cluster.api.request("POST", CLAIMS, { metadata: { name: "from-theirs" }, spec });
    assert.equal(await readFile(join(await to.driver.folder("shop", "from-theirs"), "file"), "utf8"), "precious");
    assert.equal((await driver.stored()).length, 2);
  });

  test("Velero restores what we wrote, and deletes it", async () => {
    await write("ours", [withSnapshot(claim, ours.csi!, "ours"), ...ours.objects!]);
    const { cluster, driver } = clusters[1]!;
    const velero = await startVelero(cluster, s3, "shared", { csi: true });
    try {
      await velero.waitForSyncedBackup("ours");
      const restored = await velero.createRestore("back", { backupName: "ours" });
      const details = await velero.cli(["restore", "describe", "back", "--details"]);
      assert.equal(restored.status?.phase, "Completed", `${details}\n${velero.log()}`);
      assert.equal(await readFile(join(await driver.folder("shop", "data"), "file"), "utf8"), "precious");
      assert((await driver.stored()).includes(ours.csi!.snapshotHandle));
      await velero.cli(["backup", "delete", "ours", "--confirm"]);
      await until("the end of the snapshot", async () => !(await driver.stored()).includes(ours.csi!.snapshotHandle));
    } finally {
      await velero.stop();
    }
  });

  /** Writes a backup of these objects, as little as Velero takes for one. */
  async function write(name: string, objects: KubernetesObject[]): Promise<void> {
    const dir = makeDir("archive");
    const put = async (path: string, text: string) => {
      await mkdir(dirname(join(dir, path)), { recursive: true });
      await writeFile(join(dir, path), text);
    };
    await put("metadata/version", "1.1.0");
    for (const object of objects) {
      const { kind, metadata, apiVersion } = object;
      const [group] = apiVersion.includes("/") ? apiVersion.split("/") : [""];
      const plural = `${kind.toLowerCase()}${kind.endsWith("s") ? "es" : "s"}`;
      const id = {
        resource: group ? `${plural}.${group}` : plural,
        namespace: metadata.namespace ?? "",
        name: metadata.name,
      };
      await put(itemPath(id), JSON.stringify(object));
    }
    await mkdir(folder(name), { recursive: true });
    await run("tar", ["czf", join(folder(name), `${name}.tar.gz`), "-C", dir, "."]);
    const info = {
      pvcName: "data",
      pvcNamespace: "shop",
      pvName: (claim.spec as { volumeName: string }).volumeName,
      backupMethod: "CSISnapshot",
      snapshotDataMoved: false,
      csiSnapshotInfo: {
        snapshotHandle: ours.csi!.snapshotHandle,
        size: ours.csi!.restoreSize,
        driver: ours.csi!.driver,
        vscName: ours.csi!.contentName,
        ReadyToUse: true,
      },
      pvInfo: { reclaimPolicy: "Delete", labels: {} },
      result: "succeeded",
    };
    await writeFile(join(folder(name), `${name}-volumeinfo.json.gz`), gzipSync(JSON.stringify([info])));
    await writeFile(
      join(folder(name), "velero-backup.json"),
      JSON.stringify({
        apiVersion: "velero.io/v1",
        kind: "Backup",
        metadata: {
          name,
          namespace: "velero",
          uid: "0f5f2a3c-6c1e-4b55-9a53-0d3f6c0f7a11",
          labels: { "velero.io/storage-location": "default" },
        },
        spec: { storageLocation: "default", includedNamespaces: ["shop"], ttl: "720h0m0s" },
        status: {
          version: 1,
          formatVersion: "1.1.0",
          phase: "Completed",
          startTimestamp: "2026-01-01T00:00:00Z",
          completionTimestamp: "2026-01-01T00:00:01Z",
          expiration: "2036-01-01T00:00:00Z",
        },
      }),
    );
    await removeDir(dir);
  }
});
