import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ADOPTIONS } from "../../core/restore/write/adoptions.ts";
import { ranks } from "../../core/restore/write/ranks.ts";
import { WAVES, waveOf } from "../../core/restore/write/waves.ts";

describe("waves", () => {
  /** Each row must hold from left to right. */
  const orders = [
    ["customresourcedefinitions.apiextensions.k8s.io", "namespaces", "configmaps", "widgets.example.com"],
    ["storageclasses.storage.k8s.io", "persistentvolumes", "persistentvolumeclaims", "pods"],
    [
      "volumesnapshotcontents.snapshot.storage.k8s.io",
      "volumesnapshots.snapshot.storage.k8s.io",
      "persistentvolumeclaims",
    ],
    ["priorityclasses.scheduling.k8s.io", "pods"],
    [
      "serviceaccounts",
      "clusterroles.rbac.authorization.k8s.io",
      "clusterrolebindings.rbac.authorization.k8s.io",
      "pods",
    ],
    ["serviceaccounts", "persistentvolumeclaims", "secrets", "pods"],
    ["endpoints", "services", "pods"],
    ["networkpolicies.networking.k8s.io", "pods"],
    [
      "widgets.example.com",
      "pods",
      "limitranges",
      "replicasets.apps",
      "deployments.apps",
      "horizontalpodautoscalers.autoscaling",
    ],
    ["pods", "replicationcontrollers"],
    ["controllerrevisions.apps", "statefulsets.apps", "poddisruptionbudgets.policy"],
    ["controllerrevisions.apps", "daemonsets.apps", "jobs.batch"],
    ["jobs.batch", "resourcequotas", "mutatingwebhookconfigurations.admissionregistration.k8s.io"],
    [
      "clusters.cluster.x-k8s.io",
      "validatingwebhookconfigurations.admissionregistration.k8s.io",
      "apiservices.apiregistration.k8s.io",
    ],
  ];
  for (const order of orders) {
    it(order.join(" < "), () => {
      const waves = order.map(waveOf);
      assert.deepEqual(
        waves,
        [...new Set(waves)].sort((a, b) => a - b),
      );
    });
  }

  it("restores adopted children before their owners", () => {
    for (const { children, owners } of ADOPTIONS)
      for (const owner of owners) assert.ok(waveOf(children) < waveOf(owner), `${children} < ${owner}`);
  });

  it("names every resource once, and why", () => {
    const named = WAVES.flatMap(({ resources = ["*"] }) => resources);
    assert.equal(new Set(named).size, named.length);
    assert.ok(WAVES.every(({ why }) => why.length > 10));
  });
});

describe("ranks", () => {
  const order = (...pairs: [number, number][]) => pairs.map(([early, late]) => ({ early, late }));
  const cases: { name: string; waves: number[]; order: { early: number; late: number }[]; ranks: number[] }[] = [
    { name: "without relations, the waves", waves: [30, 10, 20], order: [], ranks: [30, 10, 20] },
    { name: "a child of an earlier wave follows its owner", waves: [10, 30], order: order([1, 0]), ranks: [31, 30] },
    { name: "a child of a later wave stays in it", waves: [30, 10], order: order([1, 0]), ranks: [30, 10] },
    { name: "a chain", waves: [10, 10, 10], order: order([2, 1], [1, 0]), ranks: [12, 11, 10] },
    { name: "the later of two owners counts", waves: [0, 50, 20], order: order([1, 0], [2, 0]), ranks: [51, 50, 20] },
    {
      name: "an adopting owner waits for a child that is late",
      waves: [10, 20, 30],
      order: order([2, 0], [0, 1]),
      ranks: [31, 32, 30],
    },
    { name: "the same relation twice", waves: [10, 10], order: order([1, 0], [1, 0]), ranks: [11, 10] },
    { name: "its own owner", waves: [10], order: order([0, 0]), ranks: [10] },
    {
      name: "a cycle is cut at its lowest wave",
      waves: [30, 10, 20],
      order: order([0, 1], [1, 2], [2, 0]),
      ranks: [30, 10, 20],
    },
    {
      name: "what follows a cycle still follows it",
      waves: [0, 30, 30],
      order: order([1, 2], [2, 1], [2, 0]),
      ranks: [32, 30, 31],
    },
  ];
  for (const { name, waves, order, ranks: expected } of cases) {
    it(name, () => assert.deepEqual([...ranks(waves, order)], expected));
  }

  it("hold for any owners that are no cycle: nobody before its wave, nobody before whom it follows", () => {
    const forest = fc.array(fc.tuple(fc.nat(5), fc.option(fc.nat()), fc.option(fc.nat())), { maxLength: 60 });
    fc.assert(
      fc.property(forest, (items) => {
        const waves = items.map(([wave]) => wave * 10);
        const relations = items.flatMap(([, ...owners], late) =>
          owners.flatMap((owner) => (owner === null || late === 0 ? [] : [{ early: owner % late, late }])),
        );
        const result = ranks(waves, relations);
        for (const [item, wave] of waves.entries()) assert.ok(result[item]! >= wave);
        for (const { early, late } of relations) assert.ok(result[early]! < result[late]!);
      }),
    );
  });

  it("come to an end for any relations, in linear time", () => {
    const anything = fc.array(fc.record({ early: fc.nat(30), late: fc.nat(30) }), { maxLength: 200 });
    fc.assert(fc.property(anything, (relations) => ranks(new Array(31).fill(0), relations).length === 31));
    const ring = Array.from({ length: 100_000 }, (_, item) => ({ early: item, late: (item + 1) % 100_000 }));
    assert.equal(ranks(new Int32Array(100_000), ring)[99_999], 99_999);
  });
});
