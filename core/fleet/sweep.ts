import pLimit from "p-limit";
import { isLifeboatError } from "../errors.ts";
import { FLEET, fleetKeys } from "../layout.ts";
import { listObjects } from "../once.ts";
import type { Bucket } from "../ports.ts";
import { readScheduledName } from "../schedule/slots.ts";

const DAY_MS = 24 * 3_600_000;
/** How each cluster's backup ended is in the summary; for so long it is left beside it, for those that look at it now. */
const ENDS_MS = DAY_MS;
const RUNS_MS = 90 * DAY_MS;
const DELETES_AT_ONCE = 16;

/**
 * Deletes what nobody needs any more of a fleet's runs: of those that were summed up a day ago all but the summary and its members, and
 * after 90 days those too, but for each schedule's newest run. How many objects that were. What the bucket holds is passed over; throws
 * what else it throws, once all that may go is gone.
 */
export async function sweepRuns(bucket: Bucket, now: Date, signal: AbortSignal): Promise<number> {
  const runs = new Map<string, { keys: string[]; summed: number; changed: number }>();
  for await (const { key, modified } of listObjects(bucket, FLEET, signal)) {
    const name = key.slice(FLEET.length).split("/", 1)[0] ?? "";
    const run = runs.get(name) ?? { keys: [], summed: Number.POSITIVE_INFINITY, changed: 0 };
    run.keys.push(key);
    run.changed = Math.max(run.changed, modified.getTime());
    if (key === fleetKeys(name).summary) run.summed = modified.getTime();
    runs.set(name, run);
  }
  const newest = new Map<string, string>();
  for (const [name, { summed }] of runs) {
    const schedule = readScheduledName(name)?.schedule;
    if (schedule !== undefined && summed !== Number.POSITIVE_INFINITY) newest.set(schedule, name);
  }
  const kept = new Set(newest.values());
  const old = [...runs].flatMap(([name, { keys, summed, changed }]) => {
    if (!kept.has(name) && now.getTime() - changed > RUNS_MS) return keys;
    return now.getTime() - summed > ENDS_MS ? keys.filter((key) => key.startsWith(fleetKeys(name).ends)) : [];
  });
  const limit = pLimit(DELETES_AT_ONCE);
  const deletions = old.map((key) => limit(() => bucket.delete(key, { signal })));
  const ends = await Promise.allSettled(deletions);
  const refusals = ends.flatMap((end) => (end.status === "rejected" ? [end.reason as unknown] : []));
  for (const error of refusals) if (!isLifeboatError(error, "conflict")) throw error;
  return old.length - refusals.length;
}
