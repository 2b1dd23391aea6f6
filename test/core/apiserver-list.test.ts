import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import { createStore } from "../../core/apiserver/store.ts";

interface List {
  metadata: { resourceVersion: string; continue?: string; remainingItemCount?: number };
  items: { metadata: { name: string; namespace: string }; data: Record<string, string> }[];
}

let server: ApiServer;
before(async () => {
  server = await startApiServer();
});
after(() => server.stop());

async function send(method: string, path: string, body?: object): Promise<Response> {
  const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  return fetch(`${server.url}${path}`, {
    method,
    headers: { "content-type": type },
    body: body && JSON.stringify(body),
  });
}

async function list(query: Record<string, string>, path = "/api/v1/configmaps"): Promise<List> {
  const response = await fetch(`${server.url}${path}?${new URLSearchParams(query)}`);
  assert.equal(response.status, 200);
  return (await response.json()) as List;
}

async function makeNamespace(name: string): Promise<void> {
  const made = await send("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name } });
  assert.equal(made.status, 201);
}

async function makeConfigMap(namespace: string, name: string, value = "", labels: object = {}): Promise<void> {
  const body = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, labels: { test: "list", ...labels } },
    data: { value },
  };
  assert.equal((await send("POST", `/api/v1/namespaces/${namespace}/configmaps`, body)).status, 201);
}

const keys = ({ items }: List) => items.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);

describe("selectors", () => {
  const rows: [query: Record<string, string>, names: string[]][] = [
    [{ labelSelector: "tier=web" }, ["a"]],
    [{ labelSelector: "tier==web,zone=1" }, ["a"]],
    [{ labelSelector: "tier!=web" }, ["b", "c"]],
    [{ labelSelector: "tier in (web, db)" }, ["a", "b"]],
    [{ labelSelector: "tier notin (web)" }, ["b", "c"]],
    [{ labelSelector: "tier" }, ["a", "b"]],
    [{ labelSelector: "!tier" }, ["c"]],
    [{ labelSelector: "zone=2" }, []],
    [{ fieldSelector: "metadata.name=b" }, ["b"]],
    [{ fieldSelector: "metadata.name!=b", labelSelector: "tier" }, ["a"]],
  ];
  before(async () => {
    await makeNamespace("selectors");
    await makeConfigMap("selectors", "a", "", { tier: "web", zone: "1" });
    await makeConfigMap("selectors", "b", "", { tier: "db" });
    await makeConfigMap("selectors", "c");
  });
  for (const [query, names] of rows) {
    test(JSON.stringify(query), async () => {
      const scoped = { ...query, labelSelector: ["test=list", query.labelSelector].filter(Boolean).join(",") };
      const { items } = await list(scoped, "/api/v1/namespaces/selectors/configmaps");
      assert.deepEqual(
        items.map(({ metadata }) => metadata.name),
        names,
      );
    });
  }

  test("by a field of the resource's own; other fields are refused", async () => {
    assert.equal((await list({ fieldSelector: "status.phase=Running" }, "/api/v1/pods")).items.length, 0);
    const refused = await fetch(`${server.url}/api/v1/configmaps?fieldSelector=data.x%3Dy`);
    assert.deepEqual(
      [refused.status, ((await refused.json()) as { message: string }).message],
      [400, "field label not supported: data.x"],
    );
  });
});

describe("order and pages", () => {
  test("keys come in etcd's order: by the bytes of namespace/name", async () => {
    for (const name of ["order", "order-a", "order0"]) await makeNamespace(name);
    for (const [namespace, name] of [
      ["order0", "x"],
      ["order", "b"],
      ["order", "a.z"],
      ["order", "a-z"],
      ["order-a", "x"],
    ] as const) {
      await makeConfigMap(namespace, name);
    }
    const found = keys(await list({ labelSelector: "test=list" })).filter((key) => key.startsWith("order"));
    assert.deepEqual(found, ["order-a/x", "order/a-z", "order/a.z", "order/b", "order0/x"]);
  });

  test("a page tells how many remain, unless objects are selected", async () => {
    const total = (await list({})).items.length;
    const page = await list({ limit: "2" });
    assert.deepEqual([page.items.length, page.metadata.remainingItemCount], [2, total - 2]);
    const selected = await list({ limit: "1", labelSelector: "test=list" });
    assert.ok(selected.metadata.continue);
    assert.equal(selected.metadata.remainingItemCount, undefined);
    assert.equal((await list({ limit: String(total) })).metadata.continue, undefined);
  });

  test("what remains is what a scan would give, also after writes and removals", () => {
    const key = fc.constantFrom("a/x", "a/y", "b/x", "b/y", "c/x");
    const range = fc.record({
      prefix: fc.constantFrom("", "a/", "b/", "d/"),
      after: fc.option(key, { nil: undefined }),
      back: fc.nat(3),
    });
    const write = fc.record({ key, remove: fc.boolean() });
    fc.assert(
      fc.property(fc.array(write, { maxLength: 12 }), range, (writes, { prefix, after, back }) => {
        const store = createStore();
        for (const { key, remove } of writes) {
          const [namespace, name = ""] = key.split("/");
          if (remove) store.remove("pods", key);
          else store.put("pods", { apiVersion: "v1", kind: "Pod", metadata: { namespace, name } });
        }
        const asked = { prefix, after, revision: Math.max(0, store.revision() - back) };
        assert.equal(store.countIn("pods", asked), [...store.scan("pods", asked)].length);
      }),
    );
  });

  test("items of built-in kinds carry no apiVersion and kind, as the real server sends them", async () => {
    assert.ok((await list({})).items.every((item) => !("kind" in item) && !("apiVersion" in item)));
  });

  const wrong: [query: string, status: number, message: RegExp][] = [
    ["resourceVersionMatch=Exact", 422, /forbidden unless resourceVersion is provided/],
    ["resourceVersion=0&resourceVersionMatch=Exact", 422, /forbidden for resourceVersion/],
    ["resourceVersion=1&resourceVersionMatch=Roughly", 422, /NotSupported value/],
    ["resourceVersion=999999999&resourceVersionMatch=Exact", 504, /Too large resource version/],
    ["resourceVersion=abc", 400, /not a number/],
    ["limit=-1", 400, /not a number/],
    ["continue=nonsense", 400, /continue key is not valid/],
    ["continue=e30&resourceVersion=1", 400, /not allowed when using continue/],
    ["labelSelector=a%20b%20c", 400, /unable to parse requirement/],
  ];
  for (const [query, status, message] of wrong) {
    test(`${query} is refused`, async () => {
      const response = await fetch(`${server.url}/api/v1/pods?${query}`);
      assert.equal(response.status, status);
      assert.match(((await response.json()) as { message: string }).message, message);
    });
  }
});

/** What a writer may do between two pages. */
const write = fc.record({
  verb: fc.constantFrom("create", "change", "delete" as const),
  place: fc.integer({ min: 0, max: 11 }),
});

describe("an exact revision", () => {
  test("is read in full, whatever the limit and whatever is written meanwhile", async () => {
    let round = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 9 }),
        fc.array(write, { maxLength: 24 }),
        fc.array(write, { minLength: 1, maxLength: 24 }),
        async (limit, past, during) => {
          const namespace = `exact-${round++}`;
          await makeNamespace(namespace);
          const path = `/api/v1/namespaces/${namespace}/configmaps`;
          const model = new Map<string, string>();
          const apply = async ({ verb, place }: { verb: string; place: number }, value: string) => {
            const name = `object-${place}`;
            if (verb === "delete") await send("DELETE", `${path}/${name}`);
            else if (model.has(name)) await send("PATCH", `${path}/${name}`, { data: { value } });
            else if (verb === "create") await makeConfigMap(namespace, name, value);
            else return;
            if (verb === "delete") model.delete(name);
            else model.set(name, value);
          };
          for (const [index, step] of past.entries()) await apply(step, `past-${index}`);
          const expected = [...model].sort(([a], [b]) => (a < b ? -1 : 1));
          const { resourceVersion } = (await list({ limit: "1" }, "/api/v1/nodes")).metadata;

          const found: [string, string][] = [];
          let next: Record<string, string> = { resourceVersion, resourceVersionMatch: "Exact" };
          let step = 0;
          do {
            if (during[step]) await apply(during[step]!, `during-${step++}`);
            const page = await list({ ...next, limit: String(limit), labelSelector: "test=list" }, path);
            assert.ok(page.items.length <= limit);
            assert.equal(page.metadata.resourceVersion, resourceVersion);
            for (const { metadata, data } of page.items) found.push([metadata.name, data.value!]);
            next = page.metadata.continue ? { continue: page.metadata.continue } : {};
          } while (next.continue);
          assert.deepEqual(found, expected);
        },
      ),
      { numRuns: 40 },
    );
  });
});
