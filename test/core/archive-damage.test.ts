import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { type Header, pack } from "tar-stream";
import { openArchive, readTar } from "../../core/archive/reader.ts";
import { rebuildIndex } from "../../core/archive/rebuild.ts";
import { isLifeboatError } from "../../core/errors.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { collect, KEYS, manyItems, put, streamOf, write } from "./archive-sample.ts";

const VERSION = { name: "metadata/version", body: "1.1.0\n" };
const GOOD = { name: "resources/pods/cluster/a.json", body: "{}" };

interface Entry {
  name: string;
  body?: string | Buffer;
  type?: string;
  linkname?: string;
  pax?: Record<string, string>;
}

async function tarOf(...entries: Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { body = "", ...header } of entries) {
    if (header.type && header.type !== "file") archive.entry(header as Header);
    else archive.entry(header as Header, body);
  }
  archive.finalize();
  return await collect(archive as unknown as AsyncIterable<Buffer>);
}

/** Another type in the first header, with the checksum that fits. */
function retyped(tar: Buffer, type: string): Buffer {
  const changed = Buffer.from(tar);
  changed.write(type, 156, "latin1");
  changed.fill(" ", 148, 156);
  const sum = changed.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  changed.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return changed;
}

const good = await tarOf(VERSION, GOOD);
const zeros = Buffer.alloc(40 * 1024 * 1024);
const refusals: [what: string, archive: Buffer, message: RegExp][] = [
  [
    "traversal",
    gzipSync(await tarOf(VERSION, { ...GOOD, name: "../../etc/cron.d/a" })),
    /"\.\.\/\.\.\/etc.*holds "\.\."/,
  ],
  ["traversal inside", gzipSync(await tarOf(VERSION, { ...GOOD, name: "resources/../../a" })), /holds "\.\."/],
  ["traversal by backslash", gzipSync(await tarOf(VERSION, { ...GOOD, name: "resources\\..\\..\\a" })), /holds "\.\."/],
  ["an absolute path", gzipSync(await tarOf(VERSION, { ...GOOD, name: "/etc/passwd" })), /is absolute/],
  ["a drive", gzipSync(await tarOf(VERSION, { ...GOOD, name: "C:\\a" })), /is absolute/],
  ["a share", gzipSync(await tarOf(VERSION, { ...GOOD, name: "\\\\a\\b" })), /is absolute/],
  ["a NUL in a name", gzipSync(await tarOf(VERSION, { ...GOOD, pax: { path: "resources/a\0.json" } })), /holds a NUL/],
  ["a symbolic link", gzipSync(await tarOf(VERSION, { name: "a", type: "symlink", linkname: "/etc" })), /is a symlink/],
  ["a hard link", gzipSync(await tarOf(VERSION, { name: "a", type: "link", linkname: "b" })), /is a link/],
  ["a character device", gzipSync(await tarOf({ name: "a", type: "character-device" })), /is a character-device/],
  ["a block device", gzipSync(await tarOf({ name: "a", type: "block-device" })), /is a block-device/],
  ["a pipe", gzipSync(await tarOf({ name: "a", type: "fifo" })), /is a fifo/],
  ["a contiguous file", gzipSync(retyped(good, "7")), /is a contiguous-file/],
  ["a sparse file", gzipSync(retyped(good, "S")), /unknown type/],
  [
    "a compression bomb",
    gzipSync(await tarOf(VERSION, ...[1, 2, 3].map((i) => ({ name: `a${i}`, body: zeros })))),
    /bomb/,
  ],
  ["no gzip", Buffer.from("<html>Access denied</html>"), /is no gzip file/],
  ["nothing", Buffer.alloc(0), /ends too early/],
  ["gzip of no tar", gzipSync("x".repeat(5000)), /tar is damaged/],
  [
    "a tar of something else",
    gzipSync(await tarOf({ name: "README.md", body: "x" })),
    /neither metadata\/version nor resources/,
  ],
  ["a tar without its end", gzipSync(good.subarray(0, -1024)), /its tar has no end/],
  ["a tar with half its end", gzipSync(good.subarray(0, -512)), /its tar has no end/],
  ["a tar cut in a body", gzipSync(good.subarray(0, 1100)), /tar is damaged/],
  ["a gzip file cut off", gzipSync(good).subarray(0, -9), /ends too early/],
  ["a gzip file cut in its checksum", gzipSync(good).subarray(0, -3), /ends too early/],
];

describe("readTar refuses", () => {
  for (const [what, archive, message] of refusals) {
    it(what, async () => {
      const reading = Array.fromAsync(readTar(streamOf(archive)));
      await assert.rejects(reading, (error) => {
        assert.ok(isLifeboatError(error, "corrupt"), String(error));
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      });
    });
  }

  it("items and archives over the limits", async () => {
    const archive = gzipSync(await tarOf(VERSION, { ...GOOD, body: "x".repeat(2000) }));
    const read = (limits: object) => Array.fromAsync(readTar(streamOf(archive), limits));
    await assert.rejects(read({ itemBytes: 1999 }), { kind: "corrupt", message: /has 2000 bytes; the limit is 1999/ });
    await assert.rejects(read({ totalBytes: 4000 }), { kind: "corrupt", message: /more than 4000 bytes/ });
    assert.equal((await read({ itemBytes: 2000, totalBytes: 10_000 })).length, 2);
  });

  it("nothing of an archive it can read, be it of many members or none but directories and a version", async () => {
    const parts = [good.subarray(0, 700), good.subarray(700)].map((part) => gzipSync(part));
    assert.equal((await Array.fromAsync(readTar(streamOf(Buffer.concat(parts), 7)))).length, 2);
    const empty = gzipSync(await tarOf({ name: "resources/", type: "directory" }, VERSION));
    assert.equal((await Array.fromAsync(readTar(streamOf(empty)))).length, 1);
  });

  it("and stops reading when its consumer stops", { timeout: 60_000 }, async () => {
    const closed = Promise.withResolvers<void>();
    async function* endless() {
      try {
        for (;;) yield gzipSync(good);
      } finally {
        closed.resolve();
      }
    }
    for await (const { path } of readTar(endless())) if (path === GOOD.name) break;
    await closed.promise;
  });
});

const ITEMS = manyItems(40);
const written = await write(ITEMS, { "metadata/lifeboat.json": "{}" });
const bodies = ITEMS.map(({ body }) => body);

/** Everything an archive gives; the promise to keep is: what was written, or `corrupt`. */
async function readAll(archive: { tar: Buffer; index?: Buffer }): Promise<"right" | "wrong" | "corrupt"> {
  try {
    const opened = await openArchive(await put(memoryBucket(), archive), KEYS);
    try {
      const read = await Array.fromAsync(opened.read(opened.entries()));
      const same =
        read.length === bodies.length && read.every(({ body }, i) => body.equals(bodies[i] ?? Buffer.alloc(0)));
      return same && String(await opened.file("metadata/lifeboat.json")) === "{}" ? "right" : "wrong";
    } finally {
      await opened.close();
    }
  } catch (error) {
    if (isLifeboatError(error, "corrupt")) return "corrupt";
    throw error;
  }
}

/** Offsets all over `bytes`, its first and last twenty among them. */
function offsets(bytes: Buffer, count: number): number[] {
  const spread = Array.from({ length: count }, (_, i) => Math.floor(((i + Math.random()) * bytes.length) / count));
  const edges = Array.from({ length: 20 }, (_, i) => [i, bytes.length - 1 - i]).flat();
  return [...spread, ...edges];
}

function flipped(bytes: Buffer, offset: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[offset] = (changed[offset] ?? 0) ^ (1 << Math.floor(Math.random() * 8));
  return changed;
}

describe("damage", () => {
  it("any changed byte of the index is found", async () => {
    for (const offset of offsets(written.index, 200)) {
      const damaged = { ...written, index: flipped(written.index, offset) };
      assert.equal(await readAll(damaged), "corrupt", `at ${offset}`);
    }
  });

  it("any changed byte of the archive is found by verify, and no wrong content is given out", async () => {
    const intact = await openArchive(await put(memoryBucket(), written), KEYS);
    assert.deepEqual(await Array.fromAsync(intact.verify()), []);
    for (const offset of offsets(written.tar, 200)) {
      const damaged = { ...written, tar: flipped(written.tar, offset) };
      const archive = await openArchive(await put(memoryBucket(), damaged), KEYS);
      const problems = await Array.fromAsync(archive.verify());
      assert.ok(
        problems.length > 0 && problems.every(({ reason }) => /differs from its digest/.test(reason)),
        `at ${offset}`,
      );
      assert.equal(await readAll(damaged), "corrupt", `at ${offset}`);
    }
  });

  it("a changed byte of an archive without its index never gives wrong content", async () => {
    const unnoticed: number[] = [];
    for (const offset of offsets(written.tar, 200)) {
      const outcome = await readAll({ tar: flipped(written.tar, offset) });
      assert.notEqual(outcome, "wrong", `at ${offset}`);
      if (outcome === "right") unnoticed.push(offset);
    }
    // What isn't content: the first header, without which it is read as a foreign archive; the bits that fill up a
    // deflate stream's last byte; a copy of zeros taken from other zeros.
    assert.ok(unnoticed.length <= 35, `not noticed: ${unnoticed}`);
  });

  it("truncation is found wherever it is", async () => {
    for (const end of offsets(written.tar, 30)) {
      const tar = written.tar.subarray(0, end);
      assert.equal(await readAll({ ...written, tar }), "corrupt", `with an index, at ${end}`);
      assert.equal(await readAll({ tar }), "corrupt", `without, at ${end}`);
    }
    for (const end of offsets(written.index, 30)) {
      assert.equal(
        await readAll({ ...written, index: written.index.subarray(0, end) }),
        "corrupt",
        `the index at ${end}`,
      );
    }
  });

  it("segments that are missing, swapped or repeated are found without an index", async () => {
    const segments: Buffer[] = [];
    for (let start = 0; start < written.tar.length; start += segments.at(-1)?.length ?? 0) {
      segments.push(written.tar.subarray(start, start + written.tar.readUInt32LE(start + 16)));
    }
    assert.ok(segments.length >= 2);
    const [first, second, ...rest] = segments as [Buffer, Buffer, ...Buffer[]];
    for (const order of [[second, ...rest], [second, first, ...rest], segments.slice(0, -1)]) {
      await assert.rejects(collect(rebuildIndex(streamOf(Buffer.concat(order))).index), { kind: "corrupt" });
    }
  });
});
