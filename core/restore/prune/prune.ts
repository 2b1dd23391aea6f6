import type { ItemId, KubernetesObject } from "../../archive/item.ts";
import { EXCLUDE_LABEL } from "../../labels.ts";
import { at } from "../../objects/fields.ts";
import { groupOf, isOwn } from "../../objects/resources.ts";
import { neverRestored, type SkipFacts, skipReason } from "../../skips.ts";
import { CLEANS_UP, neverDeleted } from "../write/deletions.ts";

/** What the rules know beside the live object. */
export interface PruneFacts {
  skips: SkipFacts;
  /** Namespaces of the target that the restore names, globs aside. */
  named: ReadonlySet<string>;
  /** The target's Namespaces that are in no backup, by their label. */
  excluded: ReadonlySet<string>;
  /** Definitions in the backup, as the group-resource strings of their custom resources. */
  definitions: ReadonlySet<string>;
}

/** Live objects that are never pruned, and why. */
export interface Kept {
  /** Group-resource strings, or with "*." at their beginning all of a group; undefined stands for all. */
  resources?: string[];
  /** Follows "left, though the backup doesn't hold it: ". */
  why: string;
  /** Which objects; all where not given, and then their resources aren't even listed. `id` is the one in the target. */
  when?: (object: KubernetesObject, id: ItemId, facts: PruneFacts) => boolean;
  /** A person should know that it is still there: it becomes a warning. */
  tell?: boolean;
}

/** The groups that API servers serve of themselves. What another server serves, or a definition, is not among them. */
const CLUSTERS_OWN = ["kube-system", "kube-public", "kube-node-lease"];

/** First match wins. Written as one who is called at night when too much was deleted: what is in doubt stays. */
export const KEPT: Kept[] = [
  {
    resources: ["*.snapshot.storage.k8s.io", "*.groupsnapshot.storage.k8s.io"],
    why: "the snapshots themselves, which are data, would go with them",
  },
  {
    resources: ["csidrivers.storage.k8s.io", "storageclasses.storage.k8s.io", "volumeattributesclasses.storage.k8s.io"],
    why: "volumes and claims, which stay, need their driver and name their class",
  },
  { resources: ["apiservices.apiregistration.k8s.io"], why: "all that its server serves would be gone from the API" },
  { resources: ["leases.coordination.k8s.io"], why: "whoever holds it renews it every few seconds" },
  { resources: ["endpoints"], why: "it goes with its Service" },
  { resources: ["servicecidrs.networking.k8s.io"], why: "every cluster has its own ranges of addresses" },
  { resources: ["*.velero.io"], why: "Velero's own records and settings" },
  {
    why: "it is being deleted already",
    when: ({ metadata }) => metadata.deletionTimestamp !== undefined,
  },
  {
    why: "its owner decides, and takes it along",
    when: ({ metadata }) => (metadata.ownerReferences?.length ?? 0) > 0,
  },
  {
    why: "no backup holds what carries this label",
    when: ({ metadata }, { namespace }, { excluded }) =>
      metadata.labels?.[EXCLUDE_LABEL] === "true" || excluded.has(namespace),
  },
  {
    why: "the cluster's own parts live there; name the namespace to prune it",
    when: (_object, { namespace }, { named }) => CLUSTERS_OWN.includes(namespace) && !named.has(namespace),
  },
  {
    resources: ["serviceaccounts"],
    why: "every namespace has it",
    when: (_object, { name }) => name === "default",
  },
  {
    resources: ["configmaps"],
    why: "leaders renew it every few seconds",
    when: ({ metadata }) => metadata.annotations?.["control-plane.alpha.kubernetes.io/leader"] !== undefined,
  },
  {
    resources: [
      "clusterroles.rbac.authorization.k8s.io",
      "clusterrolebindings.rbac.authorization.k8s.io",
      "roles.rbac.authorization.k8s.io",
      "rolebindings.rbac.authorization.k8s.io",
    ],
    why: "names with a colon are those of the cluster's own parts (system:, kubeadm:, eks:)",
    when: (_object, { name }) => name.includes(":"),
  },
  {
    resources: ["clusterrolebindings.rbac.authorization.k8s.io"],
    why: "it may be what lets its administrators in",
    when: (object) => at(object, "roleRef", "name") === "cluster-admin",
    tell: true,
  },
  {
    why: CLEANS_UP,
    when: ({ metadata }, { resource }) => !isOwn(resource) && (metadata.finalizers?.length ?? 0) > 0,
    tell: true,
  },
];

/**
 * Why no object of the resource (a group-resource string) is pruned; undefined where some may be. Only resources of
 * Kubernetes itself are, and custom ones whose definition is in the backup: whose isn't came to this cluster later, its
 * definition stays, and so do they; and what deleting means to another API server (OpenShift's Projects are Namespaces)
 * isn't known.
 */
export function neverPruned(resource: string, definitions: ReadonlySet<string>): string | undefined {
  const never = neverDeleted(resource);
  if (never) return never;
  if (neverRestored(resource)) return "every cluster makes its own";
  const row = KEPT.find(({ resources, when }) => !when && covers(resources, resource));
  if (row) return row.why;
  if (isOwn(resource) || definitions.has(resource)) return undefined;
  return "its definition isn't in the backup, and stays too";
}

/** Why a live object that the backup doesn't hold stays; undefined where it is pruned. Pure. */
export function keptReason(
  object: KubernetesObject,
  id: ItemId,
  facts: PruneFacts,
): Pick<Kept, "why" | "tell"> | undefined {
  const never = neverPruned(id.resource, facts.definitions);
  if (never) return { why: never };
  const kept = KEPT.find(({ resources, when }) => covers(resources, id.resource) && when?.(object, id, facts));
  if (kept) return kept;
  const skip = skipReason(object.metadata, id, facts.skips, () => object);
  return skip === undefined ? undefined : { why: skip };
}

function covers(resources: string[] | undefined, resource: string): boolean {
  if (!resources) return true;
  return resources.some((one) => (one.startsWith("*.") ? groupOf(resource) === one.slice(2) : one === resource));
}
