import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";

/** The fields of the answers' documents that the tests look into. */
interface Body {
  kind: string;
  apiVersion: string;
  metadata: { name: string; uid: string; resourceVersion: string; creationTimestamp: string; generation?: number } & {
    deletionTimestamp?: string;
  };
  spec: { replicas?: number; clusterIP: string; clusterIPs: string[] };
  status: { phase: string; replicas: number; storedVersions: string[]; conditions: { type: string; status: string }[] };
  data: Record<string, string>;
  items: (Body & { versions: { version: string; resources: Entry[] }[] })[];
  reason: string;
  message: string;
  code: number;
  details: { uid: string; causes: { reason: string }[] };
  groups: { preferredVersion: { groupVersion: string } }[];
  groupVersion: string;
  resources: Entry[];
  preferredVersion: { version: string };
  versions: object[];
  minor: string;
}

interface Entry {
  name: string;
  resource: string;
  verbs: string[];
}

let server: ApiServer;
before(async () => {
  server = await startApiServer();
});
after(() => server.stop());

const JSON_TYPE = { "content-type": "application/json" };
const MERGE_PATCH = { "content-type": "application/merge-patch+json" };

async function call(
  line: string,
  body?: unknown,
  headers: Record<string, string> = JSON_TYPE,
): Promise<{ status: number; body: Body }> {
  const [method, path] = line.split(" ");
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const response = await fetch(`${server.url}${path}`, { method, headers, body: text });
  return { status: response.status, body: (await response.json()) as Body };
}

/** A namespace of the test's own, so that tests don't meet. */
async function namespace(name: string): Promise<string> {
  const made = await call("POST /api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name } });
  assert.equal(made.status, 201);
  return `/api/v1/namespaces/${name}`;
}

const configMap = (name: string, data: object = {}, metadata: object = {}) => ({
  ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { name, ...metadata }, data },
});

describe("a new server", () => {
  test("has what every cluster has of itself", async () => {
    const rows: [path: string, names: string[]][] = [
      ["/api/v1/namespaces", ["default", "kube-node-lease", "kube-public", "kube-system"]],
      ["/api/v1/namespaces/default/serviceaccounts", ["default"]],
      ["/api/v1/namespaces/kube-public/configmaps", ["kube-root-ca.crt"]],
      ["/api/v1/services", ["kubernetes"]],
      ["/api/v1/endpoints", ["kubernetes"]],
      ["/apis/scheduling.k8s.io/v1/priorityclasses", ["system-cluster-critical", "system-node-critical"]],
      ["/apis/networking.k8s.io/v1/ipaddresses", ["10.96.0.1"]],
    ];
    const fresh = await startApiServer();
    for (const [path, names] of rows) {
      const { items } = (await (await fetch(`${fresh.url}${path}`)).json()) as {
        items: { metadata: { name: string } }[];
      };
      assert.deepEqual(
        items.map(({ metadata }) => metadata.name),
        names,
        path,
      );
    }
    await fresh.stop();
  });

  test("answers for itself", async () => {
    assert.equal((await call("GET /version")).body.minor, "36");
    assert.equal((await call("GET /readyz")).status, 200);
    assert.equal((await call("GET /apis/apps/v1/namespaces/default/deployments")).body.kind, "DeploymentList");
  });
});

describe("discovery", () => {
  /** What Velero keeps, which is also what Lifeboat keeps: resources that can be listed, made, read and deleted. */
  const keeps = (verbs: string[]) => ["list", "create", "get", "delete"].every((verb) => verbs.includes(verb));

  test("classic and aggregated tell the same", async () => {
    const classic = new Set<string>();
    const groups = (await call("GET /apis")).body.groups.map((group) => group.preferredVersion.groupVersion);
    for (const path of ["/api/v1", ...groups.map((group) => `/apis/${group}`)]) {
      const { groupVersion, resources } = (await call(`GET ${path}`)).body;
      for (const { name, verbs } of resources) if (keeps(verbs)) classic.add(`${groupVersion}/${name}`);
    }
    const merged = new Set<string>();
    const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    for (const path of ["/api", "/apis"]) {
      const response = await fetch(`${server.url}${path}`, { headers: { accept } });
      assert.match(response.headers.get("content-type")!, /as=APIGroupDiscoveryList/);
      const { items } = (await response.json()) as Body;
      for (const { metadata, versions } of items) {
        for (const { version, resources } of versions) {
          const prefix = metadata.name ? `${metadata.name}/${version}` : version;
          for (const { resource, verbs } of resources) if (keeps(verbs)) merged.add(`${prefix}/${resource}`);
        }
      }
    }
    assert.deepEqual(merged, classic);
    for (const key of ["v1/secrets", "apps/v1/deployments", "events.k8s.io/v1/events"])
      assert.ok(classic.has(key), key);
  });

  test("the status subresource is listed beside its resource", async () => {
    const { resources } = (await call("GET /apis/apps/v1")).body;
    const names = resources.map(({ name }) => name);
    assert.ok(names.includes("deployments/status") && !names.includes("controllerrevisions/status"));
  });
});

describe("one object", () => {
  test("create, get, update, patch, delete", async () => {
    const path = `${await namespace("verbs")}/configmaps`;
    const made = await call(`POST ${path}`, configMap("a", { x: "1" }, { uid: "mine", namespace: "verbs" }));
    assert.equal(made.status, 201);
    const { uid, resourceVersion, creationTimestamp, generation } = made.body.metadata;
    assert.match(uid, /^[0-9a-f-]{36}$/);
    assert.match(creationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.equal(generation, undefined);
    assert.deepEqual((await call(`GET ${path}/a`)).body, made.body);

    const put = await call(`PUT ${path}/a`, configMap("a", { x: "2" }, { resourceVersion }));
    assert.equal(put.status, 200);
    assert.ok(Number(put.body.metadata.resourceVersion) > Number(resourceVersion));
    assert.equal(put.body.metadata.uid, uid);

    const patched = await call(
      `PATCH ${path}/a`,
      { data: { x: null, y: "3" }, metadata: { labels: { l: "v" } } },
      MERGE_PATCH,
    );
    assert.deepEqual(patched.body.data, { y: "3" });
    const again = await call(`PATCH ${path}/a`, { data: { y: "3" } }, MERGE_PATCH);
    assert.deepEqual(again.body, patched.body, "a write that changes nothing is none");

    const deleted = await call(`DELETE ${path}/a`);
    assert.deepEqual([deleted.status, deleted.body.status, deleted.body.details.uid], [200, "Success", uid]);
    assert.equal((await call(`GET ${path}/a`)).status, 404);
  });

  test("the generation counts changes of the spec alone", async () => {
    const path = `${await namespace("generation")}/deployments`.replace("/api/v1", "/apis/apps/v1");
    const deployment = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web" },
      spec: { replicas: 1 },
      status: { replicas: 9 },
    };
    const made = await call(`POST ${path}`, deployment);
    assert.deepEqual([made.body.metadata.generation, made.body.status], [1, {}]);
    const labelled = await call(
      `PATCH ${path}/web`,
      { metadata: { labels: { a: "b" } }, status: { replicas: 9 } },
      MERGE_PATCH,
    );
    assert.deepEqual([labelled.body.metadata.generation, labelled.body.status], [1, {}]);
    const scaled = await call(`PATCH ${path}/web`, { spec: { replicas: 2 } }, MERGE_PATCH);
    assert.equal(scaled.body.metadata.generation, 2);
    const reported = await call(`PUT ${path}/web/status`, {
      ...scaled.body,
      spec: { replicas: 7 },
      status: { replicas: 2 },
    });
    assert.deepEqual([reported.body.spec.replicas, reported.body.status.replicas], [2, 2]);
    const status = await call(`PATCH ${path}/web/status`, { status: { readyReplicas: 1 } }, MERGE_PATCH);
    assert.deepEqual(status.body.status, { replicas: 2, readyReplicas: 1 });
  });

  test("a name can be left to the server", async () => {
    const path = `${await namespace("generate")}/configmaps`;
    const made = await call(`POST ${path}`, { ...configMap(""), metadata: { generateName: "job-" } });
    assert.match(made.body.metadata.name, /^job-[a-z0-9]{5}$/);
  });

  test("integers beyond 2^53 come back unchanged", async () => {
    const path = `${await namespace("exact")}/configmaps`;
    await call(`POST ${path}`, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"n":9007199254740993}`);
    await call(`PATCH ${path}/big`, { data: { a: "b" } }, MERGE_PATCH);
    assert.match(await (await fetch(`${server.url}${path}/big`)).text(), /"n":9007199254740993\b/);
  });

  test("a dry run is answered and not done", async () => {
    const path = `${await namespace("dry")}/configmaps`;
    const before = (await call(`GET ${path}`)).body.metadata.resourceVersion;
    assert.equal((await call(`POST ${path}?dryRun=All`, configMap("a"))).status, 201);
    const patched = await call(`PATCH ${path}/kube-root-ca.crt?dryRun=All`, { data: { a: "b" } }, MERGE_PATCH);
    assert.equal(patched.body.data.a, "b");
    assert.equal((await call(`DELETE ${path}/kube-root-ca.crt`, { dryRun: ["All"] })).status, 200);
    assert.equal((await call(`DELETE /api/v1/namespaces/dry?dryRun=All`)).status, 200);
    assert.equal((await call(`GET ${path}`)).body.metadata.resourceVersion, before);
  });

  test("finalizers hold it until they are gone; a Namespace waits for its content", async () => {
    const path = await namespace("held");
    await call(`POST ${path}/configmaps`, configMap("a", {}, { finalizers: ["example.com/wait"] }));
    const ending = await call("DELETE /api/v1/namespaces/held");
    assert.equal(ending.body.status.phase, "Terminating");
    assert.ok((await call(`GET ${path}/configmaps/a`)).body.metadata.deletionTimestamp);
    const refused = await call(`POST ${path}/configmaps`, configMap("b"));
    assert.deepEqual([refused.status, refused.body.details.causes[0]?.reason], [403, "NamespaceTerminating"]);
    await call(`PATCH ${path}/configmaps/a`, { metadata: { finalizers: null } }, MERGE_PATCH);
    assert.equal((await call("GET /api/v1/namespaces/held")).status, 404);
  });

  test("a Service gets an address that no other has, and gives it back", async () => {
    const path = `${await namespace("addresses")}/services`;
    const service = (name: string, spec: object = {}) => ({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name },
      spec,
    });
    const { spec } = (await call(`POST ${path}`, service("a"))).body;
    assert.deepEqual(spec.clusterIPs, [spec.clusterIP]);
    const taken = await call(`POST ${path}`, service("b", { clusterIP: spec.clusterIP }));
    assert.deepEqual([taken.status, taken.body.reason], [422, "Invalid"]);
    assert.equal(
      (await call(`PUT ${path}/a`, service("a", { type: "ClusterIP" }))).body.spec.clusterIP,
      spec.clusterIP,
    );
    await call(`DELETE ${path}/a`);
    assert.equal((await call(`POST ${path}`, service("b", { clusterIP: spec.clusterIP }))).status, 201);
    assert.deepEqual((await call(`POST ${path}`, service("c", { clusterIP: "None" }))).body.spec.clusterIPs, ["None"]);
  });
});

describe("failures are Status documents", () => {
  const deployment = { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web" } };
  const maps = "/api/v1/namespaces/default/configmaps";
  const root = `${maps}/kube-root-ca.crt`;
  const rows: [what: string, line: string, body: unknown, status: number, reason: string, message: RegExp][] = [
    [
      "a missing object",
      "GET /apis/apps/v1/namespaces/default/deployments/web",
      undefined,
      404,
      "NotFound",
      /^deployments\.apps "web" not found$/,
    ],
    ["a missing resource", "GET /api/v1/widgets", undefined, 404, "NotFound", /could not find the requested resource/],
    [
      "a missing namespace",
      "POST /apis/apps/v1/namespaces/nope/deployments",
      deployment,
      404,
      "NotFound",
      /^namespaces "nope" not found$/,
    ],
    [
      "an object that exists",
      "POST /api/v1/namespaces",
      { apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } },
      409,
      "AlreadyExists",
      /^namespaces "default" already exists$/,
    ],
    [
      "a revision of the past",
      `PUT ${root}`,
      configMap("kube-root-ca.crt", {}, { resourceVersion: "1" }),
      409,
      "Conflict",
      /the object has been modified/,
    ],
    [
      "another object's uid",
      `PUT ${root}`,
      configMap("kube-root-ca.crt", {}, { uid: "other" }),
      409,
      "Conflict",
      /Precondition failed: UID/,
    ],
    [
      "a create with a revision",
      `POST ${maps}`,
      configMap("a", {}, { resourceVersion: "1" }),
      500,
      "InternalError",
      /should not be set on objects to be created/,
    ],
    [
      "an update of what is not there",
      `PUT ${maps}/nope`,
      configMap("nope"),
      404,
      "NotFound",
      /^configmaps "nope" not found$/,
    ],
    [
      "a delete's precondition",
      `DELETE ${root}`,
      { preconditions: { uid: "other" } },
      409,
      "Conflict",
      /Precondition failed/,
    ],
    [
      "a protected namespace",
      "DELETE /api/v1/namespaces/kube-system",
      undefined,
      403,
      "Forbidden",
      /may not be deleted/,
    ],
    ["another kind", `POST ${maps}`, deployment, 400, "BadRequest", /cannot be handled as a v1 ConfigMap/],
    [
      "another namespace",
      `POST ${maps}`,
      configMap("a", {}, { namespace: "other" }),
      400,
      "BadRequest",
      /does not match the namespace/,
    ],
    ["another name", `PUT ${root}`, configMap("a"), 400, "BadRequest", /does not match the name on the URL/],
    [
      "no name",
      `POST ${maps}`,
      configMap(""),
      422,
      "Invalid",
      /^ConfigMap "" is invalid: metadata\.name: Required value/,
    ],
    ["a name that is no path segment", `POST ${maps}`, configMap("a/b"), 422, "Invalid", /may not contain/],
    [
      "labels that are no text",
      `POST ${maps}`,
      configMap("a", {}, { labels: { a: 1 } }),
      400,
      "BadRequest",
      /map of strings/,
    ],
    ["broken JSON", `POST ${maps}`, "{", 400, "BadRequest", /not JSON/],
    ["no object", `POST ${maps}`, "[]", 400, "BadRequest", /not a JSON object/],
    [
      "too large a body",
      `POST ${maps}`,
      configMap("a", { x: "x".repeat(3 * 1024 * 1024) }),
      413,
      "RequestEntityTooLarge",
      /limit is 3145728/,
    ],
    ["an unnamed dry run", `POST ${maps}?dryRun=Some`, configMap("a"), 400, "BadRequest", /dryRun/],
    ["a watch", "GET /api/v1/pods?watch=true", undefined, 405, "MethodNotAllowed", /does not serve watches/],
    [
      "a create without its namespace",
      "POST /api/v1/configmaps",
      configMap("a"),
      405,
      "MethodNotAllowed",
      /does not allow this method/,
    ],
    ["a write to discovery", "POST /apis", {}, 405, "MethodNotAllowed", /does not allow this method/],
    ["another subresource", "GET /api/v1/namespaces/default/pods/a/log", undefined, 404, "NotFound", /could not find/],
    ["bad percent-encoding", "GET /api/v1/namespaces/%E0%A4%A", undefined, 400, "BadRequest", /percent-encoding/],
  ];
  for (const [what, line, body, status, reason, message] of rows) {
    test(what, async () => {
      const reply = await call(line, body);
      const { kind, apiVersion, status: outcome, code } = reply.body;
      assert.deepEqual([kind, apiVersion, outcome], ["Status", "v1", "Failure"]);
      assert.deepEqual([reply.status, code, reply.body.reason], [status, status, reason]);
      assert.match(reply.body.message, message);
    });
  }

  test("other media types", async () => {
    const types: [line: string, headers: Record<string, string>, status: number][] = [
      [`POST ${maps}`, { "content-type": "text/plain" }, 415],
      [`POST ${maps}`, { "content-type": "application/vnd.kubernetes.protobuf" }, 415],
      [`PATCH ${root}`, { "content-type": "application/json-patch+json" }, 415],
      [`PATCH ${root}`, { "content-type": "application/strategic-merge-patch+json" }, 415],
    ];
    for (const [line, headers, status] of types)
      assert.equal((await call(line, "{}", headers)).status, status, headers["content-type"]);
    const binary = await fetch(`${server.url}/api/v1/pods`, {
      headers: { accept: "application/vnd.kubernetes.protobuf" },
    });
    assert.equal(binary.status, 406);
  });

  test("a page that has its own name resolved to this address gets nothing", async () => {
    const { request } = await import("node:http");
    const status = await new Promise((resolve, reject) => {
      const asked = request(`${server.url}/api/v1/secrets`, { headers: { host: "evil.example.com" } });
      asked
        .on("response", (response) => resolve(response.resume().statusCode))
        .on("error", reject)
        .end();
    });
    assert.equal(status, 403);
  });
});

describe("custom resources", () => {
  const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  const definition = (versions: object[]) => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "boats.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "boats", kind: "Boat", shortNames: ["bt"] },
      versions,
    },
  });
  const version = (name: string, more: object = {}) => ({ name, served: true, storage: name === "v1", ...more });

  test("are served from their definition's create to its delete", async () => {
    await namespace("sea");
    const boats = (served: string) => `/apis/example.com/${served}/namespaces/sea/boats`;
    const made = await call(
      `POST ${definitions}`,
      definition([version("v1alpha1"), version("v1", { subresources: { status: {} } })]),
    );
    assert.equal(made.status, 201);
    const conditions = made.body.status.conditions.map(({ type, status }) => `${type}=${status}`);
    assert.deepEqual(conditions.sort(), ["Established=True", "NamesAccepted=True"]);
    assert.deepEqual(made.body.status.storedVersions, ["v1"]);
    const group = (await call("GET /apis/example.com")).body;
    assert.deepEqual([group.preferredVersion.version, group.versions.length], ["v1", 2]);
    assert.equal((await call("GET /apis/apiregistration.k8s.io/v1/apiservices/v1.example.com")).status, 200);

    const boat = {
      apiVersion: "example.com/v1",
      kind: "Boat",
      metadata: { name: "a" },
      spec: { oars: 2 },
      status: { afloat: true },
    };
    const created = await call(`POST ${boats("v1")}`, boat);
    assert.deepEqual([created.status, created.body.metadata.generation, created.body.status], [201, 1, undefined]);
    assert.equal((await call(`GET ${boats("v1alpha1")}/a`)).body.apiVersion, "example.com/v1alpha1");
    const { items, kind } = (await call(`GET ${boats("v1alpha1")}`)).body;
    assert.deepEqual([kind, items[0]?.kind, items[0]?.apiVersion], ["BoatList", "Boat", "example.com/v1alpha1"]);
    const blind = await call(`PUT ${boats("v1")}/a`, boat);
    assert.deepEqual([blind.status, blind.body.reason], [422, "Invalid"]);

    const { resourceVersion } = (await call(`GET ${definitions}/boats.example.com`)).body.metadata;
    const next = { ...definition([version("v1")]), metadata: { name: "boats.example.com", resourceVersion } };
    assert.equal((await call(`PUT ${definitions}/boats.example.com`, next)).status, 200);
    assert.equal((await call(`GET ${boats("v1alpha1")}`)).status, 404);
    assert.equal((await call("GET /apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.example.com")).status, 404);

    assert.equal((await call(`DELETE ${definitions}/boats.example.com`)).status, 200);
    assert.equal((await call(`GET ${boats("v1")}`)).status, 404);
    assert.equal((await call("GET /apis/example.com")).status, 404);
    await call(`POST ${definitions}`, definition([version("v1")]));
    assert.deepEqual((await call(`GET ${boats("v1")}`)).body.items, [], "its objects went with it");
  });

  test("a definition must be named after what it defines", async () => {
    const wrong = { ...definition([version("v1")]), metadata: { name: "ships.example.com" } };
    assert.equal((await call(`POST ${definitions}`, wrong)).status, 422);
  });
});

describe("objects given at the start", () => {
  test("are held as they are, in any order", async () => {
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "p", namespace: "n", uid: "u-1" },
      status: { phase: "Running" },
    };
    const objects = [pod, { apiVersion: "v1", kind: "Namespace", metadata: { name: "n" } }];
    const given = await startApiServer({ objects, gitVersion: "v1.30.1" });
    const held = (await (await fetch(`${given.url}/api/v1/namespaces/n/pods/p`)).json()) as typeof pod;
    assert.deepEqual([held.metadata.uid, held.status], ["u-1", { phase: "Running" }]);
    const before = given.count();
    await fetch(`${given.url}/api/v1/namespaces/n/pods/p`, { method: "DELETE" });
    assert.equal(given.count(), before - 1);
    await given.stop();
  });

  test("of a kind that nobody defined are refused", async () => {
    const objects = [{ apiVersion: "example.com/v1", kind: "Ship", metadata: { name: "s" } }];
    await assert.rejects(startApiServer({ objects }), { kind: "invalid", message: /Ship of example\.com\/v1/ });
  });
});
