import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { promisify } from "node:util";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import { type Backup, readBackup } from "../../core/catalog.ts";
import { isLifeboatError } from "../../core/errors.ts";
import { openSigner, readTrustedKeys } from "../../core/integrity/keys.ts";
import { sealOf, sealRecord, signedBy } from "../../core/integrity/seal.ts";
import { backupKeys } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { runDryRun } from "../../core/restore/plan/dryrun.ts";
import { type RestoreRun, runRestore } from "../../core/restore/run.ts";
import { findUndo, runUndo } from "../../core/restore/undo/undo.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { backedUp, bucketWith, filesIn, settings, signal } from "./integrity-sample.ts";
import { watchedKube } from "./restore-sample.ts";

const pem = (key: KeyObject) => String(key.export({ format: "pem", type: key.type === "private" ? "pkcs8" : "spki" }));
const pair = () => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return { privateKey: pem(privateKey), publicKey: pem(publicKey) };
};
const ours = pair();
const theirs = pair();
/** Secrets whose references are their texts. */
const secrets = { read: async (reference: string) => reference };
const signer = () => openSigner(secrets, ours.privateKey);
const trusted = (...keys: { publicKey: string }[]) =>
  readTrustedKeys(
    secrets,
    keys.map(({ publicKey }) => publicKey),
  );

let signed: Map<string, Buffer>;
before(async () => {
  signed = await filesIn(await backedUp(settings(2), "b", memoryBucket(), { signer }));
});

const recordKey = backupKeys("b").metadata;
const recordOf = (files: Map<string, Buffer>) => JSON.parse(files.get(recordKey)!.toString()) as Backup;
/** The backup with a record that was sealed anew, and perhaps signed by another key. */
async function resealed(by?: () => ReturnType<typeof openSigner>): Promise<Bucket> {
  const record = recordOf(signed);
  delete record.metadata.annotations!["lifeboat/signature"];
  const { body } = await sealRecord(record, sealOf(record)!, await by?.());
  return bucketWith(new Map([...signed, [recordKey, body]]));
}

describe("a signature", () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-signature-"));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  it("names its key, and is one that OpenSSL takes", async () => {
    const record = await readBackup(await bucketWith(signed), "b");
    assert.deepEqual([signedBy(record)], await trusted(ours));
    const { "lifeboat/digest": digest, "lifeboat/signature": signature = "" } = record.metadata.annotations!;
    const file = async (name: string, content: string | Buffer) => {
      await writeFile(join(dir, name), content);
      return join(dir, name);
    };
    const key = await file("key.pem", ours.publicKey);
    const message = await file("message", `lifeboat-backup:${digest}`);
    const value = await file("signature", Buffer.from(signature.split(":")[2]!, "base64url"));
    const flags = ["-verify", "-pubin", "-inkey", key, "-rawin", "-in", message, "-sigfile", value];
    const { stdout } = await promisify(execFile)("openssl", ["pkeyutl", ...flags]);
    assert.match(stdout, /Verified Successfully/);
  });

  it("is corrupt whichever of its characters is changed, trusted keys or none", async () => {
    const text = signed.get(recordKey)!.toString();
    const start = text.indexOf('"ed25519:') + 1;
    const end = text.indexOf('"', start);
    assert.ok(end - start > 130);
    for (let at = start; at < end; at++) {
      for (const character of ["A", "B", "_", ":"].filter((other) => other !== text[at])) {
        const changed = Buffer.from(text.slice(0, at) + character + text.slice(at + 1));
        const bucket = await bucketWith(new Map([...signed, [recordKey, changed]]));
        await assert.rejects(readBackup(bucket, "b"), { kind: "corrupt" }, `${character} at ${at - start}`);
      }
    }
  });

  it("of another record is corrupt", async () => {
    const other = recordOf(await filesIn(await backedUp(settings(2, 1), "b", memoryBucket(), { signer })));
    const signature = other.metadata.annotations!["lifeboat/signature"]!;
    const body = signed
      .get(recordKey)!
      .toString()
      .replace(/ed25519:[^"]*/, signature);
    const bucket = await bucketWith(new Map([...signed, [recordKey, Buffer.from(body)]]));
    await assert.rejects(readBackup(bucket, "b"), { kind: "corrupt", message: /its signature is not one of/ });
  });
});

describe("a restore that trusts only keys", () => {
  let server: ApiServer;
  let kube: ReturnType<typeof watchedKube>;
  beforeEach(async () => {
    server = await startApiServer();
    kube = watchedKube(server.kubeconfig);
  });
  afterEach(async () => {
    await kube.close();
    await server.stop();
  });
  const run = async (bucket: Bucket, more: Partial<RestoreRun> = {}): Promise<RestoreRun> => ({
    ...{ kube, bucket, signal, name: "r", spec: { backupName: "b" }, log: startRunLog({}) },
    trustedKeys: await trusted(ours),
    ...more,
  });

  it("restores what one of them has signed", async () => {
    const bucket = await bucketWith(signed);
    const { record } = await runRestore(await run(bucket, { trustedKeys: await trusted(theirs, ours) }));
    assert.equal(record.status.phase, "Completed");
    assert.ok(kube.writes.length > 0);
  });

  const refused: [what: string, bucket: () => Promise<Bucket>, message: RegExp][] = [
    ["is not signed", () => resealed(), /backup "b" is not signed/],
    [
      "another key has signed",
      () => resealed(() => openSigner(secrets, theirs.privateKey)),
      /is signed by [-\w]{43}, /,
    ],
    [
      "Velero made",
      async () => {
        const record = recordOf(signed);
        delete record.metadata.annotations;
        return bucketWith(new Map([...signed, [recordKey, Buffer.from(JSON.stringify(record))]]));
      },
      /backup "b" is not signed/,
    ],
  ];
  for (const [what, bucket, message] of refused) {
    it(`refuses what ${what}, and so does a dry run; nothing is written`, async () => {
      const input = await run(await bucket());
      await assert.rejects(runRestore(input), { kind: "corrupt", message, hint: /signing\.publicKeys/ });
      await assert.rejects(runDryRun(input), { kind: "corrupt", message });
      assert.deepEqual(kube.writes, []);
    });
  }

  it("can be undone where it has signed what it kept, and not by what wasn't signed", async () => {
    const body = JSON.stringify({ data: { text: "changed" } });
    const change = async () => {
      const path = "/api/v1/namespaces/shop-0/configmaps/settings-0";
      await kube.request({ method: "PATCH", path, body, contentType: "application/merge-patch+json" });
    };
    const bucket = await bucketWith(signed);
    await runRestore(await run(bucket));
    const spec = { backupName: "b", existingResourcePolicy: "update" } as const;
    const undo = async (name: string) => runUndo(await run(bucket), await findUndo(bucket, name, signal));
    await change();
    await runRestore(await run(bucket, { name: "signed", spec, signer }));
    assert.equal((await undo("signed")).record.status.phase, "Completed");
    const log = startRunLog({});
    await runRestore(await run(bucket, { name: "unsigned", spec, log }));
    kube.writes.length = 0;
    await assert.rejects(undo("unsigned"), { kind: "corrupt", message: /backup "unsigned-before" is not signed/ });
    assert.deepEqual(kube.writes, []);
  });
});

describe("a key", () => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const locked = generateKeyPairSync("ed25519").privateKey.export({
    ...{ format: "pem", type: "pkcs8", cipher: "aes-256-cbc", passphrase: "secret" },
  });
  const damaged = (text: string) => text.replace(/\n(.{20})/, "\n");
  const openssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
  const certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  const signing: [what: string, text: string, message: RegExp][] = [
    ["nothing of a key", "hunter2", /holds no key in PEM format/],
    ["a public key", ours.publicKey, /is a public key, not an Ed25519 private key/],
    ["an RSA key", pem(rsa.privateKey), /is of type rsa, not ed25519/],
    ["a key with a passphrase", String(locked), /is a private key with a passphrase/],
    ["a key of OpenSSH", openssh, /is a private key of OpenSSH/],
    ["a certificate", certificate, /is a certificate, which expires/],
    ["two keys", ours.privateKey + theirs.privateKey, /holds more than one key/],
    ["a damaged key", damaged(ours.privateKey), /can't be read: it is damaged/],
    ["a key cut off", ours.privateKey.slice(0, 50), /can't be read: it is damaged/],
  ];
  const trusting: typeof signing = [
    ["a private key", ours.privateKey, /is a private key, not an Ed25519 public key/],
    ["an RSA key", pem(rsa.publicKey), /is of type rsa, not ed25519/],
    ["a certificate", certificate, /is a certificate, which expires/],
    ["a damaged key", damaged(ours.publicKey), /can't be read: it is damaged/],
  ];
  /** The error names the secret and what is wrong, and quotes nothing of it. */
  const refusedFor = (text: string, message: RegExp) => (error: unknown) => {
    assert.ok(isLifeboatError(error, "invalid"));
    assert.match(error.message, /^the (signing|trusted) key env:KEY /);
    assert.match(error.message, message);
    assert.match(error.hint ?? "", /openssl/);
    for (const line of text.split("\n")) assert.ok(!line || !`${error.message}${error.hint}`.includes(line));
    return true;
  };
  const holding = (text: string) => ({ read: async () => text });
  for (const [what, text, message] of signing) {
    it(`that should sign is refused: ${what}`, () =>
      assert.rejects(openSigner(holding(text), "env:KEY"), refusedFor(text, message)));
  }
  for (const [what, text, message] of trusting) {
    it(`that should be trusted is refused: ${what}`, () =>
      assert.rejects(readTrustedKeys(holding(text), ["env:KEY"]), refusedFor(text, message)));
  }

  it("that should sign is looked at before anything is written", async () => {
    const bucket = memoryBucket();
    const broken = () => openSigner(holding("hunter2"), "env:KEY");
    await assert.rejects(backedUp(settings(1), "b", bucket, { signer: broken }), { kind: "invalid" });
    assert.equal((await filesIn(bucket)).size, 0);
  });
});
