import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { mayCopyVolumes } from "../../core/check/copying.ts";
import { leftInCluster, orphanedSnapshots } from "../../core/check/orphans.ts";
import { leftByRestores } from "../../core/check/restores.ts";
import { LifeboatError } from "../../core/errors.ts";
import { readClusterUid } from "../../core/kube/clusteruid.ts";
import { restoreKeys } from "../../core/layout.ts";
import { tryLock } from "../../core/lock.ts";
import type { Bucket, Disks } from "../../core/ports.ts";
import { storeNote } from "../../core/restore/undo/notes.ts";
import type { BackupSpec } from "../../core/specs.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { inCluster } from "./embedded-cluster.ts";
import { signal } from "./integrity-sample.ts";
import { putBackup } from "./location-sample.ts";
import { memoryDisks } from "./memory-disks.ts";

const VOLUME = {
  ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name: "pvc-1" } },
  spec: { csi: { driver: "ebs.csi.aws.com", volumeHandle: "vol-0123456789" } },
};

describe("snapshots of disks that no backup has any more", () => {
  const none = async () => memoryDisks(new Map());
  const ask = async ({ aws = none, bucket }: { aws?: () => Promise<Disks>; bucket: () => Promise<Bucket> }) => {
    return inCluster([VOLUME], async (kube) => {
      return await orphanedSnapshots(kube, { restic: false, disks: { aws }, bucket }, signal);
    });
  };

  it("are those with this location's tag whose backup is neither there nor being made", async () => {
    const bucket = memoryBucket();
    const native = { snapshotHandle: "snap-01", volumeId: "vol-1", volumeType: "gp3", volumeAZ: "eu-west-1a" };
    const claim = { namespace: "shop", name: "db", uid: "1" };
    await putBackup(bucket, "there", [], { volumes: [{ volume: "pvc-1", claim, method: "NativeSnapshot", native }] });
    const lock = await tryLock({ bucket, kind: "backups", name: "running" }, { signal });
    assert.notEqual(lock, "running");
    const of = (backup: string, location = "memory://") => ({
      "velero.io/backup": backup,
      "lifeboat/location": location,
    });
    const snapshots = new Map<string, Record<string, string>>([
      ["snap-01", of("there")],
      ["snap-02", of("running")],
      ["snap-03", of("gone")],
      ["snap-04", of("gone", "s3://another")],
      ["snap-05", { "velero.io/backup": "velero's" }],
      // Of a run that died, before another made the backup of that name.
      ["snap-06", of("there")],
    ]);
    const found = await ask({ aws: async () => memoryDisks(snapshots), bucket: async () => bucket });
    if (lock !== "running") await lock[Symbol.asyncDispose]();
    assert.deepEqual(found, {
      state: "warning",
      message: "2 of 4 are in no backup any more: snap-03, snap-06",
      todo: "aws ec2 delete-snapshot --snapshot-id snap-03\naws ec2 delete-snapshot --snapshot-id snap-06",
      resources: ["snap-03", "snap-06"],
    });
  });

  it("are none of a backup that begins and ends while it is asked", async () => {
    const bucket = memoryBucket();
    const snapshots = new Map<string, Record<string, string>>();
    const native = { snapshotHandle: "snap-01", volumeId: "vol-1", volumeType: "gp3", volumeAZ: "eu-west-1a" };
    const claim = { namespace: "shop", name: "db", uid: "1" };
    const backUp = async () => {
      snapshots.set("snap-01", { "velero.io/backup": "quick", "lifeboat/location": "memory://" });
      await putBackup(bucket, "quick", [], { volumes: [{ volume: "pvc-1", claim, method: "NativeSnapshot", native }] });
    };
    const aws = async () => {
      const disks = memoryDisks(snapshots);
      const listing: typeof disks.snapshots = async function* (...asked) {
        await backUp();
        yield* disks.snapshots(...asked);
      };
      return { ...disks, snapshots: listing };
    };
    assert.deepEqual(await ask({ aws, bucket: async () => bucket }), {
      state: "ok",
      message: "1 of backups of this location, none of one that is gone",
    });
  });

  it("are not asked for where nobody knows which backups there are", async () => {
    const bucket = () => Promise.reject(new LifeboatError("missing", "no such bucket"));
    assert.deepEqual(await ask({ bucket }), { state: "notAsked", message: "the location can't be listed" });
  });
});

const SNAPSHOT_GROUP = "snapshot.storage.k8s.io";
const definition = (kind: string, plural: string, scope: string) => ({
  ...{ apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition" },
  metadata: { name: `${plural}.${SNAPSHOT_GROUP}` },
  spec: {
    ...{ group: SNAPSHOT_GROUP, scope, names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` } },
    versions: [{ name: "v1", served: true, storage: true }],
  },
});

describe("what backups have left in a cluster", () => {
  const apiVersion = `${SNAPSHOT_GROUP}/v1`;
  /** As a run leaves them that was killed: the pair of a name, whose content says what becomes of its snapshot. */
  const pair = (name: string, deletionPolicy: string) => {
    const labels = { "lifeboat/volume-copy": "csi", "velero.io/backup-name": "nightly" };
    return [
      {
        ...{ apiVersion, kind: "VolumeSnapshot", metadata: { namespace: "shop", name, labels } },
        status: { boundVolumeSnapshotContentName: `content-${name}` },
      },
      {
        ...{ apiVersion, kind: "VolumeSnapshotContent", metadata: { name: `content-${name}`, labels } },
        ...{ spec: { driver: "csi", deletionPolicy }, status: { snapshotHandle: `snap-${name}` } },
      },
    ];
  };

  it("are first snapshots that a stored backup names, whose data go with them", async () => {
    const bucket = memoryBucket();
    const csi = { driver: "csi", restoreSize: 1, snapshotName: "db", contentName: "content-db" };
    const volumes = ["db", "kept"].map((name) => ({
      ...{ volume: `pv-${name}`, claim: { namespace: "shop", name, uid: name }, method: "CSISnapshot" as const },
      csi: { ...csi, snapshotHandle: `snap-${name}` },
    }));
    await putBackup(bucket, "nightly", [], { volumes });
    const definitions = [
      definition("VolumeSnapshot", "volumesnapshots", "Namespaced"),
      definition("VolumeSnapshotContent", "volumesnapshotcontents", "Cluster"),
    ];
    const objects = [...definitions, ...pair("another", "Delete"), ...pair("db", "Delete"), ...pair("kept", "Retain")];
    await inCluster(objects as KubernetesObject[], async (kube) => {
      const found = await leftInCluster(kube, { restic: false, bucket: async () => bucket }, signal);
      assert.deepEqual(
        found.resources,
        ["another", "db", "kept"].map((name) => `VolumeSnapshot shop/${name}`),
      );
      assert.match(
        found.message,
        /; whoever deletes one of these, or its namespace, deletes data of a stored backup: VolumeSnapshot shop\/db$/,
      );
      assert.match(found.todo ?? "", /^kubectl patch volumesnapshotcontent content-db --type merge /);
    });
  });
});

describe("what restores have left in a cluster", () => {
  const labels = (restore: string) => ({ "velero.io/restore-name": restore });
  const claim = (name: string, metadata: object, more: object = {}) => ({
    ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { namespace: "shop", name, ...metadata } },
    ...more,
  });
  const filling = (name: string, restore: string) => claim(name, { annotations: { "lifeboat/filling": restore } });
  const sourced = (name: string, snapshot: string, phase: string) =>
    claim(name, {}, { spec: { dataSource: { kind: "VolumeSnapshot", name: snapshot } }, status: { phase } });
  const pair = (name: string, restore: string) => {
    const copied = { ...labels(restore), "lifeboat/volume-copy": "csi-restore" };
    const apiVersion = `${SNAPSHOT_GROUP}/v1`;
    const spec = { volumeSnapshotRef: { namespace: "shop", name } };
    return [
      { apiVersion, kind: "VolumeSnapshot", metadata: { namespace: "shop", name, labels: copied } },
      { apiVersion, kind: "VolumeSnapshotContent", metadata: { name, labels: copied }, spec },
    ];
  };
  const job = (name: string, restore: string) => ({
    ...{ apiVersion: "batch/v1", kind: "Job" },
    metadata: { namespace: "shop", name, labels: { ...labels(restore), "app.kubernetes.io/managed-by": "lifeboat" } },
  });

  const ask = async (objects: object[], prepare: (bucket: Bucket, clusterUid: string) => Promise<void>) => {
    const definitions = [
      definition("VolumeSnapshot", "volumesnapshots", "Namespaced"),
      definition("VolumeSnapshotContent", "volumesnapshotcontents", "Cluster"),
    ];
    const bucket = memoryBucket();
    return inCluster([...definitions, ...objects] as KubernetesObject[], async (kube) => {
      await prepare(bucket, (await readClusterUid(kube, signal))!);
      return await leftByRestores(kube, { restic: false, bucket: async () => bucket }, signal);
    });
  };
  const note = (bucket: Bucket, restore: string, clusterUid: string) => {
    const [backups, none] = [[], new Map()];
    const startTimestamp = "2026-11-27T01:00:00Z";
    const names = { creates: none, without: none, touches: none, statuses: none, kin: none };
    return storeNote(bucket, restore, { clusterUid, startTimestamp, backups, ...names });
  };

  it("is what they work on no more, and what no claim needs", async () => {
    await using held = new AsyncDisposableStack();
    const objects = [
      ...[filling("data", "died"), ...pair("n1", "died"), job("lifeboat-1", "died")],
      ...[filling("half", "ended"), ...pair("n2", "ended"), sourced("whole", "n2", "Bound")],
      ...[...pair("n3", "ended"), sourced("waits", "n3", "Pending"), job("lifeboat-2", "ended")],
      ...[filling("now", "running"), job("lifeboat-3", "running"), ...pair("n4", "running")],
      ...[filling("other", "elsewhere"), filling("unknown", "nobody-knows")],
    ];
    const found = await ask(objects, async (bucket, clusterUid) => {
      for (const name of ["died", "ended", "running"]) await note(bucket, name, clusterUid);
      await note(bucket, "elsewhere", "another cluster");
      await bucket.put(restoreKeys("ended").record, Buffer.from("{}"));
      const lock = await tryLock({ bucket, kind: "restores", name: "running" }, { signal });
      assert(lock !== "running");
      held.use(lock);
    });
    const { todo, ...told } = found;
    assert.deepEqual(told, {
      state: "warning",
      message:
        "restores that are over have left half-filled PersistentVolumeClaim shop/data, half-filled PersistentVolumeClaim shop/half, VolumeSnapshot and VolumeSnapshotContent shop/n1 and 3 more",
      resources: [
        "half-filled PersistentVolumeClaim shop/data",
        "half-filled PersistentVolumeClaim shop/half",
        "VolumeSnapshot and VolumeSnapshotContent shop/n1",
        "VolumeSnapshot and VolumeSnapshotContent shop/n2",
        "Job shop/lifeboat-1 with its Secret",
        "Job shop/lifeboat-2 with its Secret",
      ],
    });
    assert.deepEqual(todo?.split("\n"), [
      'run "lifeboat restore create died" again, with its flags: it ends what it began',
      "kubectl delete -n shop persistentvolumeclaim half",
      "kubectl delete --ignore-not-found volumesnapshotcontent n2 && kubectl delete --ignore-not-found -n shop volumesnapshot n2",
      "kubectl delete --ignore-not-found -n shop job/lifeboat-2 secret/lifeboat-2",
    ]);
  });

  it("is nothing where there is nothing", async () => {
    const found = await ask([], async () => {});
    assert.deepEqual(found, { state: "ok", message: "no restore has left anything of volumes' data" });
  });
});

const CLASSES = {
  ...{ group: "snapshot.storage.k8s.io", version: "v1", name: "volumesnapshotclasses", kind: "VolumeSnapshotClass" },
  ...{ namespaced: false, verbs: ["list"] },
} as never;

const GROUPS = {
  ...{
    group: "groupsnapshot.storage.k8s.io",
    version: "v1",
    name: "volumegroupsnapshots",
    kind: "VolumeGroupSnapshot",
  },
  ...{ namespaced: true, verbs: ["list"] },
} as never;

const RIGHTS: {
  when: string;
  served?: boolean;
  /** Snapshots of groups are served, too. */
  grouped?: boolean;
  restic?: boolean;
  specs?: BackupSpec[];
  may?: (wanted: { group: string; resource: string; verb: string }) => boolean;
  state: string;
  message: RegExp;
  todo?: string;
}[] = [
  { when: "neither snapshots nor restic are there", state: "notAsked", message: /serves no VolumeSnapshots/ },
  {
    ...{ when: "no schedule takes snapshots", served: true, specs: [{ snapshotVolumes: false }], may: () => false },
    ...{ state: "notAsked", message: /^no schedule takes snapshots/ },
  },
  { when: "all is allowed", served: true, restic: true, state: "ok", message: /^snapshots by CSI, copies of files by/ },
  {
    ...{ when: "snapshots are not allowed, and nobody asks for them", served: true, may: () => false },
    ...{ state: "warning", message: /^no snapshots by CSI: may not get persistentvolumes, / },
    todo: "give csi",
  },
  {
    ...{ when: "snapshots are not allowed that a schedule asks for", served: true, may: () => false },
    ...{ specs: [{ snapshotVolumes: true }], state: "failed", message: /^no snapshots by CSI/, todo: "give csi" },
  },
  ...[true, false].map((grouped) => ({
    ...{
      when: `groups may not be snapshotted, and their API is ${grouped ? "" : "not "}served`,
      served: true,
      grouped,
    },
    may: ({ group }: { group: string }) => group !== "groupsnapshot.storage.k8s.io",
    state: grouped ? "warning" : "ok",
    message: grouped
      ? /^no snapshots by CSI: may not list volumegroupsnapshotclasses\.group/
      : /^snapshots by CSI: allowed$/,
    ...(grouped && { todo: "give csi" }),
  })),
  ...[true, false].map((snapshotMoveData) => ({
    ...{ when: `no claims may be made, and snapshotMoveData is ${snapshotMoveData}`, served: true, restic: true },
    ...{ specs: [{}, { snapshotMoveData }], state: snapshotMoveData ? "failed" : "ok" },
    may: ({ resource, verb }: { resource: string; verb: string }) =>
      !["create", "delete", "patch"].includes(verb) || !resource.startsWith("persistentvolume"),
    message: snapshotMoveData
      ? /^no copies of files by restic: may not create persistentvolumeclaims, delete persistentvolumeclaims, patch p/
      : /^snapshots by CSI, copies of files by restic: allowed$/,
    ...(snapshotMoveData && { todo: "give restic" }),
  })),
  {
    ...{ when: "restic is configured and may make no Jobs", served: true, restic: true },
    may: ({ resource }) => resource !== "jobs",
    ...{ state: "failed", todo: "give restic" },
    message:
      /^no copies of files by restic: may not list jobs.batch, get jobs.batch, create jobs.batch and 1 more; snapshots by CSI: allowed$/,
  },
];

describe("the rights for copies of volumes", () => {
  for (const {
    when,
    served,
    grouped = false,
    restic = false,
    specs = [],
    may = () => true,
    state,
    message,
    todo,
  } of RIGHTS)
    it(`are ${state} where ${when}`, async () => {
      const rights = {
        may: async (wanted: { group: string; resource: string; verb: string }) => may(wanted),
        rules: () => Promise.reject(),
      };
      const volumes = { restic, bucket: async () => memoryBucket() };
      const granting = (role: string) => `give ${role}`;
      const resources = [...(served ? [CLASSES] : []), ...(grouped ? [GROUPS] : [])];
      const found = await mayCopyVolumes({ resources, rights, specs, volumes, granting });
      assert.equal(found.state, state);
      assert.match(found.message, message);
      assert.equal(found.todo, todo);
    });
});
