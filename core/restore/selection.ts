import type { IndexEntry } from "../archive/index.ts";
import { type ItemId, itemPath, itemsPath } from "../archive/item.ts";
import { LifeboatError } from "../errors.ts";
import { type Resource, resourceKey } from "../kube/resource.ts";
import { nearest, suggestion } from "../nearest.ts";
import { CLAIMS, DEFINITIONS, NAMESPACES, PRIORITY_CLASSES, VOLUMES } from "../objects/resources.ts";
import {
  checkOneSelector,
  includesAll,
  matchesSelector,
  nameFilter,
  parseItem,
  resolveResource,
  resourceFilter,
} from "../select.ts";
import { neverRestored } from "../skips.ts";
import type { FilterSpec } from "../specs.ts";
import type { RestoreSpec } from "./spec.ts";

/** As much of an item, or of a live object, as filters look at. */
export type Selectable = Pick<IndexEntry, "resource" | "kind" | "namespace" | "name" | "labels">;

/** Which items of a backup a restore takes. Namespaces, resources and labels are those of the backup. */
export interface Selection {
  /** Whether the spec's filters take the item itself. */
  takes(entry: Selectable): boolean;
  /** Whether the item comes along where a taken one can't be without it, though the filters don't take it. */
  mayNeed(entry: IndexEntry): boolean;
  /**
   * How the paths begin, in the archive, of all that may be taken or needed; undefined where that may lie anywhere. It
   * doesn't go for what the target names otherwise than the backup: then an item is `missing`.
   */
  within?: string[];
  /** The first item asked for by its name that no entry was, and names like it, once all entries have been asked about. */
  missing(): { item: string; near: string[] } | undefined;
  /** A line for each include that matches none of the backup's namespaces or resources (with their kinds). */
  unmatched(namespaces: Set<string>, kinds: Map<string, string>): { included: string[]; excluded: string[] };
}

/**
 * Reads the filters of a restore as Velero does (velero-format: 5.4), with two differences: excluding a namespace
 * leaves cluster-scoped objects in, and Namespaces are restored for themselves, not only for what is in them.
 * `resources` are those of the target; names that only the backup knows are resolved by its items' kinds. Throws
 * `invalid` for filters that contradict themselves and for resources that are never restored (skips.ts; Velero refuses
 * most of them too, velero-format: 5.1).
 */
export function selection(spec: RestoreSpec, resources: Resource[]): Selection {
  const { includedResources, excludedResources, labelSelector, orLabelSelectors = [] } = spec;
  checkOneSelector(labelSelector, spec.orLabelSelectors);
  const selectors = labelSelector ? [labelSelector] : orLabelSelectors;
  const items = spec.includedItems && namedItems(spec.includedItems, resources);
  const asked = includedResources?.find((name) => neverRestored(resolveResource(name, resources)));
  if (asked) throw new LifeboatError("invalid", `includedResources: ${asked} are never restored`);
  for (const selector of selectors) matchesSelector(selector);

  const { takesNamespace, takesResource, takesPlace } = readFilters(spec, resources);
  const notExcluded = perResource((known) => resourceFilter(undefined, excludedResources, known), resources);

  return {
    takes(entry) {
      if (items && !items.take(entry)) return false;
      if (!takesResource(entry)) return false;
      if (selectors.length && !selectors.some((selector) => matchesSelector(selector, entry.labels))) return false;
      return takesPlace(entry);
    },
    mayNeed(entry) {
      if (entry.resource === NAMESPACES) return true;
      if (entry.resource === CLAIMS) return takesResource(entry) && takesNamespace(entry.namespace);
      if (spec.includeClusterResources === false) return false;
      if (entry.resource === DEFINITIONS) return notExcluded(entry);
      return (entry.resource === VOLUMES || entry.resource === PRIORITY_CLASSES) && takesResource(entry);
    },
    within: limits(spec) ? undefined : items?.within,
    missing: () => items?.missing(),
    unmatched(namespaces, kinds) {
      const items = [...kinds].map(([resource, kind]) => ({ resource, kind }));
      const holdsNamespace = (name: string) => [...namespaces].some(nameFilter([name], []));
      const holdsResource = (name: string) =>
        items.some(perResource((known) => resourceFilter([name], [], known), resources));
      const missing = (field: string, names: string[] = [], held: string[], holds: (name: string) => boolean) =>
        names
          .filter((name) => name !== "*" && !holds(name))
          .map((name) => `${field}: the backup doesn't hold "${name}"${suggestion(name, held)}`);
      const [heldNamespaces, heldResources] = [[...namespaces].filter(Boolean), [...kinds.keys()]];
      return {
        included: [
          ...missing("includedNamespaces", spec.includedNamespaces, heldNamespaces, holdsNamespace),
          ...missing("includedResources", includedResources, heldResources, holdsResource),
        ],
        excluded: [
          ...missing("excludedNamespaces", spec.excludedNamespaces, heldNamespaces, holdsNamespace),
          ...missing("excludedResources", spec.excludedResources, heldResources, holdsResource),
        ],
      };
    },
  };
}

/**
 * What filters take of a backup's objects, by their names: Velero's fields, and `resources` that their names may be of; what
 * none of these is, is known by the kind of its items.
 */
export function readFilters(spec: FilterSpec, resources: FilterResources) {
  const { includedResources, excludedResources, includedNamespaces, excludedNamespaces } = spec;
  const takesNamespace = nameFilter(includedNamespaces, excludedNamespaces);
  const takesClusterScoped = spec.includeClusterResources ?? includesAll(includedNamespaces);
  return {
    takesNamespace,
    takesResource: perResource((known) => resourceFilter(includedResources, excludedResources, known), resources),
    /** By its namespace, of a Namespace by its name, or as it lies in none. */
    takesPlace: ({ resource, namespace, name }: ItemId): boolean => {
      if (namespace) return takesNamespace(namespace);
      return resource === NAMESPACES ? takesNamespace(name) : takesClusterScoped;
    },
  };
}

/** The objects that are asked for by name: by what the target calls their resource, or the entry's own resource and kind. */
function namedItems(texts: string[], resources: Resource[]) {
  const wanted = texts.map((text) => {
    const item = parseItem(text);
    return { text, ...item, served: resolveResource(item.resource, resources), found: false };
  });
  const names = new Set<string>();
  const exact = wanted.every(({ served }) => resources.some((resource) => resourceKey(resource) === served));
  return {
    within: exact ? wanted.flatMap(({ served, ...item }) => neededPaths({ ...item, resource: served })) : undefined,
    take({ resource, kind, namespace, name }: Selectable): boolean {
      let taken = false;
      for (const item of wanted) {
        const meant = item.served === resource || means(item.resource, { resource, kind });
        const [inPlace, alike] = [item.namespace === namespace, item.name === name];
        if (!meant || !(inPlace || alike)) continue;
        names.add(`${namespace ? `${namespace}/` : ""}${item.resource}/${name}`);
        if (inPlace && alike) taken = item.found = true;
      }
      return taken;
    },
    missing() {
      const missing = wanted.find(({ found }) => !found);
      return missing && { item: missing.text, near: nearest(missing.text, [...names]) };
    },
  };
}

/** Whether filters beside the names may have to be told that the backup holds nothing of theirs. */
function limits(spec: RestoreSpec): boolean {
  const { includedNamespaces, excludedNamespaces, includedResources, excludedResources } = spec;
  return [includedNamespaces, excludedNamespaces, includedResources, excludedResources].some((list) => list?.length);
}

/** How the paths begin of an item and of what it can't be without (survey.ts). */
function neededPaths({ resource, namespace, name }: ItemId): string[] {
  const one = (resource: string, namespace: string, name: string) => itemPath({ resource, namespace, name });
  const bound = [itemsPath(CLAIMS, namespace), itemsPath(VOLUMES, "")];
  return [
    one(resource, namespace, name),
    one(DEFINITIONS, "", resource),
    ...(namespace ? [one(NAMESPACES, "", namespace)] : []),
    ...(resource === "pods" ? [...bound, itemsPath(PRIORITY_CLASSES, "")] : []),
    ...(resource === CLAIMS ? bound : []),
    ...(resource === "endpoints" ? [one("services", namespace, name)] : []),
  ];
}

type Filter = ReturnType<typeof resourceFilter>;

/** Answers per resource once; one that the target doesn't know joins the resolution of names by its items' kind. */
function perResource(
  filter: (known: FilterResources) => Filter,
  resources: FilterResources,
): (entry: Pick<IndexEntry, "resource" | "kind">) => boolean {
  const targets = filter(resources);
  const served = new Set(resources.map(({ group, name }) => (group ? `${name}.${group}` : name)));
  const answers = new Map<string, boolean>();
  return ({ resource, kind }) => {
    let answer = answers.get(resource);
    if (answer === undefined) {
      const passes = served.has(resource) ? targets : filter([...resources, unserved(resource, kind)]);
      answer = passes(resource);
      answers.set(resource, answer);
    }
    return answer;
  };
}

/** Whether a user's name of a resource may mean an item's, as far as that tells: by its resource or its kind. */
export function means(name: string, { resource, kind }: Pick<IndexEntry, "resource" | "kind">): boolean {
  return resolveResource(name, [unserved(resource, kind)]) === resource;
}

type FilterResources = Parameters<typeof resourceFilter>[2];

/** A resource as far as an item of it tells. */
export function unserved(resource: string, kind: string): FilterResources[number] {
  const [name = "", ...group] = resource.split(".");
  return { group: group.join("."), name, kind, singular: kind.toLowerCase(), shortNames: [] };
}
