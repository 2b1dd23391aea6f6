import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { archiveOf, restored, said, sample } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const { change, create, kube, live } = restoreTarget();

const claim = sample("v1", "PersistentVolumeClaim", "shop/data", { spec: { volumeName: "pv" } });
const volume = (policy: string) =>
  sample("v1", "PersistentVolume", "pv", {
    spec: { persistentVolumeReclaimPolicy: policy, claimRef: { namespace: "shop", name: "data", uid: "u" } },
  });

describe("claims and volumes", () => {
  it("of policy Retain find each other again", async () => {
    const { result } = await restored(kube, await archiveOf([claim, volume("Retain")]));
    assert.deepEqual((await live("/api/v1/namespaces/shop/persistentvolumeclaims/data")).spec, { volumeName: "pv" });
    assert.deepEqual((await live("/api/v1/persistentvolumes/pv")).spec, {
      persistentVolumeReclaimPolicy: "Retain",
      claimRef: { namespace: "shop", name: "data" },
    });
    assert.deepEqual([result.volumes?.stays, result.volumes?.lacking], [1, 0]);
  });

  it("of policy Delete come as a new volume, which is a warning", async () => {
    const { lines, result } = await restored(kube, await archiveOf([claim, volume("Delete")]));
    assert.deepEqual(
      result.problems.warnings.map(({ name, message }) => [name, message]),
      [["data", "its volume pv isn't restored: it gets a new, empty one"]],
    );
    assert.deepEqual([result.volumes?.stays, result.volumes?.lacking], [0, 1]);
    assert.match(lines.join("\n"), /skipped persistentvolumes pv: its data isn't in the backup/);
    assert.match(
      lines.join("\n"),
      /created persistentvolumeclaims shop\/data: its volume pv isn't restored: it gets a new, empty one/,
    );
    assert.deepEqual((await live("/api/v1/namespaces/shop/persistentvolumeclaims/data")).spec, {});
  });

  it("keep their reclaim policy when they are freed, whatever the backup says", async () => {
    const archive = await archiveOf([claim, volume("Delete")]);
    await create("/api/v1/persistentvolumes", volume("Retain"));
    await change("PATCH", "/api/v1/persistentvolumes/pv/status", { status: { phase: "Released" } });
    const { result } = await restored(kube, archive, { existingResourcePolicy: "update" });
    assert.equal(result.counts.updated, 1);
    assert.deepEqual((await live("/api/v1/persistentvolumes/pv")).spec, {
      persistentVolumeReclaimPolicy: "Retain",
      claimRef: { namespace: "shop", name: "data" },
    });
  });

  it("are freed and updated in one, where they differ too", async () => {
    const archive = await archiveOf([claim, volume("Retain")]);
    await create("/api/v1/persistentvolumes", {
      ...volume("Retain"),
      metadata: { name: "pv", labels: { own: "label" } },
    } as unknown as KubernetesObject);
    await change("PATCH", "/api/v1/persistentvolumes/pv/status", { status: { phase: "Released" } });
    await restored(kube, archive, { existingResourcePolicy: "update" });
    const { spec, metadata } = await live("/api/v1/persistentvolumes/pv");
    assert.deepEqual(
      [(spec as { claimRef: object }).claimRef, metadata.labels?.own],
      [{ namespace: "shop", name: "data" }, undefined],
    );
  });

  it("of a deleted claim are bound to the restored one under update, and else warned about", async () => {
    const archive = await archiveOf([claim, volume("Retain")]);
    const path = "/api/v1/persistentvolumes/pv";
    await create("/api/v1/persistentvolumes", volume("Retain"));
    await change("PATCH", `${path}/status`, { status: { phase: "Released" } });
    const left = await restored(kube, archive);
    assert.match(
      said(left.result.problems.warnings),
      /persistentvolumes pv: .*still belongs to the deleted claim shop\/data/,
    );
    await change("DELETE", "/api/v1/namespaces/shop/persistentvolumeclaims/data");

    const bound = await restored(kube, archive, { existingResourcePolicy: "update" });
    assert.deepEqual([bound.result.counts.updated, bound.result.problems.warnings], [1, []]);
    assert.deepEqual((await live(path)).spec, {
      persistentVolumeReclaimPolicy: "Retain",
      claimRef: { namespace: "shop", name: "data" },
    });
    assert.deepEqual((await live("/api/v1/namespaces/shop/persistentvolumeclaims/data")).spec, { volumeName: "pv" });
  });

  it("of a deleted claim are bound under update to one that was restored before, and waits", async () => {
    const archive = await archiveOf([claim, volume("Retain")]);
    const path = "/api/v1/persistentvolumes/pv";
    await create("/api/v1/persistentvolumes", volume("Retain"));
    await change("PATCH", `${path}/status`, { status: { phase: "Released" } });
    await restored(kube, archive);
    assert.match(
      said((await restored(kube, archive)).result.problems.warnings),
      /pv: .*use --existing-resource-policy/,
    );

    const bound = await restored(kube, archive, { existingResourcePolicy: "update" });
    assert.deepEqual([bound.result.counts.updated, bound.result.problems.warnings], [1, []]);
    const { claimRef } = (await live(path)).spec as { claimRef: object };
    assert.deepEqual(claimRef, { namespace: "shop", name: "data" });
  });

  it("of a deleted claim stay where the one of its name has another volume", async () => {
    const archive = await archiveOf([claim, volume("Retain")]);
    await create("/api/v1/persistentvolumes", volume("Retain"));
    await change("PATCH", "/api/v1/persistentvolumes/pv/status", { status: { phase: "Released" } });
    await restored(kube, archive);
    await change("PATCH", "/api/v1/namespaces/shop/persistentvolumeclaims/data/status", { status: { phase: "Bound" } });
    const { counts, problems } = (await restored(kube, archive, { existingResourcePolicy: "update" })).result;
    assert.deepEqual([counts.updated, problems.warnings], [0, []]);
  });

  it("don't take a volume that serves another claim", async () => {
    await restored(kube, await archiveOf([volume("Retain")]));
    await restored(kube, await archiveOf([claim]), { namespaceMapping: { shop: "copy" } });
    assert.deepEqual((await live("/api/v1/namespaces/copy/persistentvolumeclaims/data")).spec, {});
  });
});

describe("a target that knows no VolumeSnapshots", () => {
  const snapshotClass = sample("snapshot.storage.k8s.io/v1", "VolumeSnapshotClass", "disks", {
    driver: "disk.csi.example.com",
  } as object);
  const csi = { snapshotHandle: "snap-1", driver: "disk.csi.example.com", contentName: "c", restoreSize: 1 };
  const volumes = { stored: [{ volume: "pv", claim: { namespace: "shop", name: "data" }, csi }] };

  it("has no use for their classes, and its claims come empty, which alone needs a person", async () => {
    const archive = await archiveOf([claim, volume("Delete"), snapshotClass]);
    const { lines, result } = await restored(kube, archive, {}, { volumes });
    assert.deepEqual([result.phase, result.problems.warnings.map(({ name }) => name)], ["Completed", ["data"]]);
    assert.match(lines.join("\n"), /^skipped volumesnapshotclasses\S* disks: this cluster knows no VolumeSnapshots/m);
    assert.match(
      lines.join("\n"),
      /^skipped persistentvolumes pv: its data are in the backup and don't come back, as its claim tells/m,
    );
    assert.match(lines.join("\n"), /^created persistentvolumeclaims .*new, empty one; this cluster serves no VolumeS/m);
  });
});
