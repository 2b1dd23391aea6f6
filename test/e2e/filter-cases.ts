import type { LabelSelector } from "../../core/index.ts";

/** The fields of Velero's BackupSpec that say what takes part. */
export interface Filters {
  includedNamespaces?: string[];
  excludedNamespaces?: string[];
  includedResources?: string[];
  excludedResources?: string[];
  includeClusterResources?: boolean;
  includedClusterScopedResources?: string[];
  excludedClusterScopedResources?: string[];
  includedNamespaceScopedResources?: string[];
  excludedNamespaceScopedResources?: string[];
  labelSelector?: LabelSelector;
  orLabelSelectors?: LabelSelector[];
  orderedResources?: Record<string, string>;
  resourcePolicy?: { kind: "configmap"; name: string };
  volumeGroupSnapshotLabelKey?: string;
}

/** Velero's older filters, of both scopes together. */
export const OLD = ["includedResources", "excludedResources", "includeClusterResources"] as const;

const label = (matchLabels: Record<string, string>): LabelSelector => ({ matchLabels });
const policy = (name: string): Filters => ({ resourcePolicy: { kind: "configmap", name } });

/** Filters that Velero takes; the cluster is `applyShop` and `FILTERED_CLUSTER`. */
export const CASES: Filters[] = [
  {},
  // Namespaces.
  { includedNamespaces: ["*"] },
  { includedNamespaces: ["shop"] },
  { includedNamespaces: ["shop", "shop-data"] },
  { includedNamespaces: ["team-*"] },
  { includedNamespaces: ["team-?", "shop"] },
  { includedNamespaces: ["team-[ab]"] },
  { includedNamespaces: ["team-[a-b]", "empty"] },
  { includedNamespaces: ["*-*"], excludedNamespaces: ["kube-*"] },
  { includedNamespaces: ["shop"], excludedNamespaces: ["sh*"] },
  { includedNamespaces: ["empty"] },
  { excludedNamespaces: ["shop"] },
  { excludedNamespaces: ["kube-*", "team-?"] },
  { excludedNamespaces: ["nothing-*"] },
  { includedNamespaces: ["shop", "no-such-namespace"] },
  { includedNamespaces: ["[a-z]*"] },
  // The older filters.
  { includeClusterResources: true },
  { includeClusterResources: false },
  { includeClusterResources: true, includedNamespaces: ["shop"] },
  { includeClusterResources: false, includedNamespaces: ["shop"] },
  { includeClusterResources: true, excludedNamespaces: ["shop"] },
  { includedResources: ["*"] },
  { includedResources: ["pods"] },
  { includedResources: ["po", "pvc"] },
  { includedResources: ["persistentvolumeclaims", "persistentvolumes"], includedNamespaces: ["shop-data"] },
  { includedResources: ["deployments.apps", "cm"], includedNamespaces: ["shop"] },
  { includedResources: ["serviceaccounts"] },
  { includedResources: ["serviceaccounts"], includeClusterResources: true },
  { includedResources: ["sa", "clusterroles"], includedNamespaces: ["shop"] },
  { includedResources: ["*.cert-manager.io"] },
  { includedResources: ["certificates"], includedNamespaces: ["shop"] },
  { includedResources: ["certificates"], includeClusterResources: true },
  { includedResources: ["{pods,secrets}"] },
  { includedResources: ["config*"] },
  { includedResources: ["namespaces"] },
  { includedResources: ["namespaces"], includedNamespaces: ["team-*"] },
  { includedResources: ["crd"] },
  { includedResources: ["storageclasses", "clusterissuers"] },
  { includedResources: ["deploy"], excludedResources: ["deployments"] },
  { excludedResources: ["secrets"] },
  { excludedResources: ["secrets", "namespaces"] },
  { excludedResources: ["crd"] },
  { excludedResources: ["crd"], includedNamespaces: ["shop"] },
  { excludedResources: ["pv", "priorityclasses"], includedNamespaces: ["shop"] },
  { excludedResources: ["*.rbac.authorization.k8s.io"] },
  { excludedResources: ["pods"], excludedNamespaces: ["team-a"] },
  { excludedResources: ["persistentvolumes"], includeClusterResources: true, includedNamespaces: ["shop-data"] },
  { includedResources: ["volumesnapshots", "cm"] },
  { includedResources: ["volumesnapshots.snapshot.storage.k8s.io"], includedNamespaces: ["team-a"] },
  { excludedResources: ["no-such-resource"], includedNamespaces: ["shop"] },
  // The newer filters, of each scope.
  { includedClusterScopedResources: ["*"] },
  { includedClusterScopedResources: ["*"], includedNamespaces: ["shop"] },
  { includedClusterScopedResources: ["storageclasses", "clusterissuers.cert-manager.io"] },
  { includedClusterScopedResources: ["crd"], includedNamespaces: ["shop"] },
  { includedClusterScopedResources: ["*.rbac.authorization.k8s.io"], excludedNamespaceScopedResources: ["*"] },
  { includedClusterScopedResources: ["clusterrolebindings"], includedNamespaceScopedResources: ["sa"] },
  { excludedClusterScopedResources: ["*"] },
  { excludedClusterScopedResources: ["*"], excludedNamespaceScopedResources: ["*"] },
  { excludedClusterScopedResources: ["crd"] },
  { excludedClusterScopedResources: ["persistentvolumes", "priorityclasses"], includedNamespaces: ["shop*"] },
  { excludedClusterScopedResources: ["clusterroles"], includedNamespaces: ["shop"] },
  { excludedClusterScopedResources: ["clusterrolebindings"], includedNamespaces: ["shop"] },
  { excludedClusterScopedResources: ["namespaces"], includedNamespaces: ["shop"] },
  { includedNamespaceScopedResources: ["*"] },
  { includedNamespaceScopedResources: ["pods"] },
  { includedNamespaceScopedResources: ["pods", "pvc"], includedNamespaces: ["shop"] },
  { includedNamespaceScopedResources: ["persistentvolumeclaims"] },
  { includedNamespaceScopedResources: ["sealedsecrets", "certificates"] },
  { includedNamespaceScopedResources: ["clusterroles"], includedNamespaces: ["team-a"] },
  { excludedNamespaceScopedResources: ["secrets", "cm"] },
  { excludedNamespaceScopedResources: ["*"] },
  { excludedNamespaceScopedResources: ["pvc"], includedNamespaces: ["shop"] },
  { excludedNamespaceScopedResources: ["pods"], excludedNamespaces: ["shop"] },
  {
    includedClusterScopedResources: ["persistentvolumes"],
    includedNamespaceScopedResources: ["configmaps"],
    excludedNamespaces: ["kube-*"],
  },
  // Labels, and what comes along.
  { labelSelector: label({ app: "web" }) },
  { labelSelector: label({ app: "web" }), includedNamespaces: ["shop"] },
  { labelSelector: label({ app: "web" }), includeClusterResources: true },
  { labelSelector: label({ app: "web" }), includedResources: ["pods"] },
  { labelSelector: label({ app: "claim" }) },
  { labelSelector: label({ app: "claim" }), excludedNamespaceScopedResources: ["pods"] },
  { labelSelector: label({ app: "reader" }) },
  { labelSelector: label({ app: "reader" }), includedResources: ["sa"] },
  { labelSelector: label({ app: "hidden" }) },
  { labelSelector: label({ app: "doomed" }) },
  { labelSelector: label({ app: "custom" }) },
  { labelSelector: label({ app: "custom" }), includeClusterResources: true },
  { labelSelector: label({ team: "a" }) },
  { labelSelector: label({ team: "a" }), includedNamespaces: ["shop"] },
  { labelSelector: label({ team: "a" }), excludedNamespaces: ["team-a"] },
  { labelSelector: label({ none: "none" }) },
  { labelSelector: { matchExpressions: [{ key: "app", operator: "In", values: ["web", "claim"] }] } },
  { labelSelector: { matchExpressions: [{ key: "app", operator: "Exists" }] }, includedNamespaces: ["team-*"] },
  { labelSelector: { matchExpressions: [{ key: "app", operator: "DoesNotExist" }] } },
  { labelSelector: label({ app: "web" }), excludedResources: ["secrets"], excludedNamespaces: ["team-b"] },
  { orLabelSelectors: [label({ app: "web" }), label({ app: "claim" })] },
  { orLabelSelectors: [label({ app: "web" }), label({ tier: "front" })], includedNamespaces: ["shop", "team-b"] },
  { orLabelSelectors: [label({ team: "a" }), label({ app: "cart" })] },
  { orLabelSelectors: [label({ app: "reader" }), label({ app: "reader" })], includeClusterResources: false },
  { labelSelector: {} },
  { labelSelector: { matchLabels: {} }, includedNamespaces: ["shop"] },
  { labelSelector: label({ app: "claim" }), volumeGroupSnapshotLabelKey: "none" },
  { labelSelector: label({ app: "claim" }), volumeGroupSnapshotLabelKey: "group" },
  // Order within the archive.
  { orderedResources: { pods: "team-b/second,team-b/first" }, includedNamespaces: ["team-b"] },
  // Resource policies.
  policy("adds"),
  { ...policy("adds"), includedNamespaceScopedResources: ["secrets"] },
  { ...policy("adds"), includedNamespaces: ["team-*"], excludedClusterScopedResources: ["storageclasses"] },
  policy("excludes"),
  { ...policy("excludes"), includedNamespaces: ["shop"] },
  { ...policy("skips"), includedNamespaces: ["shop-data"] },
  policy("by-kind"),
  { ...policy("by-kind"), includedNamespaces: ["team-a", "team-b"] },
  { ...policy("by-kind"), labelSelector: label({ app: "claim" }) },
  policy("cluster-kinds"),
  { ...policy("cluster-kinds"), includedClusterScopedResources: ["*"], includedNamespaces: ["shop"] },
];

/** What looks odd, and Velero takes. */
export const ACCEPTED: Filters[] = [
  { includedNamespaces: ["team-a", "team-a"] },
  { includedNamespaces: [], excludedNamespaces: [] },
  { includedNamespaces: ["empty"], includedResources: ["deploy"], excludedResources: ["deployments.apps"] },
  { includedNamespaces: ["empty"], includedResources: [], includedNamespaceScopedResources: ["pods"] },
  { includedNamespaces: ["em[a-z]ty"] },
  { includedNamespaces: ["empty"], excludedClusterScopedResources: ["*"] },
];

/** What Velero refuses. */
export const REFUSED: Filters[] = [
  { includedNamespaces: ["*", "shop"] },
  { excludedNamespaces: ["*"] },
  { includedNamespaces: ["shop"], excludedNamespaces: ["shop"] },
  { includedNamespaces: ["a|b"] },
  { includedNamespaces: ["{a,b}"] },
  { includedNamespaces: ["a**"] },
  { includedNamespaces: ["a[]"] },
  { includedNamespaces: ["a[b"] },
  { excludedNamespaces: ["a]b"] },
  { includedNamespaces: ["Shop"] },
  { includedNamespaces: ["-a"] },
  { includedNamespaces: ["[A]"] },
  { includedResources: ["*", "pods"] },
  { excludedResources: ["*"] },
  { includedResources: ["pods"], excludedResources: ["pods"] },
  { includedClusterScopedResources: ["*", "nodes"] },
  { excludedClusterScopedResources: ["*", "nodes"] },
  { includedClusterScopedResources: ["nodes"], excludedClusterScopedResources: ["*"] },
  { includedNamespaceScopedResources: ["pods"], excludedNamespaceScopedResources: ["pods"] },
  { includedNamespaceScopedResources: ["pods", "*"] },
  { includedResources: ["pods"], includedNamespaceScopedResources: ["pods"] },
  { includeClusterResources: false, excludedClusterScopedResources: ["nodes"] },
  { excludedResources: ["pods"], excludedNamespaceScopedResources: ["secrets"] },
  { labelSelector: label({ a: "b" }), orLabelSelectors: [label({ a: "b" })] },
  { labelSelector: label({ a: "b" }), orLabelSelectors: [] },
  policy("missing"),
  policy("two-keys"),
  policy("unknown-field"),
  policy("no-version"),
  policy("star"),
  policy("both"),
  policy("no-kinds"),
  policy("kind-twice"),
  policy("two-catch-alls"),
  policy("pattern-twice"),
  { ...policy("adds"), includedResources: ["pods"] },
  { ...policy("by-kind"), includeClusterResources: true },
];

/** Whether the policies that filters name have lists of resources. */
export function hasPolicyLists({ resourcePolicy }: Filters): boolean {
  return !!resourcePolicy && POLICIES[resourcePolicy.name]!.includes("includeExcludePolicy");
}

const META = "apiVersion: v1\nkind: ConfigMap\nmetadata";
const POLICIES: Record<string, string> = {
  adds: "includeExcludePolicy: { includedClusterScopedResources: [storageclasses], includedNamespaceScopedResources: [configmaps, clusterroles] }",
  excludes:
    "includeExcludePolicy: { excludedClusterScopedResources: [crd], excludedNamespaceScopedResources: [secrets] }",
  skips: "volumePolicies: [{ conditions: { storageClass: [gp2] }, action: { type: skip } }]",
  "by-kind": `namespacedFilterPolicies:
- namespaces: [team-a]
  resourceFilters:
  - { kinds: [configmaps], names: ["one*"], excludedNames: [one-b] }
  - { kinds: [secrets], labelSelector: { matchLabels: { app: web } } }
  - { kinds: [persistentvolumeclaims] }
- namespaces: ["team-*"]
  resourceFilters:
  - { kinds: [pods], orLabelSelectors: [{ matchLabels: { app: claim } }, { matchLabels: { app: none } }] }
  - { kinds: ["*"], labelSelector: { matchLabels: { app: web } } }`,
  "cluster-kinds": `clusterScopedFilterPolicy:
  resourceFilters:
  - { kinds: [clusterroles], names: ["shop-*", "view"] }
  - { kinds: [storageclasses], labelSelector: { matchLabels: { tier: none } } }`,
  "unknown-field": "volumePolicy: []",
  star: 'includeExcludePolicy: { includedClusterScopedResources: ["*"] }',
  both: "includeExcludePolicy: { includedClusterScopedResources: [nodes], excludedClusterScopedResources: [nodes] }",
  "no-kinds": "clusterScopedFilterPolicy: { resourceFilters: [{ names: [a] }] }",
  "kind-twice": "clusterScopedFilterPolicy: { resourceFilters: [{ kinds: [nodes] }, { kinds: [nodes] }] }",
  "two-catch-alls": 'namespacedFilterPolicies: [{ namespaces: [a], resourceFilters: [{ kinds: ["*"] }, {}] }]',
  "pattern-twice": "namespacedFilterPolicies: [{ namespaces: [a, a], resourceFilters: [{ kinds: [pods] }] }]",
};

const policyMap = (name: string, data: Record<string, string>) =>
  JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "velero" }, data });

const definition = (plural: string, kind: string, scope: string) =>
  JSON.stringify({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.snapshot.storage.k8s.io`,
      annotations: { "api-approved.kubernetes.io": "https://github.com/kubernetes-csi/external-snapshotter/pull/814" },
    },
    spec: {
      group: "snapshot.storage.k8s.io",
      scope,
      names: { plural, kind, singular: kind.toLowerCase() },
      versions: [
        {
          name: "v1",
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
        },
      ],
    },
  });

const claim = (name: string, labels: Record<string, string>) => `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: ${name}, namespace: team-a, labels: ${JSON.stringify(labels)} }
spec: { accessModes: [ReadWriteMany], storageClassName: filtered, volumeName: filtered-${name}, resources: { requests: { storage: 1Gi } } }
---
apiVersion: v1
kind: PersistentVolume
metadata: { name: filtered-${name} }
spec: { accessModes: [ReadWriteMany], storageClassName: filtered, capacity: { storage: 1Gi }, hostPath: { path: /tmp }, claimRef: { namespace: team-a, name: ${name} } }`;

const pod = (namespace: string, name: string, labels: Record<string, string>, claims: string[]) => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, labels: ${JSON.stringify(labels)} }
spec:
  priorityClassName: ${claims.length ? "shop-critical" : '""'}
  containers: [{ name: main, image: busybox }]
  volumes: ${JSON.stringify(claims.map((name) => ({ name, persistentVolumeClaim: { claimName: name } })))}`;

const map = (namespace: string, name: string, labels: Record<string, string>, more = "") =>
  `${META}: { name: ${name}, namespace: ${namespace}, labels: ${JSON.stringify(labels)}${more} }`;

/** What is in the cluster beside the shop: applied in this order. */
export const FILTERED_CLUSTER: string[] = [
  [
    ...["a", "b"].map(
      (team) => `{ apiVersion: v1, kind: Namespace, metadata: { name: team-${team}, labels: { team: ${team} } } }`,
    ),
    "{ apiVersion: v1, kind: Namespace, metadata: { name: empty } }",
    definition("volumesnapshots", "VolumeSnapshot", "Namespaced"),
    definition("volumesnapshotcontents", "VolumeSnapshotContent", "Cluster"),
  ].join("\n---\n"),
  [
    map("team-a", "one-a", { app: "web" }),
    map("team-a", "one-b", { app: "web" }),
    map("team-a", "two", {}),
    map("team-a", "hidden", { app: "hidden", "velero.io/exclude-from-backup": "true" }),
    map("team-a", "doomed", { app: "doomed" }, ", finalizers: [example.com/wait]"),
    map("team-b", "web", { app: "web", tier: "front" }),
    `{ apiVersion: v1, kind: Secret, metadata: { name: web, namespace: team-a, labels: { app: web } } }`,
    `{ apiVersion: v1, kind: Secret, metadata: { name: other, namespace: team-a } }`,
    claim("shared", { app: "claim", "velero.io/volume-group": "one" }),
    claim("grouped", { "velero.io/volume-group": "one", group: "two" }),
    claim("alone", { group: "two" }),
    pod("team-a", "mounts-shared", { app: "other" }, ["shared", "alone"]),
    pod("team-a", "mounts-grouped", {}, ["grouped"]),
    pod("team-b", "first", { app: "claim" }, []),
    pod("team-b", "second", {}, []),
    `{ apiVersion: v1, kind: ServiceAccount, metadata: { name: reader, namespace: team-b, labels: { app: reader } } }`,
    `{ apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: { name: team-b-reader }, roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }, subjects: [{ kind: ServiceAccount, namespace: team-b, name: reader }] }`,
    `{ apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshot, metadata: { name: snapshot, namespace: team-a } }`,
    `{ apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshotContent, metadata: { name: content } }`,
    `{ apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: { name: labelled, labels: { app: custom } }, spec: { selfSigned: {} } }`,
    ...Object.entries(POLICIES).map(([name, text]) => policyMap(name, { policies: `version: v1\n${text}\n` })),
    policyMap("two-keys", { a: "version: v1\n", b: "version: v1\n" }),
    policyMap("no-version", { policies: POLICIES.adds! }),
  ].join("\n---\n"),
];
