import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { backupScope, settledSpec, storedBy } from "../../core/backup/scope.ts";
import type { Backup } from "../../core/catalog.ts";
import { RUN } from "../../core/integrity/seal.ts";
import type { Resource } from "../../core/kube/resource.ts";
import { type BackupSpec, filtersOf } from "../../core/specs.ts";

const resource = (group: string, name: string, kind: string, namespaced: boolean): Resource => ({
  group,
  version: "v1",
  name,
  kind,
  singular: kind.toLowerCase(),
  shortNames: [],
  namespaced,
  verbs: [],
  preferred: true,
});
const RESOURCES = [
  resource("", "namespaces", "Namespace", false),
  resource("", "configmaps", "ConfigMap", true),
  resource("", "secrets", "Secret", true),
  resource("snapshot.storage.k8s.io", "volumesnapshots", "VolumeSnapshot", true),
  resource("storage.k8s.io", "storageclasses", "StorageClass", false),
];
const WEB = { app: "web" };
const OBJECTS = [
  { resource: "configmaps", namespace: "shop", name: "a", labels: WEB },
  { resource: "secrets", namespace: "shop", name: "b", labels: {} },
  { resource: "secrets", namespace: "other", name: "c", labels: WEB },
  { resource: "volumesnapshots.snapshot.storage.k8s.io", namespace: "shop", name: "d", labels: WEB },
  { resource: "storageclasses.storage.k8s.io", namespace: "", name: "e", labels: WEB },
];

/** The names of what a stored backup would have held, made by Lifeboat or by Velero. */
function held(spec: BackupSpec, by: "lifeboat" | "velero"): string {
  const annotations = by === "lifeboat" ? { [RUN]: "1" } : undefined;
  const record = { metadata: { name: "b", annotations }, spec: settledSpec(spec, []) } as unknown as Backup;
  const stored = storedBy(filtersOf(record), RESOURCES);
  return OBJECTS.filter(stored)
    .map(({ name }) => name)
    .join("");
}

const rules = (text: string) => ({ resourcePolicyRules: `version: v1\n${text}` });

describe("what a stored backup would have held, which prunes and comparisons ask", () => {
  const cases: [spec: BackupSpec, lifeboat: string, velero: string][] = [
    [{}, "abce", "abc"],
    [{ includeClusterResources: true }, "abce", "abce"],
    [{ excludedNamespaces: ["other"] }, "abe", "ab"],
    [{ excludedNamespaces: ["other"], excludedResources: ["secrets"] }, "ae", "a"],
    [{ includedNamespaces: ["shop"] }, "ab", "ab"],
    [{ includedNamespaceScopedResources: ["secrets"] }, "bc", "bc"],
    [{ includedClusterScopedResources: ["storageclasses"], excludedNamespaceScopedResources: ["*"] }, "e", "e"],
    [{ excludedClusterScopedResources: ["*"] }, "abc", "abc"],
    [{ labelSelector: { matchLabels: WEB } }, "ace", "ac"],
    [{ orLabelSelectors: [{ matchLabels: WEB }, { matchLabels: { none: "none" } }] }, "ace", "ac"],
    [{ labelSelector: {} }, "", ""],
    [rules("includeExcludePolicy: { excludedNamespaceScopedResources: [secrets] }"), "a", "a"],
    [rules("namespacedFilterPolicies: [{ namespaces: [sh*], resourceFilters: [{ kinds: [secrets] }] }]"), "bce", "bc"],
    [rules("clusterScopedFilterPolicy: { resourceFilters: [{ kinds: [storageclasses], names: [x*] }] }"), "abc", "abc"],
  ];
  for (const [spec, lifeboat, velero] of cases) {
    it(JSON.stringify(spec), () =>
      assert.deepEqual([held(spec, "lifeboat"), held(spec, "velero")], [lifeboat, velero]),
    );
  }

  it("can't be told of Velero's backups that were made with policies: their record doesn't hold them", () => {
    const spec: BackupSpec = { resourcePolicy: { kind: "configmap", name: "policies" } };
    assert.throws(() => held(spec, "velero"), { kind: "invalid" });
  });
});

describe("what a spec names and the cluster doesn't have", () => {
  const cases: [text: string, field: string, list: "included" | "excluded"][] = [
    ["includeExcludePolicy: { includedClusterScopedResources: [nope] }", "includedClusterScopedResources", "included"],
    [
      "includeExcludePolicy: { excludedNamespaceScopedResources: [nope] }",
      "excludedNamespaceScopedResources",
      "excluded",
    ],
    ["clusterScopedFilterPolicy: { resourceFilters: [{ kinds: [storageclasses, nope] }] }", "kinds", "included"],
    ["namespacedFilterPolicies: [{ namespaces: [a], resourceFilters: [{ kinds: [nope] }, {}] }]", "kinds", "included"],
  ];
  for (const [text, field, list] of cases) {
    it(`is told of resource policies too: ${text}`, () => {
      const told = backupScope(rules(text), RESOURCES).unmatched(["a"]);
      assert.deepEqual(told[list], [`resource policies, ${field}: the cluster has no resource "nope"`]);
      assert.deepEqual(told[list === "included" ? "excluded" : "included"], []);
    });
  }
});

describe("a spec as it is carried out and recorded", () => {
  it("excludes what carries the exclude label, and refuses to include it by its name", () => {
    assert.deepEqual(settledSpec({ excludedNamespaces: ["b"] }, ["a", "b"]).excludedNamespaces, ["b", "a"]);
    assert.throws(() => settledSpec({ includedNamespaces: ["a"] }, ["a"]), {
      kind: "invalid",
      message: /exclude-from/,
    });
    assert.doesNotThrow(() => settledSpec({ includedNamespaces: ["a*"] }, ["a"]));
  });
});
