import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { connect, type Kube } from "../../core/kube/client.ts";
import { discover } from "../../core/kube/discovery.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { type ListPage, listPages } from "../../core/kube/list.ts";
import { type Resource, resourceKey } from "../../core/kube/resource.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { WITHOUT_SNAPSHOTS } from "../rig/control-plane.ts";
import { requireOrSkip } from "../rig/require.ts";

const CONFIG_MAPS = "/api/v1/namespaces/default/configmaps";
const configMaps: Resource = {
  group: "",
  version: "v1",
  name: "configmaps",
  kind: "ConfigMap",
  singular: "configmap",
  shortNames: [],
  namespaced: true,
  verbs: ["list"],
  preferred: true,
};
const OLD = 400;
const LATE = 20;

suite("the client, on a real API server", { skip: requireOrSkip("rig", CONTROL_PLANE) }, () => {
  let cluster: Cluster;
  let kube: Kube;
  before(async () => {
    cluster = await startCluster({ apiServerFlags: [WITHOUT_SNAPSHOTS], tokens: { "good-token": "jane" } });
    kube = connect(readKubeconfig(cluster.kubeconfig));
    await create("old", OLD);
  });
  after(async () => {
    await kube?.close();
    await cluster?.stop();
  });

  async function create(prefix: string, count: number): Promise<void> {
    const one = (_: unknown, index: number) =>
      cluster.api.request("POST", CONFIG_MAPS, {
        metadata: { name: `${prefix}-${String(index).padStart(3, "0")}` },
        data: { text: 'quotes " and \\ brackets ]}' },
      });
    await Promise.all(Array.from({ length: count }, one));
  }
  const pagesOf = (options: Parameters<typeof listPages>[2]) =>
    listPages(kube, configMaps, { namespace: "default", limit: 100, ...options });
  const parsed = (pages: ListPage[]) => pages.flatMap(({ items }) => items.map((item) => JSON.parse(item.toString())));
  const count = (pages: ListPage[], prefix: string) =>
    parsed(pages).filter(({ metadata }) => metadata.name.startsWith(prefix)).length;

  test("discovers what every cluster serves, from three answers, and goes on without a dead group", async () => {
    const found = await discover(kube);
    assert.deepEqual(found.warnings, []);
    assert.match(found.version.gitVersion, /^v1\./);
    const preferred = found.resources.filter((resource) => resource.preferred);
    const shown = new Map(preferred.map((resource) => [resourceKey(resource), resource]));
    for (const [key, version, namespaced] of [
      ["pods", "v1", true],
      ["namespaces", "v1", false],
      ["deployments.apps", "v1", true],
      ["clusterroles.rbac.authorization.k8s.io", "v1", false],
      ["customresourcedefinitions.apiextensions.k8s.io", "v1", false],
      ["events.events.k8s.io", "v1", true],
    ] as const) {
      const { version: served, namespaced: scope, verbs } = shown.get(key)!;
      assert.deepEqual([key, served, scope], [key, version, namespaced]);
      assert.ok(verbs.includes("list"), key);
    }
    assert.deepEqual([shown.get("pods")!.kind, shown.get("pods")!.shortNames], ["Pod", ["po"]]);
    assert.ok(found.resources.every(({ name }) => !name.includes("/")));

    await cluster.api.request("POST", "/apis/apiregistration.k8s.io/v1/apiservices", {
      metadata: { name: "v1beta1.metrics.k8s.io" },
      spec: {
        group: "metrics.k8s.io",
        version: "v1beta1",
        groupPriorityMinimum: 100,
        versionPriority: 100,
        insecureSkipTLSVerify: true,
        service: { name: "absent", namespace: "default" },
      },
    });
    let dead = found;
    for (let tries = 0; dead.warnings.length === 0 && tries < 40; tries++) {
      await new Promise((wake) => setTimeout(wake, 250));
      const began = performance.now();
      dead = await discover(kube);
      assert.ok(performance.now() - began < 7000, "a dead group costs at most 5 s");
    }
    assert.deepEqual(
      dead.warnings.map(({ group }) => group),
      ["metrics.k8s.io"],
    );
    assert.deepEqual(dead.resources.length, found.resources.length);
  });

  test("lists page by page what the server holds, each item as it is when read alone", async () => {
    const pages = await Array.fromAsync(pagesOf({}));
    assert.ok(pages.length >= OLD / 100);
    assert.equal(count(pages, "old-"), OLD);
    assert.equal(new Set(pages.map(({ resourceVersion }) => resourceVersion)).size, 1);
    const [first] = pages[0]!.items;
    const { name } = JSON.parse(first!.toString()).metadata;
    const alone = await kube.request({ path: `${CONFIG_MAPS}/${name}` });
    assert.deepEqual(JSON.parse(first!.toString()), JSON.parse(alone.body.toString()));
  });

  test("a pinned list leaves out what came later, until its revision is compacted away", async () => {
    const [now] = await Array.fromAsync(pagesOf({ limit: 1000 }));
    const { resourceVersion } = now!;
    const before = count([now!], "late-");
    await create("late", LATE);
    const pinned = await Array.fromAsync(pagesOf({ resourceVersion }));
    assert.deepEqual([count(pinned, "old-"), count(pinned, "late-"), before], [OLD, 0, 0]);
    assert.deepEqual([...new Set(pinned.map((page) => page.resourceVersion))], [resourceVersion]);
    assert.equal(count(await Array.fromAsync(pagesOf({})), "late-"), LATE);

    const running = pagesOf({ resourceVersion, limit: 50 })[Symbol.asyncIterator]();
    const begun: ListPage[] = [(await running.next()).value!];
    await cluster.compact();
    for (let next = await running.next(); !next.done; next = await running.next()) begun.push(next.value);
    assert.equal(count(begun, "old-"), OLD, "the list went on at a newer revision, with nothing lost or given twice");
    assert.equal(begun[0]!.resourceVersion, resourceVersion);
    assert.notEqual(begun.at(-1)!.resourceVersion, resourceVersion);

    await assert.rejects(Array.fromAsync(pagesOf({ resourceVersion })), {
      kind: "conflict",
      message: /did not list configmaps: .*\(410\)/,
    });
  });

  test("a token is taken, a bad one denied after the kubeconfig was read once more", async () => {
    let reloads = 0;
    const reload = async () => {
      reloads++;
      return readKubeconfig(cluster.tokenUser("good-token"));
    };
    const renewed = connect(readKubeconfig(cluster.tokenUser("bad-token")), { reload });
    assert.equal((await renewed.request({ path: "/version" })).status, 200);
    assert.equal((await renewed.request({ path: CONFIG_MAPS })).status, 403);
    assert.equal(reloads, 1);
    await renewed.close();
    const denied = connect(readKubeconfig(cluster.tokenUser("bad-token")));
    await assert.rejects(discover(denied), { kind: "denied", message: /Unauthorized \(401\)/ });
    await denied.close();
  });
});
