import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { connect, expectOk } from "../../core/kube/client.ts";
import { discover } from "../../core/kube/discovery.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { resourceKey, resourcePath } from "../../core/kube/resource.ts";
import type { Api, KubeObject } from "../rig/api.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { document, type RestoreDocument } from "./lifeboat.ts";

const CLUSTER_WIDGETS = "/apis/example.com/v1/clusterwidgets";
const WIDGETS = "/apis/example.com/v1/namespaces/shop/widgets";

/** An owner: its path, and all that goes with it, by the start of "resource namespace/name". */
const OWNERS: { owner: string; path: string; collected: string[] }[] = [
  {
    owner: "a Deployment",
    path: "/apis/apps/v1/namespaces/shop/deployments/deployment",
    collected: ["deployments.apps shop/deployment", "replicasets.apps shop/deployment-", "pods shop/deployment-"],
  },
  {
    owner: "a ReplicaSet",
    path: "/apis/apps/v1/namespaces/shop/replicasets/replicaset",
    collected: ["replicasets.apps shop/replicaset", "pods shop/replicaset-"],
  },
  {
    owner: "a ReplicationController",
    path: "/api/v1/namespaces/shop/replicationcontrollers/replication",
    collected: ["replicationcontrollers shop/replication", "pods shop/replication-"],
  },
  {
    owner: "a StatefulSet",
    path: "/apis/apps/v1/namespaces/shop/statefulsets/stateful",
    collected: ["statefulsets.apps shop/stateful", "controllerrevisions.apps shop/stateful-", "pods shop/stateful-"],
  },
  {
    owner: "a DaemonSet",
    path: "/apis/apps/v1/namespaces/shop/daemonsets/daemon",
    collected: ["daemonsets.apps shop/daemon", "controllerrevisions.apps shop/daemon-", "pods shop/daemon-"],
  },
  {
    owner: "a Job at work",
    path: "/apis/batch/v1/namespaces/shop/jobs/job",
    collected: ["jobs.batch shop/job", "pods shop/job-"],
  },
  {
    owner: "a CronJob",
    path: "/apis/batch/v1/namespaces/shop/cronjobs/cron",
    collected: ["cronjobs.batch shop/cron", "jobs.batch shop/cron-run", "pods shop/cron-run-"],
  },
  {
    owner: "a Service",
    path: "/api/v1/namespaces/shop/services/web",
    collected: ["services shop/web", "endpoints shop/web", "endpointslices.discovery.k8s.io shop/web-"],
  },
  {
    owner: "a custom resource of ConfigMaps and of another one, which owns a Secret",
    path: `${WIDGETS}/parent`,
    collected: [
      "widgets.example.com shop/parent",
      "configmaps shop/of-parent",
      "widgets.example.com shop/child",
      "secrets shop/of-child",
    ],
  },
  {
    owner: "a ConfigMap",
    path: "/api/v1/namespaces/shop/configmaps/owner",
    collected: ["configmaps shop/owner", "secrets shop/of-owner"],
  },
  {
    owner: "a cluster-scoped custom resource of what lies in namespaces",
    path: `${CLUSTER_WIDGETS}/global`,
    collected: ["clusterwidgets.example.com global", "configmaps shop/of-global", "configmaps other/of-global"],
  },
  {
    owner: "one of two owners: nothing but itself",
    path: `${WIDGETS}/first`,
    collected: ["widgets.example.com shop/first"],
  },
  {
    owner: "the other of the two",
    path: `${WIDGETS}/second`,
    collected: ["widgets.example.com shop/second", "configmaps shop/of-both"],
  },
];

describe("owners that were restored", { skip: requireOrSkip("rig", WITH_CONTROLLERS) }, () => {
  let source: Cluster;
  let target: Cluster;
  let dir: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-owners-"));
    [source, target] = await Promise.all([startCluster({ controllers: true }), startCluster({ controllers: true })]);
    await seedOwners(source);
    const place = ["--location", `file://${dir}`];
    await document(["backup", "create", "full", ...place, "--kubeconfig", source.kubeconfigPath]);
    await source.stop();
    const create = ["restore", "create", "r", "--from-backup", "full", ...place];
    const restored = await document<RestoreDocument>([...create, "--kubeconfig", target.kubeconfigPath]);
    assert.deepEqual([restored.phase, restored.errors, restored.warnings], ["Completed", [], []]);
    await settled(target);
  });
  after(async () => {
    await Promise.all([source?.stop(), target?.stop()]);
    if (dir) await rm(dir, { recursive: true });
  });

  for (const { owner, path, collected } of OWNERS) {
    it(`are deleted with their children: ${owner}`, async () => {
      const there = await listed(target);
      for (const start of collected)
        assert.ok(
          there.some((key) => key.startsWith(start)),
          `${start} is not there`,
        );
      const leaves = (key: string) => collected.some((start) => key.startsWith(start) && isName(key, start));
      const expected = there.filter((key) => !leaves(key));
      // As kubectl asks: of itself the API of Jobs and ReplicationControllers leaves their Pods.
      await target.api.request("DELETE", path, { propagationPolicy: "Background" });
      await until("the children to be collected", async () => !(await listed(target)).some(leaves), { everyMs: 200 });
      assert.deepEqual(await listed(target), expected);
    });
  }
});

/** Whether "resource namespace/name" is meant: exactly, or, where `start` ends with a dash, as a beginning. */
function isName(key: string, start: string): boolean {
  return start.endsWith("-") || key === start;
}

/** All objects, but those that come and go by themselves, or with a Service's address. */
async function listed({ kubeconfig }: Cluster): Promise<string[]> {
  const kube = connect(readKubeconfig(kubeconfig));
  try {
    const { resources } = await discover(kube);
    const listable = resources.filter(
      (resource) =>
        resource.preferred &&
        resource.verbs.includes("list") &&
        resource.verbs.includes("delete") &&
        !/^(events|leases|ipaddresses)\b/.test(resourceKey(resource)),
    );
    const keys = listable.map(async (resource) => {
      const { body } = expectOk(await kube.request({ path: resourcePath(resource) }), "list");
      const { items } = JSON.parse(body.toString()) as { items: KubeObject[] };
      return items.map(
        ({ metadata: { namespace, name } }) => `${resourceKey(resource)} ${namespace ? `${namespace}/` : ""}${name}`,
      );
    });
    return (await Promise.all(keys)).flat().sort();
  } finally {
    await kube.close();
  }
}

/** Waits until the controllers have done all they want to. */
async function settled(cluster: Cluster): Promise<void> {
  let known = "";
  await until(
    "the cluster to settle",
    async () => {
      const now = JSON.stringify(await listed(cluster));
      const same = now === known;
      known = now;
      return same;
    },
    { everyMs: 3000 },
  );
}

async function seedOwners(cluster: Cluster): Promise<void> {
  const { api, kubectl } = cluster;
  const labels = (app: string) => ({ app });
  const template = (app: string, spec: object = {}) => ({
    metadata: { labels: labels(app) },
    spec: { containers: [{ name: "main", image: `example.com/${app}:1` }], ...spec },
  });
  const workload = (apiVersion: string, kind: string, name: string, spec: object = {}) => ({
    apiVersion,
    kind,
    metadata: { name, namespace: "shop" },
    spec: { selector: { matchLabels: labels(name) }, template: template(name), ...spec },
  });
  // No node takes their Pods, so that they don't end.
  const job = (name: string, metadata: object = {}) => ({
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, namespace: "shop", ...metadata },
    spec: { template: template(name, { restartPolicy: "Never", nodeSelector: { "not-yet": "there" } }) },
  });
  const items = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "other" } },
    definition("Widget", "Namespaced"),
    definition("ClusterWidget", "Cluster"),
    workload("apps/v1", "Deployment", "deployment", { replicas: 2 }),
    workload("apps/v1", "ReplicaSet", "replicaset", { replicas: 2 }),
    workload("v1", "ReplicationController", "replication", { replicas: 2, selector: labels("replication") }),
    workload("apps/v1", "StatefulSet", "stateful", { replicas: 2, serviceName: "stateful" }),
    workload("apps/v1", "DaemonSet", "daemon"),
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web", namespace: "shop" },
      spec: { selector: labels("deployment"), ports: [{ port: 80 }] },
    },
  ];
  await kubectl(["apply", "-f", "-"], { input: JSON.stringify({ apiVersion: "v1", kind: "List", items }) });
  await until("the definitions", async () =>
    Promise.all([WIDGETS, CLUSTER_WIDGETS].map((path) => api.request("GET", path))),
  );
  await seedCustom(api);
  await api.request("POST", "/apis/batch/v1/namespaces/shop/jobs", job("job"));
  const cron = await api.request("POST", "/apis/batch/v1/namespaces/shop/cronjobs", {
    apiVersion: "batch/v1",
    kind: "CronJob",
    metadata: { name: "cron" },
    spec: { schedule: "15 3 1 1 *", jobTemplate: { spec: job("cron").spec } },
  });
  const ownerReferences = [{ ...reference(cron), controller: true }];
  await api.request("POST", "/apis/batch/v1/namespaces/shop/jobs", job("cron-run", { ownerReferences }));
  await settled(cluster);
}

/** What controllers of custom resources make: owners of each kind of scope, chains of them, two of one object. */
async function seedCustom(api: Api): Promise<void> {
  const core = (kind: string, name: string, ...owners: KubeObject[]) => ({
    apiVersion: "v1",
    kind,
    metadata: { name, ownerReferences: owners.map(reference) },
  });
  const widget = (name: string, ...owners: KubeObject[]) =>
    api.request("POST", WIDGETS, {
      ...core("Widget", name, ...owners),
      apiVersion: "example.com/v1",
    });
  const make = (path: string, object: object) => api.request("POST", `/api/v1/namespaces/${path}`, object);
  const parent = await widget("parent");
  const child = await widget("child", parent);
  await make("shop/configmaps", core("ConfigMap", "of-parent", parent));
  await make("shop/secrets", core("Secret", "of-child", child));
  const map = await make("shop/configmaps", core("ConfigMap", "owner"));
  await make("shop/secrets", core("Secret", "of-owner", map));
  const both = await Promise.all([widget("first"), widget("second")]);
  await make("shop/configmaps", core("ConfigMap", "of-both", ...both));
  const global = await api.request("POST", CLUSTER_WIDGETS, {
    apiVersion: "example.com/v1",
    kind: "ClusterWidget",
    metadata: { name: "global" },
  });
  await make("shop/configmaps", core("ConfigMap", "of-global", global));
  await make("other/configmaps", core("ConfigMap", "of-global", global));
}

function reference({ apiVersion, kind, metadata }: KubeObject) {
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid };
}

function definition(kind: string, scope: string) {
  const plural = `${kind.toLowerCase()}s`;
  const schema = { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.example.com` },
    spec: {
      group: "example.com",
      scope,
      names: { plural, singular: kind.toLowerCase(), kind, listKind: `${kind}List` },
      versions: [{ name: "v1", served: true, storage: true, schema }],
    },
  };
}
