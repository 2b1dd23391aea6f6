import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { KubeObject } from "../rig/api.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { applyShop, defineHosts, NODE_DISKS } from "../rig/shop.ts";
import { document, type RestoreDocument } from "./lifeboat.ts";
import { names, type Objects, objectsAt, objectsIn } from "./objects.ts";

const [OLD, NEW] = ["shop.example.com", "shop.green.example"];
const MAPPINGS = [
  ...["--map-domain", `${OLD}=${NEW}`],
  ...["--map-registry", "registry.example.com=mirror.green.example/blue"],
  ...["--map-storage-class", "shop-disk=green-disk"],
  ...["--map-ingress-class", "nginx=traefik"],
];

interface Problem {
  resource: string;
  namespace: string;
  name: string;
  message: string;
}
interface Activation {
  counts: { activated: number; failed: number };
  activated: { resource: string; name: string; change: string }[];
}
interface Plan {
  counts: Record<string, number>;
  steps: { action: string; resource: string; name: string; diff?: unknown }[];
}

describe("a clone beside the original", { skip: requireOrSkip("rig", WITH_CONTROLLERS) }, () => {
  let source: Cluster;
  let target: Cluster;
  let dir: string;
  let archived: Objects;
  let location: string;
  let versions: Map<string, unknown>;
  let restored: RestoreDocument;

  before(async () => {
    [source, target] = await Promise.all([startCluster({ controllers: true }), startCluster({ controllers: true })]);
    await applyShop(source);
    await defineHosts(source);
    await source.kubectl(["apply", "--server-side", "-f", "-"], { input: NAMED });
    await target.kubectl(["apply", "-f", "-"], { input: GREEN_DISK });
    dir = await mkdtemp(join(tmpdir(), "lifeboat-clone-"));
    location = `file://${dir}`;
    await document(["backup", "create", "full", "--location", location, "--kubeconfig", source.kubeconfigPath]);
    archived = await objectsIn(join(dir, "backups/full/full.tar.gz"));
    versions = await versionsOf(source);
    restored = await document(restore("green", ...MAPPINGS, "--scale-to", "0"));
  });

  after(async () => {
    await Promise.all([source?.stop(), target?.stop()]);
    if (dir) await rm(dir, { recursive: true });
  });

  const into = () => ["--location", location, "--kubeconfig", target.kubeconfigPath];
  const restore = (name: string, ...flags: string[]) => [
    "restore",
    "create",
    name,
    "--from-backup",
    "full",
    ...into(),
    ...flags,
  ];
  const plan = async (name: string, ...flags: string[]) => {
    const { counts, steps } = await document<Plan>(
      restore(name, "--existing-resource-policy", "update", "--dry-run", ...flags),
    );
    return { writes: steps.filter(({ action }) => action !== "skip"), skipped: counts.skip };
  };
  const podsOf = (objects: KubeObject[], kinds: string[]) =>
    objects
      .map(({ metadata }) => {
        const [owner] = (metadata.ownerReferences ?? []) as { kind: string; name: string }[];
        return owner && kinds.includes(owner.kind) ? `${metadata.namespace} ${owner.kind} ${owner.name}` : "";
      })
      .filter(Boolean)
      .sort();
  const list = async (path: string) =>
    (await target.api.request<{ items: KubeObject[] } & KubeObject>("GET", path)).items;
  const SCALED = ["ReplicaSet", "StatefulSet", "DaemonSet"];

  it("is Completed, with no warning but where the old name is left", () => {
    assert.deepEqual([restored.phase, restored.errors], ["Completed", []]);
    const warnings = (restored.warnings as Problem[]).map(
      ({ resource, namespace, name, message }) => `${resource} ${namespace}/${name}: ${message}`,
    );
    assert.deepEqual(warnings.sort(), [
      `configmaps shop/frontend: ${OLD} still stands in data["nginx.conf"]`,
      `deployments.apps shop/frontend: ${OLD} still stands in spec.template.spec.containers[0].env[0].value`,
      `dnsendpoints.externaldns.k8s.io shop/shop: ${OLD} still stands in spec.endpoints[0].targets[0]`,
      `ingresses.networking.k8s.io shop/storefront: ${OLD} still stands in metadata.annotations["nginx.ingress.kubernetes.io/server-alias"]`,
      "persistentvolumeclaims shop/media: it binds to the volume media that the backup's claim used, not to a copy of it: stop what uses that first",
      ...warnings.filter((line) => NODE_DISKS.some((disk) => line.startsWith(`persistentvolumes /${disk}: it is /`))),
      ...warnings.filter((line) => line.startsWith("replicasets.apps shop/frontend-")),
      `secrets shop/frontend: ${OLD} still stands in data.url`,
    ]);
  });

  it("holds the old domain nowhere else", async () => {
    const reported = new Set(
      (restored.warnings as Problem[]).flatMap(({ resource, namespace, name, message }) =>
        message
          .slice(`${OLD} still stands in `.length)
          .split(", ")
          .map((path) => `${resource} ${namespace}/${name} ${path}`),
      ),
    );
    const { metadata } = await target.api.request<KubeObject>("GET", "/api/v1/namespaces");
    const objects = [...(await objectsAt(target, String(metadata.resourceVersion)))];
    const found = objects.flatMap(([key, object]) =>
      pathsOf(object, (text) => text.includes(OLD)).map((path) => `${key} ${path}`),
    );
    assert.ok(found.length >= 6, `only ${found}`);
    assert.deepEqual(
      found.filter((place) => !reported.has(place)),
      [],
    );
    const pulled = objects.flatMap(([key, object]) =>
      pathsOf(object, (text) => /registry\.example\.com|shop-disk/.test(text)).map((path) => `${key} ${path}`),
    );
    assert.deepEqual(
      pulled.filter((place) => !place.includes("last-applied-configuration") && !place.startsWith("storageclasses.")),
      [],
    );
  });

  it("has its own name in every typed place", async () => {
    const at = async (path: string) => JSON.stringify((await target.api.request<KubeObject>("GET", path)).spec);
    const shop = (group: string, rest: string) => `/apis/${group}/namespaces/shop/${rest}`;
    for (const path of [
      shop("networking.k8s.io/v1", "ingresses/storefront"),
      shop("gateway.networking.k8s.io/v1", "gateways/public"),
      shop("gateway.networking.k8s.io/v1", "httproutes/web"),
      shop("cert-manager.io/v1", "certificates/shop-tls"),
      shop("externaldns.k8s.io/v1alpha1", "dnsendpoints/shop"),
    ])
      assert.match(await at(path), new RegExp(NEW.replaceAll(".", "\\.")), path);
  });

  it("stands still: no Pod of a workload, though an autoscaler and the controllers run", async () => {
    // The autoscaler looks every 15 s.
    await delay(20_000);
    assert.deepEqual(podsOf(await list("/api/v1/pods"), [...SCALED, "Job"]), []);
    const scaler = await target.api.request<KubeObject>(
      "GET",
      "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/web",
    );
    const { conditions = [] } = (scaler.status ?? {}) as { conditions?: { type: string; reason: string }[] };
    assert.equal(conditions.find(({ type }) => type === "ScalingActive")?.reason, "ScalingDisabled");
    const tool = await target.api.request<KubeObject>("GET", "/api/v1/namespaces/shop/pods/tool");
    assert.equal((tool.status as { phase: string }).phase, "Pending");
    assert.deepEqual(await plan("still", ...MAPPINGS, "--scale-to", "0"), { writes: [], skipped: archived.size });
  });

  it("comes up as in the backup when it is activated, and only once", async () => {
    const activate = () => document<Activation>(["restore", "activate", "green", ...into()]);
    const { counts, activated } = await activate();
    assert.equal(counts.failed, 0);
    assert.deepEqual(activated.map(({ resource, name, change }) => `${resource} ${name}: ${change}`).sort(), [
      "cronjobs.batch report: no longer suspended",
      "daemonsets.apps log-agent: given back its nodes",
      "deployments.apps cart: scaled to 2",
      "deployments.apps frontend: scaled to 1",
      "deployments.apps web: scaled to 3",
      "pods tool: may be scheduled",
      "statefulsets.apps db: scaled to 2",
    ]);
    const expected = podsOf(
      [...archived].filter(([key]) => key.startsWith("pods ")).map(([, object]) => object),
      SCALED,
    );
    assert.ok(expected.length > 5);
    const running = async () => {
      const pods = await list("/api/v1/pods");
      assert.ok(pods.every(({ status }) => (status as { phase: string }).phase === "Running"));
      assert.deepEqual(podsOf(pods, SCALED), expected);
    };
    await until(
      "the clone's Pods to run",
      () =>
        running().then(
          () => true,
          () => false,
        ),
      { everyMs: 200 },
    );
    await delay(5000);
    await running();
    const archivedNames = (resource: string) =>
      [...archived.keys()]
        .filter((key) => key.startsWith(`${resource} `))
        .map((key) => key.slice(resource.length + 1))
        .sort();
    assert.deepEqual(await names(target, "/apis/apps/v1/replicasets"), archivedNames("replicasets.apps"));
    assert.deepEqual(
      (await names(target, "/apis/apps/v1/controllerrevisions")).filter((name) => name.startsWith("shop-data/")),
      archivedNames("controllerrevisions.apps").filter((name) => name.startsWith("shop-data/")),
    );
    assert.deepEqual((await activate()).counts, { activated: 0, failed: 0 });
    assert.deepEqual(await plan("after", ...MAPPINGS), { writes: [], skipped: archived.size });
  });

  it("without scaling runs at once: its Pods are adopted, not replaced, though their images are others", async () => {
    const flags = ["--include-namespaces", "shop", "--namespace-mappings", "shop:twin"];
    await document(restore("twin", ...flags, "--map-registry", "registry.example.com=mirror.green.example"));
    const twins = [...archived.keys()]
      .filter((key) => /^pods shop\//.test(key))
      .map((key) => key.replace("pods shop/", "twin/"))
      .sort();
    assert.ok(twins.length > 5);
    await delay(15_000);
    assert.deepEqual(await names(target, "/api/v1/namespaces/twin/pods"), twins);
  });

  it("leaves every object of the original as it was", async () => {
    const now = await versionsOf(source);
    assert.deepEqual(
      [...now].filter(([key, version]) => versions.get(key) !== version),
      [],
    );
    assert.equal(now.size, versions.size);
  });
});

/** The resourceVersion of every object but those that components of a running cluster write all the time. */
async function versionsOf(cluster: Cluster): Promise<Map<string, unknown>> {
  const { metadata } = await cluster.api.request<KubeObject>("GET", "/api/v1/namespaces");
  const objects = await objectsAt(cluster, String(metadata.resourceVersion));
  const busy = /^(leases\.|nodes |events |horizontalpodautoscalers\.)/;
  return new Map(
    [...objects].filter(([key]) => !busy.test(key)).map(([key, object]) => [key, object.metadata.resourceVersion]),
  );
}

/** Paths, as a report writes them, of the texts that `wanted` wants; of Secrets what their base64 says. */
function pathsOf(object: KubeObject, wanted: (text: string) => boolean): string[] {
  const { managedFields: _, ...metadata } = object.metadata;
  const found: string[] = [];
  const walk = (value: unknown, path: string) => {
    if (typeof value === "string") {
      const decoded =
        object.kind === "Secret" && path.startsWith("data") ? Buffer.from(value, "base64").toString() : value;
      if (wanted(decoded)) found.push(path);
    } else if (Array.isArray(value)) for (const [index, one] of value.entries()) walk(one, `${path}[${index}]`);
    else if (value && typeof value === "object") {
      for (const [key, one] of Object.entries(value)) {
        const inner = /^\w+$/.test(key) ? (path ? `${path}.${key}` : key) : `${path}["${key}"]`;
        if (wanted(key)) found.push(`${inner} (its key)`);
        walk(one, inner);
      }
    }
  };
  walk({ ...object, metadata }, "");
  return found;
}

const GREEN_DISK = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: { name: green-disk }
provisioner: kubernetes.io/no-provisioner
`;

/** The shop's name in typed places, and in others. */
const NAMED = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: storefront
  namespace: shop
  annotations:
    nginx.ingress.kubernetes.io/server-alias: www.${OLD}
    external-dns.alpha.kubernetes.io/hostname: ${OLD},www.${OLD}
spec:
  ingressClassName: nginx
  tls: [{ hosts: [${OLD}, "*.${OLD}"], secretName: shop-tls }]
  rules: [{ host: ${OLD} }, { host: www.${OLD} }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public, namespace: shop }
spec: { gatewayClassName: nginx, listeners: [{ name: https, hostname: "*.${OLD}", port: 443, protocol: HTTPS }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec: { parentRefs: [{ name: public }], hostnames: [www.${OLD}], rules: [{ backendRefs: [{ name: web, port: 80 }] }] }
---
apiVersion: externaldns.k8s.io/v1alpha1
kind: DNSEndpoint
metadata: { name: shop, namespace: shop }
spec: { endpoints: [{ dnsName: ${OLD}, recordType: CNAME, targets: [lb.${OLD}] }] }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: frontend, namespace: shop }
data: { nginx.conf: "server_name ${OLD};" }
---
apiVersion: v1
kind: Secret
metadata: { name: frontend, namespace: shop }
stringData: { url: "https://user:not-a-real-password@${OLD}" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: frontend, namespace: shop }
spec:
  replicas: 1
  selector: { matchLabels: { app: frontend } }
  template:
    metadata: { labels: { app: frontend } }
    spec:
      containers: [{ name: web, image: "registry.example.com/shop/frontend:1", env: [{ name: HOST, value: "${OLD}" }] }]
---
apiVersion: v1
kind: Pod
metadata: { name: tool, namespace: shop }
spec: { containers: [{ name: tool, image: "registry.example.com/tool:1" }] }
`;
