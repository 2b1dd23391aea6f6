import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { lifeboat } from "../e2e/lifeboat.ts";
import { makeScratch, type Scratch } from "./cli-sample.ts";

const run = promisify(execFile);

/** What the line so far is completed with, in bash. Its last word is the one to complete. */
const COMPLETIONS: [string, string][] = [
  ["lifeboat ", "backup browse restore schedule fleet retention location serve demo completion"],
  ["lifeboat ba", "backup"],
  ["lifeboat backup ", "create get describe show diff search history logs download verify pin unpin copy delete"],
  ["lifeboat --location ./x restore ", "create activate undo get describe logs"],
  [
    "lifeboat backup create full --incl",
    "--include-namespaces --include-resources --include-cluster-resources --include-cluster-scoped-resources --include-namespace-scoped-resources",
  ],
  ["lifeboat backup get -o ", "table json yaml"],
  ["lifeboat restore create --existing-resource-policy u", "update"],
  ["lifeboat backup download x -o back", "backup.kubeconfig"],
  ["lifeboat schedule ", "get next render run pause unpause"],
  ["lifeboat schedule get --config back", "backup.kubeconfig"],
  ["lifeboat completion ", "bash zsh fish"],
  ["lifeboat backup create ", ""],
];

describe("completion", () => {
  let scratch: Scratch;
  let script: string;

  before(async () => {
    scratch = await makeScratch();
    await scratch.write("backup.kubeconfig", "");
    const { code, stdout } = await lifeboat(["completion", "bash"]);
    assert.equal(code, 0);
    script = await scratch.write("completion.bash", stdout);
  });
  after(() => scratch?.remove());

  it("bash completes nouns, verbs, flags, their values and files", async () => {
    const lines = COMPLETIONS.map(
      ([line]) =>
        `complete_line ${line
          .split(" ")
          .map((word) => `'${word}'`)
          .join(" ")}`,
    );
    const harness = `
      source "${script}"
      complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _lifeboat; echo "\${COMPREPLY[*]}"; }
      ${lines.join("\n")}`;
    const { stdout } = await run("bash", ["--norc", "-c", harness], { cwd: scratch.dir });
    assert.deepEqual(
      stdout.trimEnd().split("\n").concat("").slice(0, COMPLETIONS.length),
      COMPLETIONS.map(([, words]) => words),
    );
  });

  it("every shell gets a script; an unknown one is an error", async () => {
    for (const shell of ["zsh", "fish"]) {
      const { code, stdout } = await lifeboat(["completion", shell]);
      assert.equal(code, 0);
      assert.match(stdout, /include-namespaces/);
    }
    assert.equal((await lifeboat(["completion", "cmd"])).code, 2);
  });
});

describe("help", { concurrency: true }, () => {
  for (const command of [
    "",
    "backup",
    "backup create",
    "backup download",
    "restore",
    "restore create",
    "schedule",
    "schedule get",
    "schedule next",
    "schedule render",
    "schedule run",
    "schedule pause",
    "retention",
    "retention preview",
    "retention run",
    "location",
    "location check",
    "backup pin",
    "backup verify",
    "backup copy",
    "demo",
    "browse",
    "completion",
  ]) {
    it(`lifeboat ${command} --help fits in 80 columns and, where there is something to run, shows examples`, async () => {
      const { code, stdout, stderr } = await lifeboat([...command.split(" ").filter(Boolean), "--help"]);
      assert.equal(code, 0);
      assert.equal(stderr, "");
      assert.deepEqual(
        stdout.split("\n").filter((line) => line.length > 80),
        [],
      );
      if (!["backup", "restore", "schedule", "retention", "location"].includes(command))
        assert.match(stdout, /\nExamples:\n {2}/);
    });
  }

  it("a command without its verb prints its help on stderr, exit code 2", async () => {
    const { code, stdout, stderr } = await lifeboat(["backup"]);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /^Usage: lifeboat backup .*\n {2}delete <names\.\.\.>/s);
  });

  it("--version prints the package's version", async () => {
    const { default: manifest } = await import("../../package.json", { with: { type: "json" } });
    assert.equal((await lifeboat(["--version"])).stdout, `${manifest.version}\n`);
  });
});
