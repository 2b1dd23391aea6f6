import assert from "node:assert/strict";
import { test } from "node:test";
import { untilNextLook } from "../../core/comeback.ts";

test("a day of looking from time to time is far from what Step Functions keeps of an execution", () => {
  const DAY_MS = 24 * 3_600_000;
  const EVENTS = { ofALook: 13, most: 25_000 };
  let looks = 0;
  for (let now = 0; now < DAY_MS; now += untilNextLook(0, now)) looks += 1;
  assert.ok(looks * EVENTS.ofALook < EVENTS.most / 4, `${looks} looks`);
});

test("the first look is soon, and none is late by more than a tenth, nor by more than five minutes", () => {
  assert.deepEqual(
    [0, 290, 600, 3600, 86_400].map((since) => untilNextLook(0, 1000 * since) / 1000),
    [30, 30, 60, 300, 300],
  );
});
