import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { joinArchives } from "../../core/archive/join.ts";
import { openArchive } from "../../core/archive/reader.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { KEYS, manyItems, put, type SampleItem, sampleItem, write } from "./archive-sample.ts";

const archiveOf = async (items: SampleItem[], files: Record<string, string> = {}) =>
  openArchive(await put(memoryBucket(), await write(items, files)), KEYS);

describe("several archives as one", () => {
  it("gives the items of all, of an object in two the first, in any order that is asked for", async () => {
    const [first, second] = [
      manyItems(150),
      [...manyItems(3, 10), ...manyItems(150).slice(100), sampleItem("x", "own")],
    ];
    const joined = joinArchives([await archiveOf(first), await archiveOf(second, { "metadata/a": "text" })]);
    const expected = [...first, sampleItem("x", "own")];
    const entries = await Array.fromAsync(joined.entries());
    assert.deepEqual(
      entries.map(({ namespace, name }) => `${namespace}/${name}`),
      expected.map(({ id }) => `${id.namespace}/${id.name}`),
    );
    const orders = [entries, entries.toReversed(), entries.filter((_, place) => place % 40 === 0)];
    for (const order of orders) {
      const read = await Array.fromAsync(joined.read(order));
      assert.deepEqual(
        read.map(({ entry }) => entry),
        order,
      );
      for (const { entry, body } of read) {
        const item = expected.find(({ id }) => id.name === entry.name && id.namespace === entry.namespace);
        assert.deepEqual(body, item!.body);
      }
    }
    assert.equal((await joined.find({ resource: "configmaps", namespace: "x", name: "own" }))?.name, "own");
    assert.equal(String(await joined.file("metadata/a")), "text");
    assert.deepEqual(await Array.fromAsync(joined.verify()), []);
    await joined.close();
  });

  it("of none holds nothing", async () => {
    const none = joinArchives([]);
    assert.deepEqual(none.totals, { items: 0, bytes: 0, segments: 0 });
    assert.deepEqual([await Array.fromAsync(none.entries()), await Array.fromAsync(none.read([]))], [[], []]);
    await none.close();
  });
});
