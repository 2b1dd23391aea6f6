import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { ENVIRONMENT, MAIN } from "../e2e/lifeboat.ts";
import { filesIn, makeScratch, type Scratch, shop, startCluster } from "./cli-sample.ts";

describe("a configuration's folder and clusters", { concurrency: 3 }, () => {
  let scratch: Scratch;
  let cluster: Awaited<ReturnType<typeof startCluster>>;

  before(async () => {
    scratch = await makeScratch();
    for (const folder of ["etc", "work"]) await mkdir(scratch.path(folder));
    cluster = await startCluster(scratch, "etc/blue", shop());
    const reference = "{ kubeconfig: file:blue.kubeconfig }";
    await scratch.write(
      "etc/lifeboat.yaml",
      `location: ./bucket\nclusters: { blue: ${reference}, green: ${reference} }`,
    );
  });
  after(async () => {
    await cluster?.stop();
    await scratch?.remove();
  });

  function run(folder: string, args: string, env: Record<string, string> = {}) {
    const options = { cwd: scratch.path(folder), env: { ...ENVIRONMENT, ...env } };
    return new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) =>
      execFile(process.execPath, [MAIN, ...args.split(" ")], options, (error, stdout, stderr) =>
        resolve({ code: error ? error.code : 0, stdout, stderr }),
      ),
    );
  }

  it("relative paths in the file begin at its folder; the cluster has the configuration's name", async () => {
    const made = await run("work", "backup create a --cluster blue --config ../etc/lifeboat.yaml");
    assert.equal(made.code, 0, made.stderr);
    assert.ok((await filesIn(scratch.path("etc/bucket"))).includes("backups/a/velero-backup.json"));
    assert.ok(made.stdout.includes(`  Cluster:      blue (${cluster.url})\n`), made.stdout);
    assert.match(made.stderr, /restore create --from-backup a --config \.\.\/etc\/lifeboat\.yaml --cluster NAME\n$/);
  });

  it("those in variables begin at the working directory", async () => {
    const env = {
      LIFEBOAT_CONFIG: "../etc/lifeboat.yaml",
      LIFEBOAT_LOCATION: "./own",
      LIFEBOAT_CLUSTERS_BLUE_KUBECONFIG: "file:../etc/blue.kubeconfig",
    };
    const made = await run("work", "backup create b --cluster blue", env);
    assert.equal(made.code, 0, made.stderr);
    assert.ok((await filesIn(scratch.path("work/own"))).includes("backups/b/velero-backup.json"));
  });

  it("what can't work is told as the file is read, without the secret that stands in a reference's place", async () => {
    const recipients = `encryption: { recipients: [age1xyz, AGE-SECRET-KEY-1QQPQQSZQS] }`;
    await scratch.write(
      "etc/wrong.yaml",
      `location: ./bucket\n${recipients}\nnotifications: { ops: { url: "http://127.0.0.1:1/token" } }`,
    );
    const { code, stderr } = await run("etc", "schedule get --config wrong.yaml");
    assert.equal(code, 2);
    assert.match(stderr, /encryption\.recipients\.0: "age1xyz" is not a public key of age: it is cut off or mistyped/);
    assert.match(stderr, /encryption\.recipients\.1: a recipient is a private key of age, not a public one/);
    assert.match(stderr, /notifications\.ops\.url: is no reference, and a webhook's URL is a secret: .*write file:/);
    assert.doesNotMatch(stderr, /token|QQPQQ/);
  });

  it("without a kubeconfig the configuration's clusters are named", async () => {
    const { code, stderr } = await run("etc", "restore create --from-backup a");
    assert.equal(code, 2);
    assert.match(stderr, /\nhint: name one of the configuration: --cluster blue or green\n$/);
  });
});
