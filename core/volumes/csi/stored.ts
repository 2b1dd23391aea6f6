import type { KubernetesObject } from "../../archive/item.ts";
import { BACKUP_NAME, labelValue } from "../../labels.ts";
import { at, drop, fieldsAt } from "../../objects/fields.ts";
import { binaryQuantity, parseQuantity } from "../../objects/quantity.ts";
import type { CsiSnapshot } from "../volume.ts";
import type { SnapshotClass } from "./classes.ts";
import * as kinds from "./kinds.ts";
import { asStored } from "./run.ts";

/** What is known of a snapshot that is ready, by its objects. */
export function csiSnapshot(snapshot: KubernetesObject, content: KubernetesObject): CsiSnapshot {
  const groupHandle = at(content, "status", "volumeGroupSnapshotHandle");
  return {
    driver: String(at(content, "spec", "driver")),
    snapshotHandle: String(at(content, "status", "snapshotHandle")),
    restoreSize: Number(at(content, "status", "restoreSize") ?? 0),
    snapshotName: snapshot.metadata.name,
    contentName: content.metadata.name,
    ...(typeof groupHandle === "string" && { groupHandle }),
  };
}

/**
 * The objects of a snapshot as Velero stores them, so that it restores and deletes ours (velero
 * pkg/backup/actions/csi/volumesnapshot_action.go): the VolumeSnapshot tells in annotations what its content says, which keeps its
 * policy and its finalizers, on which Velero's deletion relies.
 */
export function storedObjects({
  snapshot,
  content,
  chosen,
}: {
  snapshot: KubernetesObject;
  content: KubernetesObject;
  chosen?: SnapshotClass;
}): KubernetesObject[] {
  const { driver, snapshotHandle, restoreSize, groupHandle } = csiSnapshot(snapshot, content);
  const annotations = {
    ...snapshot.metadata.annotations,
    [kinds.DELETION_POLICY]: String(at(content, "spec", "deletionPolicy")),
    [kinds.HANDLE]: snapshotHandle,
    [kinds.DRIVER]: driver,
    ...(restoreSize > 0 && { [kinds.RESTORE_SIZE]: binaryQuantity(restoreSize) }),
    ...(groupHandle && { [kinds.GROUP_HANDLE]: groupHandle }),
  };
  return [
    asStored({ ...snapshot, metadata: { ...snapshot.metadata, annotations } }),
    asStored(content),
    ...(chosen ? [chosen.object] : []),
  ];
}

/**
 * The claim as it is stored whose data are in a snapshot: it names that, and asks for as much as that needs, since Velero restores it
 * as it is. `asItWas` gives back what it asked for.
 */
export function withSnapshot(claim: KubernetesObject, csi: CsiSnapshot, backupName: string): KubernetesObject {
  const { metadata } = claim;
  const { snapshotName, restoreSize } = csi;
  const labels = {
    ...metadata.labels,
    [kinds.SNAPSHOT_NAME]: labelValue(snapshotName),
    [BACKUP_NAME]: labelValue(backupName),
  };
  const enough = withRequest(claim, restoreSize);
  const asked = enough === claim ? undefined : at(claim, "spec", "resources", "requests", "storage");
  const annotations = {
    ...metadata.annotations,
    [kinds.SNAPSHOT_NAME]: snapshotName,
    ...(asked !== undefined && { [kinds.REQUESTED]: String(asked) }),
  };
  return { ...enough, metadata: { ...metadata, labels, annotations } };
}

/** Makes a stored claim what it was before `withSnapshot`, in place, but for the label that tells its backup. */
export function asItWas(claim: KubernetesObject): void {
  const asked = claim.metadata.annotations?.[kinds.REQUESTED];
  const requests = fieldsAt(claim, "spec", "resources", "requests");
  if (asked !== undefined && requests) requests.storage = asked;
  drop(claim, ["metadata", "labels"], [kinds.SNAPSHOT_NAME]);
  drop(claim, ["metadata", "annotations"], [kinds.SNAPSHOT_NAME, kinds.REQUESTED]);
}

/** A claim that is made of a snapshot. */
export interface ClaimSource {
  dataSource: { apiGroup: string; kind: string; name: string };
  /** Bytes; undefined or 0 where nobody knows. */
  restoreSize?: number;
}

/** The claim, as it was, as it is created so that its volume is made of the snapshot. */
export function claimFromSnapshot(
  claim: KubernetesObject,
  { dataSource, restoreSize = 0 }: ClaimSource,
): KubernetesObject {
  const { volumeName: _, dataSourceRef: __, ...spec } = fieldsAt(claim, "spec") ?? {};
  return withRequest({ ...claim, spec: { ...spec, dataSource } }, restoreSize);
}

/**
 * The claim, asking for as many bytes at least. Drivers may give more than was asked for; a claim that asks for less than its
 * snapshot holds is never bound.
 */
export function withRequest(claim: KubernetesObject, restoreSize: number): KubernetesObject {
  if (restoreSize === 0) return claim;
  const [spec, resources] = [fieldsAt(claim, "spec"), fieldsAt(claim, "spec", "resources")];
  const asked = at(resources, "requests", "storage");
  if (asked !== undefined && parseQuantity(String(asked)) >= restoreSize) return claim;
  const requests = { ...fieldsAt(resources, "requests"), storage: binaryQuantity(restoreSize) };
  return { ...claim, spec: { ...spec, resources: { ...resources, requests } } };
}
