import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { goGlob } from "../../core/globs.ts";
import { parseExact } from "../../core/kube/json.ts";
import type { Fields } from "../../core/objects/fields.ts";
import { copyOf, type Operation, patched, pointerSteps } from "../../core/restore/modifiers/jsonpatch.ts";
import { readModifiers } from "../../core/restore/modifiers/modifierfile.ts";
import { modify } from "../../core/restore/modifiers/modifiers.ts";
import { merged } from "../../core/restore/modifiers/patch.ts";

const key = fc.stringMatching(/^[a-z~/0-]{1,4}$/);
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(null, true, 0, -1, 1.5, "", "text"),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(key, tie("value"), { maxKeys: 4 }).map((fields) => ({ ...fields })),
  ),
})).value;
const document = fc.dictionary(key, json, { maxKeys: 4 }).map((fields): Fields => ({ ...fields }));

const apply = (fields: Fields, ...operations: Operation[]) => {
  const { document, fault } = { document: undefined, ...patched(fields, operations) };
  return document ?? fault;
};

/** Every place in a document that a patch may name, with its value. */
function places(value: unknown, path: string[] = []): { path: string[]; value: unknown }[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([step, inner]) => {
    const inside = [...path, step];
    return [{ path: inside, value: inner }, ...places(inner, inside)];
  });
}

/** Does `check` with a place of a random document. */
function atSomePlace(check: (fields: Fields, path: string[], value: unknown) => void): void {
  const placed = document.filter((fields) => places(fields).length > 0);
  fc.assert(
    fc.property(placed, fc.nat(), (fields, number) => {
      const all = places(fields);
      const { path, value } = all[number % all.length]!;
      check(fields, path, value);
    }),
  );
}

describe("JSON patches", () => {
  it("test what is there, and nothing else", () => {
    atSomePlace((fields, path, value) => {
      assert.deepEqual(apply(fields, { op: "test", path, value }), fields);
      const { kind } = apply(fields, { op: "test", path, value: [value] }) as { kind: string };
      assert.equal(kind, "test");
    });
  });

  it("undo a remove by an add", () => {
    atSomePlace((fields, path, value) => {
      assert.deepEqual(apply(fields, { op: "remove", path }, { op: "add", path, value }), fields);
    });
  });

  it("replace as remove and add do, and move as copy and remove do", () => {
    atSomePlace((fields, path, value) => {
      const removed: Operation = { op: "remove", path };
      assert.deepEqual(
        apply(fields, { op: "replace", path, value: "new" }),
        apply(fields, removed, { op: "add", path, value: "new" }),
      );
      const there = ["elsewhere"];
      const copied = apply(fields, { op: "copy", from: path, path: there }, removed);
      assert.deepEqual(apply(fields, { op: "move", from: path, path: there }), copied);
      assert.deepEqual((copied as Fields).elsewhere, value);
    });
  });

  it("leave the document as it is, also where a later operation fails", () => {
    atSomePlace((fields, path) => {
      const before = copyOf(fields);
      apply(fields, { op: "remove", path }, { op: "remove", path: ["none", "deeper"] });
      assert.deepEqual(fields, before);
    });
  });

  it("unescape paths once", () => {
    assert.deepEqual(pointerSteps("/a~1b/~01/"), ["a/b", "~1", ""]);
  });

  it("reach nothing that isn't the document's own", () => {
    const fault = apply({}, { op: "add", path: ["__proto__", "polluted"], value: true });
    assert.equal((fault as { kind: string }).kind, "missing");
    assert.equal(({} as Fields).polluted, undefined);
  });
});

describe("merge patches", () => {
  /** The examples of RFC 7386's appendix whose document and patch are objects. */
  const examples: [string, string, string][] = [
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', "{}"],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
    ['{"a":"foo"}', '{"b":{"c":null}}', '{"a":"foo","b":{}}'],
    ["{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
  ];
  for (const [document, patch, result] of examples) {
    it(`${document} with ${patch}`, () => {
      assert.deepEqual(merged(JSON.parse(document), JSON.parse(patch)), JSON.parse(result));
    });
  }

  it("change nothing the second time", () => {
    fc.assert(
      fc.property(document, document, (fields, patch) => {
        const once = merged(fields, patch);
        assert.deepEqual(merged(once, patch), once);
      }),
    );
  });
});

describe("numbers in modifiers", () => {
  for (const [kind, patch] of [
    ["patches", '{ operation: add, path: /spec/more, value: "12345678901234567891" }'],
    ["mergePatches", '{ patchData: "spec: { more: 12345678901234567891 }" }'],
    ["strategicPatches", '{ patchData: "spec: { more: 12345678901234567891 }" }'],
  ]) {
    it(`stay exact in ${kind}`, async () => {
      const object = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"one":9007199254740993}}';
      const text = `version: V1\nresourceModifierRules: [{ conditions: { groupResource: pods }, ${kind}: [${patch}] }]\n`;
      const changed = parseExact(object) as Parameters<typeof modify>[0];
      assert.deepEqual(modify(changed, "pods", await readModifiers(text, "rules")), []);
      assert.equal(JSON.stringify(changed.spec), '{"one":9007199254740993,"more":12345678901234567891}');
    });
  }
});

describe("globs", () => {
  const rows: [string, string, string, boolean][] = [
    ["*", ".", "pods", true],
    ["*", ".", "deployments.apps", false],
    ["*", "", "a.b", true],
    ["*.apps", ".", "deployments.apps", true],
    ["*.*", ".", "ingresses.networking.k8s.io", false],
    ["**", ".", "ingresses.networking.k8s.io", true],
    ["deploy*.app?", ".", "deployments.apps", true],
    ["deployments?apps", ".", "deployments.apps", false],
    ["{a,b{c,d}}", "", "bd", true],
    ["[!a-c]x", "", "bx", false],
    ["[!a-c]x", "", "dx", true],
    ["[ac]x", "", "bx", false],
    ["a\\*", "", "a*", true],
    ["a-b+c", "", "a-b+c", true],
  ];
  for (const [pattern, separator, text, matches] of rows) {
    it(`${pattern} ${matches ? "takes" : "doesn't take"} ${text}`, () => {
      assert.equal(goGlob(pattern, separator).test(text), matches);
    });
  }
  for (const pattern of ["a{b", "a}b", "a[b", "[z-a]"]) {
    it(`${pattern} is broken`, () => {
      assert.throws(() => goGlob(pattern), { kind: "invalid" });
    });
  }
});

describe("a broken modifier file is told by line and path", () => {
  const head = "version: v1\nresourceModifierRules:\n- conditions: { groupResource: pods }\n";
  const rows: [string, RegExp][] = [
    ["", /^rules\.yaml, line 1: version: is missing/],
    ["version: v2\nresourceModifierRules: []\n", /line 1: version: is "v2"/],
    ["version: v1\nresourceModifierRules: []\n", /line 2: resourceModifierRules: has no rule/],
    ["version: v1\nresourceModifierRules: {}\n", /line 2: resourceModifierRules: should be a list/],
    ["version: v1\nversion: v1\n", /line 2: it is no YAML: Map keys must be unique/],
    ["version: v1\nresourceModifierRules: [\n", /line [23]: it is no YAML/],
    ["version: v1\nrules: []\n", /line 2: rules: unknown field, known are version/],
    [head, /line 3: resourceModifierRules\[0\]: has no patch/],
    [`${head}  patchs: []\n`, /line 4: resourceModifierRules\[0\]\.patchs: unknown field: did you mean patches/],
    [`${head}  patches: [{ operation: Add, path: /a }]\n`, /line 4: \S+\.patches\[0\]\.operation: is "Add"/],
    [`${head}  patches: [{ path: /a }]\n`, /line 4: \S+\.patches\[0\]\.operation: is missing/],
    [`${head}  patches:\n  - { operation: remove }\n`, /line 5: \S+\.patches\[0\]\.path: is missing/],
    [`${head}  patches: [{ operation: remove, path: a/b }]\n`, /path: is "a\/b"; it begins with "\/"/],
    [`${head}  patches: [{ operation: move, path: /a }]\n`, /patches\[0\]\.from: is missing/],
    [`${head}  patches: [{ operation: add, path: /a, value: "007" }]\n`, /patches\[0\]\.value: is no JSON/],
    [`${head}  patches: [{ operation: add, path: /a, value: "{a" }]\n`, /patches\[0\]\.value: is no JSON/],
    [`${head}  patches: [{ operation: add, path: /a, value: 'a "b"' }]\n`, /patches\[0\]\.value: is no JSON string/],
    [`${head}  patches: [{ operation: add, path: /a, value: [] }]\n`, /patches\[0\]\.value: should be text/],
    [`${head}  mergePatches: [{ patchData: { a: b } }]\n`, /mergePatches\[0\]\.patchData: should be text/],
    [`${head}  mergePatches:\n  - patchData: |\n      a: [\n`, /line 5: \S+\.patchData: is no YAML/],
    [`${head}  mergePatches: [{ patchData: "[]" }]\n`, /patchData: is no mapping/],
    [
      `${head}  mergePatches: [{ patchData: "a: b" }]\n  patches: [{ operation: remove, path: /a }]\n`,
      /give one of them/,
    ],
    [head.replace("groupResource: pods", 'groupResource: ""'), /line 3: \S+\.conditions\.groupResource: is missing/],
    [head.replace("pods", '"{a"'), /groupResource: the pattern/],
    [head.replace("pods", "pods, resourceNameRegex: (?=a)"), /resourceNameRegex: error parsing regexp/],
    [head.replace("pods", "pods, matches: [{ value: a }]"), /matches\[0\]\.path: is missing/],
    [
      head.replace("pods", "pods, labelSelector: { matchExpressions: [{ key: a, operator: Is }] }"),
      /labelSelector: .*"Is"/,
    ],
  ];
  for (const [text, message] of rows) {
    it(message.source, async () => {
      const whole =
        text.startsWith(head) || !text.includes("conditions")
          ? text
          : `${text}  patches: [{ operation: remove, path: /a }]\n`;
      await assert.rejects(readModifiers(whole, "rules.yaml"), { kind: "invalid", message });
    });
  }
});
