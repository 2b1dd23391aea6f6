import type { KubernetesObject } from "../archive/item.ts";
import { at, type Fields, fieldsAt } from "../objects/fields.ts";
import { CLAIMS, VOLUMES } from "../objects/resources.ts";
import type { Policy } from "./plan/plan.ts";
import type { PlannedStep } from "./plan/steps.ts";

/** What a volume of the target is for. */
export interface LiveVolume {
  /** The claim ("namespace/name") it is, or was, bound to; "" for a free one. */
  claim: string;
  /** That claim was deleted: nobody can bind to the volume any more. */
  released: boolean;
  /** It goes away with its claim. */
  deletes: boolean;
}

export function readVolume(object: KubernetesObject): LiveVolume {
  const claim = fieldsAt(object, "spec", "claimRef");
  return {
    claim: claim ? `${claim.namespace}/${claim.name}` : "",
    released: ["Released", "Failed"].includes(String(at(object, "status", "phase"))),
    deletes: at(object, "spec", "persistentVolumeReclaimPolicy") === "Delete",
  };
}

/** The folder of a node that a volume is; undefined for any other object. */
export function nodePath({ kind, spec }: KubernetesObject): string | undefined {
  const path = at(spec, "hostPath", "path") ?? at(spec, "local", "path");
  return kind === "PersistentVolume" && typeof path === "string" ? path : undefined;
}

/**
 * The merge patch that gives a volume back to the next claim of its old claim's name; undefined where none needs it. Its
 * claim's name and its reclaim policy stay, whatever the backup says of them.
 */
export function freeing(volume: KubernetesObject): Fields | undefined {
  const claim = fieldsAt(volume, "spec", "claimRef");
  if (!claim || !readVolume(volume).released) return undefined;
  return { spec: { claimRef: { uid: null, resourceVersion: null } } };
}

/** Whether a claim that is created finds the volume: it is created too, or waits for this claim, or for any. */
export function findsVolume(volume: LiveVolume | undefined, claim: string): boolean {
  if (!volume || (volume.released && volume.deletes)) return false;
  return volume.claim === claim || volume.claim === "";
}

/** The volumes that a restore makes. */
export function createdVolumes(steps: PlannedStep[]): Set<string> {
  return new Set(steps.filter((step) => creates(step, VOLUMES)).map(({ item }) => item.name));
}

/** Whether a claim has no volume yet. */
export function waits(claim: KubernetesObject): boolean {
  return at(claim, "status", "phase") !== "Bound";
}

/**
 * A volume that exists and still belongs to a deleted claim which is restored now, or was restored before and is among
 * the `waiting`, must be freed, or the claim waits for ever: under `update` that is done (the volumes are given back),
 * else it is a warning.
 */
export function freeVolumes(
  steps: PlannedStep[],
  { volumes, waiting }: { volumes: Map<string, LiveVolume>; waiting: Set<string> },
  policy: Policy,
): Set<string> {
  const created = steps.filter((step) => creates(step, CLAIMS)).map(({ item }) => `${item.namespace}/${item.name}`);
  const claims = new Set([...created, ...waiting]);
  const freed = new Set<string>();
  for (const step of steps) {
    const { entry, name } = step.item;
    const volume = volumes.get(name);
    if (
      entry.resource !== VOLUMES ||
      !["skip", "update"].includes(step.action) ||
      !volume?.released ||
      volume.deletes ||
      !claims.has(volume.claim)
    )
      continue;
    if (policy !== "none") {
      freed.add(name);
      if (step.action === "skip") step.action = "free";
    } else {
      step.reason = `exists and still belongs to the deleted claim ${volume.claim}; use --existing-resource-policy update to bind it to the restored one`;
      step.warning = true;
    }
  }
  return freed;
}

function creates({ action, item }: PlannedStep, resource: string): boolean {
  return action === "create" && item.entry.resource === resource;
}
