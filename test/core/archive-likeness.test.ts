import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parseAllDocuments } from "yaml";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { likenessOf, RESTORE_LABELS } from "../../core/archive/likeness.ts";
import { parseExact } from "../../core/kube/json.ts";
import { flawOf } from "../../core/objects/fields.ts";
import { FIXES, type FixContext, fix, fixesNothing } from "../../core/restore/fixes.ts";
import { comparable, digest } from "../../core/restore/plan/comparable.ts";

const context: FixContext = {
  backupName: "b",
  restoreName: "r",
  namespaceMapping: {},
  preserveNodePorts: false,
  keepsVolume: () => false,
};
const facts = { scaled: new Set(["Deployment shop/web"]) };
const resources = [
  ...new Set(["configmaps", "widgets.example.com", ...FIXES.flatMap(({ resources = [] }) => resources)]),
];

const parsed = (text: string) => parseExact(text) as KubernetesObject;
const alike = (one: string, other: string, resource = "configmaps") => {
  const [a, b] = [one, other].map((text) => likenessOf(Buffer.from(text), resource));
  return a !== undefined && a === b;
};
/** What planning finds where it parses both. */
const same = (resource: string, item: string, live: string) => {
  const made = parsed(item);
  fix(made, resource, context);
  return digest(comparable(made, resource, facts)) === digest(comparable(parsed(live), resource, facts));
};

/** Members of an object in JSON; a key may stand there twice. */
type Members = [key: string, text: string][];
const print = (members: Members) => `{${members.map(([key, text]) => `${JSON.stringify(key)}:${text}`).join()}}`;

/** Members of one object, and those of another which differs in some of them, more often in `loose` ones. */
function pair(member: fc.Arbitrary<[key: string, one: string, other: string]>, loose: (key: string) => boolean) {
  const fate = (key: string) =>
    fc.constantFrom(...(loose(key) ? ["keep", "change", "drop"] : [...Array(30).fill("keep"), "change"]));
  return fc
    .array(
      member.chain(([key, one, other]) => fate(key).map((fate) => ({ key, one, other, fate }))),
      { maxLength: 7 },
    )
    .map(
      (drawn) =>
        [
          drawn.map(({ key, one }): Members[number] => [key, one]),
          drawn
            .filter(({ fate }) => fate !== "drop")
            .map(({ key, one, other, fate }): Members[number] => [key, fate === "change" ? other : one]),
        ] as const,
    );
}

const scalar = fc.constantFrom('""', '"None"', "1", "true", "null", "12345678901234567890", '"default-token-x"');
const KEYS = ["name", "selector", "matchLabels", "controller-uid", "template", "metadata", "replicas", "secrets"];
const { json } = fc.letrec<{ json: string }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 3 },
    scalar,
    fc.array(tie("json"), { maxLength: 2 }).map((list) => `[${list.join()}]`),
    fc.array(fc.tuple(fc.constantFrom(...KEYS), tie("json")), { maxLength: 3 }).map(print),
  ),
}));
const values = (key: string) => fc.tuple(fc.constant(key), json, json);
const map = fc
  .dictionary(fc.constantFrom("a", "deployment.kubernetes.io/revision", ...RESTORE_LABELS), fc.constantFrom("x", "y"))
  .map((map) => JSON.stringify(map));
const METADATA = ["uid", "resourceVersion", "generation", "managedFields", "finalizers", "ownerReferences"];
const metadata = fc.oneof(
  fc.tuple(fc.constantFrom("annotations", "labels"), map, map),
  fc.tuple(fc.constantFrom("uid", "resourceVersion", "generation", "deletionTimestamp", "odd"), scalar, scalar),
  fc.tuple(
    fc.constantFrom("managedFields", "ownerReferences", "finalizers"),
    fc.constantFrom("[]", '[{"uid":"u"}]'),
    fc.constant("[]"),
  ),
);
const SPEC = ["clusterIP", "clusterIPs", "nodeName", "priority"];
const spec = fc.oneof(
  fc
    .constantFrom(...SPEC, "volumeName", "serviceAccountName")
    .chain((key) => fc.tuple(fc.constant(key), scalar, scalar)),
  fc.constantFrom("replicas", "selector", "template", "volumes").chain(values),
  fc.constant(["ports", '[{"port":1,"nodePort":2}]', '[{"port":1}]'] as [string, string, string]),
);
const top = fc
  .constantFrom("data", "status", "rules", "aggregationRule", "webhooks", "secrets", "type", "metadata2", "spec")
  .chain(values);

describe("the likeness of objects", () => {
  it("is the same only where comparing finds the same, whatever the objects and their resource", () => {
    let found = 0;
    const law = fc.property(
      fc.constantFrom(...resources),
      pair(top, (key) => key === "status"),
      pair(metadata, (key) => METADATA.includes(key)),
      fc.option(pair(spec, (key) => SPEC.includes(key))),
      fc.boolean(),
      (resource, tops, metas, specs, late) => {
        const [one, other] = [0, 1].map((side) => {
          const inner = print([["name", '"web"'], ["namespace", '"shop"'], ...metas[side]!]);
          const rest: Members = [...tops[side]!];
          if (specs) rest.push(["spec", print(specs[side]!)]);
          rest.splice(late ? rest.length : 0, 0, ["metadata", inner]);
          return print([["apiVersion", '"apps/v1"'], ["kind", '"Deployment"'], ...rest]);
        }) as [string, string];
        fc.pre(fixesNothing(Buffer.from(one), resource, context));
        fc.pre([one, other].every((text) => flawOf(parsed(text).metadata) === undefined));
        if (!alike(one, other, resource)) return;
        found++;
        assert.ok(same(resource, one, other), `${one}\n${other}`);
      },
    );
    fc.assert(law, { numRuns: 10_000 });
    assert.ok(found > 500, `only ${found} pairs were alike`);
  });

  const shop = ["shop.yaml", "crds.yaml"].flatMap((file) =>
    parseAllDocuments(readFileSync(join(import.meta.dirname, "../rig/shop", file), "utf8")),
  );
  const objects = shop.map((document) => document.toJS() as KubernetesObject);
  const restored = (object: KubernetesObject): KubernetesObject => ({
    ...object,
    metadata: {
      ...object.metadata,
      labels: { ...object.metadata.labels, "velero.io/backup-name": "b", "velero.io/restore-name": "r" },
      uid: "0b1c9a52-5f0e-4a3e-9d3a-3b0f0e6d9b11",
      generation: 3,
      creationTimestamp: "2026-11-26T12:00:00Z",
      managedFields: [{ manager: "lifeboat", fieldsV1: { "f:spec": {} } }],
    },
    status: { observedGeneration: 3 },
  });

  it("is that of the backup where a restore made the object", () => {
    for (const object of objects)
      assert.ok(alike(JSON.stringify(object), JSON.stringify(restored(object))), object.metadata.name);
  });

  const changes: [what: string, change: (object: KubernetesObject) => object][] = [
    ["a label", ({ metadata }) => ({ metadata: { ...metadata, labels: { ...metadata.labels, a: "x" } } })],
    [
      "an annotation",
      ({ metadata }) => ({ metadata: { ...metadata, annotations: { ...metadata.annotations, a: "x" } } }),
    ],
    ["a field inside", ({ spec }) => ({ spec: { ...(spec as object), a: 1 } })],
    ["a field at the top", () => ({ a: [] })],
    ["the kind", () => ({ kind: "Other" })],
  ];
  for (const [what, change] of changes) {
    it(`is another where ${what} differs`, () => {
      for (const object of objects) {
        const live = restored({ ...object, ...change(object) });
        assert.ok(!alike(JSON.stringify(object), JSON.stringify(live)), object.metadata.name);
      }
    });
  }

  it("tells where a member stands", () => {
    const texts = ['{"metadata":{"labels":{"a":"b"}}}', '{"metadata":{"a":"b"}}', '{"metadata":{},"a":"b"}'];
    for (const one of texts) for (const other of texts) assert.equal(alike(one, other), one === other);
  });

  it("tells Services by all but their addresses, unless they are headless", () => {
    const service = (address: string) =>
      `{"metadata":{"name":"web"},"spec":{"ports":[{"port":80}],"clusterIP":"${address}","clusterIPs":["${address}"]}}`;
    assert.ok(alike(service("10.0.0.1"), service("10.0.0.2"), "services"));
    assert.ok(!alike(service("None"), service("None"), "services"));
    assert.ok(!alike(service("10.0.0.1"), service("10.0.0.2"), "configmaps"));
  });

  const odd: [what: string, text: string][] = [
    ["no metadata", '{"kind":"K"}'],
    ["no object as metadata", '{"metadata":null}'],
    ["metadata twice", '{"metadata":{"name":"a"},"metadata":{"name":"a"}}'],
    ["labels twice", '{"metadata":{"labels":{"a":"b"},"labels":{"velero.io/backup-name":"b"}}}'],
    ["labels without a label", '{"metadata":{"labels":{}}}'],
    ["a list", "[]"],
  ];
  for (const [what, text] of odd) it(`isn't told of ${what}`, () => assert.ok(!alike(text, text)));

  it("counts where no fix may change anything", () => {
    const body = Buffer.from("{}");
    const asked = ["configmaps", "deployments.apps", "pods", "rolebindings.rbac.authorization.k8s.io", "services"];
    assert.deepEqual(
      asked.map((resource) => fixesNothing(body, resource, context)),
      asked.map(() => true),
    );
    const changed = ["persistentvolumeclaims", "persistentvolumes"];
    assert.deepEqual(
      changed.map((resource) => fixesNothing(body, resource, context)),
      changed.map(() => false),
    );
    const withPort = Buffer.from('{"spec":{"ports":[{"port":80,"nodePort":30080}]}}');
    assert.ok(!fixesNothing(withPort, "services", context));
    assert.ok(fixesNothing(withPort, "services", { ...context, preserveNodePorts: true }));
    const mapped = { ...context, namespaceMapping: { shop: "copy" } };
    assert.ok(![...asked, ...changed].some((resource) => fixesNothing(body, resource, mapped)));
  });
});
