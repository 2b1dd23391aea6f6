import { ahead } from "../archive/flow.ts";
import { sha256 } from "../archive/gzip.ts";
import type { IndexEntry } from "../archive/index.ts";
import type { ItemId, KubernetesObject } from "../archive/item.ts";
import { likenessOf } from "../archive/likeness.ts";
import { LISTS_AHEAD } from "../backup/collect.ts";
import { listNamespaces, participants } from "../backup/participants.ts";
import { type Listing, photograph } from "../backup/photograph.ts";
import { readAhead } from "../backup/readahead.ts";
import { backupResources, backupScope } from "../backup/scope.ts";
import type { Backup } from "../catalog.ts";
import { messageOf } from "../errors.ts";
import { expectOk, type Kube } from "../kube/client.ts";
import { discover } from "../kube/discovery.ts";
import { throwIfGone } from "../kube/gone.ts";
import { metadataOf } from "../kube/json.ts";
import type { ListPage } from "../kube/list.ts";
import { type Resource, resourceApiVersion, resourceKey, resourcePath } from "../kube/resource.ts";
import { NAMESPACES } from "../objects/resources.ts";
import { release } from "../release.ts";
import { isGlob } from "../select.ts";
import { type FilterSpec, filtersOf } from "../specs.ts";
import { SCALERS, type Side, scaledBy, type Wanted } from "./sides.ts";

/** GETs under way at a time. */
const GETS_AHEAD = 8;

/** A cluster, to be compared with a backup. */
export interface LiveInput {
  kube: Kube;
  /** For messages. */
  name: string;
  record: Backup;
  /** Of the comparison: what they leave out isn't listed. */
  filters: FilterSpec;
  signal?: AbortSignal;
}

/**
 * A cluster as it is now, at one revision as far as it can be; of what a backup like the one given would have stored, and of what that
 * one holds. A list that is refused is told by `absence`. Throws where the server can't be reached, and `invalid` for a
 * backup made with filters that are unknown here.
 */
export async function liveSide(input: LiveInput): Promise<Side & { resources: Resource[]; namespaces: string[] }> {
  const { kube, record, filters, signal = new AbortController().signal } = input;
  const discovery = await discover(kube, { signal });
  const resources = backupResources(discovery);
  const scope = backupScope(filtersOf(record), resources);
  const namespaces = await listNamespaces(kube, resources, signal);
  const { everything, takesPart } = participants(scope, namespaces);
  const photo = photograph(kube, namespaces.revision, { signal });
  const served = (key: string) => resources.find((resource) => resourceKey(resource) === key);
  /** By resource or group: why it can't be told what there is of it. */
  const unread = new Map(discovery.warnings.map(({ group, message }) => [group, message]));

  async function* pages(listing: Listing): AsyncGenerator<ListPage> {
    try {
      yield* photo.pages(listing);
    } catch (error) {
      await throwIfGone(kube, error, signal);
      unread.set(resourceKey(listing.resource), messageOf(error));
    }
  }

  async function get({ resource: key, namespace, name }: ItemId): Promise<Buffer | undefined> {
    const resource = served(key);
    if (!resource) return undefined;
    const response = await kube.request({ path: resourcePath(resource, namespace, name), signal });
    return response.status === 404 ? undefined : expectOk(response, `give ${key} ${name}`).body;
  }

  /** What is listed: what such a backup stores, and what this one holds beside, since something needed it. */
  function listed({ resource: wanted, held }: Wanted): Listing[] {
    const some = filters.includedNamespaces?.some(isGlob) ? [] : (filters.includedNamespaces ?? []);
    return resources
      .filter((resource) => resourceKey(resource) !== NAMESPACES)
      .filter((resource) => scope.collects(resource) || held?.has(resourceKey(resource)))
      .filter((resource) => wanted({ resource: resourceKey(resource), kind: resource.kind }))
      .flatMap((resource) => {
        if (!resource.namespaced || some.length === 0) return everything(resource);
        return some.map((namespace) => ({ resource, namespace }));
      });
  }

  return {
    name: input.name,
    resources,
    namespaces: namespaces.items.map(({ object }) => object.metadata.name),
    async *objects(wanted) {
      const { only } = wanted;
      const body = only && (await get(only));
      if (only && body) yield { entry: entryOf(served(only.resource)!, body), body };
      if (only) return;
      const resource = served(NAMESPACES)!;
      for (const { body, object } of namespaces.items)
        if (takesPart(resource, object) && scope.includesNamespace(object.metadata.name))
          yield { entry: entryOf(resource, body), body };
      for await (const { source, element: page } of readAhead(listed(wanted), pages, LISTS_AHEAD)) {
        for (const body of page.items) {
          const metadata = metadataOf(body) as KubernetesObject["metadata"];
          if (takesPart(source.resource, { metadata })) yield { entry: entryOf(source.resource, body), body };
        }
        if (page.items[0]) release(page.items[0]);
      }
    },
    bodies: (entries) =>
      ahead(
        entries.map((entry) => () => get(entry)),
        GETS_AHEAD,
      ),
    async scaled(namespace) {
      const resource = served(SCALERS);
      const scaled = new Set<string>();
      if (!resource) return scaled;
      for await (const { items } of pages({ resource, namespace }))
        for (const body of items) scaled.add(scaledBy(JSON.parse(String(body))));
      return unread.has(SCALERS) ? undefined : scaled;
    },
    absence: () => ({
      tells: ({ resource }) => !unread.has(resource) && !unread.has(resource.split(".").slice(1).join(".")),
      why: [...unread].map(([what, why]) => `${what} can't be listed: ${why}`).join("; "),
    }),
  };
}

/** A live object as an index would have it. */
function entryOf(resource: Resource, body: Buffer): IndexEntry {
  const { name, namespace = "", uid = "", labels = {} } = metadataOf(body) as KubernetesObject["metadata"];
  const key = resourceKey(resource);
  return {
    ...{ resource: key, namespace, name, version: resource.version, kind: resource.kind },
    ...{ apiVersion: resourceApiVersion(resource), uid, resourceVersion: "", owners: [], labels, images: [] },
    ...{ segment: 0, offset: 0, size: body.length, sha256: sha256(body), likeness: likenessOf(body, key) },
  };
}
