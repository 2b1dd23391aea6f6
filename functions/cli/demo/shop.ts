import { EXCLUDE_LABEL, type KubernetesObject } from "../../../core/index.ts";
import { condition, type Fields, make, ownedBy } from "./object.ts";
import { type App, database, deployment, NODES, nodeExporter, report } from "./workloads.ts";

const app = (line: string, port: number, replicas: number, release: string, previous: string): App => {
  const [namespace = "", name = ""] = line.split("/");
  return { namespace, name, port, replicas, release, previous };
};

const APPS: App[] = [
  app("shop/web", 8080, 3, "5.2.0", "5.1.0"),
  app("shop/cart", 8080, 2, "2.9.0", "2.8.3"),
  app("shop/catalog", 8080, 2, "3.1.0", "3.0.1"),
  app("shop/checkout", 8080, 2, "4.4.1", "4.4.0"),
  app("shop/search", 9200, 1, "1.13.0", "1.12.0"),
  app("shop/mailer", 8080, 1, "1.0.7", "1.0.6"),
  app("payments/api", 8443, 2, "7.0.2", "7.0.0"),
  app("payments/ledger", 8080, 2, "2.2.0", "2.1.0"),
  app("payments/fraud", 9000, 1, "0.9.5", "0.9.4"),
  app("monitoring/grafana", 3000, 1, "12.1.0", "12.0.1"),
];

/**
 * A small shop as a cluster holds it: what people applied, and what controllers made of it (ReplicaSets with Pods, and
 * those of the release before, EndpointSlices, a finished Job, Secrets made by operators), with owner references and
 * statuses. Always the same objects with the same uids. Behind the volumes lies no data, and nothing in the Secrets is
 * secret.
 */
export function shopObjects(): KubernetesObject[] {
  return [
    ...["shop", "payments", "monitoring"].map((name) => make(`v1 Namespace ${name}`)),
    ...clusterWide(),
    ...NODES.flatMap(node),
    ...definitions(),
    ...APPS.flatMap(deployment),
    ...database(),
    ...nodeExporter(),
    ...report(),
    ...operated(),
    ...edge(),
    ...access(),
    ...APPS.filter(({ replicas }) => replicas > 1).flatMap(availability),
    ...["shop", "payments"].flatMap(limits),
  ];
}

function clusterWide(): KubernetesObject[] {
  const storage = {
    provisioner: "disks.example.com",
    reclaimPolicy: "Retain",
    volumeBindingMode: "WaitForFirstConsumer",
  };
  return [
    make("scheduling.k8s.io/v1 PriorityClass business-critical", { value: 100_000, description: "Takes money." }),
    make("storage.k8s.io/v1 StorageClass fast", storage),
    make("storage.k8s.io/v1 CSIDriver disks.example.com", { spec: { attachRequired: true } }),
    make("networking.k8s.io/v1 IngressClass nginx", { spec: { controller: "k8s.io/ingress-nginx" } }),
  ];
}

function node(name: string): KubernetesObject[] {
  const capacity = { cpu: "4", memory: "16Gi", pods: "110" };
  const status = {
    capacity,
    conditions: [condition("Ready", "KubeletReady")],
    nodeInfo: { kubeletVersion: "v1.36.3" },
  };
  const lease = { holderIdentity: name, leaseDurationSeconds: 40, renewTime: "2026-11-12T09:00:00.000000Z" };
  return [
    make(`v1 Node ${name}`, { spec: { providerID: `example://${name}` }, status }),
    make(`coordination.k8s.io/v1 Lease kube-node-lease/${name}`, { spec: lease }),
  ];
}

/** The kinds that two operators bring: Sealed Secrets and cert-manager, without their schemas. */
function definitions(): KubernetesObject[] {
  const rows: [group: string, version: string, plural: string, kind: string, scope: string][] = [
    ["bitnami.com", "v1alpha1", "sealedsecrets", "SealedSecret", "Namespaced"],
    ["cert-manager.io", "v1", "certificates", "Certificate", "Namespaced"],
    ["cert-manager.io", "v1", "clusterissuers", "ClusterIssuer", "Cluster"],
  ];
  return rows.map(([group, version, plural, kind, scope]) => {
    const names = { plural, kind, singular: kind.toLowerCase(), listKind: `${kind}List` };
    const schema = { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };
    const versions = [{ name: version, served: true, storage: true, schema, subresources: { status: {} } }];
    const line = `apiextensions.k8s.io/v1 CustomResourceDefinition ${plural}.${group}`;
    return make(line, { spec: { group, scope, names, versions, conversion: { strategy: "None" } } });
  });
}

/** Custom resources, the Secrets that operators made from them, and Secrets that people made. */
function operated(): KubernetesObject[] {
  const sealed = make("bitnami.com/v1alpha1 SealedSecret shop/db", {
    spec: { encryptedData: { POSTGRES_PASSWORD: "AgDummyCiphertext" }, template: { metadata: { name: "db" } } },
    status: { observedGeneration: 1, conditions: [condition("Synced")] },
  });
  const issuerRef = { kind: "ClusterIssuer", name: "letsencrypt" };
  const issued = { "cert-manager.io/certificate-name": "shop-tls", "cert-manager.io/issuer-name": issuerRef.name };
  return [
    sealed,
    make("cert-manager.io/v1 ClusterIssuer letsencrypt", {
      spec: { acme: { server: "https://acme.example.com/directory", privateKeySecretRef: { name: "acme-account" } } },
      status: { conditions: [condition("Ready", "ACMEAccountRegistered")] },
    }),
    make("cert-manager.io/v1 Certificate shop/shop-tls", {
      spec: { secretName: "shop-tls", dnsNames: ["shop.example.com"], issuerRef },
      status: { revision: 3, notAfter: "2027-02-01T00:00:00Z", conditions: [condition("Ready")] },
    }),
    secret("shop/db", { POSTGRES_USER: "shop", POSTGRES_PASSWORD: "dummy-password" }, "Opaque", ownedBy(sealed)),
    secret("shop/shop-tls", { "tls.crt": "dummy", "tls.key": "dummy" }, "kubernetes.io/tls", { annotations: issued }),
    secret("shop/registry", { ".dockerconfigjson": '{"auths":{}}' }, "kubernetes.io/dockerconfigjson"),
    secret("payments/acquirer", { API_KEY: "dummy-key" }),
    secret("monitoring/grafana-admin", { "admin-password": "dummy-password" }),
  ];
}

function secret(
  place: string,
  values: Record<string, string>,
  type = "Opaque",
  metadata: Fields = {},
): KubernetesObject {
  const data = Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString("base64")]);
  return make(`v1 Secret ${place}`, { type, data: Object.fromEntries(data) }, metadata);
}

/** The way in. The Ingress asks to be left out of backups: a pipeline makes it anew. */
function edge(): KubernetesObject[] {
  const backend = { service: { name: "web", port: { number: 80 } } };
  const rules = [{ host: "shop.example.com", http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }];
  const tls = [{ hosts: ["shop.example.com"], secretName: "shop-tls" }];
  const labels = { [EXCLUDE_LABEL]: "true" };
  return [
    make("networking.k8s.io/v1 Ingress shop/shop", { spec: { ingressClassName: "nginx", rules, tls } }, { labels }),
  ];
}

function access(): KubernetesObject[] {
  const api = "rbac.authorization.k8s.io/v1";
  const apiGroup = "rbac.authorization.k8s.io";
  const read = ["get", "list", "watch"];
  const robot = { kind: "ServiceAccount", name: "grafana", namespace: "monitoring" };
  const metrics = { apiGroup, kind: "ClusterRole", name: "shop-metrics" };
  const support = { apiGroup, kind: "Role", name: "support" };
  return [
    make(`${api} ClusterRole shop-metrics`, {
      rules: [{ apiGroups: [""], resources: ["pods", "nodes"], verbs: read }],
    }),
    make(`${api} ClusterRoleBinding shop-metrics`, { roleRef: metrics, subjects: [robot] }),
    make(`${api} Role shop/support`, { rules: [{ apiGroups: [""], resources: ["pods", "pods/log"], verbs: read }] }),
    make(`${api} RoleBinding shop/support`, {
      roleRef: support,
      subjects: [{ apiGroup, kind: "Group", name: "support" }],
    }),
  ];
}

function availability({ namespace, name, replicas }: App): KubernetesObject[] {
  const selector = { matchLabels: { app: name } };
  const scaleTargetRef = { apiVersion: "apps/v1", kind: "Deployment", name };
  return [
    make(`policy/v1 PodDisruptionBudget ${namespace}/${name}`, {
      spec: { minAvailable: 1, selector },
      status: { currentHealthy: replicas, desiredHealthy: 1, disruptionsAllowed: replicas - 1, expectedPods: replicas },
    }),
    make(`autoscaling/v2 HorizontalPodAutoscaler ${namespace}/${name}`, {
      spec: { scaleTargetRef, minReplicas: replicas, maxReplicas: replicas * 4 },
      status: { currentReplicas: replicas, desiredReplicas: replicas },
    }),
  ];
}

function limits(namespace: string): KubernetesObject[] {
  const defaults = { type: "Container", default: { cpu: "500m", memory: "512Mi" } };
  const sameNamespace = [{ from: [{ podSelector: {} }] }];
  return [
    make(`networking.k8s.io/v1 NetworkPolicy ${namespace}/deny-all`, {
      spec: { podSelector: {}, policyTypes: ["Ingress"] },
    }),
    make(`networking.k8s.io/v1 NetworkPolicy ${namespace}/same-namespace`, {
      spec: { podSelector: {}, ingress: sameNamespace },
    }),
    make(`v1 ResourceQuota ${namespace}/quota`, { spec: { hard: { pods: "50" } }, status: { hard: { pods: "50" } } }),
    make(`v1 LimitRange ${namespace}/defaults`, { spec: { limits: [defaults] } }),
    make(`v1 Event ${namespace}/released.186a2f0c5b1d9e47`, {
      ...{ type: "Normal", reason: "ScalingReplicaSet", message: "Scaled up to the new release", count: 1 },
      involvedObject: {
        apiVersion: "apps/v1",
        kind: "Deployment",
        namespace,
        name: namespace === "shop" ? "web" : "api",
      },
    }),
  ];
}
