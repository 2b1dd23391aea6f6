import pLimit from "p-limit";
import { pause, pauseUntil } from "../abort.ts";
import type { LockedJob } from "../job.ts";
import type { Service } from "../service.ts";
import { JobFailed, type JobStatus } from "../verdict.ts";

/** How often a call of a fleet's own job is tried again, and after how many milliseconds: its slot does not come back. */
const TRIES = 3;
const TRY_AGAIN_MS = 10_000;

/**
 * Does a job to its end in this process, as engines do it: its parts, so many at a time, none before its time and each until nothing
 * is left of it; then, however they ended, what is left. A fleet's own job is called again where that fails and may not the next time; a
 * part is not: how it failed is noted for the summary. `ended` hears of each part that has. Throws what the last call throws.
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
    await pauseUntil(now.notBefore ?? "", signal);
    const made = await run(now, { loops: true, signal }).catch((error: unknown) => {
      if (now.kind !== "fleet" || ++tries > TRIES || !(error instanceof JobFailed && error.retry)) throw error;
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
