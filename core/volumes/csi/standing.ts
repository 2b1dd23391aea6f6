import pLimit from "p-limit";
import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError, messageOf } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { listObjects } from "../../kube/object.ts";
import type { BackupIn } from "../../labels.ts";
import { at } from "../../objects/fields.ts";
import type { CsiSnapshot } from "../volume.ts";
import { groupKinds, groupVersion } from "./groups.ts";
import { contentNameOf, OF_VOLUMES, type SnapshotKinds } from "./kinds.ts";
import { removeContent, removeGroup, removeWholly, retain } from "./removal.ts";
import { csiLabels, csiSelector, lookingAt, type Patience } from "./run.ts";

/** What stands of a snapshot in the cluster: what asks for it, its content, or both; or their likes of a group. */
export type Standing = { kinds: SnapshotKinds } & (
  | { snapshot: KubernetesObject; content?: KubernetesObject }
  | { snapshot?: undefined; content: KubernetesObject }
);

/**
 * The snapshots of backups of ours that stand in the cluster, or those of one backup; groups first, and contents without a VolumeSnapshot
 * last. A backup that is under way has some: its lock tells. None where the cluster doesn't know snapshots. Throws as `listPages`.
 */
export async function standingSnapshots(
  kube: Kube,
  of: BackupIn | undefined,
  signal: AbortSignal,
): Promise<Standing[]> {
  const labelSelector = csiSelector(of);
  const alone = await standingOf(kube, OF_VOLUMES, labelSelector, signal);
  const version = alone && (await groupVersion(kube, signal));
  const groups = version && (await standingOf(kube, groupKinds(version), labelSelector, signal));
  return [...(groups || []), ...(alone ?? [])];
}

/** Undefined where the cluster doesn't know them, or where nobody can have made groups, for want of rights. */
async function standingOf(
  kube: Kube,
  kinds: SnapshotKinds,
  labelSelector: string,
  signal: AbortSignal,
): Promise<Standing[] | undefined> {
  const snapshots: KubernetesObject[] = [];
  const contents = new Map<string, KubernetesObject>();
  try {
    for await (const one of listObjects(kube, kinds.content, { labelSelector, signal }))
      contents.set(one.metadata.name, one);
    for await (const one of listObjects(kube, kinds.snapshot, { labelSelector, signal })) snapshots.push(one);
  } catch (error) {
    if (isLifeboatError(error, "missing") || (kinds !== OF_VOLUMES && isLifeboatError(error, "denied")))
      return undefined;
    throw error;
  }
  const pairs = snapshots.map((snapshot) => {
    const name = contentNameOf(snapshot, kinds);
    const content = contents.get(name);
    contents.delete(name);
    return { kinds, snapshot, ...(content && { content }) };
  });
  return [...pairs, ...[...contents.values()].map((content) => ({ kinds, content }))];
}

/**
 * Which of what stands is named by copies that are written down, as a snapshot or as the group of one. What has no handle yet is named by
 * none: its driver had not answered when they were.
 */
export function namedBy(
  copies: { csi?: Pick<CsiSnapshot, "driver" | "snapshotHandle" | "groupHandle"> }[],
): (one: Standing) => boolean {
  const named = new Map<unknown, Set<unknown>>();
  for (const { csi } of copies)
    if (csi) named.set(csi.driver, (named.get(csi.driver) ?? new Set()).add(csi.snapshotHandle).add(csi.groupHandle));
  return ({ kinds, content }) => {
    const handle = at(content, "status", kinds.handle);
    return handle !== undefined && (named.get(at(content, "spec", "driver"))?.has(handle) ?? false);
  };
}

const AT_ONCE = 50;

/**
 * Takes what stands of a backup's snapshots out of the cluster. The storage keeps those that are named, and is told so of all of them
 * before an object of any goes; the others go from the storage as well. Gives what could not be done, in words; throws where `signal`
 * aborts.
 */
export async function settleSnapshots(
  kube: Kube,
  standing: Standing[],
  {
    of,
    isNamed,
    signal,
    ...patience
  }: { of: BackupIn; isNamed: (one: Standing) => boolean; signal: AbortSignal } & Patience,
): Promise<string[]> {
  const limit = pLimit(AT_ONCE);
  const failures: string[] = [];
  const each = async (which: Standing[], work: (one: Standing) => Promise<unknown>) => {
    await limit.map(which, (one) => work(one).catch((error: unknown) => failures.push(messageOf(error))));
    signal.throwIfAborted();
  };
  const single = lookingAt(kube, csiLabels(of), patience);
  const isGroup = ({ kinds }: Standing) => kinds !== OF_VOLUMES;
  const [first] = standing.filter(isGroup);
  const groups = first && lookingAt(kube, csiLabels(of), patience, first.kinds);
  const remove = async (one: Standing) => {
    const looking = isGroup(one) ? groups! : single;
    if (!one.snapshot) await removeContent(looking, one.content.metadata.name, signal);
    else if (isGroup(one)) await removeGroup(single, looking, one.snapshot.metadata, signal);
    else await removeWholly(looking, one.snapshot.metadata, signal);
  };

  const owners = new Set(standing.filter(isNamed).flatMap(ownersOf));
  const isKept = (one: Standing) => isNamed(one) || owners.has(one.snapshot?.metadata.uid);
  const kept = standing.filter(isKept);
  await each(kept, (one) => {
    const content = one.snapshot ? contentNameOf(one.snapshot, one.kinds) : one.content.metadata.name;
    return retain(isGroup(one) ? groups! : single, content, signal);
  });
  const going = failures.length === 0 ? standing : standing.filter((one) => !isKept(one));
  await each(going.filter(isGroup), remove);
  // With their groups most members have gone.
  await each(
    going.filter((one) => !isGroup(one)),
    remove,
  );
  return failures;
}

function ownersOf({ snapshot }: Standing): (string | undefined)[] {
  return (snapshot?.metadata.ownerReferences ?? []).map(({ uid }) => uid);
}
