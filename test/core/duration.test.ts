import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { addDuration, parseDuration } from "../../core/duration.ts";

describe("Go durations", () => {
  for (const [text, milliseconds] of [
    ["720h0m0s", 2_592_000_000],
    ["1h30m", 5_400_000],
    ["1.5h", 5_400_000],
    ["90s", 90_000],
    ["250ms", 250],
  ] as const) {
    it(`${text} is ${milliseconds} ms`, () => assert.equal(parseDuration(text), milliseconds));
  }
  for (const text of ["", "30", "30d", "-1h", "h", "1h x", "1 h"]) {
    it(`refuses "${text}"`, () => assert.throws(() => parseDuration(text), { kind: "invalid" }));
  }
  it("is added to a date", () => {
    assert.equal(addDuration(new Date("2026-11-23T00:00:00Z"), "36h").toISOString(), "2026-11-24T12:00:00.000Z");
  });
});
