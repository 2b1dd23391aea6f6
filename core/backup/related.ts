import type { ItemId, KubernetesObject } from "../archive/item.ts";
import { type Resource, resourceKey } from "../kube/resource.ts";
import { at, entriesOf } from "../objects/fields.ts";
import {
  ACCOUNTS,
  BINDINGS,
  CLAIMS,
  CLUSTER_ROLES,
  DEFINITIONS,
  PRIORITY_CLASSES,
  VOLUMES,
} from "../objects/resources.ts";
import type { BackupSpec } from "../specs.ts";
import { VOLUME_GROUP } from "../volumes/csi/groups.ts";
import { PODS } from "./hooks.ts";
import type { Listing } from "./photograph.ts";

/**
 * What comes along with stored objects though filters don't take it, by Velero's actions (velero-format: 4.7, 4.9): with a Pod
 * its claims and its priority class; with a bound claim its volume, the running Pods that mount it, and the claims of its group;
 * with a ServiceAccount the cluster's bindings that name it and their roles; with custom resources their definition.
 */
export interface Related {
  /** Whether all of an object of the resource is needed, not only its metadata. */
  looksInto(resource: string): boolean;
  /** Whether objects of the resource may be met twice. */
  mayRepeat(resource: string): boolean;
  /** An object that is stored. */
  add(id: ItemId, object: KubernetesObject): void;
  /** The LISTs of what has been needed since it was asked last, definitions aside; none where that is nothing. */
  listings(): Listing[];
  /** The LIST of the definitions of what is stored; none where they are not wanted. */
  definitions(): Listing[];
  /** All that it knows, for another to go on from. */
  state(): RelatedState;
}

/** As JSON. */
export interface RelatedState {
  kinds: string[];
  needed: [resource: string, what: string[]][];
  fresh: [resource: string, what: string[]][];
}

const BY_NEED = new Set([PODS, CLAIMS, VOLUMES, PRIORITY_CLASSES, BINDINGS, CLUSTER_ROLES, DEFINITIONS]);

/** Starts with nothing stored, or goes on. `open` says of which resources objects may come along that are not collected anyway. */
export function startRelated(
  resources: Resource[],
  open: (resource: Resource) => boolean,
  { volumeGroupSnapshotLabelKey }: BackupSpec,
  from?: RelatedState,
): Related {
  const targets = resources.filter((resource) => BY_NEED.has(resourceKey(resource)) && open(resource));
  // Only the bindings tell which roles are needed.
  const roles = targets.some((resource) => resourceKey(resource) === CLUSTER_ROLES);
  const bindings = resources.filter((resource) => roles && resourceKey(resource) === BINDINGS);
  const served = new Map([...targets, ...bindings].map((resource) => [resourceKey(resource), resource]));
  const group = volumeGroupSnapshotLabelKey || VOLUME_GROUP;
  const kinds = new Set(from?.kinds);
  /** By resource: "namespace/name", "name", or for a group of claims "namespace group". */
  const needed = setsOf(from?.needed);
  const fresh = setsOf(from?.fresh);

  const need = (resource: string, what: string) => {
    if (!served.has(resource)) return;
    const known = needed.get(resource) ?? new Set();
    if (known.has(what)) return;
    needed.set(resource, known.add(what));
    fresh.set(resource, (fresh.get(resource) ?? new Set()).add(what));
  };

  /** Whether an object is meant by what of its resource is needed. */
  const wants = (resource: string, among: Set<string>): ((object: KubernetesObject) => boolean) => {
    switch (resource) {
      case PODS:
        return (pod) =>
          at(pod, "status", "phase") === "Running" &&
          claimsOf(pod).some((claim) => among.has(`${pod.metadata.namespace}/${claim}`));
      case BINDINGS:
        return (binding) => {
          const wanted = accountsOf(binding).some((account) => among.has(account));
          if (wanted) need(CLUSTER_ROLES, String(at(binding, "roleRef", "name")));
          return wanted;
        };
      case CLAIMS:
        return ({ metadata: { namespace, name, labels } }) =>
          among.has(`${namespace}/${name}`) || among.has(`${namespace} ${labels?.[group]}`);
      default:
        return ({ metadata }) => among.has(metadata.name);
    }
  };

  return {
    looksInto: (resource) => served.size > 0 && [PODS, CLAIMS, BINDINGS].includes(resource),
    mayRepeat: (resource) => served.has(resource),
    add({ resource, namespace, name }, object) {
      if (served.size === 0) return;
      if (served.has(DEFINITIONS)) kinds.add(resource);
      if (resource === PODS) {
        need(PRIORITY_CLASSES, String(at(object, "spec", "priorityClassName") ?? ""));
        for (const claim of claimsOf(object)) need(CLAIMS, `${namespace}/${claim}`);
      } else if (resource === CLAIMS && at(object, "status", "phase") === "Bound" && at(object, "spec", "volumeName")) {
        need(VOLUMES, String(at(object, "spec", "volumeName")));
        need(PODS, `${namespace}/${name}`);
        const label = object.metadata.labels?.[group];
        if (label) need(CLAIMS, `${namespace} ${label}`);
      } else if (resource === ACCOUNTS) need(BINDINGS, `${namespace}/${name}`);
    },
    listings() {
      const asked = [...fresh];
      fresh.clear();
      return asked.flatMap(([key, among]): Listing[] => {
        const resource = served.get(key)!;
        const wanted = wants(key, among);
        if (!resource.namespaced) return [{ resource, wants: wanted }];
        const namespaces = new Set([...among].map((one) => one.split(/[ /]/, 1)[0]!));
        return [...namespaces].map((namespace) => ({ resource, namespace, wants: wanted }));
      });
    },
    definitions() {
      const resource = served.get(DEFINITIONS);
      return resource && kinds.size > 0 ? [{ resource, names: kinds }] : [];
    },
    state: () => ({ kinds: [...kinds], needed: listsOf(needed), fresh: listsOf(fresh) }),
  };
}

function setsOf(lists: [string, string[]][] = []): Map<string, Set<string>> {
  return new Map(lists.map(([key, list]) => [key, new Set(list)]));
}

function listsOf(sets: Map<string, Set<string>>): [string, string[]][] {
  return [...sets].map(([key, set]) => [key, [...set]]);
}

/** The claims that Velero takes along with a Pod: those of generic ephemeral volumes, which their Pod makes, are none of them. */
function claimsOf(pod: KubernetesObject): string[] {
  return entriesOf(pod, "spec", "volumes").flatMap((volume) => {
    const claim = at(volume, "persistentVolumeClaim", "claimName");
    return typeof claim === "string" && claim ? [claim] : [];
  });
}

/** The ServiceAccounts that a binding names, as "namespace/name". */
function accountsOf(binding: KubernetesObject): string[] {
  return entriesOf(binding, "subjects")
    .filter(({ kind }) => kind === "ServiceAccount")
    .map(({ namespace, name }) => `${namespace}/${name}`);
}
