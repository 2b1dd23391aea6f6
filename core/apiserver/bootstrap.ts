import type { KubernetesObject } from "../archive/item.ts";
import { builtInApiServices, SERVICE_RANGE } from "./upkeep.ts";

/**
 * What a new cluster has of itself, in the shape a real one has it (a few of each kind, not all eighty ClusterRoles).
 * A restore must leave these alone.
 */
export function bootstrapObjects(): KubernetesObject[] {
  const namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"];
  return [
    ...namespaces.map((name) => make("v1", "Namespace", name)),
    ...builtInApiServices(),
    ...kubernetesService(),
    ...rbac(),
    ...priorities(),
  ];
}

function make(apiVersion: string, kind: string, name: string, namespace?: string, rest: object = {}): KubernetesObject {
  return { apiVersion, kind, metadata: { name, ...(namespace ? { namespace } : {}) }, ...rest };
}

function kubernetesService(): KubernetesObject[] {
  const labels = { component: "apiserver", provider: "kubernetes" };
  const port = { name: "https", port: 443, protocol: "TCP", targetPort: 6443 };
  const ports = [{ name: "https", port: 6443, protocol: "TCP" }];
  const service = make("v1", "Service", "kubernetes", "default", {
    spec: { clusterIP: SERVICE_RANGE.first, ports: [port], sessionAffinity: "None", type: "ClusterIP" },
  });
  const endpoints = make("v1", "Endpoints", "kubernetes", "default", {
    subsets: [{ addresses: [{ ip: "127.0.0.1" }], ports }],
  });
  const slice = make("discovery.k8s.io/v1", "EndpointSlice", "kubernetes", "default", {
    addressType: "IPv4",
    endpoints: [{ addresses: ["127.0.0.1"], conditions: { ready: true } }],
    ports,
  });
  service.metadata.labels = labels;
  slice.metadata.labels = { "kubernetes.io/service-name": "kubernetes" };
  const range = make("networking.k8s.io/v1", "ServiceCIDR", "kubernetes", "", {
    spec: { cidrs: [SERVICE_RANGE.cidr] },
  });
  return [service, endpoints, slice, range];
}

/** The part of Kubernetes' default RBAC that people bind to. */
function rbac(): KubernetesObject[] {
  const all = { apiGroups: ["*"], resources: ["*"], verbs: ["*"] };
  const paths = { nonResourceURLs: ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/version"], verbs: ["get"] };
  const namespaced = { apiGroups: ["", "apps", "batch"], resources: ["*"] };
  const roles: Record<string, object[]> = {
    "cluster-admin": [all, { nonResourceURLs: ["*"], verbs: ["*"] }],
    admin: [{ ...namespaced, verbs: ["*"] }],
    edit: [{ ...namespaced, verbs: ["create", "delete", "get", "list", "patch", "update", "watch"] }],
    view: [{ ...namespaced, verbs: ["get", "list", "watch"] }],
    "system:discovery": [paths],
    "system:public-info-viewer": [{ nonResourceURLs: ["/healthz", "/version"], verbs: ["get"] }],
  };
  const bindings = { "cluster-admin": "system:masters", "system:discovery": "system:authenticated" };
  const api = "rbac.authorization.k8s.io/v1";
  const objects = [
    ...Object.entries(roles).map(([name, rules]) => make(api, "ClusterRole", name, "", { rules })),
    ...Object.entries(bindings).map(([name, group]) =>
      make(api, "ClusterRoleBinding", name, "", {
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
        subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: group }],
      }),
    ),
    make(api, "Role", "extension-apiserver-authentication-reader", "kube-system", {
      rules: [{ apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch"] }],
    }),
  ];
  for (const { metadata } of objects) {
    metadata.labels = { "kubernetes.io/bootstrapping": "rbac-defaults" };
    metadata.annotations = { "rbac.authorization.kubernetes.io/autoupdate": "true" };
  }
  return objects;
}

function priorities(): KubernetesObject[] {
  const classes = { "system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000 };
  return Object.entries(classes).map(([name, value]) =>
    make("scheduling.k8s.io/v1", "PriorityClass", name, "", { value, preemptionPolicy: "PreemptLowerPriority" }),
  );
}
