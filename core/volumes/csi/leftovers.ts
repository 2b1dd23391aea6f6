import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { listObjects, placeOf } from "../../kube/object.ts";
import { BACKUP_NAME, EXCLUDE_LABEL, labelValue, VOLUME_COPY } from "../../labels.ts";
import { at } from "../../objects/fields.ts";
import { CONTENTS, SNAPSHOTS } from "./kinds.ts";
import { removeContent, removeWholly } from "./removal.ts";
import { type Looking, lookingAt, type Patience } from "./run.ts";

/** What a run that died left of a snapshot in the cluster. */
export interface LeftSnapshot {
  kind: "VolumeSnapshot" | "VolumeSnapshotContent";
  /** "" of a content. */
  namespace: string;
  name: string;
  /** Its value of the label velero.io/backup-name. */
  backup: string;
  created: Date;
}

/**
 * The VolumeSnapshots that backups of ours have in the cluster, or that of this name, and contents that are there without one. A
 * backup that is under way has some too: its lock tells. None where the cluster doesn't know snapshots. Throws as `listPages`.
 */
export async function leftSnapshots(
  kube: Kube,
  { backupName }: { backupName?: string },
  signal: AbortSignal,
): Promise<LeftSnapshot[]> {
  const labels = { [VOLUME_COPY]: "csi", ...(backupName !== undefined && { [BACKUP_NAME]: labelValue(backupName) }) };
  const labelSelector = Object.entries(labels)
    .map((pair) => pair.join("="))
    .join();
  const found = new Map<string, KubernetesObject>();
  const contents: KubernetesObject[] = [];
  try {
    for await (const content of listObjects(kube, CONTENTS, { labelSelector, signal })) contents.push(content);
    for await (const snapshot of listObjects(kube, SNAPSHOTS, { labelSelector, signal }))
      found.set(placeOf(snapshot.metadata), snapshot);
  } catch (error) {
    if (isLifeboatError(error, "missing")) return [];
    throw error;
  }
  const alone = contents.filter((content) => {
    const { namespace, name } = (at(content, "spec", "volumeSnapshotRef") ?? {}) as Record<string, string>;
    return !found.has(`${namespace}/${name}`);
  });
  return [...found.values(), ...alone].map(leftOver);
}

function leftOver({ kind, metadata }: KubernetesObject): LeftSnapshot {
  return {
    kind: kind as LeftSnapshot["kind"],
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
    const looking: Looking = lookingAt(
      kube,
      { [BACKUP_NAME]: one.backup, [EXCLUDE_LABEL]: "true", [VOLUME_COPY]: "csi" },
      patience,
    );
    if (one.kind === "VolumeSnapshot") await removeWholly(looking, one, signal);
    else await removeContent(looking, one.name, signal);
  }
}
