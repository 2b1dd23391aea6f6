import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { kinOf, type Names, type Relative } from "../../core/restore/undo/kin.ts";

/** "deployments.apps shop/web", its UID the same text; owners by theirs. */
const one = (id: string, ...owners: string[]): Relative => {
  const [resource = "", place = ""] = id.split(" ");
  const [namespace, name] = place.includes("/") ? (place.split("/") as [string, string]) : ["", place];
  return { resource, namespace, name, uid: id, owners };
};
const names = (...ids: string[]): Names => {
  const found: Names = new Map();
  for (const id of ids) {
    const [resource = "", name = ""] = id.split(" ");
    found.set(resource, (found.get(resource) ?? new Set()).add(name));
  }
  return found;
};
const listed = (found: Names) =>
  [...found].flatMap(([resource, some]) => [...some].map((name) => `${resource} ${name}`)).sort();

const ALL = [
  one("deployments.apps shop/web"),
  one("replicasets.apps shop/web-1", "deployments.apps shop/web"),
  one("pods shop/web-1-a", "replicasets.apps shop/web-1"),
  one("deployments.apps shop/other"),
  one("replicasets.apps shop/other-1", "deployments.apps shop/other"),
  one("widgets.example.com shop/w"),
  one("widgets.example.com shop/v", "widgets.example.com shop/w"),
  one("secrets shop/shared", "widgets.example.com shop/w", "deployments.apps shop/other"),
  one("secrets shop/orphan", "gone shop/x"),
  one("namespaces shop"),
  one("namespaces pay"),
  one("configmaps pay/settings"),
  one("customresourcedefinitions.apiextensions.k8s.io widgets.example.com"),
];

describe("kin: what goes with objects that are deleted, and who owns them", () => {
  const cases: [what: string, deleted: string[], kin: string[]][] = [
    [
      "what an object owns, and what that owns",
      ["deployments.apps shop/web"],
      ["pods shop/web-1-a", "replicasets.apps shop/web-1"],
    ],
    ["not what has another owner that stays", ["widgets.example.com shop/w"], ["widgets.example.com shop/v"]],
    [
      "what all owners of go",
      ["widgets.example.com shop/w", "deployments.apps shop/other"],
      ["replicasets.apps shop/other-1", "secrets shop/shared", "widgets.example.com shop/v"],
    ],
    [
      "the owners of what is deleted",
      ["pods shop/web-1-a"],
      ["deployments.apps shop/web", "replicasets.apps shop/web-1"],
    ],
    ["owners that are gone are no kin", ["secrets shop/orphan"], []],
    ["what lies in a Namespace", ["namespaces pay"], ["configmaps pay/settings"]],
    [
      "what a definition defines",
      ["customresourcedefinitions.apiextensions.k8s.io widgets.example.com"],
      ["widgets.example.com shop/v", "widgets.example.com shop/w"],
    ],
    ["nothing of what isn't there", ["configmaps shop/gone"], []],
  ];
  for (const [what, deleted, kin] of cases)
    it(what, () => assert.deepEqual(listed(kinOf(ALL, names(...deleted))), kin));

  it("ends where owners own each other", () => {
    const circle = [one("a shop/x", "a shop/y"), one("a shop/y", "a shop/x")];
    assert.deepEqual(listed(kinOf(circle, names("a shop/x"))), ["a shop/y"]);
  });
});
