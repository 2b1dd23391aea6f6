import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { LifeboatError } from "../../core/errors.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";
import { bucketConformance, read, refusesToHold, rejects, streamOf } from "./bucket.ts";

let folder = "";
let count = 0;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "lifeboat-directory-"));
});
after(() => rm(folder, { recursive: true, force: true }));
const newPath = () => join(folder, String(++count), "not made yet");

bucketConformance("directory", () => directoryBucket(newPath()), {
  keyBelowKeyRefused: "a path is either a file or a directory",
});

describe("directory", () => {
  test("takes no object that is to be held", () => refusesToHold(directoryBucket(newPath())));

  test("reading makes no directory, a put makes it for the user alone", async () => {
    const path = newPath();
    const bucket = directoryBucket(path);
    await rejects("missing", bucket.get("a"));
    assert.deepEqual(await Array.fromAsync(bucket.list("")), []);
    await bucket.delete("a");
    await assert.rejects(stat(path), { code: "ENOENT" });
    await bucket.put("a/b", Buffer.from("1"));
    assert.equal((await stat(path)).mode & 0o777, 0o700);
    assert.equal((await stat(join(path, "a/b"))).mode & 0o777, 0o600);
  });

  test("a file system that refuses every folder ends the put", {
    skip: !existsSync("/proc/self") && "needs /proc",
  }, async () => {
    await assert.rejects(directoryBucket("/proc/no/such").put("a", Buffer.from("1")), LifeboatError);
  });

  test("puts and deletes in one folder don't disturb each other", async () => {
    const bucket = directoryBucket(newPath());
    const work = async (key: string) => {
      for (let round = 0; round < 10; round++) {
        await bucket.put(key, Buffer.from(key), { ifAbsent: true });
        assert.equal(String(await read(bucket, key)), key);
        await bucket.delete(key);
      }
    };
    await Promise.all(["a/b/1", "a/b/2", "a/b/c/3", "a/4"].map(work));
    assert.deepEqual(await Array.fromAsync(bucket.list("")), []);
  });

  test("folders without an object and links are not listed", async () => {
    const path = newPath();
    const bucket = directoryBucket(path);
    await bucket.put("a/b", Buffer.from("1"));
    await mkdir(join(path, "empty/below"), { recursive: true });
    await symlink(join(path, "a"), join(path, "link"));
    assert.deepEqual(await Array.fromAsync(bucket.list("", { delimiter: "/" })), [{ prefix: "a/" }]);
    const keys = await Array.fromAsync(bucket.list(""), (listed) => listed.key);
    assert.deepEqual(keys, ["a/b"]);
  });

  test("what a killed process left is not listed, and goes after a day", async () => {
    const path = newPath();
    await directoryBucket(path).put("a", Buffer.from("1"));
    const old = join(path, ".tmp-old");
    const recent = join(path, ".tmp-recent");
    await writeFile(old, "half an object");
    await writeFile(recent, "half an object");
    const twoDaysAgo = Date.now() / 1000 - 2 * 24 * 3600;
    await utimes(old, twoDaysAgo, twoDaysAgo);

    const bucket = directoryBucket(path);
    const keys = await Array.fromAsync(bucket.list(""), (listed) => listed.key);
    assert.deepEqual(keys, ["a"]);
    await rejects("invalid", bucket.get(".tmp-recent"));
    await bucket.put("b", Buffer.from("1"));
    assert.deepEqual((await readdir(path)).sort(), [".tmp-recent", "a", "b"]);
  });

  test("a failed put leaves no file, hidden or not", async () => {
    const path = newPath();
    const bucket = directoryBucket(path);
    const body = async function* () {
      yield* streamOf(Buffer.alloc(100));
      throw new Error("the body broke");
    };
    await assert.rejects(bucket.put("a", body()), /the body broke/);
    await bucket.put("b", Buffer.from("1"), { ifAbsent: true });
    await rejects("conflict", bucket.put("b", Buffer.from("2"), { ifAbsent: true }));
    assert.deepEqual(await readdir(path), ["b"]);
  });

  test("a name that is too long for the file system is invalid, a file as the directory too", async () => {
    const path = newPath();
    await rejects("invalid", directoryBucket(path).put("k".repeat(300), Buffer.from("1")));
    const file = join(folder, "file");
    await writeFile(file, "not a directory");
    await rejects("invalid", directoryBucket(file).put("a", Buffer.from("1")));
  });

  test("where nothing may be written it is denied", {
    skip: process.platform !== "linux" && "needs /sys",
  }, async () => {
    await rejects("denied", directoryBucket("/sys/lifeboat").put("a", Buffer.from("1")));
  });

  test("errors name the location, the key and what to do", async () => {
    const bucket = directoryBucket(newPath());
    const error = await rejects("missing", bucket.get("backups/x/velero-backup.json"));
    assert.match(error.message, /^can't get backups\/x\/velero-backup\.json in file:\/\/\/.*: no such object$/);
    await bucket.put("b", Buffer.from("1"));
    assert.equal(String(await read(bucket, "b")), "1");
  });
});
