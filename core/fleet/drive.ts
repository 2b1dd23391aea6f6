import pLimit from "p-limit";
import { pause } from "../abort.ts";
import type { LockedJob } from "../job.ts";
import type { JobStatus, Service } from "../service.ts";

/**
 * Does a job to its end in this process, as engines do it: its parts, so many at a time, none before its time and each until nothing
 * is left of it; then, however they ended, what is left. `ended` hears of each part that has. Throws what the last run throws.
 */
export async function drive(
  run: Service["run"],
  job: LockedJob,
  options: { atOnce: number; signal: AbortSignal; ended?: () => void },
): Promise<JobStatus> {
  const { atOnce, signal, ended } = options;
  const limit = pLimit(atOnce);
  for (let now = job; ; ) {
    signal.throwIfAborted();
    await untilDue(now, signal);
    const { parts = [], next, ...end } = await run(now, { loops: true, signal });
    const part = async (one: LockedJob) => {
      await drive(run, one, { atOnce, signal }).catch(() => {});
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
