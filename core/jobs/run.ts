import type { Config } from "../config.ts";
import { damageLines, damageText } from "../integrity/findings.ts";
import { ALL, type ClusterJob, isOfLocation, type LockedJob } from "../job.ts";
import type { JobDocument } from "../notify.ts";
import type { PlanDocument } from "../restore/plan/plandocument.ts";
import { retentionName } from "../retention/document.ts";
import { measureJob, traced } from "../telemetry.ts";
import { failureDocument, tell } from "../tell.ts";
import { runBackupJob } from "./backup.ts";
import type { JobContext, NamedContext, Outcome, Result } from "./context.ts";
import { beforeDeadline, untilDue } from "./deadline.ts";
import { runRestoreJob } from "./restore.ts";
import { runRetentionJob } from "./retention.ts";
import { runLocationVerification, runVerifyJob } from "./verification.ts";

/**
 * Runs one job: the one entry for every trigger. Of any number of deliveries of one job, and of jobs of one name, one
 * makes the backup or restore; the others end well, as `duplicate`, once it is there or its run is seen to live. The
 * lock of a run that died is taken over once it is no longer valid.
 *
 * Throws `invalid` for a job that can't be run, `timeout` where the deadline is too near, and whatever stopped the run,
 * whose log then lies in the bucket. A backup or restore that is PartiallyFailed does not throw.
 */
export async function runJob(job: ClusterJob, context: JobContext): Promise<Outcome> {
  const { schedule, cluster, ...subject } = subjectOf(job, context.config);
  let { name } = subject;
  const attributes = { "lifeboat.job": job.kind, "lifeboat.cluster": cluster, "lifeboat.schedule": schedule };
  const began = performance.now();
  const end = async (document: JobDocument) => {
    measureJob({ durationMs: performance.now() - began, ...document });
    await tell(document, context);
  };
  return await traced(`lifeboat ${job.kind}`, attributes, async (span) => {
    const named = (known: string) => {
      name = known;
    };
    try {
      const outcome = await doJob(job, { ...context, named });
      const { document, duplicate } = outcome;
      span.setAttributes({ "lifeboat.name": name, "lifeboat.duplicate": duplicate });
      if (document && document.kind !== "plan" && !duplicate) await end(endOf(document));
      return outcome;
    } catch (error) {
      if (!context.signal.aborted && !isShard(job))
        await end(
          failureDocument(
            {
              kind: isOfLocation(job) ? "verifyList" : job.kind,
              name,
              cluster,
              schedule,
              location: context.bucket.location,
            },
            error,
          ),
        );
      throw error;
    }
  });
}

/** Whether it reads a shard: how that went the backup itself tells. */
function isShard(job: LockedJob): boolean {
  return job.kind === "backup" && job.shard !== undefined;
}

/** What a job is about, as far as it tells itself. */
function subjectOf(job: ClusterJob, { schedules }: Config): { name: string; cluster?: string; schedule?: string } {
  const { schedule, cluster, name } = { schedule: undefined, cluster: undefined, name: undefined, ...job };
  if (job.kind === "retention") return { name: retentionName(schedule), schedule };
  if (isOfLocation(job)) return { name: ALL };
  return { name: name ?? schedule ?? "", cluster: cluster ?? schedules[schedule ?? ""]?.cluster, schedule };
}

async function doJob(job: ClusterJob, context: NamedContext): Promise<Outcome> {
  using deadline = beforeDeadline(context.deadline, job.kind === "backup");
  const { slice } = deadline;
  const limited = { ...context, slice, signal: AbortSignal.any([context.signal, deadline.signal]) };
  await untilDue(job, limited.signal);
  switch (job.kind) {
    case "backup":
      return await runBackupJob(job, limited);
    case "restore":
      return await runRestoreJob(job, limited);
    case "verify":
      return await (isOfLocation(job) ? runLocationVerification : runVerifyJob)(job, limited);
    case "retention":
      return await runRetentionJob(job, limited);
  }
}

/** How a job ended, as it is told of: a verification that found damage has failed. */
function endOf(document: Exclude<Result, PlanDocument>): JobDocument {
  if (document.kind === "verify") {
    const errors = damageLines(document.damaged).map((message) => ({ message }));
    return { ...document, phase: document.ok ? "Completed" : "Failed", warnings: [], errors };
  }
  if (document.kind === "verifyList") {
    const { ok, backups, orphans } = document;
    const damaged = backups.filter(({ ok }) => !ok);
    const errors = [
      ...damaged.map((one) => ({ message: `backup ${one.name}: ${damageText(one.damaged)}` })),
      ...orphans.map(({ folder, reason }) => ({ message: `${folder}: ${reason}` })),
    ];
    return { ...document, name: ALL, phase: ok ? "Completed" : "Failed", warnings: [], errors };
  }
  return document;
}
