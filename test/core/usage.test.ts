import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { counting } from "../../core/usage.ts";
import { memoryBucket } from "../memory-bucket.ts";

describe("what is asked of a bucket", () => {
  it("is counted, and answered as ever", async () => {
    const { bucket, usage } = counting(memoryBucket());
    await bucket.put("a/1", Buffer.from("four"));
    await bucket.put(
      "a/2",
      (async function* () {
        yield Buffer.from("se");
        yield Buffer.from("ven!!");
      })(),
    );
    await assert.rejects(bucket.put("a/1", Buffer.from("again"), { ifAbsent: true }), { kind: "conflict" });
    await Array.fromAsync(await bucket.get("a/2"));
    await assert.rejects(bucket.get("nowhere"), { kind: "missing" });
    assert.deepEqual((await Array.fromAsync(bucket.list("a/"))).length, 2);
    assert.deepEqual((await Array.fromAsync(bucket.list("b/"))).length, 0);
    assert.deepEqual(usage, { puts: 3, gets: 2, lists: 2, storedBytes: 11 });
  });

  it("counts a page for every thousand objects of a listing that is read", async () => {
    const { bucket, usage } = counting(memoryBucket());
    for (let at = 0; at < 2001; at++) await bucket.put(`k/${at}`, Buffer.alloc(0));
    await Array.fromAsync(bucket.list("k/"));
    assert.equal(usage.lists, 3);
    for await (const _ of bucket.list("k/")) break;
    assert.equal(usage.lists, 4);
  });
});
