/** What waits for others looks again after this long at first, in milliseconds. */
export const FIRST_LOOK_MS = 30_000;

/**
 * How long what has waited for others since a time waits before it looks again, in milliseconds: a tenth of that time, at least
 * `first`, at most ten times as long. Of a day's waiting these are some 300 looks: engines count what an execution does.
 */
export function untilNextLook(since: number, now: number, first = FIRST_LOOK_MS): number {
  return Math.min(10 * first, Math.max(first, (now - since) / 10));
}
