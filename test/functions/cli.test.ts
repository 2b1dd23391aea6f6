import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { parse } from "yaml";
import { sealOf, sealRecord } from "../../core/integrity/seal.ts";
import { document, lifeboat, start } from "../e2e/lifeboat.ts";
import { filesIn, makeScratch, type Scratch, shop, startCluster } from "./cli-sample.ts";

const run = promisify(execFile);

describe("the command line", { concurrency: 3 }, () => {
  let scratch: Scratch;
  let source: Awaited<ReturnType<typeof startCluster>>;
  let env: Record<string, string>;

  before(async () => {
    scratch = await makeScratch();
    source = await startCluster(scratch, "source", shop());
    env = {
      LIFEBOAT_LOCATION: scratch.path("bucket"),
      KUBECONFIG: source.file,
      NODE_COMPILE_CACHE: scratch.path("cache"),
    };
    await succeeds(["backup", "create", "full", "--ttl", "720h"]);
  });
  after(async () => {
    await source?.stop();
    await scratch?.remove();
  });

  async function succeeds(args: string[], code = 0): Promise<string> {
    const ended = await lifeboat(args, env);
    assert.equal(ended.code, code, `${args.join(" ")}: ${ended.stderr}`);
    return ended.stdout;
  }

  it("backup create prints a result for people, with the next command on stderr", async () => {
    const { code, stdout, stderr } = await lifeboat(["backup", "create", "text", "-l", "app=password"], env);
    assert.equal(code, 0);
    assert.match(stdout, /^Backup text: Completed\n\n {2}Cluster: +lifeboat \(http:\/\/127\.0\.0\.1:\d+\)\n/);
    assert.match(stdout, /\n {2}Consistency: +exact: one point in time, revision \d+\n {2}Problems: +none\n$/);
    assert.equal(
      stderr,
      "\nRestore it into another cluster:\n  npx lifeboat restore create --from-backup text --context NAME\n",
    );
  });

  it("backup create -o json prints one document, and names a backup that has no name", async () => {
    const made = await document<Record<string, unknown>>(["backup", "create", "--include-resources", "cm"], env);
    assert.match(String(made.name), /^backup-\d{14}$/);
    const { name, durationMs, consistency, startTimestamp, completionTimestamp, spec, bytes, items, usage, ...told } =
      made;
    const { server, ...rest } = told;
    assert.equal(server, source.url);
    assert.deepEqual(rest, {
      schemaVersion: 1,
      kind: "backup",
      phase: "Completed",
      location: `file://${scratch.path("bucket")}`,
      findingCount: 0,
      kubernetesVersion: "v1.36.3+lifeboat",
      formatVersion: "1.1.0",
      warnings: [],
      errors: [],
    });
    assert.deepEqual(Object.keys(consistency as object), ["grade", "resourceVersion", "exceptions"]);
    assert.deepEqual((spec as Record<string, unknown>).includedResources, ["cm"]);
    assert.deepEqual(Object.keys(usage as object), ["puts", "gets", "lists", "storedBytes"]);
    assert.ok([durationMs, bytes, items, ...Object.values(usage as object)].every((value) => Number(value) > 0));
    assert.ok(startTimestamp && completionTimestamp);
  });

  it("an optional value needs a =, so that the name after the flag stays the name", async () => {
    const args = ["backup", "create", "--include-cluster-resources", "everything", "--include-namespaces", "shop"];
    const made = await document<{ name: string; spec: Record<string, unknown> }>(args, env);
    assert.equal(made.name, "everything");
    assert.equal(made.spec.includeClusterResources, true);
    const without = ["backup", "create", "less", "--include-cluster-resources=false"];
    const { spec } = await document<{ spec: Record<string, unknown> }>(without, env);
    assert.equal(spec.includeClusterResources, false);
  });

  it("backup get lists backups with Velero's columns, one of them alone too", async () => {
    const [head = "", row = ""] = (await succeeds(["backup", "get", "full"])).split("\n");
    assert.deepEqual(head.split(/ {3,}/), [
      "NAME",
      "STATUS",
      "ERRORS",
      "WARNINGS",
      "CREATED",
      "EXPIRES",
      "VERIFIED",
      "PINNED",
      "ITEMS",
      "CONSISTENCY",
    ]);
    assert.match(row, /^full +Completed +0 +0 +[-\d]{10} [:\d]{8} UTC +29d +- +- +\d+ +exact$/);
  });

  it("flags may stand before the noun, between noun and verb, and after it", async () => {
    const [first, ...others] = await Promise.all(
      [
        ["-o", "yaml", "backup", "get", "full"],
        ["backup", "-o", "yaml", "get", "full"],
        ["backup", "get", "full", "-o", "yaml"],
        ["-o", "json", "backup", "get", "full", "-o", "yaml"],
      ].map((args) => succeeds(args)),
    );
    assert.equal(parse(first!).name, "full");
    for (const other of others) assert.equal(other, first);
  });

  it("backup describe tells filters, times and consistency; with --details every object", async () => {
    const text = await succeeds(["backup", "describe", "full", "--details"]);
    for (const line of [
      "Name:  ",
      "Phase:  ",
      "Cluster: +http://127\\.0\\.0\\.1:\\d+$",
      "Encrypted: +no$",
      "Signed: +no$",
      "  Included:  \\*",
      "TTL:  +720h",
      "Expiration: ",
      "Errors:    <none>",
      "Findings:  <none>",
      "    - shop/settings-0",
    ]) {
      assert.match(text, new RegExp(`^${line}`, "m"));
    }
    const details = await document<{ resources: Record<string, string[]> }>(
      ["backup", "describe", "full", "--details"],
      env,
    );
    assert.deepEqual(details.resources["v1/Secret"], ["shop/password"]);
  });

  it("backup describe --details without the identity prints what can be read, and what it lacks: exit code 4", async () => {
    const identity = await generateX25519Identity();
    const recipient = ["--recipient", await identityToRecipient(identity)];
    await succeeds(["backup", "create", "sealed", ...recipient]);
    await succeeds(["backup", "create", "secretive", "--secrets", "encrypt", ...recipient]);
    const { code, stdout, stderr } = await lifeboat(["backup", "describe", "sealed", "--details"], env);
    assert.equal(code, 4);
    assert.match(stdout, /^Name: +sealed\nPhase: +Completed\n.*\nEncrypted: +all of it\n/s);
    assert.match(stderr, /^error: [^\n]*sealed-resource-list[^\n]* is encrypted\nhint: the identity [^\n]*\n$/);
    assert.match(await succeeds(["backup", "describe", "secretive"]), /\nEncrypted: +Secrets only\n/);
    const told = await document<{ encryption: string }>(["backup", "describe", "secretive"], env);
    assert.equal(told.encryption, "secrets");
  });

  it("backup logs prints the run's log, as -v does while it runs", async () => {
    assert.match(
      await succeeds(["backup", "logs", "full"]),
      /^time="[^"]+" level=info msg="Backing up [^"]+" backup=velero\/full/,
    );
    const { stderr } = await lifeboat(["backup", "create", "loud", "-v", "-o", "json"], env);
    assert.match(stderr, /level=info msg="Backing up [^"]+" backup=velero\/loud/);
  });

  it("backup download writes a whole file, and never over another one without --force", async () => {
    const file = scratch.path("full.tgz");
    await succeeds(["backup", "download", "full", "-o", file]);
    const { stdout } = await run("tar", ["-tzf", file]);
    assert.match(stdout, /^resources\/secrets\/namespaces\/shop\/password\.json$/m);
    const { code, stderr } = await lifeboat(["backup", "download", "full", "-o", file], env);
    assert.equal(code, 1);
    assert.match(stderr, /^error: the file .*full\.tgz exists already\nhint: .*--force\n$/);
    await succeeds(["backup", "download", "full", "-o", file, "--force"]);
    const { code: nowhere } = await lifeboat(["backup", "download", "full", "-o", scratch.path("no/where.tgz")], env);
    assert.equal(nowhere, 2);
    assert.deepEqual(
      (await filesIn(scratch.dir)).filter((name) => name.includes("tgz") || name.startsWith("no")),
      ["full.tgz"],
    );
  });

  it("backup delete takes several names, and needs --confirm where it can't ask", async () => {
    const flags = ["--location", scratch.path("doomed")];
    for (const name of ["a", "b"]) await succeeds(["backup", "create", name, ...flags]);
    const { code, stderr } = await lifeboat(["backup", "delete", "a", "b", ...flags], env);
    assert.equal(code, 2);
    assert.match(stderr, /^error: .*consent.*\nhint: add --confirm\n$/);
    assert.notDeepEqual(await filesIn(scratch.path("doomed")), []);
    const partly = await lifeboat(["backup", "delete", "a", "no-such", "b", "--confirm", ...flags], env);
    assert.equal(partly.code, 5);
    assert.equal(partly.stdout, "Deleted backup a\nDeleted backup b\n");
    assert.match(partly.stderr, /^error: there is no backup "no-such"/);
    assert.deepEqual(await filesIn(scratch.path("doomed")), []);
  });

  it("restore create brings everything into an empty cluster, and is listed, described and logged", async () => {
    const target = await startCluster(scratch, "target");
    try {
      const into = ["restore", "create", "--from-backup", "full", "--kubeconfig", target.file];
      const made = await document<Record<string, unknown>>([...into, "--namespace-mappings", "shop:copy"], env);
      const { name, durationMs, counts, startTimestamp, completionTimestamp, spec, ...rest } = made;
      assert.match(String(name), /^full-\d{14}$/);
      assert.deepEqual(rest, {
        schemaVersion: 1,
        kind: "restore",
        backup: "full",
        phase: "Completed",
        location: `file://${scratch.path("bucket")}`,
        warnings: [],
        errors: [],
      });
      assert.deepEqual(Object.keys(counts as object), [
        "created",
        "updated",
        "recreated",
        "pruned",
        "skipped",
        "blocked",
        "failed",
      ]);
      assert.deepEqual((spec as Record<string, unknown>).namespaceMapping, { shop: "copy" });
      assert.ok(Number(durationMs) > 0 && startTimestamp && completionTimestamp);
      const answer = await fetch(`${target.url}/api/v1/namespaces/copy/secrets/password`);
      assert.equal(((await answer.json()) as { data: { password: string } }).data.password, "c2VjcmV0");

      assert.match(
        await succeeds([...into.slice(0, 2), "again", ...into.slice(2)]),
        /^Restore again: Completed\n\n {2}Backup: +full\n/,
      );
      const list = await document<{ kind: string; restores: { name: string }[] }>(["restore", "get"], env);
      assert.equal(list.kind, "restoreList");
      assert.deepEqual(list.restores.map((restore) => restore.name).sort(), ["again", name].sort());
      assert.match(
        await succeeds(["restore", "describe", String(name), "--details"]),
        /Namespace mappings: +shop:copy\n.*Created:\n.* secrets \(1\): copy\/password/s,
      );
      assert.match(await succeeds(["restore", "logs", "again"]), /restore=velero\/again/);
    } finally {
      await target.stop();
    }
  });

  it("restore create --scale-to and --map-domain are described, and restore activate tells what it did", async () => {
    const metadata = { name: "web", namespace: "shop" };
    const web = { apiVersion: "apps/v1", kind: "Deployment", metadata, spec: { replicas: 3, host: "shop.example" } };
    const [blue, green] = await Promise.all([
      startCluster(scratch, "blue", [...shop(0), web]),
      startCluster(scratch, "green"),
    ]);
    try {
      const at = ["--location", scratch.path("clones")];
      const into = [...at, "--kubeconfig", green.file];
      await succeeds(["backup", "create", "idle", ...at, "--kubeconfig", blue.file]);
      const clone = ["--map-domain", "shop.example=green.example", "--scale-to", "0"];
      const told = await succeeds(["restore", "create", "green", "--from-backup", "idle", ...into, ...clone]);
      assert.match(told, /Warnings:\n {2}deployments\.apps shop\/web: shop\.example still stands in spec\.host\n/);
      assert.match(
        await succeeds(["restore", "describe", "green", ...at]),
        /\nDomain mappings: +shop\.example=green\.example\nScaled to: +0\n/,
      );
      assert.match(
        await succeeds(["restore", "activate", "green", ...into]),
        /^Restore green: 1 object activated\n\n {2}Backup: +idle\n.*\n\nRESOURCE +NAME +CHANGE\ndeployments\.apps +shop\/web +scaled to 3\n$/s,
      );
      assert.match(
        await succeeds(["restore", "activate", "green", ...into]),
        /^Restore green: 0 objects activated\n.*\nNothing of this restore stands still in this cluster\.\n$/s,
      );
    } finally {
      await Promise.all([blue.stop(), green.stop()]);
    }
  });

  it("backup create and restore create say how volumes are copied and come back", async () => {
    const copying = ["--snapshot-volumes=false", "--default-volumes-to-fs-backup", "--item-operation-timeout", "2h"];
    const made = await document<{ spec: object }>(["backup", "create", ...copying, "with-volumes"], env);
    const { snapshotVolumes, defaultVolumesToFsBackup, itemOperationTimeout, csiSnapshotTimeout } = made.spec as Record<
      string,
      unknown
    >;
    assert.deepEqual(
      { snapshotVolumes, defaultVolumesToFsBackup, itemOperationTimeout, csiSnapshotTimeout },
      {
        snapshotVolumes: false,
        defaultVolumesToFsBackup: true,
        itemOperationTimeout: "2h",
        csiSnapshotTimeout: "10m0s",
      },
    );
    const unsaid = await document<{ spec: object }>(["backup", "describe", "full"], env);
    assert.equal("snapshotVolumes" in unsaid.spec, false);
    const back = ["--restore-volumes=false", "--write-sparse-files", "--zone-mapping", "eu-1a=us-1b"];
    const plan = await document<{ spec: object }>(
      ["restore", "create", "empty", "--from-backup", "full", "--dry-run", ...back],
      env,
    );
    assert.deepEqual(plan.spec, {
      restorePVs: false,
      uploaderConfig: { writeSparseFiles: true },
      zoneMapping: { "eu-1a": "us-1b" },
      backupName: "full",
    });
    const again = await lifeboat(["restore", "create", "empty", "--from-backup", "full", "--dry-run"], env);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /^error: plan "empty" already exists in .+ and stays as it is\nhint: plan anew under/);
  });

  it("a record that can't be read is listed as such and hides no other", async () => {
    const flags = ["--location", scratch.path("mixed")];
    await succeeds(["backup", "create", "good", ...flags]);
    await succeeds(["backup", "create", "bad", ...flags]);
    await mkdir(scratch.path("mixed/backups/Odd_"));
    await scratch.write("mixed/backups/Odd_/velero-backup.json", "{}");
    await scratch.write("mixed/backups/bad/velero-backup.json", "{");
    assert.match(
      await succeeds(["backup", "get", ...flags]),
      /^good +Completed.+^bad +Unreadable +backups\/bad\/velero-backup\.json is not JSON$/ms,
    );
    const { backups } = await document<{ backups: { name: string; problem?: string }[] }>(
      ["backup", "get", ...flags],
      env,
    );
    assert.deepEqual(
      backups.map(({ name, problem }) => [name, problem !== undefined]),
      [
        ["good", false],
        ["bad", true],
        ["Odd_", true],
      ],
    );
  });

  it("a backup whose report is damaged is listed as such and hides no other", async () => {
    const flags = ["--location", scratch.path("damaged")];
    await succeeds(["backup", "create", "good", ...flags]);
    await succeeds(["backup", "create", "bad", ...flags]);
    const folder = scratch.path("damaged/backups/bad");
    const record = JSON.parse(await readFile(`${folder}/velero-backup.json`, "utf8"));
    Object.assign(record.status, { phase: "PartiallyFailed", errors: 1 });
    await writeFile(`${folder}/velero-backup.json`, (await sealRecord(record, sealOf(record)!)).body);
    await writeFile(`${folder}/bad-results.gz`, "garbage");
    const problem = "backups/bad/bad-results.gz can't be unzipped";
    const table = await succeeds(["backup", "get", ...flags]);
    assert.match(table, /^good +Completed /m);
    assert.match(table, new RegExp(`^bad +Unreadable +${problem}$`, "m"));
    const { code, stdout, stderr } = await lifeboat(["backup", "get", "bad", "-o", "json", ...flags], env);
    assert.deepEqual({ code, stdout, stderr }, { code: 6, stdout: "", stderr: `error: ${problem}\n` });
  });

  it("a backup called off leaves nothing listed, but its log; exit code 130", async () => {
    const flags = ["--location", scratch.path("cancelled")];
    const slow = await startCluster(scratch, "slow", shop(5000));
    try {
      const running = start(["backup", "create", "long", "-v", ...flags, "--kubeconfig", slow.file], env);
      while ((await filesIn(scratch.path("cancelled"))).length === 0) await delay(5);
      process.kill(running.pid, "SIGINT");
      const { code, stderr } = await running.ended;
      assert.equal(code, 130);
      assert.match(stderr, /\nerror: cancelled by SIGINT\nlog: npx lifeboat backup logs long --location .+\n$/);
      assert.match(await succeeds(["backup", "logs", "long", ...flags]), /level=error msg="cancelled by SIGINT"/);
      assert.equal(await succeeds(["backup", "get", ...flags]), "");
    } finally {
      await slow.stop();
    }
  });

  it("a reader that closes the pipe is no error", async () => {
    const main = new URL("../../functions/cli/main.ts", import.meta.url).pathname;
    const { stdout, stderr } = await run(
      "bash",
      ["-c", `"${process.execPath}" "${main}" backup logs full | true; echo "\${PIPESTATUS[0]}"`],
      { env: { ...process.env, ...env } },
    );
    assert.equal(stderr, "");
    assert.equal(stdout, "0\n");
  });
});
