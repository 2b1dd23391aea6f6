import type { ItemId, KubernetesObject } from "../archive/item.ts";
import { CLUSTER_SPEC, SERVER_METADATA } from "../archive/likeness.ts";
import { parseExact } from "../kube/json.ts";
import { BACKUP_NAME, labelValue, RESTORE_NAME } from "../labels.ts";
import { canonical, drop, entriesOf, type Fields, fieldsAt } from "../objects/fields.ts";
import { NAMESPACES, VOLUMES } from "../objects/resources.ts";
import { rowsByResource } from "../objects/rows.ts";
import { asItWas } from "../volumes/csi/stored.ts";
import { type Conversions, convert } from "./apiversions.ts";
import { CLONE_FIXES, type CloneOptions } from "./clone/clone.ts";
import { type ModifierRule, mayModify, modify } from "./modifiers/modifiers.ts";
import { dropChosenNodePorts } from "./nodeports.ts";
import { addHookContainers, INIT_ANNOTATION, type RestoreHookRule } from "./write/hooks.ts";

/** What the fixes of one restore know beside the object. */
export interface FixContext extends CloneOptions {
  backupName: string;
  restoreName: string;
  /** From namespaces of the source to those of the target; absent ones keep their name. */
  namespaceMapping: Record<string, string>;
  preserveNodePorts: boolean;
  /** A restore is undone: objects get back the labels they had, and no others. */
  exact?: boolean;
  /** Of the spec; none where not given. */
  hooks?: RestoreHookRule[];
  /** None where not given. */
  conversions?: Conversions;
  modifiers?: ModifierRule[];
  /** Names in the target of volumes that are made anew beside their originals; none where not given. */
  volumeClones?: ReadonlyMap<string, string>;
  /** Whether the claim ("namespace/name" in the target) finds the volume it was bound to, by its name in the target. */
  keepsVolume: (volume: string, claim: string) => boolean;
}

/** One change made to objects before they are created. It works on the object itself, and tells what it could not do. */
export interface Fix {
  id: string;
  /** Group-resource strings; undefined stands for all. */
  resources?: string[];
  why: string;
  source: string;
  /** Whether it removes what belongs to a cluster, not to the object: then comparing disregards it too, on both sides. */
  clusterOwned: boolean;
  /**
   * Whether it surely changes nothing of an object, given as JSON, that comparing regards. Objects that no fix may change
   * are compared by their bytes (archive/likeness.ts); a fix that doesn't say so may.
   */
  idle?: (context: FixContext, body: Buffer, resource: string) => boolean;
  apply: Apply<void> | Apply<string[]>;
}

type Apply<Result> = (object: KubernetesObject, context: FixContext, resource: string) => Result;

/** Every change a restore makes to an object, in this order, beside its owner references (see owners.ts). */
export const FIXES: Fix[] = [
  {
    id: "api-version",
    why: "this cluster doesn't serve the version that the backup holds",
    source: "Kubernetes deprecated API migration guide; CustomResourceDefinition conversion",
    clusterOwned: false,
    idle: ({ conversions }) => !conversions?.size,
    apply: (object, { conversions }, resource) => {
      if (conversions) convert(object, resource, conversions);
    },
  },
  ...CLONE_FIXES,
  {
    id: "node-ports",
    resources: ["services"],
    why: "node ports that the source cluster chose may be taken here",
    source: "velero.io/service (5.7.1)",
    clusterOwned: false,
    idle: ({ preserveNodePorts }, body) => preserveNodePorts || !body.includes("odePort"),
    apply: (object, { preserveNodePorts }) => {
      if (!preserveNodePorts) dropChosenNodePorts(object);
    },
  },
  {
    id: "cluster-ips",
    resources: ["services"],
    why: "addresses belong to the source cluster's range; None is no address",
    source: "velero.io/service",
    clusterOwned: true,
    apply: ({ spec }) => {
      if (fieldsAt(spec)?.clusterIP !== "None") drop(spec, [], CLUSTER_SPEC.services);
    },
  },
  {
    id: "status",
    why: "this cluster's controllers write their own",
    source: "Velero restoreItem (5.5)",
    clusterOwned: true,
    apply: (object) => drop(object, [], ["status"]),
  },
  {
    id: "server-metadata",
    why: "the API server sets it anew; owner references are written by owners.ts, managedFields by the API server",
    source: "Velero resetMetadata (5.5); managedFields: design section 5",
    clusterOwned: true,
    apply: (object) => drop(object.metadata, [], SERVER_METADATA),
  },
  {
    id: "namespace-finalizer",
    resources: ["namespaces"],
    why: "the API server writes the Namespace's own name and finalizer",
    source: "Kubernetes namespace strategy",
    clusterOwned: true,
    apply: (object) => {
      drop(object, ["metadata", "labels"], ["kubernetes.io/metadata.name"]);
      drop(object, ["spec"], ["finalizers"]);
    },
  },
  {
    id: "pod-placement",
    resources: ["pods"],
    why: "nodes, their places and the numbers behind priority classes differ between clusters",
    source: "velero.io/pod; the labels: Kubernetes' PodTopologyLabels admission, which copies them from the node",
    clusterOwned: true,
    apply: (object) => {
      drop(object, ["spec"], CLUSTER_SPEC.pods);
      drop(object, ["metadata", "labels"], ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"]);
    },
  },
  {
    id: "pod-token-volumes",
    resources: ["pods"],
    why: "admission mounts a token of this cluster",
    source: "velero.io/pod",
    clusterOwned: true,
    apply: dropTokenVolumes,
  },
  {
    id: "pod-ephemeral-containers",
    resources: ["pods"],
    why: "debugging sessions of the past; the API server refuses them in a new Pod",
    source: "Kubernetes pod validation",
    clusterOwned: true,
    apply: (object) => drop(object, ["spec"], ["ephemeralContainers"]),
  },
  {
    id: "job-selector",
    resources: ["jobs.batch"],
    why: "they hold the UID of the source's Job; the new Job gets its own",
    source: "velero.io/job",
    clusterOwned: true,
    apply: (object) => {
      const uidLabels = ["controller-uid", "batch.kubernetes.io/controller-uid"];
      drop(object, ["spec", "selector", "matchLabels"], uidLabels);
      drop(object, ["spec", "template", "metadata", "labels"], uidLabels);
    },
  },
  {
    id: "claim-source",
    resources: ["persistentvolumeclaims"],
    why: "a bound claim was filled from its source long ago; a new volume would wait for a snapshot that isn't here, and none is made for a selector",
    source: "velero.io/pv, which Velero applies when it backs up (4.7)",
    clusterOwned: false,
    apply: (object) => {
      const spec = fieldsAt(object, "spec");
      if (!spec?.volumeName) return;
      drop(
        spec,
        [],
        spec.storageClassName === "" ? ["dataSource", "dataSourceRef"] : ["dataSource", "dataSourceRef", "selector"],
      );
    },
  },
  {
    id: "claim-binding",
    resources: ["persistentvolumeclaims"],
    why: "what was bound, provisioned and placed in the source cluster must be so again here",
    source: "velero.io/pvc, Velero restoreItem (5.5)",
    clusterOwned: true,
    apply: (object) => {
      drop(object, ["metadata", "annotations"], CLAIM_ANNOTATIONS);
      asItWas(object);
    },
  },
  {
    id: "claim-volume",
    resources: ["persistentvolumeclaims"],
    why: "a claim that names a volume which doesn't come back would wait for ever: it gets a new one",
    source: "Velero restoreItem (5.5, 5.8)",
    clusterOwned: false,
    apply: (object, context) => {
      const spec = fieldsAt(object, "spec");
      if (typeof spec?.volumeName !== "string") return;
      const claim = `${targetNamespace(object.metadata.namespace ?? "", context)}/${object.metadata.name}`;
      const volume = context.volumeClones?.get(spec.volumeName) ?? spec.volumeName;
      if (context.keepsVolume(volume, claim)) spec.volumeName = volume;
      else delete spec.volumeName;
    },
  },
  {
    id: "volume-binding",
    resources: ["persistentvolumes"],
    why: "the volume waits for the restored claim, which has another UID",
    source: "Velero resetVolumeBindingInfo (5.8)",
    clusterOwned: false,
    apply: (object) => {
      drop(object, ["spec", "claimRef"], ["uid", "resourceVersion"]);
      drop(
        object,
        ["metadata", "annotations"],
        ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"],
      );
    },
  },
  {
    id: "volume-clone",
    resources: ["persistentvolumes"],
    why: "the original may be in this cluster: what is made anew for a claim in another namespace has a name of its own",
    source: "Velero restoreItem (5.8)",
    clusterOwned: false,
    idle: ({ volumeClones }) => !volumeClones?.size,
    apply: ({ metadata }, { volumeClones }) => {
      const clone = volumeClones?.get(metadata.name);
      if (!clone) return;
      metadata.annotations = { ...metadata.annotations, "velero.io/original-pv-name": metadata.name };
      metadata.name = clone;
    },
  },
  {
    id: "volume-claim-namespace",
    resources: ["persistentvolumes"],
    why: "the claim may be restored into another namespace",
    source: "Velero namespaceMapping (5.8)",
    clusterOwned: false,
    idle: mapsNothing,
    apply: (object, context) => mapNamespace(fieldsAt(object, "spec", "claimRef"), context),
  },
  {
    id: "account-token-data",
    resources: ["secrets"],
    why: "tokens and the certificate authority of the source cluster are worth nothing here; controllers fill in this cluster's",
    source: "velero.io/secret",
    clusterOwned: true,
    apply: (object) => {
      if (object.type !== "kubernetes.io/service-account-token") return;
      drop(object, ["metadata", "annotations"], ["kubernetes.io/service-account.uid"]);
      drop(object, ["data"], ["token", "ca.crt", "namespace"]);
    },
  },
  {
    id: "account-token-secrets",
    resources: ["serviceaccounts"],
    why: "the source cluster made these token Secrets; they are not restored",
    source: "velero.io/service-account",
    clusterOwned: true,
    apply: (object) => {
      dropNamed(object, "secrets", `${object.metadata.name}-token-`);
    },
  },
  {
    id: "binding-subjects",
    resources: ["rolebindings.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io"],
    why: "the accounts may be restored into another namespace",
    source: "velero.io/role-bindings, velero.io/cluster-role-bindings",
    clusterOwned: false,
    idle: mapsNothing,
    apply: (object, context) => {
      for (const subject of entriesOf(object, "subjects")) mapNamespace(subject, context);
    },
  },
  {
    id: "crd-unknown-fields",
    resources: ["customresourcedefinitions.apiextensions.k8s.io"],
    why: "apiextensions/v1 refuses preserveUnknownFields: true, which v1beta1 allowed, and says the same in the schema",
    source: "velero.io/crd-preserve-fields",
    clusterOwned: true,
    apply: (object) => {
      const spec = fieldsAt(object, "spec");
      if (object.apiVersion !== "apiextensions.k8s.io/v1" || spec?.preserveUnknownFields !== true) return;
      delete spec.preserveUnknownFields;
      for (const version of entriesOf(spec, "versions")) {
        const schema = fieldsAt(version, "schema", "openAPIV3Schema");
        if (schema) schema["x-kubernetes-preserve-unknown-fields"] = true;
      }
    },
  },
  {
    id: "webhook-side-effects",
    resources: [
      "mutatingwebhookconfigurations.admissionregistration.k8s.io",
      "validatingwebhookconfigurations.admissionregistration.k8s.io",
    ],
    why: "admissionregistration/v1 takes only None and NoneOnDryRun",
    source: "velero.io/admission-webhook-configuration",
    clusterOwned: true,
    apply: (object) => {
      for (const webhook of entriesOf(object, "webhooks")) {
        if (!["None", "NoneOnDryRun"].includes(String(webhook.sideEffects))) webhook.sideEffects = "None";
      }
    },
  },
  {
    id: "init-hooks",
    resources: ["pods"],
    why: "restore hooks: containers that prepare a restored Pod before its own begin; comparing disregards them",
    source: "velero.io/init-restore-hook (5.9)",
    clusterOwned: false,
    idle: ({ hooks = [] }, body) =>
      !body.includes(INIT_ANNOTATION) && hooks.every(({ initContainers }) => initContainers.length === 0),
    apply: (object, context) => {
      const { exact, hooks = [] } = context;
      if (!exact) addHookContainers(object, targetNamespace(object.metadata.namespace ?? "", context), hooks);
    },
  },
  {
    id: "resource-modifiers",
    why: "the user's own changes, which see what all others made of the object",
    source: "Velero restoreItem, internal/resourcemodifiers (5.10)",
    clusterOwned: false,
    idle: ({ modifiers }, _body, resource) => !mayModify(resource, modifiers),
    apply: (object, { modifiers }, resource) => modify(object, resource, modifiers),
  },
  {
    id: "namespace",
    why: "namespaceMapping",
    source: "Velero restoreItem (5.5)",
    clusterOwned: false,
    idle: mapsNothing,
    apply: (object, context) => {
      if (object.kind === "Namespace" && object.apiVersion === "v1")
        object.metadata.name = targetNamespace(object.metadata.name, context);
      else mapNamespace(object.metadata, context);
    },
  },
  {
    id: "restore-labels",
    why: "says where the object came from",
    source: "Velero addRestoreLabels (5.5)",
    clusterOwned: false,
    idle: () => true,
    apply: (object, context) => {
      if (!context.exact) object.metadata.labels = { ...object.metadata.labels, ...restoreLabels(context) };
    },
  },
];

const fixesOf = rowsByResource(FIXES);

/**
 * Makes the object of a backup what is sent to the target: applies every fix of its resource (a group-resource string), in place.
 * Gives what could not be done; the object is restored nevertheless.
 */
export function fix(object: KubernetesObject, resource: string, context: FixContext): string[] {
  return fixesOf(resource).flatMap(({ apply }) => {
    const undone = apply(object, context, resource);
    return Array.isArray(undone) ? undone : [];
  });
}

/**
 * Whether `namespaceMapping` changes what an object, given as JSON, refers to and not where it stands: the subjects of a
 * binding, the claim of a volume. One that exists is then that of the unmapped namespaces too, and is not replaced.
 */
export function refersElsewhere(body: Buffer, resource: string, context: FixContext): boolean {
  if (mapsNothing(context) || resource === "namespaces") return false;
  const [mapped, plain] = [parseExact(body), parseExact(body)] as [KubernetesObject, KubernetesObject];
  const { namespace = "" } = plain.metadata;
  if (targetNamespace(namespace, context) !== namespace) return false;
  fix(mapped, resource, context);
  if (mapped.metadata.name !== plain.metadata.name) return false;
  fix(plain, resource, { ...context, namespaceMapping: {} });
  return canonical(mapped) !== canonical(plain);
}

/** Whether the fixes of a restore leave an object of the backup as it is, apart from what comparing disregards. */
export function fixesNothing(body: Buffer, resource: string, context: FixContext): boolean {
  return fixesOf(resource).every(({ clusterOwned, idle }) => clusterOwned || idle?.(context, body, resource));
}

function mapsNothing({ namespaceMapping }: FixContext): boolean {
  return Object.keys(namespaceMapping).length === 0;
}

/** The namespace of the target for one of the source; "" stays "". */
export function targetNamespace(namespace: string, { namespaceMapping }: Pick<FixContext, "namespaceMapping">): string {
  return Object.hasOwn(namespaceMapping, namespace) ? namespaceMapping[namespace]! : namespace;
}

/** The name in the target of what the backup has under this one. */
export function targetName(
  { resource, name }: Pick<ItemId, "resource" | "name">,
  context: Pick<FixContext, "namespaceMapping" | "volumeClones">,
): string {
  if (resource === NAMESPACES) return targetNamespace(name, context);
  return (resource === VOLUMES && context.volumeClones?.get(name)) || name;
}

/** The labels of every restored object; none where a restore is undone. */
export function restoreLabels({
  backupName,
  restoreName,
  exact,
}: Pick<FixContext, "backupName" | "restoreName" | "exact">): Record<string, string> {
  if (exact) return {};
  return { [BACKUP_NAME]: labelValue(backupName), [RESTORE_NAME]: labelValue(restoreName) };
}

const CLAIM_ANNOTATIONS = [
  "pv.kubernetes.io/bind-completed",
  "pv.kubernetes.io/bound-by-controller",
  "volume.kubernetes.io/storage-provisioner",
  "volume.beta.kubernetes.io/storage-provisioner",
  "volume.kubernetes.io/selected-node",
  "velero.io/data-upload-name",
];

function dropTokenVolumes(pod: KubernetesObject): void {
  const spec = fieldsAt(pod, "spec");
  if (typeof spec?.serviceAccountName !== "string" || !spec.serviceAccountName) return;
  const token = `${spec.serviceAccountName}-token-`;
  dropNamed(spec, "volumes", token);
  for (const container of [...entriesOf(spec, "containers"), ...entriesOf(spec, "initContainers")])
    dropNamed(container, "volumeMounts", token);
}

/** Removes the list's entries whose name begins so, and a list that is then empty. */
function dropNamed(holder: Fields, list: string, prefix: string): void {
  const entries = entriesOf(holder, list);
  const kept = entries.filter(({ name }) => typeof name !== "string" || !name.startsWith(prefix));
  if (kept.length === entries.length) return;
  if (kept.length) holder[list] = kept;
  else delete holder[list];
}

function mapNamespace(holder: { namespace?: unknown } | undefined, context: FixContext): void {
  if (typeof holder?.namespace === "string") holder.namespace = targetNamespace(holder.namespace, context);
}
