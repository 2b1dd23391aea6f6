import assert from "node:assert/strict";
import { it } from "node:test";
import { backupDocument } from "../../core/documents.ts";

const START = "2026-11-27T02:00:00Z";

for (const [what, end, measured, durationMs] of [
  ["as measured", "2026-11-27T02:00:01Z", 250, 250],
  ["from its first slice to its last one", "2026-11-27T02:31:00Z", 250, 31 * 60_000],
  ["what its timestamps say, where nobody measured it", "2026-11-27T02:00:05Z", undefined, 5_000],
  ["as measured, where it has no end", undefined, 250, 250],
] as const)
  it(`a backup lasted ${what}`, () => {
    const status = { startTimestamp: START, completionTimestamp: end };
    const record = { metadata: { name: "one" }, status } as Parameters<typeof backupDocument>[0];
    const report = { durationMs: measured, warnings: [], errors: [] };
    assert.equal(backupDocument(record, "file:///backups", report).durationMs, durationMs);
  });
