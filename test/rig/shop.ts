import { join } from "node:path";
import type { Cluster } from "./cluster.ts";
import { until } from "./process.ts";

const file = (name: string) => join(import.meta.dirname, "shop", name);

/** Its volumes that are folders of nodes: a restore elsewhere tells of each. */
export const NODE_DISKS = ["disk-0", "disk-1"];

/** Names of what a restore of it into another cluster warns of: those, and the claim that binds to the same share there. */
export const WARNED = [...NODE_DISKS, "media"];

/**
 * Creates a small but realistic application, of about everything that a cluster holds: namespaces `shop` and
 * `shop-data` and cluster-scoped objects; the Certificate owns the Secret `shop-tls`; the Ingress is excluded from
 * backups by label. With controllers it waits until all Pods run, the Job is done and the volumes are bound.
 */
export async function applyShop(cluster: Cluster): Promise<void> {
  await defineShop(cluster);
  await cluster.kubectl(["apply", "-f", file("shop.yaml")]);
  await issueCertificate(cluster);
  if (!("kube-controller-manager" in cluster.pids)) return;
  await until("the shop to be up", () => isUp(cluster), { everyMs: 200 });
}

/** Defines further kinds whose objects name hosts: Gateways, HTTPRoutes, DNSEndpoints. */
export async function defineHosts(cluster: Cluster): Promise<void> {
  await define(cluster, "hosts.yaml");
}

async function define(cluster: Cluster, definitions: string): Promise<void> {
  await cluster.kubectl(["apply", "-f", file(definitions)]);
  await cluster.kubectl(["wait", "--for=condition=Established", "--timeout=30s", "-f", file(definitions)]);
}

/** Defines the kinds of the shop that no cluster has of itself. */
export async function defineShop(cluster: Cluster): Promise<void> {
  await define(cluster, "crds.yaml");
}

/** Does what cert-manager would: a Secret owned by the Certificate, and its status. */
async function issueCertificate({ api }: Cluster): Promise<void> {
  const path = "/apis/cert-manager.io/v1/namespaces/shop/certificates/shop-tls";
  const certificate = await api.request("GET", path);
  const ready = { type: "Ready", status: "True", reason: "Ready", message: "Certificate is up to date" };
  await api.request("PATCH", `${path}/status`, { status: { revision: 1, conditions: [ready] } });
  const owner = { apiVersion: certificate.apiVersion, kind: certificate.kind, uid: certificate.metadata.uid };
  await api.request("POST", "/api/v1/namespaces/shop/secrets", {
    apiVersion: "v1",
    kind: "Secret",
    type: "kubernetes.io/tls",
    metadata: {
      name: "shop-tls",
      annotations: { "cert-manager.io/certificate-name": "shop-tls" },
      ownerReferences: [{ ...owner, name: "shop-tls", controller: true, blockOwnerDeletion: true }],
    },
    stringData: { "tls.crt": "not a real certificate", "tls.key": "not a real key" },
  });
}

async function isUp({ api }: Cluster): Promise<boolean> {
  const status = async (path: string) => ((await api.request(`GET`, path)).status ?? {}) as Record<string, unknown>;
  const [web, cart, logs, db, migrate, ...claims] = await Promise.all([
    status("/apis/apps/v1/namespaces/shop/deployments/web"),
    status("/apis/apps/v1/namespaces/shop/deployments/cart"),
    status("/apis/apps/v1/namespaces/shop/daemonsets/log-agent"),
    status("/apis/apps/v1/namespaces/shop-data/statefulsets/db"),
    status("/apis/batch/v1/namespaces/shop-data/jobs/migrate"),
    status("/api/v1/namespaces/shop/persistentvolumeclaims/media"),
    status("/api/v1/namespaces/shop-data/persistentvolumeclaims/data-db-0"),
    status("/api/v1/namespaces/shop-data/persistentvolumeclaims/data-db-1"),
  ]);
  return (
    web.readyReplicas === 3 &&
    cart.readyReplicas === 2 &&
    db.readyReplicas === 2 &&
    Number(logs.desiredNumberScheduled) > 0 &&
    logs.numberReady === logs.desiredNumberScheduled &&
    migrate.succeeded === 1 &&
    claims.every((claim) => claim.phase === "Bound")
  );
}
