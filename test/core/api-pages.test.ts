import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { entryPage, fitted, MAX_ANSWER_BYTES, type Page, textPage } from "../../core/api/pages.ts";

describe("pages", () => {
  const line = fc.string({ unit: "binary", maxLength: 12 }).filter((text) => text.isWellFormed());

  it("of a text make it up again, cut after lines or at least between characters", () => {
    fc.assert(
      fc.property(fc.array(line), fc.integer({ min: 4, max: 40 }), (lines, limit) => {
        const text = lines.join("\n");
        const parts: string[] = [];
        for (let start: string | undefined = "0"; start !== undefined; ) {
          const page = textPage(text, Number(start), limit);
          assert(Buffer.byteLength(page.text) <= limit);
          if (page.next) assert(Number(page.next) > Number(start));
          if (page.next && Buffer.byteLength(page.text) > 0 && page.text.includes("\n"))
            assert(page.text.endsWith("\n"));
          parts.push(page.text);
          start = page.next;
        }
        assert.equal(parts.join(""), text);
      }),
    );
  });

  it("of entries bring each once, and are as small as an answer", () => {
    const entries = Array.from({ length: 40 }, (_, at) => ({ at, text: "x".repeat(at === 7 ? 100 : 300_000) }));
    const found: typeof entries = [];
    for (let start: string | undefined = "0"; start !== undefined; ) {
      const page: Page<(typeof entries)[number]> = entryPage(entries, { limit: 30, start: Number(start) });
      assert(JSON.stringify(page).length < MAX_ANSWER_BYTES);
      found.push(...page.entries);
      start = page.next;
    }
    assert.deepEqual(found, entries);
    assert.deepEqual(entryPage(entries, { limit: 10, start: 999 }), { entries: [], next: undefined });
  });

  it("a document keeps as many problems as fit an answer, and counts the others", () => {
    const problems = Array.from({ length: 60_000 }, (_, at) => ({ message: `${at} ${"ü".repeat(50)}` }));
    const document = { name: "x", errors: problems, warnings: problems };
    const { errors, warnings } = fitted(document);
    assert(Buffer.byteLength(JSON.stringify({ name: "x", errors, warnings })) < MAX_ANSWER_BYTES);
    assert.deepEqual(errors.at(-1), { message: `and ${60_000 - errors.length + 1} more, which the log tells` });
    assert.deepEqual(warnings, [{ message: "and 60000 more, which the log tells" }]);
    assert.equal(fitted({ ...document, errors: [], warnings: [] }).errors.length, 0);
    assert.throws(() => fitted({ ...document, name: "x".repeat(MAX_ANSWER_BYTES) }), { kind: "corrupt" });
  });
});
