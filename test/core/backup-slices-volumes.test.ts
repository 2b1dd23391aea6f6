import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { type BackupResult, backupSlice } from "../../core/backup/backup.ts";
import type { Kube, KubeResponse } from "../../core/kube/client.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { embeddedCluster } from "./embedded-cluster.ts";
import { heldUp, sliceOf } from "./slice-sample.ts";

const GROUP = "snapshot.storage.k8s.io";
const CONTENTS = `/apis/${GROUP}/v1/volumesnapshotcontents`;
const signal = new AbortController().signal;
/** Handles of the snapshots that the storage has. */
const storage = new Set<string>();
const { kube } = await embeddedCluster(cluster());

/** A claim on a CSI volume, among 600 ConfigMaps. */
function cluster(): KubernetesObject[] {
  const definition = (kind: string, plural: string, scope: string) => ({
    ...{
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: `${plural}.${GROUP}` },
    },
    spec: {
      ...{ group: GROUP, scope, names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` } },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
    },
  });
  const core = (kind: string, metadata: KubernetesObject["metadata"], rest = {}) => ({
    ...{ apiVersion: "v1", kind, metadata },
    ...rest,
  });
  return [
    definition("VolumeSnapshot", "volumesnapshots", "Namespaced"),
    definition("VolumeSnapshotContent", "volumesnapshotcontents", "Cluster"),
    definition("VolumeSnapshotClass", "volumesnapshotclasses", "Cluster"),
    {
      ...{ apiVersion: `${GROUP}/v1`, kind: "VolumeSnapshotClass", metadata: { name: "fast" } },
      ...{ driver: "csi.example", deletionPolicy: "Delete" },
    },
    core("Namespace", { name: "shop" }),
    ...Array.from({ length: 600 }, (_, i) => core("ConfigMap", { namespace: "shop", name: `settings-${i}` })),
    core(
      "PersistentVolume",
      { name: "volume" },
      { spec: { capacity: { storage: "1Gi" }, csi: { driver: "csi.example", volumeHandle: "v" } } },
    ),
    core(
      "PersistentVolumeClaim",
      { namespace: "shop", name: "data" },
      { spec: { volumeName: "volume" }, status: { phase: "Bound" } },
    ),
  ];
}

/** The cluster with a driver that snapshots at once; `who` stands in the handles of what is asked for through it. */
function seenBy(who: string): Kube {
  const json = ({ body }: KubeResponse) => JSON.parse(body.toString());
  return {
    ...kube,
    async request(request) {
      if (request.method === "DELETE" && request.path.startsWith(`${CONTENTS}/`)) {
        const there = await kube.request({ path: request.path, signal });
        if (there.status === 200 && json(there).spec.deletionPolicy === "Delete")
          storage.delete(json(there).status.snapshotHandle);
      }
      const answer = await kube.request(request);
      if (request.method !== "POST" || !request.path.endsWith("/volumesnapshots") || answer.status >= 300)
        return answer;
      const { metadata } = json(answer);
      const handle = `by-${who}`;
      storage.add(handle);
      const content = {
        ...{
          apiVersion: `${GROUP}/v1`,
          kind: "VolumeSnapshotContent",
          metadata: { name: `snapcontent-${metadata.uid}` },
        },
        spec: {
          ...{ driver: "csi.example", deletionPolicy: "Delete" },
          volumeSnapshotRef: { namespace: "shop", name: metadata.name },
        },
        status: { snapshotHandle: handle, restoreSize: 1, readyToUse: true },
      };
      await kube.request({ method: "POST", path: CONTENTS, body: JSON.stringify(content), signal });
      const boundVolumeSnapshotContentName = content.metadata.name;
      const status = { boundVolumeSnapshotContentName, creationTime: "2026-01-01T00:00:00Z", readyToUse: true };
      await kube.request({
        ...{ method: "PATCH", path: `${request.path}/${metadata.name}`, contentType: "application/merge-patch+json" },
        ...{ body: JSON.stringify({ status }), signal },
      });
      return answer;
    },
  };
}

const runOf = (who: string, bucket: Bucket) => ({
  ...{ kube: seenBy(who), bucket, name: "b", spec: {}, log: startRunLog({ backup: "b" }), signal },
});

const handleOf = ({ outcome }: BackupResult) => outcome.volumes?.[0]?.csi?.snapshotHandle;

test("a run that only seemed dead takes away none of the snapshots of who went on with its backup", async () => {
  const bucket = memoryBucket();
  assert.ok("more" in (await backupSlice(runOf("first", bucket), sliceOf(5))));
  const dead = heldUp(bucket, "/b.tar.gz");
  const seemingDead = backupSlice(runOf("dead", dead.bucket), sliceOf(1000));
  await dead.reached;
  assert.deepEqual([...storage], ["by-dead"]);
  const next = heldUp(bucket, "/velero-backup.json");
  const going = backupSlice(runOf("next", next.bucket), sliceOf(1000));
  await next.reached;
  dead.free();
  await assert.rejects(seemingDead, { kind: "conflict", message: /another run of backup "b" has stored its archive/ });
  assert.deepEqual([...storage], ["by-next"]);
  next.free();
  assert.equal(handleOf((await going) as BackupResult), "by-next");
  assert.deepEqual([...storage], ["by-next"]);
});
