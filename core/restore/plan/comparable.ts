import { createHash } from "node:crypto";
import type { KubernetesObject } from "../../archive/item.ts";
import { CONTROLLERS_METADATA, RESTORE_LABELS } from "../../archive/likeness.ts";
import { canonical, drop, entriesOf, type Fields, fieldsAt } from "../../objects/fields.ts";
import { rowsByResource } from "../../objects/rows.ts";
import { withRequest } from "../../volumes/csi/stored.ts";
import { FIXES, type FixContext } from "../fixes.ts";
import { dropNodePorts } from "../nodeports.ts";
import { dropHookContainers, type RestoreHookRule } from "../write/hooks.ts";

/** What comparing knows beside the object. */
export interface CompareFacts {
  /** "Kind namespace/name" of what the target's HorizontalPodAutoscalers scale; undefined where they can't be listed. */
  scaled: Set<string> | undefined;
  /** A restore is undone: its labels must go, and finalizers become what they were. */
  exact?: boolean;
  /** The node ports (as nodeports.ts names them) that are asked for, of the Service compared; none where not given. */
  askedPorts?: { has(port: string): boolean };
  /** Of the restore's spec; none where not given. */
  hooks?: RestoreHookRule[];
  /** Bytes that claims of the target ("namespace/name") are made to ask for, at least, since they are made of a snapshot. */
  snapshotSizes?: ReadonlyMap<string, number>;
}

/** Something of a live object that isn't its author's: comparing disregards it, updating leaves it alone. */
interface Disregard {
  /** Group-resource strings; undefined stands for all. */
  resources?: string[];
  why: string;
  apply: (object: KubernetesObject, facts: CompareFacts) => void;
}

/** What is disregarded beside the fixes that are `clusterOwned`. */
const DISREGARDS: Disregard[] = [
  {
    why: "a restore's own labels: objects of two restores, or of none, can be equal",
    apply: (object, { exact }) => {
      if (!exact) drop(object, ["metadata", "labels"], RESTORE_LABELS);
    },
  },
  {
    why: "controllers set and remove finalizers as they work; an undo gives them back",
    apply: (object, { exact }) => {
      if (!exact) drop(object.metadata, [], CONTROLLERS_METADATA);
    },
  },
  {
    why: "leaders renew it every few seconds",
    resources: ["configmaps", "endpoints"],
    apply: (object) => drop(object, ["metadata", "annotations"], ["control-plane.alpha.kubernetes.io/leader"]),
  },
  {
    why: "leaders renew it every few seconds",
    resources: ["leases.coordination.k8s.io"],
    apply: (object) => drop(object, [], ["spec"]),
  },
  {
    why: "the Deployment controller counts rollouts",
    resources: ["deployments.apps", "replicasets.apps"],
    apply: (object) => drop(object, ["metadata", "annotations"], (key) => key.startsWith("deployment.kubernetes.io/")),
  },
  {
    why: "the API server counts changes of the template",
    resources: ["daemonsets.apps"],
    apply: (object) => drop(object, ["metadata", "annotations"], ["deprecated.daemonset.template.generation"]),
  },
  {
    why: "a HorizontalPodAutoscaler decides on the number of replicas",
    resources: ["deployments.apps", "statefulsets.apps", "replicasets.apps", "replicationcontrollers"],
    apply: (object, { scaled }) => {
      if (!scaled || scaled.has(scaledKey(object.kind, object.metadata.namespace, object.metadata.name)))
        drop(object, ["spec"], ["replicas"]);
    },
  },
  {
    why: "node ports that nobody asked for are given by the cluster, and then kept",
    resources: ["services"],
    apply: (object, { askedPorts = NONE }) => dropNodePorts(object, askedPorts),
  },
  {
    why: "controllers bind claims to volumes; of a bound one it matters no more what it was filled from or selected by",
    resources: ["persistentvolumeclaims"],
    apply: (object) => drop(object, ["spec"], ["volumeName", "dataSource", "dataSourceRef", "selector"]),
  },
  {
    why: "a restored claim asks for as much as the snapshot needs that it is made of",
    resources: ["persistentvolumeclaims"],
    apply: (object, { snapshotSizes }) => {
      const bytes = snapshotSizes?.get(`${object.metadata.namespace}/${object.metadata.name}`);
      if (bytes !== undefined) object.spec = withRequest(object, bytes).spec;
    },
  },
  {
    why: "controllers bind volumes to claims",
    resources: ["persistentvolumes"],
    apply: (object) => {
      drop(object, ["metadata", "annotations"], ["pv.kubernetes.io/bound-by-controller"]);
      drop(object, ["spec"], ["claimRef"]);
    },
  },
  {
    why: "a controller writes the rules together from other ClusterRoles",
    resources: ["clusterroles.rbac.authorization.k8s.io"],
    apply: (object) => {
      if (object.aggregationRule) drop(object, [], ["rules"]);
    },
  },
  {
    why: "init hooks of a restore prepared the Pod once; whether it has them makes no other Pod of it",
    resources: ["pods"],
    apply: (object, { hooks = [] }) => dropHookContainers(object, hooks),
  },
  {
    why: "network plugins write down what they gave the Pod",
    resources: ["pods"],
    apply: (object) =>
      drop(object, ["metadata", "annotations"], (key) =>
        /^(cni\.projectcalico\.org\/|k8s\.v1\.cni\.cncf\.io\/networks?-status$|k8s\.ovn\.org\/pod-networks$)/.test(key),
      ),
  },
  {
    why: "controllers mark when a token was last used",
    resources: ["secrets"],
    apply: (object) => drop(object, ["metadata", "labels"], (key) => key.startsWith("kubernetes.io/legacy-token-")),
  },
  {
    why: "cert-manager writes the certificate authority in where it is asked to",
    resources: [
      "customresourcedefinitions.apiextensions.k8s.io",
      "apiservices.apiregistration.k8s.io",
      "mutatingwebhookconfigurations.admissionregistration.k8s.io",
      "validatingwebhookconfigurations.admissionregistration.k8s.io",
    ],
    apply: (object) => {
      if (!Object.keys(object.metadata.annotations ?? {}).some((key) => key.startsWith("cert-manager.io/inject-")))
        return;
      const holders = [fieldsAt(object, "spec"), fieldsAt(object, "spec", "conversion", "webhook", "clientConfig")];
      const webhooks = entriesOf(object, "webhooks").map((webhook) => fieldsAt(webhook, "clientConfig"));
      for (const holder of [...holders, ...webhooks]) drop(holder, [], ["caBundle"]);
    },
  },
];

const clusterFixesOf = rowsByResource(FIXES.filter(({ clusterOwned }) => clusterOwned));
const disregardsOf = rowsByResource(DISREGARDS);

/**
 * Brings an object, live or about to be created, into the form in which two that say the same are the same: in place,
 * and a second time changes nothing. `resource` is a group-resource string.
 */
export function comparable(object: KubernetesObject, resource: string, facts: CompareFacts): Fields {
  for (const { apply } of clusterFixesOf(resource)) apply(object, NO_CONTEXT, resource);
  for (const { apply } of disregardsOf(resource)) apply(object, facts);
  return object;
}

/** A digest of an object in its comparable form: equal for objects that say the same. 16 bytes, one per character. */
export function digest(object: Fields): string {
  return createHash("sha256").update(canonical(object)).digest().toString("latin1", 0, 16);
}

/** How `CompareFacts.scaled` names an object. */
export function scaledKey(kind: unknown, namespace: unknown, name: unknown): string {
  return `${kind} ${namespace}/${name}`;
}

const NONE = new Set<string>();

/** Fixes that are `clusterOwned` don't look at the restore. */
const NO_CONTEXT: FixContext = {
  backupName: "",
  restoreName: "",
  namespaceMapping: {},
  preserveNodePorts: false,
  keepsVolume: () => true,
};
