import { type ItemId, itemFacts, type KubernetesObject } from "../archive/item.ts";
import type { ArchiveWriter } from "../archive/writer.ts";
import { compareKeys } from "../bucket.ts";
import { isLifeboatError, LifeboatError, messageOf } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import { throwIfGone } from "../kube/gone.ts";
import { metadataOf } from "../kube/json.ts";
import { type ListPage, type ListPosition, listPages } from "../kube/list.ts";
import { type Resource, resourceApiVersion, resourceKey } from "../kube/resource.ts";
import { EXCLUDE_LABEL } from "../labels.ts";
import type { Log } from "../log.ts";
import { CLAIMS, EVENTS, NAMESPACES, VOLUMES } from "../objects/resources.ts";
import type { Problem } from "../report.ts";
import { selectorText } from "../select.ts";
import { isJobsEvent } from "../volumes/restic/job.ts";
import { PODS } from "./hooks.ts";
import { type Lint, looksInto } from "./lint.ts";
import { type Listing, PAGE_SIZE, type Photograph } from "./photograph.ts";
import { readAhead } from "./readahead.ts";
import { type RelatedState, startRelated } from "./related.ts";
import { type BackupScope, type BackupSpec, matchesOne } from "./scope.ts";
import type { Inventory } from "./sidefiles.ts";
import type { BackupVolumes, StoredObject } from "./volumes.ts";

/** How many lists may be under way at once; each holds one page. */
export const LISTS_AHEAD = 4;

/** What a run tells while it works: of which resource it reads, or what it does before; `remaining` is what the server says is left of that list, if it says. */
export interface BackupProgress {
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

/** Single objects to collect, whatever their labels, and nothing that they need. */
export interface Picked {
  /** "namespace/name" or "name" by their group-resource strings. */
  names: ReadonlyMap<string, ReadonlySet<string>>;
  /** Which of them are left out after all. */
  unless?: (id: ItemId, object: KubernetesObject) => boolean;
}

/** How far a collection got, as JSON: where another goes on that writes what follows. */
export interface CollectState {
  place: CollectPlace;
  items: number;
  bytes: number;
  secretsLeftOut: number;
  /** Namespaces in which something was listed. */
  inhabited: string[];
  /** What must not be stored again. */
  taken: string[];
  related: RelatedState;
  /** Whether any LIST was answered. */
  answered: boolean;
}

/** Among the LISTs of what takes part, then of what comes along with that, then before the copies of volumes. */
export type CollectPlace = { listing: number; from?: ListPosition } | "needed" | "read";

/** Which of the LISTs of what takes part a shard makes: those before number `end`. */
export interface ShardRange {
  byNamespace: ReadonlySet<string>;
  end: number;
}

/** Of which nothing is collected yet, from that LIST on. */
export function beginningAt(listing: number): CollectState {
  const nothing = { items: 0, bytes: 0, secretsLeftOut: 0, inhabited: [], taken: [] };
  return { place: { listing }, ...nothing, related: { kinds: [], needed: [], fresh: [] }, answered: false };
}

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
  writer: Pick<ArchiveWriter, "item">;
  /** Takes the Secrets, where they have an archive of their own. */
  secrets?: Pick<ArchiveWriter, "item">;
  inventory: Inventory;
  /** Of a backup that is to stand for itself. */
  lint?: Lint;
  /** Likewise. */
  volumes?: BackupVolumes;
  /** Called once the cluster has been read, and the data of its volumes have their point in time. */
  allRead: () => Promise<void>;
  log: Log;
  fail: (problem: Problem) => void;
  warn: (problem: Problem) => void;
  progress: (progress: BackupProgress) => void;
  /** Where another collection got to, of which this is the rest. */
  from?: CollectState;
  /** Of a shard: only these LISTs are made, and nothing of what follows them. */
  range?: ShardRange;
  /** Asked after each page: whether to go on, or to leave the rest to another. */
  goOn?: (place: CollectPlace, state: () => CollectState) => Promise<boolean>;
  signal: AbortSignal;
}

/** What was collected, by all who did. */
export interface Collected {
  items: number;
  bytes: number;
  secretsLeftOut: number;
}

/**
 * Writes every object that takes part into the archive: what the spec orders, then resource by resource in the order given; then,
 * of a limited backup, what comes along with the stored objects (related.ts); then the Namespaces. With `only` it is those objects and no others. A list that fails is a problem of the report and its objects
 * are missing; a server that no longer answers at all ends the run. Undefined where it did not go on to the end.
 */
export async function collect(collection: Collection): Promise<Collected | undefined> {
  const { kube, resources, scope, spec, only, namespaces, photograph, writer, from, signal } = collection;
  const { names, listings, listed, takesPart } = participants(scope, namespaces);
  const { range } = collection;
  if (!from) {
    const unmatched = scope.unmatched(names);
    for (const message of unmatched.included) collection.fail({ message });
    for (const message of unmatched.excluded) collection.warn({ message });
    if (scope.unlistable) collection.fail({ message: UNLISTABLE });
  }

  let { items, bytes, secretsLeftOut } = from ?? { items: 0, bytes: 0, secretsLeftOut: 0 };
  const inhabited = new Set(from?.inhabited);
  const taken = new Set(from?.taken);
  const collected = only ? [] : resources.filter(scope.collects);
  const whole = new Set(collected.filter((resource) => scope.takesAll(resource)));
  const related = startRelated(
    resources,
    (resource) => !only && !whole.has(resource) && scope.bringsAlong(resource),
    spec,
    from?.related,
  );
  const ordered = orderedNames(spec, collected);

  const store = async (resource: Resource, body: Buffer, object: KubernetesObject) => {
    const { name, namespace = "" } = object.metadata;
    const key = resourceKey(resource);
    const id = { resource: key, namespace, name };
    if (only) {
      if (only.unless?.(id, object)) return;
    } else if (!takesPart(resource, object)) return;
    if (key === PODS && collection.unprepared.has(`${namespace}/${name}`)) {
      collection.volumes?.leavesOut(id, body);
      return;
    }
    if (scope.selectors.length > 1 || related.mayRepeat(key) || ordered.get(resource)?.has(nameOf(object))) {
      const place = `${key} ${nameOf(object)}`;
      if (taken.has(place)) return;
      taken.add(place);
    }
    if (key === "secrets" && spec.secrets === "omit") {
      secretsLeftOut++;
      return;
    }
    const stored = { id, resource, body, object };
    if (!collection.volumes?.holdsBack(stored)) await put(stored);
    related.add(id, object);
  };

  /** `made`: the backup made it itself, and a restore makes it anew. */
  const put = async ({ id, resource, body, object }: StoredObject, made = false) => {
    const facts = itemFacts(object);
    try {
      await (id.resource === "secrets" ? (collection.secrets ?? writer) : writer).item({
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
    if (!made) collection.lint?.add(id, object);
    if (id.resource === VOLUMES) collection.inventory.addVolume(body);
    items++;
    bytes += body.length;
  };

  const goesOn = async (place: CollectPlace): Promise<boolean> => {
    const state = (): CollectState => ({
      place,
      items,
      bytes,
      secretsLeftOut,
      inhabited: [...inhabited],
      taken: [...taken],
      related: related.state(),
      answered: refusals === undefined,
    });
    return (await collection.goOn?.(place, state)) ?? true;
  };

  /** A LIST's failure comes in its turn: what is read ahead may be read again, by another. */
  const pages = async function* (
    listing: Listing,
    position?: ListPosition,
  ): AsyncGenerator<ListPage | { failure: unknown }> {
    try {
      yield* photograph.pages(listing, position);
    } catch (error) {
      await throwIfGone(kube, error, signal);
      yield { failure: error };
    }
  };

  /** Until one LIST is answered: why none is. */
  let refusals: unknown[] | undefined = from?.answered ? undefined : [];

  /** Tells what of the rest isn't stored yet after each page. */
  const storePages = async function* (
    listings: Listing[],
    take: (resource: Resource, body: Buffer, object: KubernetesObject) => Promise<void> | void = store,
    { listing: first, from: position }: { listing: number; from?: ListPosition } = { listing: 0 },
  ) {
    const sources = [...listings.entries()].slice(first);
    const open = ([place, listing]: (typeof sources)[number]) => pages(listing, place === first ? position : undefined);
    for await (const { source, element } of readAhead(sources, open, LISTS_AHEAD)) {
      const [place, { resource, namespace, names, wants = () => true }] = source;
      if ("failure" in element) {
        refusals?.push(element.failure);
        collection.fail({ resource: resourceKey(resource), namespace, message: messageOf(element.failure) });
        yield { listing: place + 1 };
        continue;
      }
      refusals = undefined;
      for (const body of element.items) {
        const object = readItem(resource, body, related.looksInto(resourceKey(resource)));
        if ((names?.has(nameOf(object)) ?? true) && wants(object)) await take(resource, body, object);
      }
      collection.progress({ items, resource: resourceKey(resource), remaining: element.remaining });
      yield element.next ? { listing: place, from: element.next } : { listing: place + 1 };
    }
  };
  const storeAll = async (...what: Parameters<typeof storePages>) => {
    for await (const _ of storePages(...what));
  };

  if (only) {
    await storeAll(listingsOf(only, resources));
    await collection.allRead();
    return { items, bytes, secretsLeftOut };
  }

  const storeListed = async (resource: Resource, body: Buffer, object: KubernetesObject) => {
    if (!listed(resource, object)) return;
    if (object.metadata.namespace) inhabited.add(object.metadata.namespace);
    await store(resource, body, object);
  };
  const storeNeeded = async (resource: Resource, body: Buffer, object: KubernetesObject) => {
    if (scope.bringsAlong(resource)) await store(resource, body, object);
  };
  const place = from?.place ?? { listing: 0 };
  for (const [resource, names] of from ? [] : ordered) {
    const found = new Map<string, Parameters<typeof storeListed>>();
    const first = listings(resource).map((listing) => ({ ...listing, names }));
    await storeAll(first, (...item) => void found.set(nameOf(item[2]), item));
    for (const name of names) if (found.has(name)) await storeListed(...found.get(name)!);
  }
  if (typeof place === "object") {
    const row = collectedListings(scope, resources, namespaces, range?.byNamespace).slice(0, range?.end);
    for await (const next of storePages(row, storeListed, place)) if (!(await goesOn(next))) return undefined;
  }
  if (range) return undefined;
  throwIfNothingMayBeListed(refusals);
  if (place !== "read") {
    for (let needed = related.listings(); needed.length > 0; needed = related.listings()) {
      await storeAll(needed, storeNeeded);
      if (!(await goesOn("needed"))) return undefined;
    }
    await storeAll(related.definitions(), storeNeeded);
    if (!(await goesOn("read"))) return undefined;
  }
  const heldBack = await collection.volumes?.copy(collection.allRead);
  if (!heldBack) await collection.allRead();
  for (const held of heldBack ?? []) await put(held, held.id.resource !== CLAIMS);

  const namespaceResource = resources.find((resource) => resourceKey(resource) === NAMESPACES);
  const selected = items;
  if (namespaceResource && scope.storesNamespaces(namespaceResource)) {
    for (const { body, object } of namespaces.items) {
      if (storesNamespace(scope, object, inhabited)) await store(namespaceResource, body, object);
    }
  }
  if (items === 0 || (selected === 0 && collected.length > 0)) {
    const holds = items === 0 ? "is empty" : "holds only Namespaces";
    collection.warn({ message: `the cluster holds nothing that the filters select: the backup ${holds}` });
  }
  collection.log("info", `Backed up a total of ${items} items`);
  return { items, bytes, secretsLeftOut };
}

/** A backup of which every LIST was denied is none; what else keeps LISTs from being answered may pass. */
function throwIfNothingMayBeListed(refusals: unknown[] = []): void {
  const [first] = refusals;
  if (!first || !refusals.every((error) => isLifeboatError(error, "denied"))) return;
  throw new LifeboatError("denied", `nothing that is to be stored may be listed: ${messageOf(first)}`, {
    hint: 'grant it by RBAC: "lifeboat location check" tells what is lacking, and how',
  });
}

const UNLISTABLE =
  "a selector is empty, with which nothing but Namespaces is stored, as with Velero: leave it out to store everything";

/** `spec.orderedResources`: of a resource, which objects come first, in their order. */
function orderedNames({ orderedResources = {} }: BackupSpec, resources: Resource[]): Map<Resource, Set<string>> {
  const ordered = resources.filter(({ name }) => orderedResources[name]);
  return new Map(ordered.map((resource) => [resource, new Set(orderedResources[resource.name]!.split(","))]));
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
 * Velero's rule (pkg/backup/item_collector.go): a Namespace is stored if something listed lives in it, or its labels match
 * a selector, or it is included by name, unless selectors are given and no lists of namespaces.
 */
function storesNamespace(scope: BackupScope, object: KubernetesObject, inhabited: Set<string>): boolean {
  const { name, labels = {} } = object.metadata;
  if (inhabited.has(name)) return true;
  const { selectors } = scope;
  if (selectors.length > 0 && matchesOne(selectors, labels)) return true;
  return (selectors.length === 0 || !scope.unlimited) && scope.includesNamespace(name);
}

function isExcluded(object: Pick<KubernetesObject, "metadata">): boolean {
  return object.metadata.labels?.[EXCLUDE_LABEL] === "true";
}

const IMAGE = Buffer.from('"image":"');

/** As much of an object as a backup looks at: its metadata, and the rest where it names images or other objects, or `whole` says so. */
function readItem(resource: Resource, body: Buffer, whole: boolean): KubernetesObject {
  if (whole || looksInto(resourceKey(resource), body) || body.includes(IMAGE)) return parse(body);
  const metadata = metadataOf(body) as KubernetesObject["metadata"];
  return { apiVersion: resourceApiVersion(resource), kind: resource.kind, metadata };
}

function parse(body: Buffer): KubernetesObject {
  return JSON.parse(body.toString()) as KubernetesObject;
}
