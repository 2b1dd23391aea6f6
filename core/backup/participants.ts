import type { ItemId, KubernetesObject } from "../archive/item.ts";
import { compareKeys } from "../bucket.ts";
import { LifeboatError } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import { listPages } from "../kube/list.ts";
import { type Resource, resourceKey } from "../kube/resource.ts";
import { EXCLUDE_LABEL } from "../labels.ts";
import { EVENTS } from "../objects/resources.ts";
import { selectorText } from "../select.ts";
import { isJobsEvent } from "../volumes/restic/job.ts";
import { type Listing, PAGE_SIZE } from "./photograph.ts";
import { type BackupScope, matchesOne } from "./scope.ts";

/** The cluster's Namespaces as the first LIST found them, and the revision that it fixed. */
export interface Namespaces {
  revision: string;
  items: { body: Buffer; object: KubernetesObject }[];
}

/** The LIST that fixes the backup's revision. Without it there is no backup: its errors are the run's. */
export async function listNamespaces(kube: Kube, resources: Resource[], signal: AbortSignal): Promise<Namespaces> {
  const namespaces = resources.find((resource) => resourceKey(resource) === "namespaces");
  if (!namespaces) {
    throw new LifeboatError("invalid", `${kube.server} serves no Namespaces`, {
      hint: "is it a Kubernetes API server?",
    });
  }
  let revision: string | undefined;
  const items: Namespaces["items"] = [];
  for await (const page of listPages(kube, namespaces, { limit: PAGE_SIZE, signal })) {
    revision ??= page.resourceVersion;
    for (const body of page.items) items.push({ body, object: parseObject(body) });
  }
  return { revision: revision!, items };
}

/** Fixes the revision of a backup of single objects: by a page of one of their LISTs, for Namespaces may be denied. */
export async function fixRevision(kube: Kube, listings: Listing[], signal: AbortSignal): Promise<Namespaces> {
  for (const { resource, namespace } of listings)
    for await (const page of listPages(kube, resource, { namespace, limit: 1, signal }))
      return { revision: page.resourceVersion, items: [] };
  throw new LifeboatError("invalid", "the cluster serves nothing of what is to be kept");
}

/** Namespaces that are in no backup, nor is what is in them. */
export function labelledNamespaces({ items }: Namespaces): string[] {
  return items.filter(({ object }) => isExcluded(object)).map(({ object }) => object.metadata.name);
}

/** Who takes part, in a cluster that has these Namespaces: those with the exclude label don't, nor what is in them. */
export function participants(scope: BackupScope, namespaces: Namespaces) {
  const labelled = new Set(labelledNamespaces(namespaces));
  const names = namespaces.items.map(({ object }) => object.metadata.name);
  const inNamespace = (namespace: string) => scope.includesNamespace(namespace) && !labelled.has(namespace);
  const included = names.filter(inNamespace).sort();
  const places = ({ namespaced }: Resource) => (namespaced && !scope.everyNamespace ? included : [""]);
  return {
    /** Of all Namespaces. */
    names,
    inNamespace,
    /** Those that take part, sorted. */
    included,
    /** The LISTs that hold all of a resource that may take part, whatever its labels. */
    everything: (resource: Resource): Listing[] => {
      return places(resource).map((place) => ({ resource, namespace: place || undefined }));
    },
    /** The LISTs of what may take part: where there are several selectors, one for each, which may hold the same. */
    listings: (resource: Resource): Listing[] =>
      places(resource).flatMap((place): Listing[] => {
        const selectors = scope.unlistable ? undefined : scope.selectorsOf(resource, place);
        const listing = { resource, namespace: place || undefined };
        if (!selectors?.length) return selectors ? [listing] : [];
        return selectors.map((selector) => ({ ...listing, labelSelector: selectorText(selector) }));
      }),
    /** Whether a backup takes account of an object that such a LIST gave. */
    listed: (resource: Resource, { metadata: { namespace = "", labels } }: Pick<KubernetesObject, "metadata">) =>
      (!namespace || inNamespace(namespace)) && scope.listedByPolicy(resource, namespace, labels),
    /** Whether an object takes part, be it listed or needed. Jobs that copy volumes are excluded by their label; Events that tell of them have none. */
    takesPart: (resource: Resource, object: Pick<KubernetesObject, "metadata">) =>
      !isExcluded(object) &&
      !(EVENTS.includes(resourceKey(resource)) && isJobsEvent(object.metadata.name)) &&
      !object.metadata.deletionTimestamp &&
      (!resource.namespaced || inNamespace(object.metadata.namespace ?? "")) &&
      scope.namedByPolicy(resource, object.metadata.namespace ?? "", object.metadata.name),
  };
}

/** What `participants` tells. */
export type Participants = ReturnType<typeof participants>;

/**
 * The LISTs of all that is collected, in their order. The resources of `byNamespace` are listed one namespace after the other, in
 * the order in which one LIST of all has them; the others as is least.
 */
export function collectedListings(
  scope: BackupScope,
  resources: Resource[],
  namespaces: Namespaces,
  byNamespace: ReadonlySet<string> = new Set(),
): Listing[] {
  const { listings, included } = participants(scope, namespaces);
  return resources.filter(scope.collects).flatMap((resource) => {
    if (!byNamespace.has(resourceKey(resource))) return listings(resource);
    const spaces = included.toSorted((a, b) => compareKeys(`${a}/`, `${b}/`));
    return listings(resource).flatMap((listing) => spaces.map((namespace) => ({ ...listing, namespace })));
  });
}

/** Single objects to collect, whatever their labels, and nothing that they need. */
export interface Picked {
  /** "namespace/name" or "name" by their group-resource strings. */
  names: ReadonlyMap<string, ReadonlySet<string>>;
  /** Which of them are left out after all. */
  unless?: (id: ItemId, object: KubernetesObject) => boolean;
}

/** The LISTs of picked objects: of one namespace where all of a resource are of one. */
export function listingsOf({ names }: Picked, resources: Resource[]): Listing[] {
  return resources.flatMap((resource) => {
    const picked = names.get(resourceKey(resource));
    if (!picked?.size) return [];
    return [{ resource, names: picked, namespace: sharedNamespace(picked) }];
  });
}

/** The namespace of all of these objects ("namespace/name" or "name"); undefined where there are several, or one has none. */
export function sharedNamespace(names: Iterable<string>): string | undefined {
  const namespaces = new Set([...names].map((name) => (name.includes("/") ? name.split("/", 1)[0] : undefined)));
  return namespaces.size === 1 ? [...namespaces][0] : undefined;
}

/**
 * Velero's rule (pkg/backup/item_collector.go): a Namespace is stored if something listed lives in it, or its labels match
 * a selector, or it is included by name, unless selectors are given and no lists of namespaces.
 */
export function storesNamespace(scope: BackupScope, object: KubernetesObject, inhabited: Set<string>): boolean {
  const { name, labels = {} } = object.metadata;
  if (inhabited.has(name)) return true;
  const { selectors } = scope;
  if (selectors.length > 0 && matchesOne(selectors, labels)) return true;
  return (selectors.length === 0 || !scope.unlimited) && scope.includesNamespace(name);
}

function isExcluded(object: Pick<KubernetesObject, "metadata">): boolean {
  return object.metadata.labels?.[EXCLUDE_LABEL] === "true";
}

/** An object as JSON that is read whole. */
export function parseObject(body: Buffer): KubernetesObject {
  return JSON.parse(body.toString()) as KubernetesObject;
}
