import { itemFacts, type KubernetesObject } from "../archive/item.ts";
import type { ArchiveWriter } from "../archive/writer.ts";
import { isLifeboatError, LifeboatError, messageOf } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import { throwIfGone } from "../kube/gone.ts";
import { metadataOf } from "../kube/json.ts";
import type { ListPage, ListPosition } from "../kube/list.ts";
import { type Resource, resourceApiVersion, resourceKey } from "../kube/resource.ts";
import type { Log } from "../log.ts";
import { CLAIMS, NAMESPACES, VOLUMES } from "../objects/resources.ts";
import type { Problem } from "../report.ts";
import { PODS } from "./hooks.ts";
import { type Lint, looksInto } from "./lint.ts";
import {
  collectedListings,
  listingsOf,
  type Namespaces,
  type Participants,
  type Picked,
  parseObject,
  participants,
  storesNamespace,
} from "./participants.ts";
import type { Listing, Photograph } from "./photograph.ts";
import { readAhead } from "./readahead.ts";
import { type Related, type RelatedState, startRelated } from "./related.ts";
import type { BackupScope, BackupSpec } from "./scope.ts";
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
export type CollectPlace = Place | "needed" | "read";

/** A LIST by its number, and how far it was read. */
type Place = { listing: number; from?: ListPosition };

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
  const work = begun(collection);
  const { from, only, range, resources } = collection;
  if (!from) tellUnmatched(work);
  if (only) {
    await takeAll(work, listingsOf(only, resources), store);
    await collection.allRead();
    return collectedBy(work);
  }
  if (!from) await storeOrdered(work);
  const place = from?.place ?? { listing: 0 };
  if (typeof place === "object" && !(await storeListings(work, place))) return undefined;
  if (range) return undefined;
  throwIfNothingMayBeListed(work.refusals);
  if (place !== "read" && !(await storeRelated(work))) return undefined;
  await storeHeldBack(work);
  const selected = work.items;
  await storeNamespaces(work);
  warnIfEmpty(work, selected);
  collection.log("info", `Backed up a total of ${work.items} items`);
  return collectedBy(work);
}

/** A collection under way: what it works on, and how far it got. */
interface Work extends Collected {
  readonly collection: Collection;
  readonly who: Participants;
  /** The resources of which more is collected than what was picked. */
  readonly collected: Resource[];
  /** By `spec.orderedResources`. */
  readonly ordered: Map<Resource, Set<string>>;
  readonly related: Related;
  /** Namespaces in which something was listed. */
  readonly inhabited: Set<string>;
  /** What must not be stored again, of what may be met twice. */
  readonly taken: Set<string>;
  /** Until one LIST is answered: why none is. */
  refusals: unknown[] | undefined;
}

/** What becomes of an object that a LIST gave. */
type Take = (work: Work, resource: Resource, body: Buffer, object: KubernetesObject) => Promise<void> | void;

function begun(collection: Collection): Work {
  const { resources, scope, spec, only, namespaces, from } = collection;
  const collected = only ? [] : resources.filter(scope.collects);
  const whole = new Set(collected.filter((resource) => scope.takesAll(resource)));
  const comesAlong = (resource: Resource) => !only && !whole.has(resource) && scope.bringsAlong(resource);
  return {
    collection,
    who: participants(scope, namespaces),
    collected,
    ordered: orderedNames(spec, collected),
    related: startRelated(resources, comesAlong, spec, from?.related),
    ...collectedBy(from ?? { items: 0, bytes: 0, secretsLeftOut: 0 }),
    inhabited: new Set(from?.inhabited),
    taken: new Set(from?.taken),
    refusals: from?.answered ? undefined : [],
  };
}

function collectedBy({ items, bytes, secretsLeftOut }: Collected): Collected {
  return { items, bytes, secretsLeftOut };
}

/** Whether to go on from there, or to leave the rest to another. */
async function goesOn(work: Work, place: CollectPlace): Promise<boolean> {
  const state = (): CollectState => ({
    place,
    ...collectedBy(work),
    inhabited: [...work.inhabited],
    taken: [...work.taken],
    related: work.related.state(),
    answered: work.refusals === undefined,
  });
  return (await work.collection.goOn?.(place, state)) ?? true;
}

function tellUnmatched({ collection: { scope, fail, warn }, who }: Work): void {
  const unmatched = scope.unmatched(who.names);
  for (const message of unmatched.included) fail({ message });
  for (const message of unmatched.excluded) warn({ message });
  if (scope.unlistable) fail({ message: UNLISTABLE });
}

/** What the spec orders goes first, in its order. */
async function storeOrdered(work: Work): Promise<void> {
  for (const [resource, names] of work.ordered) {
    const found = new Map<string, [body: Buffer, object: KubernetesObject]>();
    const first = work.who.listings(resource).map((listing) => ({ ...listing, names }));
    await takeAll(work, first, (_work, _resource, body, object) => void found.set(nameOf(object), [body, object]));
    for (const name of names) if (found.has(name)) await storeListed(work, resource, ...found.get(name)!);
  }
}

/** What takes part, from that LIST on. False where the rest is left to another. */
async function storeListings(work: Work, place: Place): Promise<boolean> {
  const { scope, resources, namespaces, range } = work.collection;
  const row = collectedListings(scope, resources, namespaces, range?.byNamespace).slice(0, range?.end);
  for await (const next of takePages(work, row, storeListed, place)) if (!(await goesOn(work, next))) return false;
  return true;
}

/** What comes along with the stored objects, and with that in turn. False where the rest is left to another. */
async function storeRelated(work: Work): Promise<boolean> {
  const { related } = work;
  for (let needed = related.listings(); needed.length > 0; needed = related.listings()) {
    await takeAll(work, needed, storeNeeded);
    if (!(await goesOn(work, "needed"))) return false;
  }
  await takeAll(work, related.definitions(), storeNeeded);
  return goesOn(work, "read");
}

/** What waited for the copies of its volumes. */
async function storeHeldBack(work: Work): Promise<void> {
  const { volumes, allRead } = work.collection;
  const heldBack = await volumes?.copy(allRead);
  if (!heldBack) await allRead();
  for (const held of heldBack ?? []) await put(work, held, { made: held.id.resource !== CLAIMS });
}

async function storeNamespaces(work: Work): Promise<void> {
  const { resources, scope, namespaces } = work.collection;
  const resource = resources.find((resource) => resourceKey(resource) === NAMESPACES);
  if (!resource || !scope.storesNamespaces(resource)) return;
  for (const { body, object } of namespaces.items)
    if (storesNamespace(scope, object, work.inhabited)) await store(work, resource, body, object);
}

/** `selected`: how many items were stored before the Namespaces. */
function warnIfEmpty({ collection, collected, items }: Work, selected: number): void {
  if (items > 0 && (selected > 0 || collected.length === 0)) return;
  const holds = items === 0 ? "is empty" : "holds only Namespaces";
  collection.warn({ message: `the cluster holds nothing that the filters select: the backup ${holds}` });
}

async function takeAll(work: Work, listings: Listing[], take: Take): Promise<void> {
  for await (const _ of takePages(work, listings, take));
}

/** Makes the LISTs, the next ones while one is taken in. Tells after each page where the rest begins that isn't taken yet. */
async function* takePages(
  work: Work,
  listings: Listing[],
  take: Take,
  { listing: first, from }: Place = { listing: 0 },
): AsyncGenerator<Place> {
  const { collection, related } = work;
  const sources = [...listings.entries()].slice(first);
  const open = ([place, listing]: (typeof sources)[number]) =>
    pages(collection, listing, place === first ? from : undefined);
  for await (const { source, element } of readAhead(sources, open, LISTS_AHEAD)) {
    const [place, { resource, namespace, names, wants = () => true }] = source;
    const key = resourceKey(resource);
    if ("failure" in element) {
      work.refusals?.push(element.failure);
      collection.fail({ resource: key, namespace, message: messageOf(element.failure) });
      yield { listing: place + 1 };
      continue;
    }
    work.refusals = undefined;
    for (const body of element.items) {
      const object = readItem(resource, body, related.looksInto(key));
      if ((names?.has(nameOf(object)) ?? true) && wants(object)) await take(work, resource, body, object);
    }
    collection.progress({ items: work.items, resource: key, remaining: element.remaining });
    yield element.next ? { listing: place, from: element.next } : { listing: place + 1 };
  }
}

/** A LIST's failure comes in its turn: what is read ahead may be read again, by another. */
async function* pages(
  { photograph, kube, signal }: Collection,
  listing: Listing,
  from?: ListPosition,
): AsyncGenerator<ListPage | { failure: unknown }> {
  try {
    yield* photograph.pages(listing, from);
  } catch (error) {
    await throwIfGone(kube, error, signal);
    yield { failure: error };
  }
}

const storeListed: Take = async (work, resource, body, object) => {
  if (!work.who.listed(resource, object)) return;
  if (object.metadata.namespace) work.inhabited.add(object.metadata.namespace);
  await store(work, resource, body, object);
};

const storeNeeded: Take = async (work, resource, body, object) => {
  if (work.collection.scope.bringsAlong(resource)) await store(work, resource, body, object);
};

/** Stores an object if it takes part and isn't stored yet, unless it waits for the copy of its volume. */
async function store(work: Work, resource: Resource, body: Buffer, object: KubernetesObject): Promise<void> {
  const { scope, spec, only, unprepared, volumes } = work.collection;
  const { name, namespace = "" } = object.metadata;
  const key = resourceKey(resource);
  const id = { resource: key, namespace, name };
  if (only ? only.unless?.(id, object) : !work.who.takesPart(resource, object)) return;
  if (key === PODS && unprepared.has(`${namespace}/${name}`)) {
    volumes?.leavesOut(id, body);
    return;
  }
  if (scope.selectors.length > 1 || work.related.mayRepeat(key) || work.ordered.get(resource)?.has(nameOf(object))) {
    const place = `${key} ${nameOf(object)}`;
    if (work.taken.has(place)) return;
    work.taken.add(place);
  }
  if (key === "secrets" && spec.secrets === "omit") {
    work.secretsLeftOut++;
    return;
  }
  const stored = { id, resource, body, object };
  if (!volumes?.holdsBack(stored)) await put(work, stored);
  work.related.add(id, object);
}

/** Writes an object into its archive, and counts it. `made`: the backup made it itself, and a restore makes it anew. */
async function put(work: Work, { id, resource, body, object }: StoredObject, { made = false } = {}): Promise<void> {
  const { writer, secrets = writer, inventory, lint, fail } = work.collection;
  const facts = itemFacts(object);
  const archive = id.resource === "secrets" ? secrets : writer;
  try {
    await archive.item({ id, version: resource.version, body, facts });
  } catch (error) {
    if (!isLifeboatError(error, "invalid")) throw error;
    fail({ ...id, message: error.message });
    return;
  }
  inventory.add({ ...id, ...facts });
  if (!made) lint?.add(id, object);
  if (id.resource === VOLUMES) inventory.addVolume(body);
  work.items++;
  work.bytes += body.length;
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

function nameOf({ metadata: { namespace, name } }: KubernetesObject): string {
  return namespace ? `${namespace}/${name}` : name;
}

const IMAGE = Buffer.from('"image":"');

/** As much of an object as a backup looks at: its metadata, and the rest where it names images or other objects, or `whole` says so. */
function readItem(resource: Resource, body: Buffer, whole: boolean): KubernetesObject {
  if (whole || looksInto(resourceKey(resource), body) || body.includes(IMAGE)) return parseObject(body);
  const metadata = metadataOf(body) as KubernetesObject["metadata"];
  return { apiVersion: resourceApiVersion(resource), kind: resource.kind, metadata };
}
