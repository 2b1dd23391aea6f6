import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  includesAll,
  type LabelSelector,
  matchesSelector,
  nameFilter,
  parseSelector,
  resolveResource,
  resourceFilter,
  selectorText,
} from "../../core/select.ts";

const invalid = (pattern: RegExp) => (error: { kind?: string; message: string }) => {
  assert.equal(error.kind, "invalid");
  assert.match(error.message, pattern);
  return true;
};

describe("nameFilter", () => {
  const names = ["default", "shop", "shop-db", "shop-web", "team-a", "team-b", "team-c"];
  const cases: { includes?: string[]; excludes?: string[]; passes: string[] }[] = [
    { passes: names },
    { includes: [], excludes: [], passes: names },
    { includes: ["*"], passes: names },
    { includes: ["shop"], passes: ["shop"] },
    { includes: ["shop*"], passes: ["shop", "shop-db", "shop-web"] },
    { includes: ["shop-??"], passes: ["shop-db"] },
    { includes: ["team-[ab]"], passes: ["team-a", "team-b"] },
    { includes: ["team-[b-z]"], passes: ["team-b", "team-c"] },
    { includes: ["*-*"], excludes: ["team-*"], passes: ["shop-db", "shop-web"] },
    { includes: ["team-[b-c]"], passes: ["team-b", "team-c"] },
    { excludes: ["shop", "team-?"], passes: ["default", "shop-db", "shop-web"] },
    { includes: ["nothing-like-it*"], passes: [] },
  ];
  for (const { includes, excludes, passes } of cases) {
    it(`includes ${includes?.join(" ") ?? "-"}, excludes ${excludes?.join(" ") ?? "-"}`, () => {
      assert.deepEqual(names.filter(nameFilter(includes, excludes)), passes);
    });
  }

  const broken: [string[], string[], RegExp][] = [
    [["*", "shop"], [], /includedNamespaces: "\*"/],
    [[], ["*"], /excludedNamespaces: "\*"/],
    [["shop"], ["shop"], /"shop" is both in includedNamespaces and in excludedNamespaces/],
    [["a|b"], [], /holds one of/],
    [["{a,b}"], [], /holds one of/],
    [["a**"], [], /\*\*/],
    [["a[]"], [], /brackets/],
    [["a[b"], [], /brackets/],
    [["a]b"], [], /brackets/],
    [["a[z-b]"], [], /backwards/],
    [[], ["Shop"], /can't be a namespace's name/],
    [["-a"], [], /can't be a namespace's name/],
  ];
  for (const [includes, excludes, message] of broken) {
    it(`refuses includes ${JSON.stringify(includes)}, excludes ${JSON.stringify(excludes)}`, () => {
      assert.throws(() => nameFilter(includes, excludes), invalid(message));
    });
  }
});

describe("resourceFilter", () => {
  const resource = (group: string, name: string, kind: string, ...shortNames: string[]) => ({
    group,
    name,
    kind,
    singular: kind.toLowerCase(),
    shortNames,
  });
  const resources = [
    resource("metrics.k8s.io", "pods", "PodMetrics"),
    resource("events.k8s.io", "events", "Event", "ev"),
    resource("", "pods", "Pod", "po"),
    resource("", "events", "Event", "ev"),
    resource("apps", "deployments", "Deployment", "deploy"),
    resource("cert-manager.io", "certificates", "Certificate", "cert", "certs"),
    resource("networking.internal.knative.dev", "certificates", "Certificate", "kcert"),
  ];

  const names: [string, string][] = [
    ["pods", "pods"],
    ["po", "pods"],
    ["Pod", "pods"],
    ["PODS", "pods"],
    ["PO", "PO"],
    ["events", "events"],
    ["events.events.k8s.io", "events.events.k8s.io"],
    ["deploy", "deployments.apps"],
    ["deployment.apps", "deployments.apps"],
    ["certs", "certificates.cert-manager.io"],
    ["certificates.cert-manager", "certificates.cert-manager.io"],
    ["certificates", "certificates.cert-manager.io"],
    ["kcert", "certificates.networking.internal.knative.dev"],
    ["widgets.example.com", "widgets.example.com"],
    ["*.apps", "*.apps"],
  ];
  for (const [name, resolved] of names) {
    it(`takes ${name} for ${resolved}`, () => assert.equal(resolveResource(name, resources), resolved));
  }

  it("lets through what is included and not excluded, by string or resource", () => {
    const passes = resourceFilter(
      ["*.cert-manager.io", "deploy", "po", "widgets.example.com"],
      ["Pod"],
      resources.slice(3),
    );
    const asked = [...resources, "widgets.example.com", "secrets"].filter((one) => passes(one));
    assert.deepEqual(
      asked.map((one) => (typeof one === "string" ? one : `${one.name}.${one.group}`)),
      ["deployments.apps", "certificates.cert-manager.io", "widgets.example.com"],
    );
  });

  it("lets everything through without includes", () => {
    assert.ok(resourceFilter(undefined, ["pods"], resources)("secrets"));
    assert.ok(!resourceFilter(undefined, ["pods"], resources)({ group: "", name: "pods" }));
  });

  const broken: [string[], string[], "Resources" | "ClusterScopedResources", RegExp][] = [
    [["*", "pods"], [], "Resources", /includedResources/],
    [[], ["*"], "Resources", /excludedResources: "\*" would exclude everything/],
    [["deploy"], ["deploy"], "Resources", /"deploy" is both/],
    [["pods"], ["*"], "ClusterScopedResources", /excludedClusterScopedResources: "\*" must be the only entry/],
  ];
  for (const [includes, excludes, subject, message] of broken) {
    it(`refuses includes ${includes}, excludes ${excludes} of ${subject}`, () => {
      assert.throws(() => resourceFilter(includes, excludes, resources, subject), invalid(message));
    });
  }

  it("lets an exclude win over another name of the same resource", () => {
    assert.equal(resourceFilter(["deploy"], ["deployments"], resources)("deployments.apps"), false);
  });

  it("takes a lone * in the excludes of the newer filters", () => {
    assert.equal(resourceFilter([], ["*"], resources, "ClusterScopedResources")("nodes"), false);
  });
});

it("includesAll: nothing given, or *", () => {
  assert.deepEqual([undefined, [], ["*"], ["a"]].map(includesAll), [true, true, true, false]);
});

describe("label selectors", () => {
  const parsed: [string, LabelSelector][] = [
    ["", {}],
    ["a=b", { matchLabels: { a: "b" } }],
    ["a==b, c=", { matchLabels: { a: "b", c: "" } }],
    ["a!=b", { matchExpressions: [{ key: "a", operator: "NotIn", values: ["b"] }] }],
    ["a", { matchExpressions: [{ key: "a", operator: "Exists" }] }],
    ["!example.com/a", { matchExpressions: [{ key: "example.com/a", operator: "DoesNotExist" }] }],
    [
      "a=b,c in (d, e)",
      { matchLabels: { a: "b" }, matchExpressions: [{ key: "c", operator: "In", values: ["d", "e"] }] },
    ],
    ["c notin (d)", { matchExpressions: [{ key: "c", operator: "NotIn", values: ["d"] }] }],
    ["a=b,a=c", { matchLabels: { a: "b" }, matchExpressions: [{ key: "a", operator: "In", values: ["c"] }] }],
  ];
  for (const [text, selector] of parsed) it(`parses "${text}"`, () => assert.deepEqual(parseSelector(text), selector));

  for (const text of ["a b", "a in b", "a>1", "a in (b", ",", "a=b,", "=b", "-a=b", "a=b c"]) {
    it(`refuses "${text}"`, () => assert.throws(() => parseSelector(text), invalid(/can't understand/)));
  }

  const matches: [string, Record<string, string> | undefined, boolean][] = [
    ["", undefined, true],
    ["a=b", { a: "b", c: "d" }, true],
    ["a=b", { a: "c" }, false],
    ["a=b", undefined, false],
    ["a!=b", undefined, true],
    ["a!=b", { a: "b" }, false],
    ["a", { a: "" }, true],
    ["!a", { a: "" }, false],
    ["a in (b,c)", { a: "c" }, true],
    ["a notin (b,c)", {}, true],
    ["a=b,a=c", { a: "b" }, false],
    ["constructor", {}, false],
  ];
  for (const [text, labels, expected] of matches) {
    it(`"${text}" ${expected ? "selects" : "doesn't select"} ${JSON.stringify(labels)}`, () => {
      assert.equal(matchesSelector(parseSelector(text), labels), expected);
    });
  }

  it("refuses what Kubernetes would", () => {
    const broken: [LabelSelector, RegExp][] = [
      [{ matchExpressions: [{ key: "a", operator: "In" }] }, /In for a needs values/],
      [{ matchExpressions: [{ key: "a", operator: "Exists", values: ["b"] }] }, /Exists for a takes no values/],
      [{ matchExpressions: [{ key: "a", operator: "in" as "In" }] }, /unknown operator "in"/],
    ];
    for (const [selector, message] of broken) assert.throws(() => matchesSelector(selector, {}), invalid(message));
  });

  it("means the same written as text and read again", () => {
    const word = fc.constantFrom("a", "b", "c");
    const requirement = fc.oneof(
      fc.record({
        key: word,
        operator: fc.constantFrom<"In" | "NotIn">("In", "NotIn"),
        values: fc.uniqueArray(word, { minLength: 1 }),
      }),
      fc.record({ key: word, operator: fc.constantFrom<"Exists" | "DoesNotExist">("Exists", "DoesNotExist") }),
    );
    const selectors = fc.record({ matchLabels: fc.dictionary(word, word), matchExpressions: fc.array(requirement) });
    fc.assert(
      fc.property(selectors, fc.dictionary(word, word), (selector, labels) => {
        assert.equal(matchesSelector(parseSelector(selectorText(selector)), labels), matchesSelector(selector, labels));
      }),
    );
  });
});
