import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { listObjects } from "../../kube/object.ts";
import { BACKUP_NAME, EXCLUDE_LABEL, labelValue, VOLUME_COPY } from "../../labels.ts";
import { groupKinds, groupVersion } from "./groups.ts";
import { contentNameOf, OF_VOLUMES, type SnapshotKinds } from "./kinds.ts";
import { removeContent, removeGroup, removeWholly } from "./removal.ts";
import { lookingAt, type Patience, selectorOf } from "./run.ts";

/** What a run that died left of a snapshot in the cluster. */
export interface LeftSnapshot {
  kinds: SnapshotKinds;
  /** Its own: a VolumeSnapshot, or a VolumeSnapshotContent without one; or their likes of groups. */
  kind: string;
  /** "" of a content. */
  namespace: string;
  name: string;
  /** Its value of the label velero.io/backup-name. */
  backup: string;
  created: Date;
}

/**
 * The VolumeSnapshots that backups of ours have in the cluster, or that of this name, and contents that are there without one; groups
 * first. A backup that is under way has some too: its lock tells. None where the cluster doesn't know snapshots. Throws as `listPages`.
 */
export async function leftSnapshots(
  kube: Kube,
  { backupName }: { backupName?: string },
  signal: AbortSignal,
): Promise<LeftSnapshot[]> {
  const labels = { [VOLUME_COPY]: "csi", ...(backupName !== undefined && { [BACKUP_NAME]: labelValue(backupName) }) };
  const version = await groupVersion(kube, signal);
  const left: LeftSnapshot[] = [];
  for (const kinds of [...(version ? [groupKinds(version)] : []), OF_VOLUMES])
    left.push(...(await leftOf(kube, kinds, selectorOf(labels), signal)));
  return left;
}

async function leftOf(
  kube: Kube,
  kinds: SnapshotKinds,
  labelSelector: string,
  signal: AbortSignal,
): Promise<LeftSnapshot[]> {
  const found: KubernetesObject[] = [];
  const contents: KubernetesObject[] = [];
  try {
    for await (const content of listObjects(kube, kinds.content, { labelSelector, signal })) contents.push(content);
    for await (const snapshot of listObjects(kube, kinds.snapshot, { labelSelector, signal })) found.push(snapshot);
  } catch (error) {
    if (isLifeboatError(error, "missing")) return [];
    throw error;
  }
  const bound = new Set(found.map((snapshot) => contentNameOf(snapshot, kinds)));
  const alone = contents.filter(({ metadata }) => !bound.has(metadata.name));
  return [...found, ...alone].map((object) => ({ kinds, ...leftOver(object) }));
}

function leftOver({ kind, metadata }: KubernetesObject): Omit<LeftSnapshot, "kinds"> {
  return {
    kind,
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    backup: metadata.labels?.[BACKUP_NAME] ?? "",
    created: new Date(String(metadata.creationTimestamp)),
  };
}

/**
 * Takes what `leftSnapshots` found out of the cluster, and their snapshots out of the storage, unless a backup has them. One after
 * the other; throws as `removeWholly` for the first that is not to be had.
 */
export async function removeLeft(
  kube: Kube,
  left: LeftSnapshot[],
  { signal, ...patience }: Patience & { signal: AbortSignal },
): Promise<void> {
  for (const one of left) {
    const labels = { [BACKUP_NAME]: one.backup, [EXCLUDE_LABEL]: "true", [VOLUME_COPY]: "csi" };
    const own = lookingAt(kube, labels, patience, one.kinds);
    if (one.kind === one.kinds.content.kind) await removeContent(own, one.name, signal);
    else if (one.kinds === OF_VOLUMES) await removeWholly(own, one, signal);
    else await removeGroup(lookingAt(kube, labels, patience), own, one, signal);
  }
}
