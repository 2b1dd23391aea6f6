import type { IndexEntry } from "../archive/index.ts";
import { LifeboatError } from "../errors.ts";
import type { Resource } from "../kube/resource.ts";
import { includesAll, matchesSelector, nameFilter, resolveResource, resourceFilter } from "../select.ts";
import { neverRestored } from "./skips.ts";
import type { RestoreSpec } from "./spec.ts";

/** As much of an item, or of a live object, as filters look at. */
export type Selectable = Pick<IndexEntry, "resource" | "kind" | "namespace" | "name" | "labels">;

/** Which items of a backup a restore takes. Namespaces, resources and labels are those of the backup. */
export interface Selection {
  /** Whether the spec's filters take the item itself. */
  takes(entry: Selectable): boolean;
  /** Whether the item comes along where a taken one can't be without it, though the filters don't take it. */
  mayNeed(entry: IndexEntry): boolean;
  /** A line for each include that matches none of the backup's namespaces or resources (with their kinds). */
  unmatched(namespaces: Set<string>, kinds: Map<string, string>): { included: string[]; excluded: string[] };
}

export const NAMESPACES = "namespaces";
export const DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io";
export const API_SERVICES = "apiservices.apiregistration.k8s.io";
export const CLAIMS = "persistentvolumeclaims";
export const VOLUMES = "persistentvolumes";
export const PRIORITY_CLASSES = "priorityclasses.scheduling.k8s.io";

/**
 * Reads the filters of a restore as Velero does (velero-format: 5.4), with two differences: excluding a namespace
 * leaves cluster-scoped objects in, and Namespaces are restored for themselves, not only for what is in them.
 * `resources` are those of the target; names that only the backup knows are resolved by its items' kinds. Throws
 * `invalid` for filters that contradict themselves and for resources that are never restored (skips.ts; Velero refuses
 * most of them too, velero-format: 5.1).
 */
export function selection(spec: RestoreSpec, resources: Resource[]): Selection {
  const { includedResources, excludedResources, labelSelector } = spec;
  const asked = includedResources?.find((name) => neverRestored(resolveResource(name, resources)));
  if (asked) throw new LifeboatError("invalid", `includedResources: ${asked} are never restored`);
  if (labelSelector) matchesSelector(labelSelector);

  const takesNamespace = nameFilter(spec.includedNamespaces, spec.excludedNamespaces);
  const takesClusterScoped = spec.includeClusterResources ?? includesAll(spec.includedNamespaces);
  const takesResource = perResource((known) => resourceFilter(includedResources, excludedResources, known), resources);
  const notExcluded = perResource((known) => resourceFilter(undefined, excludedResources, known), resources);

  return {
    takes(entry) {
      if (!takesResource(entry)) return false;
      if (labelSelector && !matchesSelector(labelSelector, entry.labels)) return false;
      if (entry.namespace) return takesNamespace(entry.namespace);
      return entry.resource === NAMESPACES ? takesNamespace(entry.name) : takesClusterScoped;
    },
    mayNeed(entry) {
      if (entry.resource === NAMESPACES) return true;
      if (entry.resource === CLAIMS) return takesResource(entry) && takesNamespace(entry.namespace);
      if (spec.includeClusterResources === false) return false;
      if (entry.resource === DEFINITIONS) return notExcluded(entry);
      return (entry.resource === VOLUMES || entry.resource === PRIORITY_CLASSES) && takesResource(entry);
    },
    unmatched(namespaces, kinds) {
      const items = [...kinds].map(([resource, kind]) => ({ resource, kind }));
      const holdsNamespace = (name: string) => [...namespaces].some(nameFilter([name], []));
      const holdsResource = (name: string) =>
        items.some(perResource((known) => resourceFilter([name], [], known), resources));
      const missing = (field: string, names: string[] = [], holds: (name: string) => boolean) =>
        names
          .filter((name) => name !== "*" && !holds(name))
          .map((name) => `${field}: the backup doesn't hold "${name}"`);
      return {
        included: [
          ...missing("includedNamespaces", spec.includedNamespaces, holdsNamespace),
          ...missing("includedResources", includedResources, holdsResource),
        ],
        excluded: [
          ...missing("excludedNamespaces", spec.excludedNamespaces, holdsNamespace),
          ...missing("excludedResources", spec.excludedResources, holdsResource),
        ],
      };
    },
  };
}

type Filter = ReturnType<typeof resourceFilter>;

/** Answers per resource once; one that the target doesn't know joins the resolution of names by its items' kind. */
function perResource(
  filter: (known: FilterResources) => Filter,
  resources: Resource[],
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

type FilterResources = Parameters<typeof resourceFilter>[2];

function unserved(resource: string, kind: string): FilterResources[number] {
  const [name = "", ...group] = resource.split(".");
  return { group: group.join("."), name, kind, singular: kind.toLowerCase(), shortNames: [] };
}
