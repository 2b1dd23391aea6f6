import { randomUUID } from "node:crypto";
import { z } from "zod";
import {
  backupKeys,
  checkNewName,
  listFolder,
  newestBackup,
  type RunKind,
  readObject,
  readRestorable,
  restoreKeys,
  runFolder,
  runKeys,
} from "./catalog.ts";
import type { Config } from "./config.ts";
import { clusterOf, scheduleOf } from "./configured.ts";
import { LifeboatError, messageOf } from "./errors.ts";
import { type Job, jobSchema } from "./job.ts";
import { isLocked } from "./lock.ts";
import type { Bucket, Jobs } from "./ports.ts";
import type { Problem } from "./report.ts";
import { selection } from "./restore/selection.ts";
import { checkSpec } from "./restore/spec.ts";

/** A job that somebody asked for, named. */
export type NamedJob = Job & { name: string };

/** What is known of a backup or restore before it is committed. */
export interface RunDocument {
  schemaVersion: 1;
  kind: Job["kind"];
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

const requestSchema = z.object({ schemaVersion: z.literal(1), job: jobSchema, at: z.string() });
const resultSchema = z.object({ errors: z.array(z.looseObject({ message: z.string() })) });

/** A name for what was given none: `subject-YYYYMMDDhhmmss-xxxxxxxx`, which two requests in one second don't share. */
export function requestName(subject: string, now = new Date()): string {
  const time = now.toISOString().slice(0, 19).replace(/\D/g, "");
  const room = subject.slice(0, 190).replace(/[^a-z0-9]+$/, "");
  return `${room}-${time}-${randomUUID().slice(0, 8)}`;
}

/**
 * Checks, as far as that goes without a cluster, that a job can be run: names, schedule and cluster, filters, the backup
 * to restore. Nothing is written. Throws `invalid`, `missing` for a backup that isn't there, `conflict` for a name that
 * is taken, asked for, or being worked on.
 */
export async function checkJob(job: NamedJob, { config, bucket }: { config: Config; bucket: Bucket }): Promise<void> {
  checkNewName(job.kind, job.name);
  if (job.kind === "backup") {
    const schedule = job.schedule === undefined ? undefined : scheduleOf(config, job.schedule);
    clusterOf(config, job.cluster ?? schedule?.cluster);
  } else {
    const { scheduleName, backupName = "", ...filters } = job.spec;
    clusterOf(config, job.cluster);
    checkSpec({ ...filters, backupName });
    selection({ ...filters, backupName }, []);
    await (scheduleName === undefined ? readRestorable(bucket, backupName) : newestBackup(bucket, scheduleName));
  }
  await checkFree(bucket, job);
}

async function checkFree(bucket: Bucket, { kind, name }: NamedJob): Promise<void> {
  const keys = { backup: backupKeys(name).metadata, restore: restoreKeys(name).record };
  const taken = (why: string, hint: string) =>
    new LifeboatError("conflict", `${kind} "${name}" ${why} in ${bucket.location}`, { hint });
  if ((await listFolder(bucket, keys[kind])).has(keys[kind])) throw taken("already exists", "choose another name");
  const run = await readRun(bucket, kind, name);
  if (run && run.phase !== "Failed") throw taken(`is ${run.phase}`, "wait for its end, or choose another name");
}

/**
 * Records the job in the bucket, for `readRun`, and hands it over. Where it can't be handed over nothing of it is left,
 * or, with a credential that can't delete, a failed run.
 */
export async function submitJob(job: NamedJob, { bucket, jobs }: { bucket: Bucket; jobs: Jobs }): Promise<RunDocument> {
  const at = new Date().toISOString();
  const keys = runKeys(`${job.kind}s`, job.name, `${at}-${randomUUID()}`);
  const request = { schemaVersion: 1, job, caller: job.caller, at };
  await bucket.put(keys.job, Buffer.from(`${JSON.stringify(request)}\n`), { ifAbsent: true });
  try {
    await jobs.enqueue(job);
  } catch (error) {
    await withdraw(bucket, job, keys, error);
    throw error;
  }
  return runDocument(bucket, job, "New", { job, at });
}

async function withdraw(
  bucket: Bucket,
  job: NamedJob,
  keys: ReturnType<typeof runKeys>,
  error: unknown,
): Promise<void> {
  await bucket
    .delete(keys.job)
    .catch(() => putFailure(bucket, job, keys.result, error))
    .catch(() => {});
}

/** Tells, for `readRun`, that a job which was handed over will not be begun. */
export function abandonJob(bucket: Bucket, job: NamedJob, reason: string): Promise<void> {
  const keys = runKeys(`${job.kind}s`, job.name, `${new Date().toISOString()}-${randomUUID()}`);
  return putFailure(bucket, job, keys.result, reason);
}

function putFailure(bucket: Bucket, { kind, name }: NamedJob, key: string, error: unknown): Promise<void> {
  const result = { schemaVersion: 1, kind, name, phase: "Failed", errors: [{ message: messageOf(error) }] };
  return bucket.put(key, Buffer.from(`${JSON.stringify(result)}\n`), { ifAbsent: true });
}

/**
 * What is known of a backup or restore that is not committed: InProgress while a run holds its lock, else what the newest
 * request or result says. Undefined where nothing is. Ask again for the committed record afterwards: the run may have
 * ended meanwhile.
 */
export async function readRun(
  bucket: Bucket,
  kind: Job["kind"],
  name: string,
  signal?: AbortSignal,
): Promise<RunDocument | undefined> {
  const runs: RunKind = `${kind}s`;
  const held = await isLocked({ bucket, kind: runs, name }, signal);
  const keys = [...(await listFolder(bucket, runFolder(runs, name), signal)).keys()].sort();
  const requestKey = keys.findLast((key) => key.endsWith("-job.json"));
  const newest = keys.findLast((key) => key.endsWith("-job.json") || key.endsWith("-result.json"));
  if (!held && !newest) return undefined;
  const request = requestKey ? await readJson(bucket, requestKey, requestSchema, signal) : undefined;
  if (held) return runDocument(bucket, { kind, name }, "InProgress", request);
  if (newest === requestKey) return runDocument(bucket, { kind, name }, "New", request);
  const { errors } = await readJson(bucket, newest!, resultSchema, signal);
  return { ...runDocument(bucket, { kind, name }, "Failed", request), errors };
}

function runDocument(
  bucket: Bucket,
  { kind, name }: Pick<NamedJob, "kind" | "name">,
  phase: RunDocument["phase"],
  request: Pick<z.infer<typeof requestSchema>, "job" | "at"> | undefined,
): RunDocument {
  const { job, at } = request ?? {};
  return {
    schemaVersion: 1,
    kind,
    name,
    phase,
    location: bucket.location,
    cluster: job?.cluster,
    schedule: job?.kind === "backup" ? job.schedule : undefined,
    caller: job?.caller,
    requestTimestamp: at,
    spec: job?.spec ?? {},
    warnings: [],
    errors: [],
  };
}

async function readJson<T>(bucket: Bucket, key: string, schema: z.ZodType<T>, signal?: AbortSignal): Promise<T> {
  try {
    return schema.parse(JSON.parse((await readObject(bucket, key, signal)).toString()));
  } catch (cause) {
    if (!(cause instanceof SyntaxError) && !(cause instanceof z.ZodError)) throw cause;
    throw new LifeboatError("corrupt", `${key} does not hold what its name says`, { cause });
  }
}
