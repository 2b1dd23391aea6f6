import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type ObjectNames, ownersOf, type Relative, takenAlong } from "../../core/restore/undo/kin.ts";

/** "deployments.apps shop/web", its UID the same text; owners by theirs. */
const one = (id: string, ...owners: string[]): Relative => {
  const [resource = "", place = ""] = id.split(" ");
  const [namespace, name] = place.includes("/") ? (place.split("/") as [string, string]) : ["", place];
  return { resource, namespace, name, uid: id, owners: owners.map((uid) => ({ uid, resource: uid.split(" ")[0] })) };
};
const names = (...ids: string[]): ObjectNames => {
  const found: ObjectNames = new Map();
  for (const id of ids) {
    const [resource = "", name = ""] = id.split(" ");
    found.set(resource, (found.get(resource) ?? new Set()).add(name));
  }
  return found;
};
const listed = (found: ObjectNames) =>
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

const CIRCLE = [one("a shop/x", "a shop/y"), one("a shop/y", "a shop/x")];

describe("what goes with objects that are deleted", () => {
  const cases: [what: string, deleted: string[], along: string[]][] = [
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
    ["what lies in a Namespace", ["namespaces pay"], ["configmaps pay/settings"]],
    [
      "what a definition defines",
      ["customresourcedefinitions.apiextensions.k8s.io widgets.example.com"],
      ["widgets.example.com shop/v", "widgets.example.com shop/w"],
    ],
    ["nothing of what isn't there", ["configmaps shop/gone"], []],
  ];
  for (const [what, deleted, along] of cases)
    it(what, () => assert.deepEqual(listed(takenAlong(ALL, names(...deleted))), along));

  it("ends where owners own each other", () =>
    assert.deepEqual(listed(takenAlong(CIRCLE, names("a shop/x"))), ["a shop/y"]));
});

describe("who owns objects", () => {
  const cases: [what: string, owned: string[], owners: string[]][] = [
    ["all above them", ["pods shop/web-1-a"], ["deployments.apps shop/web", "replicasets.apps shop/web-1"]],
    ["each of several", ["secrets shop/shared"], ["deployments.apps shop/other", "widgets.example.com shop/w"]],
    ["nobody who is among them", ["pods shop/web-1-a", "replicasets.apps shop/web-1"], ["deployments.apps shop/web"]],
    ["nobody who is gone", ["secrets shop/orphan"], []],
  ];
  for (const [what, owned, owners] of cases)
    it(what, () => assert.deepEqual(listed(ownersOf(ALL, names(...owned))), owners));

  it("ends where owners own each other", () =>
    assert.deepEqual(listed(ownersOf(CIRCLE, names("a shop/x"))), ["a shop/y"]));
});
