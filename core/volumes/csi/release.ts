import pLimit from "p-limit";
import { pause } from "../../abort.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { messageOf } from "../../errors.ts";
import { getObject, type Kind, listObjects, type NamespacedName, placeOf } from "../../kube/object.ts";
import { at } from "../../objects/fields.ts";
import { claimsOf } from "../mounts.ts";
import { CLAIM, POD } from "../volume.ts";
import { SNAPSHOT_API, SNAPSHOTS } from "./kinds.ts";
import { deletePair } from "./removal.ts";
import type { CsiRestore } from "./restore.ts";

const STORAGE_CLASSES: Kind = { group: "storage.k8s.io", version: "v1", name: "storageclasses", kind: "StorageClass" };
const SELECTED_NODE = "volume.kubernetes.io/selected-node";
const AT_ONCE = 16;

/** A claim that is made of a snapshot, and the name of that in the claim's namespace (`dataSource.name`) and of its content. */
export interface SourcedClaim {
  claim: NamespacedName & { namespace: string };
  snapshot: string;
}

/** A claim whose snapshot still stands in the cluster. */
export interface Unreleased extends SourcedClaim {
  reason: string;
  /** It is for a Pod to bind it, and none uses it: nothing is wrong. */
  unused: boolean;
}

/**
 * Waits until claims that are made of snapshots are bound, at most `waitMs`, and takes the VolumeSnapshots and contents out of the
 * cluster; the storage keeps the snapshots, which belong to the backup. Claims that wait for their first Pod are not waited for. Before a
 * bound claim's snapshot goes, `bound` is done. Gives those that still need their snapshot, with the reason. Throws what LISTs are
 * answered, and where the restore's signal aborts.
 */
export async function releaseSnapshots(
  restoring: CsiRestore,
  claims: SourcedClaim[],
  { waitMs, bound }: { waitMs: number; bound?: (one: SourcedClaim) => Promise<void> },
): Promise<Unreleased[]> {
  const { signal } = restoring;
  const deadline = performance.now() + waitMs;
  const immediate = bindingModes(restoring);
  const limit = pLimit(AT_ONCE);
  const unreleased: Unreleased[] = [];
  const release = async (one: SourcedClaim) => {
    await bound?.(one);
    const reason = await releaseSnapshot(restoring, { ...one.claim, name: one.snapshot });
    if (reason) unreleased.push({ ...one, reason, unused: false });
  };
  const releasing: Promise<void>[] = [];
  let waiting = claims;
  for (;;) {
    const states = await statesOf(restoring, waiting, immediate);
    const done = waiting.filter((one) => states.get(one) === "bound");
    releasing.push(...done.map((one) => limit(release, one)));
    waiting = waiting.filter((one) => states.get(one) !== "bound");
    const late = performance.now() >= deadline;
    if (late || waiting.every((one) => states.get(one) === "unused")) {
      await Promise.all(releasing);
      return [...unreleased, ...waiting.map((one) => stillWaiting(one, states.get(one) === "unused", waitMs))];
    }
    await pause(restoring.pollMs, signal);
  }
}

function stillWaiting(one: SourcedClaim, unused: boolean, waitMs: number): Unreleased {
  const claim = `the claim ${placeOf(one.claim)}`;
  const reason = unused
    ? `${claim} is bound once a Pod uses it (WaitForFirstConsumer); until then it needs the VolumeSnapshot ${one.snapshot}`
    : `${claim} is not bound after ${Math.round(waitMs / 1000)} s: kubectl describe tells why`;
  return { ...one, reason, unused };
}

/** Takes a VolumeSnapshot and its content, of one name, out of the cluster. Resolves with why they are still there; undefined once they are gone. */
export async function releaseSnapshot(
  restoring: CsiRestore,
  { namespace, name }: SourcedClaim["claim"],
): Promise<string | undefined> {
  const { signal } = restoring;
  const spec = { source: { volumeSnapshotContentName: name } };
  try {
    await deletePair(
      restoring,
      { apiVersion: SNAPSHOT_API, kind: SNAPSHOTS.kind, metadata: { namespace, name }, spec },
      signal,
    );
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    return messageOf(error);
  }
}

/** Bound claims, with which those count that are gone, and those that only a first Pod can bind. */
async function statesOf(
  restoring: CsiRestore,
  waiting: SourcedClaim[],
  immediate: (claim: KubernetesObject) => Promise<boolean>,
): Promise<Map<SourcedClaim, "bound" | "pending" | "unused">> {
  const { kube, signal } = restoring;
  const states = new Map<SourcedClaim, "bound" | "pending" | "unused">();
  for (const [namespace, claims] of Map.groupBy(waiting, ({ claim }) => claim.namespace)) {
    const live = new Map<string, KubernetesObject>();
    for await (const claim of listObjects(kube, CLAIM, { namespace, signal })) live.set(claim.metadata.name, claim);
    const doubtful: SourcedClaim[] = [];
    for (const one of claims) {
      const claim = live.get(one.claim.name);
      const bound = !claim || at(claim, "status", "phase") === "Bound";
      states.set(one, bound ? "bound" : "pending");
      if (!bound && !claim.metadata.annotations?.[SELECTED_NODE] && !(await immediate(claim))) doubtful.push(one);
    }
    if (doubtful.length === 0) continue;
    const used = await claimsInUse(restoring, namespace);
    for (const one of doubtful) if (!used.has(one.claim.name)) states.set(one, "unused");
  }
  return states;
}

async function claimsInUse({ kube, signal }: CsiRestore, namespace: string): Promise<Set<string>> {
  const used = new Set<string>();
  for await (const pod of listObjects(kube, POD, { namespace, signal }))
    for (const claim of claimsOf(pod)) used.add(claim);
  return used;
}

/** Whether a claim's class binds it at once. Each class is asked for once. */
function bindingModes({ kube, signal }: CsiRestore): (claim: KubernetesObject) => Promise<boolean> {
  const known = new Map<string, Promise<boolean>>();
  return (claim) => {
    const name = String(at(claim, "spec", "storageClassName") ?? "");
    if (!name) return Promise.resolve(true);
    const asked =
      known.get(name) ??
      getObject(kube, STORAGE_CLASSES, { name }, signal).then(
        (found) => at(found, "volumeBindingMode") !== "WaitForFirstConsumer",
      );
    known.set(name, asked);
    return asked;
  };
}
