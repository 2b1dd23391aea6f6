import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Known, plan, type Step } from "../../core/restore/plan/plan.ts";

const known = (more: Partial<Known> = {}): Known => ({ resource: "configmaps", live: "absent", ...more });
const short = ({ action, reason, warning }: Step) =>
  [action, reason?.split(/[;:]/)[0] ?? "", warning ? "warning" : ""].join(" ").trim();

describe("plan: what is known of an item, and what is done under `none` and under `update`", () => {
  const cases: [string, Partial<Known>, none: string, update: string][] = [
    ["absent", {}, "create", "create"],
    ["equal", { live: "equal" }, "skip exists, equal", "skip exists, equal"],
    ["different", { live: "different" }, "skip exists and differs warning", "update"],
    ["a ServiceAccount that differs", { live: "different", resource: "serviceaccounts" }, "merge", "merge"],
    [
      "a ServiceAccount that is equal",
      { live: "equal", resource: "serviceaccounts" },
      "skip exists, equal",
      "skip exists, equal",
    ],
    ["being deleted", { live: "deleting" }, "blocked it is being deleted", "blocked it is being deleted"],
    ["never restored", { skip: "is finished" }, "skip is finished", "skip is finished"],
    ["never restored, though it differs", { skip: "made here", live: "different" }, "skip made here", "skip made here"],
    ["not served", { blocked: "not served" }, "blocked not served", "blocked not served"],
    ["not served and never restored", { skip: "made here", blocked: "not served" }, "skip made here", "skip made here"],
    [
      "its controller is there",
      { keeper: "ReplicaSet r" },
      "skip ReplicaSet r exists and makes what it needs",
      "skip ReplicaSet r exists and makes what it needs",
    ],
    [
      "its controller is there, and it differs",
      { keeper: "Deployment d", live: "different" },
      "skip Deployment d exists and makes what it needs",
      "skip Deployment d exists and makes what it needs",
    ],
    ["needed only, absent", { leave: "only what is missing" }, "create", "create"],
    ["needed only, different", { leave: "only what is missing", live: "different" }, "skip exists", "skip exists"],
    [
      "shared with the original",
      { shared: true, live: "different" },
      "skip exists, maybe for the namespaces of the original, and is left warning",
      "skip exists, maybe for the namespaces of the original, and is left warning",
    ],
    ["shared with the original, absent", { shared: true }, "create", "create"],
    [
      "others' now",
      { others: "a later restore's", live: "different" },
      "skip a later restore's warning",
      "skip a later restore's warning",
    ],
    [
      "others' now, and equal",
      { others: "a later restore's", live: "equal" },
      "skip exists, equal",
      "skip exists, equal",
    ],
    ["equal, its status perhaps not", { live: "equal", status: true }, "status exists, equal", "status exists, equal"],
    [
      "equal, its status perhaps not, in an undo",
      { live: "equal", status: true, exact: true },
      "skip exists, equal",
      "skip exists, equal",
    ],
    ["two become one", { clash: "a/c" }, "skip left out warning", "skip left out warning"],
  ];
  for (const [name, facts, none, update] of cases) {
    it(name, () => {
      assert.equal(short(plan(known(facts), "none")), none);
      assert.equal(short(plan(known(facts), "update")), update);
    });
  }

  it("says how to overcome a difference", () => {
    assert.match(plan(known({ live: "different" }), "none").reason!, /use --existing-resource-policy update/);
  });
});
