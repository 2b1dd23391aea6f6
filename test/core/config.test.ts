import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parseConfig } from "../../core/config.ts";
import { isLifeboatError } from "../../core/errors.ts";
import { readBackupManifest } from "../../core/schedule/manifest.ts";

const BASE = `
location: file:///backups
clusters: { prod: { kubeconfig: "env:KUBECONFIG" } }
`;

/** What is told of a configuration that can't be used: one problem in the message, several in the hint. */
function problems(text: string | undefined, env: Record<string, string> = {}): string[] {
  try {
    parseConfig(text, env);
  } catch (error) {
    assert.ok(isLifeboatError(error, "invalid"), String(error));
    const [, one] = /^the configuration can't be used: (.*)$/s.exec(error.message) ?? [];
    if (one !== undefined) return [one];
    const told = (error.hint ?? "").split("\n");
    assert.equal(error.message, `the configuration has ${told.length} errors`);
    return told;
  }
  return [];
}

/** One schedule of a file that says of it just this. */
function schedule(yaml: string) {
  const { config } = parseConfig(`${BASE}schedules: { hourly: ${yaml} }`, {});
  return config.schedules.hourly!;
}

describe("the configuration", () => {
  it("is what the example says", async () => {
    const text = await readFile(join(import.meta.dirname, "../../lifeboat.example.yaml"), "utf8");
    const { config, warnings } = parseConfig(text, {});
    assert.deepEqual(warnings, []);
    assert.equal(config.location, "s3://acme-backups/velero?region=eu-west-1");
    assert.deepEqual([config.retentionSchedule, config.restoreTTL], ["CRON_TZ=Europe/Berlin 45 4 * * *", "2160h"]);
    assert.deepEqual(config.verify, { schedule: "CRON_TZ=Europe/Berlin 0 5 * * *", backups: "newest", sample: "5%" });
    assert.deepEqual(
      { ...config.clusters },
      {
        prod: { kubeconfig: "aws-sm://prod-kubeconfig" },
        staging: { eks: { name: "staging", region: "eu-west-1" } },
      },
    );
    assert.deepEqual(
      { ...config.schedules },
      {
        hourly: {
          name: "hourly",
          schedule: "0 */1 * * *",
          cluster: "prod",
          paused: false,
          skipImmediately: false,
          template: { includedNamespaces: ["*"] },
          retention: { keepLast: 24, daily: 7, weekly: 4, monthly: 12 },
        },
        nightly: {
          name: "nightly",
          schedule: "30 2 * * *",
          timeZone: "Europe/Berlin",
          cluster: "staging",
          paused: false,
          skipImmediately: true,
          labels: { team: "platform" },
          template: {
            ttl: "720h0m0s",
            excludedNamespaces: ["kube-system", "scratch-*"],
            excludedResources: ["events", "events.events.k8s.io"],
            labelSelector: {
              matchExpressions: [{ key: "app.kubernetes.io/managed-by", operator: "NotIn", values: ["ci"] }],
            },
          },
        },
        weekly: {
          name: "weekly",
          schedule: "CRON_TZ=Europe/Berlin 0 4 * * sun",
          cluster: "prod",
          paused: false,
          skipImmediately: false,
          template: { includedNamespaces: ["*"], ttl: "8760h0m0s" },
        },
      },
    );
  });

  it("holds names that came from outside and nothing else", () => {
    const { config } = parseConfig(BASE, {});
    assert.equal(config.clusters.constructor, undefined);
    assert.equal(config.schedules.constructor, undefined);
  });

  it("with retention has no ttl, so that no record tells Velero to delete, and says so", () => {
    const text = `${BASE}schedules: { a: { schedule: "@daily", retention: { daily: 7 }, template: { ttl: 24h } } }`;
    const { config, warnings } = parseConfig(text, {});
    assert.deepEqual(config.schedules.a?.template, {});
    assert.deepEqual(warnings, ["schedules.a.template.ttl: without effect: retention says what is kept"]);
  });

  it("gives a schedule the only cluster, and no other", () => {
    assert.equal(schedule('{ schedule: "@daily" }').cluster, "prod");
    const two = BASE.replace("prod:", "test: { kubeconfig: env:K }, prod:");
    assert.deepEqual(problems(`${two}schedules: { a: { schedule: "@daily" } }`), [
      "schedules.a.cluster: is missing, and the clusters are test, prod",
    ]);
  });

  const MISTAKES: [what: string, text: string, told: string[]][] = [
    ["nothing", "", ["location: is missing"]],
    ["comments only", "# nothing\n---\n", ["location: is missing"]],
    ["a list", "[]", ["document 1 is not a mapping"]],
    [
      "a line that is indented too far",
      "location: a\n b: c",
      ["line 2: not valid YAML: it is indented further than the line before it, which has a value already"],
    ],
    [
      "a line that is indented by less than its neighbours",
      "location: a\nclusters:\n  a: {}\n b: {}",
      ["line 4: not valid YAML: it is indented as no line before it, or a [ or { before it is not closed"],
    ],
    ["a line without a colon", "a: 1\nfoo\nb: 2", ['line 2: not valid YAML: it has no ": "']],
    ["two values in a line", "a: b: c", ['line 1: not valid YAML: there are two ": " in it: put the value in quotes']],
    ["a key that stands there twice", `${BASE}location: b`, ["line 4: not valid YAML: its key stands there twice"]],
    [
      "an alias of nothing",
      "# b\n---\nlocation: *hunter2secret",
      ["line 3: an alias (*name) names no anchor, or there are too many"],
    ],
    [
      "two configurations",
      `${BASE}---${BASE}`,
      ["document 2 is neither the configuration, which came before, nor a Velero Schedule"],
    ],
    ["a location that is none", "location: backups", ["location: the location is neither a URL nor a path"]],
    ["a location with a password", "location: s3://me:hunter2@b", ["location: the location holds a credential"]],
    ["an unknown field", `${BASE}cluster: {}`, ['unknown field "cluster": did you mean clusters?']],
    [
      "retention that keeps nothing",
      `${BASE}schedules: { a: { schedule: "@daily", retention: {} }, b: { schedule: "@daily", retention: { daily: 0 } } }`,
      ["a", "b"].map((name) => `schedules.${name}.retention: keeps nothing: give a rule a number above 0`),
    ],
    [
      "numbers that keep nothing",
      `${BASE}schedules: { a: { schedule: "@daily", retention: { keepLast: -1, daily: 1.5, weekly: many, yearly: 1e9 } } }`,
      [
        "schedules.a.retention.keepLast: should not be negative",
        "schedules.a.retention.daily: should be a whole number",
        "schedules.a.retention.weekly: should be a number, not a text",
        "schedules.a.retention.yearly: should be at most 100000",
      ],
    ],
    [
      "a rule that there is not",
      `${BASE}schedules: { a: { schedule: "@daily", retention: { dayly: 7, last: 3 } } }`,
      [
        'schedules.a.retention: unknown field "dayly": did you mean daily?',
        'schedules.a.retention: unknown field "last", known are keepLast, hourly, daily, weekly, monthly, yearly',
      ],
    ],
    [
      "verification without a clock that can be read, of a share that is none, or of others than there are",
      `${BASE}verify: { schedule: 0 25 * * *, sample: "5", backups: some }`,
      [
        'verify.schedule: "0 25 * * *" is not a schedule: the hour 25 is not within 0-23',
        "verify.backups: should be one of newest, all",
        "verify.sample: is no share: write it like 5%",
      ],
    ],
    [
      "fields of verification that are none",
      `${BASE}verify: { shedule: "@daily", drill: true }`,
      [
        'verify: unknown field "shedule": did you mean schedule?',
        'verify: unknown field "drill", known are schedule, backups, readData, sample',
      ],
    ],
    [
      "two shares to verify",
      `${BASE}verify: { readData: true, sample: 5% }`,
      ["verify.sample: goes in place of readData"],
    ],
    [
      "retention without a clock that can be read, and restores without a life",
      `${BASE}retentionSchedule: 61 * * * *\nrestoreTTL: 0s`,
      [
        'retentionSchedule: "61 * * * *" is not a schedule: the minute 61 is not within 0-59',
        'restoreTTL: "0s" would delete every restore: leave it out, and none is',
      ],
    ],
    [
      "a cluster of which nothing is said",
      "location: /x\nclusters:\n  prod:",
      ["clusters.prod: needs exactly one of kubeconfig, eks, gke, aks, and has none"],
    ],
    [
      "a name that is none",
      "location: /x\nclusters: { Prod: { kubeconfig: env:K } }",
      ["clusters.Prod: a name has lower-case letters, digits and inner '-', at most 63"],
    ],
    [
      "all at once",
      `${BASE}schedules: { a: { schedul: "@daily", retention: {}, template: { includeNamespaces: [x], ttl: 5 } }, b: { schedule: "61 * * * *", cluster: test, paused: maybe }, c: { schedule: "@hurly" } }`,
      [
        'schedules.b.cluster: there is no cluster "test", the clusters are prod',
        "schedules.a.schedule: is missing",
        "schedules.a.template.ttl: should be a text, not a number",
        'schedules.a.template: unknown field "includeNamespaces": did you mean includedNamespaces?',
        "schedules.a.retention: keeps nothing: give a rule a number above 0",
        'schedules.a: unknown field "schedul": did you mean schedule?',
        "schedules.b.paused: should be true or false, not a text",
        'schedules.c.schedule: "@hurly" is not a schedule: @hurly is unknown',
      ],
    ],
    [
      "a label that Kubernetes doesn't take",
      `${BASE}schedules: { a: { schedule: "@daily", labels: { team: a b } } }`,
      ["schedules.a.labels.team: is not a value that Kubernetes takes for a label"],
    ],
  ];
  for (const [what, text, told] of MISTAKES) {
    it(`refuses ${what}`, () => assert.deepEqual(problems(text), told));
  }

  it("never tells values", () => {
    const secret = "hunter2hunter2";
    const text = `location: ${secret}\nclusters: { a: { kubeconfig: [${secret}], eks: ${secret} } }\nschedules: { b: ${secret} }`;
    assert.ok(problems(text).length > 2);
    assert.doesNotMatch(problems(text).join(), /hunter2/);
  });

  const BROKEN = [
    "*hunter2secret",
    "location: *hunter2secret",
    "location: |hunter2secret\n  x",
    "location: !hunter2!secret x",
    'location: "\\hunter2secret"',
    "location: `hunter2secret`",
    'location: "a" hunter2secret',
    "location: {hunter2secret: ",
    "%YAML hunter2secret\n---\n",
    "} hunter2secret",
    "hunter2secret",
  ];
  for (const text of BROKEN) {
    it(`tells nothing of the broken ${JSON.stringify(text)}`, async () => {
      const warnings: string[] = [];
      const onWarning = (warning: Error) => void warnings.push(warning.message);
      process.on("warning", onWarning);
      const told = problems(text);
      await new Promise((warned) => setImmediate(warned));
      process.off("warning", onWarning);
      assert.ok(told.length > 0);
      assert.doesNotMatch([...told, ...warnings].join(), /hunter2/);
    });
  }
});

describe("the configuration from the environment", () => {
  it("needs no file", () => {
    const { config } = parseConfig(undefined, {
      LIFEBOAT_LOCATION: "gs://acme",
      LIFEBOAT_CLUSTERS_EU_PROD_GKE_PROJECT: "acme",
      LIFEBOAT_CLUSTERS_EU_PROD_GKE_LOCATION: "europe-west1",
      LIFEBOAT_CLUSTERS_EU_PROD_GKE_NAME: "prod",
      LIFEBOAT_SCHEDULES_EU_HOURLY_SCHEDULE: "0 * * * *",
      LIFEBOAT_SCHEDULES_EU_HOURLY_TIME_ZONE: "Europe/Berlin",
      LIFEBOAT_SCHEDULES_EU_HOURLY_SKIP_IMMEDIATELY: "true",
      LIFEBOAT_SCHEDULES_EU_HOURLY_LABELS: "team=platform,tier=1",
      LIFEBOAT_SCHEDULES_EU_HOURLY_TEMPLATE_TTL: "720h",
      LIFEBOAT_SCHEDULES_EU_HOURLY_TEMPLATE_EXCLUDED_NAMESPACES: "a, b",
      LIFEBOAT_SCHEDULES_EU_HOURLY_TEMPLATE_INCLUDE_CLUSTER_RESOURCES: "false",
      LIFEBOAT_SCHEDULES_EU_HOURLY_TEMPLATE_LABEL_SELECTOR_MATCH_LABELS: "app=web",
    });
    assert.equal(config.location, "gs://acme");
    assert.deepEqual(
      { ...config.clusters },
      {
        "eu-prod": { gke: { project: "acme", location: "europe-west1", name: "prod" } },
      },
    );
    assert.deepEqual(
      { ...config.schedules },
      {
        "eu-hourly": {
          name: "eu-hourly",
          schedule: "0 * * * *",
          timeZone: "Europe/Berlin",
          cluster: "eu-prod",
          paused: false,
          skipImmediately: true,
          labels: { team: "platform", tier: "1" },
          template: {
            excludedNamespaces: ["a", "b"],
            includeClusterResources: false,
            labelSelector: { matchLabels: { app: "web" } },
            ttl: "720h",
          },
        },
      },
    );
  });

  it("names the keys that sign and are trusted, as the file does", () => {
    const signing = { key: "env:KEY", publicKeys: ["file:a.pem", "env:B"] };
    const env = { LIFEBOAT_SIGNING_KEY: "env:KEY", LIFEBOAT_SIGNING_PUBLIC_KEYS: "file:a.pem,env:B" };
    assert.deepEqual(parseConfig(BASE, env).config.signing, signing);
    assert.deepEqual(parseConfig(`${BASE}signing: ${JSON.stringify(signing)}`, {}).config.signing, signing);
    assert.deepEqual(parseConfig(BASE, {}).config.signing, {});
  });

  it("gives retention and verification, too", () => {
    const { config } = parseConfig(`${BASE}schedules: { a: { schedule: "@daily" } }`, {
      LIFEBOAT_SCHEDULES_A_RETENTION_KEEP_LAST: "3",
      LIFEBOAT_SCHEDULES_A_RETENTION_DAILY: "7",
      LIFEBOAT_RETENTION_SCHEDULE: "@daily",
      LIFEBOAT_RESTORE_TTL: "720h",
      LIFEBOAT_VERIFY_SCHEDULE: "@weekly",
      LIFEBOAT_VERIFY_READ_DATA: "true",
    });
    assert.deepEqual(config.verify, { schedule: "@weekly", readData: true });
    assert.deepEqual(config.schedules.a?.retention, { keepLast: 3, daily: 7 });
    assert.deepEqual([config.retentionSchedule, config.restoreTTL], ["@daily", "720h"]);
  });

  it("wins over the file; what is empty, or not of the configuration, says nothing", () => {
    const { config } = parseConfig(`${BASE}schedules: { a: { schedule: "@daily", paused: true } }`, {
      LIFEBOAT_LOCATION: "",
      LIFEBOAT_SCHEDULES_A_PAUSED: "false",
      LIFEBOAT_CLUSTERS_PROD_CONTEXT: "admin",
      LIFEBOAT_DEBUG: "1",
      LIFEBOAT_TOKEN: "x",
      SCHEDULES_A_SCHEDULE: "x",
    });
    assert.equal(config.location, "file:///backups");
    assert.equal(config.schedules.a?.paused, false);
    assert.deepEqual(config.clusters.prod, { kubeconfig: "env:KUBECONFIG", context: "admin" });
  });

  it("leaves alone what platforms, Kubernetes and others call their own variables", async () => {
    const root = join(import.meta.dirname, "../..");
    const names = [
      "LIFEBOAT_SERVICE_HOST",
      "LIFEBOAT_PORT",
      "LIFEBOAT_PORT_8080_TCP_ADDR",
      "LIFEBOAT_IMAGE",
      "LIFEBOAT_VERSION",
    ];
    for (const folder of ["functions", "infra"])
      for (const file of await readdir(join(root, folder), { recursive: true }))
        if (/\.(ts|tf)$/.test(file))
          names.push(...((await readFile(join(root, folder, file), "utf8")).match(/LIFEBOAT_[A-Z_]+(?<!_)\b/g) ?? []));
    assert.ok(names.includes("LIFEBOAT_TASKS_QUEUE"));
    const told = problems(BASE, Object.fromEntries(names.map((name) => [name, "x"])));
    assert.deepEqual(
      told.filter((problem) => problem.includes("names nothing")),
      [],
    );
  });

  it("is told by its variables where it is wrong", () => {
    assert.deepEqual(
      problems(BASE, {
        LIFEBOAT_CLUSTERS_TEST_KUBECONFG: "env:K",
        LIFEBOAT_SCHEDULES_A_SCHEDULE: "@hurly",
        LIFEBOAT_SCHEDULES_A_PAUSED: "yes",
        LIFEBOAT_SCHEDULES_A_TEMPLATE_HOOKS: "{}",
        LIFEBOAT_LOCATION: "backups",
        LIFEBOAT_SIGNING_KEY: "-----BEGIN PRIVATE KEY-----",
        LIFEBOAT_SIGNING_PUBLIC_KEY: "env:B",
        LIFEBOAT_LOCTION: "/backups",
        LIFEBOAT_CLUSTER_PROD_KUBECONFIG: "env:K",
        LIFEBOAT_SCHEDULES: "hourly",
        LIFEBOAT_CONFG: "lifeboat.yaml",
      }),
      [
        "LIFEBOAT_CLUSTERS_TEST_KUBECONFG names nothing of the configuration: did you mean LIFEBOAT_CLUSTERS_TEST_KUBECONFIG?",
        "LIFEBOAT_SCHEDULES_A_TEMPLATE_HOOKS: schedules.a.template.hooks is no text: only the configuration's file can say it",
        "LIFEBOAT_SIGNING_PUBLIC_KEY names nothing of the configuration: did you mean LIFEBOAT_SIGNING_PUBLIC_KEYS?",
        "LIFEBOAT_CLUSTER_PROD_KUBECONFIG names nothing of the configuration: did you mean LIFEBOAT_CLUSTERS_PROD_KUBECONFIG?",
        "LIFEBOAT_CONFG names nothing of the configuration: did you mean LIFEBOAT_CONFIG?",
        "LIFEBOAT_LOCTION names nothing of the configuration: did you mean LIFEBOAT_LOCATION?",
        "LIFEBOAT_SCHEDULES names nothing of the configuration: did you mean LIFEBOAT_SCHEDULES_<NAME>_…?",
        "LIFEBOAT_LOCATION: the location is neither a URL nor a path",
        "LIFEBOAT_SCHEDULES_A_PAUSED: should be true or false, not a text",
        "LIFEBOAT_SIGNING_KEY: is no reference: write file:/path/to/key.pem or env:NAME, or a secret's: aws-sm://…, gcp-sm://… or azure-kv://…",
      ],
    );
  });
});

describe("Velero's manifests", () => {
  const MANIFEST = `
apiVersion: velero.io/v1
kind: Schedule
metadata: { name: nightly, namespace: velero, creationTimestamp: null, uid: x, labels: { app: velero } }
spec:
  schedule: 0 3 * * *
  paused: true
  skipImmediately: true
  useOwnerReferencesInBackup: false
  template:
    metadata: {}
    storageLocation: default
    excludedNamespaces: [kube-system]
    hooks: {}
    includedNamespaces: ["*"]
    labelSelector: null
    ttl: 0s
status: { phase: Enabled }
`;

  it("a Schedule is taken as it is; what has no effect is told", () => {
    const { config, warnings } = parseConfig(`${BASE}---${MANIFEST}`, {});
    assert.deepEqual(config.schedules.nightly, {
      name: "nightly",
      schedule: "0 3 * * *",
      cluster: "prod",
      paused: true,
      skipImmediately: true,
      labels: { app: "velero" },
      template: { includedNamespaces: ["*"], excludedNamespaces: ["kube-system"] },
    });
    assert.deepEqual(warnings, ["schedules.nightly.template: without effect here: storageLocation"]);
  });

  it("a Schedule's hooks are carried out", () => {
    const hooks = { resources: [{ name: "a", pre: [{ exec: { command: ["sync"], timeout: "10s" } }] }] };
    const { config } = parseConfig(`${BASE}---${MANIFEST.replace("hooks: {}", `hooks: ${JSON.stringify(hooks)}`)}`, {});
    assert.deepEqual(config.schedules.nightly?.template?.hooks, hooks);
  });

  it("labels of the template go before those of the Schedule", () => {
    const { config, warnings } = parseConfig(
      `${BASE}---${MANIFEST.replace("metadata: {}", "metadata: { labels: { team: x } }")}`,
      {},
    );
    assert.deepEqual(config.schedules.nightly?.labels, { team: "x" });
    assert.deepEqual(warnings, ["schedules.nightly.template: without effect here: storageLocation"]);
  });

  it("Schedules of a List and the environment make a configuration together", () => {
    const items = MANIFEST.trim().replace(/^/gm, "    ").replace("    apiVersion", "  - apiVersion");
    const { config } = parseConfig(`apiVersion: v1\nkind: List\nitems:\n${items}`, {
      LIFEBOAT_LOCATION: "/backups",
      LIFEBOAT_CLUSTERS_A_KUBECONFIG: "env:K",
      LIFEBOAT_SCHEDULES_NIGHTLY_PAUSED: "false",
    });
    assert.equal(config.schedules.nightly?.cluster, "a");
    assert.equal(config.schedules.nightly?.paused, false);
  });

  const REFUSED: [what: string, yaml: string, told: string][] = [
    ["another kind", "\napiVersion: v1\nkind: Pod\nmetadata: { name: x }", "Pod x is no Velero Schedule"],
    [
      "an unknown field",
      MANIFEST.replace("paused:", "pause:"),
      'Schedule nightly: spec: unknown field "pause": did you mean paused?',
    ],
    [
      "another version",
      MANIFEST.replace("/v1", "/v2"),
      'Schedule nightly: apiVersion: Invalid input: expected "velero.io/v1"',
    ],
    ["a name that is there", `${MANIFEST}---${MANIFEST}`, "schedules.nightly stands there twice"],
    [
      "what can't be carried out",
      MANIFEST.replace("hooks: {}", "snapshotMoveData: true"),
      "schedules.nightly.template: snapshotMoveData copies the files of snapshots: the configuration has no volumes.restic, by which files are copied",
    ],
  ];
  for (const [what, yaml, told] of REFUSED) {
    it(`refuses ${what}`, () => assert.deepEqual(problems(`${BASE}---${yaml}`), [told]));
  }

  it("a Backup is taken as it is", () => {
    const backup = (spec: object) => ({ apiVersion: "velero.io/v1", kind: "Backup", metadata: { name: "full" }, spec });
    assert.deepEqual(
      readBackupManifest(backup({ includedNamespaces: ["shop"], storageLocation: "default", hooks: {} })),
      {
        name: "full",
        cluster: undefined,
        spec: { includedNamespaces: ["shop"] },
        warnings: ["spec: without effect here: storageLocation"],
      },
    );
    assert.throws(() => readBackupManifest(backup({ resourcePolicy: { kind: "secret", name: "a" }, ttl: "1d" })), {
      kind: "invalid",
      hint: 'spec.resourcePolicy.kind: is configmap\nspec.ttl: should be a duration like "720h" or "90m"',
    });
  });

  it("a Backup may name its cluster", () => {
    const metadata = { name: "full", annotations: { "lifeboat/cluster": "prod", other: "x" } };
    assert.deepEqual(readBackupManifest({ apiVersion: "velero.io/v1", kind: "Backup", metadata }), {
      name: "full",
      cluster: "prod",
      spec: {},
      warnings: [],
    });
  });
});
