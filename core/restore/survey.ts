import type { IndexEntry } from "../archive/index.ts";
import type { Archive } from "../archive/reader.ts";
import { entryTrimmer } from "../archive/trim.ts";
import { type Backup, encryptedPart } from "../catalog.ts";
import { LifeboatError } from "../errors.ts";
import type { Resource } from "../kube/resource.ts";
import { at, entriesOf, fieldsAt } from "../objects/fields.ts";
import { CLAIMS, DEFINITIONS, NAMESPACES, PRIORITY_CLASSES, SERVICES, VOLUMES } from "../objects/resources.ts";
import { inServedVersions } from "./apiversions.ts";
import { type FixContext, targetName, targetNamespace } from "./fixes.ts";
import type { Selection } from "./selection.ts";
import { checkMapping } from "./spec.ts";
import { compactUid } from "./uid.ts";
import { adopts } from "./write/adoptions.ts";
import { type Before, ranks } from "./write/ranks.ts";
import { waveOf } from "./write/waves.ts";

/** One item of the restore, small: the backup's bodies are never kept. */
export interface Item {
  /** Where its body lies; of the facts only `kind` and `apiVersion` are kept. */
  entry: IndexEntry;
  /** In the target. */
  namespace: string;
  name: string;
  /** It isn't selected, but a selected one can't be without it: it is created where it is missing, and else left alone. */
  needed: boolean;
}

/** What a restore takes out of the backup. Items are known by their place in `items`. */
export interface RestoreSurvey {
  /** In archive order. */
  items: Item[];
  /** Items of lower ranks are restored first. */
  ranks: Int32Array;
  /** Of items that own others, by their compact UID in the source. */
  owners: Map<string, number>;
  /** Whether others refer to the item as their owner, so that its UID in the target matters. */
  owns(place: number): boolean;
  /** From a child to the owner whose controller adopts it. */
  keepers: Map<number, number>;
  /** Resources that are custom ones and whose definition takes part. */
  definitions: Set<string>;
  /** "namespace/name", in the source, of Services with a selector, as far as their Endpoints don't say who made them. */
  selectingServices: Set<string>;
  /** What the filters include and the backup doesn't hold: a typing error must not pass for a restore. */
  errors: string[];
  /** What they exclude and the backup doesn't hold. */
  warnings: string[];
}

/**
 * Reads the backup's index, as far as what is asked for may stand in it, decides what takes part and in which order;
 * `resources` are those of the target; `backup`: the record, which tells what the archive that could be opened lacks; `volumeClones`:
 * as of a `FixContext`. Throws `corrupt` for a damaged backup, `invalid` where `namespaceMapping` maps a namespace that the backup
 * doesn't hold.
 */
export async function surveyArchive(
  archive: Archive,
  selection: Selection,
  { namespaceMapping, volumeClones }: Pick<FixContext, "namespaceMapping" | "volumeClones">,
  resources: Resource[],
  backup?: Backup,
): Promise<RestoreSurvey> {
  const narrow = Object.keys(namespaceMapping).length ? undefined : selection.within;
  let choice = await choose(archive, selection, narrow);
  if (narrow && selection.missing()) choice = await choose(archive, selection);
  const { spare, services, unlabelled, namespaces, kinds } = choice;
  const taken = await inServedVersions(choice.taken, archive, resources);
  const missing = selection.missing();
  if (missing) {
    const { item, near } = missing;
    throw new LifeboatError("missing", `the backup doesn't hold "${item}"`, {
      hint: near.length ? `it holds ${near.join(", ")}` : "its objects: lifeboat backup describe NAME --details",
    });
  }
  checkMapping(namespaceMapping, namespaces);
  if (backup && encryptedPart(backup) === "secrets") kinds.set("secrets", "Secret");
  const { included: errors, excluded: warnings } = selection.unmatched(namespaces, kinds);
  const chosen = taken.map((entry) => ({ entry, needed: false }));
  for (const entry of await neededOf(archive, taken, spare)) chosen.push({ entry, needed: true });
  chosen.sort((a, b) => a.entry.segment - b.entry.segment || a.entry.offset - b.entry.offset);

  const { order, owners, keepers } = kinship(chosen.map(({ entry }) => entry));
  const owning = new Set(owners.values());
  const waves = chosen.map(({ entry }) => waveOf(entry.resource));
  return {
    items: chosen.map(({ entry, needed }) => ({
      entry: Object.assign(entry, { uid: "", owners: NONE }),
      namespace: targetNamespace(entry.namespace, { namespaceMapping }),
      name: targetName(entry, { namespaceMapping, volumeClones }),
      needed,
    })),
    ranks: ranks(waves, order),
    owners,
    owns: (place) => owning.has(place),
    keepers,
    definitions: new Set(chosen.filter(({ entry }) => entry.resource === DEFINITIONS).map(({ entry }) => entry.name)),
    selectingServices: await selecting(archive, services, unlabelled),
    errors,
    warnings,
  };
}

/**
 * The entries that are taken, those that may be needed by them, all Services, which Endpoints don't say who made them;
 * and all namespaces and resources (with their kinds) of the backup.
 */
async function choose(archive: Archive, selection: Selection, within?: string[]) {
  const trimmed = entryTrimmer();
  const taken: IndexEntry[] = [];
  const spare: IndexEntry[] = [];
  const services: IndexEntry[] = [];
  const unlabelled = new Set<string>();
  const namespaces = new Set<string>();
  const kinds = new Map<string, string>();
  for await (const entry of archive.entries(undefined, { within })) {
    const { resource, namespace, name, labels } = entry;
    const small = trimmed(entry);
    kinds.set(small.resource, small.kind);
    if (namespace) namespaces.add(small.namespace);
    if (resource === NAMESPACES) namespaces.add(name);
    if (selection.takes(entry)) taken.push(small);
    else if (selection.mayNeed(entry)) spare.push(small);
    if (resource === SERVICES) services.push(small);
    if (resource === "endpoints" && !labels["endpoints.kubernetes.io/managed-by"])
      unlabelled.add(`${namespace}/${name}`);
  }
  return { taken, spare, services, unlabelled, namespaces, kinds };
}

/**
 * Which spare entries taken ones can't be without: the Namespaces they live in, the definitions of custom resources,
 * claims and priority classes of Pods, volumes bound to claims (Velero's additional items, velero-format: 5.7).
 */
async function neededOf(archive: Archive, taken: IndexEntry[], spare: IndexEntry[]): Promise<IndexEntry[]> {
  if (spare.length === 0) return [];
  const wanted = new Set<string>();
  for (const { resource, namespace } of taken) {
    wanted.add(`${DEFINITIONS} /${resource}`);
    if (namespace) wanted.add(`${NAMESPACES} /${namespace}`);
  }
  if (spare.some(({ resource }) => resource === CLAIMS || resource === PRIORITY_CLASSES)) {
    for await (const { entry, object: pod } of objects(
      archive,
      taken.filter(({ resource }) => resource === "pods"),
    )) {
      wanted.add(`${PRIORITY_CLASSES} /${at(pod, "spec", "priorityClassName")}`);
      for (const volume of entriesOf(pod, "spec", "volumes")) {
        wanted.add(`${CLAIMS} ${entry.namespace}/${at(volume, "persistentVolumeClaim", "claimName")}`);
      }
    }
  }
  const claims = new Set(taken.filter(({ resource }) => resource === CLAIMS).map(idOf));
  for (const entry of spare) if (entry.resource === CLAIMS && wanted.has(idOf(entry))) claims.add(idOf(entry));
  if (claims.size) {
    for await (const { entry, object: volume } of objects(
      archive,
      spare.filter(({ resource }) => resource === VOLUMES),
    )) {
      const claim = fieldsAt(volume, "spec", "claimRef");
      if (at(volume, "status", "phase") !== "Bound" || !claims.has(`${CLAIMS} ${claim?.namespace}/${claim?.name}`))
        continue;
      wanted.add(`${VOLUMES} /${entry.name}`);
    }
  }
  return spare.filter((entry) => wanted.has(idOf(entry)));
}

function idOf({ resource, namespace, name }: IndexEntry): string {
  return `${resource} ${namespace}/${name}`;
}

/** Who comes before whom, and why: owners before what they own, adopted children before their owner. */
function kinship(entries: IndexEntry[]): {
  order: Before[];
  owners: RestoreSurvey["owners"];
  keepers: RestoreSurvey["keepers"];
} {
  const asked = new Set(entries.flatMap(({ owners }) => owners));
  const owners: RestoreSurvey["owners"] = new Map();
  for (const [place, { uid }] of entries.entries()) if (asked.has(uid)) owners.set(compactUid(uid), place);
  const order: Before[] = [];
  const keepers: RestoreSurvey["keepers"] = new Map();
  for (const [child, entry] of entries.entries()) {
    for (const uid of entry.owners) {
      const owner = owners.get(compactUid(uid));
      if (owner === undefined) continue;
      if (adopts(entries[owner]!.resource, entry.resource)) {
        order.push({ early: child, late: owner });
        keepers.set(child, owner);
      } else order.push({ early: owner, late: child });
    }
  }
  return { order: [...order, ...containment(entries)], owners, keepers };
}

/**
 * Definitions and Namespaces come before what they hold by their waves already, unless they have owners themselves,
 * which may put them later (Crossplane's definitions, Capsule's Namespaces).
 */
function containment(entries: IndexEntry[]): Before[] {
  const holders = new Map<string, number>();
  for (const [place, entry] of entries.entries()) {
    if (entry.owners.length && [DEFINITIONS, NAMESPACES].includes(entry.resource)) holders.set(idOf(entry), place);
  }
  if (holders.size === 0) return [];
  return entries.flatMap(({ resource, namespace }, late) =>
    [holders.get(`${DEFINITIONS} /${resource}`), holders.get(`${NAMESPACES} /${namespace}`)]
      .filter((early) => early !== undefined)
      .map((early) => ({ early, late })),
  );
}

/** Servers before 1.33 don't label the Endpoints that the controller makes: then it takes the Service to know. */
async function selecting(archive: Archive, services: IndexEntry[], unlabelled: Set<string>): Promise<Set<string>> {
  const found = new Set<string>();
  const asked = services.filter(({ namespace, name }) => unlabelled.has(`${namespace}/${name}`));
  for await (const { entry, object } of objects(archive, asked)) {
    if (Object.keys(fieldsAt(object, "spec", "selector") ?? {}).length) found.add(`${entry.namespace}/${entry.name}`);
  }
  return found;
}

async function* objects(
  archive: Archive,
  entries: IndexEntry[],
): AsyncGenerator<{ entry: IndexEntry; object: unknown }> {
  for await (const { entry, body } of archive.read(entries, { passing: true }))
    yield { entry, object: JSON.parse(body.toString("utf8")) };
}

const NONE: string[] = [];
