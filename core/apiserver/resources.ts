import type { KubernetesObject } from "../archive/item.ts";
import { resourceKey } from "../kube/resource.ts";
import { isRecord } from "./patch.ts";

/** One resource in one version, as the server serves it. */
export interface ServedResource {
  group: string;
  version: string;
  /** The plural name in paths. */
  name: string;
  kind: string;
  listKind: string;
  singular: string;
  shortNames: string[];
  categories: string[];
  namespaced: boolean;
  /** Where its objects are stored: all versions of a resource share one collection. */
  collection: string;
  /** Whether `status` is written through the status subresource alone. */
  hasStatus: boolean;
  /** `status` of a new object, where it gets one. */
  initialStatus?: Record<string, unknown>;
  /** Defined by a CustomResourceDefinition. */
  custom: boolean;
  /** The columns of its Table, where its definition gives some. */
  columns?: PrinterColumn[];
}

/** A column that a definition gives its resource's Table, in Kubernetes' own words. */
export interface PrinterColumn {
  name: string;
  type: string;
  format?: string;
  description?: string;
  priority?: number;
  jsonPath: string;
}

const NAMESPACED = true;
const CLUSTER = false;
const STATUS = {};

/** Plural name, kind, scope, short names, status of a new object (where the kind has a status subresource). */
type Row = [name: string, kind: string, namespaced: boolean, short?: string, status?: Record<string, unknown>];

/**
 * What Kubernetes 1.36 serves and stores (its stable versions; no reviews, bindings or other create-only resources).
 * The groups' order is that of `/apis`.
 */
const BUILT_IN: Record<string, Row[]> = {
  v1: [
    ["configmaps", "ConfigMap", NAMESPACED, "cm"],
    ["endpoints", "Endpoints", NAMESPACED, "ep"],
    ["events", "Event", NAMESPACED, "ev"],
    ["limitranges", "LimitRange", NAMESPACED, "limits"],
    ["namespaces", "Namespace", CLUSTER, "ns", { phase: "Active" }],
    ["nodes", "Node", CLUSTER, "no", STATUS],
    ["persistentvolumeclaims", "PersistentVolumeClaim", NAMESPACED, "pvc", { phase: "Pending" }],
    ["persistentvolumes", "PersistentVolume", CLUSTER, "pv", { phase: "Pending" }],
    ["pods", "Pod", NAMESPACED, "po", { phase: "Pending" }],
    ["podtemplates", "PodTemplate", NAMESPACED],
    ["replicationcontrollers", "ReplicationController", NAMESPACED, "rc", STATUS],
    ["resourcequotas", "ResourceQuota", NAMESPACED, "quota", STATUS],
    ["secrets", "Secret", NAMESPACED],
    ["serviceaccounts", "ServiceAccount", NAMESPACED, "sa"],
    ["services", "Service", NAMESPACED, "svc", { loadBalancer: {} }],
  ],
  "apiregistration.k8s.io/v1": [["apiservices", "APIService", CLUSTER, "", STATUS]],
  "apps/v1": [
    ["controllerrevisions", "ControllerRevision", NAMESPACED],
    ["daemonsets", "DaemonSet", NAMESPACED, "ds", STATUS],
    ["deployments", "Deployment", NAMESPACED, "deploy", STATUS],
    ["replicasets", "ReplicaSet", NAMESPACED, "rs", STATUS],
    ["statefulsets", "StatefulSet", NAMESPACED, "sts", STATUS],
  ],
  "events.k8s.io/v1": [["events", "Event", NAMESPACED, "ev"]],
  "autoscaling/v2": [["horizontalpodautoscalers", "HorizontalPodAutoscaler", NAMESPACED, "hpa", STATUS]],
  "batch/v1": [
    ["cronjobs", "CronJob", NAMESPACED, "cj", STATUS],
    ["jobs", "Job", NAMESPACED, "", STATUS],
  ],
  "certificates.k8s.io/v1": [["certificatesigningrequests", "CertificateSigningRequest", CLUSTER, "csr", STATUS]],
  "networking.k8s.io/v1": [
    ["ingressclasses", "IngressClass", CLUSTER],
    ["ingresses", "Ingress", NAMESPACED, "ing", { loadBalancer: {} }],
    ["ipaddresses", "IPAddress", CLUSTER, "ip"],
    ["networkpolicies", "NetworkPolicy", NAMESPACED, "netpol"],
    ["servicecidrs", "ServiceCIDR", CLUSTER, "", STATUS],
  ],
  "policy/v1": [["poddisruptionbudgets", "PodDisruptionBudget", NAMESPACED, "pdb", STATUS]],
  "rbac.authorization.k8s.io/v1": [
    ["clusterrolebindings", "ClusterRoleBinding", CLUSTER],
    ["clusterroles", "ClusterRole", CLUSTER],
    ["rolebindings", "RoleBinding", NAMESPACED],
    ["roles", "Role", NAMESPACED],
  ],
  "storage.k8s.io/v1": [
    ["csidrivers", "CSIDriver", CLUSTER],
    ["csinodes", "CSINode", CLUSTER],
    ["csistoragecapacities", "CSIStorageCapacity", NAMESPACED],
    ["storageclasses", "StorageClass", CLUSTER, "sc"],
    ["volumeattachments", "VolumeAttachment", CLUSTER, "", STATUS],
    ["volumeattributesclasses", "VolumeAttributesClass", CLUSTER, "vac"],
  ],
  "admissionregistration.k8s.io/v1": [
    ["mutatingadmissionpolicies", "MutatingAdmissionPolicy", CLUSTER],
    ["mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", CLUSTER],
    ["mutatingwebhookconfigurations", "MutatingWebhookConfiguration", CLUSTER],
    ["validatingadmissionpolicies", "ValidatingAdmissionPolicy", CLUSTER, "", STATUS],
    ["validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", CLUSTER],
    ["validatingwebhookconfigurations", "ValidatingWebhookConfiguration", CLUSTER],
  ],
  "apiextensions.k8s.io/v1": [["customresourcedefinitions", "CustomResourceDefinition", CLUSTER, "crd,crds", STATUS]],
  "scheduling.k8s.io/v1": [["priorityclasses", "PriorityClass", CLUSTER, "pc"]],
  "coordination.k8s.io/v1": [["leases", "Lease", NAMESPACED]],
  "node.k8s.io/v1": [["runtimeclasses", "RuntimeClass", CLUSTER]],
  "discovery.k8s.io/v1": [["endpointslices", "EndpointSlice", NAMESPACED]],
  "resource.k8s.io/v1": [
    ["deviceclasses", "DeviceClass", CLUSTER],
    ["resourceclaims", "ResourceClaim", NAMESPACED, "", STATUS],
    ["resourceclaimtemplates", "ResourceClaimTemplate", NAMESPACED],
    ["resourceslices", "ResourceSlice", CLUSTER],
  ],
  "flowcontrol.apiserver.k8s.io/v1": [
    ["flowschemas", "FlowSchema", CLUSTER, "", STATUS],
    ["prioritylevelconfigurations", "PriorityLevelConfiguration", CLUSTER, "", STATUS],
  ],
};

/** What `kubectl get all` and `kubectl get api-extensions` ask for. */
const CATEGORIES = {
  all: "pods replicationcontrollers services daemonsets deployments replicasets statefulsets horizontalpodautoscalers cronjobs jobs",
  "api-extensions": "admissionregistration.k8s.io apiextensions.k8s.io apiregistration.k8s.io",
};

/** Resources that are another one under a second name: events.k8s.io shows the core group's events, fields as they are. */
const SHARED: Record<string, string> = { "events.events.k8s.io": "events" };

/** The built-in resources. */
export const builtIn: ServedResource[] = Object.entries(BUILT_IN).flatMap(([groupVersion, rows]) => {
  const { group, version } = parseGroupVersion(groupVersion);
  return rows.map(([name, kind, namespaced, short = "", initialStatus]): ServedResource => {
    const collection = resourceKey({ group, name });
    return {
      ...{ group, version, name, kind, listKind: `${kind}List`, singular: kind.toLowerCase(), namespaced },
      shortNames: short.split(",").filter(Boolean),
      categories: categoriesOf(group, name),
      collection: SHARED[collection] ?? collection,
      hasStatus: initialStatus !== undefined,
      initialStatus,
      custom: false,
    };
  });
});

function categoriesOf(group: string, name: string): string[] {
  if (CATEGORIES["api-extensions"].split(" ").includes(group)) return ["api-extensions"];
  return CATEGORIES.all.split(" ").includes(name) ? ["all"] : [];
}

/** The parts of a CustomResourceDefinition's `spec` that decide what is served. */
export interface DefinitionSpec {
  group: string;
  scope: "Namespaced" | "Cluster";
  names: {
    plural: string;
    kind: string;
    listKind?: string;
    singular?: string;
    shortNames?: string[];
    categories?: string[];
  };
  versions: {
    name: string;
    served: boolean;
    storage: boolean;
    subresources?: { status?: object };
    additionalPrinterColumns?: PrinterColumn[];
  }[];
}

/** A definition's `spec`; undefined where it lacks what the API server lets no definition go without. */
export function definitionSpec({ spec }: KubernetesObject): DefinitionSpec | undefined {
  if (!isRecord(spec)) return undefined;
  const { group, names, versions } = spec as Partial<DefinitionSpec>;
  const isSound = names?.plural && names.kind && group && Array.isArray(versions) && versions.every(isRecord);
  return isSound ? (spec as unknown as DefinitionSpec) : undefined;
}

/** The resources that a CustomResourceDefinition defines: one for each served version, the preferred one first. */
export function definedResources(definition: KubernetesObject): ServedResource[] {
  const spec = definitionSpec(definition);
  if (!spec) return [];
  const { group, scope, names, versions } = spec;
  const served = versions.filter((version) => version.served).sort((a, b) => compareVersions(a.name, b.name));
  return served.map((version) => ({
    ...{ group, version: version.name, name: names.plural, kind: names.kind, custom: true },
    listKind: names.listKind ?? `${names.kind}List`,
    singular: names.singular ?? names.kind.toLowerCase(),
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    namespaced: scope === "Namespaced",
    collection: resourceKey({ group, name: names.plural }),
    hasStatus: version.subresources?.status !== undefined,
    columns: version.additionalPrinterColumns,
  }));
}

/** "apps/v1" or "v1" in its parts. */
export function parseGroupVersion(apiVersion: string): { group: string; version: string } {
  const slash = apiVersion.indexOf("/");
  return { group: apiVersion.slice(0, Math.max(slash, 0)), version: apiVersion.slice(slash + 1) };
}

/** Kubernetes' order of version names, preferred first: v2, v1, v2beta1, v1beta2, v1alpha1, then all others by name. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [versionRank(a), versionRank(b)];
  for (let index = 0; index < 3; index++) {
    const difference = right[index]! - left[index]!;
    if (difference !== 0) return difference;
  }
  return a < b ? -1 : Number(a > b);
}

function versionRank(version: string): [stage: number, major: number, minor: number] {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
  if (!match) return [0, 0, 0];
  const stage = match[2] === "alpha" ? 1 : match[2] === "beta" ? 2 : 3;
  return [stage, Number(match[1]), Number(match[3] ?? 0)];
}
