import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { discover } from "../../core/kube/discovery.ts";
import { resourceApiVersion, resourceKey, resourcePath } from "../../core/kube/resource.ts";
import { type Answer, client, hang, json, type ScriptedServer, serve, status } from "./kube-server.ts";

const VERBS = ["create", "delete", "get", "list"];
const VERSION = { gitVersion: "v1.36.3", major: "1", minor: "36", platform: "linux" };

/** A server that answers each path by its own answer. */
async function servePaths(answers: Record<string, Answer>): Promise<ScriptedServer> {
  return serve((request, response, body) => {
    const answer = answers[request.url!] ?? status(404, "NotFound", "no such path");
    answer(request, response, body);
  });
}

const aggregatedResource = (resource: string, kind: string, more: object = {}) => ({
  resource,
  responseKind: { group: "", version: "", kind },
  scope: "Namespaced",
  singularResource: kind.toLowerCase(),
  verbs: VERBS,
  ...more,
});
const aggregated = (groups: Record<string, Record<string, object[] | "stale">>, version = "v2") =>
  json(
    200,
    {
      kind: "APIGroupDiscoveryList",
      apiVersion: `apidiscovery.k8s.io/${version}`,
      items: Object.entries(groups).map(([name, versions]) => ({
        metadata: name ? { name } : {},
        versions: Object.entries(versions).map(([served, resources]) =>
          resources === "stale"
            ? { version: served, freshness: "Stale" }
            : { version: served, freshness: "Current", resources },
        ),
      })),
    },
    { "content-type": `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList` },
  );

const classicList = (...resources: [name: string, kind: string, namespaced?: boolean][]) =>
  json(200, {
    kind: "APIResourceList",
    resources: resources.map(([name, kind, namespaced = true]) => ({
      name,
      kind,
      namespaced,
      singularName: "",
      verbs: VERBS,
    })),
  });
const classicGroups = (groups: Record<string, string[]>, preferred?: string) =>
  json(200, {
    kind: "APIGroupList",
    groups: Object.entries(groups).map(([name, versions]) => ({
      name,
      versions: versions.map((version) => ({ groupVersion: `${name}/${version}`, version })),
      preferredVersion: { groupVersion: `${name}/${preferred ?? versions[0]}`, version: preferred ?? versions[0] },
    })),
  });

const shown = (resources: Awaited<ReturnType<typeof discover>>["resources"]) =>
  resources.map((resource) => `${resourceApiVersion(resource)} ${resource.name}${resource.preferred ? " *" : ""}`);

suite("discover, with aggregated documents", () => {
  test("reads everything from three answers, without subresources, each resource preferred in the first version that has it", async () => {
    const pods = aggregatedResource("pods", "Pod", { shortNames: ["po"], subresources: [{ subresource: "log" }] });
    await using server = await servePaths({
      "/version": json(200, VERSION),
      "/api": aggregated({
        "": {
          v1: [
            pods,
            aggregatedResource("nodes", "Node", { scope: "Cluster" }),
            { resource: "orphans", responseKind: {} },
          ],
        },
      }),
      "/apis": aggregated(
        {
          autoscaling: {
            v2: [aggregatedResource("hpas", "HPA")],
            v1: [aggregatedResource("hpas", "HPA"), aggregatedResource("old", "Old")],
          },
        },
        "v2beta1",
      ),
    });
    await using kube = client(server);
    const { resources, warnings, version } = await discover(kube);
    assert.deepEqual(shown(resources), [
      "v1 pods *",
      "v1 nodes *",
      "autoscaling/v2 hpas *",
      "autoscaling/v1 hpas",
      "autoscaling/v1 old *",
    ]);
    assert.deepEqual(resources[0], {
      group: "",
      version: "v1",
      name: "pods",
      kind: "Pod",
      singular: "pod",
      shortNames: ["po"],
      namespaced: true,
      verbs: VERBS,
      preferred: true,
    });
    assert.equal(resources[1]!.namespaced, false);
    assert.deepEqual([warnings, version], [[], { gitVersion: "v1.36.3", major: "1", minor: "36" }]);
    assert.equal(server.requests.length, 3);
    assert.match(
      server.requests.find(({ url }) => url === "/apis")!.headers.accept!,
      /v=v2;as=APIGroupDiscoveryList.*v=v2beta1;.*application\/json$/,
    );
  });

  test("a stale version is asked once more by itself; a group whose backend is dead costs a warning and a moment", async () => {
    await using server = await servePaths({
      "/version": json(200, VERSION),
      "/api": aggregated({ "": { v1: [aggregatedResource("pods", "Pod")] } }),
      "/apis": aggregated({
        "recovered.example.com": { v1: "stale" },
        "metrics.k8s.io": { v1beta1: "stale" },
        "custom.metrics.k8s.io": { v1beta2: "stale", v1beta1: "stale" },
      }),
      "/apis/recovered.example.com/v1": classicList(["things", "Thing"]),
      "/apis/metrics.k8s.io/v1beta1": status(
        503,
        "ServiceUnavailable",
        "the server is currently unable to handle the request",
      ),
      "/apis/custom.metrics.k8s.io/v1beta2": hang,
      "/apis/custom.metrics.k8s.io/v1beta1": hang,
    });
    await using kube = client(server);
    const began = performance.now();
    const { resources, warnings } = await discover(kube);
    assert.ok(
      performance.now() - began < 15_000,
      "all dead groups together cost 5 s, on a loaded machine a little more",
    );
    assert.deepEqual(shown(resources), ["v1 pods *", "recovered.example.com/v1 things *"]);
    assert.deepEqual(warnings.map(({ group }) => group).sort(), ["custom.metrics.k8s.io", "metrics.k8s.io"]);
    assert.match(
      warnings.find(({ group }) => group === "metrics.k8s.io")!.message,
      /^metrics.k8s.io\/v1beta1 is announced.*unable to handle the request \(503\)$/,
    );
    assert.match(warnings.find(({ group }) => group !== "metrics.k8s.io")!.message, /no answer within 5 s/);
  });
});

suite("discover, group by group", () => {
  const core = { "/version": json(200, VERSION), "/api": json(200, { kind: "APIVersions", versions: ["v1"] }) };

  test("takes the server's preferred version first", async () => {
    await using server = await servePaths({
      ...core,
      "/api/v1": classicList(["pods", "Pod"], ["pods/log", "Pod"], ["nodes", "Node", false]),
      "/apis": classicGroups({ apps: ["v1beta1", "v1"] }, "v1"),
      "/apis/apps/v1": classicList(["deployments", "Deployment"]),
      "/apis/apps/v1beta1": classicList(["deployments", "Deployment"], ["legacies", "Legacy"]),
    });
    await using kube = client(server);
    const { resources, warnings } = await discover(kube);
    assert.deepEqual(shown(resources), [
      "v1 pods *",
      "v1 nodes *",
      "apps/v1 deployments *",
      "apps/v1beta1 deployments",
      "apps/v1beta1 legacies *",
    ]);
    assert.deepEqual([resources[0]!.singular, resources[1]!.namespaced, warnings], ["pod", false, []]);
  });

  test("a group whose backend is dead is warned about, and another version of its steps in", async () => {
    await using server = await servePaths({
      ...core,
      "/api/v1": classicList(["pods", "Pod"]),
      "/apis": classicGroups({ "half.example.com": ["v2", "v1"] }),
      "/apis/half.example.com/v2": status(404, "NotFound", "gone"),
      "/apis/half.example.com/v1": classicList(["things", "Thing"]),
    });
    await using kube = client(server);
    const { resources, warnings } = await discover(kube);
    assert.deepEqual(shown(resources), ["v1 pods *", "half.example.com/v1 things *"]);
    assert.deepEqual(
      warnings.map(({ group }) => group),
      ["half.example.com"],
    );
  });

  test("a core group that does not answer is no cluster to back up", async () => {
    await using server = await servePaths({
      ...core,
      "/apis": classicGroups({}),
      "/api/v1": status(403, "Forbidden", "no"),
    });
    await using kube = client(server);
    await assert.rejects(discover(kube), { kind: "denied", message: /\/api\/v1: no \(403\)/ });
  });
});

suite("discover fails", () => {
  const answers: [string, Answer, object][] = [
    ["denied where it may not look", status(403, "Forbidden", "not allowed"), { kind: "denied" }],
    [
      "with a hint where something else answers",
      (_, response) => response.end("<html>"),
      { kind: "unreachable", hint: /something in between/ },
    ],
    ["with a hint at other JSON", json(200, { hello: 1 }), { kind: "unreachable" }],
  ];
  for (const [name, answer, error] of answers) {
    test(name, async () => {
      await using server = await serve(answer);
      await using kube = client(server);
      await assert.rejects(discover(kube), error);
    });
  }

  test("with the signal's reason", async () => {
    await using server = await servePaths({
      "/version": json(200, VERSION),
      "/api": aggregated({}),
      "/apis": aggregated({ x: { v1: "stale" } }),
      "/apis/x/v1": hang,
    });
    await using kube = client(server);
    const reason = new Error("deadline");
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 150);
    await assert.rejects(discover(kube, { signal: controller.signal }), (error) => error === reason);
  });
});

test("paths and names of resources", () => {
  const pods = { group: "", version: "v1", name: "pods" };
  const roles = { group: "rbac.authorization.k8s.io", version: "v1", name: "roles" };
  assert.equal(resourceKey(pods), "pods");
  assert.equal(resourceKey(roles), "roles.rbac.authorization.k8s.io");
  assert.equal(resourcePath(pods), "/api/v1/pods");
  assert.equal(resourcePath(pods, "shop", "web-0", "log"), "/api/v1/namespaces/shop/pods/web-0/log");
  assert.equal(
    resourcePath(roles, "a", "system:x/y"),
    "/apis/rbac.authorization.k8s.io/v1/namespaces/a/roles/system%3Ax%2Fy",
  );
});
