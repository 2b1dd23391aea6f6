import assert from "node:assert/strict";
import { test } from "node:test";
import { release } from "../../core/release.ts";

test("large buffers are given back, with all slices of them; what lies in the pool beside others' is left", () => {
  const large = Buffer.alloc(Buffer.poolSize + 1, "a");
  const slice = large.subarray(10, 20);
  release(large);
  assert.deepEqual([large.length, slice.length], [0, 0]);
  const [small, neighbour] = [Buffer.from("small"), Buffer.from("neighbour")];
  release(small);
  assert.deepEqual([String(small), String(neighbour)], ["small", "neighbour"]);
});
