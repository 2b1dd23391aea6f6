import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { KubeObject } from "../rig/api.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { applyShop } from "../rig/shop.ts";
import { killedAtWrite } from "./killed.ts";
import { document, lifeboat, type RestoreDocument } from "./lifeboat.ts";
import { type Objects, objectsAt, objectsIn } from "./objects.ts";

interface PlanDocument {
  counts: Record<"create" | "update" | "recreate" | "prune" | "skip" | "blocked", number>;
  steps: { resource: string; namespace: string; name: string; action: string }[];
  warnings: { message: string }[];
  errors: { message: string }[];
}

const SHOP = "/api/v1/namespaces/shop";
const APPS = "/apis/apps/v1/namespaces/shop";
const SEALED = "/apis/bitnami.com/v1alpha1/namespaces/shop/sealedsecrets";

/** What the backup holds differently, what it doesn't hold, and what of that must stay. */
const CHANGES = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: extra, namespace: shop }
spec:
  replicas: 2
  selector: { matchLabels: { app: extra } }
  template:
    metadata: { labels: { app: extra } }
    spec: { containers: [{ name: c, image: "registry.example.com/extra:1" }] }
---
apiVersion: v1
kind: Service
metadata: { name: extra, namespace: shop }
spec: { type: NodePort, selector: { app: extra }, ports: [{ port: 80, nodePort: 30123 }] }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: extra, namespace: shop, labels: { velero.io/restore-name: earlier }, finalizers: [example.com/none] }
data: { a: b }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: extra, namespace: shop }
---
apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata: { name: extra, namespace: shop }
spec: { encryptedData: { token: AgBy3i4OJSWK }, template: { metadata: { name: extra, namespace: shop } } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: private, namespace: shop, labels: { velero.io/exclude-from-backup: "true" } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: own, namespace: kube-system }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: extra, namespace: shop }
spec: { accessModes: [ReadWriteOnce], storageClassName: none, resources: { requests: { storage: 1Gi } } }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: extra }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: prices-v1, namespace: shop }
immutable: true
data: { rose: "9.99" }
`;

describe("prune and undo, with controllers running", { skip: requireOrSkip("rig", WITH_CONTROLLERS) }, () => {
  let cluster: Cluster;
  let dir: string;
  let changed: Objects;

  const flags = (kubeconfig = cluster.kubeconfigPath) => ["--location", `file://${dir}`, "--kubeconfig", kubeconfig];
  const MIRROR = ["--from-backup", "full", "--existing-resource-policy", "recreate", "--prune"];
  const dryRun = (name: string) =>
    document<PlanDocument>(["restore", "create", name, ...MIRROR, "--dry-run", ...flags()]);

  before(async () => {
    cluster = await startCluster({ controllers: true });
    dir = await mkdtemp(join(tmpdir(), "lifeboat-undo-"));
    await applyShop(cluster);
    await document(["backup", "create", "full", ...flags()]);
    await change();
    changed = await state();
  });

  after(async () => {
    await cluster?.stop();
    if (dir) await rm(dir, { recursive: true });
  });

  async function change(): Promise<void> {
    const { api, kubectl } = cluster;
    await api.request("DELETE", `${SHOP}/configmaps/prices-v1`);
    await kubectl(["apply", "-f", "-"], { input: CHANGES });
    const { metadata } = await api.request("GET", `${SEALED}/extra`);
    await api.request("POST", `${SHOP}/secrets`, {
      metadata: {
        name: "extra",
        ownerReferences: [
          { apiVersion: "bitnami.com/v1alpha1", kind: "SealedSecret", name: "extra", uid: metadata.uid },
        ],
      },
      stringData: { token: "not a real token" },
    });
    await kubectl(["-n", "shop", "set", "image", "deployment/cart", "cart=registry.example.com/shop/cart:3.0.0"]);
    await kubectl(["-n", "shop", "label", "configmap/web", "app=other", "--overwrite"]);
    await kubectl([
      "-n",
      "shop",
      "patch",
      "service/web",
      "-p",
      '{"spec":{"ports":[{"name":"http","port":80,"targetPort":9090}]}}',
    ]);
    await kubectl(["-n", "shop", "patch", "serviceaccount/web", "-p", '{"metadata":{"annotations":{"a":"b"}}}']);
    await api.request("DELETE", `${APPS}/daemonsets/log-agent`);
    await api.request("DELETE", `${SHOP}/secrets/session`);
    await settled();
  }

  /** Waits until every controller has done its work. */
  async function settled(): Promise<void> {
    await until(
      "workloads to be up",
      async () => {
        const { items } = await cluster.api.request<{ items: KubeObject[] } & KubeObject>("GET", `${APPS}/deployments`);
        const pods = await cluster.api.request<{ items: KubeObject[] } & KubeObject>("GET", `${SHOP}/pods`);
        return (
          pods.items.every(({ metadata }) => !metadata.deletionTimestamp) &&
          items.every(({ metadata, spec, status }) => {
            const { observedGeneration, replicas, readyReplicas, updatedReplicas } = status as Record<string, number>;
            const wanted = (spec as { replicas: number }).replicas;
            return (
              observedGeneration === metadata.generation &&
              [replicas, readyReplicas, updatedReplicas].every((count) => count === wanted)
            );
          })
        );
      },
      { everyMs: 200 },
    );
  }

  /** All objects, without what the server or its controllers manage. */
  async function state(): Promise<Objects> {
    const { metadata } = await cluster.api.request<KubeObject>("GET", "/api/v1/namespaces?limit=1");
    const objects = await objectsAt(cluster, String(metadata.resourceVersion));
    const theirs = /^(events|leases|endpoints|endpointslices|pods|replicasets|controllerrevisions|ipaddresses)\b/;
    return new Map([...objects].filter(([key]) => !theirs.test(key)).map(([key, object]) => [key, authored(object)]));
  }

  /** Does what the controller of a pruned object with a finalizer would. */
  async function release(): Promise<void> {
    const found = await cluster.kubectl([
      "-n",
      "shop",
      "get",
      "configmap",
      "extra",
      "--ignore-not-found",
      "-o",
      "json",
    ]);
    if (!found || !JSON.parse(found).metadata.deletionTimestamp) return;
    await cluster.api.request("PATCH", `${SHOP}/configmaps/extra`, { metadata: { finalizers: null } });
  }

  /** Fails unless the cluster is as it was before the restore. */
  async function unchanged(): Promise<void> {
    const now = await state();
    assert.deepEqual(
      [...now.keys()].filter((key) => !changed.has(key)),
      [],
    );
    for (const [key, object] of changed) assert.deepEqual(now.get(key), object);
  }

  it("refuses to prune, telling what, until it is told to", async () => {
    const { code, stderr } = await lifeboat(["restore", "create", "unasked", ...MIRROR, ...flags()]);
    assert.equal(code, 2);
    assert.match(stderr, /6 objects would be deleted: .* and 1 more/);
    assert.match(stderr, /--dry-run shows all of it; with --yes it is done/);
    await unchanged();
  });

  it("plans what it prunes, and nothing that must stay", async () => {
    const plan = await dryRun("planned");
    const pruned = plan.steps.filter(({ action }) => action === "prune");
    assert.deepEqual(pruned.map(({ resource, namespace, name }) => `${resource} ${namespace}/${name}`).sort(), [
      "clusterroles.rbac.authorization.k8s.io /extra",
      "configmaps shop/extra",
      "deployments.apps shop/extra",
      "sealedsecrets.bitnami.com shop/extra",
      "serviceaccounts shop/extra",
      "services shop/extra",
    ]);
    assert.equal(plan.counts.recreate, 1);
    await unchanged();
  });

  it("makes the cluster what the backup says: then there is nothing left to plan", async () => {
    const restored = await document<RestoreDocument>(["restore", "create", "r", ...MIRROR, "--yes", ...flags()]);
    assert.deepEqual([restored.phase, restored.errors], ["Completed", []]);
    const { pruned, recreated, created, updated } = restored.counts;
    assert.deepEqual({ pruned, recreated }, { pruned: 6, recreated: 1 });
    assert.ok(created >= 2 && updated === 3, `${created} created, ${updated} updated`);
    await release();
    await settled();
    const { counts } = await dryRun("nothing");
    const { create, update, recreate, prune } = counts;
    assert.deepEqual({ create, update, recreate, prune }, { create: 0, update: 0, recreate: 0, prune: 0 });
  });

  it("has pruned the children of what it pruned, and has left what is protected", async () => {
    const secret = ["-n", "shop", "get", "secret", "extra", "--ignore-not-found"];
    await until("the Secret to be collected", async () => (await cluster.kubectl(secret)) === "", { everyMs: 500 });
    const names = [...(await state()).keys()];
    assert.deepEqual(names.filter((name) => /(extra|private|own)$/.test(name)).sort(), [
      "configmaps kube-system/own",
      "configmaps shop/private",
      "persistentvolumeclaims shop/extra",
    ]);
    const { items } = await cluster.api.request<{ items: KubeObject[] } & KubeObject>("GET", `${SHOP}/pods`);
    assert.ok(items.every(({ metadata }) => !metadata.name.startsWith("extra-")));
  });

  it("has kept what it touched, and nothing else, in a backup", async () => {
    const kept = await objectsIn(join(dir, "backups/r-before/r-before.tar.gz"));
    assert.deepEqual(
      [...kept.keys()].filter((key) => !/^(pods|replicasets|endpointslices|controllerrevisions)\b/.test(key)).sort(),
      [
        "clusterroles.rbac.authorization.k8s.io extra",
        "configmaps shop/extra",
        "configmaps shop/prices-v1",
        "configmaps shop/web",
        "deployments.apps shop/cart",
        "deployments.apps shop/extra",
        "sealedsecrets.bitnami.com shop/extra",
        "secrets shop/extra",
        "serviceaccounts shop/extra",
        "serviceaccounts shop/web",
        "services shop/extra",
        "services shop/web",
      ],
    );
  });

  it("refuses to undo until it is told to, and shows what it would do", async () => {
    const { code, stderr } = await lifeboat(["restore", "undo", "r", ...flags()]);
    assert.deepEqual([code, /would be deleted: .*; .* would be made what they were/.test(stderr)], [2, true], stderr);
    await cluster.kubectl(["-n", "shop", "label", "configmap/web", "since=then"]);
    const plan = await document<PlanDocument>(["restore", "undo", "r", "--dry-run", ...flags()]);
    assert.deepEqual([plan.errors, plan.counts.recreate], [[], 1]);
    assert.deepEqual(
      plan.warnings.map(({ message }) => message.replace(/ at \S+:/, ":")),
      ["configmaps shop/web was changed since by kubectl-label: that is undone, too"],
    );
    assert.equal((await lifeboat(["restore", "undo", "unknown", "--yes", ...flags()])).code, 5);
  });

  it("undoes it: the cluster is what it was before", async () => {
    const undone = await document<RestoreDocument>(["restore", "undo", "r", "--yes", ...flags()]);
    assert.deepEqual([undone.phase, undone.errors], ["Completed", []]);
    await settled();
    await unchanged();
    const { metadata } = await cluster.api.request<KubeObject>("GET", `${SHOP}/secrets/extra`);
    const owner = await cluster.api.request<KubeObject>("GET", `${SEALED}/extra`);
    assert.deepEqual(
      (metadata.ownerReferences as { uid: string }[]).map(({ uid }) => uid),
      [owner.metadata.uid],
    );
  });

  it("gives statuses back, and leaves to a later restore what that has changed", async () => {
    const only = ["--include-namespaces", "shop", "--include-resources", "sealedsecrets"];
    const names = ["stated", "unstated", "later"];
    const type = { apiVersion: "bitnami.com/v1alpha1", kind: "SealedSecret" };
    const say = async (name: string, says: string, status: object | undefined) => {
      const labelled = await cluster.api.request("PATCH", `${SEALED}/${name}`, { metadata: { labels: { says } } });
      await cluster.api.request("PUT", `${SEALED}/${name}/status`, { ...labelled, ...type, status });
    };
    const said = async () => {
      const objects = await Promise.all(
        names.map((name) => cluster.api.request<KubeObject>("GET", `${SEALED}/${name}`)),
      );
      return objects.map(({ metadata, status }) => [(metadata.labels as Record<string, string>).says, status]);
    };
    for (const name of names) {
      await cluster.api.request("POST", SEALED, {
        ...type,
        metadata: { name },
        spec: { encryptedData: {}, template: {} },
      });
      await say(name, "backup", { observedGeneration: 1 });
    }
    await document(["backup", "create", "stated", ...only, ...flags()]);
    await say("stated", "live", { observedGeneration: 2 });
    await say("unstated", "live", undefined);
    await say("later", "live", { observedGeneration: 2 });
    const before = await said();
    const update = ["--from-backup", "stated", "--existing-resource-policy", "update", ...only, ...flags()];
    await document(["restore", "create", "s", "--status-include-resources", "sealedsecrets", ...update]);
    assert.deepEqual(await said(), Array(3).fill(["backup", { observedGeneration: 1 }]));

    await say("later", "drifted", { observedGeneration: 3 });
    await document(["restore", "create", "s2", ...update]);
    const { phase, warnings } = await document<RestoreDocument>(["restore", "undo", "s", "--yes", ...flags()]);
    assert.equal(phase, "Completed");
    assert.match(
      (warnings as { message: string }[]).map(({ message }) => message).join("\n"),
      /^restore s2 has changed it since.*undo s2 first/,
    );
    assert.deepEqual((await said()).slice(0, 2), before.slice(0, 2));
    await document(["restore", "undo", "s2", "--yes", ...flags()]);
    await document(["restore", "undo", "s", "--yes", ...flags()]);
    assert.deepEqual(await said(), before);
    for (const name of names) await cluster.api.request("DELETE", `${SEALED}/${name}`);
  });

  for (const writes of [2, 6, 9]) {
    it(`undoes one that was killed after ${writes} writes, itself killed and run again`, async () => {
      const name = `killed-${writes}`;
      const kill = (args: string[], after: number) =>
        killedAtWrite(after + 1, (kubeconfig) => [...args, ...flags(kubeconfig)], { cluster });
      assert.equal(await kill(["restore", "create", name, ...MIRROR, "--yes"], writes), null);
      await release();
      await kill(["restore", "undo", name, "--yes"], 1);
      const { code, stderr } = await lifeboat(["restore", "undo", name, "--yes", ...flags()]);
      // An undo of one write has ended before the kill came.
      assert.ok(code === 0 || /has been undone already/.test(stderr), stderr);
      await settled();
      await unchanged();
    });
  }
});

/** An object without UIDs and what servers and controllers write. */
function authored({ status: _, ...object }: KubeObject): KubeObject {
  const copy = structuredClone(object) as KubeObject & { spec?: Record<string, unknown>; secrets?: unknown };
  const { annotations = {}, ...metadata } = copy.metadata as KubeObject["metadata"] & { annotations?: object };
  for (const field of ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"])
    delete metadata[field];
  for (const owner of (metadata.ownerReferences ?? []) as Record<string, unknown>[]) delete owner.uid;
  const kept = Object.entries(annotations).filter(
    ([key]) => !/^(deployment\.kubernetes\.io|deprecated\.daemonset)/.test(key),
  );
  if (kept.length) metadata.annotations = Object.fromEntries(kept);
  if (copy.kind === "Service" && copy.spec?.clusterIP !== "None")
    for (const field of ["clusterIP", "clusterIPs"]) delete copy.spec?.[field];
  return { ...copy, metadata };
}
