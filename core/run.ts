import { setTimeout as sleep } from "node:timers/promises";
import { backup } from "./backup/backup.ts";
import type { BackupSpec } from "./backup/scope.ts";
import { newestBackup, readBackup, readRestore, SCHEDULE_LABEL } from "./catalog.ts";
import { openCluster } from "./cluster.ts";
import type { Config, Schedule } from "./config.ts";
import { clusterOf, scheduleOf } from "./configured.ts";
import {
  type BackupDocument,
  backupDocument,
  type RestoreDocument,
  readBackupDocument,
  readRestoreDocument,
  restoreDocument,
} from "./documents.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import type { Job } from "./job.ts";
import type { Kube } from "./kube/client.ts";
import { LOCK_TIMING, type LockTiming, takeLock } from "./lock.ts";
import { type LogLevel, startRunLog } from "./log.ts";
import type { Bucket, Platform } from "./ports.ts";
import { runRestore } from "./restore/run.ts";
import type { RestoreSpec } from "./restore/spec.ts";
import { leavingLog } from "./runs.ts";
import { readClock } from "./schedule/cron.ts";
import { isPaused } from "./schedule/pause.ts";
import { nameTime, scheduledName } from "./schedule/slots.ts";
import type { CachedSecrets } from "./secrets.ts";

type BackupJob = Extract<Job, { kind: "backup" }>;
type RestoreJob = Extract<Job, { kind: "restore" }>;

/** How a job ended that did not fail. */
export type Outcome =
  | { document: BackupDocument | RestoreDocument; duplicate: boolean; skipped?: undefined }
  /** Nothing was done, and why: another run is at it, the schedule is paused, somebody called it off. */
  | { document?: undefined; duplicate: boolean; skipped: string };

/** What a job is run with. */
export interface JobContext {
  config: Config;
  bucket: Bucket;
  secrets: CachedSecrets;
  clusters: Platform["clusters"];
  /** When the platform will stop us. */
  deadline?: Date;
  signal: AbortSignal;
  /** Each line of the run's log as it is written. */
  listen?: (line: string, level: LogLevel) => void;
  timing?: LockTiming;
}

/** Of the time that is left: what a run keeps back for its end, at most. */
const RESERVE_MS = 60_000;

/**
 * Runs one job: the one entry for every trigger. Of any number of deliveries of one job, and of jobs of one name, one
 * makes the backup or restore; the others end well, as `duplicate`, once it is there or its run is seen to live. The
 * lock of a run that died is taken over once it is no longer valid.
 *
 * Throws `invalid` for a job that can't be run, `timeout` where the deadline is too near, and whatever stopped the run,
 * whose log then lies in the bucket. A backup or restore that is PartiallyFailed does not throw.
 */
export async function runJob(job: Job, context: JobContext): Promise<Outcome> {
  const wait = Date.parse(job.notBefore ?? "") - Date.now();
  if (wait > 0) await sleep(wait, undefined, { signal: context.signal });
  return job.kind === "backup" ? runBackupJob(job, context) : runRestoreJob(job, context);
}

async function runBackupJob(job: BackupJob, context: JobContext): Promise<Outcome> {
  const { bucket, config } = context;
  const schedule = job.schedule === undefined ? undefined : scheduleOf(config, job.schedule);
  const name =
    job.name ?? (schedule ? scheduledName(schedule.name, slotOf(schedule, job.slot)) : defaultName("backup"));
  const spec: BackupSpec = job.spec ?? schedule?.template ?? {};
  const labels = schedule && { ...schedule.labels, [SCHEDULE_LABEL]: schedule.name };
  // Who names the backup wants it now; a clock's trigger does not.
  if (schedule && !job.name && (await isPaused(bucket, schedule, context.signal))) {
    return { duplicate: false, skipped: `schedule "${schedule.name}" is paused` };
  }
  const found = () => committed(async () => readBackupDocument(bucket, await readBackup(bucket, name, context.signal)));
  return locked({ kind: "backup", name, found, cluster: job.cluster ?? schedule?.cluster }, context, async (run) => {
    const { record, outcome } = await backup({ ...run, name, spec, labels, caller: job.caller });
    return backupDocument(record, bucket.location, { ...outcome, durationMs: run.elapsed() });
  });
}

async function runRestoreJob(job: RestoreJob, context: JobContext): Promise<Outcome> {
  const { bucket, signal } = context;
  const { scheduleName, backupName, ...filters } = job.spec;
  const name = job.name ?? defaultName(backupName ?? scheduleName ?? "restore");
  const found = () => committed(async () => readRestoreDocument(bucket, await readRestore(bucket, name, signal)));
  return locked({ kind: "restore", name, found, cluster: job.cluster }, context, async (run) => {
    const source = backupName ?? (await newestBackup(bucket, scheduleName ?? "", run)).metadata.name;
    const spec: RestoreSpec = { ...filters, backupName: source };
    const { record, result } = await runRestore({ ...run, name, spec, caller: job.caller });
    return restoreDocument(record, bucket.location, { ...result.problems, durationMs: run.elapsed() });
  });
}

interface Locked<Document> {
  kind: Job["kind"];
  name: string;
  cluster: string | undefined;
  /** What has been committed under that name already. */
  found: () => Promise<Document | undefined>;
}

interface Run {
  kube: Kube;
  bucket: Bucket;
  log: ReturnType<typeof startRunLog>;
  signal: AbortSignal;
  /** Milliseconds since it began. */
  elapsed: () => number;
}

/** Does `work` under the lock of its name, or tells that it need not be done. */
async function locked<Document extends BackupDocument | RestoreDocument>(
  { kind, name, cluster, found }: Locked<Document>,
  context: JobContext,
  work: (run: Run) => Promise<Document>,
): Promise<Outcome> {
  const { bucket, config, secrets, clusters, listen, timing = LOCK_TIMING } = context;
  let document: Document | undefined;
  const settled = async () => {
    document = await found();
    return document !== undefined;
  };
  const signal = AbortSignal.any([context.signal, beforeDeadline(context.deadline)]);
  const lock = await takeLock({ bucket, kind: `${kind}s`, name }, { settled, signal, timing });
  if (lock === "settled") return { document: document!, duplicate: true };
  if (lock === "running") return { duplicate: true, skipped: `another run is making ${kind} "${name}"` };
  await using held = lock;
  const log = startRunLog({ [kind]: `velero/${name}` }, listen);
  const began = performance.now();
  try {
    document = await leavingLog({ kind, bucket, name, log }, async () => {
      const running = AbortSignal.any([signal, held.signal]);
      const kube = await openCluster(clusterOf(config, cluster), { secrets, clusters }, { signal: running });
      try {
        const elapsed = () => Math.round(performance.now() - began);
        return await work({ bucket, kube, log, signal: running, elapsed });
      } finally {
        await kube.close();
      }
    });
    return { document, duplicate: false };
  } catch (error) {
    if (isLifeboatError(error, "conflict")) {
      if (held.signal.reason === error) return { duplicate: false, skipped: error.message };
      if (await settled()) return { document: document!, duplicate: true };
    }
    throw error;
  }
}

/** The document of what is committed; undefined where nothing is. */
async function committed<Document>(read: () => Promise<Document>): Promise<Document | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isLifeboatError(error, "missing")) return undefined;
    throw error;
  }
}

/** Aborts while there is time left to leave a log and to give back the lock. */
function beforeDeadline(deadline: Date | undefined): AbortSignal {
  if (!deadline) return new AbortController().signal;
  const left = deadline.getTime() - Date.now();
  const ended = new AbortController();
  const error = new LifeboatError("timeout", "the run would have lasted longer than the platform lets it", {
    hint: "raise the function's timeout, or give it more memory, which is more CPU too",
  });
  setTimeout(() => ended.abort(error), Math.max(0, left - Math.min(RESERVE_MS, left / 10))).unref();
  return ended.signal;
}

/** The scheduled time. One that lies ahead, as a trigger forced by hand may carry, is none. */
function slotOf(schedule: Schedule, given: string | undefined): Date {
  const now = new Date();
  const slot = given === undefined ? undefined : new Date(given);
  const due = slot && slot.getTime() <= now.getTime() + RESERVE_MS ? slot : readClock(schedule).last(now);
  if (due) return due;
  throw new LifeboatError("invalid", `schedule "${schedule.name}" (${schedule.schedule}) has never been due`);
}

function defaultName(subject: string): string {
  return `${subject}-${nameTime(new Date())}`;
}
