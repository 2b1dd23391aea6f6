import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { readAhead } from "../../core/backup/readahead.ts";

describe("readAhead", () => {
  it("gives every element of every source, in the order of the sources", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(fc.nat())), fc.integer({ min: 1, max: 5 }), async (sources, ahead) => {
        const seen: number[] = [];
        const open = async function* (source: number[]) {
          for (const element of source) {
            if (element % 2) await setImmediate();
            yield element;
          }
        };
        for await (const { element } of readAhead(sources, open, ahead)) seen.push(element);
        assert.deepEqual(seen, sources.flat());
      }),
    );
  });

  it("opens no more sources than `ahead`, and closes what it opened when the consumer stops", async () => {
    const open = new Set<number>();
    let most = 0;
    const source = async function* (number: number) {
      open.add(number);
      most = Math.max(most, open.size);
      try {
        for (;;) yield number;
      } finally {
        open.delete(number);
      }
    };
    let taken = 0;
    for await (const _ of readAhead([1, 2, 3, 4, 5], source, 3)) if (++taken === 10) break;
    assert.equal(most, 3);
    assert.equal(open.size, 0);
  });

  it("fails with a source's error, after the elements before it", async () => {
    const seen: string[] = [];
    const open = async function* (source: string) {
      if (source === "bad") throw new Error("broken source");
      yield source;
    };
    await assert.rejects(async () => {
      for await (const { element } of readAhead(["a", "bad", "b"], open, 3)) seen.push(element);
    }, /broken source/);
    assert.deepEqual(seen, ["a"]);
  });
});
