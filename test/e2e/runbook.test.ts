import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, cpSync, globSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { parse, stringify } from "yaml";
import { nameTime } from "../../core/schedule/slots.ts";
import { consolesIn, type Typed } from "../docs/pages.ts";
import { binary } from "../rig/binaries.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { applyShop } from "../rig/shop.ts";
import { ENVIRONMENT, lifeboat, MAIN, start } from "./lifeboat.ts";

const PAGE = join(import.meta.dirname, "../../docs/runbook.md");
const CONSOLES = consolesIn({ path: "docs/runbook.md", text: readFileSync(PAGE, "utf8") });
/** The page's backups by what they are called here: after the last minutes, for a schedule's last one is overdue in time. */
const NAMES = Object.fromEntries(
  ["hourly-20261127020629", "hourly-20261127020634", "hourly-20261127021155"].map((name, at) => [
    name,
    `hourly-${nameTime(new Date(Date.now() - (3 - at) * 60_000))}`,
  ]),
);
const BACKUPS = Object.values(NAMES);
const [, DAMAGED = "", LATER = ""] = BACKUPS;
const FAILED = "hourly-20261127020903";
const PAGES = 400;

const run = promisify(execFile);

/** The runbook, typed as it stands there: two clusters, and the page's locations as folders. */
describe("the runbook", { skip: requireOrSkip("rig", WITH_CONTROLLERS) }, () => {
  let dir: string;
  let blue: Cluster;
  let green: Cluster;
  let env: Record<string, string>;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-runbook-"));
    [blue, green] = await Promise.all([startCluster({ controllers: true }), startCluster({ controllers: true })]);
    await applyShop(blue);
    env = {
      ...(ENVIRONMENT as Record<string, string>),
      ...(await programs()),
      KUBECONFIG: join(dir, "kubeconfig"),
      HOME: dir,
    };
    writeFileSync(env.KUBECONFIG!, kubeconfigOf({ blue, green }));
    for (const name of BACKUPS) {
      if (name === LATER) await fillWiki();
      const made = await lifeboat(
        ["backup", "create", name, "--context", "blue", "--labels", "velero.io/schedule-name=hourly"],
        { ...env, LIFEBOAT_LOCATION: join(dir, "base") },
      );
      assert.equal(made.code, 0, made.stderr);
    }
  });
  after(async () => {
    await Promise.all([blue?.stop(), green?.stop()]);
    await rm(dir, { recursive: true, force: true });
  });

  async function fillWiki(): Promise<void> {
    const items = Array.from({ length: PAGES }, (_, at) => ({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: `page-${at}`, namespace: "wiki" },
    }));
    await blue.kubectl(["create", "namespace", "wiki"]);
    await blue.kubectl(["create", "-f", "-"], { input: JSON.stringify({ apiVersion: "v1", kind: "List", items }) });
  }

  /** `lifeboat` and kubectl, to be found as a reader finds them. */
  async function programs(): Promise<{ PATH: string }> {
    const bin = join(dir, "bin");
    mkdirSync(bin);
    writeFileSync(join(bin, "lifeboat"), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
    chmodSync(join(bin, "lifeboat"), 0o755);
    symlinkSync(await binary("kubectl"), join(bin, "kubectl"));
    symlinkSync(process.execPath, join(bin, "node"));
    return { PATH: `${bin}:${process.env.PATH}` };
  }

  /** What is done in a working directory of its own, whose location holds the backups. */
  function desk(name: string, { later = false } = {}) {
    const cwd = join(dir, name);
    mkdirSync(cwd);
    const location = join(cwd, "prod");
    cpSync(join(dir, "base"), location, { recursive: true, filter: (path) => later || !path.includes(LATER) });
    const clusters = { blue: { kubeconfig: `file:${env.KUBECONFIG}`, context: "blue" } };
    const schedules = { hourly: { schedule: "0 */1 * * *", cluster: "blue" } };
    writeFileSync(join(cwd, "lifeboat.yaml"), stringify({ clusters, schedules }));
    return { cwd, location, env: { ...env, LIFEBOAT_LOCATION: location } };
  }

  /** Types all that stands below a heading; what the page calls by one name is here called by another. */
  async function follow(heading: string, at: ReturnType<typeof desk>, names: Record<string, string> = {}) {
    const here: Record<string, string> = {
      "s3://acme-backups/prod?region=eu-west-1": `file://${at.location}`,
      "s3://acme-vault/prod?region=us-east-1": `file://${at.cwd}/vault`,
      ...NAMES,
      ...names,
    };
    const consoles = CONSOLES.filter((one) => one.heading === heading);
    assert(consoles.length > 0, heading);
    for (const { typed } of consoles) {
      const script = typed.map(({ command }) => `${command}\nprintf '\\n@@%d\\n' $?`).join("\n");
      const translated = Object.entries(here).reduce((text, [from, to]) => text.replaceAll(from, to), script);
      const { stdout } = await run("bash", ["-c", `exec 2>&1\n${translated}`], { ...at, maxBuffer: 1 << 26 });
      const back = Object.entries(here).reduce((text, [from, to]) => text.replaceAll(to, from), stdout);
      const parts = back.split(/\n@@(\d+)\n/);
      for (const [index, one] of typed.entries()) compare(one, parts[2 * index] ?? "", Number(parts[2 * index + 1]));
    }
  }

  test("begins on any laptop", () => follow("First, on any laptop", desk("laptop")));

  test("brings a cluster that is gone back into another", () => follow("The cluster is gone", desk("cluster")));

  test("restores from a second copy where the account is gone", () => follow("The account is gone", desk("account")));

  test("needs no function", () => follow("The function is gone", desk("function")));

  test("brings back what was deleted", async () => {
    await blue.kubectl(["delete", "-n", "shop", "secret", "session"]);
    await blue.kubectl(["delete", "namespace", "shop-data"]);
    await follow("Something was deleted", desk("deleted"));
  });

  test("tells damaged backups from good ones", async () => {
    const at = desk("damaged");
    const archive = join(at.location, "backups", DAMAGED, `${DAMAGED}.tar.gz`);
    const bytes = readFileSync(archive);
    bytes[20_000] = bytes[20_000]! ^ 0xff;
    writeFileSync(archive, bytes);
    await follow("A backup is damaged", at);
  });

  test("finds out why there is no good backup", async () => {
    const at = desk("failing");
    const stranger = stringify({
      clusters: { blue: { kubeconfig: "env:STRANGER" } },
      schedules: { hourly: { schedule: "0 */1 * * *" } },
    });
    writeFileSync(join(at.cwd, "stranger.yaml"), stranger);
    const failing = await lifeboat(["schedule", "run", "hourly", "--config", join(at.cwd, "stranger.yaml")], {
      ...at.env,
      STRANGER: blue.tokenUser("wrong"),
    });
    assert.equal(failing.code, 4, failing.stderr);
    const [failed = ""] = globSync("*", { cwd: join(at.location, "metadata/lifeboat/runs/backups") });
    await follow("No good backup", at, { [FAILED]: failed });
  });

  test("goes on with a restore that was killed, and takes it back", async () => {
    await green.kubectl(["delete", "namespace", "wiki", "--ignore-not-found"]);
    const at = desk("killed", { later: true });
    const restore = start(["restore", "create", "after-outage", "--from-backup", LATER, "--context", "green"], at.env);
    const restored = async () =>
      (await green.kubectl(["get", "configmaps", "-n", "wiki", "-o", "name"])).split("\n").length;
    await until("the restore to be at work", async () => (await restored()) > 20, { everyMs: 50 });
    restore.kill();
    assert.equal((await restore.ended).code, null);
    await follow("A restore failed half-way", at);
    const gone = async () => (await green.kubectl(["get", "namespace", "wiki", "--ignore-not-found"])) === "";
    await until("the namespace to be gone", gone, { everyMs: 200 });
  });
});

/** All that the page shows of an answer must be in it, whatever the numbers are. It fails only where the page shows that. */
function compare({ command, answer }: Typed, said: string, code: number): void {
  const lines = new Set(said.split("\n").map(plain));
  for (const line of answer.filter((one) => one !== "…"))
    assert(lines.has(plain(line)), `${command}\nis shown to answer\n${line}\nbut said\n${said.slice(0, 3000)}`);
  const fails = answer.some((line) => /^error: |\bDamaged\b/.test(line));
  assert.equal(code !== 0, fails, `${command} ended with ${code}:\n${said.slice(-2000)}`);
}

/** A line without what differs from run to run: numbers, ids, times, the width of columns. */
function plain(line: string): string {
  if (/^ +Duration:/.test(line)) return "Duration";
  return line
    .replace("npx lifeboat", "lifeboat")
    .replace(/\b[KMG]iB/, "bytes")
    .replace(/serves at \/\w+:/, "serves at #:")
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "#")
    .replaceAll(/\d+(?:[.,:]\d+)*/g, "#")
    .replaceAll(/(#[smhd])+/g, "#s")
    .replaceAll(/\s+/g, " ")
    .trim();
}

/** One kubeconfig with a context for each cluster. */
function kubeconfigOf(clusters: Record<string, Cluster>): string {
  const all = Object.entries(clusters).map(([name, { kubeconfig }]) => ({ name, ...parse(kubeconfig) }));
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "blue",
    clusters: all.map(({ name, clusters }) => ({ name, cluster: clusters[0].cluster })),
    users: all.map(({ name, users }) => ({ name, user: users[0].user })),
    contexts: all.map(({ name }) => ({ name, context: { cluster: name, user: name } })),
  });
}
