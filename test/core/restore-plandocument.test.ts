import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { holdToPlan, type PlanBasis, type StoredPlan } from "../../core/restore/plan/plandocument.ts";
import type { PlannedStep } from "../../core/restore/plan/steps.ts";
import type { RestorePlan } from "../../core/restore/restore.ts";

const basis: PlanBasis = { clusterUid: "blue", backupStart: "2026-01-01T00:00:00Z" };
const sources = new Map();

/** A step of either plan; `live` is what the object said when it was listed. */
interface Step {
  action: string;
  live?: string;
  reason?: string;
  warning?: boolean;
}

/** The stored plan of these steps, one for each ConfigMap. */
function stored(steps: Record<string, Step>): StoredPlan {
  const known = Object.entries(steps);
  const document = {
    id: "p",
    steps: known.map(([name, { action, reason }]) => ({
      ...{ resource: "configmaps", namespace: "shop", name, action },
      ...(reason && { reason }),
    })),
  };
  const live = known.map(([, { live = "" }]) => Buffer.from(live, "latin1").toString("base64"));
  return { document, basis, live } as StoredPlan;
}

/** As much of a plan as is held to another one. */
function planned(steps: Record<string, Step>): RestorePlan {
  const now = Object.entries(steps);
  const target = {
    digests: new Map(now.flatMap(([, { live }], place) => (live ? [[place, live] as const] : []))),
    nodePorts: new Map(),
    revisions: new Map(),
  };
  return {
    target,
    steps: now.map(([name, { live, ...step }], place) => ({
      ...step,
      // What is pruned isn't the backup's.
      ...(step.action === "prune" ? { place: undefined, state: live } : { place }),
      item: { entry: { resource: "configmaps" }, namespace: "shop", name },
    })),
  } as unknown as RestorePlan;
}

describe("a plan that is made anew is held to the stored one", () => {
  const gone = undefined;
  const cases: [what: string, then: Step | undefined, now: Step | undefined, becomes: string | RegExp | undefined][] = [
    ["to be created, still missing", { action: "create" }, { action: "create" }, "create"],
    ["to be created, made by somebody else", { action: "create" }, { action: "update", live: "x" }, /a appeared/],
    ["to be created, there by now", { action: "create" }, { action: "skip", live: "x" }, "skip"],
    [
      "to be created, and there otherwise",
      { action: "create" },
      { action: "skip", live: "x", warning: true, reason: "it differs" },
      /a would be skipped now: it differs/,
    ],
    ["to be updated, as it was", { action: "update", live: "x" }, { action: "update", live: "x" }, "update"],
    ["to be updated, changed since", { action: "update", live: "x" }, { action: "update", live: "y" }, /a was changed/],
    ["to be updated, and is so", { action: "update", live: "x" }, { action: "skip", live: "y" }, "skip"],
    ["to be updated, missing now", { action: "update", live: "x" }, { action: "create" }, /a was deleted/],
    [
      "to be updated, can't be now",
      { action: "update", live: "x" },
      { action: "blocked", reason: "why" },
      /a is blocked now: why/,
    ],
    ["to be updated, not in the backup any more", { action: "update", live: "x" }, gone, /a is not there any more/],
    ["to be created anew, as it was", { action: "recreate", live: "x" }, { action: "update", live: "x" }, "update"],
    [
      "to be created anew, deleted by a run that died",
      { action: "recreate", live: "x" },
      { action: "create" },
      "create",
    ],
    ["to be pruned, as it was", { action: "prune", live: "x" }, { action: "prune", live: "x" }, "prune"],
    ["to be pruned, changed since", { action: "prune", live: "x" }, { action: "prune", live: "y" }, /a was changed/],
    ["to be pruned, gone by now", { action: "prune", live: "x" }, gone, undefined],
    ["to be left, as it was", { action: "skip", live: "x" }, { action: "skip", live: "x" }, "skip"],
    ["to be left, changed since", { action: "skip", live: "x" }, { action: "update", live: "y" }, /a was changed/],
    ["to be left, missing now", { action: "skip" }, { action: "create" }, /a was deleted/],
    ["refused by the server in rehearsal, still missing", { action: "blocked" }, { action: "create" }, "blocked"],
    ["refused in rehearsal, as it was", { action: "blocked", live: "x" }, { action: "update", live: "x" }, "blocked"],
    ["refused in rehearsal, deleted since", { action: "blocked", live: "x" }, { action: "create" }, /a was deleted/],
    ["not known, to be created", gone, { action: "create" }, /a is new/],
    ["not known, to be left", gone, { action: "skip", live: "x" }, "skip"],
  ];
  for (const [what, then, now, becomes] of cases)
    it(what, () => {
      const plan = planned(now ? { a: now } : {});
      const hold = () => holdToPlan(stored(then ? { a: then } : {}), plan, { basis, sources });
      if (becomes instanceof RegExp) return assert.throws(hold, { kind: "conflict", message: becomes });
      hold();
      assert.equal(plan.steps[0]?.action, becomes);
    });

  const others: [what: string, basis: PlanBasis, error: { kind: string; message: RegExp }][] = [
    ["another cluster", { ...basis, clusterUid: "green" }, { kind: "conflict", message: /another cluster/ }],
    ["another backup of the name", { ...basis, backupStart: "later" }, { kind: "conflict", message: /replaced/ }],
    ["a cluster that can't be told", { ...basis, clusterUid: "" }, { kind: "denied", message: /can't be told/ }],
  ];
  for (const [what, now, error] of others)
    it(`and refused for ${what}`, () =>
      assert.throws(() => holdToPlan(stored({}), planned({}), { basis: now, sources }), error));

  it("tells five of many changes, and how many more there are", () => {
    const many = Object.fromEntries([..."abcdefg"].map((name) => [name, { action: "create" }]));
    assert.throws(() => holdToPlan(stored({}), planned(many), { basis, sources }), {
      message: /shop\/e is new and 2 more$/,
    });
  });

  it("gives what the rehearsal left the reason that it was left for", () => {
    const plan = planned({ a: { action: "create" } });
    holdToPlan(stored({ a: { action: "blocked", reason: "the server refuses it" } }), plan, { basis, sources });
    const { action, reason } = plan.steps[0] as PlannedStep;
    assert.deepEqual({ action, reason }, { action: "blocked", reason: "the server refuses it" });
  });
});
