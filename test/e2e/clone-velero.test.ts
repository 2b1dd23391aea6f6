import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { KubeObject } from "../rig/api.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { defineHosts, defineShop } from "../rig/shop.ts";
import { startVelero, VELERO, type Velero } from "../rig/velero.ts";
import { document, type RestoreDocument } from "./lifeboat.ts";

const MODIFIERS = join(import.meta.dirname, "../../docs/modifiers");

/** Each file of docs/modifiers, and the flag that does the same to the sample. */
const FILES: { name: string; flags: string[]; without?: string }[] = [
  { name: "map-domain", flags: ["--map-domain", "shop.example=green.example"] },
  { name: "map-registry", flags: ["--map-registry", "registry.example=mirror.example"] },
  { name: "map-storage-class", flags: ["--map-storage-class", "gp2=premium"] },
  { name: "map-ingress-class", flags: ["--map-ingress-class", "nginx=traefik"] },
  { name: "scale-to-zero", flags: ["--scale-to", "0"], without: "pods" },
];

const RESOURCES: [path: string, resources: string[]][] = [
  ["/api/v1", ["persistentvolumeclaims", "pods"]],
  ["/apis/apps/v1", ["deployments", "replicasets", "statefulsets", "daemonsets"]],
  ["/apis/batch/v1", ["jobs", "cronjobs"]],
  ["/apis/networking.k8s.io/v1", ["ingresses"]],
  ["/apis/gateway.networking.k8s.io/v1", ["gateways", "httproutes"]],
  ["/apis/cert-manager.io/v1", ["certificates"]],
];

describe("clones, beside real Velero 1.18.3", { skip: requireOrSkip("rig", [...CONTROL_PLANE, ...VELERO]) }, () => {
  let cluster: Cluster;
  let s3: S3;
  let velero: Velero;
  let plain: Record<string, unknown>;

  before(async () => {
    [cluster, s3] = await Promise.all([startCluster(), startS3()]);
    await Promise.all([defineShop(cluster), defineHosts(cluster)]);
    await cluster.kubectl(["apply", "--server-side", "-f", "-"], { input: SAMPLE });
    await document(["backup", "create", "b", "--include-namespaces", "blue", ...from()], s3.env);
    velero = await startVelero(cluster, s3, "");
    await velero.waitForSyncedBackup("b");
    plain = await objectsOf("blue");
    assert.equal(Object.keys(plain).length, 13);
  });
  after(async () => {
    await velero?.stop();
    await Promise.all([cluster?.stop(), s3?.stop()]);
  });

  const from = () => ["--location", s3.location(""), "--kubeconfig", cluster.kubeconfigPath];

  /** What Velero and we make of the sample, each in a namespace of its own. */
  async function both(name: string, spec: object, flags: string[]) {
    const [theirs, ours] = [`velero-${name}`, `lifeboat-${name}`];
    const restored = await velero.createRestore(theirs, {
      backupName: "b",
      namespaceMapping: { blue: theirs },
      ...spec,
    });
    assert.equal(restored.status?.phase, "Completed", await velero.cli(["restore", "describe", theirs, "--details"]));
    return { theirs: await objectsOf(theirs), ours: await byUs(ours, flags) };
  }

  /** What we restore into a namespace of that name. */
  async function byUs(name: string, flags: string[]) {
    const mapping = ["--namespace-mappings", `blue:${name}`];
    const { phase } = await document<RestoreDocument>(
      ["restore", "create", name, "--from-backup", "b", ...from(), ...mapping, ...flags],
      s3.env,
    );
    assert.equal(phase, "Completed");
    return await objectsOf(name);
  }

  for (const { name, flags, without } of FILES) {
    it(`docs/modifiers/${name}.yaml makes, in Velero and here, what ${flags[0]} makes`, async () => {
      const data = { "rules.yaml": await readFile(join(MODIFIERS, `${name}.yaml`), "utf8") };
      await cluster.api.request("POST", "/api/v1/namespaces/velero/configmaps", { metadata: { name }, data });
      const spec = { resourceModifier: { kind: "configmap", name }, ...(without && { excludedResources: [without] }) };
      const excluding = without ? ["--exclude-resources", without] : [];
      const { theirs, ours } = await both(name, spec, [...flags, ...excluding]);
      assert.deepEqual(ours, theirs);
      const file = ["--resource-modifier-file", join(MODIFIERS, `${name}.yaml`)];
      assert.deepEqual(await byUs(`${name}-by-file`, [...file, ...excluding]), theirs);
      const before = Object.fromEntries(Object.keys(ours).map((key) => [key, plain[key]]));
      assert.notDeepEqual(ours, before, "nothing was changed");
    });
  }

  it("Velero's own ConfigMaps do the same in both", async () => {
    const config = (action: string, data: object) =>
      cluster.api.request("POST", "/api/v1/namespaces/velero/configmaps", {
        metadata: {
          name: action,
          labels: { "velero.io/plugin-config": "", [`velero.io/${action}`]: "RestoreItemAction" },
        },
        data,
      });
    await config("change-storage-class", { gp2: "premium" });
    await config("change-image-name", { one: "shop/,green/", two: "nothing", three: "absent,x" });
    const { theirs, ours } = await both("config", {}, []);
    assert.deepEqual(ours, theirs);
    assert.match(JSON.stringify(ours), /registry\.example\/green\/web:1/);
    assert.match(JSON.stringify(ours), /premium/);
    assert.doesNotMatch(JSON.stringify(ours), /gp2/);
  });

  /** The sample's objects in a namespace, without what the server or the restore gave them. */
  async function objectsOf(namespace: string): Promise<Record<string, unknown>> {
    const found: Record<string, unknown> = {};
    for (const [path, resources] of RESOURCES) {
      for (const resource of resources) {
        const list = await cluster.api.request<{ items: KubeObject[] } & KubeObject>(
          "GET",
          `${path}/namespaces/${namespace}/${resource}`,
        );
        for (const { metadata, spec } of list.items) {
          const { annotations, labels = {} } = metadata as { annotations?: object; labels?: Record<string, string> };
          const own = Object.entries(labels).filter(([key]) => !key.startsWith("velero.io/"));
          found[`${resource} ${metadata.name}`] = plainOf({ annotations, labels: Object.fromEntries(own), spec });
        }
      }
    }
    return found;
  }
});

/** Each Job is known by a UID of its own. */
function plainOf(value: object): unknown {
  return JSON.parse(JSON.stringify(value, (key, one) => (key.endsWith("controller-uid") ? undefined : one)));
}

const pod = `{ containers: [{ name: web, image: "registry.example/shop/web:1" }] }`;
const template = `{ metadata: { labels: { app: web } }, spec: ${pod} }`;
const selector = "{ matchLabels: { app: web } }";
const SAMPLE = `
apiVersion: v1
kind: Namespace
metadata: { name: blue }
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: { name: premium }
provisioner: example.com/none
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: blue
  annotations: { external-dns.alpha.kubernetes.io/hostname: www.shop.example }
spec:
  ingressClassName: nginx
  tls: [{ hosts: [www.shop.example], secretName: web }]
  rules: [{ host: www.shop.example }]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: old, namespace: blue, annotations: { kubernetes.io/ingress.class: nginx } }
spec: { rules: [{ host: www.notshop.example }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public, namespace: blue }
spec: { gatewayClassName: nginx, listeners: [{ name: https, hostname: "*.shop.example", port: 443, protocol: HTTPS }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: blue }
spec: { hostnames: [www.shop.example] }
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: { name: web, namespace: blue }
spec: { secretName: web, dnsNames: [www.shop.example], issuerRef: { name: ca, kind: ClusterIssuer } }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data, namespace: blue }
spec: { accessModes: [ReadWriteOnce], storageClassName: gp2, resources: { requests: { storage: 1Gi } } }
---
apiVersion: v1
kind: Pod
metadata: { name: tool, namespace: blue }
spec: ${pod}
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: blue }
spec: { replicas: 3, selector: ${selector}, template: ${template} }
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: { name: web-1, namespace: blue }
spec: { replicas: 3, selector: ${selector}, template: ${template} }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: db, namespace: blue }
spec:
  replicas: 2
  serviceName: db
  selector: { matchLabels: { app: db } }
  template: { metadata: { labels: { app: db } }, spec: { containers: [{ name: db, image: "db:16" }] } }
  volumeClaimTemplates:
    - metadata: { name: data }
      spec: { accessModes: [ReadWriteOnce], storageClassName: gp2, resources: { requests: { storage: 1Gi } } }
---
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: agent, namespace: blue }
spec:
  selector: { matchLabels: { app: agent } }
  template: { metadata: { labels: { app: agent } }, spec: { containers: [{ name: agent, image: "agent:1" }] } }
---
apiVersion: batch/v1
kind: CronJob
metadata: { name: report, namespace: blue }
spec:
  schedule: "15 3 1 1 *"
  jobTemplate:
    spec: { template: { spec: { restartPolicy: Never, containers: [{ name: report, image: "report:1" }] } } }
---
apiVersion: batch/v1
kind: Job
metadata: { name: now, namespace: blue }
spec: { template: { spec: { restartPolicy: Never, containers: [{ name: now, image: "now:1" }] } } }
`;
