import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { listObjects, type NamespacedName } from "../../kube/object.ts";
import { labelValue, RESTORE_NAME, selectorOf, VOLUME_COPY } from "../../labels.ts";
import { at, fieldsAt } from "../../objects/fields.ts";
import { CLAIM } from "../volume.ts";
import { CONTENTS, SNAPSHOTS } from "./kinds.ts";

/** The label's value of what a restore has in a cluster of snapshots. */
export const CSI_RESTORE = "csi-restore";

/** A snapshot that a restore has made known in a cluster, so that a claim is made of it: a VolumeSnapshot and its content, of one name. */
export interface RestoredSnapshot {
  snapshot: NamespacedName & { namespace: string };
  /** Which of the two are there. */
  kinds: string[];
  /** The value of its label velero.io/restore-name. */
  restore: string;
  /** The claim that is made of it; undefined where none is. */
  claim?: KubernetesObject;
}

/**
 * The snapshots that restores, or the one of this name, have in the cluster, whatever run of theirs made them. None where the cluster
 * doesn't know snapshots. Throws as `listPages`.
 */
export async function restoredSnapshots(
  kube: Kube,
  { restoreName }: { restoreName?: string },
  signal: AbortSignal,
): Promise<RestoredSnapshot[]> {
  const own = restoreName !== undefined && { [RESTORE_NAME]: labelValue(restoreName) };
  const labelSelector = selectorOf({ [VOLUME_COPY]: CSI_RESTORE, ...own });
  const found = new Map<string, RestoredSnapshot>();
  const see = (kind: string, snapshot: RestoredSnapshot["snapshot"], { labels }: KubernetesObject["metadata"]) => {
    const key = `${snapshot.namespace}/${snapshot.name}`;
    const kinds = [...(found.get(key)?.kinds ?? []), kind];
    found.set(key, { snapshot, kinds, restore: labels?.[RESTORE_NAME] ?? "" });
  };
  try {
    for await (const { metadata } of listObjects(kube, SNAPSHOTS, { labelSelector, signal }))
      see(SNAPSHOTS.kind, { namespace: metadata.namespace ?? "", name: metadata.name }, metadata);
    for await (const content of listObjects(kube, CONTENTS, { labelSelector, signal })) {
      const namespace = String(at(content, "spec", "volumeSnapshotRef", "namespace") ?? "");
      see(CONTENTS.kind, { namespace, name: content.metadata.name }, content.metadata);
    }
  } catch (error) {
    if (isLifeboatError(error, "missing")) return [];
    throw error;
  }
  for (const namespace of new Set([...found.values()].map(({ snapshot }) => snapshot.namespace)))
    for await (const claim of listObjects(kube, CLAIM, { namespace, signal })) {
      const { kind, name } = fieldsAt(claim, "spec", "dataSource") ?? {};
      const source = kind === SNAPSHOTS.kind ? found.get(`${namespace}/${name}`) : undefined;
      if (source) source.claim = claim;
    }
  return [...found.values()];
}
