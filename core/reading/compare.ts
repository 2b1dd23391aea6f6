import type { IndexEntry } from "../archive/index.ts";
import { type ItemId, itemPath, type KubernetesObject } from "../archive/item.ts";
import { entryTrimmer } from "../archive/trim.ts";
import { LifeboatError } from "../errors.ts";
import { parseExact } from "../kube/json.ts";
import { type Resource, resourceKey } from "../kube/resource.ts";
import { meant } from "../nearest.ts";
import { type FieldChange, fieldChanges } from "../objects/diff.ts";
import type { Fields } from "../objects/fields.ts";
import { NAMESPACES } from "../objects/resources.ts";
import { type CompareFacts, comparable, digest } from "../restore/plan/comparable.ts";
import { readFilters, unserved } from "../restore/selection.ts";
import { matchesSelector, nameFilter, resourceFilter } from "../select.ts";
import type { FilterSpec } from "../specs.ts";
import type { Side } from "./sides.ts";

/** From the one state, and in the other. */
export type Pair<T> = [from: T, to: T];

/** What of two states is compared. */
export interface Comparing {
  filters: FilterSpec;
  /** Only this object. */
  only?: ItemId;
  /** Resources that filters may name, beside those of the objects. */
  resources: Resource[];
  /** Namespaces that there are although no side has anything of them. */
  namespaces?: string[];
}

/** What came of it. Entries are without images. */
export interface Compared {
  added: IndexEntry[];
  removed: IndexEntry[];
  changed: Pair<IndexEntry>[];
  same: number;
  /** What one side doesn't tell of what the other has. */
  warnings: string[];
  facts: CompareFacts;
}

/**
 * Compares two states object by object, by what people wrote. Of what has the same likeness, or the very same bytes,
 * nothing is read; of all else the bodies are compared canonically. Held are the first side's entries, and no bodies. An object that only one side has is
 * told only where the other would have it. Throws `missing` for filters that name what neither has.
 */
export async function compare(sides: Pair<Side>, comparing: Comparing): Promise<Compared> {
  const { filters, only } = comparing;
  const seen = startSeen(comparing);
  const { takesResource, takesPlace } = readFilters(filters, comparing.resources);
  const takes = (entry: IndexEntry) =>
    only ? itemPath(entry) === itemPath(only) : takesResource(entry) && takesPlace(entry);
  /** By label both of a pair, or none. */
  const selects = (...entries: IndexEntry[]) => {
    const { labelSelector } = filters;
    return !labelSelector || entries.some(({ labels }) => matchesSelector(labelSelector, labels));
  };

  const small = entryTrimmer({ labels: true });
  const before = new Map<string, IndexEntry>();
  for await (const { entry } of sides[0].objects({ resource: takesResource, only })) {
    seen.add(entry);
    if (takes(entry)) before.set(itemPath(entry), small(entry));
  }
  const held = new Set([...before.values()].map(({ resource }) => resource));
  const facts = await factsOf(sides, only?.namespace);

  let same = 0;
  const added: IndexEntry[] = [];
  const unlike: Unlike[] = [];
  for await (const { entry, body } of sides[1].objects({ resource: takesResource, only, held })) {
    seen.add(entry);
    if (!takes(entry)) continue;
    const was = before.get(itemPath(entry));
    before.delete(itemPath(entry));
    if (!was) {
      if (selects(entry)) added.push(small(entry));
    } else if (selects(was, entry)) {
      if (isAlike(was, entry)) same++;
      else unlike.push({ pair: [was, small(entry)], digest: body && digestOf(body, entry, facts) });
    }
  }
  const removed = [...before.values()].filter((entry) => selects(entry));
  seen.refuseUnmatched();

  const changed = await differing(unlike, sides, facts);
  const resources = seen.resources();
  const [wereAbsent, areAbsent] = [sides[0].absence(resources), sides[1].absence(resources)];
  const warning = (side: Side, why: string, count: number) =>
    count
      ? [
          `${side.name} doesn't tell whether ${count === 1 ? "one more object was" : `${count} more objects were`} there: ${why}`,
        ]
      : [];
  const told = { added: added.filter(wereAbsent.tells), removed: removed.filter(areAbsent.tells) };
  return {
    ...told,
    changed,
    same: same + unlike.length - changed.length,
    warnings: [
      ...warning(sides[0], wereAbsent.why, added.length - told.added.length),
      ...warning(sides[1], areAbsent.why, removed.length - told.removed.length),
    ],
    facts,
  };
}

/** The fields in which pairs differ, in their order; undefined where one of the two is gone meanwhile. */
export async function* fieldsOf(
  pairs: Pair<IndexEntry>[],
  sides: Pair<Side>,
  facts: CompareFacts,
): AsyncGenerator<FieldChange[] | undefined> {
  const others = sides[1].bodies(pairs.map(([, to]) => to))[Symbol.asyncIterator]();
  const resources = pairs.values();
  for await (const from of sides[0].bodies(pairs.map(([from]) => from))) {
    const { value: to } = (await others.next()) as { value: Buffer | undefined };
    const { resource } = resources.next().value![0];
    yield from && to && changesOf(from, to, resource, facts);
  }
}

/** The fields in which two bodies of an object differ, but for what isn't its author's. */
export function changesOf(from: Buffer, to: Buffer, resource: string, facts: CompareFacts): FieldChange[] {
  return fieldChanges(comparableOf(from, resource, facts), comparableOf(to, resource, facts), resource);
}

/** A digest of what a body says: equal for those that say the same. */
export function digestOf(body: Buffer, { resource }: Pick<IndexEntry, "resource">, facts: CompareFacts): string {
  return digest(comparableOf(body, resource, facts));
}

/** Whether two surely say the same, as far as indexes tell. */
export function isAlike(one: IndexEntry, other: IndexEntry): boolean {
  return (one.likeness !== undefined && one.likeness === other.likeness) || one.sha256 === other.sha256;
}

/** What comparing knows of two states. Node ports are told as they are: of one cluster nobody but people changes them. */
export async function factsOf(sides: Pair<Pick<Side, "scaled">>, namespace?: string): Promise<CompareFacts> {
  const [one, other] = await Promise.all(sides.map((side) => side.scaled(namespace)));
  return { scaled: one && other && new Set([...one, ...other]), askedPorts: { has: () => true } };
}

function comparableOf(body: Buffer, resource: string, facts: CompareFacts): Fields {
  return comparable(parseExact(body) as KubernetesObject, resource, facts);
}

/** Two that aren't surely the same; `digest` is the second one's, where its body was at hand. */
interface Unlike {
  pair: Pair<IndexEntry>;
  digest?: string;
}

async function differing(unlike: Unlike[], sides: Pair<Side>, facts: CompareFacts): Promise<Pair<IndexEntry>[]> {
  const froms = await digestsOf(
    unlike.map(({ pair: [from] }) => from),
    sides[0],
    facts,
  );
  const unknown = unlike.filter(({ digest }) => digest === undefined);
  const tos = await digestsOf(
    unknown.map(({ pair: [, to] }) => to),
    sides[1],
    facts,
  );
  return unlike
    .filter(({ pair: [from, to], digest = tos.get(to) }) => froms.get(from) !== digest)
    .map(({ pair }) => pair);
}

/** In the archive's order, so that each segment is read once. */
async function digestsOf(entries: IndexEntry[], side: Side, facts: CompareFacts): Promise<Map<IndexEntry, string>> {
  const sorted = entries.toSorted((a, b) => a.segment - b.segment || a.offset - b.offset);
  const digests = new Map<IndexEntry, string>();
  const next = sorted.values();
  for await (const body of sorted.length ? side.bodies(sorted) : []) {
    const entry = next.next().value!;
    if (body) digests.set(entry, digestOf(body, entry, facts));
  }
  return digests;
}

/** The resource of an item, as far as that tells. */
export function resourceOf({
  resource,
  kind,
  namespace,
}: Pick<IndexEntry, "resource" | "kind" | "namespace">): Resource {
  return { ...unserved(resource, kind), version: "", namespaced: !!namespace, verbs: [], preferred: true };
}

/** Keeps account of the namespaces and resources that there are. */
function startSeen({ filters, resources: known, namespaces: named = [], only }: Comparing) {
  const namespaces = new Set(named);
  const others = new Map<string, Resource>();
  const resources = () => [...known, ...others.values()];
  return {
    add({ resource, kind, namespace, name }: IndexEntry) {
      if (namespace || resource === NAMESPACES) namespaces.add(namespace || name);
      if (others.has(resource)) return;
      others.set(resource, resourceOf({ resource, kind, namespace }));
    },
    resources,
    /** A typing error must not pass for a state in which nothing was changed. */
    refuseUnmatched() {
      if (only) return;
      const { includedNamespaces = [], includedResources = [] } = filters;
      const holdsNamespace = (name: string) => [...namespaces].some(nameFilter([name], []));
      const holdsResource = (name: string) => [...others.values()].some(resourceFilter([name], [], resources()));
      const refuse = (what: string, name: string, names: string[]) => {
        const near = meant(name, names);
        const hint = near && `did you mean ${near}?`;
        throw new LifeboatError("missing", `neither of the two holds anything of the ${what} "${name}"`, { hint });
      };
      const namespace = includedNamespaces.find((name) => name !== "*" && !holdsNamespace(name));
      if (namespace !== undefined) refuse("namespace", namespace, [...namespaces]);
      const resource = includedResources.find((name) => name !== "*" && !holdsResource(name));
      if (resource !== undefined)
        refuse(
          "resource",
          resource,
          resources().flatMap((one) => [one.name, ...one.shortNames, resourceKey(one)]),
        );
    },
  };
}
