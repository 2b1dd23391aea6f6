import type { IndexEntry } from "../archive/index.ts";
import type { Discovery } from "../kube/discovery.ts";
import { type Resource, resourceKey } from "../kube/resource.ts";
import { DEFINITIONS } from "../objects/resources.ts";
import { includesAll, matchesSelector, nameFilter, resourceFilter } from "../select.ts";
import type { BackupSpec } from "../specs.ts";

export type { BackupSpec } from "../specs.ts";

/** What carries this label with the value "true" is in no backup; on a Namespace, nothing in it is. */
export const EXCLUDE_LABEL = "velero.io/exclude-from-backup";

/** Velero backs up what can be listed, created, read and deleted (velero pkg/discovery). */
const REQUIRED_VERBS = ["list", "create", "get", "delete"];

/** Where two API groups serve the same objects, the resource that loses (velero pkg/backup/item_collector.go). */
const COHABITANTS: Record<string, string> = {
  "deployments.extensions": "deployments.apps",
  "daemonsets.extensions": "daemonsets.apps",
  "replicasets.extensions": "replicasets.apps",
  "networkpolicies.extensions": "networkpolicies.networking.k8s.io",
  "events.events.k8s.io": "events",
};

/**
 * The resources whose objects a whole-cluster backup holds: each in its preferred version, cohabiting ones once,
 * sorted by their group-resource string.
 */
export function backupResources(discovery: Discovery): Resource[] {
  const suitable = discovery.resources.filter(
    (resource) => resource.preferred && REQUIRED_VERBS.every((verb) => resource.verbs.includes(verb)),
  );
  const served = new Set(suitable.map(resourceKey));
  return suitable
    .filter((resource) => !served.has(COHABITANTS[resourceKey(resource)] ?? ""))
    .sort((a, b) => (resourceKey(a) < resourceKey(b) ? -1 : 1));
}

/** Who takes part in a backup. Throws `invalid` for contradictory filters. */
export function backupScope(spec: BackupSpec, resources: Resource[]) {
  const includesResource = resourceFilter(spec.includedResources, spec.excludedResources, resources);
  const notExcluded = resourceFilter(undefined, spec.excludedResources, resources);
  const includesNamespace = nameFilter(spec.includedNamespaces, spec.excludedNamespaces);
  const everyNamespace = includesAll(spec.includedNamespaces);
  const withClusterScoped = spec.includeClusterResources ?? everyNamespace;
  return {
    includesNamespace,
    /** Lists may ask for all namespaces at once. */
    everyNamespace,
    /** What the lists name and the cluster doesn't have: a typing error in an include must not pass for a backup. */
    unmatched: (namespaces: string[]) => {
      const missingNamespaces = (names: string[] = []) =>
        names.filter((name) => name !== "*" && !namespaces.some(nameFilter([name], [])));
      const missingResources = (names: string[] = []) =>
        names.filter((name) => name !== "*" && !resources.some(resourceFilter([name], [], resources)));
      const tell = (field: string, what: string, names: string[]) =>
        names.map((name) => `${field}: the cluster has no ${what} "${name}"`);
      return {
        included: [
          ...tell("includedNamespaces", "Namespace", missingNamespaces(spec.includedNamespaces)),
          ...tell("includedResources", "resource", missingResources(spec.includedResources)),
        ],
        excluded: [
          ...tell("excludedNamespaces", "Namespace", missingNamespaces(spec.excludedNamespaces)),
          ...tell("excludedResources", "resource", missingResources(spec.excludedResources)),
        ],
      };
    },
    /** Whether the objects of this resource are collected as such. Namespaces follow rules of their own. */
    collects: (resource: Resource): boolean =>
      includesResource(resource) &&
      (resource.namespaced || (withClusterScoped && resourceKey(resource) !== "namespaces")),
    /**
     * Whether an object of this cluster-scoped resource may come along because a stored one needs it: the definition
     * of a custom resource unless definitions are excluded, anything else only if the lists let it in (Velero's rule
     * for additional items).
     */
    bringsAlong: (resource: Resource): boolean =>
      spec.includeClusterResources !== false &&
      (resourceKey(resource) === DEFINITIONS ? notExcluded(resource) : includesResource(resource)),
    /** Whether the lists of resources let this one in, whatever its scope. */
    includesResource,
  };
}

/** Whether a backup of this spec would have stored an object, had it been there: as far as such a spec and its labels tell. */
export function storedBy(spec: BackupSpec, resources: Resource[]) {
  const scope = backupScope(spec, resources);
  const byKey = new Map(resources.map((resource) => [resourceKey(resource), resource]));
  const selects = (labels: Record<string, string>) =>
    !spec.labelSelector || matchesSelector(spec.labelSelector, labels);
  return ({
    resource,
    namespace,
    name,
    labels,
  }: Pick<IndexEntry, "resource" | "namespace" | "name" | "labels">): boolean => {
    const known = byKey.get(resource);
    if (!known) return false;
    if (resource === "namespaces")
      return scope.includesResource(known) && scope.includesNamespace(name) && selects(labels);
    return scope.collects(known) && (!namespace || scope.includesNamespace(namespace)) && selects(labels);
  };
}

export type BackupScope = ReturnType<typeof backupScope>;
