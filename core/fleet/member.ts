import type { Config } from "../config.ts";
import { isLifeboatError, mayPass, messageOf } from "../errors.ts";
import type { ClusterJob } from "../job.ts";
import type { JobContext, Outcome } from "../jobs/context.ts";
import { runJob } from "../jobs/run.ts";
import { type Listen, logLine } from "../log.ts";
import type { MemberEnd } from "./document.ts";
import { type FleetBuckets, noteEnd, noteTry } from "./ends.ts";
import { narrowedTo, narrowedToStored } from "./narrowed.ts";
import { inTime } from "./time.ts";

/** What the jobs of a fleet are run with: its configuration and its own bucket. */
export interface FleetContext extends Omit<JobContext, "config" | "bucket">, FleetBuckets {}

/**
 * Runs a job of one of the fleet's clusters, as if that were deployed alone. Of a backup that a run of the fleet has handed over
 * it is noted in the fleet's own location how it ended: of a cluster that can't be reached, or whose own location can't, that
 * is all there is. What outlasts that run's time is cut off. Throws as `runJob`, `narrowedTo` and `inTime`.
 */
export async function runMember(job: ClusterJob & { cluster: string }, context: FleetContext): Promise<Outcome> {
  const { config: whole, openMember, signal, ...run } = context;
  const listen: Listen = (line, level) => run.listen?.(`${line} cluster=${job.cluster}`, level);
  const fleetRun = job.kind === "backup" && job.shard === undefined ? job.fleet : undefined;
  const note = async (end: MemberEnd) => {
    if (fleetRun !== undefined) await noteEnd(run.bucket, fleetRun, job.cluster, end);
  };
  const work = async (signal: AbortSignal) => {
    const own = await configOf(job, { ...context, signal });
    const bucket = await openMember(own.location);
    // Of its parts the run's own summary tells.
    const config = fleetRun === undefined ? own : { ...own, notifications: {} };
    return runJob(job, { ...run, signal, listen, config, bucket });
  };
  try {
    const until = job.kind === "backup" ? job.until : undefined;
    const outcome = await inTime({ until, timeout: whole.fleet.timeout }, signal, work);
    const { document, duplicate, skipped } = outcome;
    if (document?.kind === "backup") {
      await note({ phase: document.phase });
    }
    if (skipped !== undefined && !duplicate) await note({ phase: "Skipped", message: skipped });
    return outcome;
  } catch (error) {
    if (signal.aborted || fleetRun === undefined) throw error;
    const reason = isLifeboatError(error) ? error.kind : undefined;
    const failed = { phase: "Failed", message: messageOf(error), reason };
    const noted = (mayPass(error) ? noteTry : noteEnd)(run.bucket, fleetRun, job.cluster, failed);
    await noted.catch((failure: unknown) => {
      const line = `how the backup of ${job.cluster} ended can't be noted: ${messageOf(failure)}`;
      listen(logLine("warning", line), "warning");
    });
    throw error;
  }
}

/** The configuration that a job is run with: to verify backups takes nothing of their cluster. */
async function configOf(
  job: ClusterJob & { cluster: string },
  { config, bucket, clusters, signal }: FleetContext,
): Promise<Config> {
  if (job.kind === "verify") return narrowedToStored(config, job.cluster, { bucket, clouds: clusters, signal });
  const own = await narrowedTo(config, job.cluster, clusters, signal);
  if (job.kind !== "restore" || job.from === undefined) return own;
  const { location } = await narrowedToStored(config, job.from, { bucket, clouds: clusters, signal });
  return { ...own, location };
}
