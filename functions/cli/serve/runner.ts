import pLimit from "p-limit";
import { abandonJob, type Bucket, type Job, type Jobs, type Schedule, type Service } from "../../../core/index.ts";
import type { Tell } from "./run.ts";

/** Each run holds pages of a cluster, or of an archive, in memory. */
const RUNS_AT_ONCE = 2;

/** Runs this process's jobs. */
export interface Runner {
  run(job: Job): Promise<void>;
  /** Begins the backup of a schedule's slot; false where the one before it has not ended. */
  take(schedule: Schedule, slot: Date): boolean;
}

/** Of jobs that are not begun when `stopping` aborts it is told that they won't be; `stopped` ends those that run. */
export function createRunner(
  { service, jobs, bucket, tell }: { service: Service; jobs: Jobs; bucket: Bucket; tell: Tell },
  { stopping, stopped }: { stopping: AbortSignal; stopped: AbortSignal },
): Runner {
  const atOnce = pLimit(RUNS_AT_ONCE);
  /** The schedules whose last slot is not done with. */
  const busy = new Set<string>();

  async function runNow(job: Job): Promise<void> {
    const { kind, name } = { name: undefined, ...job };
    const about = { kind, ...(name ? { name } : slotOf(job)) };
    if (stopping.aborted) {
      tell("warning", "is not begun any more", about);
      if (name) await abandonJob(bucket, { kind, name }, "the server stopped before it was begun");
      return;
    }
    tell("info", "begins", about);
    try {
      const { phase, duplicate, skipped } = await service.run(job, { signal: stopped });
      tell("info", "ends", { ...about, result: skipped ?? (duplicate ? "was there" : (phase ?? "")) });
    } catch {
      tell("error", "failed, for the reason above", about);
    }
  }

  return {
    async run(job) {
      await atOnce(runNow, job).finally(() => {
        if (job.kind === "backup" && job.slot) busy.delete(job.schedule ?? "");
      });
    },
    take(schedule, slot) {
      if (busy.has(schedule.name)) return false;
      busy.add(schedule.name);
      void jobs.enqueue({ kind: "backup", schedule: schedule.name, slot: slot.toISOString() });
      return true;
    },
  };
}

function slotOf(job: Job): { schedule?: string; slot?: string } {
  return job.kind === "backup" ? { schedule: job.schedule, slot: job.slot } : {};
}
