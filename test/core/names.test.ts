import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { startNames } from "../../core/backup/names.ts";

const name = fc.nat(30_000).map((number) => `app-${number % 7}/settings-${number}`);

it("a set of names has those that were added, in any order, across states, and no others", () => {
  fc.assert(
    fc.property(fc.array(fc.array(name, { maxLength: 20 }), { maxLength: 4 }), fc.array(name), (parts, asked) => {
      const many = Array.from({ length: 9_000 }, (_, at) => `bulk/${String(at).padStart(5, "0")}`);
      const wanted = new Set([...many, ...parts.flat()]);
      let names = startNames();
      for (const part of [many, ...parts]) {
        for (const one of part) names.add(one);
        names = startNames(JSON.parse(JSON.stringify(names.state())));
      }
      const all = [...asked, ...parts.flat(), many[0]!, many[5000]!, many.at(-1)!, "bulk/", "bulk/04999x"];
      for (const one of all) assert.equal(names.has(one), wanted.has(one), one);
    }),
    { numRuns: 20 },
  );
});
