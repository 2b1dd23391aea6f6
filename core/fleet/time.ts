import { LONGEST_TIMER_MS } from "../abort.ts";
import { parseDuration } from "../duration.ts";
import { LifeboatError } from "../errors.ts";
import { readClock } from "../schedule/cron.ts";

/** The longest run, where the configuration names none and the schedule's slots are further apart. */
const LONGEST_MS = 24 * 3_600_000;
const MINUTE_MS = 60_000;

/**
 * How long a run may last that was begun at that time, in milliseconds, and that in words: as the configuration's `timeout` says, else
 * as long as there is from its schedule's slot to the next, if the schedule is there.
 */
export function timeLimit(
  timeout: string | undefined,
  schedule: Parameters<typeof readClock>[0] | undefined,
  begun: Date,
): { ms: number; text: string } {
  if (timeout !== undefined) return { ms: parseDuration(timeout), text: `fleet.timeout ${timeout}` };
  const clock = schedule && readClock(schedule);
  const last = clock?.last(begun);
  const next = last && clock?.next(last);
  const ms = last && next ? Math.min(LONGEST_MS, next.getTime() - last.getTime()) : LONGEST_MS;
  return { ms, text: `${Math.round(ms / MINUTE_MS)} minutes` };
}

/**
 * Does `work` with a signal that aborts as `signal` does, and at `until`: the error is then a `timeout` for good. Work whose time is over is
 * not begun.
 */
export async function inTime<T>(
  { until, timeout }: { until?: string; timeout?: string },
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (until === undefined) return work(signal);
  const limit = timeout === undefined ? `the run's end at ${until}` : `fleet.timeout ${timeout}`;
  const left = Date.parse(until) - Date.now();
  const late = (message: string, cause?: unknown) => new LifeboatError("timeout", message, { retry: false, cause });
  if (left <= 0) throw late(`not begun before ${limit} was over`);
  const over = new AbortController();
  const cut = () => over.abort(late(`cut off by ${limit}`));
  const timer = setTimeout(cut, Math.min(left, LONGEST_TIMER_MS));
  try {
    return await work(AbortSignal.any([signal, over.signal]));
  } catch (error) {
    if (!over.signal.aborted || signal.aborted || error === over.signal.reason) throw error;
    throw late(`cut off by ${limit}`, error);
  } finally {
    clearTimeout(timer);
  }
}
