import pLimit from "p-limit";
import { abandonJob, type Bucket, type everySchedule, type Job, type Jobs, type Service } from "../../../core/index.ts";
import type { Tell } from "./run.ts";

/** Each run holds pages of a cluster, or of an archive, in memory. Of a fleet its configuration says how many there are. */
const RUNS_AT_ONCE = 2;

/** A schedule of one cluster, or of a fleet. */
export type Timed = ReturnType<typeof everySchedule>[number];

/** Runs this process's jobs. */
export interface Runner {
  run(job: Job): Promise<void>;
  /** Begins the backup of a schedule's slot; false where the one before it has not ended. */
  take(schedule: Timed, slot: Date): boolean;
}

/** Of jobs that are not begun when `stopping` aborts it is told that they won't be; `stopped` ends those that run. */
export function createRunner(
  {
    service,
    jobs,
    bucket,
    tell,
    atOnce: most = RUNS_AT_ONCE,
  }: { service: Service; jobs: Jobs; bucket: Bucket; tell: Tell; atOnce?: number },
  { stopping, stopped }: { stopping: AbortSignal; stopped: AbortSignal },
): Runner {
  const atOnce = pLimit(most);
  /** The schedules whose last slot is not done with. */
  const busy = new Set<string>();

  /** Whether there is more to do of it. */
  async function runNow(job: Job): Promise<boolean> {
    const { kind, name } = { name: undefined, ...job };
    const about = { kind, ...(name ? { name } : slotOf(job)) };
    if (stopping.aborted) {
      tell("warning", "is not begun any more", about);
      if (name && kind !== "fleet") await abandonJob(bucket, { kind, name }, "the server stopped before it was begun");
      return false;
    }
    tell("info", "begins", about);
    try {
      const { phase, duplicate, skipped, next } = await service.run(job, { signal: stopped });
      tell("info", "ends", { ...about, result: skipped ?? (duplicate ? "was there" : (phase ?? "")) });
      return next !== undefined;
    } catch {
      tell("error", "failed, for the reason above", about);
      return false;
    }
  }

  return {
    async run(job) {
      const goesOn = await atOnce(runNow, job);
      if (job.kind === "fleet" && !goesOn) busy.delete(job.schedule);
      if (job.kind === "backup" && job.slot && !job.fleet) busy.delete(job.schedule ?? "");
    },
    take(schedule, slot) {
      if (busy.has(schedule.name)) return false;
      busy.add(schedule.name);
      const kind = "clusters" in schedule ? "fleet" : "backup";
      void jobs.enqueue({ kind, schedule: schedule.name, slot: slot.toISOString() });
      return true;
    },
  };
}

function slotOf(job: Job): { schedule?: string; slot?: string; cluster?: string } {
  const { schedule, slot, cluster } = { schedule: undefined, slot: undefined, cluster: undefined, ...job };
  return { ...(schedule && { schedule }), ...(slot && { slot }), ...(cluster && { cluster }) };
}
