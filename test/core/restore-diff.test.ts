import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type FieldChange, fieldChanges } from "../../core/objects/diff.ts";
import type { Fields } from "../../core/objects/fields.ts";

const container = (name: string, image: string) => ({ name, image });

const CASES: { name: string; from: Fields; to: Fields; resource?: string; changes: FieldChange[] }[] = [
  { name: "nothing", from: { spec: { a: 1, b: null } }, to: { spec: { a: 1 } }, changes: [] },
  { name: "a value", from: { spec: { a: 1 } }, to: { spec: { a: 2 } }, changes: [{ path: "spec.a", from: 1, to: 2 }] },
  {
    name: "a field more, and one less",
    from: { spec: { old: { x: 1 } } },
    to: { spec: { new: [1] } },
    changes: [
      { path: "spec.new", to: [1] },
      { path: "spec.old", from: { x: 1 } },
    ],
  },
  {
    name: "a key that is no word",
    from: { metadata: { labels: { "a.b/c": "1" } } },
    to: { metadata: { labels: { "a.b/c": "2" } } },
    changes: [{ path: 'metadata.labels["a.b/c"]', from: "1", to: "2" }],
  },
  {
    name: "the image of a container",
    from: { c: [container("a", "x:1"), container("b", "y:1")] },
    to: { c: [container("a", "x:1"), container("b", "y:2")] },
    changes: [{ path: "c[b].image", from: "y:1", to: "y:2" }],
  },
  {
    name: "a container put first",
    from: { c: [container("a", "x:1")] },
    to: { c: [container("b", "y:1"), container("a", "x:1")] },
    changes: [{ path: "c[b]", to: container("b", "y:1") }],
  },
  {
    name: "containers in another order",
    from: { c: [container("a", "x"), container("b", "y")] },
    to: { c: [container("b", "y"), container("a", "x")] },
    changes: [{ path: "c", from: ["a", "b"], to: ["b", "a"] }],
  },
  {
    name: "a word put into a list of words",
    from: { args: ["a", "c"] },
    to: { args: ["a", "b", "c"] },
    changes: [{ path: "args[1]", to: "b" }],
  },
  {
    name: "what a Secret holds",
    resource: "secrets",
    from: { type: "Opaque", data: { a: "c2VjcmV0", b: "b2xk" } },
    to: { type: "x", data: { a: "bmV3", b: "b2xk", c: "bW9yZQ==" } },
    changes: [
      { path: "data.a", from: "(hidden)", to: "(hidden)" },
      { path: "data.c", to: "(hidden)" },
      { path: "type", from: "Opaque", to: "x" },
    ],
  },
  {
    name: "annotations of a Secret, which may hold its data",
    resource: "secrets",
    from: { metadata: { labels: { a: "1" } } },
    to: {
      metadata: { labels: { a: "2" }, annotations: { "kubectl.kubernetes.io/last-applied-configuration": "s3cret" } },
    },
    changes: [
      { path: "metadata.annotations", to: "(hidden)" },
      { path: "metadata.labels.a", from: "1", to: "2" },
    ],
  },
  {
    name: "all that a Secret holds",
    resource: "secrets",
    from: {},
    to: { data: { a: "c2VjcmV0" } },
    changes: [{ path: "data", to: "(hidden)" }],
  },
];

describe("the fields in which two objects differ", () => {
  for (const { name, from, to, resource = "configmaps", changes } of CASES) {
    it(name, () => assert.deepEqual(fieldChanges(from, to, resource), changes));
  }
});
