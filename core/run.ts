import { hash, randomUUID } from "node:crypto";
import { NEVER, pause } from "./abort.ts";
import { type BackupRun, backup, backupSlice, type ShardRun } from "./backup/backup.ts";
import type { BackupSpec } from "./backup/scope.ts";
import { backupShard, type ShardEnd } from "./backup/shards.ts";
import {
  CLUSTER,
  newestBackup,
  RESTORABLE,
  RUN_KINDS,
  readBackup,
  readObject,
  readRestore,
  restoreSourceKey,
  SCHEDULE_LABEL,
} from "./catalog.ts";
import { openCluster } from "./cluster.ts";
import type { Config, Schedule } from "./config.ts";
import { clusterName, scheduleOf } from "./configured.ts";
import {
  type BackupDocument,
  backupDocument,
  type RestoreDocument,
  readBackupDocument,
  readRestoreDocument,
  restoreDocument,
} from "./documents.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import type { Holder } from "./holder.ts";
import type { VerifyDocument, VerifyListDocument } from "./integrity/document.ts";
import { damageLines, damageText } from "./integrity/findings.ts";
import { runLocationVerification } from "./integrity/job.ts";
import { configuredSigner, readTrustedKeys } from "./integrity/keys.ts";
import { noteVerification } from "./integrity/verified.ts";
import { verifySlice, verifyStateSchema } from "./integrity/verify.ts";
import { ALL, type ClusterJob, isOfLocation, type LockedJob, type RecordedJob, readShare } from "./job.ts";
import type { Kube } from "./kube/client.ts";
import { heldText, LOCK_TIMING, type LockTiming, lockState, takeLock, tryLock } from "./lock.ts";
import { type Listen, type RunLog, startRunLog } from "./log.ts";
import type { Ended } from "./notify.ts";
import { putOnce } from "./once.ts";
import type { Bucket, Platform } from "./ports.ts";
import { newRun, openProgress } from "./progress.ts";
import { runDryRun } from "./restore/plan/dryrun.ts";
import { type PlanDocument, readPlan, specOf } from "./restore/plan/plandocument.ts";
import { runRestoreSlice } from "./restore/run.ts";
import type { RestoreSpec } from "./restore/spec.ts";
import { type RetentionDocument, retentionName } from "./retention/document.ts";
import { runRetentionJob } from "./retention/job.ts";
import { leavingLog, settleRequest } from "./runs.ts";
import { readClock } from "./schedule/cron.ts";
import { isPaused } from "./schedule/pause.ts";
import { nameStem, scheduledName } from "./schedule/slots.ts";
import type { CachedSecrets } from "./secrets.ts";
import { shardJobs, shardLock } from "./shardjobs.ts";
import type { More, Slice } from "./slices.ts";
import { measureJob, traced } from "./telemetry.ts";
import { failureDocument, tell } from "./tell.ts";
import { counting } from "./usage.ts";
import { type VolumeMeans, volumeMeans } from "./volumes/means.ts";

type BackupJob = Extract<LockedJob, { kind: "backup" }>;
type RestoreJob = Extract<LockedJob, { kind: "restore" }>;
type VerifyJob = Extract<LockedJob, { kind: "verify" }>;

type Result = BackupDocument | RestoreDocument | PlanDocument | VerifyDocument | VerifyListDocument | RetentionDocument;

/** How a job ended that did not fail. */
export type Outcome =
  | { document: Result; duplicate: boolean; skipped?: undefined; next?: undefined }
  /** There is more to do: jobs of their own, if any, and then the one that does the rest; and how many items are done. */
  | { document?: undefined; duplicate: false; skipped?: undefined; next: LockedJob; items: number; parts?: LockedJob[] }
  /** A part of a backup is read: so many items are done. */
  | { document?: undefined; duplicate: false; skipped?: undefined; next?: undefined; items: number }
  /** Nothing was done, and why: another run is at it, the schedule is paused, somebody called it off. */
  | { document?: undefined; duplicate: boolean; skipped: string; next?: undefined };

/** What a job is run with. */
export interface JobContext {
  config: Config;
  bucket: Bucket;
  secrets: CachedSecrets;
  clusters: Platform["clusters"];
  disks?: Platform["disks"];
  /** What is the same for every delivery of one trigger. */
  delivery?: string;
  /** When the platform will stop us. */
  deadline?: Date;
  /** Whether jobs that a job leaves are run by others, at the same time. */
  spreads?: boolean;
  signal: AbortSignal;
  /** Each line of the run's log as it is written. */
  listen?: Listen;
  /** Of a backup: hears what somebody who waits should know, as its log does. */
  say?: (line: string) => void;
  /** Hears that somebody could not be told of the job's end (tell.ts). */
  warn?: (message: string) => void;
  /** Who takes the lock, where a process can be told to have ended. */
  by?: Holder;
  timing?: LockTiming;
}

/** With what hears the job's name, once it is known; and when it is time to leave the rest of a job to the next run. */
type Named = JobContext & { named: (name: string) => void; slice?: Slice };

/** The longest that a job may be put off by `notBefore`, in milliseconds: what platforms delay a delivery for. */
const LONGEST_DELAY = 15 * 60_000;

/** Of the time that is left: what a run keeps back for its end, at most, and which part of it at most. */
const RESERVE_MS = 60_000;
const RESERVE_PART = 1 / 10;

/** How much before its reserve a run leaves the rest to the next one: what it is at then may take some seconds to end. */
export const SLICE_END_MS = 20_000;
export const SLICE_END_PART = 1 / 10;

/** The same of a backup, which takes copies of volumes back: their Jobs and snapshots may need two minutes to be gone. */
export const BACKUP_RESERVE_MS = 180_000;
export const BACKUP_RESERVE_PART = 1 / 5;

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
  const end = async (document: Ended) => {
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
      if (!context.signal.aborted && !isPart(job))
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

/** Whether it is a part of another one, which tells how it went. */
function isPart(job: LockedJob): boolean {
  return job.kind === "backup" && job.shard !== undefined;
}

/** What a job is about, as far as it tells itself. */
function subjectOf(job: ClusterJob, { schedules }: Config): { name: string; cluster?: string; schedule?: string } {
  const { schedule, cluster, name } = { schedule: undefined, cluster: undefined, name: undefined, ...job };
  if (job.kind === "retention") return { name: retentionName(schedule), schedule };
  if (isOfLocation(job)) return { name: ALL };
  return { name: name ?? schedule ?? "", cluster: cluster ?? schedules[schedule ?? ""]?.cluster, schedule };
}

async function doJob(job: ClusterJob, context: Named): Promise<Outcome> {
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

/** Waits for a job's time. Throws `invalid` where that is too far ahead. */
export async function untilDue({ notBefore = "" }: { notBefore?: string }, signal: AbortSignal): Promise<void> {
  const wait = Date.parse(notBefore) - Date.now();
  if (wait > LONGEST_DELAY) throw new LifeboatError("invalid", "notBefore is more than 15 minutes ahead");
  if (wait > 0) await pause(wait, signal);
}

async function runVerifyJob(job: VerifyJob, context: Named): Promise<Outcome> {
  const { bucket, config, secrets, signal } = context;
  const newest = () => newestBackup(bucket, job.schedule ?? "", { phases: RESTORABLE, signal });
  const name = job.name ?? (await newest()).metadata.name;
  const read = job.readData ? 1 : (readShare(job.sample ?? "") ?? 0);
  const { run: id = newRun() } = job;
  const next: VerifyJob = { ...job, name, schedule: undefined, run: id, notBefore: undefined };
  const cut = { id, isRest: job.run !== undefined, schema: verifyStateSchema, slice: context.slice };
  return locked({ kind: "verify", name, found: async () => undefined, next }, context, async ({ log, signal }) => {
    const trustedKeys = await readTrustedKeys(secrets, config.signing.publicKeys, signal);
    const progress = await openProgress({ bucket, ...cut, signal });
    let items = 0;
    const counting = (done: number) => {
      items = done;
    };
    const more = () => ({ more: true as const, items });
    try {
      const document = await verifySlice(bucket, name, { read, trustedKeys, signal, progress: counting }, progress);
      if (!document) return more();
      for (const line of damageLines(document.damaged)) log.log("error", line);
      await noteVerification(bucket, document, read, signal);
      await settleRequest(bucket, { kind: "verify", name });
      await progress.end();
      return document;
    } catch (error) {
      if (await progress.isLeft()) return more();
      throw error;
    }
  });
}

/** How a job ended, as it is told of: a verification that found damage has failed. */
function endOf(document: Exclude<Result, PlanDocument>): Ended {
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

/**
 * Where there is a deadline, a backup is made in slices: the rest of it is a job of the same name, which counts as the schedule's
 * slot as this one does.
 */
async function runBackupJob(job: BackupJob, given: Named): Promise<Outcome> {
  const { bucket, usage } = counting(given.bucket);
  const context = { ...given, bucket };
  const { config, secrets, signal } = context;
  const schedule = job.schedule === undefined ? undefined : scheduleOf(config, job.schedule);
  // Who names a backup and no slot wants it now; a clock's trigger does not.
  const slotted = schedule && (job.slot !== undefined || job.name === undefined);
  const made = slotted ? scheduledName(schedule.name, slotOf(schedule, job.slot)) : nameOf(job, "backup", context);
  const name = job.name ?? made;
  const spec: BackupSpec = job.spec ?? schedule?.template ?? {};
  const labels = schedule && { ...schedule.labels, [SCHEDULE_LABEL]: schedule.name };
  if (slotted && (await isPaused(bucket, schedule, signal))) {
    return { duplicate: false, skipped: `schedule "${schedule.name}" is paused` };
  }
  if (schedule && job.cluster !== undefined && job.cluster !== schedule.cluster)
    throw new LifeboatError("invalid", `schedule "${schedule.name}" is not of cluster "${job.cluster}"`);
  const cluster = job.cluster ?? schedule?.cluster;
  const found = async () => {
    const record = await committed(() => readBackup(bucket, name, signal));
    if (!record) return undefined;
    checkSame("backup", name, "schedule", record.metadata.labels?.[SCHEDULE_LABEL], schedule?.name);
    checkSame("backup", name, "cluster", record.metadata.annotations?.[CLUSTER], cluster);
    return readBackupDocument(bucket, record, signal);
  };
  const runOf = (run: ClusterRun): ShardRun => {
    const signer = configuredSigner(config.signing, secrets);
    const { recipients } = config.encryption;
    return { ...run, name, labels, caller: job.caller, signer, recipients, say: context.say };
  };
  const { shard, shards = schedule?.shards } = job;
  const spread = given.spreads && shards !== undefined && shards > 1;
  const slice = given.slice ?? (spread || shard ? { ends: NEVER } : undefined);
  const rest = { ...job, name, slot: undefined, notBefore: undefined };
  if (shard && slice) {
    const work = onCluster(cluster, context, (run) => backupShard(runOf(run), shard, slice));
    return shardOf({ ...rest, shard }, context, work);
  }
  const work = onCluster(cluster, context, async (run) => {
    const made: BackupRun = { ...runOf(run), spec };
    if (!spread && shards !== undefined && shards > 1)
      run.log.log("info", "one process reads it all: shards are of functions", { shards });
    const result = slice ? await backupSlice(made, slice, spread ? shards : 1) : await backup(made);
    if ("more" in result) {
      const { shards } = result;
      return shards ? { ...result, ...(await shardJobs(rest, { ...result, shards }, context)) } : result;
    }
    const { record, outcome } = result;
    return backupDocument(record, bucket.location, { ...outcome, durationMs: run.elapsed(), usage: { ...usage } });
  });
  return locked({ kind: "backup", name, found, next: rest }, context, work);
}

/** Reads a part of a sharded backup, or what is left of it, unless somebody else does. The backup itself tells how it went. */
async function shardOf(
  job: BackupJob & { name: string; shard: number },
  context: Named,
  work: (run: Run) => Promise<More | ShardEnd>,
): Promise<Outcome> {
  const { name, shard } = job;
  const { bucket, signal, listen, by, timing } = context;
  context.named(name);
  const lock = await tryLock(shardLock(bucket, name, shard), { signal, by, timing });
  if (lock === "running") return { duplicate: true, skipped: `another run reads shard ${shard} of backup "${name}"` };
  await using held = lock;
  const log = startRunLog({ backup: `velero/${name}`, shard: String(shard) }, listen);
  const began = performance.now();
  const running = AbortSignal.any([signal, held.signal]);
  const elapsed = () => Math.round(performance.now() - began);
  const ended = await work({ bucket, log, signal: running, elapsed });
  if ("more" in ended) return { duplicate: false, next: job, items: ended.items };
  return ended.unwanted ? { duplicate: false, skipped: ended.unwanted } : { duplicate: false, items: ended.items };
}

async function runRestoreJob(job: RestoreJob, context: Named): Promise<Outcome> {
  const { bucket, signal } = context;
  const { scheduleName = "", backupName, ...filters } = job.spec ?? {};
  const name = nameOf(job, job.plan ?? backupName ?? scheduleName, context);
  if (job.dryRun) return runDryRunJob(job, name, context);
  const found = async () => {
    const record = await committed(() => readRestore(bucket, name, signal));
    if (!record) return undefined;
    checkSame("restore", name, "backup", record.spec.backupName, backupName);
    checkSame("restore", name, "cluster", record.metadata.annotations?.[CLUSTER], job.cluster);
    return readRestoreDocument(bucket, record, signal);
  };
  const work = onCluster(job.cluster, context, async (run) => {
    const plan = job.plan === undefined ? undefined : await readPlan(bucket, job.plan, signal);
    const source = async () => backupName ?? (await pinned(run, name, scheduleName));
    const spec: RestoreSpec = plan ? specOf(plan) : { ...filters, backupName: await source() };
    const { caller } = job;
    const end = await runRestoreSlice({ ...run, ...(await signing(context)), name, spec, plan, caller }, context.slice);
    if ("more" in end) return end;
    const { record, result } = end;
    return restoreDocument(record, bucket.location, { ...result.problems, durationMs: run.elapsed() });
  });
  return locked({ kind: "restore", name, found, next: { ...job, name, notBefore: undefined } }, context, work);
}

async function runDryRunJob(job: RestoreJob, name: string, context: Named): Promise<Outcome> {
  const { bucket, signal } = context;
  const { scheduleName = "", backupName, ...filters } = job.spec ?? {};
  const found = () => committed(async () => (await readPlan(bucket, name, signal)).document);
  const work = onCluster(job.cluster, context, async (run) => {
    const source = backupName ?? (await pinned(run, name, scheduleName));
    const spec = { ...filters, backupName: source };
    const plan = await runDryRun({ ...run, ...(await signing(context)), name, spec });
    await settleRequest(bucket, { kind: "restore", name });
    return plan;
  });
  return locked({ kind: "restore", name, found }, context, work);
}

/** Whose signatures a restore trusts, what signs what it keeps, and to whom that is encrypted. */
async function signing({ config, secrets, signal }: JobContext) {
  const trustedKeys = await readTrustedKeys(secrets, config.signing.publicKeys, signal);
  const { recipients } = config.encryption;
  return { trustedKeys, recipients, signer: configuredSigner(config.signing, secrets) };
}

/** The newest backup of a schedule as of the first run of this restore: one that is run again restores the same. */
async function pinned({ bucket, signal }: Run, name: string, schedule: string): Promise<string> {
  const source = restoreSourceKey(name);
  const newest = (await newestBackup(bucket, schedule, { signal })).metadata.name;
  if (await putOnce(bucket, source, Buffer.from(newest), signal)) return newest;
  return (await readObject(bucket, source, signal)).toString();
}

/** A job that meets another's backup or restore under its name has not been done. What isn't known of either says nothing. */
function checkSame(kind: RecordedJob["kind"], name: string, what: string, there?: string, wanted?: string): void {
  if (there === undefined || wanted === undefined || there === wanted) return;
  throw new LifeboatError(
    "conflict",
    `there is a ${kind} "${name}" already, of the ${what} "${there}", not "${wanted}"`,
    {
      hint: "choose another name",
    },
  );
}

/** The job's name; of one without, the same for every delivery of one trigger, where the platform tells them apart. */
function nameOf(job: RecordedJob, subject: string, { delivery }: JobContext): string {
  return job.name ?? `${nameStem(subject)}-${deliveryId(delivery)}`;
}

/** Short enough for names. */
function deliveryId(delivery: string = randomUUID()): string {
  return hash("sha256", delivery, "hex").slice(0, 12);
}

interface Locked<Document> {
  kind: RecordedJob["kind"];
  name: string;
  /** What has been committed under that name already. */
  found: () => Promise<Document | undefined>;
  /** What does the rest, of a job that may leave some. */
  next?: LockedJob;
}

interface Run {
  bucket: Bucket;
  log: RunLog;
  signal: AbortSignal;
  /** Milliseconds since it began. */
  elapsed: () => number;
}

interface ClusterRun extends Run {
  kube: Kube;
  volumes: VolumeMeans;
  /** Its name in the configuration. */
  cluster: string;
}

/** `work` with a client of the cluster, which is closed after it. */
function onCluster<Document>(
  cluster: string | undefined,
  { config, secrets, clusters, disks }: JobContext,
  work: (run: ClusterRun) => Promise<Document>,
): (run: Run) => Promise<Document> {
  return async (run) => {
    const named = clusterName(config, cluster);
    const kube = await openCluster(config.clusters[named]!, { secrets, clusters }, { signal: run.signal });
    try {
      const volumes = volumeMeans(config.volumes, { location: config.location, secrets, disks });
      return await work({ ...run, kube, volumes, cluster: named });
    } finally {
      await kube.close();
    }
  };
}

/** Does `work` under the lock of its name, or tells that it need not be done. */
async function locked<Document extends Result>(
  { kind, name, found, next }: Locked<Document>,
  context: Named,
  work: (run: Run) => Promise<Document | (More & { next?: LockedJob; parts?: LockedJob[] })>,
): Promise<Outcome> {
  const { bucket, signal, listen, by, timing = LOCK_TIMING } = context;
  const scope = { bucket, kind: RUN_KINDS[kind], name };
  context.named(name);
  let document: Document | undefined;
  const settled = async () => {
    document = await found();
    return document !== undefined;
  };
  const lock = await takeLock(scope, { settled, signal, timing, by });
  if (lock === "settled") return { document: document!, duplicate: true };
  if (lock === "cancelled") return { duplicate: true, skipped: `${kind} "${name}" has been called off` };
  if (lock === "running")
    return {
      duplicate: true,
      skipped: `another run is making ${kind} "${name}"${heldText(await lockState(scope, { signal }))}`,
    };
  await using held = lock;
  const log = startRunLog({ [kind]: `velero/${name}` }, listen);
  const began = performance.now();
  try {
    const result = await leavingLog({ kind, bucket, name, log }, async () => {
      const running = AbortSignal.any([signal, held.signal]);
      const elapsed = () => Math.round(performance.now() - began);
      return await work({ bucket, log, signal: running, elapsed });
    });
    if (!("more" in result)) return { document: result, duplicate: false };
    return { duplicate: false, next: result.next ?? next!, items: result.items, parts: result.parts };
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

/**
 * A signal that aborts while there is time left to leave a log and to give back the lock, unless it is disposed of; and one that
 * aborts before that, where there is a deadline at all.
 */
function beforeDeadline(
  deadline: Date | undefined,
  isBackup: boolean,
): { signal: AbortSignal; slice?: Slice } & Disposable {
  const ended = new AbortController();
  const sliceEnded = new AbortController();
  const left = deadline ? deadline.getTime() - Date.now() : Number.POSITIVE_INFINITY;
  const error = new LifeboatError("timeout", "the run would have lasted longer than the platform lets it", {
    hint: "raise the function's timeout, or give it more memory, which is more CPU too",
  });
  const [most, part] = isBackup ? [BACKUP_RESERVE_MS, BACKUP_RESERVE_PART] : [RESERVE_MS, RESERVE_PART];
  const after = Math.max(0, left - Math.min(most, left * part));
  const timed = (then: AbortController, ms: number) =>
    ms < LONGEST_TIMER ? setTimeout(() => then.abort(error), ms) : undefined;
  const lengthMs = after - Math.min(SLICE_END_MS, after * SLICE_END_PART);
  const timers = [timed(ended, after), timed(sliceEnded, lengthMs)];
  return {
    signal: ended.signal,
    ...(deadline && { slice: { ends: sliceEnded.signal, lengthMs } }),
    [Symbol.dispose]: () => timers.forEach(clearTimeout),
  };
}

/** Longer ones end at once. */
const LONGEST_TIMER = 2 ** 31;

/** The schedule's last slot at or before the time given. One that lies ahead, as a trigger forced by hand may carry, is none. */
export function slotOf(schedule: Pick<Schedule, "name" | "schedule" | "timeZone">, given: string | undefined): Date {
  const now = Date.now();
  const time = given === undefined ? now : Date.parse(given);
  const due = readClock(schedule).last(new Date(time <= now + RESERVE_MS ? time : now));
  if (due) return due;
  throw new LifeboatError("invalid", `schedule "${schedule.name}" (${schedule.schedule}) has never been due`);
}
