import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { EXIT_CODES, type PlanDocument } from "../../core/index.ts";
import { type ModifierCase, modifierCases, rulesText } from "../core/modifier-cases.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { startVelero, VELERO } from "../rig/velero.ts";
import { document, lifeboat, type RestoreDocument } from "./lifeboat.ts";

const rig = requireOrSkip("rig", [...CONTROL_PLANE, ...VELERO]);

/** The golden cases, each in a namespace of its own, which all of its rules are limited to. */
const cases = modifierCases().filter(({ velero }) => !velero);
const namespaceOf = ({ name }: ModifierCase, prefix: string) => `${prefix}-${name.replaceAll(/[^a-z0-9]/g, "-")}`;
const mapping = (to: string) => Object.fromEntries(cases.map((one) => [namespaceOf(one, "src"), namespaceOf(one, to)]));
const rules = rulesText(
  cases.flatMap((one) =>
    one.rules.map((rule) => ({ ...rule, conditions: { ...rule.conditions, namespaces: [namespaceOf(one, "src")] } })),
  ),
);
const WIDGETS = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.example.com" },
  spec: {
    group: "example.com",
    names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList" },
    scope: "Namespaced",
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
      },
    ],
  },
};

describe("resource modifiers beside real Velero 1.18.3", { skip: rig }, () => {
  let cluster: Cluster;
  let s3: S3;
  let flags: string[];

  before(async () => {
    [cluster, s3] = await Promise.all([startCluster(), startS3()]);
    flags = ["--location", s3.location("shared"), "--kubeconfig", cluster.kubeconfigPath];
    const apply = (items: unknown[]) =>
      cluster.kubectl(["apply", "--server-side", "-f", "-"], {
        input: JSON.stringify({ apiVersion: "v1", kind: "List", items }),
      });
    const namespaces = cases.map((one) => ({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: namespaceOf(one, "src") },
    }));
    await apply([WIDGETS, { apiVersion: "v1", kind: "Namespace", metadata: { name: "velero" } }, ...namespaces]);
    await cluster.kubectl(["wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=30s"]);
    const objects = cases.map((one) => ({
      ...one.object,
      metadata: { ...one.object.metadata, namespace: namespaceOf(one, "src") },
    }));
    const modifiers = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "modifiers", namespace: "velero" } };
    await apply([...objects, { ...modifiers, data: { rules } }]);
    await document(
      ["backup", "create", "full", "--include-namespaces", "src-*", "--exclude-resources", "crd", ...flags],
      s3.env,
    );
  });
  after(async () => {
    await Promise.all([cluster?.stop(), s3?.stop()]);
  });

  it("make of every golden case's object what Velero makes of it", async () => {
    const velero = await startVelero(cluster, s3, "shared");
    try {
      await velero.waitForSyncedBackup("full");
      const restored = await velero.createRestore("theirs", {
        backupName: "full",
        namespaceMapping: mapping("theirs"),
        resourceModifier: { kind: "configmap", name: "modifiers" },
      });
      const told = cases.map((one) => one.veleroErrors ?? one.problems?.length ?? 0).reduce((a, b) => a + b);
      assert.equal(restored.status?.errors ?? 0, told, await velero.cli(["restore", "describe", "theirs"]));
    } finally {
      await velero.stop();
    }
    const mappings = Object.entries(mapping("ours"))
      .map((pair) => pair.join(":"))
      .join();
    const create = <Document = RestoreDocument>(name: string, policy: string, more: string[] = []) =>
      document<Document>(
        [
          "restore",
          "create",
          name,
          "--from-backup",
          "full",
          "--namespace-mappings",
          mappings,
          "--existing-resource-policy",
          policy,
          "--resource-modifier-configmap",
          "modifiers",
          ...more,
          ...flags,
        ],
        s3.env,
        EXIT_CODES.partial,
      );
    const ours = await create("ours", "none");
    const problems = cases.flatMap((one) => (one.problems ?? []).map(() => namespaceOf(one, "ours")));
    assert.deepEqual(
      (ours.errors as { namespace: string }[]).map(({ namespace }) => namespace).sort(),
      problems.sort(),
    );
    for (const one of cases) {
      const [mine, theirs] = await Promise.all([read(cluster, one, "ours"), read(cluster, one, "theirs")]);
      assert.deepEqual(mine, theirs, one.name);
    }
    const again = await create("again", "update");
    const { created, updated } = again.counts;
    assert.deepEqual({ created, updated }, { created: 0, updated: 0 });
    assert.deepEqual(again.errors, ours.errors);
    const plan = await create<PlanDocument>("planned", "update", ["--dry-run"]);
    assert.deepEqual([plan.counts.create, plan.counts.update, plan.errors.length], [0, 0, problems.length]);
    assert.equal(plan.spec.resourceModifierRules, rules, "a plan keeps the rules, since the ConfigMap may change");
  });

  it("are checked before anything is written: file, ConfigMap, line and path are named", async () => {
    const dir = await mkdtemp(join(tmpdir(), "lifeboat-modifiers-"));
    try {
      const file = join(dir, "rules.yaml");
      await writeFile(file, rules.replace("operation: replace", "operation: Replace"));
      const broken = ["restore", "create", "broken", "--from-backup", "full", ...flags];
      const byFile = await lifeboat([...broken, "--resource-modifier-file", file], s3.env);
      assert.equal(byFile.code, EXIT_CODES.invalid);
      assert.match(
        byFile.stderr,
        /rules\.yaml, line \d+: resourceModifierRules\[\d+\]\.patches\[\d+\]\.operation: is "Replace"/,
      );
      const byName = await lifeboat([...broken, "--resource-modifier-configmap", "none"], s3.env);
      assert.equal(byName.code, EXIT_CODES.invalid);
      assert.match(byName.stderr, /ConfigMap velero\/none/);
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});

/** The case's object in the cluster, without what the server and the restores write. */
async function read(cluster: Cluster, one: ModifierCase, prefix: string): Promise<unknown> {
  const { kind, metadata } = one.object;
  const json = await cluster.kubectl(["get", kind!, metadata.name, "-n", namespaceOf(one, prefix), "-o", "json"]);
  const { status: _, ...object } = JSON.parse(json);
  const { uid, resourceVersion, generation, creationTimestamp, managedFields, namespace, ...kept } = object.metadata;
  for (const label of ["velero.io/backup-name", "velero.io/restore-name"]) delete kept.labels?.[label];
  for (const field of ["clusterIP", "clusterIPs"]) delete object.spec?.[field];
  return { ...object, metadata: kept };
}
