import { LONGEST_TIMER_MS, pauseUntil } from "../abort.ts";
import { LifeboatError } from "../errors.ts";
import type { Slice } from "../slices.ts";

/** The longest that a job may be put off by `notBefore`, in milliseconds: what platforms delay a delivery for. */
const LONGEST_DELAY = 15 * 60_000;

/** Of the time that is left: what a run keeps back for its end, at most, and which share of it at most. */
const RESERVE_MS = 60_000;
const RESERVE_SHARE = 1 / 10;

/** How much before its reserve a run leaves the rest to the next one: what it is at then may take some seconds to end. */
export const SLICE_END_MS = 20_000;
export const SLICE_END_SHARE = 1 / 10;

/** The same of a backup, which takes copies of volumes back: their Jobs and snapshots may need two minutes to be gone. */
export const BACKUP_RESERVE_MS = 180_000;
export const BACKUP_RESERVE_SHARE = 1 / 5;

/** Waits for a job's time. Throws `invalid` where that is too far ahead. */
export async function untilDue({ notBefore = "" }: { notBefore?: string }, signal: AbortSignal): Promise<void> {
  if (Date.parse(notBefore) - Date.now() > LONGEST_DELAY)
    throw new LifeboatError("invalid", "notBefore is more than 15 minutes ahead");
  await pauseUntil(notBefore, signal);
}

/**
 * A signal that aborts while there is time left to leave a log and to give back the lock, unless it is disposed of; and one that
 * aborts before that, where there is a deadline at all.
 */
export function beforeDeadline(
  deadline: Date | undefined,
  isBackup: boolean,
): { signal: AbortSignal; slice?: Slice } & Disposable {
  const ended = new AbortController();
  const sliceEnded = new AbortController();
  const left = deadline ? deadline.getTime() - Date.now() : Number.POSITIVE_INFINITY;
  const error = new LifeboatError("timeout", "the run would have lasted longer than the platform lets it", {
    hint: "raise the function's timeout, or give it more memory, which is more CPU too",
  });
  const [most, share] = isBackup ? [BACKUP_RESERVE_MS, BACKUP_RESERVE_SHARE] : [RESERVE_MS, RESERVE_SHARE];
  const after = Math.max(0, left - Math.min(most, left * share));
  const timed = (then: AbortController, ms: number) =>
    ms <= LONGEST_TIMER_MS ? setTimeout(() => then.abort(error), ms) : undefined;
  const lengthMs = after - Math.min(SLICE_END_MS, after * SLICE_END_SHARE);
  const timers = [timed(ended, after), timed(sliceEnded, lengthMs)];
  return {
    signal: ended.signal,
    ...(deadline && { slice: { ends: sliceEnded.signal, lengthMs } }),
    [Symbol.dispose]: () => timers.forEach(clearTimeout),
  };
}
