import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import type { LifeboatError } from "../../core/errors.ts";
import type { VolumeMeans } from "../../core/volumes/means.ts";
import type { StoredVolume } from "../../core/volumes/record.ts";
import { RESTIC_TIMING } from "../../core/volumes/restic/settings.ts";
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

  const system = (of: string) =>
    sample("v1", "Namespace", "kube-system", { metadata: { uid: of } as KubernetesObject["metadata"] });
  const shared =
    "it binds to the volume pv that the backup's claim used, not to a copy of it: stop what uses that first";
  const places: {
    into: string;
    from: "here" | "elsewhere" | "unknown";
    spec?: object;
    there?: true;
    node?: true;
    warned: boolean;
  }[] = [
    { into: "the same place", from: "here", warned: false },
    { into: "another cluster", from: "elsewhere", warned: true },
    { into: "another cluster that has the volume", from: "elsewhere", there: true, warned: true },
    { into: "another namespace", from: "here", spec: { namespaceMapping: { shop: "copy" } }, warned: true },
    { into: "another cluster's nodes, where they are not,", from: "elsewhere", node: true, warned: false },
    {
      into: "another namespace of the same nodes",
      from: "here",
      spec: { namespaceMapping: { shop: "copy" } },
      node: true,
      warned: true,
    },
    { into: "a cluster that may be another", from: "unknown", warned: true },
    { into: "one that has the volume", from: "unknown", there: true, warned: false },
  ];
  for (const { into, from, spec, there, node, warned } of places)
    it(`of policy Retain bind to the same data in ${into}${warned ? ", which is a warning" : ""}`, async () => {
      const { uid = "" } = (await live("/api/v1/namespaces/kube-system")).metadata;
      const source = { here: [system(uid)], elsewhere: [system("11111111-0000-4000-8000-000000000000")], unknown: [] };
      const stays = volume("Retain");
      if (node) Object.assign(stays.spec as object, { hostPath: { path: "/data" } });
      const archive = await archiveOf([...source[from], claim, stays]);
      if (there) await create("/api/v1/persistentvolumes", volume("Retain"));
      const { result } = await restored(kube, archive, spec);
      const told = result.problems.warnings.map(({ name, message }) => `${name}: ${message}`);
      assert.equal(
        told.some((message) => message.startsWith("pv: it is /data of a node")),
        node === true,
      );
      assert.deepEqual(
        told.filter((message) => !message.startsWith("pv: ")),
        warned ? [`data: ${shared}`] : [],
      );
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

describe("data of the backup that can't be brought", () => {
  const of = (name: string) => ({ volume: `pv-${name}`, claim: { namespace: "shop", name } });
  const named = (name: string) =>
    sample("v1", "PersistentVolumeClaim", `shop/${name}`, { spec: { volumeName: `pv-${name}` } });
  const csi = { snapshotHandle: "snap-1", driver: "disk.csi.example.com", contentName: "c", restoreSize: 1 };
  const files = { namespace: "shop", snapshotId: "abcdef01", size: 1 };
  const native = { snapshotHandle: "snap-0a", volumeType: "gp3", volumeAZ: "eu-west-1a" };
  const unreached = {
    files: { image: "restic:1", location: "file:///b", timing: RESTIC_TIMING, secrets: () => assert.fail() },
  };
  const rows: { lacks: string; means?: VolumeMeans; stored: StoredVolume[]; message: RegExp; hint: RegExp }[] = [
    {
      lacks: "volumes.restic",
      stored: [
        { ...of("a"), files },
        { ...of("b"), files },
      ],
      message: /data of 2 claims .*: the configuration has no volumes\.restic, .*\(shop\/a, shop\/b\)$/,
      hint: /^set up volumes\.restic, .*--restore-volumes=false/,
    },
    {
      lacks: "a location that Pods reach",
      means: unreached,
      stored: [{ ...of("a"), files }],
      message: /data of a claim .*Pods of a cluster don't reach it \(shop\/a\)$/,
      hint: /--restore-volumes=false/,
    },
    {
      lacks: "VolumeSnapshots",
      stored: [{ ...of("a"), csi }],
      message: /the target serves no VolumeSnapshots \(shop\/a\)$/,
      hint: /^install the snapshot controller/,
    },
    {
      lacks: "the disks' cloud, and more",
      stored: [
        { ...of("a"), native },
        { ...of("b"), csi },
      ],
      message: /nothing here can ask that cloud \(aws\) \(shop\/a\); the target serves no VolumeSnapshots \(shop\/b\)$/,
      hint: /^restore where .*; install the snapshot controller/,
    },
  ];
  for (const { lacks, means, stored, message, hint } of rows)
    it(`for lack of ${lacks} are refused before anything is written`, async () => {
      const archive = await archiveOf([named("a"), named("b"), named("c")]);
      const volumes = { ...means, stored };
      await assert.rejects(restored(kube, archive, {}, { volumes }), (error: LifeboatError) => {
        assert.equal(error.kind, "invalid");
        assert.match(error.message, message);
        assert.match(error.hint ?? "", hint);
        return true;
      });
      assert.deepEqual(kube.writes, []);
    });

  it("are no obstacle where nobody asks for them, or their claim is there or left out", async () => {
    const volumes = { stored: [{ ...of("a"), files }] };
    const archive = () => archiveOf([named("a"), named("b")]);
    const left = await restored(
      kube,
      await archive(),
      { includedItems: ["shop/persistentvolumeclaims/b"] },
      { volumes },
    );
    assert.equal(left.result.counts.created, 2);
    const empty = await restored(kube, await archive(), { restorePVs: false }, { volumes });
    assert.deepEqual([empty.result.volumes?.leftOut, empty.result.volumes?.lacking], [1, 0]);
    const again = await restored(kube, await archive(), {}, { volumes });
    assert.deepEqual([again.result.phase, again.result.counts.created], ["Completed", 0]);
  });
});

describe("a target that knows no VolumeSnapshots", () => {
  const snapshotClass = sample("snapshot.storage.k8s.io/v1", "VolumeSnapshotClass", "disks", {
    driver: "disk.csi.example.com",
  } as object);
  const csi = { snapshotHandle: "snap-1", driver: "disk.csi.example.com", contentName: "c", restoreSize: 1 };
  const volumes = { stored: [{ volume: "pv", claim: { namespace: "shop", name: "data" }, csi }] };

  it("has no use for their classes, and its claims come empty where that is asked for", async () => {
    const archive = await archiveOf([claim, volume("Delete"), snapshotClass]);
    const { lines, result } = await restored(kube, archive, { restorePVs: false }, { volumes });
    assert.deepEqual([result.phase, result.problems.warnings.map(({ name }) => name)], ["Completed", ["data"]]);
    assert.match(lines.join("\n"), /^skipped volumesnapshotclasses\S* disks: this cluster knows no VolumeSnapshots/m);
    assert.match(
      lines.join("\n"),
      /^skipped persistentvolumes pv: its data are in the backup and don't come back, as its claim tells/m,
    );
    assert.match(lines.join("\n"), /^created persistentvolumeclaims .*new, empty one; restorePVs is false/m);
  });
});
