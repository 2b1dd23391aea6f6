import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { itemFacts, itemPath, type KubernetesObject, parseItemPath, unsafePath } from "../../core/archive/item.ts";

describe("item paths", () => {
  const part = fc.string({ minLength: 1, unit: "binary" }).filter((text) => !text.includes("/"));
  const resource = part.filter((text) => text !== "cluster" && text !== "namespaces");

  it("come back as what they were made of", () => {
    fc.assert(
      fc.property(
        resource,
        fc.option(part, { nil: "" }),
        part,
        fc.option(resource, { nil: undefined }),
        (r, ns, n, v) => {
          const id = { resource: r, namespace: ns, name: n };
          assert.deepEqual(parseItemPath(itemPath(id, v)), v === undefined ? id : { ...id, version: v });
        },
      ),
    );
  });

  const paths: Record<string, string> = {
    "resources/pods/namespaces/shop/web.json": "pods shop web",
    "resources/namespaces/cluster/shop.json": "namespaces  shop",
    "resources/pods/namespaces/cluster/a.json": "pods cluster a",
    "resources/pods/namespaces/namespaces/a.json.json": "pods namespaces a.json",
    "resources/crds.x.io/v1beta1/cluster/a.json": "crds.x.io  a v1beta1",
    "resources/pods/v1-preferredversion/namespaces/shop/web.json": "pods shop web v1-preferredversion",
  };
  for (const [path, expected] of Object.entries(paths)) {
    it(`${path} is read`, () => {
      const { resource, namespace, name, version } = parseItemPath(path) ?? assert.fail();
      assert.equal([resource, namespace, name, ...(version ? [version] : [])].join(" "), expected);
    });
  }

  for (const path of [
    "metadata/version",
    "resources/pods",
    "resources/pods/cluster",
    "resources/pods/cluster/a.yaml",
    "resources/pods/cluster/.json",
    "resources/pods/namespaces/a.json",
    "resources/pods/namespaces//a.json",
    "resources/pods/v1/namespaces/a.json",
    "resources/pods/v1/cluster/b/a.json",
    "resources//cluster/a.json",
    "resources/pods//cluster/a.json",
    "other/pods/cluster/a.json",
  ]) {
    it(`${path} is no item's`, () => assert.equal(parseItemPath(path), undefined));
  }
});

describe("unsafe paths", () => {
  const table: [path: string, reason: RegExp | undefined][] = [
    ["resources/roles.rbac.authorization.k8s.io/cluster/system:a\\b.json", undefined],
    ["resources/pods/cluster/a..b.json", undefined],
    ["../a", /"\.\."/],
    ["a/../../b", /"\.\."/],
    ["a\\..\\b", /"\.\."/],
    ["/a", /absolute/],
    ["\\a", /absolute/],
    ["\\\\server\\a", /absolute/],
    ["C:\\a", /absolute/],
    ["c:/a", /absolute/],
    ["a\0b", /NUL/],
    ["a//b", /empty/],
    ["a/./b", /empty/],
    ["", /empty/],
  ];
  for (const [path, reason] of table) {
    it(`${JSON.stringify(path)}: ${reason ?? "safe"}`, () => {
      if (reason) assert.match(unsafePath(path) ?? "", reason);
      else assert.equal(unsafePath(path), undefined);
    });
  }
});

describe("item facts", () => {
  const podSpec = {
    initContainers: [{ image: "init:1" }],
    containers: [{ image: "web:1" }, { image: "web:1" }, { image: "log:2" }],
    ephemeralContainers: [{ image: "debug" }],
  };
  const images = ["init:1", "web:1", "log:2", "debug"];
  const object = (fields: object) =>
    ({ apiVersion: "v1", kind: "X", metadata: { name: "x" }, ...fields }) as KubernetesObject;

  for (const [where, fields] of Object.entries({
    Pod: { spec: podSpec },
    PodTemplate: { template: { spec: podSpec } },
    Deployment: { spec: { template: { spec: podSpec } } },
    CronJob: { spec: { jobTemplate: { spec: { template: { spec: podSpec } } } } },
  })) {
    it(`finds the images of a ${where}`, () => assert.deepEqual(itemFacts(object(fields)).images, images));
  }

  it("keeps identity, owners and labels", () => {
    const metadata = {
      name: "a",
      uid: "u",
      resourceVersion: "9007199254740993",
      labels: { b: "1", a: "2" },
      ownerReferences: [{ uid: "o1" }, { uid: "o2" }],
    };
    assert.deepEqual(itemFacts(object({ apiVersion: "apps/v1", kind: "ReplicaSet", metadata })), {
      kind: "ReplicaSet",
      apiVersion: "apps/v1",
      uid: "u",
      resourceVersion: "9007199254740993",
      owners: ["o1", "o2"],
      labels: { b: "1", a: "2" },
      images: [],
    });
  });

  it("takes any JSON: only strings come out", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (metadata, spec, kind) => {
        const facts = itemFacts({ metadata, spec, kind } as unknown as KubernetesObject);
        const values = [facts.kind, facts.uid, ...facts.owners, ...facts.images, ...Object.values(facts.labels)];
        assert.ok(values.every((value) => typeof value === "string"));
      }),
    );
    const labels = JSON.parse('{"__proto__":"x","a":1}');
    assert.equal(JSON.stringify(itemFacts(object({ metadata: { labels } })).labels), '{"__proto__":"x"}');
  });
});
