import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { RESTORE_NAME } from "../../core/labels.ts";
import { backupKeys } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { type RestoreRun, runRestore } from "../../core/restore/run.ts";
import { storeNote } from "../../core/restore/undo/notes.ts";
import { RESTIC_TIMING } from "../../core/volumes/restic/settings.ts";
import { backedUp, sample } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const { kube, create, intercept, live } = restoreTarget();
let bucket: Bucket;

const namespace = sample("v1", "Namespace", "shop");
const claim = (name: string) =>
  sample("v1", "PersistentVolumeClaim", `shop/${name}`, {
    spec: { volumeName: `pv-${name}`, accessModes: ["ReadWriteOnce"] },
  });
const volume = (name: string, policy: string) =>
  sample("v1", "PersistentVolume", `pv-${name}`, {
    spec: { persistentVolumeReclaimPolicy: policy, claimRef: { namespace: "shop", name, uid: "u" } },
  });
const last = sample("batch/v1", "CronJob", "shop/last", { spec: {} });

beforeEach(async () => {
  const { uid } = (await live("/api/v1/namespaces/kube-system")).metadata;
  const system = sample("v1", "Namespace", "kube-system", { metadata: { uid } as KubernetesObject["metadata"] });
  bucket = await backedUp([system, namespace, claim("kept"), volume("kept", "Retain"), claim("lost"), last]);
});

function run(more: Partial<RestoreRun> = {}) {
  const signal = AbortSignal.any([]);
  return runRestore({ kube, bucket, name: "r", spec: { backupName: "b" }, log: startRunLog({}), signal, ...more });
}

/** Runs the restore until its last object is about to be created. */
async function interrupted(more: Partial<RestoreRun> = {}): Promise<void> {
  const stop = new AbortController();
  intercept((request) => {
    if (request.method !== "POST" || !request.path.endsWith("/cronjobs")) return undefined;
    stop.abort(new Error("called off"));
    return Promise.reject(stop.signal.reason);
  });
  await assert.rejects(run({ ...more, signal: stop.signal }), /called off/);
  intercept(() => undefined);
}

const warned = ({ result }: Awaited<ReturnType<typeof run>>) =>
  result.problems.warnings.map(({ name, message }) => [name, message]);

describe("a restore that is run again under its name", () => {
  it("tells of the claims that its first run brought", async () => {
    await interrupted();
    const again = await run();
    assert.equal(again.result.counts.created, 1);
    assert.deepEqual(warned(again), [["lost", "its volume pv-lost isn't restored: it got a new, empty one"]]);
    assert.deepEqual([again.result.volumes?.stays, again.result.volumes?.lacking], [1, 1]);
  });

  it("tells nothing of claims that were there before it, though it changed them", async () => {
    await create("/api/v1/namespaces", namespace);
    const { spec, ...other } = claim("lost");
    const labelled = { ...other, spec: {}, metadata: { ...other.metadata, labels: { own: "label" } } };
    await create("/api/v1/namespaces/shop/persistentvolumeclaims", labelled as KubernetesObject);
    const update = { spec: { backupName: "b", existingResourcePolicy: "update" } } as const;
    await interrupted(update);
    const { metadata } = await live("/api/v1/namespaces/shop/persistentvolumeclaims/lost");
    assert.equal(metadata.labels?.[RESTORE_NAME], "r");
    assert.deepEqual(warned(await run(update)), []);
  });

  const copied = { snapshotHandle: "abcdef01", uploaderType: "restic", podNamespace: "shop", size: 5 };
  const infos = [
    { pvName: "pv-lost", pvcName: "lost", pvcNamespace: "shop", backupMethod: "PodVolumeBackup", pvbInfo: copied },
  ];
  const files = {
    ...{ image: "restic:1", location: "s3://a/b", env: {}, timing: RESTIC_TIMING },
    secrets: () => Promise.reject(new Error("nothing is to be filled")),
  };
  const stored = () => bucket.put(backupKeys("b").volumeInfo, gzipSync(JSON.stringify(infos)));

  it("counts the data that its first run brought", async () => {
    await stored();
    await create("/api/v1/namespaces", namespace);
    await create("/api/v1/namespaces/shop/persistentvolumeclaims", {
      ...claim("lost"),
      spec: { volumeName: "pvc-1", accessModes: ["ReadWriteOnce"] },
      metadata: { ...claim("lost").metadata, labels: { [RESTORE_NAME]: "r" } },
    } as KubernetesObject);
    const clusterUid = (await live("/api/v1/namespaces/kube-system")).metadata.uid ?? "";
    await storeNote(bucket, "r", {
      ...{ clusterUid, startTimestamp: "2026-01-01T00:00:00Z", backup: "b", backups: [] },
      ...{ creates: new Map([["persistentvolumeclaims", new Set(["shop/lost"])]]), without: new Map() },
      ...{ touches: new Map(), statuses: new Map(), kin: new Map() },
    });
    const again = await run({ volumes: { files } });
    const { fileCopies, fileBytes, lacking } = again.result.volumes!;
    assert.deepEqual([fileCopies, fileBytes, lacking, warned(again)], [1, 5, 0, []]);
  });

  it("counts no data that its first run was told to leave out, though it brings data itself", async () => {
    await stored();
    await interrupted({ spec: { backupName: "b", restorePVs: false } });
    const again = await run({ volumes: { files } });
    const { fileCopies, stays, lacking } = again.result.volumes!;
    assert.deepEqual([fileCopies, stays, lacking], [0, 1, 1]);
    assert.deepEqual(
      warned(again).map(([name]) => name),
      ["lost"],
    );
  });

  it("is refused, before it writes, where it would restore another backup than was begun", async () => {
    await interrupted();
    const record = { kind: "Backup", metadata: { name: "other" }, status: { phase: "Completed" } };
    await bucket.put(backupKeys("other").metadata, Buffer.from(JSON.stringify(record)));
    kube.writes.length = 0;
    await assert.rejects(run({ spec: { backupName: "other" } }), {
      kind: "conflict",
      message: /restore "r" .* backup "b"/,
    });
    assert.deepEqual(kube.writes, []);
    assert.equal((await run()).record.status.phase, "Completed");
  });
});
