import type { KubernetesObject } from "../archive/item.ts";
import { isLifeboatError, messageOf } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import { type ListPage, type ListPosition, listPages } from "../kube/list.ts";
import { type Resource, resourceKey } from "../kube/resource.ts";
import { EVENTS } from "../objects/resources.ts";

/** A resource that could not be read at the backup's revision, and why. */
export interface Exception {
  resource: string;
  reason: string;
}

/** Whether a backup is one point in time: "exact" when every object was read at `resourceVersion`, events aside. */
export interface Consistency {
  grade: "exact" | "mixed";
  resourceVersion: string;
  exceptions: Exception[];
}

/** One LIST to make: all objects of the resource, or those of one namespace. */
export interface Listing {
  resource: Resource;
  namespace?: string;
  labelSelector?: string;
  /** Of its objects only these are wanted: "namespace/name" or "name". */
  names?: ReadonlySet<string>;
  /** Of its objects only those are wanted that stored ones need. */
  wants?: (object: KubernetesObject) => boolean;
}

/** Objects per page: small pages keep memory small and cost little. */
export const PAGE_SIZE = 250;

/** Reads lists at one revision of the cluster, and keeps account of those that the server could not give at it. */
export interface Photograph {
  /** The pages of a LIST, from where an earlier run of it got to, if one did. */
  pages(listing: Listing, from?: ListPosition): AsyncIterable<ListPage>;
  consistency(): Consistency;
}

/** A photograph of `kube` at `revision`. `taken`: what was read of it before. */
export function photograph(
  kube: Kube,
  revision: string,
  options: { taken?: Consistency; signal: AbortSignal },
): Photograph {
  const exceptions = new Map(options.taken?.exceptions.map(({ resource, reason }) => [resource, reason]));
  const except = (resource: Resource, reason: string) => {
    const key = resourceKey(resource);
    if (!exceptions.has(key)) exceptions.set(key, reason);
  };
  return {
    async *pages({ resource, namespace, labelSelector }, from) {
      const query = { namespace, labelSelector, limit: PAGE_SIZE, from, signal: options.signal };
      const now = () => listPages(kube, resource, query);
      // Often in an etcd of their own, where the cluster's revision means nothing: they never lower the grade.
      if (EVENTS.includes(resourceKey(resource))) {
        yield* now();
        return;
      }
      let begun = from !== undefined;
      try {
        for await (const page of listPages(kube, resource, { ...query, resourceVersion: revision })) {
          begun = true;
          if (page.resourceVersion !== revision) {
            except(resource, `the server answered with revision ${page.resourceVersion}`);
          }
          yield page;
        }
      } catch (error) {
        if (begun || !refusesRevision(error)) throw error;
        except(resource, messageOf(error));
        yield* now();
      }
    },
    consistency: () => ({
      grade: exceptions.size === 0 ? "exact" : "mixed",
      resourceVersion: revision,
      exceptions: [...exceptions].map(([resource, reason]) => ({ resource, reason })),
    }),
  };
}

/**
 * Whether a list failed because the server can't give that revision: compacted (410), unknown to an aggregated API
 * (400), or ahead of another etcd's (a 504 "Too large resource version").
 */
function refusesRevision(error: unknown): boolean {
  return isLifeboatError(error, "invalid") || isLifeboatError(error, "timeout") || isLifeboatError(error, "conflict");
}
