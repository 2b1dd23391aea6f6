import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { cp, mkdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import type { VerifyDocument, VerifyListDocument } from "../../core/index.ts";
import { document, type Ended, lifeboat } from "../e2e/lifeboat.ts";
import { filesIn, makeScratch, type Scratch, shop, startCluster } from "./cli-sample.ts";

describe("proof of integrity on the command line", { concurrency: 2 }, () => {
  let scratch: Scratch;
  let source: Awaited<ReturnType<typeof startCluster>>;
  let target: Awaited<ReturnType<typeof startCluster>>;
  let env: Record<string, string>;
  /** Of the backup "plain", by their names. */
  let files: string[];

  before(async () => {
    scratch = await makeScratch();
    source = await startCluster(scratch, "source", shop());
    target = await startCluster(scratch, "target");
    env = { LIFEBOAT_LOCATION: scratch.path("bucket"), NODE_COMPILE_CACHE: scratch.path("cache") };
    await keyPair("ours");
    await keyPair("theirs");
    await succeeds("backup", "create", "plain", "--kubeconfig", source.file);
    files = await filesIn(scratch.path("bucket/backups/plain"));
    await succeeds("backup", "create", "signed", "--signing-key", ref("ours.pem"), "--kubeconfig", source.file);
  });
  after(async () => {
    await Promise.all([source?.stop(), target?.stop()]);
    await scratch?.remove();
  });

  const ref = (name: string) => `file:${scratch.path(name)}`;
  async function keyPair(name: string): Promise<void> {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    await scratch.write(`${name}.pem`, privateKey.export({ format: "pem", type: "pkcs8" }));
    await scratch.write(`${name}.pub`, publicKey.export({ format: "pem", type: "spki" }));
  }
  async function succeeds(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await lifeboat(args, env);
    assert.equal(code, 0, stderr);
    return stdout;
  }
  const restore = (name: string, ...flags: string[]) =>
    lifeboat(["restore", "create", name, ...flags, "--kubeconfig", target.file], env);
  /** A location of its own, with the backup "plain", of which something is changed. */
  async function locationWith(name: string, change: (folder: string) => Promise<void>): Promise<string> {
    await cp(scratch.path("bucket"), scratch.path(name), { recursive: true });
    await change(scratch.path(`${name}/backups/plain`));
    return scratch.path(name);
  }

  it("verify finds nothing in a good backup, and prints what it looked at", async () => {
    assert.match(
      await succeeds("backup", "verify", "signed"),
      /^Backup signed: Intact, as far as it was read\n\n {2}Location: .*\n {2}Holds: +\d+ files, \d+ objects\n {2}Signed: +by [-\w]{43}\n {2}Not checked: +the data of 1 of 1 segments\n$/,
    );
    assert.match(await succeeds("backup", "verify", "plain", "--read-data"), /^Backup plain: Intact\n/);
    assert.match(await succeeds("backup", "describe", "signed"), /\nSigned: +by [-\w]{43}\n/);
    const found = await document<VerifyDocument>(["backup", "verify", "plain", "--read-data"], env);
    const { location, items, ...rest } = found;
    assert.ok(items > 4 && location.startsWith("file://"));
    assert.deepEqual(rest, {
      ...{ schemaVersion: 1, kind: "verify", name: "plain", ok: true, damaged: [], unchecked: [], files: files.length },
      segments: { total: 1, read: 1 },
      findingCount: 0,
    });
  });

  it("verify names each file that is damaged: exit code 6", async () => {
    assert.ok(files.length >= 10);
    for (const file of files) {
      const location = await locationWith("damaged", (folder) => truncate(`${folder}/${file}`, 10));
      const flags = ["backup", "verify", "plain", "--location", location];
      const { ok, damaged } = await document<VerifyDocument>(flags, env, 6);
      assert.deepEqual([ok, damaged.map(({ key }) => key)], [false, [`backups/plain/${file}`]]);
      await rm(location, { recursive: true });
    }
  });

  it("verify names a damaged part of an archive once, with the objects in it", async () => {
    const location = await locationWith("flipped", async (folder) => {
      const tar = await readFile(`${folder}/plain.tar.gz`);
      tar[tar.length >> 1]! ^= 1;
      await writeFile(`${folder}/plain.tar.gz`, tar);
    });
    const one = await lifeboat(["backup", "verify", "plain", "--read-data", "--location", location], env);
    assert.equal(one.code, 6);
    const [, ...lines] = one.stdout.slice(one.stdout.indexOf("Damaged:\n")).trim().split("\n");
    assert.equal(lines.length, 1);
    assert.match(
      lines[0]!,
      /plain\.tar\.gz: segment 0 differs from its digest: \d+ objects: \S+, \S+, \S+ and \d+ more$/,
    );
  });

  it("a removed record is exit code 5, and verify --all names its folder", async () => {
    const location = await locationWith("orphaned", (folder) => rm(`${folder}/velero-backup.json`));
    const one = await lifeboat(["backup", "verify", "plain", "--location", location], env);
    assert.equal(one.code, 5);
    assert.match(
      one.stderr,
      /^error: there is no backup "plain" .*: backups\/plain\/ holds \d+ files, but no [^\n]+\nhint: /,
    );
    const restored = await restore("r5", "--from-backup", "plain", "--location", location);
    assert.equal(restored.code, 5);
    assert.match(
      restored.stderr,
      /holds \d+ files, but no velero-backup\.json\nhint: .*"backup create" or "backup copy"/,
    );
    const all = await lifeboat(["backup", "verify", "--all", "--location", location], env);
    assert.equal(all.code, 5);
    assert.match(all.stdout, /^signed +Intact +\d+ +\d+ +[-\w]{43} +the data of 1 of 1 segments$/m);
    assert.match(all.stdout, /\nNo backups:\n {2}backups\/plain\/: there is no backup "plain"/);
  });

  it("verify --all goes on past what is damaged, and names it: exit code 6", async () => {
    const location = await locationWith("some", (folder) => truncate(`${folder}/plain-logs.gz`, 1));
    const flags = ["backup", "verify", "--all", "--sample", "5%", "--location", location];
    const { ok, backups } = await document<VerifyListDocument>(flags, env, 6);
    assert.deepEqual([ok, backups.map((backup) => backup.ok)], [false, [false, true]]);
    assert.equal(backups[0]!.damaged[0]!.key, "backups/plain/plain-logs.gz");
  });

  const wrong: [what: string, flags: string[], message: RegExp][] = [
    ["no backup and no --all", [], /give a NAME, or --all/],
    ["a backup and --all", ["full", "--all"], /give a NAME, or --all/],
    ["a share that is none", ["full", "--sample", "5"], /--sample: "5" is not a share\nhint: .*5%/],
    ["two shares", ["full", "--sample", "5%", "--read-data"], /one of --read-data and --sample/],
    [
      "a key that is none",
      ["full", "--trusted-key", "env:PATH"],
      /the trusted key env:PATH holds no key in PEM format/,
    ],
  ];
  for (const [what, flags, message] of wrong) {
    it(`verify refuses ${what}: exit code 2`, async () => {
      const { code, stderr } = await lifeboat(["backup", "verify", ...flags], env);
      assert.match(stderr, message);
      assert.equal(code, 2);
    });
  }

  const untrusted = (ended: Ended, message: RegExp) => {
    assert.match(ended.stderr, message);
    assert.deepEqual([ended.code, ended.stdout], [6, ""]);
  };

  it("a restore that trusts a key takes what that has signed, and nothing else: exit code 6", async () => {
    const objects = target.count();
    const [ours, theirs] = [ref("ours.pub"), ref("theirs.pub")];
    untrusted(await restore("r", "--from-backup", "plain", "--trusted-key", ours), /backup "plain" is not signed/);
    untrusted(
      await restore("r", "--from-backup", "signed", "--trusted-key", theirs),
      /is signed by [-\w]{43}, which is not a trusted key/,
    );
    const dry = await restore("r", "--from-backup", "plain", "--dry-run", "--trusted-key", ours);
    untrusted(dry, /is not signed/);
    assert.equal(target.count(), objects);
    const { code, stderr } = await restore("r", "--from-backup", "signed", "--trusted-key", `${theirs},${ours}`);
    assert.equal(code, 0, stderr);
  });

  it("the configuration names the keys, by paths that begin at its folder; verify reports what isn't trusted", async () => {
    await mkdir(scratch.path("etc"), { recursive: true });
    await cp(scratch.path("ours.pub"), scratch.path("etc/trusted.pub"));
    await cp(scratch.path("ours.pem"), scratch.path("etc/signing.pem"));
    const location = scratch.path("bucket");
    const signing = "{ key: file:signing.pem, publicKeys: [file:trusted.pub] }";
    const config = await scratch.write("etc/lifeboat.yaml", `location: ${location}\nsigning: ${signing}\n`);
    await succeeds("backup", "create", "configured", "--config", config, "--kubeconfig", source.file);
    await succeeds("backup", "verify", "configured", "--config", config);
    const { damaged } = await document<VerifyDocument>(["backup", "verify", "plain", "--config", config], env, 6);
    assert.deepEqual(damaged, [{ key: "backups/plain/velero-backup.json", reason: 'backup "plain" is not signed' }]);
    const trusting = { ...env, LIFEBOAT_SIGNING_PUBLIC_KEYS: ref("theirs.pub") };
    assert.equal((await lifeboat(["backup", "verify", "configured"], trusting)).code, 6);
  });

  it("a signing key that is none stops a backup before anything is written: exit code 2", async () => {
    const location = scratch.path("nothing");
    const flags = ["--signing-key", ref("ours.pub"), "--location", location, "--kubeconfig", source.file];
    const { code, stderr } = await lifeboat(["backup", "create", "x", ...flags], env);
    assert.match(
      stderr,
      /^error: the signing key file:.* is a public key, not an Ed25519 private key\nhint: .*openssl/,
    );
    assert.equal(code, 2);
    assert.deepEqual(await filesIn(location), []);
    const pem = await readFile(scratch.path("ours.pem"), "utf8");
    await writeFile(scratch.path("torn.pem"), pem.slice(0, 60));
    flags[1] = ref("torn.pem");
    assert.match((await lifeboat(["backup", "create", "x", ...flags], env)).stderr, /can't be read: it is damaged/);
  });
});
