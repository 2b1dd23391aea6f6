import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { type ListPage, listPages } from "../../core/kube/list.ts";
import type { Resource } from "../../core/kube/resource.ts";
import { type Answer, client, json, type ScriptedServer, serve, status } from "./kube-server.ts";

const pods: Resource = {
  group: "",
  version: "v1",
  name: "pods",
  kind: "Pod",
  singular: "pod",
  shortNames: [],
  namespaced: true,
  verbs: ["list"],
  preferred: true,
};
const object = (namespace: string, name: string) => ({ metadata: { namespace, name } });
const page = (items: object[] | null, metadata: object) =>
  json(200, { kind: "PodList", apiVersion: "v1", metadata, items });
const expired = (token?: string) =>
  status(410, "Expired", "The provided continue parameter is too old", { metadata: token ? { continue: token } : {} });

async function collect(server: ScriptedServer, options?: Parameters<typeof listPages>[2]): Promise<ListPage[]> {
  await using kube = client(server);
  return await Array.fromAsync(listPages(kube, pods, options));
}
const names = (pages: ListPage[]) =>
  pages.map(({ items }) => items.map((item) => JSON.parse(item.toString()).metadata.name));
const queries = (server: ScriptedServer) =>
  server.requests.map(({ url }) => Object.fromEntries(new URL(url, server.url).searchParams));

suite("listPages", () => {
  test("goes from page to page, pinned by its first request, and gives each item its type", async () => {
    await using server = await serve(
      page([object("a", "1"), object("a", "2")], { resourceVersion: "70", continue: "t1", remainingItemCount: 1 }),
      page([object("b", "1")], { resourceVersion: "70" }),
    );
    const pages = await collect(server, {
      namespace: "n",
      labelSelector: "app in (a,b)",
      fieldSelector: "x=y",
      resourceVersion: "70",
      limit: 2,
    });
    assert.deepEqual(names(pages), [["1", "2"], ["1"]]);
    assert.deepEqual(
      pages.map(({ resourceVersion, remaining }) => [resourceVersion, remaining]),
      [
        ["70", 1],
        ["70", undefined],
      ],
    );
    assert.equal(
      String(pages[0]!.items[0]),
      '{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"a","name":"1"}}',
    );
    const filters = { labelSelector: "app in (a,b)", fieldSelector: "x=y", limit: "2" };
    assert.deepEqual(queries(server), [
      { ...filters, resourceVersion: "70", resourceVersionMatch: "Exact" },
      { ...filters, continue: "t1" },
    ]);
    assert.match(server.requests[0]!.url, /^\/api\/v1\/namespaces\/n\/pods\?/);
  });

  test("an empty list is one empty page", async () => {
    await using server = await serve(page(null, { resourceVersion: "5" }));
    assert.deepEqual(await collect(server), [{ items: [], resourceVersion: "5", remaining: undefined }]);
    assert.deepEqual(queries(server), [{ limit: "250" }]);
  });

  test("an expired continuation goes on with the server's own token", async () => {
    await using server = await serve(
      page([object("a", "1")], { resourceVersion: "70", continue: "t1" }),
      expired("inconsistent"),
      page([object("a", "2")], { resourceVersion: "99" }),
    );
    const pages = await collect(server, { resourceVersion: "70" });
    assert.deepEqual(names(pages), [["1"], ["2"]]);
    assert.deepEqual(
      pages.map(({ resourceVersion }) => resourceVersion),
      ["70", "99"],
    );
    assert.deepEqual(queries(server)[2], { limit: "250", continue: "inconsistent" });
  });

  test("without a token it begins anew, unpinned, and leaves out what was given, by etcd's order of keys", async () => {
    const before = [object("a-b", "z"), object("a", "1"), object("a", "3")];
    await using server = await serve(
      page(before, { resourceVersion: "70", continue: "t1" }),
      expired(),
      page([object("a-b", "z"), object("a", "0"), object("a", "2")], { resourceVersion: "99", continue: "t2" }),
      page([object("a", "3"), object("a", "4"), object("b", "0")], { resourceVersion: "99" }),
    );
    assert.deepEqual(names(await collect(server, { resourceVersion: "70" })), [["z", "1", "3"], [], ["4", "0"]]);
    assert.deepEqual(queries(server)[2], { limit: "250" });
  });

  test("gives up where every continuation has expired", async () => {
    const first = page([object("a", "1")], { resourceVersion: "70", continue: "t1" });
    await using server = await serve((request, response, body) =>
      (request.url!.includes("continue=") ? expired() : first)(request, response, body),
    );
    await assert.rejects(collect(server), { kind: "conflict", message: /did not list pods: .*too old \(410\)/ });
  });

  test("a revision that is gone from the start is a conflict", async () => {
    await using server = await serve(expired("not for us"));
    await assert.rejects(collect(server, { resourceVersion: "1" }), { kind: "conflict" });
    assert.equal(server.requests.length, 1);
  });

  test("pages of large objects get fewer items", async () => {
    const large = { ...object("a", "1"), data: "x".repeat(1 << 20) };
    await using server = await serve(
      page(Array(8).fill(large), { resourceVersion: "1", continue: "t1" }),
      page([large], { resourceVersion: "1", continue: "t2" }),
      page([object("b", "1")], { resourceVersion: "1", continue: "t3" }),
      page([], { resourceVersion: "1" }),
    );
    await collect(server, { limit: 8 });
    assert.deepEqual(
      queries(server).map(({ limit }) => limit),
      ["8", "3", "3", "8"],
    );
  });

  test("however pages are cut and whenever continuations expire, every object comes once, in order", async () => {
    const namespaces = fc.constantFrom("a", "a-b", "a.b", "b", "ä");
    const objects = fc.uniqueArray(fc.tuple(namespaces, fc.stringMatching(/^[a-z0-9.-]{1,4}$/)), {
      selector: String,
      maxLength: 12,
    });
    const fates = fc
      .array(fc.constantFrom("ok", "token", "none"), { maxLength: 8 })
      .filter((drawn) => drawn.filter((fate) => fate !== "ok").length <= 3);
    const law = fc.asyncProperty(objects, fc.integer({ min: 1, max: 4 }), fates, async (pairs, limit, drawn) => {
      const sorted = pairs
        .map(([namespace, name]) => object(namespace, name))
        .sort((a, b) => Buffer.compare(keyOf(a), keyOf(b)));
      await using server = await serve(pagingServer(sorted, drawn));
      const pages = await collect(server, { limit });
      const given = pages.flatMap(({ items }) => items.map((item) => JSON.parse(item.toString()).metadata));
      assert.deepEqual(
        given,
        sorted.map(({ metadata }) => metadata),
      );
    });
    await fc.assert(law, { numRuns: 60 });
  });
});

const keyOf = ({ metadata }: ReturnType<typeof object>) => Buffer.from(`${metadata.namespace}/${metadata.name}`);

/** Pages through `objects` by tokens that say where to go on, each continuation meeting the next of `fates`. */
function pagingServer(objects: object[], fates: string[]): Answer {
  const left = [...fates];
  return (request, response, body) => {
    const { searchParams } = new URL(request.url!, "http://server");
    const token = searchParams.get("continue");
    const fate = token?.startsWith("again") || !token ? "ok" : (left.shift() ?? "ok");
    const start = Number(token?.replace("again", "") ?? 0);
    const end = start + Number(searchParams.get("limit"));
    const next = end < objects.length ? { continue: String(end) } : {};
    const answer =
      fate === "ok"
        ? page(objects.slice(start, end), { resourceVersion: "1", ...next })
        : expired(fate === "token" ? `again${start}` : undefined);
    answer(request, response, body);
  };
}
