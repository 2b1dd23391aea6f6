/** How strategic merge patches treat one field: a list merged by a key of its entries ("" for one of plain values), or replaced. */
export interface MergeRule {
  /** The entries of a list are merged: by this key, or, "", as a set of plain values. Lists without one are replaced. */
  key?: string;
  /** An object is replaced, not merged. */
  replaced?: boolean;
  /** The rules of what is inside. */
  fields?: MergeRules;
}

export type MergeRules = Record<string, MergeRule>;

const META: MergeRules = { ownerReferences: { key: "uid" }, finalizers: { key: "" } };

const CONTAINER: MergeRules = {
  ports: { key: "containerPort" },
  env: { key: "name" },
  volumeMounts: { key: "mountPath" },
  volumeDevices: { key: "devicePath" },
};

const POD_SPEC: MergeRules = {
  volumes: {
    key: "name",
    fields: { ephemeral: { fields: { volumeClaimTemplate: { fields: { metadata: { fields: META } } } } } },
  },
  containers: { key: "name", fields: CONTAINER },
  initContainers: { key: "name", fields: CONTAINER },
  ephemeralContainers: { key: "name", fields: CONTAINER },
  imagePullSecrets: { key: "name" },
  hostAliases: { key: "ip" },
  topologySpreadConstraints: { key: "topologyKey" },
  schedulingGates: { key: "name" },
  resourceClaims: { key: "name" },
};

const POD: MergeRules = { metadata: { fields: META }, spec: { fields: POD_SPEC } };
const TEMPLATED: MergeRules = { spec: { fields: { template: { fields: POD } } } };
const WEBHOOKS: MergeRules = { webhooks: { key: "name", fields: { matchConditions: { key: "name" } } } };

const BY_RESOURCE: Record<string, MergeRules> = {
  pods: POD,
  podtemplates: { template: { fields: POD } },
  replicationcontrollers: TEMPLATED,
  "replicasets.apps": TEMPLATED,
  "deployments.apps": TEMPLATED,
  "statefulsets.apps": TEMPLATED,
  "daemonsets.apps": TEMPLATED,
  "jobs.batch": TEMPLATED,
  "cronjobs.batch": { spec: { fields: { jobTemplate: { fields: { metadata: { fields: META }, ...TEMPLATED } } } } },
  services: { spec: { fields: { ports: { key: "port" } } } },
  serviceaccounts: { secrets: { key: "name" } },
  "poddisruptionbudgets.policy": { spec: { fields: { selector: { replaced: true } } } },
  "mutatingwebhookconfigurations.admissionregistration.k8s.io": WEBHOOKS,
  "validatingwebhookconfigurations.admissionregistration.k8s.io": WEBHOOKS,
  "validatingadmissionpolicies.admissionregistration.k8s.io": {
    spec: { fields: { matchConditions: { key: "name" }, variables: { key: "name" } } },
  },
};

/** The groups of Velero's scheme: Kubernetes' own (k8s.io/client-go/kubernetes/scheme) and four of custom resources. */
const GROUPS = new Set([
  "",
  "admissionregistration.k8s.io",
  "apps",
  "authentication.k8s.io",
  "authorization.k8s.io",
  "autoscaling",
  "batch",
  "certificates.k8s.io",
  "coordination.k8s.io",
  "discovery.k8s.io",
  "events.k8s.io",
  "extensions",
  "flowcontrol.apiserver.k8s.io",
  "internal.apiserver.k8s.io",
  "networking.k8s.io",
  "node.k8s.io",
  "policy",
  "rbac.authorization.k8s.io",
  "resource.k8s.io",
  "scheduling.k8s.io",
  "storage.k8s.io",
  "storagemigration.k8s.io",
  "apiextensions.k8s.io",
  "groupsnapshot.storage.k8s.io",
  "snapshot.storage.k8s.io",
  "velero.io",
]);

/**
 * The rules of a resource (a group-resource string), from the tags `patchStrategy` and `patchMergeKey` of Kubernetes' types (k8s.io/api
 * 0.33, meta/v1); those of `status` are left out, which no restore sends. Undefined for resources that Velero has no type
 * of, whose strategic patches it refuses.
 */
export function mergeRules(resource: string): MergeRules | undefined {
  const group = resource.includes(".") ? resource.slice(resource.indexOf(".") + 1) : "";
  if (!GROUPS.has(group)) return undefined;
  return { metadata: { fields: META }, ...(Object.hasOwn(BY_RESOURCE, resource) ? BY_RESOURCE[resource] : {}) };
}
