import { fleetKeys } from "../catalog.ts";
import type { FleetConfig } from "../config.ts";
import { isLifeboatError, messageOf } from "../errors.ts";
import type { ClusterJob } from "../job.ts";
import { type Listen, logLine } from "../log.ts";
import type { Bucket } from "../ports.ts";
import { type JobContext, type Outcome, runJob } from "../run.ts";
import { say } from "../state.ts";
import { type MemberEnd, memberEndSchema } from "./document.ts";
import { narrowedTo } from "./narrow.ts";
import { inTime } from "./time.ts";

/** What the jobs of a fleet are run with: its configuration and its own bucket. */
export interface FleetContext extends Omit<JobContext, "config"> {
  config: FleetConfig;
  /** The bucket of a location below the fleet's. */
  openMember: (location: string) => Promise<Bucket>;
}

/** As long as it may take to note how a run ended whose time is up. */
const NOTE_MS = 10_000;

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
    const own = await narrowedTo(whole, job.cluster, run.clusters, signal);
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
      const { phase, name, items, bytes, durationMs, errors } = document;
      const message = errors[0] && { message: errors[0].message };
      await note({ phase, name, items, bytes, durationMs, ...message });
    }
    if (skipped !== undefined && !duplicate) await note({ phase: "Skipped", message: skipped });
    return outcome;
  } catch (error) {
    if (signal.aborted) throw error;
    const reason = isLifeboatError(error) ? error.kind : undefined;
    await note({ phase: "Failed", message: messageOf(error), reason }).catch((failure: unknown) => {
      const line = `how the backup of ${job.cluster} ended can't be noted: ${messageOf(failure)}`;
      listen(logLine("warning", line), "warning");
    });
    throw error;
  }
}

/** Notes how the backup of a cluster ended, unless that is known: a job that is delivered again ends as the first time, or too late. */
async function noteEnd(bucket: Bucket, run: string, cluster: string, end: MemberEnd): Promise<void> {
  const folder = `${fleetKeys(run).ends}${cluster}/`;
  const signal = AbortSignal.timeout(NOTE_MS);
  await say(
    bucket,
    folder,
    memberEndSchema,
    (known) => {
      const isSame = known?.state?.phase === end.phase && known.state.message === end.message;
      return isSame || (known && end.reason === "timeout") ? undefined : end;
    },
    signal,
  );
}
