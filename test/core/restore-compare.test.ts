import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parse, parseAllDocuments } from "yaml";
import { mergePatch as apply } from "../../core/apiserver/patch.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { parseExact } from "../../core/kube/json.ts";
import { canonical, type Fields, goJson } from "../../core/objects/fields.ts";
import { accountAdditions, mergePatchBetween } from "../../core/restore/modifiers/patch.ts";
import { comparable, digest } from "../../core/restore/plan/comparable.ts";

const facts = { scaled: new Set(["Deployment shop/web"]) };
const object = (yaml: string): KubernetesObject => ({
  apiVersion: "v1",
  kind: "K",
  metadata: { name: "n" },
  ...parse(`{ ${yaml} }`),
});
const same = (resource: string, a: string, b: string) =>
  digest(comparable(object(a), resource, facts)) === digest(comparable(object(b), resource, facts));

describe("comparing what is live with what the backup says", () => {
  const equal: [what: string, resource: string, one: string, other: string][] = [
    ["the order of keys", "configmaps", "data: { a: b, c: d }", "data: { c: d, a: b }"],
    [
      "nulls",
      "deployments.apps",
      "spec: { template: { metadata: { creationTimestamp: null } } }",
      "spec: { template: { metadata: {} } }",
    ],
    [
      "server metadata",
      "configmaps",
      "metadata: { name: n, uid: a, resourceVersion: 1, generation: 1 }",
      "metadata: { name: n, uid: b, generation: 2 }",
    ],
    ["status", "widgets.example.com", "status: { a: b }", "spec: null"],
    [
      "restore labels",
      "configmaps",
      "metadata: { name: n, labels: { velero.io/restore-name: r, velero.io/backup-name: b } }",
      "metadata: { name: n }",
    ],
    [
      "owners and finalizers",
      "configmaps",
      "metadata: { name: n, finalizers: [a], ownerReferences: [{ uid: u }] }",
      "metadata: { name: n }",
    ],
    [
      "addresses",
      "services",
      "spec: { clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ports: [{ port: 80, nodePort: 30000 }] }",
      "spec: { ports: [{ port: 80 }] }",
    ],
    ["placement", "pods", "spec: { nodeName: n, priority: 0, x: y }", "spec: { x: y }"],
    [
      "rollouts",
      "deployments.apps",
      'metadata: { name: n, annotations: { deployment.kubernetes.io/revision: "2" } }',
      "metadata: { name: n }",
    ],
    [
      "scaled replicas",
      "deployments.apps",
      "kind: Deployment, metadata: { name: web, namespace: shop }, spec: { replicas: 1 }",
      "kind: Deployment, metadata: { name: web, namespace: shop }, spec: { replicas: 3 }",
    ],
    ["a claim's volume", "persistentvolumeclaims", "spec: { volumeName: a, x: y }", "spec: { x: y, volumeName: b }"],
    [
      "what a claim was filled from",
      "persistentvolumeclaims",
      "spec: { x: y, dataSource: { name: s } }",
      "spec: { x: y }",
    ],
    ["a volume's claim", "persistentvolumes", "spec: { claimRef: { uid: a }, x: y }", "spec: { x: y }"],
    [
      "aggregated rules",
      "clusterroles.rbac.authorization.k8s.io",
      "aggregationRule: { a: b }, rules: [{ verbs: [get] }]",
      "aggregationRule: { a: b }, rules: []",
    ],
    [
      "the holder of a lease",
      "leases.coordination.k8s.io",
      "spec: { holderIdentity: a }",
      "spec: { holderIdentity: b }",
    ],
    [
      "a token's data",
      "secrets",
      "type: kubernetes.io/service-account-token, data: { token: a }",
      "type: kubernetes.io/service-account-token, data: { token: b, namespace: c }",
    ],
    [
      "an injected authority",
      "validatingwebhookconfigurations.admissionregistration.k8s.io",
      "metadata: { name: n, annotations: { cert-manager.io/inject-ca-from: a/b } }, webhooks: [{ sideEffects: None, clientConfig: { caBundle: x } }]",
      "metadata: { name: n, annotations: { cert-manager.io/inject-ca-from: a/b } }, webhooks: [{ sideEffects: None, clientConfig: {} }]",
    ],
  ];
  for (const [what, resource, one, other] of equal)
    it(`disregards ${what}`, () => assert.ok(same(resource, one, other)));

  const different: [what: string, resource: string, one: string, other: string][] = [
    ["data", "configmaps", "data: { a: b }", "data: { a: c }"],
    ["more data", "configmaps", "data: { a: b }", "data: { a: b, c: d }"],
    ["labels", "configmaps", "metadata: { name: n, labels: { a: b } }", "metadata: { name: n }"],
    ["the order of lists", "pods", "spec: { args: [a, b] }", "spec: { args: [b, a] }"],
    [
      "replicas that nobody scales",
      "deployments.apps",
      "kind: Deployment, spec: { replicas: 1 }",
      "kind: Deployment, spec: { replicas: 2 }",
    ],
    ["headlessness", "services", "spec: { clusterIP: None }", "spec: { clusterIP: 10.0.0.1 }"],
    ["the ports of a Service", "services", "spec: { ports: [{ port: 80 }] }", "spec: { ports: [{ port: 81 }] }"],
    ["rules", "clusterroles.rbac.authorization.k8s.io", "rules: [{ verbs: [get] }]", "rules: []"],
    ["a Secret's data", "secrets", "type: Opaque, data: { token: a }", "type: Opaque, data: { token: b }"],
    [
      "a spec of another kind named leases",
      "leases.example.com",
      "spec: { holderIdentity: a }",
      "spec: { holderIdentity: b }",
    ],
  ];
  for (const [what, resource, one, other] of different)
    it(`sees ${what}`, () => assert.ok(!same(resource, one, other)));

  it("sees integers that a double can't hold", () => {
    const [one, other] = ["9007199254740993", "9007199254740992"].map(
      (digits) => parseExact(`{"a":${digits}}`) as Fields,
    );
    assert.notEqual(digest(one!), digest(other!));
    assert.equal(goJson(one), '{"a":9007199254740993}');
  });

  it("changes nothing the second time", () => {
    const folder = join(import.meta.dirname, "../golden/restore-fixes");
    const samples = readdirSync(folder).map((file) =>
      parseAllDocuments(readFileSync(join(folder, file), "utf8")).map((document) => document.toJS()),
    );
    for (const [{ resource }, sample] of samples) {
      const once = canonical(comparable(sample, resource, facts));
      assert.equal(canonical(comparable(JSON.parse(once), resource, facts)), once);
    }
  });
});

describe("merge patches", () => {
  const scalar = fc.oneof(fc.string(), fc.integer(), fc.boolean());
  const { fields } = fc.letrec((tie) => ({
    value: fc.oneof({ maxDepth: 3 }, scalar, fc.array(scalar, { maxLength: 3 }), tie("fields")),
    fields: fc.dictionary(fc.constantFrom("a", "b", "c", "spec"), tie("value"), { maxKeys: 3, noNullPrototype: true }),
  })) as { fields: fc.Arbitrary<Fields> };

  it("lead from any object to any other, and from itself nowhere", () => {
    fc.assert(
      fc.property(fields, fields, (from, to) => {
        const patch = mergePatchBetween(from, to);
        assert.equal(canonical(patch ? apply(from, patch) : from), canonical(to));
        assert.equal(mergePatchBetween(from, structuredClone(from)), undefined);
      }),
    );
  });

  const cases: [what: string, from: string, to: string, patch: string][] = [
    ["a value", "{ data: { a: b, c: d } }", "{ data: { a: e, c: d } }", "{ data: { a: e } }"],
    ["what is gone", "{ data: { a: b, c: d }, x: y }", "{ data: { a: b } }", "{ data: { c: null }, x: null }"],
    ["a list, whole", "{ l: [1, 2] }", "{ l: [2] }", "{ l: [2] }"],
    [
      "labels one by one, even the last",
      "{ metadata: { labels: { a: b } } }",
      "{ metadata: {} }",
      "{ metadata: { labels: { a: null } } }",
    ],
    ["a map of a template, whole", "{ spec: { labels: { a: b } } }", "{ spec: {} }", "{ spec: { labels: null } }"],
  ];
  for (const [what, from, to, patch] of cases)
    it(`change ${what}`, () => assert.deepEqual(mergePatchBetween(parse(from), parse(to)), parse(patch)));

  it("take lists with what comparing disregards", () => {
    const [from, to, full] = ["[{ port: 80 }]", "[{ port: 81 }]", "[{ port: 81, nodePort: 30081 }]"].map((ports) =>
      parse(`{ spec: { ports: ${ports} } }`),
    );
    assert.deepEqual(mergePatchBetween(from, to, full), full);
  });
});

describe("what a live ServiceAccount lacks", () => {
  const cases: [what: string, live: string, wanted: string, patch: string][] = [
    [
      "nothing",
      "{ secrets: [{ name: a }, { name: b }], metadata: { labels: { x: live } } }",
      "{ secrets: [{ name: a }], metadata: { labels: { x: backup } } }",
      "",
    ],
    [
      "a pull Secret",
      "{ imagePullSecrets: [{ name: a }] }",
      "{ imagePullSecrets: [{ name: b }] }",
      "{ imagePullSecrets: [{ name: a }, { name: b }] }",
    ],
    ["its first Secret", "{}", "{ secrets: [{ name: b }] }", "{ secrets: [{ name: b }] }"],
    [
      "an annotation",
      "{ metadata: { annotations: { a: live } } }",
      "{ metadata: { annotations: { a: x, role: arn } } }",
      "{ metadata: { annotations: { role: arn } } }",
    ],
  ];
  for (const [what, live, wanted, patch] of cases) {
    it(what, () => assert.deepEqual(accountAdditions(parse(live), parse(wanted)), patch ? parse(patch) : undefined));
  }
});

it("goJson escapes what Go does, so that a ControllerRevision's data keeps its bytes", () => {
  assert.equal(
    goJson({ command: "a < b && c > d\u2028" }),
    String.raw`{"command":"a \u003c b \u0026\u0026 c \u003e d\u2028"}`,
  );
});
