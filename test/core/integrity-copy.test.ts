import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { listBackups } from "../../core/catalog.ts";
import { listFolder } from "../../core/contents.ts";
import { deleteBackup } from "../../core/delete.ts";
import { type Copying, copyBackup } from "../../core/integrity/copy.ts";
import { verifyBackup } from "../../core/integrity/verify.ts";
import { backupKeys, lockFolder } from "../../core/layout.ts";
import type { Bucket } from "../../core/ports.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { tarOf } from "./archive-sample.ts";
import { backedUp, bucketWith, filesIn, settings, signal } from "./integrity-sample.ts";

const keys = backupKeys("b");
const TIMING = { renew: 100, valid: 400, poll: 20 };
let ours: Map<string, Buffer>;
let veleros: Map<string, Buffer>;
let encrypted: Map<string, Buffer>;

before(async () => {
  ours = await filesIn(await backedUp(settings(5)), keys.folder);
  const record = {
    apiVersion: "velero.io/v1",
    kind: "Backup",
    metadata: { name: "b" },
    status: { phase: "Completed" },
  };
  const tar = await tarOf({ "metadata/version": "1.1.0\n", "resources/pods/namespaces/shop/web.json": "{}" });
  veleros = new Map([
    [keys.tar, gzipSync(tar)],
    [keys.log, gzipSync("hello\n")],
    [`${keys.folder}b-newer.gz`, gzipSync("?")],
    [keys.metadata, Buffer.from(JSON.stringify(record))],
  ]);
  const recipient = await identityToRecipient(await generateX25519Identity());
  encrypted = await filesIn(await backedUp(settings(5), "b", memoryBucket(), { recipients: [recipient] }), keys.folder);
});

const kinds: [what: string, files: () => Map<string, Buffer>][] = [
  ["a backup of Lifeboat", () => ours],
  ["a backup of Velero", () => veleros],
  ["an encrypted backup, without its identity", () => encrypted],
];

const elsewhere = (): Bucket => ({ ...memoryBucket(), location: "memory://elsewhere" });
const copy = async (files: Map<string, Buffer>, to: Bucket, more: Partial<Copying> = {}) =>
  copyBackup("b", { from: await bucketWith(files), to, signal, timing: TIMING, ...more });
const arrived = (to: Bucket) => filesIn(to, keys.folder);

/** The bucket, whose nth put of a backup's objects fails once all of its body has been taken. */
function failingAt(bucket: Bucket, nth: number): Bucket {
  let puts = 0;
  return {
    ...bucket,
    async put(key, body, options) {
      if (!key.startsWith("backups/") || puts++ !== nth) return bucket.put(key, body, options);
      if (!Buffer.isBuffer(body)) for await (const _ of body);
      throw new Error("the bucket is gone");
    },
  };
}

/** The bucket, which stores another byte somewhere in the object of that key. */
function spoiling(bucket: Bucket, spoilt: string): Bucket {
  return {
    ...bucket,
    async put(key, body, options) {
      if (key !== spoilt) return bucket.put(key, body, options);
      const bytes = Buffer.isBuffer(body) ? Buffer.from(body) : Buffer.concat(await Array.fromAsync(body));
      bytes[bytes.length >> 1]! ^= 1;
      await bucket.put(key, bytes, options);
    },
  };
}

for (const [what, files] of kinds) {
  describe(`a copy of ${what}`, () => {
    it("is the same, byte for byte, and intact", async () => {
      const to = elsewhere();
      const { files: count, bytes, ...document } = await copy(files(), to);
      assert.deepEqual(document, {
        ...{ schemaVersion: 1, kind: "copy", name: "b", from: "memory://", to: "memory://elsewhere" },
      });
      assert.deepEqual(await arrived(to), new Map([...files()].sort(([a], [b]) => (a < b ? -1 : 1))));
      const sizes = [...files().values()].map(({ length }) => length);
      assert.deepEqual([count, bytes], [sizes.length, sizes.reduce((sum, size) => sum + size, 0)]);
      if (what.includes("Lifeboat")) assert.ok((await verifyBackup(to, "b", { read: 1 })).ok);
    });

    it("that is interrupted is not listed, whichever put it was, and goes on when it is made again", async () => {
      for (let nth = 0; nth < files().size; nth++) {
        const to = elsewhere();
        await assert.rejects(copy(files(), failingAt(to, nth)), { message: "the bucket is gone" });
        assert.deepEqual(await listBackups(to), []);
        const there = await arrived(to);
        const stored: string[] = [];
        const put: Bucket["put"] = (key, ...given) => {
          stored.push(key);
          return to.put(key, ...given);
        };
        await copy(files(), { ...to, put });
        assert.deepEqual(await arrived(to), await arrived(await bucketWith(files())));
        for (const key of there.keys()) assert.ok(!stored.includes(key), `${key} was copied twice`);
      }
    });

    it("that arrives as something else is refused, whichever file it is, and leaves nothing in the way", async () => {
      for (const key of files().keys()) {
        const to = elsewhere();
        const refused = { kind: "corrupt", message: new RegExp(key), hint: /nothing of it is left there/ };
        await assert.rejects(copy(files(), spoiling(to, key)), refused, key);
        assert.equal((await arrived(to)).size, 0);
        await copy(files(), to);
      }
    });

    it("that arrives as something else where nothing may be deleted is not listed, and the error says what deletes it", async () => {
      for (const key of [...files().keys()].filter((key) => !key.endsWith("-backup.json"))) {
        const to = elsewhere();
        const spoilt = { ...spoiling(to, key), delete: async () => assert.fail("not allowed") };
        const hint = /backup delete b --location 'memory:\/\/elsewhere' --confirm/;
        await assert.rejects(copy(files(), spoilt), { kind: "corrupt", message: new RegExp(key), hint }, key);
        assert.deepEqual(await listBackups(to), []);
        await assert.rejects(copy(files(), to), { kind: "corrupt", hint });
        await deleteBackup(to, "b");
        await copy(files(), to);
      }
    });

    it("overwrites nothing", async () => {
      const to = elsewhere();
      await copy(files(), to);
      const before = await filesIn(to);
      await assert.rejects(copy(files(), to), { kind: "conflict", message: /backup "b" already exists in memory:/ });
      assert.deepEqual(await filesIn(to), before);
    });
  });
}

describe("a copy", () => {
  it("of a backup that is damaged is refused, and nothing is stored", async () => {
    for (const key of [...ours.keys()].filter((key) => key !== keys.tar)) {
      const body = Buffer.from(ours.get(key)!);
      body[20]! ^= 1;
      const to = elsewhere();
      await assert.rejects(copy(new Map([...ours, [key, body]]), to), { kind: "corrupt", message: new RegExp(key) });
      assert.equal((await filesIn(to)).size, 0);
    }
  });

  it("of a damaged archive is found where it arrives, and does not keep one of a good archive out", async () => {
    const body = Buffer.from(ours.get(keys.tar)!);
    body[2000]! ^= 1;
    const to = elsewhere();
    await assert.rejects(copy(new Map([...ours, [keys.tar, body]]), to), { kind: "corrupt", message: /b\.tar\.gz: / });
    assert.equal((await arrived(to)).size, 0);
    await copy(ours, to);
  });

  it("leaves out what does not belong to the backup", async () => {
    const to = elsewhere();
    await copy(new Map([...ours, [`${keys.folder}stray`, Buffer.from("x")]]), to);
    assert.deepEqual(await arrived(to), ours);
  });

  it("does not mix with what another run has left", async () => {
    const to = elsewhere();
    await to.put(keys.tar, Buffer.from("another's"));
    await assert.rejects(copy(ours, to), { kind: "conflict", message: /b\.tar\.gz, which is in the way/ });
    await deleteBackup(to, "b");
    await to.put(`${keys.folder}stray`, Buffer.from("x"));
    await assert.rejects(copy(ours, to), { kind: "conflict", message: /stray, which is in the way/ });
  });

  it("is refused while a run is at work on the name, and not once its lock is no longer valid", async () => {
    const to = elsewhere();
    const held = Buffer.from(JSON.stringify({ run: "r", state: "held" }));
    await to.put(`${lockFolder("backups", "b")}000001.json`, held);
    await assert.rejects(copy(ours, to, { timing: { ...TIMING, valid: 60_000 } }), { kind: "busy" });
    await delay(TIMING.valid);
    await copy(ours, to);
    assert.deepEqual(await arrived(to), ours);
  });

  it("at once with another makes one copy, and the other one is told so", async () => {
    const to = elsewhere();
    const ended = await Promise.allSettled([copy(ours, to), copy(ours, to), copy(ours, to)]);
    assert.equal(ended.filter(({ status }) => status === "fulfilled").length, 1);
    assert.deepEqual(await arrived(to), ours);
  });

  const refused: [what: string, more: () => Partial<Copying>, kind: string, message: RegExp][] = [
    ["where the original lies", () => ({ to: memoryBucket() }), "invalid", /would lie where the backup lies/],
    ["that isn't there", () => ({ from: memoryBucket() }), "missing", /there is no backup "b"/],
    ["that isn't signed, where keys are trusted", () => ({ trustedKeys: ["x"] }), "corrupt", /is not signed/],
  ];
  for (const [what, more, kind, message] of refused) {
    it(`of a backup ${what} is refused, and nothing is stored`, async () => {
      const to = elsewhere();
      await assert.rejects(copy(ours, to, more()), { kind, message });
      assert.equal((await listFolder(to, "")).size, 0);
    });
  }

  it("of a backup of Velero that has not ended is refused", async () => {
    const record = Buffer.from(
      JSON.stringify({ kind: "Backup", metadata: { name: "b" }, status: { phase: "InProgress" } }),
    );
    await assert.rejects(copy(new Map([...veleros, [keys.metadata, record]]), elsewhere()), { kind: "invalid" });
  });
});
