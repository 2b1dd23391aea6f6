import { fleetKeys } from "../catalog.ts";
import { LifeboatError } from "../errors.ts";
import { type ClusterJob, type FleetJob, isOfLocation, type LockedJob } from "../job.ts";
import { logLine } from "../log.ts";
import { putJsonOnce } from "../once.ts";
import type { Bucket, Jobs } from "../ports.ts";
import type { Outcome } from "../run.ts";
import { fleetClusters } from "./discovery.ts";
import { type FleetOutcome, type FleetTiming, MOST_PARTS, runFleetJob } from "./job.ts";
import { type FleetContext, runMember } from "./member.ts";
import { isChosen } from "./settings.ts";
import { sweepRuns } from "./sweep.ts";

/**
 * Runs a job where there is a fleet. One that names a cluster is that cluster's; a schedule's backup that names none is the
 * fleet's job, so that clocks need not tell them apart; retention, and the verification of the location, become a job for each
 * cluster. Throws `invalid` for a job that can only be of one cluster and names none.
 */
export async function runInFleet(
  job: LockedJob,
  context: FleetContext & { loops?: boolean; fleetTiming?: FleetTiming },
): Promise<Outcome | FleetOutcome> {
  if (job.kind === "fleet") return runFleetJob(job, context);
  const { cluster } = job;
  if (cluster !== undefined) return runMember({ ...job, cluster }, context);
  if (job.kind === "backup" && job.schedule !== undefined) {
    const { schedule, slot, name, caller, notBefore } = job;
    return runFleetJob({ kind: "fleet", schedule, slot, name, caller, notBefore }, context);
  }
  if (job.kind === "retention" || (job.kind === "verify" && isOfLocation(job))) return ofEach(job, context);
  throw new LifeboatError("invalid", `the job names no cluster of the fleet, and a ${job.kind} is of one`, {
    hint: 'name it: "cluster"',
  });
}

/** The same job of each cluster, of so many at once: the others, or the last one, are what is done when those have ended. */
async function ofEach(
  { after, ...job }: Extract<ClusterJob, { kind: "retention" | "verify" }>,
  { config, bucket, clusters: clouds, signal, listen }: FleetContext,
): Promise<FleetOutcome> {
  if (job.kind === "retention" && after === undefined) {
    const swept = await sweepRuns(bucket, new Date(), signal);
    if (swept > 0)
      listen?.(logLine("info", "what old runs of the fleet had left is deleted", { objects: swept }), "info");
  }
  const { clusters, problems } = await fleetClusters(config, clouds, signal);
  for (const problem of problems) listen?.(logLine("error", problem), "error");
  const schedule =
    job.kind === "retention" && job.schedule !== undefined ? config.fleet.schedules[job.schedule] : undefined;
  const names = [...clusters].flatMap(([name, { labels = {} }]) =>
    schedule === undefined || isChosen(schedule.clusters, { name, labels }) ? [name] : [],
  );
  const left = after === undefined ? names : names.filter((name) => name > after);
  const parts = left.slice(0, MOST_PARTS).map((cluster): LockedJob => ({ ...job, cluster }));
  const next = left.length > parts.length ? { ...job, after: left[parts.length - 1]! } : parts.pop();
  if (next) return { duplicate: false, next, parts };
  return { duplicate: false, skipped: "the fleet has no cluster that it would be of" };
}

/**
 * Hands over a fleet's schedule, unless a run of that name was before: whether it did. Where it can't be handed over, it is taken
 * for not done. Throws what the bucket and the platform's `Jobs` throw.
 */
export async function askOnce(
  bucket: Bucket,
  name: string,
  job: Pick<FleetJob, "schedule" | "slot" | "name" | "caller">,
  jobs: Jobs,
): Promise<boolean> {
  const { asked } = fleetKeys(name);
  const content = { schemaVersion: 1, at: new Date().toISOString(), ...job };
  if (!(await putJsonOnce(bucket, asked, content))) return false;
  try {
    await jobs.enqueue({ kind: "fleet", ...job });
    return true;
  } catch (error) {
    await bucket.delete(asked).catch(() => {});
    throw error;
  }
}
