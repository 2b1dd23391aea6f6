import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { compressMember, frameMember, sha256 } from "../../core/archive/gzip.ts";
import { itemFacts, itemPath } from "../../core/archive/item.ts";
import { likenessOf } from "../../core/archive/likeness.ts";
import { openArchive, readTar } from "../../core/archive/reader.ts";
import { rebuildIndex } from "../../core/archive/rebuild.ts";
import type { Bucket } from "../../core/ports.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { requireOrSkip, sharedDir } from "../rig/require.ts";
import { collect, KEYS, manyItems, objectOf, put, sampleItem, streamOf, tarOf, write } from "./archive-sample.ts";

const FILES = { "metadata/lifeboat.json": '{"run":"1"}', "metadata/outcome.json": "{}" };
const ITEMS = manyItems(90);
const written = await write(ITEMS, FILES);

/** `bucket`, and the keys and lengths that were read from it. */
function watched(bucket: Bucket) {
  const reads: { key: string; bytes: number }[] = [];
  const get: Bucket["get"] = (key, options) => {
    reads.push({ key, bytes: (options?.range?.end ?? Number.POSITIVE_INFINITY) - (options?.range?.start ?? 0) });
    return bucket.get(key, options);
  };
  return { bucket: { ...bucket, get }, reads };
}

/** What lies in the folder for temporary files, which is this test's own. */
const temporary = mkdtempSync(join(tmpdir(), "archive-test-"));
process.env.TMPDIR = temporary;
after(() => rmSync(temporary, { recursive: true }));
const spools = () => readdirSync(temporary);

describe("an archive with its index", () => {
  it("gives its items, its files and its totals", async () => {
    const archive = await openArchive(await put(memoryBucket(), written), KEYS);
    assert.deepEqual(archive.totals, written.totals);
    const read = await Array.fromAsync(archive.read(archive.entries()));
    assert.deepEqual(
      read.map(({ body }) => body),
      ITEMS.map(({ body }) => body),
    );
    const { segment, offset, ...rest } = read[70]?.entry ?? assert.fail();
    const item = ITEMS[70] ?? assert.fail();
    const digests = {
      size: item.body.length,
      sha256: sha256(item.body),
      likeness: likenessOf(item.body, "configmaps"),
    };
    assert.deepEqual(rest, { ...item.id, version: "v1", ...itemFacts(objectOf(item)), ...digests });
    assert.equal(String(await archive.file("metadata/lifeboat.json")), '{"run":"1"}');
    assert.equal(String(await archive.file("metadata/version")), "1.1.0\n");
    assert.equal(await archive.file("metadata/none"), undefined);
    assert.deepEqual(await Array.fromAsync(archive.verify()), []);
    await archive.close();
  });

  it("gives bodies in passing, which are gone with the next one", async () => {
    const archive = await openArchive(await put(memoryBucket(), written), KEYS);
    const kept: Buffer[] = [];
    const texts: string[] = [];
    for await (const { body } of archive.read(archive.entries(), { passing: true })) {
      texts.push(String(body));
      kept.push(body);
    }
    assert.deepEqual(
      texts,
      ITEMS.map(({ body }) => String(body)),
    );
    assert.ok(kept.every((body) => body.length === 0));
    await archive.close();
  });

  it("gives of the index at least what is asked for, and parses no more lines than may be that", async () => {
    const odd = { ...sampleItem("ns", 'quo"ted'), id: { resource: "configmaps", namespace: "ns", name: 'Äquo"ted' } };
    const archive = await openArchive(await put(memoryBucket(), await write([...ITEMS, odd])), KEYS);
    const given = async (holding: string[]) =>
      (await Array.fromAsync(archive.entries(undefined, { holding }))).map(({ name }) => name);
    const cases: [holding: string[], names: string[]][] = [
      [["item-88"], ["item-88"]],
      [["ITEM-88"], ["item-88"]],
      [
        ["ns-1", "item-7"],
        ["item-7", "item-70", "item-73", "item-76", "item-79"],
      ],
      [["ns-1", "item-88", "uid-item-3"], []],
      [['äQUO"T'], []],
      [['ÄQUO"T'], ['Äquo"ted']],
      [["\n"], []],
    ];
    for (const [holding, names] of cases) assert.deepEqual(await given(holding), names, holding.join());
    assert.equal((await given([])).length, ITEMS.length + 1);
    assert.equal((await given([""])).length, ITEMS.length + 1);
    await archive.close();
  });

  it("reads only the segments of what is asked for, each once, whatever the order", async () => {
    const { bucket, reads } = watched(await put(memoryBucket(), written));
    const archive = await openArchive(bucket, KEYS);
    const wanted = await Array.fromAsync(archive.entries((id) => id.name === "item-3" || id.name === "item-88"));
    reads.length = 0;
    const read = await Array.fromAsync(archive.read(wanted.reverse()));
    assert.deepEqual(
      read.map(({ entry }) => entry.name),
      ["item-88", "item-3"],
    );
    assert.deepEqual(
      reads.map(({ key }) => key),
      [KEYS.tar, KEYS.tar],
    );
    assert.ok(reads.every(({ bytes }) => bytes < written.tar.length / 2));
  });

  it("finds one item by its index's end and one part of it", async () => {
    const many = Array.from({ length: 6000 }, (_, i) => sampleItem("ns", `item-${i + 10_000}`));
    const { bucket, reads } = watched(await put(memoryBucket(), await write(many)));
    const archive = await openArchive(bucket, KEYS);
    const last = many.at(-1) ?? assert.fail();
    assert.equal((await archive.find(last.id))?.sha256, sha256(last.body));
    assert.ok(reads.length === 2 && reads.every(({ key }) => key === KEYS.index));
    assert.equal(await archive.find({ ...last.id, name: "none" }), undefined);
  });

  it("is refused when the index is of another archive", async () => {
    const other = await write(ITEMS.slice(1), FILES);
    for (const archive of [
      { tar: other.tar, index: written.index },
      { tar: Buffer.concat([written.tar, Buffer.alloc(1)]), index: written.index },
    ]) {
      await assert.rejects(openArchive(await put(memoryBucket(), archive), KEYS), {
        kind: "corrupt",
        message: /its index/,
      });
    }
  });

  it("is refused when a newer Lifeboat wrote the index", async () => {
    const footer = await compressMember(Buffer.from('{"format":"lifeboat-index","version":2,"new":true}\n'));
    const field = Buffer.from(`4c462800${"00".repeat(8)}${sha256(footer)}`, "hex");
    const index = Buffer.concat([footer, frameMember(Buffer.from("03000000000000000000", "hex"), field)]);
    const opening = openArchive(await put(memoryBucket(), { tar: written.tar, index }), KEYS);
    await assert.rejects(opening, { kind: "invalid", message: /was written by a newer Lifeboat; upgrade/ });
  });

  it("is `missing` without a tar", async () => {
    await assert.rejects(openArchive(memoryBucket(), KEYS), { kind: "missing" });
    const bucket = await put(memoryBucket(), { index: written.index });
    await bucket.put(`${KEYS.tar}.part`, Buffer.from("x"));
    await assert.rejects(openArchive(bucket, KEYS), { kind: "missing" });
  });
});

describe("a Lifeboat archive without its index", () => {
  it("has the very same index made again", async () => {
    const rebuilt = rebuildIndex(streamOf(written.tar, 1000));
    assert.ok((await collect(rebuilt.index)).equals(written.index));
    assert.deepEqual(await rebuilt.finished, written.totals);
  });

  it("is opened by reading it once", async () => {
    const { bucket, reads } = watched(await put(memoryBucket(), { tar: written.tar }));
    const archive = await openArchive(bucket, KEYS);
    assert.equal(reads.filter(({ bytes }) => bytes > 100).length, 1);
    const read = await Array.fromAsync(archive.read(archive.entries()));
    assert.deepEqual(
      read.map(({ body }) => body),
      ITEMS.map(({ body }) => body),
    );
    assert.equal(String(await archive.file("metadata/outcome.json")), "{}");
    await archive.close();
    assert.deepEqual(spools(), []);
  });

  for (const [what, files] of Object.entries({
    "a versioned copy that differs": [
      ["metadata/version", "1.1.0\n"],
      ["resources/pods/cluster/a.json", "{}"],
      ["resources/pods/v1-preferredversion/cluster/a.json", "[]"],
    ],
    "an item without its versioned copy": [
      ["metadata/version", "1.1.0\n"],
      ["resources/pods/cluster/a.json", "{}"],
    ],
    "an item that is no object": [
      ["metadata/version", "1.1.0\n"],
      ["resources/pods/cluster/a.json", "[1]"],
    ],
    "a stray file": [
      ["metadata/version", "1.1.0\n"],
      ["resources/pods/a.json", "{}"],
    ],
    "no version": [["metadata/lifeboat.json", "{}"]],
  })) {
    it(`is corrupt with ${what}`, async () => {
      const tar = await compressMember(await tarOf(Object.fromEntries(files)));
      await assert.rejects(collect(rebuildIndex(streamOf(tar)).index), { kind: "corrupt" });
    });
  }

  it("is told from what is none", async () => {
    await assert.rejects(collect(rebuildIndex(streamOf(gzipSync("x".repeat(100)))).index), { kind: "corrupt" });
  });
});

describe("a foreign archive", () => {
  const item = (text: string) => JSON.stringify({ apiVersion: "apps/v1beta2", kind: "X", metadata: { name: text } });
  const files = {
    "./metadata/": "",
    "./metadata/version": "1\n",
    "./metadata/extra": "kept",
    "./resources/": "",
    "./resources/a.apps/namespaces/ns/one.json": item("one"),
    "./resources/a.apps/v1beta2-preferredversion/namespaces/ns/one.json": item("one"),
    "./resources/a.apps/v1/namespaces/ns/one.json": item("other version"),
    "./resources/b/cluster/two.json": item("two"),
    "./resources/stray.txt": "?",
    "./stray": "?",
  };

  it("is spooled: classic paths are the items, other versions stand apart, strays are left out", async () => {
    const bucket = await put(memoryBucket(), { tar: gzipSync(await tarOf(files)) });
    const archive = await openArchive(bucket, KEYS);
    const read = await Array.fromAsync(archive.read(archive.entries()));
    assert.deepEqual(
      read.map(({ entry, body }) => [itemPath(entry), entry.version, String(body)]),
      [
        ["resources/a.apps/namespaces/ns/one.json", "v1beta2", item("one")],
        ["resources/b/cluster/two.json", "v1beta2", item("two")],
      ],
    );
    const others = await Array.fromAsync(archive.read(archive.otherVersions!()));
    assert.deepEqual(
      others.map(({ entry, body }) => [itemPath(entry), entry.version, String(body)]),
      [["resources/a.apps/namespaces/ns/one.json", "v1", item("other version")]],
    );
    assert.equal((await archive.find(others[0]!.entry))?.version, "v1beta2");
    assert.equal(archive.totals.items, 2);
    assert.deepEqual(await Array.fromAsync(archive.verify()), []);
    assert.equal(String(await archive.file("metadata/extra")), "kept");
    await archive.close();
    await archive.close();
    assert.deepEqual(spools(), []);
  });

  it("leaves no spool behind when it is damaged", async () => {
    const tar = gzipSync(await tarOf({ ...files, "./resources/b/cluster/three.json": "no JSON" }));
    const opening = openArchive(await put(memoryBucket(), { tar }), KEYS);
    await assert.rejects(opening, { kind: "corrupt", message: /three\.json.* is no JSON/ });
    assert.deepEqual(spools(), []);
  });

  it("hands on the bucket's own errors", async () => {
    const bucket = await put(memoryBucket(), { tar: gzipSync(await tarOf(files)) });
    const broken: Bucket = {
      ...bucket,
      async get(key, options) {
        const bytes = await bucket.get(key, options);
        if (options?.range) return bytes;
        return (async function* () {
          for await (const chunk of bytes) yield chunk.subarray(0, 100);
          throw new Error("connection reset");
        })();
      },
    };
    await assert.rejects(openArchive(broken, KEYS), /connection reset/);
    assert.deepEqual(spools(), []);
  });
});

describe("Velero 1.18.3's own archive", { skip: requireOrSkip("shared") }, () => {
  const path = join(sharedDir, "fixtures/velero-1.18.3/backups/shop");
  const load = () => ({ tar: readFileSync(join(path, "shop.tar.gz")) });

  it("is read whole, and gives what its resource list tells", async () => {
    const listed = JSON.parse(gunzipSync(readFileSync(join(path, "shop-resource-list.json.gz"))).toString());
    const archive = await openArchive(await put(memoryBucket(), load()), KEYS);
    const found: Record<string, string[]> = {};
    const bodies = new Map<string, Buffer>();
    for await (const { entry, body } of archive.read(archive.entries())) {
      const name = entry.namespace === "" ? entry.name : `${entry.namespace}/${entry.name}`;
      const key = `${entry.apiVersion}/${entry.kind}`;
      found[key] = [...(found[key] ?? []), name];
      bodies.set(itemPath(entry), body);
    }
    for (const names of Object.values(found)) names.sort();
    for (const names of Object.values(listed) as string[][]) names.sort();
    assert.deepEqual(found, listed);
    for await (const file of readTar(streamOf(load().tar))) {
      const body = bodies.get(file.path.replace(/\/[^/]+-preferredversion\//, "/"));
      if (file.path !== "metadata/version") assert.ok(body?.equals(file.body), file.path);
    }
    await archive.close();
  });

  it("written again by us has the same entries", async () => {
    const archive = await openArchive(await put(memoryBucket(), load()), KEYS);
    const read = await Array.fromAsync(archive.read(archive.entries()));
    const again = await write(read.map(({ entry, body }) => ({ id: entry, version: entry.version, body })));
    const files = (tar: Buffer) => Array.fromAsync(readTar(streamOf(tar)));
    assert.deepEqual(await files(again.tar), await files(load().tar));
    await archive.close();
  });
});
