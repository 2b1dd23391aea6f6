import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { archiveOf, restored, sample, shop } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const { change, kube } = restoreTarget();

describe("what is selected", () => {
  const items = [
    ...shop,
    sample("v1", "Namespace", "empty"),
    sample("scheduling.k8s.io/v1", "PriorityClass", "high", { value: 1 }),
    sample("scheduling.k8s.io/v1", "PriorityClass", "unused", { value: 2 }),
    sample("v1", "PersistentVolume", "pv", {
      spec: { persistentVolumeReclaimPolicy: "Retain", claimRef: { namespace: "data", name: "claim" } },
      status: { phase: "Bound" },
    }),
    sample("v1", "PersistentVolumeClaim", "data/claim", { spec: { volumeName: "pv" } }),
    sample("v1", "Pod", "data/db", {
      metadata: { labels: { app: "db" } } as unknown as KubernetesObject["metadata"],
      spec: { priorityClassName: "high", volumes: [{ name: "d", persistentVolumeClaim: { claimName: "claim" } }] },
    }),
  ];
  const cases: [what: string, spec: object, created: string[]][] = [
    [
      "one namespace, with what it can't be without",
      { includedNamespaces: ["data"] },
      [
        "namespaces data",
        "persistentvolumeclaims data/claim",
        "persistentvolumes pv",
        "pods data/db",
        "priorityclasses.scheduling.k8s.io high",
      ],
    ],
    [
      "what a label selects, with what it can't be without",
      { labelSelector: { matchLabels: { app: "db" } } },
      [
        "namespaces data",
        "persistentvolumeclaims data/claim",
        "persistentvolumes pv",
        "pods data/db",
        "priorityclasses.scheduling.k8s.io high",
      ],
    ],
    [
      "what one of several selectors selects",
      { orLabelSelectors: [{ matchLabels: { app: "nothing" } }, { matchLabels: { app: "db" } }] },
      [
        "namespaces data",
        "persistentvolumeclaims data/claim",
        "persistentvolumes pv",
        "pods data/db",
        "priorityclasses.scheduling.k8s.io high",
      ],
    ],
    [
      "single objects, named as kubectl does",
      { includedItems: ["data/po/db", "priorityclass/unused"] },
      [
        "namespaces data",
        "persistentvolumeclaims data/claim",
        "persistentvolumes pv",
        "pods data/db",
        "priorityclasses.scheduling.k8s.io high",
        "priorityclasses.scheduling.k8s.io unused",
      ],
    ],
    [
      "no cluster-scoped objects",
      { includedNamespaces: ["data"], includeClusterResources: false },
      ["namespaces data", "persistentvolumeclaims data/claim", "pods data/db"],
    ],
    [
      "custom resources, with their definition",
      { includedResources: ["Widget"] },
      [
        "customresourcedefinitions.apiextensions.k8s.io widgets.example.com",
        "namespaces shop",
        "widgets.example.com shop/w",
      ],
    ],
    [
      "resources by short name, namespaces by glob",
      { includedNamespaces: ["sh*"], includedResources: ["cm", "svc"] },
      ["configmaps shop/settings", "namespaces shop", "services shop/web"],
    ],
    [
      "cluster-scoped objects in spite of excluded namespaces",
      { excludedNamespaces: ["shop", "data"] },
      [
        "customresourcedefinitions.apiextensions.k8s.io widgets.example.com",
        "namespaces empty",
        "persistentvolumes pv",
        "priorityclasses.scheduling.k8s.io high",
        "priorityclasses.scheduling.k8s.io unused",
      ],
    ],
    [
      "nothing that is only skipped, not even its namespace",
      { includedNamespaces: ["shop"], includedResources: ["configmaps"], labelSelector: { matchLabels: { a: "b" } } },
      [],
    ],
  ];
  for (const [what, spec, created] of cases) {
    it(what, async () => {
      const { lines } = await restored(kube, await archiveOf(items), spec);
      const made = lines
        .filter((line) => line.startsWith("created "))
        .map((line) => line.split(" ").slice(1, 3).join(" ").replace(/:$/, ""));
      assert.deepEqual(made.sort(), created);
    });
  }

  it("and only needed is neither changed nor warned about where it exists", async () => {
    const archive = await archiveOf(items);
    await restored(kube, archive, { includedNamespaces: ["data"] });
    await change("PATCH", "/apis/scheduling.k8s.io/v1/priorityclasses/high", { value: 9 });
    const { result } = await restored(kube, archive, {
      includedNamespaces: ["data"],
      existingResourcePolicy: "update",
    });
    assert.deepEqual([kube.writes, result.problems.warnings], [[], []]);
  });

  it("tells of what the filters name and the backup doesn't hold", async () => {
    const archive = await archiveOf(items);
    const problems = async (spec: object) => {
      const { warnings, errors } = (await restored(kube, archive, spec)).result.problems;
      return { warnings: warnings.map(({ message }) => message), errors: errors.map(({ message }) => message) };
    };
    const none = { includedNamespaces: ["shop", "da*"], includedResources: ["cm", "Widget"] };
    assert.deepEqual(await problems(none), { warnings: [], errors: [] });
    const includes = { includedNamespaces: ["shop", "shopp", "x*"], includedResources: ["cm", "confmaps", "*.io"] };
    assert.deepEqual(await problems(includes), {
      warnings: [],
      errors: [
        'includedNamespaces: the backup doesn\'t hold "shopp", did you mean shop?',
        'includedNamespaces: the backup doesn\'t hold "x*"',
        'includedResources: the backup doesn\'t hold "confmaps", did you mean configmaps?',
      ],
    });
    const excludes = { excludedNamespaces: ["shpo"], excludedResources: ["secrtes", "pvc", "pv"] };
    assert.deepEqual((await problems(excludes)).warnings, [
      'excludedNamespaces: the backup doesn\'t hold "shpo"',
      'excludedResources: the backup doesn\'t hold "secrtes", did you mean secrets?',
    ]);
    assert.deepEqual((await problems({ labelSelector: { matchLabels: { no: "one" } } })).warnings, [
      "the backup holds nothing that the filters select: nothing is restored",
    ]);
  });

  it("refuses to map a namespace that the backup doesn't hold, before anything is written", async () => {
    const mapping = { namespaceMapping: { shopp: "copy" } };
    await assert.rejects(restored(kube, await archiveOf(items), mapping), {
      kind: "invalid",
      message: /doesn't hold a namespace "shopp"/,
      hint: "it holds shop, data, empty",
    });
    assert.deepEqual(kube.writes, []);
  });

  it("refuses specs that make no sense", async () => {
    const archive = await archiveOf([]);
    for (const [spec, message] of [
      [{ includedResources: ["nodes"] }, /nodes are never restored/],
      [{ includedNamespaces: ["a"], excludedNamespaces: ["a"] }, /both/],
      [{ existingResourcePolicy: "replace" as "none" }, /existingResourcePolicy is "replace"/],
      [{ namespaceMapping: { a: "B" } }, /can't be a namespace's name/],
      [{ namespaceMapping: { a: "a" } }, /maps "a" to itself/],
      [{ labelSelector: {}, orLabelSelectors: [{ matchLabels: { a: "b" } }] }, /can't be given together/],
      [{ includedItems: ["shop"] }, /"shop" names no object/],
    ] as const) {
      await assert.rejects(restored(kube, archive, spec as object), { kind: "invalid", message });
    }
  });
});
