import type { KubernetesObject } from "../../archive/item.ts";
import { at, type Fields, fieldsAt } from "../../objects/fields.ts";
import { mountsOf } from "../../volumes/mounts.ts";
import type { Placement } from "../../volumes/restic/job.ts";

/**
 * Notes where the claims ("namespace/name" of the target) of a Pod that ran are used, as its spec says it once it is fixed: a volume that
 * is made for its first Pod is made there. Of what it wants to be near to or far from, the Pods are not there yet, so that is left out.
 * The first Pod of a claim counts.
 */
export function notePlacement(
  pod: KubernetesObject,
  { fix, placements }: { fix: (pod: KubernetesObject) => void; placements: Map<string, Placement> },
): void {
  const claims = mountsOf(pod).filter(({ mount }) => mount.running);
  if (claims.length === 0) return;
  fix(pod);
  const { nodeSelector, tolerations } = (fieldsAt(pod, "spec") ?? {}) as Fields & Placement;
  const nodeAffinity = at(pod, "spec", "affinity", "nodeAffinity");
  const placement: Placement = {
    ...(nodeSelector && { nodeSelector }),
    ...(nodeAffinity !== undefined && { affinity: { nodeAffinity } }),
    ...(tolerations && { tolerations }),
  };
  for (const { claim } of claims) {
    const name = `${pod.metadata.namespace}/${claim}`;
    if (!placements.has(name)) placements.set(name, placement);
  }
}
