import { basename } from "node:path/posix";
import pLimit from "p-limit";
import { z } from "zod";
import { listFolder, readObject, readSideFile } from "./contents.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import { checkSeal } from "./integrity/seal.ts";
import { BACKUPS, backupKeys, RESTORES, type RunKind, recordIn, restoreKeys, runFolder } from "./layout.ts";
import { checkName } from "./names.ts";
import type { Bucket } from "./ports.ts";
import { readScheduledName } from "./schedule/slots.ts";

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

/** The annotation of a backup that tells its spec as it was asked for, as JSON: `spec` is how it was carried out. */
export const ASKED_SPEC = "lifeboat/asked-spec";

/** The annotation of a restore's record that names the plan which it was made by. */
export const PLAN = "lifeboat/plan";

/** The annotation of an undo's record: the restore that it undoes. */
export const UNDOES = "lifeboat/undoes";

/** The annotation of a record whose files are those of a later attempt: its number. */
export const ATTEMPT = "lifeboat/attempt";

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

/** The objects of a backup, by its record. */
export function backupKeysOf({ metadata: { name, annotations } }: Backup) {
  return backupKeys(name, annotations?.[ENCRYPTION]);
}

/** The objects of a recorded restore: those of the attempt that wrote the record. */
export function restoreKeysOf({ metadata }: Restore) {
  return restoreKeys(metadata.name, Number(metadata.annotations?.[ATTEMPT] ?? 1));
}

/** What of a backup is encrypted: all of it, or its Secrets, which then are in an archive of their own. */
export function encryptedPart({ metadata: { annotations = {} } }: Backup): "all" | "secrets" | undefined {
  if (ENCRYPTION in annotations) return "all";
  return (annotations[SECRETS] ?? OMITTED) === OMITTED ? undefined : "secrets";
}

/** One row of a listing; `problem` where its record can't be read, which never hides the other rows. */
export type CatalogRow<T> =
  | { name: string; record: T; problem?: undefined }
  | { name: string; record?: undefined; problem: string };

/** Every committed backup of the location, by name. */
export function listBackups(bucket: Bucket, signal?: AbortSignal): Promise<CatalogRow<Backup>[]> {
  return listRecords(bucket, BACKUPS, (name) => readBackup(bucket, name, signal), signal);
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
  return listRecords(bucket, RESTORES, (name) => readRestore(bucket, name, signal), signal);
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
