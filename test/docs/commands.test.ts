import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { binary } from "../rig/binaries.ts";
import { requireOrSkip } from "../rig/require.ts";
import { commandsIn, findingsOf } from "./pages.ts";
import { commandsOf } from "./shell.ts";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../..");
const PAGES = globSync(["*.md", "docs/*.md", "infra/**/*.md"], { cwd: ROOT, exclude: ["**/.terraform/**"] }).sort();

const read = (path: string) => ({ path, text: readFileSync(join(ROOT, path), "utf8") });

/** What kubectl says against its arguments before it looks for a cluster; empty where nothing. */
const kubectlFault = async (args: string[]): Promise<string> => {
  const { stderr } = await run(await binary("kubectl"), [...args, "--help"]).catch((error) => error);
  return stderr;
};

describe("the documentation", () => {
  test("is found", () => {
    for (const page of ["README.md", "docs/aws.md", "infra/modules/aws/README.md"]) assert(PAGES.includes(page), page);
  });

  for (const path of PAGES) {
    test(`has only commands, paths and links that are true in ${path}`, async () => {
      assert.deepEqual(await findingsOf(read(path), ROOT), []);
    });
  }

  test("asks of kubectl only what it knows", { skip: requireOrSkip("rig", ["kubectl"]) }, async () => {
    const asked = PAGES.flatMap((path) => commandsIn(read(path))).filter(([program]) => program === "kubectl");
    assert(asked.length > 0);
    for (const [, ...args] of asked) assert.equal(await kubectlFault(args), "");
    assert.match(await kubectlFault(["get", "pods", "--everywhere"]), /unknown flag: --everywhere/);
    assert.match(await kubectlFault(["git", "pods"]), /unknown command/);
  });
});

/** What is written on a page, in a block of a shell unless it says otherwise, and what must be found wrong with it. */
const WRONG: readonly (readonly [string, RegExp])[] = [
  ["lifeboat backup create full --lokation ./backups", /unknown option '--lokation'/],
  ["lifeboat backup get --output csv", /csv/],
  ["lifeboat backup kreate full", /kreate/],
  ["lifeboat backup describe", /missing required argument/],
  ["lifeboat backup describe one two", /too many arguments/],
  ["echo x && npx lifeboat restore undo --now x", /--now/],
  ["lifeboat backup get | lifeboat backup got", /got/],
  ['eval "$(lifeboat complete bash)"', /complete/],
  ["kubctl get pods", /kubctl is no program/],
  ["cd infra/examples/aws-ecs", /no such folder/],
  ["cd ..", /no such folder/],
  ["terraform init", /no \*\.tf/],
  ["cd infra/examples/aws-eks\nterraform output -raw restore_uri", /no output restore_uri/],
  [
    "cd infra/examples/aws-eks\nterraform apply -var bucket=b -var cluster=c -var region=r -var zone=z",
    /no variable zone/,
  ],
  ["cd infra/examples/aws-eks\nterraform apply -var bucket=b", /lacks -var cluster/],
  ["kubectl apply -f infra/kubernetes/backups.yaml", /infra\/kubernetes\/backups\.yaml is not in/],
  ["cd infra\nkubectl apply -f infra/kubernetes/backup.yaml", /is not in infra/],
  ["node bench/costs.ts", /bench\/costs\.ts/],
  ["npm run bild", /no script bild/],
  ["npx lifebelt", /lifebelt/],
  ["npx --yes osls@3.0.0 deploy", /osls@3\.0\.0: osls@\S+ is what is tested/],
  ["npx --yes osls@4.3.1 deploy --param 'buckets=x'", /no such setting/],
  ["lifeboat backup describe NAME", /NAME is nowhere explained/],
  ["lifeboat backup describe '<name>'", /capitals/],
  ["lifeboat backup describe hourly-…", /dots/],
  ["lifeboat backup describe $newest", /\$newest is set nowhere/],
  ["lifeboat backup describe 'full", /no shell takes it/],
  ["`lifeboat backup verify --drills`", /no flag --drills/],
  ["`lifeboat restore redo NAME`", /no command redo/],
  ["`npm run bild`", /no script bild/],
  ["`core/restore/fix.ts`", /core\/restore\/fix\.ts/],
  ["`infra/examples/aws-eks`: `terraform output -raw url`", /no page's examples|none of the page's examples/],
  ["[restoring](restoring.md)", /restoring\.md is not there/],
  ["[undo](restore.md#undoing)", /no heading #undoing/],
];

/** What must pass. */
const RIGHT: readonly string[] = [
  "npx lifeboat backup create full --context blue \\\n  --location 's3://acme/blue?region=eu-west-1'",
  "lifeboat browse full -- kubectl get pods -A --anything",
  "lifeboat backup create --include-cluster-resources full",
  "lifeboat --version && lifeboat backup get --help",
  'cd infra/examples/aws-eks\nURL=$(terraform output -raw restore_url)\ncurl "$URL/v1/restores"\ncd ../../..\nls infra/kubernetes/*.yaml',
  "cat > lifeboat.yaml <<'EOF'\nlocation: ./NOWHERE\nunclosed '\nEOF\nlifeboat schedule get",
  "for name in a b; do lifeboat backup verify $name; done # NOT a placeholder",
  "`lifeboat completion bash\\|zsh\\|fish`, `restore undo NAME`, [undo](restore.md#undo)",
];

const pageOf = (text: string) => ({
  path: "docs/page.md",
  text: /^[`[]/.test(text) ? `${text}\n` : `# Page\n\n\`\`\`sh\n${text}\n\`\`\`\n`,
});

describe("the reader of the documentation", () => {
  for (const [text, wanted] of WRONG) {
    test(`finds what is wrong with ${JSON.stringify(text)}`, async () => {
      const reasons = (await findingsOf(pageOf(text), ROOT)).map(({ reason }) => reason);
      assert.match(reasons.join("\n"), wanted);
    });
  }

  for (const text of RIGHT) {
    test(`finds nothing wrong with ${JSON.stringify(text)}`, async () => {
      assert.deepEqual(await findingsOf(pageOf(text), ROOT), []);
    });
  }

  test("reads what is typed into a console, not what is answered, and takes a placeholder that is explained", async () => {
    const text =
      "```console\n$ lifeboat backup describe NAME\nlifeboat backup kreate\n$ lifeboat backup got\n```\n\nNAME: the backup's.";
    assert.deepEqual(await findingsOf({ path: "docs/page.md", text }, ROOT), [
      { at: "docs/page.md:4", reason: "lifeboat backup got: unknown command 'got'" },
    ]);
  });
});

test("a script is cut into its commands", () => {
  const script = `A=1 b 'c d' "e \\"$(f g | h)\\" i" > j 2>&1 && k \\\n  l # m\nfor n in o; do p $n; done\nq <<R\ns t\nR\nu`;
  assert.deepEqual(
    commandsOf(script).map(({ words, line }) => [line, ...words]),
    [
      [1, "f", "g"],
      [1, "h"],
      [1, "A=1", "b", "c d", 'e "$(f g | h)" i'],
      [1, "k", "l"],
      [3, "for", "n", "in", "o"],
      [3, "p", "$n"],
      [4, "q"],
      [7, "u"],
    ],
  );
});
