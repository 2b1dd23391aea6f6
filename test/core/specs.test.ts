import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { z } from "zod";
import { fieldProblems, problemText } from "../../core/fields.ts";
import { backupSpecSchema, leftOut, restoreSpecSchema } from "../../core/specs.ts";

function problems(schema: z.ZodType, spec: unknown): string[] {
  const parsed = schema.safeParse(spec);
  return parsed.success ? [] : fieldProblems(parsed.error).map(problemText);
}

/** As Velero itself writes a BackupSpec that asks for nothing special. */
const VELEROS = {
  metadata: {},
  includedNamespaces: ["*"],
  ttl: "0s",
  hooks: {},
  storageLocation: "default",
  volumeSnapshotLocations: ["default"],
  snapshotVolumes: false,
  defaultVolumesToFsBackup: false,
  snapshotMoveData: false,
  csiSnapshotTimeout: "10m0s",
  itemOperationTimeout: "4h0m0s",
  orLabelSelectors: null,
};

it("a RestoreSpec's mappings must make sense", () => {
  const told = problems(restoreSpecSchema, { backupName: "b", domainMapping: { "a.example": "a.example" } });
  assert.deepEqual(told, ['domainMapping: maps "a.example" to "a.example": that is the same']);
});

describe("a BackupSpec", () => {
  it("keeps what is carried out and leaves out what changes nothing", () => {
    assert.deepEqual(backupSpecSchema.parse(VELEROS), {
      includedNamespaces: ["*"],
      snapshotVolumes: false,
      defaultVolumesToFsBackup: false,
      snapshotMoveData: false,
      csiSnapshotTimeout: "10m0s",
      itemOperationTimeout: "4h0m0s",
    });
    assert.deepEqual(leftOut("backup", VELEROS), ["storageLocation", "volumeSnapshotLocations"]);
    assert.deepEqual(leftOut("backup", { uploaderConfig: { parallelFilesUpload: 4 } }), ["uploaderConfig"]);
    assert.deepEqual(backupSpecSchema.parse({ ttl: "720h0m0s" }), { ttl: "720h0m0s" });
    const exec = { container: "c", command: ["sync"], onError: "Continue", timeout: "1m" };
    const hooks = { resources: [{ name: "a", includedResources: ["pods"], pre: [{ exec }], post: [] }] };
    assert.deepEqual(backupSpecSchema.parse({ hooks }), { hooks });
  });

  const volumes: [given: object, kept: object][] = [
    [{ snapshotVolumes: null, defaultVolumesToFsBackup: null, snapshotMoveData: null }, {}],
    [{ snapshotVolumes: true }, { snapshotVolumes: true }],
    [{ snapshotMoveData: true, datamover: "velero" }, { snapshotMoveData: true }],
    [{ defaultVolumesToRestic: true }, { defaultVolumesToFsBackup: true }],
    [{ defaultVolumesToRestic: true, defaultVolumesToFsBackup: false }, { defaultVolumesToFsBackup: false }],
    [{ csiSnapshotTimeout: "0s", itemOperationTimeout: "1h" }, { itemOperationTimeout: "1h" }],
    [{ uploaderConfig: { parallelFilesUpload: 10 }, volumeSnapshotLocations: ["aws"] }, {}],
  ];
  for (const [given, kept] of volumes) {
    it(`says of volumes ${JSON.stringify(given)}`, () => {
      assert.deepEqual(backupSpecSchema.parse(given), kept);
      assert.deepEqual(backupSpecSchema.parse(kept), kept);
    });
  }

  const refused: [spec: object, told: string[]][] = [
    [{ hooks: { resources: [{}] } }, ["hooks.resources.0.name: is missing"]],
    [
      { hooks: { resources: [{ name: "a", posts: [] }] } },
      ['hooks.resources.0: unknown field "posts": did you mean post?'],
    ],
    [{ hooks: { resources: [{ name: "a", pre: [{}] }] } }, ["hooks.resources.0.pre.0.exec: is missing"]],
    [
      { hooks: { resources: [{ name: "a", post: [{ exec: { command: ["c"], timeout: "10" } }] }] } },
      ['hooks.resources.0.post.0.exec.timeout: should be a duration like "30s" or "5m"'],
    ],
    [
      { hooks: { resources: [{ name: "a", includedResources: ["pods", "*"] }] } },
      ['hooks.resources.0.includedResources: "*" stands for all and must be the only entry'],
    ],
    [
      { labelSelector: { matchLabels: { a: "b" } }, orLabelSelectors: [{ matchLabels: { a: "b" } }] },
      ["orLabelSelectors: labelSelector and orLabelSelectors can't be given together"],
    ],
    [
      { includedClusterScopedResources: ["*", "nodes"] },
      ['includedClusterScopedResources: "*" stands for all and must be the only entry'],
    ],
    [
      { includedResources: ["pods"], includedNamespaceScopedResources: ["pods"] },
      ["includedResources: the filters of both scopes can't be given with those of one"],
    ],
    [{ snapshotVolumes: "yes" }, ["snapshotVolumes: should be true or false, not a text"]],
    [{ csiSnapshotTimeout: "10" }, ['csiSnapshotTimeout: should be a duration like "30s" or "5m"']],
    [{ snapshotMoveData: "no" }, ["snapshotMoveData: should be true or false, not a text"]],
    [{ resourcePolicy: { kind: "secret", name: "a" } }, ["resourcePolicy.kind: is configmap"]],
    [
      { resourcePolicyRules: "version: v1\nvolumePolicies: [{ action: { type: copy } }]" },
      ["resourcePolicyRules: volumePolicies.0.action.type: should be one of skip, snapshot, fs-backup, custom"],
    ],
    [{ TTL: "1h" }, ['unknown field "TTL": did you mean ttl?']],
    [{ ttl: "30d" }, ['ttl: should be a duration like "720h" or "90m"']],
    [{ includedNamespaces: "a" }, ["includedNamespaces: should be a list, not a text"]],
    [{ includedNamespaces: ["a", "*"] }, ['includedNamespaces: "*" stands for all and must be the only entry']],
    [
      { includedResources: ["pods"], excludedResources: ["pods"] },
      ['includedResources: "pods" is both in includedResources and in excludedResources'],
    ],
    [{ labelSelector: { matchExpressions: [{ key: "a", operator: "In" }] } }, ["labelSelector: In for a needs values"]],
    [{ excludedNamespaces: ["*"] }, ['excludedNamespaces: "*" would exclude everything']],
    [{ labelSelector: { matchLabel: {} } }, ['labelSelector: unknown field "matchLabel": did you mean matchLabels?']],
  ];
  for (const [spec, told] of refused) {
    it(`refuses ${JSON.stringify(spec)}`, () => assert.deepEqual(problems(backupSpecSchema, spec), told));
  }

  it("has a JSON schema that names its fields, for the HTTP API's description", () => {
    const { properties, additionalProperties } = z.toJSONSchema(backupSpecSchema, { io: "input" });
    assert.equal(additionalProperties, false);
    assert.ok(properties?.includedNamespaces && properties.snapshotVolumes);
  });
});

describe("a RestoreSpec", () => {
  it("names a backup or a schedule", () => {
    const spec = { namespaceMapping: { a: "b" }, existingResourcePolicy: "update", preserveNodePorts: true };
    for (const source of [{ backupName: "full" }, { scheduleName: "hourly" }]) {
      assert.deepEqual(restoreSpecSchema.parse({ ...spec, ...source, hooks: {}, itemOperationTimeout: "4h" }), {
        ...spec,
        ...source,
        hooks: {},
      });
    }
    for (const source of [{}, { backupName: "full", scheduleName: "hourly" }]) {
      assert.deepEqual(problems(restoreSpecSchema, { ...spec, ...source }), [
        "give one of backupName and scheduleName",
      ]);
    }
  });

  it("says whether and how volumes' data come back", () => {
    const given = {
      backupName: "b",
      restorePVs: false,
      uploaderConfig: { writeSparseFiles: true },
      zoneMapping: { a: "b" },
    };
    assert.deepEqual(restoreSpecSchema.parse(given), given);
    assert.deepEqual(restoreSpecSchema.parse({ backupName: "b", restorePVs: null, uploaderConfig: null }), {
      backupName: "b",
    });
  });

  it("has hooks whose selectors, containers and durations can be", () => {
    const hooks = (resource: object) =>
      problems(restoreSpecSchema, { backupName: "b", hooks: { resources: [resource] } });
    const command = ["true"];
    const whole = {
      name: "all",
      includedNamespaces: ["shop-*"],
      excludedNamespaces: ["shop-b"],
      includedResources: ["pods"],
      labelSelector: { matchLabels: { app: "db" } },
      postHooks: [
        {
          init: {
            initContainers: [{ name: "i", image: "x", command, env: [{ name: "A", value: "1" }] }],
            timeout: "1m",
          },
        },
        {
          exec: {
            container: "c",
            command,
            onError: "Fail",
            execTimeout: "5s",
            waitTimeout: "1h30m",
            waitForReady: null,
          },
        },
      ],
    };
    assert.deepEqual(hooks(whole), []);
    const cases: [object, string][] = [
      [{}, "hooks.resources.0.name: is missing"],
      [{ name: "a", includedNamespaces: ["A b"] }, "hooks.resources.0.includedNamespaces:"],
      [{ name: "a", includedNamespaces: ["a"], excludedNamespaces: ["a"] }, "hooks.resources.0.includedNamespaces:"],
      [{ name: "a", postHook: [] }, 'hooks.resources.0: unknown field "postHook": did you mean postHooks?'],
      [{ name: "a", postHooks: [{ exec: { command: [] } }] }, "hooks.resources.0.postHooks.0.exec.command:"],
      [
        { name: "a", postHooks: [{ exec: { command, onError: "Stop" } }] },
        "hooks.resources.0.postHooks.0.exec.onError:",
      ],
      [
        { name: "a", postHooks: [{ exec: { command, waitTimeout: "10" } }] },
        'hooks.resources.0.postHooks.0.exec.waitTimeout: should be a duration like "30s" or "5m"',
      ],
      [
        { name: "a", postHooks: [{ init: { initContainers: [{ name: "i", image: "x" }] } }] },
        "hooks.resources.0.postHooks.0.init.initContainers.0.command: is missing",
      ],
    ];
    for (const [resource, problem] of cases) {
      const [found = "", ...more] = hooks(resource);
      assert.ok(found.startsWith(problem) && more.length === 0, JSON.stringify([found, ...more]));
    }
  });

  it("refuses what makes no sense", () => {
    const cases: [object, string][] = [
      [{ namespaceMapping: { a: "a" } }, 'namespaceMapping: maps "a" to itself'],
      [{ namespaceMapping: { a: "B" } }, `namespaceMapping: maps "a" to "B", which can't be a namespace's name`],
      [
        { resourceModifier: { kind: "configmap", name: "a" }, resourceModifierRules: "version: v1" },
        "resourceModifier: give it or resourceModifierRules",
      ],
      [{ resourceModifier: { kind: "Secret", name: "a" } }, "resourceModifier.kind: is configmap"],
      [
        { labelSelector: {}, orLabelSelectors: [{ matchLabels: { a: "b" } }] },
        "orLabelSelectors: labelSelector and orLabelSelectors can't be given together",
      ],
      [{ includedItems: ["a/b/c/d"] }, 'includedItems: "a/b/c/d" names no object'],
      [{ scheduleName: "a" }, "give one of backupName and scheduleName"],
      [{ zoneMapping: { "eu-1a": "eu 1b" } }, `zoneMapping: maps "eu-1a" to "eu 1b": "eu 1b" can't be a zone's name`],
      [{ restorePVs: "no" }, "restorePVs: should be true or false, not a text"],
    ];
    for (const [spec, problem] of cases)
      assert.deepEqual(problems(restoreSpecSchema, { backupName: "full", ...spec }), [problem]);
    assert.deepEqual(problems(restoreSpecSchema, { backupName: "full", namespaceMapping: { a: "b", b: "a" } }), []);
  });

  it("refuses what would change the result", () => {
    const given = { backupName: "full", resourcePolicy: { kind: "configmap", name: "a" }, namespacemapping: {} };
    assert.deepEqual(problems(restoreSpecSchema, given), [
      "resourcePolicy: is not supported",
      'unknown field "namespacemapping": did you mean namespaceMapping?',
    ]);
  });
});
