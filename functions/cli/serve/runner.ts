import pLimit from "p-limit";
import {
  abandonJob,
  type Bucket,
  drive,
  type everySchedule,
  type Job,
  type JobStatus,
  type Jobs,
  messageOf,
  type Service,
} from "../../../core/index.ts";
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

/**
 * Of jobs that are not begun when `stopping` aborts it is told that they won't be; `stopped` ends those that run. `bucketOf`: where
 * the work on a cluster is recorded.
 */
export function createRunner(
  {
    service,
    jobs,
    bucketOf,
    tell,
    atOnce: most = RUNS_AT_ONCE,
  }: { service: Service; jobs: Jobs; bucketOf: (cluster?: string) => Promise<Bucket>; tell: Tell; atOnce?: number },
  { stopping, stopped }: { stopping: AbortSignal; stopped: AbortSignal },
): Runner {
  const atOnce = pLimit(most);
  /** The schedules whose last slot is not done with. */
  const busy = new Set<string>();

  async function runNow(job: Job, loops: boolean): Promise<JobStatus> {
    const { kind, name, cluster, from = cluster } = { name: undefined, cluster: undefined, from: undefined, ...job };
    const about = { kind, ...(name && { name }), ...subjectOf(job) };
    if (stopping.aborted) {
      tell("warning", "is not begun any more", about);
      if (name && kind !== "fleet" && !isPart(job))
        await abandonJob(await bucketOf(from), { kind, name }, "the server stopped before it was begun");
      throw stopping.reason;
    }
    const isRest = job.kind === "fleet" && job.given !== undefined;
    if (!isRest) tell("info", "begins", about);
    try {
      const ended = await service.run(job, { signal: stopped, loops });
      const { phase, duplicate, skipped, next } = ended;
      if (!next) tell("info", "ends", { ...about, result: skipped ?? (duplicate ? "was there" : (phase ?? "")) });
      return ended;
    } catch (error) {
      tell("error", "failed", { ...about, reason: messageOf(error) });
      throw error;
    }
  }

  /** A fleet's run itself holds nothing, and waits for its parts. */
  const runPart = (job: Job) => (job.kind === "fleet" ? runNow(job, true) : atOnce(() => runNow(job, true)));

  return {
    async run(job) {
      const work =
        job.kind === "fleet"
          ? drive((part) => runPart(part as Job), job, { atOnce: most, signal: stopping })
          : atOnce(() => runNow(job, false));
      await work.catch(() => {});
      if (job.kind === "fleet") busy.delete(job.schedule);
      if (job.kind === "backup" && job.slot) busy.delete(job.schedule ?? "");
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

/** Of a fleet's run, which tells how each ends. */
function isPart(job: Job): boolean {
  return job.kind === "backup" && job.fleet !== undefined;
}

function subjectOf(job: Job): { schedule?: string; slot?: string; cluster?: string } {
  const { schedule, slot, cluster } = { schedule: undefined, slot: undefined, cluster: undefined, ...job };
  return { ...(schedule && { schedule }), ...(slot && { slot }), ...(cluster && { cluster }) };
}
