import { type ItemId, itemFacts, type KubernetesObject } from "../archive/item.ts";
import type { ArchiveWriter } from "../archive/writer.ts";
import { isLifeboatError, LifeboatError, messageOf } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import { throwIfGone } from "../kube/gone.ts";
import { metadataOf } from "../kube/json.ts";
import { listPages, type Page } from "../kube/list.ts";
import { type Resource, resourceApiVersion, resourceKey } from "../kube/resource.ts";
import type { Log } from "../log.ts";
import { CLAIMS, DEFINITIONS, VOLUMES } from "../objects/resources.ts";
import type { Problem } from "../report.ts";
import { matchesSelector, selectorText } from "../select.ts";
import { PODS } from "./hooks.ts";
import { type Lint, looksInto } from "./lint.ts";
import { type Listing, PAGE_SIZE, type Photograph } from "./photograph.ts";
import { readAhead } from "./readahead.ts";
import { type BackupScope, type BackupSpec, EXCLUDE_LABEL } from "./scope.ts";
import type { Inventory } from "./sidefiles.ts";

/** How many lists may be under way at once; each holds one page. */
export const LISTS_AHEAD = 4;

/** What a run tells while it works: of which resource it reads, or what it does before; `remaining` is what the server says is left of that list, if it says. */
export interface Progress {
  items: number;
  resource: string;
  remaining: number | undefined;
}

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
    for (const body of page.items) items.push({ body, object: parse(body) });
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

/** Who takes part, in a cluster that has these Namespaces: those with the exclude label don't, nor what is in them. */
export function participants(scope: BackupScope, spec: BackupSpec, { items }: Namespaces) {
  const labelled = new Set(items.filter(({ object }) => isExcluded(object)).map(({ object }) => object.metadata.name));
  const names = items.map(({ object }) => object.metadata.name);
  const inNamespace = (namespace: string) => scope.includesNamespace(namespace) && !labelled.has(namespace);
  const included = names.filter(inNamespace).sort();
  const labelSelector = spec.labelSelector && selectorText(spec.labelSelector);
  return {
    /** Of all Namespaces. */
    names,
    /** The LISTs of what may take part. */
    listings: (resource: Resource): Listing[] =>
      resource.namespaced && !scope.everyNamespace
        ? included.map((namespace) => ({ resource, namespace, labelSelector }))
        : [{ resource, labelSelector }],
    /** Whether an object takes part that was listed. */
    takesPart: ({ namespaced }: Resource, object: Pick<KubernetesObject, "metadata">) =>
      !isExcluded(object) &&
      !object.metadata.deletionTimestamp &&
      (!namespaced || inNamespace(object.metadata.namespace ?? "")),
  };
}

/** Single objects to collect, whatever their labels, and nothing that they need. */
export interface Picked {
  /** "namespace/name" or "name" by their group-resource strings. */
  names: ReadonlyMap<string, ReadonlySet<string>>;
  /** Which of them are left out after all. */
  unless?: (id: ItemId, object: KubernetesObject) => boolean;
}

/** Everything a collection works on. */
export interface Collection {
  kube: Kube;
  resources: Resource[];
  scope: BackupScope;
  spec: BackupSpec;
  only?: Picked;
  /** "namespace/name" of Pods that are not stored, since a pre-hook of theirs failed. */
  unprepared: ReadonlySet<string>;
  namespaces: Namespaces;
  photograph: Photograph;
  writer: ArchiveWriter;
  /** Takes the Secrets, where they have an archive of their own. */
  secrets?: Pick<ArchiveWriter, "item">;
  inventory: Inventory;
  /** Of a backup that is to stand for itself. */
  lint?: Lint;
  log: Log;
  fail: (problem: Problem) => void;
  warn: (problem: Problem) => void;
  progress: (progress: Progress) => void;
  signal: AbortSignal;
}

/**
 * Writes every object that takes part into the archive: resource by resource in the order given; then, of a limited
 * backup, the definitions and volumes that the stored objects can't be restored without (Velero's additional items),
 * whatever their labels; then the Namespaces. With `only` it is those objects and no others. A list that fails is a problem of the report and its objects
 * are missing; a server that no longer answers at all ends the run.
 */
export async function collect(
  collection: Collection,
): Promise<{ items: number; bytes: number; secretsLeftOut: number }> {
  const { kube, resources, scope, spec, only, namespaces, photograph, writer, signal } = collection;
  const { names, listings, takesPart } = participants(scope, spec, namespaces);
  const unmatched = scope.unmatched(names);
  for (const message of unmatched.included) collection.fail({ message });
  for (const message of unmatched.excluded) collection.warn({ message });

  let items = 0;
  let bytes = 0;
  let secretsLeftOut = 0;
  const inhabited = new Set<string>();
  const needs = { [DEFINITIONS]: new Set<string>(), [VOLUMES]: new Set<string>() };
  const stored = new Set<string>();

  const store = async (resource: Resource, body: Buffer, object: KubernetesObject) => {
    const { name, namespace = "" } = object.metadata;
    const key = resourceKey(resource);
    const id = { resource: key, namespace, name };
    if (only) {
      if (only.unless?.(id, object)) return;
    } else if (!takesPart(resource, object)) return;
    if (key === PODS && collection.unprepared.has(`${namespace}/${name}`)) return;
    if (key in needs) {
      if (stored.has(`${key} ${name}`)) return;
      stored.add(`${key} ${name}`);
    }
    if (key === "secrets" && spec.secrets === "omit") {
      secretsLeftOut++;
      return;
    }
    const facts = itemFacts(object);
    try {
      await (key === "secrets" ? (collection.secrets ?? writer) : writer).item({
        id,
        version: resource.version,
        body,
        facts,
      });
    } catch (error) {
      if (!isLifeboatError(error, "invalid")) throw error;
      collection.fail({ ...id, message: error.message });
      return;
    }
    collection.inventory.add({ ...id, ...facts });
    collection.lint?.add(id, object);
    if (key === VOLUMES) collection.inventory.addVolume(body);
    items++;
    bytes += body.length;
    if (namespace) inhabited.add(namespace);
    needs[DEFINITIONS].add(key);
    if (key === CLAIMS) needs[VOLUMES].add((object as Claim).spec?.volumeName ?? "");
  };

  const pages = async function* (listing: Listing): AsyncGenerator<Page> {
    try {
      yield* photograph.pages(listing);
    } catch (error) {
      await throwIfGone(kube, error, signal);
      collection.fail({
        resource: resourceKey(listing.resource),
        namespace: listing.namespace,
        message: messageOf(error),
      });
    }
  };

  const storeAll = async (listings: Listing[]) => {
    for await (const { source, element } of readAhead(listings, pages, LISTS_AHEAD)) {
      for (const body of element.items) {
        const object = readItem(source.resource, body);
        if (source.names?.has(nameOf(object)) ?? true) await store(source.resource, body, object);
      }
      collection.progress({ items, resource: resourceKey(source.resource), remaining: element.remaining });
    }
  };

  if (only) {
    await storeAll(listingsOf(only, resources));
    return { items, bytes, secretsLeftOut };
  }

  const collected = resources.filter(scope.collects);
  await storeAll(collected.flatMap(listings));
  await storeAll(
    resources
      .filter((resource) => resourceKey(resource) in needs && scope.bringsAlong(resource))
      .filter((resource) => spec.labelSelector || !collected.includes(resource))
      .map((resource) => ({ resource, names: needs[resourceKey(resource) as keyof typeof needs] })),
  );

  const namespaceResource = resources.find((resource) => resourceKey(resource) === "namespaces");
  if (namespaceResource && scope.includesResource(namespaceResource)) {
    for (const { body, object } of namespaces.items) {
      if (storesNamespace(collection, object, inhabited)) await store(namespaceResource, body, object);
    }
  }
  if (items === 0)
    collection.warn({ message: "the cluster holds nothing that the filters select: the backup is empty" });
  collection.log("info", `Backed up a total of ${items} items`);
  return { items, bytes, secretsLeftOut };
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

function nameOf({ metadata: { namespace, name } }: KubernetesObject): string {
  return namespace ? `${namespace}/${name}` : name;
}

/**
 * Velero's rule (pkg/backup/item_collector.go): a Namespace is stored if something stored lives in it, or it is
 * Active and matches the selector or, where none is given, the name filter.
 */
function storesNamespace({ scope, spec }: Collection, object: KubernetesObject, inhabited: Set<string>): boolean {
  const { name, labels = {} } = object.metadata;
  if (inhabited.has(name)) return true;
  if (spec.labelSelector)
    return matchesSelector(spec.labelSelector, labels) || (!scope.everyNamespace && scope.includesNamespace(name));
  return scope.includesNamespace(name);
}

interface Claim extends KubernetesObject {
  spec?: { volumeName?: string };
}

function isExcluded(object: Pick<KubernetesObject, "metadata">): boolean {
  return object.metadata.labels?.[EXCLUDE_LABEL] === "true";
}

const IMAGE = Buffer.from('"image":"');

/** As much of an object as a backup looks at: its metadata, and the rest only where it names images or other objects. */
function readItem(resource: Resource, body: Buffer): KubernetesObject {
  if (looksInto(resourceKey(resource), body) || body.includes(IMAGE)) return parse(body);
  const metadata = metadataOf(body) as KubernetesObject["metadata"];
  return { apiVersion: resourceApiVersion(resource), kind: resource.kind, metadata };
}

function parse(body: Buffer): KubernetesObject {
  return JSON.parse(body.toString()) as KubernetesObject;
}
