import { randomUUID } from "node:crypto";
import { z } from "zod";
import { newestBackup, readBackup, readRestorable } from "./catalog.ts";
import type { Config } from "./config.ts";
import { clusterName, scheduleOf } from "./configured.ts";
import { listFolder, readJson, readObject } from "./contents.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import { type RecordedJob, readJob, recordedJobSchema } from "./job.ts";
import { backupKeys, RUN_KINDS, type RunKind, recordIn, restoreKeys, runFolder, runKeys } from "./layout.ts";
import { lockState, reopen } from "./lock.ts";
import { checkNewName } from "./names.ts";
import { listObjects, putOnce } from "./once.ts";
import type { Bucket, Jobs } from "./ports.ts";
import type { Problem } from "./report.ts";
import { checkNoPlan, hasPlan, readPlan } from "./restore/plan/plandocument.ts";
import { selection } from "./restore/selection.ts";
import { checkSpec } from "./restore/spec.ts";
import { putFailure } from "./runs.ts";
import { hasCome, nameStem, nameTime } from "./schedule/slots.ts";
import { checkMoving } from "./volumes/means.ts";

/** A job that somebody asked for, named. */
export type NamedJob = RecordedJob & { name: string };

interface Deps {
  bucket: Bucket;
  jobs: Jobs;
}

/** What is known of a backup or restore before it is committed. */
export interface RunDocument {
  schemaVersion: 1;
  kind: RecordedJob["kind"];
  name: string;
  /** New: asked for. InProgress: a run works on it. Failed: the last run ended without it. */
  phase: "New" | "InProgress" | "Failed";
  location: string;
  cluster?: string;
  schedule?: string;
  caller?: string;
  /** When it was asked for; absent where a schedule began it. */
  requestTimestamp?: string;
  spec: Record<string, unknown>;
  warnings: Problem[];
  errors: Problem[];
}

const requestSchema = z.object({ schemaVersion: z.literal(1), job: recordedJobSchema, at: z.string() });
const resultSchema = z.object({
  phase: z.string(),
  errors: z.array(z.looseObject({ message: z.string() })),
});

/** A name for what was given none: `subject-YYYYMMDDhhmmss-xxxxxxxx`, which two requests in one second don't share. */
export function requestName(subject: string, now = new Date()): string {
  return `${nameStem(subject)}-${nameTime(now)}-${randomUUID().slice(0, 8)}`;
}

/**
 * Checks, as far as that goes without a cluster, that a job can be run: names, schedule and cluster, filters, the backup
 * to restore. Nothing is written. What comes is the job to submit: a restore names the backup that is its schedule's
 * newest now, so that all runs of it restore the same one. Throws `invalid`, `missing` for a backup that isn't there,
 * `conflict` for a name that is taken, asked for, or being worked on.
 */
export async function checkJob<Checked extends NamedJob>(
  job: Checked,
  { config, bucket }: { config: Config; bucket: Bucket },
): Promise<Checked> {
  readJob(job);
  if (job.kind === "verify") {
    await readBackup(bucket, job.name).catch((error) => {
      if (!isLifeboatError(error, "corrupt")) throw error;
    });
    await checkFree(bucket, job);
    return job;
  }
  checkNewName(job.kind, job.name);
  if (job.kind === "backup") {
    const schedule = job.schedule === undefined ? undefined : scheduleOf(config, job.schedule);
    if (schedule && job.cluster !== undefined)
      throw new LifeboatError("invalid", "cluster is the schedule's: leave it out");
    clusterName(config, schedule?.cluster ?? job.cluster);
    const { location, volumes } = config;
    checkMoving(job.spec ?? schedule?.template ?? {}, volumes.restic && { location, env: process.env });
    await checkFree(bucket, job);
    return job;
  }
  clusterName(config, job.cluster);
  if (job.plan !== undefined) {
    await readPlan(bucket, job.plan);
    await checkFree(bucket, job);
    return job;
  }
  const { scheduleName, ...spec } = job.spec ?? {};
  checkSpec({ ...spec, backupName: spec.backupName ?? "" });
  selection({ ...spec, backupName: "" }, []);
  const source =
    scheduleName === undefined
      ? await readRestorable(bucket, spec.backupName ?? "")
      : await newestBackup(bucket, scheduleName);
  await checkFree(bucket, job);
  return { ...job, spec: { ...spec, backupName: source.metadata.name } };
}

async function checkFree(bucket: Bucket, job: NamedJob): Promise<void> {
  const { kind, name } = job;
  const taken = (why: string, hint: string) =>
    new LifeboatError("conflict", `${kind} "${name}" ${why} in ${bucket.location}`, { hint });
  if (kind !== "verify" && (await isCommitted(bucket, kind, name)))
    throw taken("already exists", "choose another name");
  if (job.kind === "restore" && job.dryRun) await checkNoPlan(bucket, name);
  const run = await readRun(bucket, kind, name);
  if (run && run.phase !== "Failed") throw taken(`is ${run.phase}`, "wait for its end, or choose another name");
}

async function isCommitted(bucket: Bucket, kind: "backup" | "restore", name: string): Promise<boolean> {
  const present = await listFolder(bucket, `${RUN_KINDS[kind]}/${name}/`);
  return kind === "backup" ? recordIn(present, name) !== undefined : present.has(restoreKeys(name).record);
}

/**
 * Records the job in the bucket, for `readRun`, and hands it over. Where it can't be handed over nothing of it is left,
 * or, with a credential that can't delete, a failed run. Of two that ask for one name at once, one gets `conflict`.
 */
export async function submitJob(job: NamedJob, deps: Deps): Promise<RunDocument> {
  const { bucket } = deps;
  const kind = RUN_KINDS[job.kind];
  const { state } = await lockState({ bucket, kind, name: job.name });
  if (state === "died") await abandonJob(bucket, job, "the run ended without a word");
  const at = new Date().toISOString();
  const keys = runKeys(kind, job.name, `${at}-${randomUUID()}`);
  await bucket.put(keys.job, requestFor(job, at), { ifAbsent: true });
  await handOver(job, keys, deps, async () => {
    const { open } = await readRequests(bucket, kind, job.name);
    if (open[0] === keys.job) return;
    throw new LifeboatError("conflict", `${job.kind} "${job.name}" has been asked for by somebody else just now`, {
      hint: "choose another name",
    });
  });
  return runDocument(bucket, job, "New", { job, at });
}

/**
 * Submits the backup of a slot, unless it has been made before, or asked for since that slot; whether it did. Of two that do so at once,
 * as two timers of one minute do, one does it: both would put a request of the same name.
 */
export async function submitOnce(job: NamedJob & { slot: string }, deps: Deps): Promise<boolean> {
  const { bucket } = deps;
  const kind = RUN_KINDS[job.kind];
  const folder = await listFolder(bucket, backupKeys(job.name).folder);
  const { requests, handedOver, stored, newest } = await readRequests(bucket, kind, job.name);
  const begins = new Date(job.slot);
  if (handedOver.some((key) => hasCome(begins, stored.get(key)!)) || recordIn(folder, job.name)) return false;
  const slot = begins.toISOString();
  const time = newest?.slice(0, slot.length) ?? slot;
  const keys = runKeys(kind, job.name, `${time}-slot-${String(requests.length).padStart(3, "0")}`);
  const request = requestFor(job, new Date().toISOString(), randomUUID());
  if (!(await putOnce(bucket, keys.job, request)) && !(await holds(bucket, keys.job, request))) return false;
  await handOver(job, keys, deps);
  return true;
}

/** A request's object. `id` tells, under a name that others put too, whose it is, where the bucket's answer was lost. */
function requestFor(job: NamedJob, at: string, id?: string): Buffer {
  const request = { schemaVersion: 1, id, job, caller: job.caller, at };
  return Buffer.from(`${JSON.stringify(request)}\n`);
}

async function holds(bucket: Bucket, key: string, bytes: Buffer): Promise<boolean> {
  try {
    return bytes.equals(await readObject(bucket, key));
  } catch (error) {
    if (isLifeboatError(error, "missing")) return false;
    throw error;
  }
}

/** Hands over what has been asked for, or withdraws it. */
async function handOver(
  job: NamedJob,
  keys: ReturnType<typeof runKeys>,
  { bucket, jobs }: Deps,
  allowed?: () => Promise<void>,
): Promise<void> {
  try {
    await allowed?.();
    await reopen({ bucket, kind: RUN_KINDS[job.kind], name: job.name });
    await jobs.enqueue(job);
  } catch (error) {
    await withdraw(bucket, job, keys, error);
    throw error;
  }
}

async function withdraw(
  bucket: Bucket,
  job: NamedJob,
  keys: ReturnType<typeof runKeys>,
  error: unknown,
): Promise<void> {
  await bucket
    .delete(keys.job)
    .catch(() => putFailure(bucket, { ...job, key: keys.result, error }))
    .catch(() => {});
}

/** Tells, for `readRun`, that a job which was handed over will not be begun. */
export function abandonJob(bucket: Bucket, job: Pick<NamedJob, "kind" | "name">, reason: string): Promise<void> {
  const keys = runKeys(RUN_KINDS[job.kind], job.name, `${new Date().toISOString()}-${randomUUID()}`);
  return putFailure(bucket, { ...job, key: keys.result, error: reason });
}

/**
 * The keys of what was asked for and of how runs ended, oldest first. `handedOver`: the requests that were not withdrawn,
 * which leaves a result of the request's own name; `open`: those of them since the last run that ended. `stored`: when each key
 * was. `newest`: what follows the folder in the newest key.
 */
async function readRequests(bucket: Bucket, kind: RunKind, name: string, signal?: AbortSignal) {
  const folder = runFolder(kind, name);
  const listed = await Array.fromAsync(listObjects(bucket, folder, signal));
  const stored = new Map(listed.map(({ key, modified }) => [key, modified]));
  const keys = [...stored.keys()].sort();
  const requests = keys.filter((key) => key.endsWith("-job.json"));
  const results = keys.filter((key) => key.endsWith("-result.json"));
  const withdrawals = new Set(requests.map((key) => key.replace(/-job\.json$/, "-result.json")));
  const ended = results.findLast((key) => !withdrawals.has(key)) ?? "";
  const handedOver = requests.filter((key) => !results.includes(key.replace(/-job\.json$/, "-result.json")));
  const open = handedOver.filter((key) => key > ended);
  return { requests, result: results.at(-1), open, handedOver, stored, newest: keys.at(-1)?.slice(folder.length) };
}

/**
 * What is known of a backup or restore that is not committed: InProgress while a run holds its lock, else what the newest
 * request or result says. Undefined where nothing is, and where all there was has ended well: a dry run that has left its
 * plan, a verification. Ask again for the committed record afterwards: the run may have
 * ended meanwhile.
 */
export async function readRun(
  bucket: Bucket,
  kind: RecordedJob["kind"],
  name: string,
  signal?: AbortSignal,
): Promise<RunDocument | undefined> {
  const runs = RUN_KINDS[kind];
  const { state, since } = await lockState({ bucket, kind: runs, name }, { signal });
  const { requests, result, open } = await readRequests(bucket, runs, name, signal);
  const newest = open[0] ?? requests.at(-1);
  if (state !== "held" && state !== "died" && !newest && !result) return undefined;
  const request = newest ? await readJson(bucket, newest, requestSchema, signal) : undefined;
  const document = (phase: RunDocument["phase"]) => runDocument(bucket, { kind, name }, phase, request);
  if (state === "held") return document("InProgress");
  if (request?.job.kind === "restore" && request.job.dryRun && (await hasPlan(bucket, name))) return undefined;
  if (state === "died" && (!request || since! >= new Date(request.at))) {
    const message = `the run ended without a word, after ${since!.toISOString()}: it was killed, or its time was up`;
    return { ...document("Failed"), errors: [{ message }] };
  }
  if (open.length > 0 || !result) return document("New");
  const { phase, errors } = await readJson(bucket, result, resultSchema, signal);
  return phase === "Completed" ? undefined : { ...document("Failed"), errors };
}

function runDocument(
  bucket: Bucket,
  { kind, name }: Pick<NamedJob, "kind" | "name">,
  phase: RunDocument["phase"],
  request: Pick<z.infer<typeof requestSchema>, "job" | "at"> | undefined,
): RunDocument {
  const { job, at } = request ?? {};
  const { cluster, spec = {} } = job === undefined || job.kind === "verify" ? {} : job;
  return {
    schemaVersion: 1,
    kind,
    name,
    phase,
    location: bucket.location,
    cluster,
    schedule: job?.kind === "restore" ? undefined : job?.schedule,
    caller: job?.caller,
    requestTimestamp: at,
    spec,
    warnings: [],
    errors: [],
  };
}
