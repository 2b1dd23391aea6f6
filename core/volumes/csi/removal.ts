import type { KubernetesObject } from "../../archive/item.ts";
import { LifeboatError } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { deleteObject, getObject, listObjects, type NamespacedName, patchObject, placeOf } from "../../kube/object.ts";
import { contentNameOf, KEPT, SNAPSHOTS } from "./kinds.ts";
import type { Looking } from "./run.ts";

/**
 * Lets the storage keep a snapshot whatever becomes of its objects, and says so in its content for who finds it left over.
 * Gives the content; undefined where there is none.
 */
export function retain(
  { kube, kinds, labels }: Looking,
  content: string,
  signal: AbortSignal,
): Promise<KubernetesObject | undefined> {
  const patch = { metadata: { labels, annotations: { [KEPT]: "true" } }, spec: { deletionPolicy: "Retain" } };
  return patchObject(kube, kinds.content, { name: content }, patch, signal);
}

/**
 * Deletes a snapshot with its content, and waits until both are gone; what is gone already is no failure. The content
 * goes first: were it the other way round, a run that dies in between would leave one that nobody finds. Throws what the API
 * server answers, and `timeout`, which says what is left.
 */
export async function deletePair(looking: Looking, snapshot: KubernetesObject, signal: AbortSignal): Promise<void> {
  const { kube, kinds, snapshots, contents } = looking;
  const { namespace, name, uid } = snapshot.metadata;
  const content = contentNameOf(snapshot, kinds);
  const gone = goneWithin(looking);
  await deleteObject(kube, kinds.content, { name: content }, signal);
  await deleteObject(kube, kinds.snapshot, { namespace, name, uid }, signal);
  await snapshots.until(placeOf({ namespace, name }), gone, signal);
  await contents.until(content, gone, signal);
}

/**
 * Deletes a snapshot's object, its content and the snapshot in the storage, unless that was to be kept (`retain`). Throws as
 * `deletePair`.
 */
export async function removeWholly(looking: Looking, place: NamespacedName, signal: AbortSignal): Promise<void> {
  const { kube, kinds } = looking;
  const snapshot = await getObject(kube, kinds.snapshot, place, signal);
  if (!snapshot) return;
  const content = contentNameOf(snapshot, kinds);
  await giveUp(looking, content, signal);
  await deletePair(looking, snapshot, signal);
  await removeContent(looking, content, signal);
}

/**
 * Deletes a content whose snapshot's object is gone, and the snapshot in the storage, unless that was to be kept. A
 * controller may have made it while that object was deleted; nobody then tells the driver that it may go. Throws as
 * `deletePair`.
 */
export async function removeContent(looking: Looking, name: string, signal: AbortSignal): Promise<void> {
  const { kube, kinds, contents } = looking;
  if (!(await giveUp(looking, name, signal))) return;
  await patchObject(
    kube,
    kinds.content,
    { name },
    { metadata: { annotations: { [kinds.beingDeleted]: "yes" } } },
    signal,
  );
  await deleteObject(kube, kinds.content, { name }, signal);
  await contents.until(name, goneWithin(looking), signal);
}

/** Deletes a group's snapshot with all of its members, as `removeWholly`. `looking` is at those, `groups` at the group. */
export async function removeGroup(
  looking: Looking,
  groups: Looking,
  place: NamespacedName,
  signal: AbortSignal,
): Promise<void> {
  const { kube, kinds } = groups;
  const group = await getObject(kube, kinds.snapshot, place, signal);
  if (!group) return;
  const members = await membersOf(kube, group, signal);
  await removeWholly(groups, place, signal);
  await Promise.all(members.map(({ metadata }) => removeWholly(looking, metadata, signal)));
}

/** The VolumeSnapshots that a controller made for a group. */
export async function membersOf(
  kube: Kube,
  { metadata: { namespace, uid } }: KubernetesObject,
  signal: AbortSignal,
): Promise<KubernetesObject[]> {
  const members: KubernetesObject[] = [];
  for await (const one of listObjects(kube, SNAPSHOTS, { namespace, signal }))
    if (one.metadata.ownerReferences?.some((owner) => owner.uid === uid)) members.push(one);
  return members;
}

/** Whether the content is there; the storage then keeps its snapshot only if that was to be kept. */
async function giveUp({ kube, kinds, labels }: Looking, name: string, signal: AbortSignal): Promise<boolean> {
  const content = await getObject(kube, kinds.content, { name }, signal);
  if (!content) return false;
  const kept = content.metadata.annotations?.[KEPT] !== undefined;
  const patch = { metadata: { labels }, ...(!kept && { spec: { deletionPolicy: "Delete" } }) };
  return (await patchObject(kube, kinds.content, { name }, patch, signal)) !== undefined;
}

/** For what was deleted: true once it is gone; throws `timeout` where it still is when its time is over. */
export function goneWithin({
  removeMs,
  tell,
}: Pick<Looking, "removeMs" | "tell">): (live: KubernetesObject | undefined) => true | undefined {
  const deadline = performance.now() + removeMs;
  return (live) => {
    if (!live) return true;
    const { kind, metadata } = live;
    const held = metadata.finalizers?.length ? `waiting for ${metadata.finalizers.join(", ")}` : undefined;
    tell?.({ what: `waits for its ${kind} to be gone`, why: held });
    if (performance.now() < deadline) return undefined;
    const waits = held ? `, ${held}` : "";
    throw new LifeboatError("timeout", `the ${kind} ${placeOf(metadata)} was deleted but is not gone${waits}`, {
      hint: "it goes once the CSI driver and the snapshot controller answer again; see: kubectl describe",
    });
  };
}
