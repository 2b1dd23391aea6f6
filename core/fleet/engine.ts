import pLimit from "p-limit";
import { pause } from "../abort.ts";
import type { LockedJob } from "../job.ts";
import { JobFailed, type JobStatus, type Service } from "../service.ts";

/** How often the rest of a job is tried again, and after how many milliseconds: what was begun is to be summed up. */
const TRIES = 3;
const TRY_AGAIN_MS = 10_000;

/**
 * Does a job to its end in this process, as engines do it: its parts, so many at a time, none before its time and each until nothing
 * is left of it; then, however they ended, what is left, again where that fails and may not the next time. `ended` hears of each
 * part that has. Throws what the last run throws.
 */
export async function drive(
  run: Service["run"],
  job: LockedJob,
  options: { atOnce: number; signal: AbortSignal; ended?: () => void; tryAgainMs?: number },
): Promise<JobStatus> {
  const { atOnce, signal, ended, tryAgainMs = TRY_AGAIN_MS } = options;
  const limit = pLimit(atOnce);
  for (let now = job, tries = 0; ; ) {
    signal.throwIfAborted();
    await untilDue(now, signal);
    const made = await run(now, { loops: true, signal }).catch((error: unknown) => {
      if (now === job || ++tries > TRIES || !(error instanceof JobFailed && error.retry)) throw error;
    });
    if (!made) {
      await pause(tryAgainMs, signal);
      continue;
    }
    tries = 0;
    const { parts = [], next, ...end } = made;
    const part = async (one: LockedJob) => {
      await drive(run, one, { atOnce, signal, tryAgainMs }).catch(() => {});
      ended?.();
    };
    await Promise.all(parts.map((one) => limit(part, one)));
    if (!next) return end;
    now = next;
  }
}

async function untilDue({ notBefore = "" }: LockedJob, signal: AbortSignal): Promise<void> {
  const wait = Date.parse(notBefore) - Date.now();
  if (wait > 0) await pause(wait, signal);
}
