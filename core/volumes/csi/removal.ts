import type { KubernetesObject } from "../../archive/item.ts";
import { LifeboatError } from "../../errors.ts";
import { deleteObject, getObject, type Place, patchObject, placeOf } from "../../kube/object.ts";
import { BEING_DELETED, CONTENTS, contentNameOf, KEPT, SNAPSHOTS } from "./kinds.ts";
import type { Looking } from "./run.ts";

/**
 * Lets the storage keep a snapshot whatever becomes of its objects, and says so in its content for who finds it left over.
 * Gives the content; undefined where there is none.
 */
export function retain({ kube }: Looking, content: string, signal: AbortSignal): Promise<KubernetesObject | undefined> {
  const patch = { metadata: { annotations: { [KEPT]: "true" } }, spec: { deletionPolicy: "Retain" } };
  return patchObject(kube, CONTENTS, { name: content }, patch, signal);
}

/**
 * Deletes a VolumeSnapshot with its content, and waits until both are gone; what is gone already is no failure. The content
 * goes first: were it the other way round, a run that dies in between would leave one that nobody finds. Throws what the API
 * server answers, and `timeout`, which says what is left.
 */
export async function deletePair(looking: Looking, snapshot: KubernetesObject, signal: AbortSignal): Promise<void> {
  const { kube, snapshots, contents } = looking;
  const { namespace, name, uid } = snapshot.metadata;
  const content = contentNameOf(snapshot);
  const gone = goneWithin(looking);
  await deleteObject(kube, CONTENTS, { name: content }, signal);
  await deleteObject(kube, SNAPSHOTS, { namespace, name, uid }, signal);
  await snapshots.until(placeOf({ namespace, name }), gone, signal);
  await contents.until(content, gone, signal);
}

/**
 * Deletes a VolumeSnapshot, its content and the snapshot in the storage, unless that was to be kept (`retain`). Throws as
 * `deletePair`.
 */
export async function removeWholly(looking: Looking, place: Place, signal: AbortSignal): Promise<void> {
  const snapshot = await getObject(looking.kube, SNAPSHOTS, place, signal);
  if (!snapshot) return;
  const content = contentNameOf(snapshot);
  await giveUp(looking, content, signal);
  await deletePair(looking, snapshot, signal);
  await removeContent(looking, content, signal);
}

/**
 * Deletes a content whose VolumeSnapshot is gone, and the snapshot in the storage, unless that was to be kept. A controller may have made
 * it while the VolumeSnapshot was deleted; nobody then tells the driver that it may go. Throws as `deletePair`.
 */
export async function removeContent(looking: Looking, name: string, signal: AbortSignal): Promise<void> {
  const { kube, contents } = looking;
  if (!(await giveUp(looking, name, signal))) return;
  await patchObject(kube, CONTENTS, { name }, { metadata: { annotations: { [BEING_DELETED]: "yes" } } }, signal);
  await deleteObject(kube, CONTENTS, { name }, signal);
  await contents.until(name, goneWithin(looking), signal);
}

/** Whether the content is there; the storage then keeps its snapshot only if that was to be kept. */
async function giveUp({ kube, labels }: Looking, name: string, signal: AbortSignal): Promise<boolean> {
  const content = await getObject(kube, CONTENTS, { name }, signal);
  if (!content) return false;
  const kept = content.metadata.annotations?.[KEPT] !== undefined;
  const patch = { metadata: { labels }, ...(!kept && { spec: { deletionPolicy: "Delete" } }) };
  return (await patchObject(kube, CONTENTS, { name }, patch, signal)) !== undefined;
}

function goneWithin({ removeMs }: Looking): (live: KubernetesObject | undefined) => true | undefined {
  const deadline = performance.now() + removeMs;
  return (live) => {
    if (!live) return true;
    if (performance.now() < deadline) return undefined;
    const { kind, metadata } = live;
    const waits = metadata.finalizers?.length ? `, waiting for ${metadata.finalizers.join(", ")}` : "";
    throw new LifeboatError("timeout", `the ${kind} ${placeOf(metadata)} was deleted but is not gone${waits}`, {
      hint: "it goes once the CSI driver and the snapshot controller answer again; see: kubectl describe",
    });
  };
}
