import type { IndexEntry } from "../archive/index.ts";
import { LifeboatError } from "../errors.ts";
import type { Discovery } from "../kube/discovery.ts";
import { type Resource, resourceKey } from "../kube/resource.ts";
import { EXCLUDE_LABEL } from "../labels.ts";
import { suggestion } from "../nearest.ts";
import { DEFINITIONS, NAMESPACES } from "../objects/resources.ts";
import {
  anyGlob,
  includesAll,
  isEmptySelector,
  isGlob,
  type LabelSelector,
  matchesSelector,
  nameFilter,
  resolveResource,
  resourceFilter,
} from "../select.ts";
import { type BackupFilters, type BackupSpec, checkBackupFilters, checkPolicies, usesOldFilters } from "../specs.ts";
import { isCatchAll, type ResourceFilter, type ResourcePolicies, readPolicies } from "./policies.ts";

export type { BackupSpec } from "../specs.ts";

/** Velero backs up what can be listed, created, read and deleted (velero pkg/discovery). */
const REQUIRED_VERBS = ["list", "create", "get", "delete"];

/** What Velero leaves to its own snapshots and never lists (velero pkg/controller/backup_controller.go). */
const SNAPSHOTS = {
  namespaced: "volumesnapshots.snapshot.storage.k8s.io",
  cluster: "volumesnapshotcontents.snapshot.storage.k8s.io",
};

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

/** Which resources filters let in, by their group-resource strings (Velero's ShouldInclude and ShouldExclude). */
interface Rules {
  /** Whether its objects are listed. */
  includes(resource: Resource): boolean;
  /** Whether they don't even come along with others; asked of cluster-scoped ones. */
  excludes(resource: Resource): boolean;
}

/** What decides beside the lists. */
interface Premises {
  /** The namespaces are no limit, so that cluster-scoped objects are taken where nothing else is said of them. */
  everywhere: boolean;
  /** Entries of the lists that are no limit either. */
  disregarded: string[];
}

/** A pair of lists whose names are resolved. */
interface Lists {
  included: string[];
  excluded: string[];
}

/** How the objects of a resource are selected: by one selector, by one of several, or, without any, all. */
type Selectors = LabelSelector[];

/**
 * The spec as Velero carries it out and records it: with what it leaves to its snapshots, and the namespaces that carry the exclude
 * label, in its lists. Throws `invalid` for contradictory filters, and where the spec names such a namespace, as Velero does.
 */
export function settledSpec(spec: BackupSpec, labelled: string[]): BackupSpec {
  checkBackupFilters(spec);
  const [named] = labelled.filter((name) => spec.includedNamespaces?.includes(name));
  if (named)
    throw new LifeboatError("invalid", `includedNamespaces: "${named}" carries the label ${EXCLUDE_LABEL}=true`, {
      hint: "take away the label, or leave out the namespace",
    });
  const adding = (names: string[] = [], more: string[]) => [...names, ...more.filter((name) => !names.includes(name))];
  const without = (names: string[] = [], more: string[]) => {
    const left = names.filter((name) => !more.includes(name));
    return left.length > 0 ? left : undefined;
  };
  const both = [SNAPSHOTS.namespaced, SNAPSHOTS.cluster];
  const lists: Partial<BackupSpec> = usesOldFilters(spec)
    ? {
        includedResources: without(spec.includedResources, both),
        excludedResources: adding(spec.excludedResources, both),
      }
    : {
        includedClusterScopedResources: without(spec.includedClusterScopedResources, [SNAPSHOTS.cluster]),
        excludedClusterScopedResources: adding(spec.excludedClusterScopedResources, [SNAPSHOTS.cluster]),
        includedNamespaceScopedResources: without(spec.includedNamespaceScopedResources, [SNAPSHOTS.namespaced]),
        excludedNamespaceScopedResources: adding(spec.excludedNamespaceScopedResources, [SNAPSHOTS.namespaced]),
      };
  const excludedNamespaces = labelled.length ? adding(spec.excludedNamespaces, labelled) : spec.excludedNamespaces;
  return JSON.parse(JSON.stringify({ ...spec, ...lists, excludedNamespaces })) as BackupSpec;
}

/**
 * Who takes part in a backup, by the filters of a spec as they are carried out (`settledSpec`) or were. `namespaces` are the
 * cluster's, where they are known. Throws `invalid` for contradictory filters.
 */
export function backupScope(spec: BackupFilters, resources: Resource[], namespaces?: string[]) {
  const policies = spec.resourcePolicyRules === undefined ? undefined : readPolicies(spec.resourcePolicyRules);
  if (policies) checkPolicies(spec, policies);
  const includesNamespace = nameFilter(spec.includedNamespaces, spec.excludedNamespaces);
  const everyNamespace = includesAll(spec.includedNamespaces);
  const unlimited = (everyNamespace || namesAll(spec, namespaces)) && !limitsByExcluding(spec, namespaces);
  const rules = usesOldFilters(spec) ? oldRules(spec, resources) : newRules(spec, resources, policies);
  const veleros = rules({ everywhere: unlimited, disregarded: [] });
  /** Ours, where no list says which cluster-scoped objects are wanted: neither excluding namespaces nor what Velero adds to the lists limits them. */
  const ours = rules({ everywhere: everyNamespace, disregarded: Object.values(SNAPSHOTS) });
  const includes = (resource: Resource) => veleros.includes(resource) || (!spec.veleros && ours.includes(resource));
  const selectors: Selectors = spec.labelSelector ? [spec.labelSelector] : (spec.orLabelSelectors ?? []);
  const { forNamespace, filtersNamespaces, forCluster } = readFilterPolicies(policies, resources);
  const definitions = resources.find((resource) => resourceKey(resource) === DEFINITIONS);

  const namespacePolicy = (namespace: string, key: string) => {
    const policy = forNamespace(namespace);
    return policy && { filter: policy.kinds.get(key) ?? policy.others };
  };
  return {
    includesNamespace,
    /** Lists may ask for all namespaces at once. */
    everyNamespace,
    /** Neither includes nor excludes of namespaces limit what is taken. */
    unlimited,
    selectors,
    /** Nothing can be listed with one of the selectors, as with Velero: an empty one. */
    unlistable: selectors.some(isEmptySelector),
    /** What the lists name and the cluster doesn't have: a typing error in an include must not pass for a backup. */
    unmatched: (names: string[]) => unmatched(spec, policies, resources, names),
    /** Whether the objects of this resource are collected as such. Namespaces follow rules of their own. */
    collects: (resource: Resource): boolean => resourceKey(resource) !== NAMESPACES && includes(resource),
    /**
     * Whether an object of this resource may come along because a stored one needs it: what lies in a namespace only if it
     * is included, what doesn't unless it is excluded, definitions only where they are not included anyway (Velero's rules
     * for additional items).
     */
    bringsAlong: (resource: Resource): boolean => {
      if (resource.namespaced) return includes(resource);
      const twice = resourceKey(resource) === DEFINITIONS && definitions && veleros.includes(definitions);
      return !twice && !veleros.excludes(resource);
    },
    /** Whether the Namespaces that take part are stored. */
    storesNamespaces: (resource: Resource): boolean => includes(resource),
    /** How a LIST of the resource, in one namespace or ("") in all, selects; undefined where it need not be made. */
    selectorsOf(resource: Resource, namespace: string): Selectors | undefined {
      const key = resourceKey(resource);
      const policy = namespacePolicy(namespace, key);
      if (policy && !policy.filter) return undefined;
      if (!resource.namespaced && forCluster) {
        const filter = forCluster.get(key);
        return filter ? filter.selectors : selectors;
      }
      return policy?.filter?.selectors ?? selectors;
    },
    /** Whether all objects of a collected resource are listed, in the namespaces that are included. */
    takesAll: (resource: Resource): boolean =>
      selectors.length === 0 &&
      !forNamespace("") &&
      !(resource.namespaced ? filtersNamespaces : forCluster?.has(resourceKey(resource))),
    /** Whether policies take an object that a LIST over all namespaces gave. */
    listedByPolicy(resource: Resource, namespace: string, labels: Record<string, string> = {}): boolean {
      const policy = namespace && everyNamespace ? namespacePolicy(namespace, resourceKey(resource)) : undefined;
      return !policy || (!!policy.filter && matchesOne(policy.filter.selectors, labels));
    },
    /** Whether policies take an object of this name, however it was found. */
    namedByPolicy(resource: Resource, namespace: string, name: string): boolean {
      const key = resourceKey(resource);
      const filter = namespace ? namespacePolicy(namespace, key)?.filter : forCluster?.get(key);
      return filter?.takesName(name) ?? true;
    },
  };
}

/** Whether a backup of this spec would have stored an object, had it been there: as far as such a spec and its labels tell. */
export function storedBy(spec: BackupFilters, resources: Resource[]) {
  const scope = backupScope(spec, resources);
  const byKey = new Map(resources.map((resource) => [resourceKey(resource), resource]));
  return ({
    resource,
    namespace,
    name,
    labels,
  }: Pick<IndexEntry, "resource" | "namespace" | "name" | "labels">): boolean => {
    const known = byKey.get(resource);
    if (!known || scope.unlistable || !scope.namedByPolicy(known, namespace, name)) return false;
    if (resource === NAMESPACES)
      return scope.storesNamespaces(known) && scope.includesNamespace(name) && matchesOne(scope.selectors, labels);
    if (!scope.collects(known) || (namespace && !scope.includesNamespace(namespace))) return false;
    const selectors = scope.selectorsOf(known, scope.everyNamespace ? "" : namespace);
    return !!selectors && matchesOne(selectors, labels) && scope.listedByPolicy(known, namespace, labels);
  };
}

export type BackupScope = ReturnType<typeof backupScope>;

/** Whether labels satisfy one of the selectors, where there are some. */
export function matchesOne(selectors: LabelSelector[], labels: Record<string, string>): boolean {
  return selectors.length === 0 || selectors.some((selector) => matchesSelector(selector, labels));
}

/** The older filters, of both scopes together (velero GlobalIncludesExcludes). */
function oldRules(spec: BackupFilters, resources: Resource[]) {
  const resolve = (names: string[] = []) => names.map((name) => resolveResource(name, resources));
  const lists = { included: resolve(spec.includedResources), excluded: resolve(spec.excludedResources) };
  const excluded = anyGlob(lists.excluded);
  const passes = passing(lists);
  return ({ everywhere }: Premises): Rules => ({
    includes(resource) {
      const key = resourceKey(resource);
      const ofCluster = !resource.namespaced && key !== NAMESPACES;
      if (!resource.namespaced && spec.includeClusterResources === false) return false;
      if (ofCluster && spec.includeClusterResources === undefined && !everywhere) return false;
      return passes(key);
    },
    excludes(resource) {
      const key = resourceKey(resource);
      if (excluded(key) || spec.includeClusterResources === false) return true;
      return spec.includeClusterResources === undefined && !passes(key);
    },
  });
}

const SCOPES = ["ClusterScopedResources", "NamespaceScopedResources"] as const;

/** The newer filters, a pair of lists for each scope, to which policies may add (velero ScopeIncludesExcludes). */
function newRules(spec: BackupFilters, resources: Resource[], policies: ResourcePolicies | undefined) {
  const { includeExcludePolicy: more } = policies ?? {};
  const listsOf = (namespaced: boolean, scope: (typeof SCOPES)[number]): Lists => {
    const ofScope = (names: string[] | null | undefined) => resolveInScope(names ?? [], resources, namespaced);
    const lists = { included: ofScope(spec[`included${scope}`]), excluded: ofScope(spec[`excluded${scope}`]) };
    for (const list of ["excluded", "included"] as const)
      for (const name of ofScope(more?.[`${list}${scope}`]))
        if (!anyGlob(lists.included)(name) && !anyGlob(lists.excluded)(name)) lists[list].push(name);
    return lists;
  };
  const cluster = listsOf(false, "ClusterScopedResources");
  const namespaced = listsOf(true, "NamespaceScopedResources");
  const [clusterIncluded, clusterExcluded] = [anyGlob(cluster.included), anyGlob(cluster.excluded)];
  const passes = passing(namespaced);
  return ({ everywhere, disregarded }: Premises): Rules => {
    const limit = (names: string[]) => names.some((name) => !disregarded.includes(name));
    const unsaid = !limit(cluster.included) && !limit(cluster.excluded);
    const all = everywhere && unsaid && includesAll(namespaced.included) && !limit(namespaced.excluded);
    return {
      includes(resource) {
        const key = resourceKey(resource);
        if (resource.namespaced) return passes(key);
        return !clusterExcluded(key) && (all || clusterIncluded(key) || key === NAMESPACES);
      },
      excludes: (resource) => clusterExcluded(resourceKey(resource)),
    };
  };
}

function passing({ included, excluded }: Lists): (key: string) => boolean {
  const [includes, excludes] = [anyGlob(included), anyGlob(excluded)];
  return (key) => !excludes(key) && (included.length === 0 || includes(key));
}

/** Names of resources as group-resource strings; those of the other scope mean nothing. */
function resolveInScope(names: string[], resources: Resource[], namespaced: boolean): string[] {
  const otherScope = new Set(resources.filter((one) => one.namespaced !== namespaced).map(resourceKey));
  return names.map((name) => resolveResource(name, resources)).filter((name) => !otherScope.has(name));
}

/** Whether what is included are exactly the cluster's namespaces. Globs stand for those that they match. */
function namesAll({ includedNamespaces = [] }: BackupFilters, namespaces: string[] | undefined): boolean {
  if (!namespaces) return false;
  const passes = anyGlob(includedNamespaces);
  const missing = includedNamespaces.some((name) => !isGlob(name) && !namespaces.includes(name));
  return !missing && namespaces.every(passes);
}

/** Whether a namespace is excluded; globs that match none don't count where globs stand for what they match (Velero's expansion). */
function limitsByExcluding(spec: BackupFilters, namespaces: string[] | undefined): boolean {
  const { includedNamespaces, excludedNamespaces = [] } = spec;
  const expanded =
    namespaces &&
    !includesAll(includedNamespaces) &&
    [...(includedNamespaces ?? []), ...excludedNamespaces].some(isGlob);
  if (!expanded) return excludedNamespaces.length > 0;
  return excludedNamespaces.some((name) => !isGlob(name) || namespaces.some(anyGlob([name])));
}

interface PolicyFilter {
  selectors: Selectors;
  takesName(name: string): boolean;
}

/** The policies that say kind by kind who takes part: those for namespaces, and the one for what lies in none. */
function readFilterPolicies(policies: ResourcePolicies | undefined, resources: Resource[]) {
  const read = (filter: ResourceFilter): PolicyFilter => {
    const { labelSelector, orLabelSelectors, names, excludedNames } = filter;
    const selectors = [labelSelector, ...(orLabelSelectors ?? [])].filter((one) => one && !isEmptySelector(one));
    const passes = passing({ included: names ?? [], excluded: excludedNames ?? [] });
    return { selectors: selectors as Selectors, takesName: (name) => passes(name) };
  };
  const byKind = (filters: ResourceFilter[]) => {
    const kinds = new Map<string, PolicyFilter>();
    let others: PolicyFilter | undefined;
    for (const filter of filters) {
      if (isCatchAll(filter)) others = read(filter);
      else for (const kind of filter.kinds ?? []) kinds.set(resolveResource(kind, resources), read(filter));
    }
    return { kinds, others };
  };
  const patterns = (policies?.namespacedFilterPolicies ?? []).flatMap(({ namespaces, resourceFilters }) => {
    const policy = byKind(resourceFilters);
    return namespaces.map((pattern) => ({ pattern, matches: anyGlob([pattern]), policy }));
  });
  const cluster = policies?.clusterScopedFilterPolicy;
  return {
    /** An exact name counts before globs, and of those the first. */
    forNamespace: (namespace: string) =>
      (patterns.find(({ pattern }) => pattern === namespace) ?? patterns.find(({ matches }) => matches(namespace)))
        ?.policy,
    filtersNamespaces: patterns.length > 0,
    forCluster: cluster && byKind(cluster.resourceFilters).kinds,
  };
}

function unmatched(
  spec: BackupFilters,
  policies: ResourcePolicies | undefined,
  resources: Resource[],
  namespaces: string[],
) {
  const missing = (field: keyof BackupFilters, what: string, known: (name: string) => boolean, names: string[] = []) =>
    ((spec[field] ?? []) as string[])
      .filter((name) => name !== "*" && !Object.values(SNAPSHOTS).includes(name) && !known(name))
      .map((name) => `${field}: the cluster has no ${what} "${name}"${suggestion(name, names)}`);
  const hasNamespace = (name: string) => namespaces.some(nameFilter([name], []));
  const hasResource = (name: string) => resources.some(resourceFilter([name], [], resources));
  const resourceNames = [...new Set(resources.map(({ name }) => name))];
  const of = (list: "included" | "excluded") => [
    ...missing(`${list}Namespaces`, "Namespace", hasNamespace, namespaces),
    ...missing(`${list}Resources`, "resource", hasResource, resourceNames),
    ...missing(`${list}ClusterScopedResources`, "resource", hasResource, resourceNames),
    ...missing(`${list}NamespaceScopedResources`, "resource", hasResource, resourceNames),
  ];
  /** What is there, but not in this scope, means nothing, as with Velero. */
  const ofOtherScope = (field: keyof BackupFilters, namespaced: boolean) =>
    missing(
      field,
      namespaced ? "namespaced resource" : "cluster-scoped resource",
      (name) => !hasResource(name) || resolveInScope([name], resources, namespaced).length > 0,
    );
  const { includeExcludePolicy, clusterScopedFilterPolicy: cluster, namespacedFilterPolicies } = policies ?? {};
  /** Of policies, the names of resources: in the lists that they add to the spec's, and of the kinds that they filter. */
  const inPolicies = (field: string, names: string[] | null | undefined) =>
    (names ?? [])
      .filter((name) => name !== "*" && !hasResource(name))
      .map(
        (name) =>
          `resource policies, ${field}: the cluster has no resource "${name}"${suggestion(name, resourceNames)}`,
      );
  const inLists = (list: "included" | "excluded") =>
    SCOPES.flatMap((scope) => inPolicies(`${list}${scope}`, includeExcludePolicy?.[`${list}${scope}`]));
  const filtered = [cluster ?? [], namespacedFilterPolicies ?? []]
    .flat()
    .flatMap(({ resourceFilters }) => resourceFilters.flatMap(({ kinds }) => inPolicies("kinds", kinds)));
  return {
    included: [...of("included"), ...inLists("included"), ...filtered],
    excluded: [
      ...of("excluded"),
      ...inLists("excluded"),
      ...ofOtherScope("includedClusterScopedResources", false),
      ...ofOtherScope("excludedClusterScopedResources", false),
      ...ofOtherScope("includedNamespaceScopedResources", true),
      ...ofOtherScope("excludedNamespaceScopedResources", true),
    ],
  };
}
