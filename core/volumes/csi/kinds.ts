import type { KubernetesObject } from "../../archive/item.ts";
import type { Kind } from "../../kube/object.ts";
import { at } from "../../objects/fields.ts";

const GROUP = "snapshot.storage.k8s.io";
/** The group and version of all that is known here of snapshots: that of Kubernetes' external-snapshotter since 2020. */
export const SNAPSHOT_API = `${GROUP}/v1`;

export const SNAPSHOTS: Kind = { group: GROUP, version: "v1", name: "volumesnapshots", kind: "VolumeSnapshot" };
export const CONTENTS: Kind = {
  group: GROUP,
  version: "v1",
  name: "volumesnapshotcontents",
  kind: "VolumeSnapshotContent",
};
export const CLASSES: Kind = {
  group: GROUP,
  version: "v1",
  name: "volumesnapshotclasses",
  kind: "VolumeSnapshotClass",
};

/** Snapshots of volumes, or of groups of them: what asks for one, and what stands for one in the storage. */
export interface SnapshotKinds {
  snapshot: Kind;
  content: Kind;
  /** The field of a snapshot's status that names its content. */
  bound: string;
  /** The name of a content that a controller makes, before the UID of its snapshot. */
  generated: string;
  /** The field of a content's status that holds the driver's handle. */
  handle: string;
  /** Without it, a content that is deleted is gone before its driver has deleted the snapshot. */
  finalizer: string;
  /** What the snapshot controller tells the driver of a content whose snapshot goes: that it may go as well. */
  beingDeleted: string;
}

export const OF_VOLUMES: SnapshotKinds = {
  snapshot: SNAPSHOTS,
  content: CONTENTS,
  bound: "boundVolumeSnapshotContentName",
  generated: "snapcontent",
  handle: "snapshotHandle",
  finalizer: "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection",
  beingDeleted: "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted",
};

/** Of a stored claim, as label and annotation: the snapshot that holds its data. */
export const SNAPSHOT_NAME = "velero.io/volume-snapshot-name";

/** Ours, on a stored claim that asks for as much as its snapshot needs, as Velero wants it: what it asked for itself. */
export const REQUESTED = "lifeboat/storage-request";

/** What Velero writes on a stored VolumeSnapshot, and reads when it restores it. */
export const HANDLE = "velero.io/csi-volumesnapshot-handle";
export const DRIVER = "velero.io/csi-driver-name";
export const RESTORE_SIZE = "velero.io/csi-volumesnapshot-restore-size";
export const DELETION_POLICY = "velero.io/csi-vsc-deletion-policy";
export const GROUP_HANDLE = "velero.io/csi-volumegroupsnapshot-handle";

/** Ours, of a content: the storage is to keep its snapshot, since a backup holds its handle. */
export const KEPT = "lifeboat/snapshot-kept";
/** Of a content: where the secret is that its driver needs to delete the snapshot. */
export const DELETION_SECRET_NAME = "snapshot.storage.kubernetes.io/deletion-secret-name";
export const DELETION_SECRET_NAMESPACE = "snapshot.storage.kubernetes.io/deletion-secret-namespace";

/** The name of the content that a snapshot is bound to, or will be once its controller has seen it. */
export function contentNameOf(snapshot: KubernetesObject, { bound, generated }: SnapshotKinds = OF_VOLUMES): string {
  const given = at(snapshot, "spec", "source", "volumeSnapshotContentName");
  return String(at(snapshot, "status", bound) ?? given ?? `${generated}-${snapshot.metadata.uid}`);
}

/** What went wrong with a VolumeSnapshot or a content last; undefined where nothing did. Controllers try again. */
export function errorOf(object: KubernetesObject | undefined): string | undefined {
  const message = at(object, "status", "error", "message");
  return at(object, "status", "error") === undefined
    ? undefined
    : String(message ?? "it failed")
        .replace(/\s+/g, " ")
        .slice(0, 1000);
}
