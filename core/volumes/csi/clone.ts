import { pause } from "../../abort.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError, messageOf } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { deleteObject, getObject, listObjects, type NamespacedName, patchObject } from "../../kube/object.ts";
import type { BackupIn } from "../../labels.ts";
import { at } from "../../objects/fields.ts";
import { parseQuantity } from "../../objects/quantity.ts";
import { CLAIM, type ClaimedVolume, VOLUME } from "../volume.ts";
import { SNAPSHOTS } from "./kinds.ts";
import { goneWithin } from "./removal.ts";
import { csiLabels, csiSelector, type Looking, lookingAt } from "./run.ts";
import { claimFromSnapshot } from "./stored.ts";
import { generatedName } from "./taking.ts";

/** What clones are made and taken away with. */
export type Cloning = Pick<Looking, "kube" | "labels" | "removeMs" | "pollMs" | "tell">;

/** A claim of the size and class of another one, in its namespace, that is made of a VolumeSnapshot of it, so that its files can be read. */
export function cloneOf(
  { labels }: Pick<Cloning, "labels">,
  { claim, volume }: Pick<ClaimedVolume, "claim" | "volume">,
  snapshot: KubernetesObject,
): KubernetesObject {
  const { namespace, name } = claim.metadata;
  const plain = {
    apiVersion: "v1",
    kind: CLAIM.kind,
    metadata: { namespace, name: generatedName(`lifeboat-${name}`), labels },
    spec: {
      storageClassName: at(claim, "spec", "storageClassName"),
      accessModes: ["ReadWriteOnce"],
      volumeMode: "Filesystem",
      resources: { requests: { storage: at(volume, "spec", "capacity", "storage") } },
    },
  };
  const dataSource = { apiGroup: SNAPSHOTS.group, kind: SNAPSHOTS.kind, name: snapshot.metadata.name };
  const restoreSize = parseQuantity(String(at(snapshot, "status", "restoreSize") ?? 0));
  return claimFromSnapshot(plain, { dataSource, restoreSize });
}

/**
 * Once a clone has a volume, sees to it that this goes with it whatever its class says, and that it is in no backup. What keeps it
 * from that is not thrown: `removeClone` does the first as well, and tells.
 */
export async function markVolume(cloning: Cloning, clone: NamespacedName, signal: AbortSignal): Promise<void> {
  try {
    for (;;) {
      const live = await getObject(cloning.kube, CLAIM, clone, signal);
      if (!live) return;
      if (at(live, "status", "phase") === "Bound") {
        await disown(cloning, volumeName(live), signal);
        return;
      }
      await pause(cloning.pollMs, signal);
    }
  } catch (error) {
    if (!signal.aborted && !isLifeboatError(error)) throw error;
  }
}

/**
 * Deletes a clone with its volume, also in the storage, and waits until both are gone. What is gone already is no failure. Throws
 * what the API server answers, and `timeout`, which says what is left.
 */
export async function removeClone(cloning: Cloning, clone: NamespacedName, signal: AbortSignal): Promise<void> {
  const { kube, pollMs } = cloning;
  const gone = goneWithin(cloning);
  const claim = () => getObject(kube, CLAIM, clone, signal);
  const found = await claim();
  if (!found) return;
  const { uid } = found.metadata;
  const name = volumeName(found);
  // A volume that is made while its claim is deleted is seen only later.
  const volume = async () => {
    const live = await getObject(kube, VOLUME, { name }, signal);
    if (at(live, "spec", "claimRef", "uid") !== uid) return undefined;
    if (at(live, "spec", "persistentVolumeReclaimPolicy") !== "Delete") await disown(cloning, name, signal);
    return live;
  };
  await volume();
  await deleteObject(kube, CLAIM, { ...clone, uid }, signal);
  for (const look of [claim, volume]) while (!gone(await look())) await pause(pollMs, signal);
}

/** As Kubernetes' own provisioner names it, before the claim says it. */
function volumeName(claim: KubernetesObject): string {
  return String(at(claim, "spec", "volumeName") ?? `pvc-${claim.metadata.uid}`);
}

async function disown({ kube, labels }: Cloning, name: string, signal: AbortSignal): Promise<void> {
  const patch = { metadata: { labels }, spec: { persistentVolumeReclaimPolicy: "Delete" } };
  await patchObject(kube, VOLUME, { name }, patch, signal);
}

/** The clones that backups of ours have in the cluster, or one backup. One that is under way has some too. Throws as `listPages`. */
export async function* standingClones(
  kube: Kube,
  of: BackupIn | undefined,
  signal: AbortSignal,
): AsyncGenerator<KubernetesObject, void, undefined> {
  const labelSelector = csiSelector(of);
  yield* listObjects(kube, CLAIM, { labelSelector, signal });
}

/** Takes away the clones of a backup that stand in the cluster, with their volumes. Gives what could not be done, in words. Throws as `listPages`. */
export async function removeClones(kube: Kube, of: BackupIn, signal: AbortSignal): Promise<string[]> {
  const cloning = lookingAt(kube, csiLabels(of), {});
  const clones = await Array.fromAsync(standingClones(kube, of, signal));
  const removing = await Promise.allSettled(clones.map(({ metadata }) => removeClone(cloning, metadata, signal)));
  signal.throwIfAborted();
  return removing.flatMap((one) => (one.status === "rejected" ? [messageOf(one.reason)] : []));
}
