import pLimit from "p-limit";
import type { Kube } from "../kube/client.ts";
import { throwIfGone } from "../kube/gone.ts";
import { listPages, METADATA_ONLY } from "../kube/list.ts";
import { type Resource, resourceKey } from "../kube/resource.ts";
import { EVENTS } from "../objects/resources.ts";
import { collectedListings, participants } from "./participants.ts";
import type { Listing } from "./photograph.ts";
import type { ClusterReading } from "./readcluster.ts";

/** What each shard of a backup reads. */
export interface ShardPlan {
  /** Resources that are listed namespace by namespace, by their group-resource strings. */
  byNamespace: string[];
  /** Shard `n`, from 1, makes the LISTs from number `cuts[n - 1]` on, before number `cuts[n]`. */
  cuts: number[];
}

const COUNTS_AT_ONCE = 8;

/**
 * Cuts the LISTs of a backup into at most so many shards, about equal by how many objects the server says there are. The resources of
 * which there are more than a shard should have are listed by namespace, where that gives every object. Undefined where
 * there is nothing to cut.
 */
export async function planShards(
  { run: { kube, signal }, header, resources, scope, namespaces }: ClusterReading,
  most: number,
): Promise<ShardPlan | undefined> {
  const limit = pLimit(COUNTS_AT_ONCE);
  const count = (listing: Listing) => limit(() => countOf(kube, listing, header.resourceVersion, signal));
  const collected = resources.filter(scope.collects);
  const counted = await Promise.all(collected.map((resource) => count({ resource })));
  const counts = new Map(collected.map((resource, place) => [resource, counted[place]]));
  const share = counted.reduce<number>((sum, some = 0) => sum + some, 0) / most;

  const { names, included, listings } = participants(scope, namespaces);
  const byNamespace = new Map<Resource, Map<string, number>>();
  for (const resource of collected) {
    const [first, ...others] = listings(resource);
    const total = counts.get(resource) ?? 0;
    const isOneList = resource.namespaced && first && !first.namespace && others.length === 0;
    if (!isOneList || total <= share || included.length < 2 || EVENTS.includes(resourceKey(resource))) continue;
    const each = await Promise.all(names.map((namespace) => count({ resource, namespace })));
    // What is in a namespace that is gone, as when one was deleted by force, only the LIST of all has.
    if (each.reduce<number>((sum, some = Number.NaN) => sum + some, 0) !== total) continue;
    byNamespace.set(resource, new Map(names.map((name, place) => [name, each[place]!])));
  }

  const split = [...byNamespace.keys()].map(resourceKey);
  const row = collectedListings(scope, resources, namespaces, new Set(split));
  const lists = Map.groupBy(row, ({ resource }) => resource);
  const weights = row.map(({ resource, namespace = "" }) => {
    const own = byNamespace.get(resource)?.get(namespace);
    return 1 + (own ?? (counts.get(resource) ?? 0) / lists.get(resource)!.length);
  });
  const cuts = cutsOf(row, weights, most);
  return cuts.length > 2 ? { byNamespace: split, cuts } : undefined;
}

/** How many objects a LIST would give; undefined where the server doesn't say so, or not for that revision. */
async function countOf(
  kube: Kube,
  { resource, namespace }: Listing,
  resourceVersion: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const query = { namespace, limit: 1, accept: METADATA_ONLY, resourceVersion, signal };
  try {
    for await (const { items, remaining, next, ...page } of listPages(kube, resource, query)) {
      if (page.resourceVersion !== resourceVersion) return undefined;
      return next && remaining === undefined ? undefined : items.length + (remaining ?? 0);
    }
  } catch (error) {
    await throwIfGone(kube, error, signal);
  }
  return undefined;
}

/** LISTs of the same place, which may hold the same objects, stay together. */
function cutsOf(row: Listing[], weights: number[], most: number): number[] {
  const cuts = [0];
  let left = weights.reduce((sum, weight) => sum + weight, 0);
  let own = 0;
  for (const [at, { resource, namespace }] of row.entries()) {
    const before = row[at - 1];
    const samePlace = before?.resource === resource && before.namespace === namespace;
    const wanted = left / (most - cuts.length + 1);
    if (at > 0 && !samePlace && cuts.length < most && own + weights[at]! / 2 > wanted) {
      cuts.push(at);
      left -= own;
      own = 0;
    }
    own += weights[at]!;
  }
  return [...cuts, row.length];
}
