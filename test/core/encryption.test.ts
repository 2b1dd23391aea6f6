import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { after, before, describe, it } from "node:test";
import { gunzipSync } from "node:zlib";
import { Decrypter, generateX25519Identity, identityToRecipient } from "age-encryption";
import fc from "fast-check";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import { readTar } from "../../core/archive/reader.ts";
import { bucketSource, type Source } from "../../core/archive/source.ts";
import { backup } from "../../core/backup/backup.ts";
import { holding } from "../../core/backup/hold.ts";
import { listBackups, newestBackup, readBackup, readLog, SCHEDULE_LABEL } from "../../core/catalog.ts";
import { listFolder } from "../../core/contents.ts";
import { deleteBackup } from "../../core/delete.ts";
import { readBackupDocument } from "../../core/documents.ts";
import { contentOf, decrypted, encrypted, encrypterFor, readIdentities } from "../../core/encryption/age.ts";
import { encrypting, storedIn, unlocked } from "../../core/encryption/buckets.ts";
import { LifeboatError, messageOf } from "../../core/errors.ts";
import { openBackup } from "../../core/integrity/open.ts";
import { verifyBackup } from "../../core/integrity/verify.ts";
import { connect, type Kube } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { backupKeys } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { type RestoreRun, runRestore } from "../../core/restore/run.ts";
import { findUndo, runUndo } from "../../core/restore/undo/undo.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { backupOf, signal } from "./integrity-sample.ts";
import { sample } from "./restore-sample.ts";

const VALUE = "correct horse battery staple";
const OTHER = "hunter2-hunter2-hunter2";
const encoded = (value: string) => Buffer.from(value).toString("base64");
const secret = (value: string) =>
  sample("v1", "Secret", "shop/db", { type: "Opaque", data: { password: encoded(value) } });
const objects = [
  sample("v1", "Namespace", "shop"),
  sample("v1", "ConfigMap", "shop/web", { data: { greeting: "hello" } }),
  secret(VALUE),
];

let identity: string;
let recipient: string;
let stranger: string;
let source: ApiServer;
before(async () => {
  identity = await generateX25519Identity();
  recipient = await identityToRecipient(identity);
  stranger = await generateX25519Identity();
  source = await startApiServer({ objects });
});
after(() => source?.stop());

const withIdentity = (bucket: Bucket, ...identities: string[]) => unlocked(bucket, async () => identities);
const backupInto = (bucket: Bucket, secrets?: "keep" | "omit" | "encrypt", recipients?: string[]) =>
  backupOf(source, { bucket, name: "b", spec: secrets ? { secrets } : {}, recipients });

/** Restores into a new cluster, which `then` may look at. */
async function restored<T>(
  bucket: Bucket,
  more: Partial<RestoreRun>,
  then: (server: ApiServer, run: RestoreRun) => Promise<T>,
  live = [] as typeof objects,
) {
  const server = await startApiServer({ objects: live });
  const kube = connect(readKubeconfig(server.kubeconfig));
  const run: RestoreRun = { kube, bucket, name: "r", spec: { backupName: "b" }, log: startRunLog({}), signal, ...more };
  try {
    await runRestore(run);
    return await then(server, run);
  } finally {
    await kube.close();
    await server.stop();
  }
}

async function liveSecret(server: ApiServer): Promise<string | undefined> {
  const kube = connect(readKubeconfig(server.kubeconfig));
  try {
    const { status, body } = await kube.request({ path: "/api/v1/namespaces/shop/secrets/db" });
    return status === 404 ? undefined : Buffer.from(JSON.parse(body.toString()).data.password, "base64").toString();
  } finally {
    await kube.close();
  }
}

/** All that the bucket stores, unpacked as far as anybody without an identity can. */
async function readable(bucket: Bucket): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const { key } of bucket.list("")) {
    const bytes = await buffer(await bucket.get(key!));
    parts.push(Buffer.from(key!), bytes);
    if (bytes.subarray(0, 2).equals(Buffer.from([0x1f, 0x8b]))) parts.push(gunzipSync(bytes));
  }
  return Buffer.concat(parts);
}

async function assertHidden(bucket: Bucket, ...values: string[]): Promise<void> {
  const all = await readable(bucket);
  for (const value of values)
    for (const text of [value, encoded(value), encoded(encoded(value))]) assert.equal(all.includes(text), false, text);
}

describe("a backup that is encrypted", () => {
  it("is restored with the identity, and hides all without it", async () => {
    const bucket = memoryBucket();
    await backupInto(bucket, undefined, [recipient]);
    await assertHidden(bucket, VALUE, "hello", "battery");
    const keys = [...(await listFolder(bucket, "backups/b/")).keys()];
    assert.deepEqual(
      keys.filter((key) => !key.endsWith(".age")),
      ["backups/b/lifeboat-backup.json"],
    );
    const own = withIdentity(bucket, stranger, identity);
    assert.equal(await restored(own, {}, liveSecret), VALUE);
    assert.match(await readLog(own, "backups", "b"), /Backup ends/);
    const document = await readBackupDocument(own, await readBackup(own, "b"));
    assert.deepEqual([document.phase, document.errors], ["Completed", []]);
    assert.deepEqual(
      (await listBackups(bucket)).map(({ name }) => name),
      ["b"],
    );
  });

  for (const [what, identities] of [
    ["without an identity", () => []],
    ["with another identity", () => [stranger]],
  ] as const) {
    it(`is denied ${what}, and nothing is written`, async () => {
      const bucket = memoryBucket();
      await backupInto(bucket, undefined, [recipient]);
      const before = [...(await listFolder(bucket, "")).keys()].filter((key) => !key.includes("/runs/"));
      await assert.rejects(restored(withIdentity(bucket, ...identities()), {}, liveSecret), { kind: "denied" });
      const after = [...(await listFolder(bucket, "")).keys()].filter((key) => !key.includes("/runs/"));
      assert.deepEqual(after, before);
    });
  }

  it("is written anew, beside it, where a run died that nobody can read", async () => {
    const bucket = memoryBucket();
    await bucket.put("backups/b/b.tar.gz.age", Buffer.from("left by a run that died"));
    await backupInto(bucket, undefined, [recipient]);
    assert.equal((await readBackup(bucket, "b")).metadata.annotations?.["lifeboat/encryption"], ".2.age");
    assert.equal(await restored(withIdentity(bucket, identity), {}, liveSecret), VALUE);
    await deleteBackup(bucket, "b");
    assert.deepEqual([...(await listFolder(bucket, "backups/")).keys()], []);
  });

  it("keeps what a restore touches encrypted as well, and it is undone with the identity", async () => {
    const bucket = memoryBucket();
    await backupInto(bucket, undefined, [recipient]);
    const own = withIdentity(bucket, identity);
    const spec = { backupName: "b", existingResourcePolicy: "update" } as const;
    const live = objects.map((object) => (object.kind === "Secret" ? secret(OTHER) : object));
    const undone = await restored(
      own,
      { spec, recipients: [recipient] },
      async (server, run) => {
        assert.equal(await liveSecret(server), VALUE);
        await assertHidden(bucket, VALUE, OTHER);
        await runUndo(run, await findUndo(own, "r", signal));
        return liveSecret(server);
      },
      live,
    );
    assert.equal(undone, OTHER);
  });

  it("is corrupt where a byte of it was changed", async () => {
    const bucket = memoryBucket();
    await backupInto(bucket, undefined, [recipient]);
    for (const key of ["backups/b/b.tar.gz.age", "backups/b/b-index.json.gz.age"]) {
      const bytes = await buffer(await bucket.get(key));
      for (const place of [3, 150, bytes.length - 30]) {
        const changed = Buffer.from(bytes);
        changed[place]! ^= 1;
        await bucket.put(key, changed);
        await assert.rejects(
          restored(withIdentity(bucket, identity), {}, liveSecret),
          { kind: "corrupt" },
          `${key} ${place}`,
        );
      }
      await bucket.put(key, bytes);
    }
  });
});

describe("the verification of what is encrypted", () => {
  for (const secrets of [undefined, "encrypt"] as const) {
    it(`finds nothing, and each changed file, with ${secrets ?? "all of it"} encrypted, with an identity and without`, async () => {
      const bucket = memoryBucket();
      await backupInto(bucket, secrets, [recipient]);
      await bucket.put("backups/b/b.tar.gz.9.age", Buffer.from("left by a run that died"));
      for (const identities of [[], [identity]]) {
        const own = withIdentity(bucket, ...identities);
        for (const read of [0, 1]) assert.deepEqual((await verifyBackup(own, "b", { read })).damaged, [], `${read}`);
        for (const key of (await listFolder(bucket, "backups/b/")).keys()) {
          if (key.endsWith(".9.age")) continue;
          const bytes = await buffer(await bucket.get(key));
          const changed = Buffer.from(bytes);
          changed[Math.floor(bytes.length / 2)]! ^= 1;
          await bucket.put(key, changed);
          const { damaged } = await verifyBackup(withIdentity(bucket, ...identities), "b", { read: 1 });
          assert.ok(
            damaged.some((one) => one.key === key),
            key,
          );
          await bucket.put(key, bytes);
        }
      }
    });
  }
});

describe("Secrets", () => {
  it("that alone are encrypted are in an archive that age and tar read, and nowhere else", async () => {
    const bucket = memoryBucket();
    const { record } = await backupInto(bucket, "encrypt", [recipient]);
    await assertHidden(bucket, VALUE);
    assert.equal((await readable(bucket)).includes("hello"), true);
    assert.equal(
      record.status?.progress?.itemsBackedUp,
      (await backupInto(memoryBucket())).record.status?.progress?.itemsBackedUp,
    );
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    const tar = await decrypter.decrypt(await buffer(await bucket.get("backups/b/b-secrets.tar.gz.age")));
    const paths: string[] = [];
    for await (const { path } of readTar(one(Buffer.from(tar)))) paths.push(path);
    assert.ok(paths.includes("resources/secrets/namespaces/shop/db.json"));
    assert.equal(await restored(withIdentity(bucket, identity), {}, liveSecret), VALUE);
  });

  it("that alone are encrypted are needed by a restore, unless it leaves them out", async () => {
    const bucket = memoryBucket();
    await backupInto(bucket, "encrypt", [recipient]);
    await assert.rejects(restored(withIdentity(bucket), {}, liveSecret), { kind: "denied" });
    await assert.rejects(openBackup(withIdentity(bucket), await readBackup(bucket, "b")), { kind: "denied" });
    const spec = { backupName: "b", excludedResources: ["secrets"] };
    const log = startRunLog({});
    assert.equal(await restored(withIdentity(bucket), { spec, log }, liveSecret), undefined);
    assert.doesNotMatch(gunzipSync(log.gzipped()).toString(), /doesn't hold/);
  });

  it("are left out, and not pruned for that", async () => {
    const bucket = memoryBucket();
    const { record } = await backupInto(bucket, "omit");
    await assertHidden(bucket, VALUE);
    assert.equal(record.metadata.annotations?.["lifeboat/secrets-count"], "1");
    const spec = { backupName: "b", prune: true };
    assert.equal(await restored(bucket, { spec }, liveSecret, [secret(OTHER)]), OTHER);
  });

  it("can't be encrypted to nobody, or to what is no key", async () => {
    for (const [recipients, message] of [
      [undefined, /needs the public keys/],
      [["age1nonsense"], /"age1nonsense" is not a public key of age: it is cut off or mistyped/],
      [["nonsense"], /^a recipient is not a public key of age: that begins with "age1"$/],
      [[identity], /^a recipient is a private key of age, not a public one/],
    ] as const) {
      const bucket = memoryBucket();
      await assert.rejects(backupInto(bucket, "encrypt", recipients && [...recipients]), { kind: "invalid", message });
      assert.deepEqual([...(await listFolder(bucket, "")).keys()], []);
    }
  });

  it("leaves no private key in errors and logs, however it came there", () => {
    const error = new LifeboatError("invalid", `no ${identity}`, { hint: `not ${identity}` });
    const log = startRunLog({ backup: identity });
    log.log("error", `no ${identity}`, { key: identity });
    const texts = [error.message, error.hint, messageOf(new Error(identity)), gunzipSync(log.gzipped()).toString()];
    for (const text of texts) {
      assert.match(text ?? "", /AGE-SECRET-KEY-…/);
      assert.doesNotMatch(text ?? "", /AGE-SECRET-KEY-1/);
    }
  });
});

describe("what hooks write", () => {
  const OUTPUT = "a dump with passwords";
  const exec = { container: "a", command: ["dump"] };
  const pod = sample("v1", "Pod", "shop/db", { spec: { containers: [{ name: "a", image: "x" }] } });
  const hooked = (server: ApiServer): Kube => {
    const kube = connect(readKubeconfig(server.kubeconfig));
    return {
      ...kube,
      exec: async () => ({ exitCode: 0, stdout: OUTPUT, stderr: "" }),
      /** Pods run as soon as they are there. */
      async request(asked) {
        const answer = await kube.request(asked);
        if (asked.method !== "POST" || !asked.path.includes("/pods")) return answer;
        const status = { phase: "Running", containerStatuses: [{ name: "a", state: { running: {} } }] };
        const contentType = "application/merge-patch+json";
        const path = "/api/v1/namespaces/shop/pods/db/status";
        await kube.request({ method: "PATCH", path, contentType, body: JSON.stringify({ status }) });
        return answer;
      },
    };
  };

  for (const encryption of ["none", "secrets", "all"] as const)
    it(`is ${encryption === "none" ? "in" : "left out of"} the logs of a backup and of its restore, with encryption of ${encryption}`, async () => {
      const from = await startApiServer({ objects: [...objects, pod] });
      const to = await startApiServer({});
      const [old, fresh] = [hooked(from), hooked(to)];
      try {
        const bucket = memoryBucket();
        const resources = [{ name: "h", pre: [{ exec }], post: [] }];
        const spec = { hooks: { resources }, ...(encryption === "secrets" && { secrets: "encrypt" as const }) };
        const recipients = encryption === "none" ? [] : [recipient];
        const log = startRunLog({});
        await backup({ kube: old, bucket, name: "b", spec, recipients, log, signal });
        const shown = startRunLog({});
        const postHooks = [{ exec }];
        await runRestore({
          ...{ kube: fresh, bucket: withIdentity(bucket, identity), name: "r", log: shown },
          signal: AbortSignal.timeout(20_000),
          spec: { backupName: "b", hooks: { resources: [{ name: "h", postHooks }] } },
        });
        for (const text of [log, shown].map((one) => gunzipSync(one.gzipped()).toString())) {
          assert.equal(text.includes(OUTPUT), encryption === "none", text);
          assert.match(text, /A hook ended/);
        }
        if (encryption !== "none") await assertHidden(bucket, OUTPUT);
      } finally {
        await Promise.all([old.close(), fresh.close()]);
        await Promise.all([from.stop(), to.stop()]);
      }
    });
});

describe("age files", () => {
  const sourceOf = (bytes: Buffer): Source => ({
    name: "f.age",
    size: bytes.length,
    read: async (start, end) => bytes.subarray(start, end),
    close: async () => {},
  });
  const seal = async (bytes: Buffer) =>
    Buffer.concat(await Array.fromAsync(encrypted(one(bytes), encrypterFor([recipient]))));

  it("give back every range of what was encrypted", async () => {
    const size = fc.oneof(fc.nat(300_000), fc.constantFrom(0, 1, 65_535, 65_536, 65_537, 131_072));
    await fc.assert(
      fc.asyncProperty(size, fc.nat(), fc.nat(), async (length, a, b) => {
        const bytes = randomBytes(length);
        const file = await decrypted(sourceOf(await seal(bytes)), [stranger, identity]);
        const [start, end] = [a % (length + 1), b % (length + 1)].sort((x, y) => x - y) as [number, number];
        assert.equal(file.size, length);
        assert.ok((await file.read(start, end)).equals(bytes.subarray(start, end)));
        assert.ok(Buffer.concat(await Array.fromAsync(contentOf(file))).equals(bytes));
      }),
      { numRuns: 40 },
    );
  });

  it("that were cut off anywhere are corrupt", async () => {
    const sealed = await seal(randomBytes(150_000));
    for (const length of [0, 10, 100, 199, 65_700, 131_272, sealed.length - 1]) {
      const read = async () => {
        const file = await decrypted(sourceOf(sealed.subarray(0, length)), [identity]);
        for await (const _ of contentOf(file));
      };
      await assert.rejects(read(), { kind: "corrupt" }, String(length));
    }
  });

  it("that end with an empty chunk, which only an empty file has, are corrupt", async () => {
    const sealed = await seal(randomBytes(150_000));
    const start = (await seal(Buffer.alloc(0))).length - 16;
    for (const chunks of [1, 2]) {
      const cut = sealed.subarray(0, start + chunks * (65_536 + 16) + 16);
      await assert.rejects(decrypted(sourceOf(cut), [identity]), { kind: "corrupt" }, String(chunks));
    }
    assert.equal((await decrypted(sourceOf(await seal(Buffer.alloc(0))), [identity])).size, 0);
  });

  it("that were cut off are told when they are opened, wherever they are to be read", async () => {
    const sealed = await seal(randomBytes(150_000));
    for (const less of [1, 1000, 18_900])
      await assert.rejects(decrypted(sourceOf(sealed.subarray(0, sealed.length - less)), [identity]), {
        kind: "corrupt",
      });
  });

  it("are read by identities as age-keygen writes them; no error quotes what is none", async () => {
    assert.deepEqual(readIdentities(`# created: today\n# public key: ${recipient}\n${identity}\n`, "env:I"), [
      identity,
    ]);
    for (const text of ["", "# nothing", `${identity}x`, "hunter2"])
      assert.throws(
        () => readIdentities(text, "env:I"),
        (error: Error) => !error.message.includes(text || "\0"),
      );
  });
});

async function* one(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

describe("a bucket that decrypts", () => {
  const KEY = "f.age";
  const PLAIN = randomBytes(100_000);
  async function filled() {
    const bucket = memoryBucket();
    await encrypting(bucket, [recipient]).put(KEY, PLAIN);
    return { bucket, sealed: await buffer(await bucket.get(KEY)) };
  }

  it("gives what is stored to who asks for that, however it is decorated", async () => {
    const { bucket, sealed } = await filled();
    const own = withIdentity(bucket, identity);
    const decorated = [own, withIdentity(own, identity), holding(own, { until: new Date(), mode: "governance" })];
    for (const one of decorated) {
      assert.ok((await buffer(await one.get(KEY))).equals(PLAIN));
      assert.equal((await bucketSource(one, KEY))?.size, PLAIN.length);
      assert.ok((await buffer(await storedIn(one).get(KEY))).equals(sealed));
      assert.equal((await bucketSource(storedIn(one), KEY))?.size, sealed.length);
    }
  });

  it("lists an object with one size, whatever the prefix", async () => {
    const { bucket, sealed } = await filled();
    for (const prefix of ["", "f", KEY])
      assert.deepEqual(await listFolder(withIdentity(bucket, identity), prefix), new Map([[KEY, sealed.length]]));
  });

  it("reads by each reader's own signal, and what is there by then", async () => {
    const { bucket } = await filled();
    const own = withIdentity(bucket, identity);
    const first = new AbortController();
    assert.ok((await buffer(await own.get(KEY, { signal: first.signal }))).equals(PLAIN));
    first.abort(new Error("the first one has ended"));
    assert.ok((await buffer(await own.get(KEY, { signal }))).equals(PLAIN));
    await own.delete(KEY);
    await assert.rejects(own.get(KEY, { signal }), { kind: "missing" });
    await encrypting(own, [recipient]).put(KEY, Buffer.from("another"));
    assert.equal((await buffer(await own.get(KEY))).toString(), "another");
  });
});

describe("the record of an encrypted backup that can't be read", () => {
  const failing = (bucket: Bucket, kind: "denied" | "unreachable"): Bucket => ({
    ...bucket,
    get: async (key, options) => {
      if (key === backupKeys(LATER, ".age").metadata) throw new LifeboatError(kind, `can't get ${key}`);
      return bucket.get(key, options);
    },
  });
  const [EARLIER, LATER] = ["daily-21260102030405", "daily-21260103030405"];
  async function scheduled() {
    const bucket = memoryBucket();
    for (const name of [EARLIER, LATER])
      await backupOf(source, { bucket, name, labels: { [SCHEDULE_LABEL]: "daily" }, recipients: [recipient] });
    return bucket;
  }

  it("is not missing: the error is the bucket's", async () => {
    const bucket = await scheduled();
    for (const kind of ["denied", "unreachable"] as const)
      await assert.rejects(readBackup(failing(bucket, kind), LATER), { kind });
  });

  it("is a row of listings where it is denied, and no older backup passes for the newest", async () => {
    const bucket = failing(await scheduled(), "denied");
    const rows = (await listBackups(bucket)).map(({ name, problem }) => [name, problem]);
    assert.deepEqual(rows[0], [EARLIER, undefined]);
    assert.match(String(rows[1]), new RegExp(`^${LATER},can't get`));
    await assert.rejects(newestBackup(bucket, "daily"), { kind: "denied" });
    await assert.rejects(newestBackup(bucket, "hourly"), { kind: "missing" });
  });

  it("fails a listing where the bucket can't be reached", async () => {
    await assert.rejects(listBackups(failing(await scheduled(), "unreachable")), { kind: "unreachable" });
  });
});
