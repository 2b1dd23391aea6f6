import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { memberSize, sha256 } from "../../core/archive/gzip.ts";
import { itemFacts, itemPath } from "../../core/archive/item.ts";
import { openArchive, readTar } from "../../core/archive/reader.ts";
import { rebuildIndex } from "../../core/archive/rebuild.ts";
import { together, writeArchive } from "../../core/archive/writer.ts";
import { memoryBucket } from "../memory-bucket.ts";
import {
  collect,
  KEYS,
  MTIME,
  manyItems,
  noise,
  objectOf,
  put,
  type SampleItem,
  sampleItem,
  streamOf,
  write,
  writeCut,
} from "./archive-sample.ts";

const LONG = "n".repeat(250);
const ODD: SampleItem[] = [
  sampleItem("default", "plain"),
  sampleItem("", "system:controller:a\\b"),
  sampleItem("default", LONG),
  sampleItem("default", "grüße-日本-🚢"),
  { ...sampleItem("", "empty"), body: Buffer.from("{}") },
];
const FILES = { "metadata/lifeboat.json": '{"run":"1"}' };

describe("the archive as written", () => {
  const directory = mkdtempSync(join(tmpdir(), "archive-test-"));
  const tarPath = join(directory, "a.tar.gz");
  const indexPath = join(directory, "index.json.gz");
  before(async () => {
    const { tar, index } = await write([...ODD, ...manyItems(60)], FILES);
    writeFileSync(tarPath, tar);
    writeFileSync(indexPath, index);
  });
  after(() => rmSync(directory, { recursive: true }));

  it("is accepted by gzip", () => {
    execFileSync("gzip", ["-t", tarPath, indexPath]);
  });

  it("is listed by tar: Velero's paths in Velero's order, regular files of mode 0755", () => {
    const environment = { ...process.env, TZ: "UTC", LC_ALL: "C" };
    const lines = execFileSync("tar", ["--numeric-owner", "--quoting-style=literal", "-tvzf", tarPath], {
      env: environment,
    });
    const listed = lines.toString().trimEnd().split("\n");
    const expected = [...ODD, ...manyItems(60)].flatMap(({ id }) => [
      itemPath(id),
      itemPath(id, "v1-preferredversion"),
    ]);
    assert.deepEqual(
      listed.map((line) => line.replace(/^\S+\s+\S+\s+\d+\s+\S+\s+\S+\s/, "")),
      ["metadata/version", "metadata/lifeboat.json", ...expected],
    );
    for (const line of listed) assert.match(line, /^-rwxr-xr-x 0\/0 +\d+ 2026-01-02 03:04/);
  });

  it("is extracted by tar byte for byte", () => {
    execFileSync("tar", ["-xzf", tarPath, "-C", directory]);
    assert.equal(readFileSync(join(directory, "metadata/version"), "utf8"), "1.1.0\n");
    for (const item of manyItems(60)) {
      assert.deepEqual(readFileSync(join(directory, itemPath(item.id))), item.body);
      assert.deepEqual(readFileSync(join(directory, itemPath(item.id, "v1-preferredversion"))), item.body);
    }
  });

  it("has an index that is line-JSON for every other tool", () => {
    const lines = gunzipSync(readFileSync(indexPath))
      .toString()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.slice(0, -1).map(({ resource, namespace, name }) => ({ resource, namespace, name })),
      [...ODD, ...manyItems(60)].map((item) => item.id),
    );
    assert.equal(lines.at(-1).format, "lifeboat-index");
  });

  it("consists of segments of about 1 MiB, cut between items", () => {
    const tar = readFileSync(tarPath);
    let members = 0;
    for (let start = 0; start < tar.length; members++) {
      const size = memberSize(tar.subarray(start)) ?? assert.fail("no member");
      const raw = gunzipSync(tar.subarray(start, start + size));
      assert.equal(raw.subarray(257, 262).toString(), "ustar");
      assert.doesNotMatch(raw.subarray(0, 100).toString(), /preferredversion/);
      start += size;
      if (start < tar.length) assert.ok(raw.length >= 1024 * 1024 && raw.length < 1.1 * 1024 * 1024);
      else assert.ok(raw.subarray(-1024).every((byte) => byte === 0));
    }
    assert.ok(members >= 2);
  });
});

describe("the golden archive", () => {
  const path = (name: string) => join(import.meta.dirname, "../golden", name);
  const golden = [...ODD, sampleItem("default", "m".repeat(300)), sampleItem("kube-system", "noise", noise(3000, 1))];

  it("is still what the writer writes (compressed bytes may change with zlib)", async () => {
    const { tar, index } = await write(golden, FILES);
    if (process.env.UPDATE_GOLDEN) {
      writeFileSync(path("archive.tar.gz"), tar);
      writeFileSync(path("archive-index.json.gz"), index);
    }
    assert.ok(gunzipSync(tar).equals(gunzipSync(readFileSync(path("archive.tar.gz")))), "the tar differs");
    const lines = (bytes: Buffer) => gunzipSync(bytes).toString().split("\n");
    const stored = lines(readFileSync(path("archive-index.json.gz")));
    assert.deepEqual(lines(index).slice(0, golden.length), stored.slice(0, golden.length));
    const shape = (line?: string) => ({ ...JSON.parse(line ?? ""), segments: [], members: [] });
    assert.deepEqual(shape(lines(index)[golden.length]), shape(stored[golden.length]));
  });

  for (const [what, index] of [
    ["is still read", "archive-index.json.gz"],
    ["is still read with an index that tells no likenesses", "archive-index-without-likeness.json.gz"],
  ] as const)
    it(what, async () => {
      const stored = { tar: readFileSync(path("archive.tar.gz")), index: readFileSync(path(index)) };
      const archive = await openArchive(await put(memoryBucket(), stored), KEYS);
      const read = await Array.fromAsync(archive.read(archive.entries()));
      assert.deepEqual(
        read.map(({ body }) => body),
        golden.map(({ body }) => body),
      );
    });
});

const part = fc
  .string({ minLength: 1, maxLength: 300, unit: "binary" })
  .map((text) =>
    Buffer.from(text)
      .toString()
      .replaceAll(/[/\0\\]/g, "-"),
  )
  .filter((text) => text !== "." && text !== "..");
const anyBody = fc
  .record({ metadata: fc.record({ labels: fc.dictionary(fc.string(), fc.string()) }), data: fc.jsonValue() })
  .chain((object) =>
    fc.nat(300_000).map((size) => Buffer.from(JSON.stringify({ ...object, noise: noise(size, size) }))),
  );
const anyItem: fc.Arbitrary<SampleItem> = fc
  .tuple(
    part.filter((text) => text !== "cluster" && text !== "namespaces"),
    fc.option(part, { nil: "" }),
    part,
    fc.constantFrom("v1", "v1beta1", "v2alpha3"),
    anyBody,
  )
  .map(([resource, namespace, name, version, body]) => ({ id: { resource, namespace, name }, version, body }));

describe("any items", () => {
  it("come back as they were written, in order, by readTar and by the index; and always as the same bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyItem, { maxLength: 12 }), async (items) => {
        const written = await write(items, FILES);
        const again = await write(items, FILES);
        assert.ok(again.tar.equals(written.tar) && again.index.equals(written.index));
        const files = await Array.fromAsync(readTar(streamOf(written.tar)));
        assert.deepEqual(
          files.slice(2).map(({ path, body }) => [path, sha256(body)]),
          items.flatMap(({ id, version, body }) => [
            [itemPath(id), sha256(body)],
            [itemPath(id, `${version}-preferredversion`), sha256(body)],
          ]),
        );
        const archive = await openArchive(await put(memoryBucket(), written), KEYS);
        const read = await Array.fromAsync(archive.read(archive.entries()));
        assert.deepEqual(
          read.map(({ entry, body }) => [itemPath(entry), entry.version, sha256(body)]),
          items.map(({ id, version, body }) => [itemPath(id), version, sha256(body)]),
        );
        for (const { entry, body } of read) {
          assert.deepEqual({ ...entry }, { ...entry, ...itemFacts(JSON.parse(body.toString())) });
        }
      }),
      { numRuns: 20 },
    );
  });
});

/** All that the index of an archive tells, once the archive has been held to it. */
async function entriesOf(archive: { tar: Buffer; index: Buffer }) {
  const bucket = memoryBucket();
  await put(bucket, archive);
  await using opened = {
    archive: await openArchive(bucket, KEYS),
    [Symbol.asyncDispose]: () => opened.archive.close(),
  };
  assert.deepEqual(await Array.fromAsync(opened.archive.verify()), []);
  return await Array.fromAsync(opened.archive.entries());
}

describe("the writer", () => {
  it("refuses what can't be a path, and goes on", async () => {
    const writer = writeArchive({ mtime: MTIME });
    const tar = collect(writer.tar);
    const index = collect(writer.index);
    const facts = itemFacts(objectOf(sampleItem("a", "b")));
    for (const name of ["", ".", "..", "a/b", "a\0b", "a\\..\\b"]) {
      const { version, body } = sampleItem("a", "b");
      const id = { resource: "configmaps", namespace: "a", name };
      await assert.rejects(writer.item({ id, version, body, facts }), { kind: "invalid" }, name);
    }
    const huge = { ...sampleItem("a", "b"), body: Buffer.alloc(64 * 1024 ** 2 + 1), facts };
    await assert.rejects(writer.item(huge), { kind: "invalid", message: /over 64 MiB/ });
    for (const path of ["lifeboat.json", "metadata/../a", "metadata/version"]) {
      await assert.rejects(writer.file(path, Buffer.alloc(0)), { kind: "invalid" }, path);
    }
    const totals = writer.finish();
    await together(writer, [tar, index, totals]);
    assert.deepEqual(await totals, { items: 0, bytes: 0, segments: 1 });
    assert.deepEqual(
      (await Array.fromAsync(readTar(streamOf(await tar)))).map((file) => file.path),
      ["metadata/version"],
    );
  });

  it("goes on where another paused, anywhere: the same items, in an archive like any other", async () => {
    const items = [...manyItems(24, 60_000)];
    const uncut = await write(items);
    const stops = fc.uniqueArray(fc.integer({ min: 0, max: items.length }), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(stops, async (stops) => {
        const cut = await writeCut(items, stops);
        const bodies = async (tar: Buffer) =>
          (await Array.fromAsync(readTar(streamOf(tar)))).map(({ path, body }) => [path, body.toString()]);
        assert.deepEqual(await bodies(cut.tar), await bodies(uncut.tar));
        assert.deepEqual(cut.totals, { ...uncut.totals, segments: cut.totals.segments });
        const { index } = rebuildIndex(streamOf(cut.tar));
        assert.deepEqual(await entriesOf(cut), await entriesOf({ tar: cut.tar, index: await collect(index) }));
      }),
      { numRuns: 10 },
    );
  });

  it("waits for its consumers: memory is bounded", async () => {
    const writer = writeArchive({ mtime: MTIME });
    const index = collect(writer.index);
    let accepted = 0;
    const fill = (async () => {
      for (const item of manyItems(10, 600_000)) {
        await writer.item({ ...item, facts: itemFacts(objectOf(item)) });
        accepted += 1;
      }
      return await writer.finish();
    })();
    const stalled = async () => {
      for (let before = -1; before !== accepted; await new Promise((resolve) => setTimeout(resolve, 100)))
        before = accepted;
      return accepted;
    };
    assert.ok((await stalled()) <= 5, `${accepted} segments were accepted`);
    await together(writer, [collect(writer.tar), index, fill]);
    assert.equal((await fill).items, 10);
  });

  it("fails both streams and those who wait when it is aborted", async () => {
    const writer = writeArchive({ mtime: MTIME });
    const reason = new Error("enough");
    const fill = (async () => {
      for (const item of manyItems(10, 600_000)) await writer.item({ ...item, facts: itemFacts(objectOf(item)) });
    })();
    const ended = Promise.all([fill, collect(writer.index)].map((task) => assert.rejects(task, reason)));
    writer.abort(reason);
    await ended;
    await assert.rejects(collect(writer.tar), reason);
    await assert.rejects(writer.finish(), reason);
  });

  for (const [when, chunks] of Object.entries({ "before the first byte": 0, "after a segment": 1 })) {
    it(`ends, with the consumer's error, when a put fails ${when}`, async () => {
      const writer = writeArchive({ mtime: MTIME });
      const failing = async () => {
        const iterator = writer.tar[Symbol.asyncIterator]();
        for (let i = 0; i < chunks; i++) await iterator.next();
        await iterator.return?.();
        await new Promise((resolve) => setTimeout(resolve, 10));
        throw new Error("disk full");
      };
      const fill = async () => {
        for (const item of manyItems(10, 600_000)) await writer.item({ ...item, facts: itemFacts(objectOf(item)) });
        await writer.finish();
      };
      await assert.rejects(together(writer, [failing(), collect(writer.index), fill()]), /disk full/);
    });
  }
});
