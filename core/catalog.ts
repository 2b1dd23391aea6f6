import { basename } from "node:path/posix";
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import pLimit from "p-limit";
import { z } from "zod";
import { sha256 } from "./archive/gzip.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import { checkSeal } from "./integrity/seal.ts";
import { putOnce } from "./once.ts";
import type { Bucket, Listed } from "./ports.ts";
import { readScheduledName } from "./schedule/slots.ts";

const gunzipBuffer = promisify(gunzip);
const gzipBuffer = promisify(gzip);

/** Side files larger than this are refused, as Velero's own readers do. */
const MAX_SIDE_FILE_BYTES = 1 << 30;

/** Where all lies that belongs to no backup or restore itself: a place that Velero allows (design: 6.2). */
const OURS = "metadata/lifeboat/";
export const LOCKS = `${OURS}locks/`;
export const RUNS = `${OURS}runs/`;
export const PLANS = `${OURS}plans/`;
export const NOTES = `${OURS}notes/`;
export const PINS = `${OURS}pins/`;
export const VERIFIED = `${OURS}verified/`;
export const VERIFICATIONS = `${OURS}verifications/`;
export const TOLD = `${OURS}told/`;
export const REMOVALS = `${OURS}removals/`;
export const PIECES = `${OURS}pieces/`;
export const PROGRESS = `${OURS}progress/`;
export const SLICES = `${OURS}slices/`;
/** What checks of a location have stored to see whether they may, and were not allowed to delete (check/bucket.ts). */
export const PROBES = `${OURS}probes/`;
/** What belongs to a fleet itself: its runs (fleet/job.ts). Each of its clusters has a location of its own. */
export const FLEET = `${OURS}fleet/`;
const PAUSES = `${OURS}schedules/`;

/**
 * The objects of one backup, by Velero's names (velero-format: 1.2) plus ours. Where all of it is encrypted, each name but
 * the record's ends in `encrypted` (".age", ".2.age"), and the record has a name of its own, so that Velero doesn't list what it
 * can't read.
 */
export function backupKeys(name: string, encrypted = "") {
  const folder = `backups/${name}/`;
  const key = (suffix: string) => `${folder}${name}${suffix}${encrypted}`;
  return {
    folder,
    /** Its existence is the commit: what has none is not a backup. */
    metadata: `${folder}${encrypted ? "lifeboat-backup.json" : "velero-backup.json"}`,
    tar: key(".tar.gz"),
    index: key("-index.json.gz"),
    log: key("-logs.gz"),
    results: key("-results.gz"),
    resourceList: key("-resource-list.json.gz"),
    volumeInfo: key("-volumeinfo.json.gz"),
    volumeSnapshots: key("-volumesnapshots.json.gz"),
    podVolumeBackups: key("-podvolumebackups.json.gz"),
    itemOperations: key("-itemoperations.json.gz"),
    /** Ours: what a restore would miss, a list (backup/lint.ts Finding). */
    findings: key("-findings.json.gz"),
  };
}

/** The objects of a backup, by its record. */
export function backupKeysOf({ metadata: { name, annotations } }: Backup) {
  return backupKeys(name, annotations?.[ENCRYPTION]);
}

/** Whether the folder of a backup, listed, holds a record: the key of it. */
export function recordIn(present: { has(key: string): boolean }, name: string): string | undefined {
  return ["", ".age"].map((encrypted) => backupKeys(name, encrypted).metadata).find((key) => present.has(key));
}

/** The archive of Secrets alone, and its index, where only they are encrypted. */
export function secretsKeys(name: string, encrypted: string) {
  const key = (suffix: string) => `${backupKeys(name).folder}${name}-secrets${suffix}${encrypted}`;
  return { tar: key(".tar.gz"), index: key("-index.json.gz") };
}

/**
 * The objects of one restore, by Velero's names (velero-format: 1.3) plus our record, which is written last. A later
 * `attempt`, after a run that died while it wrote its report, has files of its own beside those it finds.
 */
export function restoreKeys(name: string, attempt = 1) {
  const folder = `restores/${name}/`;
  const own = attempt === 1 ? "" : `-${attempt}`;
  return {
    folder,
    record: `${folder}lifeboat-restore.json`,
    log: `${folder}restore-${name}-logs${own}.gz`,
    results: `${folder}restore-${name}-results${own}.gz`,
    resourceList: `${folder}restore-${name}-resource-list${own}.json.gz`,
    /** Ours: a line of JSON for each object (restore/report.ts ItemOutcome). */
    outcomes: `${folder}${name}-outcomes${own}.json.gz`,
    itemOperations: `${folder}restore-${name}-itemoperations${own}.json.gz`,
    volumeInfo: `${folder}${name}-volumeinfo${own}.json.gz`,
  };
}

/** The annotation of a record that names who asked for it. */
export const CALLER = "lifeboat/caller";

/** The annotation that names a cluster of the configuration: of a record, and of a Velero manifest that is meant for one. */
export const CLUSTER = "lifeboat/cluster";

/** The annotation of a backup that names the URL of the API server it was read from. */
export const SERVER = "lifeboat/server";

/** The annotation of a backup all of whose files are encrypted: how their names end. */
export const ENCRYPTION = "lifeboat/encryption";

/** Of Secrets that were left out of a backup. */
export const OMITTED = "omit";

/** The annotation of a backup whose Secrets are not in its archive: `OMITTED`, or how the names end of what holds them encrypted. */
export const SECRETS = "lifeboat/secrets";

/** What of a backup is encrypted: all of it, or its Secrets, which then are in an archive of their own. */
export function encryptedPart({ metadata: { annotations = {} } }: Backup): "all" | "secrets" | undefined {
  if (ENCRYPTION in annotations) return "all";
  return (annotations[SECRETS] ?? OMITTED) === OMITTED ? undefined : "secrets";
}

/** The annotation that vouches for the encrypted archive of Secrets, as the seal does for the other one. */
export const SECRETS_INDEX_END = "lifeboat/secrets-index-end";

/** The annotation of a backup whose objects the bucket holds: until when, as RFC 3339. */
export const RETAINED_UNTIL = "lifeboat/retained-until";

/** The annotation of a backup that says how many findings it has; those of Velero, and of single objects, have none. */
export const FINDINGS = "lifeboat/findings";

/** The annotation that counts a backup's bound claims, and those that a restore created, by what became of their data: `VolumeCounts` as JSON. */
export const VOLUME_COUNTS = "lifeboat/volumes";

/** The annotation of a backup that has copies of volumes: the location in which it was made, and with which alone they go. */
export const MADE_IN = "lifeboat/location";

/** The label of a backup that names its schedule, as Velero's. */
export const SCHEDULE_LABEL = "velero.io/schedule-name";

/** The label of a backup that holds what a restore was about to touch: that restore's name, as a label's value. */
export const BEFORE_RESTORE_LABEL = "lifeboat/before-restore";

/** The annotation of an undo's record: the restore that it undoes. */
export const UNDOES = "lifeboat/undoes";

/** The annotation of a record whose files are those of a later attempt: its number. */
export const ATTEMPT = "lifeboat/attempt";

/** The objects of a recorded restore: those of the attempt that wrote the record. */
export function restoreKeysOf({ metadata }: Restore) {
  return restoreKeys(metadata.name, Number(metadata.annotations?.[ATTEMPT] ?? 1));
}

/** Where a plan lies that a dry run made. */
export function planKey(id: string): string {
  return `${PLANS}${id}.json.gz`;
}

/** Where it is said whether a backup is pinned; a row of states (state.ts). */
export function pinFolder(backup: string): string {
  return `${PINS}${backup}/`;
}

/** Where it is said what verifications of a backup found; likewise. */
export function verifiedFolder(backup: string): string {
  return `${VERIFIED}${backup}/`;
}

/** Where it is said what verifications of the location found, by what those are called; likewise. */
export function verificationFolder(name: string): string {
  return `${VERIFICATIONS}${name}/`;
}

/** Where it is noted which copies of volumes are removed with a backup, for as long as that takes: `Copies` as JSON. */
export function removalKey(backup: string): string {
  return `${REMOVALS}${backup}/copies.json`;
}

/** Where a verification or retention that is cut into slices says how far it has come; a row of states. */
export function progressFolder(run: string): string {
  return `${PROGRESS}${run}/`;
}

/** Where a backup lies that is made in slices, until it is whole: its pieces, and a row of states (backup/slices.ts). */
export function pieceFolder(backup: string): string {
  return `${PIECES}${backup}/`;
}

/** Where the slices of a restore leave what the next ones go on with, until it is recorded: a row of states (restore/slices.ts). */
export function sliceFolder(restore: string): string {
  return `${SLICES}${restore}/`;
}

/** Where it is said whether a schedule is paused; likewise. */
export function pauseFolder(schedule: string): string {
  return `${PAUSES}${schedule}/`;
}

/** Where it lies what is known of one run of a fleet's schedule, which is called as the backups that it makes. */
export function fleetKeys(run: string) {
  const folder = `${FLEET}${run}/`;
  return {
    folder,
    /** That a clock has handed it over. */
    asked: `${folder}asked.json`,
    /** Which clusters it is of. */
    members: `${folder}members.json`,
    /** Below it a row (once.ts) for each cluster: how its backup ended. */
    ends: `${folder}ends/`,
    /** What became of all of them; it is the last one. */
    summary: `${folder}summary.json`,
  };
}

/** What a run makes: one backup or one restore of a name, or the verification of a backup; by the kind of the job. */
export const RUN_KINDS = { backup: "backups", restore: "restores", verify: "verifications" } as const;
export type RunKind = (typeof RUN_KINDS)[keyof typeof RUN_KINDS];

/**
 * What is locked: the making of a backup or restore of a name, the reading of a shard, the making of the restic repository of a
 * namespace, or the retention or verification of the whole location.
 */
export type LockKind = RunKind | "shards" | "repositories" | "retention" | "verification";

/** Where the objects of a lock lie, for as long as they are wanted; nothing in them matters once the run has ended. */
export function lockFolder(kind: LockKind, name: string): string {
  return kind === "shards" ? `${PIECES}${name}/lock/` : `${LOCKS}${kind}/${name}/`;
}

/**
 * Where a request for a run lies, and where a run that failed before its commit leaves its log and result; the name
 * stays free for the next run. `run` is `<ISO time>-<uuid>`, so that keys are in the order of time.
 */
export function runKeys(kind: RunKind, name: string, run: string) {
  const folder = runFolder(kind, name);
  return { job: `${folder}${run}-job.json`, log: `${folder}${run}-logs.gz`, result: `${folder}${run}-result.json` };
}

/** The backup of what a restore was about to touch; of a later attempt, which found more to touch, the next number. */
export function backupBefore(restore: string, number: number): string {
  return `${restore}-before${number > 1 ? `-${number}` : ""}`;
}

/** The restore that a backup of such a name was made before; undefined for any other name. */
export function restoreAfter(backup: string): string | undefined {
  return /^(.+)-before(-\d+)?$/.exec(backup)?.[1];
}

/** The first undo of a restore, and those after one that was PartiallyFailed. */
export function undoName(restore: string, number: number): string {
  return `${restore}-undo${number > 1 ? `-${number}` : ""}`;
}

/** Where the attempts of a restore note, before their first write, what they are about to do (restore/notes.ts). */
export function noteFolder(restore: string): string {
  return `${NOTES}${restore}/`;
}

/** Where a restore from a schedule notes the backup that it found, for those that go on with it. */
export function restoreSourceKey(name: string): string {
  return `${runFolder("restores", name)}source`;
}

/** All that runs of that name left, and the requests for them. */
export function runFolder(kind: RunKind, name: string): string {
  return `${RUNS}${kind}/${name}/`;
}

/** The row that says of which failure of such jobs people were told last. `subject`: their schedule, or a job's own name. */
export function toldFolder(kind: string, subject: string): string {
  return `${TOLD}${kind}-${subject}/`;
}

/** Throws `invalid` unless `name` can name a Backup or Restore object in Kubernetes (a DNS-1123 subdomain). */
export function checkName(kind: "backup" | "restore", name: string): void {
  if (name.length > 253 || !/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name)) {
    throw new LifeboatError("invalid", `"${name}" can't name a ${kind}`, {
      hint: "use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit, at most 253",
    });
  }
}

/** What file systems take beside what the names of a backup's or restore's files begin and end in; a restore leaves room for its undo's name. */
const LONGEST_NAMES = { backup: 231, restore: 210 };

/** Throws `invalid` unless a new backup or restore may have that name. */
export function checkNewName(kind: "backup" | "restore", name: string): void {
  checkName(kind, name);
  if (name.replace(/-undo$/, "").length <= LONGEST_NAMES[kind]) return;
  throw new LifeboatError("invalid", `the name has ${name.length} characters`, {
    hint: `file systems take ${LONGEST_NAMES[kind]} beside what the names of a ${kind}'s files end in`,
  });
}

const phase = z.string().optional();

/** What is read of a Velero Backup; fields we do not know are kept. */
const backupSchema = z.looseObject({
  kind: z.literal("Backup"),
  metadata: z.looseObject({
    name: z.string(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
  spec: z.looseObject({}).optional(),
  status: z
    .looseObject({
      phase,
      formatVersion: z.string().optional(),
      startTimestamp: z.string().optional(),
      completionTimestamp: z.string().optional(),
      expiration: z.string().optional(),
      errors: z.number().optional(),
      warnings: z.number().optional(),
      progress: z.looseObject({ totalItems: z.number().optional(), itemsBackedUp: z.number().optional() }).optional(),
      hookStatus: z
        .looseObject({ hooksAttempted: z.number().optional(), hooksFailed: z.number().optional() })
        .optional(),
    })
    .optional(),
});

/** A Velero Backup as it stands in `velero-backup.json`. */
export type Backup = z.infer<typeof backupSchema>;

/** What is read of the record of a restore, a Velero Restore that no Velero reads. */
const restoreSchema = z.looseObject({
  kind: z.literal("Restore"),
  metadata: z.looseObject({ name: z.string(), annotations: z.record(z.string(), z.string()).optional() }),
  /** An undo of a restore that only created is of no backup. */
  spec: z.looseObject({ backupName: z.string().optional() }),
  status: z.looseObject({
    phase,
    startTimestamp: z.string(),
    completionTimestamp: z.string(),
    errors: z.number(),
    warnings: z.number(),
    progress: z.looseObject({ totalItems: z.number(), itemsRestored: z.number() }),
  }),
});

/** A Velero Restore as it stands in `lifeboat-restore.json`. */
export type Restore = z.infer<typeof restoreSchema>;

/** One row of a listing; `problem` where its record can't be read, which never hides the other rows. */
export type CatalogRow<T> =
  | { name: string; record: T; problem?: undefined }
  | { name: string; record?: undefined; problem: string };

/** Every committed backup of the location, by name. */
export function listBackups(bucket: Bucket, signal?: AbortSignal): Promise<CatalogRow<Backup>[]> {
  return listRecords(bucket, "backups/", (name) => readBackup(bucket, name, signal), signal);
}

/**
 * The newest backup of a schedule, by its start, as Velero takes it for a restore from a schedule: of those that ended
 * Completed, or in one of `phases`. Throws `missing` where there is none, and as `readBackup` where a record of a later
 * slot can't be read: it may be the newest.
 */
export async function newestBackup(
  bucket: Bucket,
  schedule: string,
  { phases = ["Completed"], signal }: { phases?: readonly string[]; signal?: AbortSignal } = {},
): Promise<Backup> {
  const rows = await listBackups(bucket, signal);
  const ended = rows.flatMap(({ record }) =>
    record?.metadata.labels?.[SCHEDULE_LABEL] === schedule && phases.includes(record.status?.phase ?? "")
      ? [record]
      : [],
  );
  const startOf = (record: Backup) => Date.parse(record.status?.startTimestamp ?? "") || 0;
  const newest = ended.sort((a, b) => startOf(a) - startOf(b)).at(-1);
  const since = newest ? startOf(newest) : 0;
  const unreadable = rows.find(({ name, problem }) => {
    const slotted = problem === undefined ? undefined : readScheduledName(name);
    return slotted?.schedule === schedule && slotted.slot.getTime() >= since;
  });
  if (unreadable) await readBackup(bucket, unreadable.name, signal);
  if (newest) return newest;
  throw new LifeboatError(
    "missing",
    `schedule "${schedule}" has no backup in ${bucket.location} that is ${phases.join(" or ")}`,
    { hint: '"lifeboat backup get" lists what there is' },
  );
}

/** Every recorded restore of the location, by name. Velero's own are not among them: it keeps no record in the bucket. */
export function listRestores(bucket: Bucket, signal?: AbortSignal): Promise<CatalogRow<Restore>[]> {
  return listRecords(bucket, "restores/", (name) => readRestore(bucket, name, signal), signal);
}

async function listRecords<T>(
  bucket: Bucket,
  folder: string,
  read: (name: string) => Promise<T>,
  signal?: AbortSignal,
): Promise<CatalogRow<T>[]> {
  const limit = pLimit(16);
  const rows: Promise<CatalogRow<T> | undefined>[] = [];
  for await (const listed of bucket.list(folder, { delimiter: "/", signal })) {
    if (listed.prefix === undefined) continue;
    const name = listed.prefix.slice(folder.length, -1);
    const row = limit(() => readRow(name, read));
    // It may fail while the listing still goes on; Promise.all tells of it.
    row.catch(() => {});
    rows.push(row);
  }
  return (await Promise.all(rows)).filter((row) => row !== undefined);
}

async function readRow<T>(name: string, read: (name: string) => Promise<T>): Promise<CatalogRow<T> | undefined> {
  try {
    return { name, record: await read(name) };
  } catch (error) {
    if (isLifeboatError(error, "missing")) return undefined;
    return { name, problem: rowProblem(error) };
  }
}

/** What a row says in place of what can't be read for it. Throws `error` where that is not the row's own fault. */
export function rowProblem(error: unknown): string {
  if (isLifeboatError(error) && ["corrupt", "invalid", "denied"].includes(error.kind)) return error.message;
  throw error;
}

/**
 * The backup's record. `missing` where it was never committed, `corrupt` where the record is not a Velero Backup of that
 * name, or differs from the digest in it.
 */
export async function readBackup(bucket: Bucket, name: string, signal?: AbortSignal): Promise<Backup> {
  const { key, body } = await readBackupRecord(bucket, name, signal);
  const record = parseRecord(backupSchema, body, name, key);
  checkSeal(body, key);
  return record;
}

async function readBackupRecord(bucket: Bucket, name: string, signal?: AbortSignal) {
  const key = backupKeys(name).metadata;
  try {
    return { key, body: await readRecord(bucket, "backup", name, key, signal) };
  } catch (error) {
    const encrypted = backupKeys(name, ".age").metadata;
    if (!isLifeboatError(error, "missing")) throw error;
    const body = await readObject(bucket, encrypted, signal).catch((other: unknown) => {
      throw isLifeboatError(other, "missing") ? error : other;
    });
    return { key: encrypted, body };
  }
}

/** Phases of a backup that may be restored, as in Velero. */
export const RESTORABLE: readonly string[] = ["Completed", "PartiallyFailed"];

/** Throws `invalid` for a backup in a format of another major version than Velero's 1; Velero's oldest name none. */
export function checkFormat({ metadata, status }: Backup): void {
  const version = status?.formatVersion ?? "1";
  if (version.split(".")[0] === "1") return;
  throw new LifeboatError(
    "invalid",
    `backup "${metadata.name}" is in format ${version}, and only format 1 is known here`,
    { hint: "use the newer Lifeboat or Velero that made it" },
  );
}

/** The record of a backup that may be restored. Throws `invalid` for another one, and as `readBackup`. */
export async function readRestorable(bucket: Bucket, name: string, signal?: AbortSignal): Promise<Backup> {
  const record = await readBackup(bucket, name, signal);
  const phase = record.status?.phase ?? "";
  checkFormat(record);
  if (RESTORABLE.includes(phase)) return record;
  throw new LifeboatError(
    "invalid",
    `backup "${name}" is ${phase || "in no phase"}: only ${RESTORABLE.join(" or ")} ones can be restored`,
  );
}

/** The restore's record; errors as `readBackup`. */
export async function readRestore(bucket: Bucket, name: string, signal?: AbortSignal): Promise<Restore> {
  const key = restoreKeys(name).record;
  return parseRecord(restoreSchema, await readRecord(bucket, "restore", name, key, signal), name, key);
}

async function readRecord(
  bucket: Bucket,
  noun: "backup" | "restore",
  name: string,
  key: string,
  signal?: AbortSignal,
): Promise<Buffer> {
  checkName(noun, name);
  try {
    return await readObject(bucket, key, signal);
  } catch (error) {
    if (!isLifeboatError(error, "missing")) throw error;
    const none = `there is no ${noun} "${name}" in ${bucket.location}`;
    if (error.hint !== undefined) throw new LifeboatError("missing", none, { hint: error.hint, cause: error });
    const failed = (await listFolder(bucket, runFolder(`${noun}s`, name), signal)).size > 0;
    const { folder } = backupKeys(name);
    const left = noun === "backup" ? (await listFolder(bucket, folder, signal)).size : 0;
    const holds = left ? `: ${folder} holds ${left === 1 ? "1 file" : `${left} files`}, but no ${basename(key)}` : "";
    const hint = failed
      ? `a run of that name did not end: "lifeboat ${noun} logs ${name}" tells why, and the same command again finishes it`
      : left
        ? `its record was taken away, or a run or a copy of that name has not ended: "backup create" or "backup copy", whichever it was, done again finishes it; "backup delete ${name}" takes away what is left`
        : `"lifeboat ${noun} get" lists what there is`;
    throw new LifeboatError("missing", none + holds, { hint, cause: error });
  }
}

function parseRecord<T extends { metadata: { name: string } }>(
  schema: z.ZodType<T>,
  text: Buffer,
  name: string,
  key: string,
): T {
  let json: unknown;
  try {
    json = JSON.parse(text.toString());
  } catch (cause) {
    throw new LifeboatError("corrupt", `${key} is not JSON`, { cause });
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new LifeboatError("corrupt", `${key}: ${issue?.path.join(".")}: ${issue?.message}`);
  }
  if (parsed.data.metadata.name !== name) {
    throw new LifeboatError("corrupt", `${key} names "${parsed.data.metadata.name}", not "${name}"`);
  }
  return parsed.data;
}

/** The keys and sizes of all that lies in a folder of the location. */
export async function listFolder(bucket: Bucket, folder: string, signal?: AbortSignal): Promise<Map<string, number>> {
  const keys = new Map<string, number>();
  for await (const listed of bucket.list(folder, { signal })) if (isObject(listed)) keys.set(listed.key, listed.size);
  return keys;
}

function isObject(listed: Listed): listed is Listed & { key: string } {
  return listed.key !== undefined;
}

/** A gzipped side file as text; undefined where it was never written. `corrupt` where it can't be unzipped. */
export async function readSideFile(bucket: Bucket, key: string, signal?: AbortSignal): Promise<string | undefined> {
  let body: Buffer;
  try {
    body = await readObject(bucket, key, signal);
  } catch (error) {
    if (isLifeboatError(error, "missing")) return undefined;
    throw error;
  }
  try {
    return (await gunzipBuffer(body, { maxOutputLength: MAX_SIDE_FILE_BYTES })).toString();
  } catch (cause) {
    throw new LifeboatError("corrupt", `${key} can't be unzipped`, { cause });
  }
}

/**
 * Writes a side file, text or already gzipped, unless it is already there: an interrupted run may have left it, and
 * what it left was made from the same archive. Gives the SHA-256 of what is there.
 */
export async function writeSideFile(
  bucket: Bucket,
  key: string,
  body: string | Buffer,
  signal?: AbortSignal,
): Promise<string> {
  const bytes = typeof body === "string" ? await gzipBuffer(body) : body;
  return sha256((await putOnce(bucket, key, bytes, signal)) ? bytes : await readObject(bucket, key, signal));
}

/**
 * The log of a backup or restore; of one that was never committed, that of its last failed run. `missing` where there
 * is none.
 */
export async function readLog(
  bucket: Bucket,
  kind: Exclude<RunKind, "verifications">,
  name: string,
  signal?: AbortSignal,
): Promise<string> {
  const noun = kind === "backups" ? "backup" : "restore";
  checkName(noun, name);
  const { log, record } = kind === "backups" ? { ...backupKeys(name), record: undefined } : restoreKeys(name);
  const committed = async () =>
    kind === "backups"
      ? backupKeysOf(await readBackup(bucket, name, signal)).log
      : restoreKeysOf(await readRestore(bucket, name, signal)).log;
  const own = await listFolder(bucket, `${kind}/${name}/`, signal);
  const runs = [...(await listFolder(bucket, runFolder(kind, name), signal)).keys()].filter((key) =>
    key.endsWith("-logs.gz"),
  );
  const key = (record ? own.has(record) : recordIn(own, name)) ? await committed() : (runs.sort().at(-1) ?? log);
  const text = await readSideFile(bucket, key, signal);
  if (text !== undefined) return text;
  throw new LifeboatError("missing", `no log of ${noun} "${name}" in ${bucket.location}`, {
    hint: `"lifeboat ${noun} get" lists what there is`,
  });
}

/** A small object, whole. Larger ones than a side file may be are `corrupt`. */
export async function readObject(bucket: Bucket, key: string, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of await bucket.get(key, { signal })) {
    size += chunk.length;
    if (size > MAX_SIDE_FILE_BYTES)
      throw new LifeboatError("corrupt", `${key} is larger than ${MAX_SIDE_FILE_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
