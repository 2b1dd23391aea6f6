import type { KubernetesObject } from "../../archive/item.ts";
import { type Listing, photograph } from "../../backup/photograph.ts";
import { readAhead } from "../../backup/readahead.ts";
import { messageOf } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { throwIfGone } from "../../kube/gone.ts";
import { metadataOf, parseExact } from "../../kube/json.ts";
import { type ListPosition, listPages } from "../../kube/list.ts";
import { type Resource, resourceKey } from "../../kube/resource.ts";
import { labelValue, RESTORE_NAME } from "../../labels.ts";
import { at, fieldsAt } from "../../objects/fields.ts";
import { CLAIMS, NAMESPACES, SERVICES, VOLUMES } from "../../objects/resources.ts";
import { release } from "../../release.ts";
import { neverRestored } from "../../skips.ts";
import { nodePorts } from "../nodeports.ts";
import type { Served } from "../served.ts";
import type { Item, RestoreSurvey } from "../survey.ts";
import { type LiveVolume, readVolume, waits } from "../volumes.ts";
import { BackendDown, noticingBackends } from "../write/backends.ts";
import { FILLING } from "../write/filled.ts";
import type { RestoreHookRule } from "../write/hooks.ts";
import { namespaceGone, type Waiting } from "../write/waits.ts";
import { type CompareFacts, comparable, digest, scaledKey } from "./comparable.ts";
import type { PlannedStep } from "./steps.ts";

/** What the target has of what is restored, found by one LIST per resource. */
export interface Target extends CompareFacts {
  /** Of existing objects, by the item's place: ALIKE, the digest of their comparable form, or DELETING. */
  digests: Map<number, string>;
  /** The node ports of existing Services that have some, by the item's place: the digest is without them. */
  nodePorts: Map<number, Map<string, unknown>>;
  /** The resourceVersions of existing objects that have a digest, by the item's place. */
  revisions: Map<number, string>;
  /** UIDs of existing objects that own others, by the item's place: of those that stay, for what a leaving one owns is deleted with it. */
  uids: Map<number, string>;
  /** Existing objects that are left where they differ, since they are others' now: why, by the item's place. */
  others: Map<number, string>;
  /** Where two items of the backup become the same object: the first one's name, by the place of the other. */
  clashes: Map<number, string>;
  /** Resources that can't be listed, and Namespaces that don't end: why. */
  blocked: Map<string, string>;
  /** Resources whose list needs something that isn't up yet: why. Whether an object exists shows when it is created. */
  unlisted: Map<string, string>;
  namespaces: Set<string>;
  /** The UID of the namespace kube-system, by which clusters are told apart; "" where it can't be read. */
  clusterUid: string;
  /** Namespaces that were found being deleted. */
  ending: Set<string>;
  nodes: Set<string>;
  /** The zones that its nodes are in, and the cloud's name of one of them. */
  zones: Set<string>;
  providerId?: string;
  /** Claims, as "namespace/name", that an earlier run of this restore made and did not fill: they count as absent. */
  unfilled: Set<string>;
  /** Claims and volumes that carry this restore's label, by the item's place: the name of a claim's volume, "" where it has none. */
  labelled: Map<number, string>;
  /** What to tell the user of the lists. */
  warnings: string[];
  volumes: Map<string, LiveVolume>;
  /** Existing claims of the items, as "namespace/name", that have no volume yet. */
  waiting: Set<string>;
  /** Names of volumes that are to be freed from their deleted claim. */
  freed: Set<string>;
}

/** Instead of a digest: the object is going away. */
export const DELETING = "deleting";
/** Instead of a digest: the object surely says what the backup says. */
export const ALIKE = "alike";

const LISTS_AT_ONCE = 4;
const SCALERS = "horizontalpodautoscalers.autoscaling";

/** A live object that was listed. */
export interface Live {
  /** A group-resource string. */
  resource: string;
  /** Without annotations and managedFields. */
  metadata: KubernetesObject["metadata"];
  body: Buffer;
}

/** What else is looked for in the target: that the backup doesn't hold (extras.ts), or what is to be undone (remains.ts). */
export interface Extras {
  /** Resources that are listed although nothing of them may be restored; of all namespaces or of one. */
  resources: Resource[];
  namespace?: string;
  /** Gets each live object that is listed, with its place where it is an item's; Namespaces come first. */
  saw(live: Live, place: number | undefined, target: Target): void;
  /** Waits, once all is listed, for what is about to change by itself, and corrects the target. */
  settle?(context: Waiting & { served: Served; target: Target }): Promise<void>;
  /** What is to be deleted, in the order of its ranks, and what to tell the user. */
  found(context: {
    kube: Kube;
    served: Served;
    target: Target;
    signal: AbortSignal;
  }): Promise<{ steps: PlannedStep[]; warnings: string[] }>;
}

interface Reading extends Waiting {
  /** The restore's. */
  name: string;
  served: Served;
  survey: RestoreSurvey;
  /** The spec's: autoscalers decide on nothing that is scaled to zero. */
  scaleTo?: number;
  extras?: Extras;
  /** As that of `CompareFacts`. */
  exact?: boolean;
  hooks?: RestoreHookRule[];
  /** As that of `CompareFacts`. */
  snapshotSizes?: CompareFacts["snapshotSizes"];
  /** Whether a live object surely says what the restore would make of the item. */
  alike: (item: Item, live: Buffer) => boolean;
  log: (level: "info" | "warning", message: string, fields?: Record<string, string | number>) => void;
}

/** How far the listing of the target has got. */
export interface ListedTarget {
  target: Target;
  /** The revision at which lists are asked for, once one is known. */
  revision?: string;
  /** Namespaces that were going away are gone. */
  settled?: boolean;
  /** The lists that are read, by their keys; and where those go on that are begun. */
  read: Set<string>;
  begun: Map<string, ListPosition>;
}

/** Of a target nothing is known yet. */
export function nothingListed(): ListedTarget {
  const target: Target = {
    digests: new Map(),
    nodePorts: new Map(),
    revisions: new Map(),
    uids: new Map(),
    others: new Map(),
    clashes: new Map(),
    blocked: new Map(),
    unlisted: new Map(),
    namespaces: new Set(),
    clusterUid: "",
    ending: new Set(),
    nodes: new Set(),
    zones: new Set(),
    unfilled: new Set(),
    labelled: new Map(),
    warnings: [],
    volumes: new Map(),
    waiting: new Set(),
    scaled: new Set(),
    freed: new Set(),
  };
  return { target, read: new Set(), begun: new Map() };
}

/**
 * Lists what the target has of the items, from where `listed` has got to, and notes it there; until it is `over`, after a page
 * at least. Resolves with the target once all is read. Throws where the server can't be reached; a list that is refused is data.
 */
export async function readTarget(
  reading: Reading,
  listed = nothingListed(),
  over = () => false,
): Promise<Target | undefined> {
  const { exact, hooks, snapshotSizes } = reading;
  const target: Target = Object.assign(listed.target, { exact, hooks, snapshotSizes });
  const lists = [...listsOf(reading, target)].map(([key, list]) => ({ ...list, key }));
  const isFact = ({ resource }: List) => resourceKey(resource) in FACTS;
  const isNamespaces = ({ resource }: List) => resourceKey(resource) === NAMESPACES;
  let pages = 0;
  const isOver = () => pages > 0 && over();
  const read = async (some: typeof lists) => {
    const left = some.filter(({ key }) => !listed.read.has(key));
    await inParallel(left, async (list) => {
      if (isOver()) return;
      const { key } = list;
      const paged = (next: ListPosition | undefined) => {
        pages++;
        if (next) listed.begun.set(key, next);
        return next !== undefined && isOver();
      };
      const { revision, ended } = await readList(reading, listed, list, paged);
      listed.revision ??= revision;
      if (!ended) return;
      listed.read.add(key);
      listed.begun.delete(key);
    });
    return left.every(({ key }) => listed.read.has(key));
  };
  if (!(await read(lists.filter(isNamespaces)))) return undefined;
  if (!listed.settled) {
    if (await awaitEnding(reading, target)) listed.revision = undefined;
    listed.settled = true;
  }
  if (!(await read(lists.filter((list) => isFact(list) && !isNamespaces(list))))) return undefined;
  // The longest first: a list that is begun last is read alone, with the server idle between its pages.
  const others = lists.filter((list) => !isFact(list)).sort((one, other) => other.places.size - one.places.size);
  return (await read(others)) ? target : undefined;
}

/** Waits for Namespaces to be gone that are being deleted and needed again; then nothing in them exists. Whether there were any. */
async function awaitEnding(reading: Reading, target: Target): Promise<boolean> {
  const wanted = new Set(reading.survey.items.map(({ namespace }) => namespace));
  const awaited = [...target.ending].filter((name) => wanted.has(name));
  await inParallel(awaited, async (name) => {
    reading.log("warning", "Waiting for a namespace that is being deleted", { namespace: name });
    const reason = await namespaceGone(reading, name);
    if (reason) target.blocked.set(`${NAMESPACES}/${name}`, reason);
    else target.namespaces.delete(name);
  });
  for (const [place, { entry, name }] of reading.survey.items.entries()) {
    if (entry.resource === NAMESPACES && target.ending.has(name) && !target.namespaces.has(name))
      target.digests.delete(place);
  }
  return awaited.length > 0;
}

/** One LIST: a resource in one version, of one namespace where the items lie in one. */
interface List {
  resource: Resource;
  namespace: string | undefined;
  /** Items by "namespace/name" in the target, in archive order. */
  places: Map<string, number>;
}

function listsOf({ survey, served, extras }: Reading, target: Target): Map<string, List> {
  const lists = new Map<string, List>();
  const listOf = (resource: Resource, namespace: string | undefined) => {
    const key = `${resourceKey(resource)} ${resource.version}`;
    const known = lists.get(key);
    if (known && known.namespace !== namespace) known.namespace = undefined;
    const list = known ?? { resource, namespace, places: new Map() };
    lists.set(key, list);
    return list;
  };
  const present = new Set<string>();
  for (const [place, item] of survey.items.entries()) {
    present.add(item.entry.resource);
    const resource = served.find(item);
    if (!resource || neverRestored(item.entry.resource)) continue;
    const list = listOf(resource, item.namespace || undefined);
    const key = `${item.namespace}/${item.name}`;
    const other = list.places.get(key);
    if (other === undefined) list.places.set(key, place);
    else target.clashes.set(place, nameOf(survey, other));
  }
  for (const resource of extras?.resources ?? []) {
    const listed = [...lists.values()].find((list) => resourceKey(list.resource) === resourceKey(resource));
    const list = listed ?? listOf(resource, extras?.namespace);
    if (list.namespace !== extras?.namespace) list.namespace = undefined;
  }
  for (const [key, { neededBy }] of Object.entries(FACTS)) {
    const resource = served.preferred(key);
    const listed = [...lists.values()].find((list) => resourceKey(list.resource) === key);
    if (resource && (listed || !neededBy || neededBy.some((one) => present.has(one))))
      (listed ?? listOf(resource, undefined)).namespace = undefined;
  }
  return lists;
}

function nameOf({ items }: RestoreSurvey, place: number): string {
  const { namespace, name } = items[place]!.entry;
  return namespace ? `${namespace}/${name}` : name;
}

/** Lists that tell more than their objects' digests; they are read first, where one of `neededBy` is restored. */
const FACTS: Record<string, { neededBy?: string[]; note: (object: KubernetesObject, target: Target) => void }> = {
  [NAMESPACES]: {
    note: ({ metadata }, target) => {
      target.namespaces.add(metadata.name);
      if (metadata.deletionTimestamp) target.ending.add(metadata.name);
      if (metadata.name === "kube-system") target.clusterUid = metadata.uid ?? "";
    },
  },
  nodes: {
    neededBy: ["daemonsets.apps", "pods", VOLUMES],
    note: (node, target) => {
      const { name, labels } = node.metadata;
      target.nodes.add(name);
      const zone = labels?.["topology.kubernetes.io/zone"];
      if (zone) target.zones.add(zone);
      const id = at(node, "spec", "providerID");
      if (typeof id === "string") target.providerId ??= id;
    },
  },
  [VOLUMES]: {
    neededBy: [CLAIMS],
    note: (object, { volumes }) => volumes.set(object.metadata.name, readVolume(object)),
  },
  [SCALERS]: {
    neededBy: ["deployments.apps", "statefulsets.apps", "replicasets.apps", "replicationcontrollers"],
    note: (object, { scaled }) => {
      const { kind, name } = fieldsAt(object, "spec", "scaleTargetRef") ?? {};
      scaled?.add(scaledKey(kind, object.metadata.namespace, name));
    },
  },
};

/**
 * Reads one LIST, from where it was begun, at the revision where one is given and the server has it: it need not ask etcd then how
 * new its own state is. `paged` hears of each page, where the next one begins, and says whether to stop. Gives the list's
 * revision, and whether it was read to its end.
 */
async function readList(
  { kube, survey, extras, signal, log, scaleTo, alike, ...reading }: Reading,
  { target, revision, begun }: ListedTarget,
  { resource, namespace, places, key: listKey }: List & { key: string },
  paged: (next: ListPosition | undefined) => boolean,
): Promise<{ revision?: string; ended: boolean }> {
  const key = resourceKey(resource);
  const note = FACTS[key]?.note;
  const digestOf = (object: KubernetesObject, place: number) => {
    const ports = key === SERVICES ? nodePorts(object) : undefined;
    if (ports?.size) target.nodePorts.set(place, ports);
    return digest(comparable(object, key, target));
  };
  const mayBeFreed = (name: string) => key === VOLUMES && target.volumes.get(name)?.released;
  const from = begun.get(listKey);
  try {
    const noticing = noticingBackends(kube);
    const pages = (listing: Listing) =>
      revision === undefined
        ? listPages(noticing, resource, { namespace, from, signal })
        : photograph(noticing, revision, { signal }).pages(listing, from);
    let found: string | undefined;
    for await (const { element: page } of readAhead([{ resource, namespace }], pages, 1)) {
      found ??= page.resourceVersion;
      for (const body of page.items) {
        if (key !== SCALERS || scaleTo !== 0) note?.(parseExact(body) as KubernetesObject, target);
        const metadata = metadataOf(body) as KubernetesObject["metadata"];
        const { namespace = "", name, uid, resourceVersion = "", deletionTimestamp, labels } = metadata;
        const place = places.get(`${namespace}/${name}`);
        extras?.saw({ resource: key, metadata, body }, place, target);
        if (place === undefined) continue;
        const filling = key === CLAIMS ? fillingOf(body) : undefined;
        if (filling === reading.name) {
          target.unfilled.add(`${namespace}/${name}`);
          continue;
        }
        if (filling !== undefined) {
          target.others.set(
            place,
            `restore "${filling}" has not brought all of its data: run that again, or delete it`,
          );
          target.digests.set(place, FILLING);
          continue;
        }
        const carries = [CLAIMS, VOLUMES].includes(key) && labels?.[RESTORE_NAME] === labelValue(reading.name);
        if (carries && !deletionTimestamp)
          target.labelled.set(place, String(at(parseExact(body), "spec", "volumeName") ?? ""));
        if (uid && !deletionTimestamp && survey.owns(place)) target.uids.set(place, uid);
        if (key === CLAIMS && !deletionTimestamp && waits(parseExact(body) as KubernetesObject))
          target.waiting.add(`${namespace}/${name}`);
        if (deletionTimestamp) target.digests.set(place, DELETING);
        else if (!mayBeFreed(name) && alike(survey.items[place]!, body)) target.digests.set(place, ALIKE);
        else {
          target.digests.set(place, digestOf(parseExact(body) as KubernetesObject, place));
          target.revisions.set(place, resourceVersion);
        }
      }
      if (page.items[0]) release(page.items[0]);
      if (paged(page.next)) return { revision: found, ended: false };
    }
    return { revision: found, ended: true };
  } catch (error) {
    await throwIfGone(kube, error, signal);
    const later = error instanceof BackendDown && !(key in FACTS);
    (later ? target.unlisted : target.blocked).set(key, `the target's ${key} can't be listed: ${messageOf(error)}`);
    if (key === SCALERS && scaleTo !== 0) {
      target.scaled = undefined;
      target.warnings.push(`replicas are left as they are where objects exist: ${target.blocked.get(key)}`);
    }
    log("warning", "A list was refused", { resource: key, error: messageOf(error) });
    return { ended: true };
  }
}

/** The restore that brings the data of a claim, or died before they were all there; undefined where none does. */
function fillingOf(claim: Buffer): string | undefined {
  if (!claim.includes(FILLING)) return undefined;
  return (metadataOf(claim, []) as KubernetesObject["metadata"]).annotations?.[FILLING];
}

async function inParallel<T>(all: T[], task: (one: T) => Promise<void>): Promise<void> {
  const left = all.values();
  await Promise.all(
    Array.from({ length: LISTS_AT_ONCE }, async () => {
      for (const one of left) await task(one);
    }),
  );
}
