import { setImmediate as turn } from "node:timers/promises";
import { LONGEST_TIMER_MS } from "./abort.ts";
import type { Job } from "./job.ts";
import type { Jobs } from "./ports.ts";

/**
 * Jobs that run in this process, each in a turn of its own after `enqueue` has resolved; what has not ended with the
 * process is lost. `after` and the job's `notBefore` are honoured; a job that waits for its time does not keep the
 * process alive. Whatever `run` throws goes to `onError`. `idle` resolves once no job is running.
 */
export function memoryJobs(
  run: (job: Job) => Promise<void>,
  onError: (error: unknown, job: Job) => void = () => {},
): Jobs & { idle(): Promise<void> } {
  const running = new Set<Promise<void>>();

  const start = (job: Job) => {
    const work = turn()
      .then(() => run(job))
      .catch((error: unknown) => onError(error, job))
      .catch(() => {})
      .finally(() => running.delete(work));
    running.add(work);
  };

  return {
    async enqueue(job, { after = 0, signal } = {}) {
      signal?.throwIfAborted();
      const copy = structuredClone(job);
      at(Math.max(Date.now() + after * 1000, copy.notBefore ? Date.parse(copy.notBefore) : 0), () => start(copy));
    },

    async idle() {
      while (running.size > 0) await Promise.all(running);
    },
  };
}

/** Calls `act` now if `time` (milliseconds since the epoch) is reached, else then. */
function at(time: number, act: () => void): void {
  const wait = time - Date.now();
  if (wait <= 0) act();
  else setTimeout(() => at(time, act), Math.min(wait, LONGEST_TIMER_MS)).unref();
}
