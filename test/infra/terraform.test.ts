import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { runInNewContext } from "node:vm";
import { parseAllDocuments } from "yaml";
import { neededForCopies } from "../../core/check/copying.ts";
import { parseConfig } from "../../core/config.ts";
import { type ClockCloud, renderSchedules } from "../../core/schedule/render.ts";
import { requireOrSkip, sharedDir } from "../rig/require.ts";
import { type Block, blocksOf } from "./blocks.ts";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../..");
const INFRA = join(ROOT, "infra");
const PROVIDERS = join(ROOT, "node_modules/.cache/terraform-offline");

/** Each cloud's module, and the examples that use it. */
const CLOUDS = [
  { cloud: "aws", examples: ["aws-eks", "aws-existing"] },
  { cloud: "gcp", examples: ["gcp-gke"] },
  { cloud: "azure", examples: ["azure-aks", "azure-existing"] },
] as const;

/** Of each kind that is rendered in a way of its own. */
const CONFIG = `
location: file:///backups
clusters: {prod: {kubeconfig: "file:kubeconfig"}}
schedules:
  hourly: {schedule: "0 * * * *", cluster: prod}
  retention: {schedule: "30 2 1,15 * mon", cluster: prod}
  nightly: {schedule: "15 1 * * 7", timeZone: Europe/Berlin, cluster: prod, paused: true}
  often: {schedule: "@every 6h", cluster: prod}
retentionSchedule: "45 4 * * *"
verify: {schedule: "@daily"}
`;

describe("Terraform", { skip: requireOrSkip("terraform") }, () => {
  let dir: string;
  let env: NodeJS.ProcessEnv;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-terraform-"));
    await cp(INFRA, join(dir, "infra"), { recursive: true });
    const { stdout } = await run(join(sharedDir, "tools/terraform-offline/setup.sh"), [PROVIDERS]);
    const exports = [...stdout.matchAll(/^export (\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]);
    env = { ...process.env, ...Object.fromEntries(exports) };
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const terraform = (folder: string, ...args: string[]) =>
    run("terraform", [...args], { cwd: join(dir, "infra", folder), env, maxBuffer: 64 * 2 ** 20 }).catch((error) =>
      assert.fail(`terraform ${args.join(" ")} in ${folder}: ${error.stdout}${error.stderr}`),
    );

  test("finds every file formatted", async () => {
    await terraform(".", "fmt", "-check", "-recursive");
  });

  test("lets a fleet's functions on Google Cloud create in its clusters' folders what is theirs, and nothing beside", async () => {
    const tests = join(dir, "infra/modules/gcp/tests");
    await writeFile(join(tests, "package.zip"), "a zip");
    const [given] = (await readFile(join(tests, "module.tftest.hcl"), "utf8")).split(/^run /m);
    const fleet = 'run "fleet" {\ncommand = plan\nvariables {\nfleet = true\n}\n}\n';
    await writeFile(join(tests, "fleet.tftest.hcl"), given + fleet);
    await terraform("modules/gcp", "init", "-no-color");
    const { stdout } = await terraform("modules/gcp", "test", "-json", "-verbose", "-filter=tests/fleet.tftest.hcl");
    const lines = stdout.trim().split("\n");
    const plan = lines.map((line) => JSON.parse(line)).find(({ type }) => type === "test_plan").test_plan;
    const grants = plan.resource_changes.map(({ change }: { change: { after: Grant | null } }) => change.after);
    const may = (job: string, object: string) =>
      grants.some(
        (grant: Grant | null) =>
          grant?.role === "roles/storage.objectCreator" &&
          grant.member?.includes(`lifeboat-${job}@`) &&
          holds(grant.condition![0]!.expression, `projects/_/buckets/acme-backups/objects/${object}`),
      );
    const CREATED: [object: string, by: string][] = [
      ["prod/metadata/lifeboat/fleet/nightly/summary.json", "backup restore retention"],
      ["prod/a/metadata/lifeboat/locks/x/000001.json", "backup restore retention"],
      ["prod/a/restores/r/restore-r-logs.gz", "backup restore"],
      ["prod/a/backups/r-before/velero-backup.json", "backup restore"],
      ["prod/a/backups/r-before-8/velero-backup.json", "backup restore"],
      ["prod/a/backups/nightly/velero-backup.json", "backup"],
      ["prod/a/backups/nightly/metadata/x", "backup"],
      ["prod/a/backups/nightly/restores/x", "backup"],
      ["prod/a/backups/nightly/x-before/x", "backup"],
      ["prod/a/restic/x", "backup"],
      ["prod/restores/x", "backup"],
      ["prod2/metadata/x", ""],
      ["prod2/a/metadata/x", ""],
      ["prod-of-others/metadata/x", ""],
      ["other/a/restores/x", ""],
      ["other/a/backups/r-before/x", ""],
      ["other/projects/_/buckets/acme-backups/objects/prod/a/metadata/x", ""],
    ];
    for (const [object, by] of CREATED)
      assert.equal(["backup", "restore", "retention"].filter((job) => may(job, object)).join(" "), by, object);
  });

  for (const { cloud, examples } of CLOUDS) {
    for (const folder of [`modules/${cloud}`, ...examples.map((name) => `examples/${name}`)]) {
      test(`finds ${folder} valid, and its tests pass`, async () => {
        const tests = join(dir, "infra", folder, "tests");
        await writeFile(join(tests, "package.zip"), "a zip");
        if (folder.startsWith("modules/")) await writeRendered(tests, cloud);
        await terraform(folder, "init", "-no-color");
        await terraform(folder, "validate", "-no-color");
        const { stdout } = await terraform(folder, "test", "-no-color");
        assert.match(stdout, /Success! [1-9]\d* passed, 0 failed/);
      });
    }
  }
});

for (const { cloud } of CLOUDS) {
  describe(`the ${cloud} module's documentation`, () => {
    const module = join(INFRA, "modules", cloud);

    for (const kind of ["variable", "output"] as const) {
      test(`has every ${kind} in a table that is true`, async () => {
        const readme = await readFile(join(module, "README.md"), "utf8");
        assert(
          readme.includes(tableOf(kind, await blocksOf(module, kind))),
          `write:\n${tableOf(kind, await blocksOf(module, kind))}`,
        );
      });
    }
  });
}

describe("the rights in a cluster", () => {
  interface Rule {
    apiGroups: string[];
    resources: string[];
    verbs: string[];
  }
  const rulesOf = async (name: string): Promise<Rule[]> => {
    const documents = parseAllDocuments(await readFile(join(INFRA, "kubernetes", `${name}.yaml`), "utf8"));
    return documents.map((document) => document.toJS()).find(({ kind }) => kind === "ClusterRole").rules;
  };
  /** What a role may do: a line for each of its rules. */
  const rightsOf = async (name: string): Promise<string[]> =>
    (await rulesOf(name)).map(({ resources, verbs }) => [...resources, ...verbs].join(" "));

  test("of a backup are to list, and to get one Namespace", async () => {
    assert.deepEqual(await rightsOf("backup"), ["* list", "namespaces get"]);
  });

  test("of hooks are to run commands in Pods", async () => {
    assert.deepEqual(await rightsOf("hooks"), ["pods get", "pods/exec get create"]);
  });

  test("of CSI snapshots are to make and delete snapshots, and no more", async () => {
    assert.deepEqual(await rightsOf("csi"), [
      "persistentvolumeclaims persistentvolumes get",
      "volumesnapshotclasses list",
      "volumesnapshots volumesnapshotcontents list get create patch delete",
      "volumegroupsnapshotclasses list",
      "volumegroupsnapshots volumegroupsnapshotcontents list get create patch delete",
    ]);
  });

  test("of copies of files are to run Jobs, and to read no Secret", async () => {
    assert.deepEqual(await rightsOf("restic"), [
      "namespaces list",
      "persistentvolumeclaims persistentvolumes nodes get",
      "persistentvolumeclaims create delete",
      "persistentvolumes patch",
      "jobs list get create delete",
      "secrets create delete",
      "pods list delete",
      "pods/log get",
      "events list",
    ]);
  });

  for (const role of ["csi", "restic"] as const)
    test(`of ${role} are what \`location check\` asks for, all of it and no more`, async () => {
      const given = (await rulesOf(role)).flatMap(({ apiGroups, resources, verbs }) =>
        apiGroups.flatMap((group) => resources.flatMap((one) => verbs.map((verb) => `${verb} ${one}.${group}`))),
      );
      const asked = neededForCopies([role]).map(
        ({ verb, group, resource, subresource }) =>
          `${verb} ${subresource ? `${resource}/${subresource}` : resource}.${group}`,
      );
      assert.deepEqual([...new Set(given)].sort(), [...new Set(asked)].sort());
    });

  for (const name of ["backup", "hooks", "csi", "restic", "restore"]) {
    test(`of ${name} go to the group that the modules name`, async () => {
      const documents = parseAllDocuments(await readFile(join(INFRA, "kubernetes", `${name}.yaml`), "utf8"));
      const binding = documents.map((document) => document.toJS()).find(({ kind }) => kind === "ClusterRoleBinding");
      assert.deepEqual(
        [binding.subjects[0].kind, binding.subjects[0].name, binding.roleRef.name],
        ["Group", `lifeboat:${name}`, `lifeboat-${name}`],
      );
    });
  }
});

interface Grant {
  role?: string;
  member?: string;
  condition?: { expression: string }[];
}

/** Whether a condition of Google's IAM holds for a resource: of CEL what JavaScript means by the same text, and IAM's `extract`. */
function holds(expression: string, name: string): boolean {
  /** What stands after the template's beginning, where that first is, and before its end, where that is next; else nothing. */
  const extract = (template: string): string => {
    const [, before = "", after = ""] = /^(.*)\{\w+\}(.*)$/.exec(template) ?? [];
    const from = name.indexOf(before) + before.length;
    const to = after === "" ? name.length : name.indexOf(after, from);
    return !name.includes(before) || to < 0 ? "" : name.slice(from, to);
  };
  const startsWith = (text: string) => name.startsWith(text);
  return runInNewContext(expression, { resource: { name: { extract, startsWith } } });
}

/** Writes a test beside the module's own that plans the module with what `schedule render` prints. */
async function writeRendered(tests: string, cloud: ClockCloud): Promise<void> {
  const rendered = renderSchedules(parseConfig(CONFIG, {}).config, cloud);
  const variables = Object.entries(rendered).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
  const [given] = (await readFile(join(tests, "module.tftest.hcl"), "utf8")).split(/^run /m);
  const run = `run "takes_what_is_rendered" {\ncommand = plan\nvariables {\n${variables.join("\n")}\n}\n}\n`;
  await writeFile(join(tests, "rendered.tftest.hcl"), given + run);
}

function tableOf(kind: "variable" | "output", blocks: Block[]): string {
  const row = (...cells: string[]) => `| ${cells.join(" | ")} |`;
  if (kind === "output") {
    return ["| output | |", "|---|---|", ...blocks.map((one) => row(`\`${one.name}\``, one.description))].join("\n");
  }
  const given = (one: Block) => (one.default === undefined ? "**needed**" : `\`${one.default}\``);
  const rows = blocks.map((one) => row(`\`${one.name}\``, `\`${one.type}\``, given(one), one.description));
  return ["| variable | type | default | |", "|---|---|---|---|", ...rows].join("\n");
}
