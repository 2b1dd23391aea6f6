import type { CheckDocument } from "./check/document.ts";
import { ERROR_KINDS, isLifeboatError, mayPass } from "./errors.ts";
import type { FleetDocument } from "./fleet/document.ts";
import type { FleetOutcome } from "./fleet/job.ts";
import type { VerifyListDocument } from "./integrity/document.ts";
import { damageText } from "./integrity/findings.ts";
import { ALL, type Job, type LockedJob } from "./job.ts";
import type { Outcome } from "./jobs/context.ts";
import { type Listen, logLine } from "./log.ts";
import { someOf } from "./report.ts";
import type { Usage } from "./usage.ts";

/** How a job ended, in a few bytes: platforms limit what a function may return. Of a check, what it found. */
export interface JobStatus extends Partial<Pick<CheckDocument, "ok" | "location" | "checks">> {
  kind?: Job["kind"] | "plan";
  name?: string;
  phase?: string;
  duplicate: boolean;
  skipped?: string;
  /** What is left is this job, once there were `parts` and they have ended, well or not. */
  next?: LockedJob;
  /** Of a job that is not all: how many items are done. */
  items?: number;
  /** Jobs of their own, which may be done in any order and at the same time, none before its `notBefore`. */
  parts?: LockedJob[];
  /** Of a backup that this run made: what it took, for what that costs. */
  durationMs?: number;
  usage?: Usage;
}

/** A job's failure as a platform sees it; the name tells, for its retry rules, whether doing it again may help. */
export class JobFailed extends Error {
  readonly status: number;
  readonly retry: boolean;

  constructor(message: string, options: { retry: boolean; status: number; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = options.retry ? "JobFailedTryAgain" : "JobFailedForGood";
    this.status = options.status;
    this.retry = options.retry;
  }
}

/** So many clusters are named in a failure; the summary names all. */
const MOST_NAMED = 10;

/**
 * What the platform may take for a success: what is left of a job, or a document that tells of none, though another delivery
 * made it. Throws `JobFailed` for one that tells of a failure.
 */
export function statusOf(outcome: Outcome | FleetOutcome): JobStatus {
  if (outcome.next) return statusOfRest(outcome);
  const { document, duplicate, skipped, items }: typeof outcome & { items?: number } = outcome;
  if (!document) return { duplicate, skipped, ...(items !== undefined && { items }) };
  if (document.kind === "fleet") return statusOfFleet(document, duplicate);
  if (document.kind === "plan") return { kind: "plan", name: document.id, phase: "Completed", duplicate };
  if (document.kind === "verify") {
    const { kind, name, ok } = document;
    if (ok) return { kind, name, phase: "Completed", duplicate };
    throw damagedFailure(`backup ${name} is damaged: ${damageText(document.damaged)}`);
  }
  if (document.kind === "verifyList") return statusOfVerification(document, duplicate);
  const { kind, name, phase, errors } = document;
  const took = document.kind === "backup" && document.usage;
  if (phase === "Completed")
    return { kind, name, phase, duplicate, ...(took && { durationMs: document.durationMs, usage: took }) };
  const message = `${kind} ${name} is ${phase}: ${errors.length} errors, the first: ${errors[0]?.message}`;
  throw new JobFailed(message, { retry: false, status: 500 });
}

function statusOfRest({ next, items, parts = [] }: Extract<Outcome | FleetOutcome, { next: LockedJob }>): JobStatus {
  const { name }: { name?: string } = { name: undefined, ...next };
  return { kind: next.kind, name, duplicate: false, next, items, ...(parts.length > 0 && { parts }) };
}

function statusOfFleet(document: FleetDocument, duplicate: boolean): JobStatus {
  const { kind, name, phase, counts, clusters, errors } = document;
  if (phase === "Completed") return { kind, name, phase, duplicate };
  const failed = clusters
    .filter(({ phase }) => phase !== "Completed" && phase !== "Skipped")
    .map(({ cluster }) => cluster);
  const named = failed.length > 0 ? `: ${someOf(failed, MOST_NAMED)}` : "";
  const message = `fleet ${name} is ${phase}: ${failed.length} of ${counts.clusters} clusters have no good backup${named}; the first error: ${errors[0]?.message}`;
  throw new JobFailed(message, { retry: false, status: 500 });
}

function statusOfVerification({ ok, backups, orphans }: VerifyListDocument, duplicate: boolean): JobStatus {
  if (ok) return { kind: "verify", name: ALL, phase: "Completed", duplicate };
  const damaged = backups.filter((backup) => !backup.ok);
  const first = damaged[0] ? `${damaged[0].name}: ${damageText(damaged[0].damaged)}` : orphans[0]!.reason;
  throw damagedFailure(`${damaged.length + orphans.length} backups are damaged, the first: ${first}`);
}

function damagedFailure(message: string): JobFailed {
  return new JobFailed(message, { retry: false, status: ERROR_KINDS.corrupt.http });
}

/**
 * The line at the end of a run that went well, if there is any. Alarms of platforms look for `job=backup schedule=NAME
 * phase=Completed`: these fields stay together, in this order. Of a fleet only the whole run is its schedule's backup; in the lines of
 * its parts the cluster stands between.
 */
export function endLine(job: LockedJob, { next, parts, items, phase, name = "" }: JobStatus): string | undefined {
  if (next) {
    const left = { job: next.kind, ...(parts && { parts: parts.length }), ...(items !== undefined && { items }) };
    return logLine("info", "the rest of the job is another one", left);
  }
  if (!phase) return undefined;
  const { kind, schedule, cluster = "", fleet } = { schedule: undefined, cluster: undefined, fleet: undefined, ...job };
  return logLine("info", "job ended", {
    job: kind === "fleet" ? "backup" : kind,
    ...(fleet !== undefined && { cluster }),
    ...(schedule !== undefined && { schedule }),
    ...{ phase, name },
  });
}

/** An error as the platform is to see it. What is no LifeboatError tells it nothing: that may hold anything. */
export function jobFailed(error: unknown): JobFailed {
  if (error instanceof JobFailed) return error;
  if (!isLifeboatError(error)) {
    return new JobFailed("an unexpected error, which the log tells more of", {
      retry: true,
      status: 500,
      cause: error,
    });
  }
  const { http } = ERROR_KINDS[error.kind];
  const message = error.hint ? `${error.message} (${error.hint})` : error.message;
  return new JobFailed(message, { retry: mayPass(error), status: http, cause: error });
}

/** The error as the platform is to see it; all there is to know of it goes to the log. `cluster`: the one it is about. */
export function loggedFailure(error: unknown, listen: Listen, cluster?: string): JobFailed {
  const failed = jobFailed(error);
  const cause = isLifeboatError(failed.cause) || !failed.cause ? failed.message : stackOf(failed.cause);
  listen(logLine("error", cause, { error: failed.name, ...(cluster !== undefined && { cluster }) }), "error");
  return failed;
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
