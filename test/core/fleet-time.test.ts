import assert from "node:assert/strict";
import { it } from "node:test";
import { timeLimit } from "../../core/fleet/time.ts";

const HOUR = 3_600_000;

for (const [schedule, begun, hours] of [
  ["0 8,9 * * *", "2026-11-27T08:00:00Z", 1],
  ["0 8,9 * * *", "2026-11-27T08:30:00Z", 1],
  ["0 8,9 * * *", "2026-11-27T09:00:00Z", 23],
  ["0 0 1 * *", "2026-11-27T09:00:00Z", 24],
] as const)
  it(`a run of ${schedule} that was begun at ${begun} may last ${hours} h, whenever that is asked`, () => {
    assert.equal(timeLimit(undefined, { schedule }, new Date(begun)).ms, hours * HOUR);
  });
