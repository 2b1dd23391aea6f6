import { basename } from "node:path/posix";
import pLimit from "p-limit";
import { readHeader } from "../backup/adopt.ts";
import { type Backup, backupKeysOf, type CatalogRow } from "../catalog.ts";
import { deleteBackup, deleteTraces } from "../delete.ts";
import { ENCRYPTED } from "../encryption/buckets.ts";
import { isLifeboatError } from "../errors.ts";
import { type Seal, sealOf } from "../integrity/seal.ts";
import {
  backupKeys,
  LOCKS,
  PIECES,
  PINS,
  PLANS,
  PROBES,
  PROGRESS,
  pieceFolder,
  REMOVALS,
  RUN_KINDS,
  RUNS,
  type RunKind,
  recordIn,
  SLICES,
  TOLD,
  VERIFICATIONS,
  VERIFIED,
} from "../layout.ts";
import { lockState } from "../lock.ts";
import type { Bucket } from "../ports.ts";
import type { Judged, RetentionRow, RetentionScope } from "./document.ts";
import { type Folder, foldersIn, joinFolders, newestIn, sizeOf } from "./folders.ts";

const DAY_MS = 24 * 3_600_000;

/**
 * For how many days after its newest object was stored a leftover stays. Within a day an interrupted run may be repeated,
 * and then finishes what it left; a probe is of no use once it is read; a plan of last week is out of date; queues deliver a job again for weeks.
 */
const DAYS = { unfinished: 1, probe: 1, plan: 7, run: 30, pin: 30, verification: 30, told: 30 } as const;

const READS_AT_ONCE = 8;

/** A leftover that may be old enough to go. */
interface Leftover {
  kind: keyof typeof DAYS;
  name: string;
  folder: Folder;
  /** An interrupted deletion left it: nobody needs it, however new it is. */
  doomed?: boolean;
  remove: Judged["remove"];
}

/** What lies below the names of backups, and what has been judged of it. */
interface Backups {
  folders: Map<string, Folder>;
  records: CatalogRow<Backup>[];
  /** With restores. */
  known: RetentionRow[];
}

/** What interrupted runs and deletions, plans, and backups that are gone have left, where it is old enough to go. */
export async function findLeftovers(scope: RetentionScope, backups: Backups): Promise<Judged[]> {
  const { bucket, signal, now } = scope;
  const isOld = ({ kind, folder, doomed }: Leftover) =>
    doomed || now.getTime() - newestIn(folder).getTime() >= DAYS[kind] * DAY_MS;
  const [notes, pieces] = await Promise.all([REMOVALS, PIECES].map((root) => foldersIn(bucket, root, signal)));
  const begun = unfinishedIn(bucket, backups, { notes: notes!, pieces: pieces! });
  const unfinished = await abandonedOf(bucket, begun.filter(isOld), signal);
  // What belongs to a backup or restore that goes, goes with it.
  const going = [...backups.known.filter(({ action }) => action === "delete"), ...unfinished];
  const covered = new Set(
    going.flatMap(({ kind, name }) =>
      kind === "restore" ? [`restores/${name}`] : [`backups/${name}`, `verifications/${name}`],
    ),
  );
  const runs = await Promise.all(Object.values(RUN_KINDS).map((kind) => runsIn(bucket, kind, signal)));
  const others = [
    ...straysIn(bucket, backups, pieces!).filter(({ name }) => !covered.has(`backups/${name}`)),
    ...runs.flat().filter(({ name }) => !covered.has(name)),
    ...(await cutRunsIn(bucket, signal)),
    ...(await plansIn(bucket, signal)),
    ...(await rowsIn(bucket, "plan", SLICES, signal)),
    ...(await rowsIn(bucket, "told", TOLD, signal)),
    ...(await rowsIn(bucket, "probe", PROBES, signal)),
    ...(await rowsIn(bucket, "pin", PINS, signal)).filter(({ name }) => !backups.folders.has(name)),
    ...(await verificationsIn(scope, backups)).filter(({ name }) => !covered.has(`backups/${name}`)),
  ].filter(isOld);

  return [...unfinished, ...others].map(({ kind, name, folder, doomed, remove }) => {
    if (doomed) {
      const reason = "its deletion did not end: copies of its volumes are to go yet";
      return { row: { kind, name, action: "delete", reason, ...sizeOf(folder) }, remove };
    }
    const reason = `nothing was added to it for ${DAYS[kind] === 1 ? "a day" : `${DAYS[kind]} days`}`;
    return { row: { kind, name, action: "delete", reason, ...sizeOf(folder) }, remove };
  });
}

function unfinishedIn(
  bucket: Bucket,
  { folders, records }: Backups,
  { notes, pieces }: Record<"notes" | "pieces", Map<string, Folder>>,
): Leftover[] {
  const committed = new Set(records.map(({ name }) => name));
  return [...joinFolders(joinFolders(folders, notes), pieces)].flatMap(([name, folder]): Leftover[] => {
    if (committed.has(name) || recordIn(folder, name)) return [];
    const remove: Judged["remove"] = (signal, how) => deleteBackup(bucket, name, signal, { unfinished: true, ...how });
    return [{ kind: "unfinished", name, folder, doomed: notes.has(name), remove }];
  });
}

/**
 * What runs that died left, encrypted, beside a backup that another one finished, and the pieces that one was made of: its record
 * does not know of them.
 */
function straysIn(bucket: Bucket, { folders, records }: Backups, pieces: Map<string, Folder>): Leftover[] {
  return records.flatMap(({ name, record }): Leftover[] => {
    const seal = record && readableSeal(record);
    if (!seal) return [];
    const { tar } = backupKeysOf(record);
    const known = (key: string) => key === tar || Object.hasOwn(seal.files, basename(key));
    const strays = [...(folders.get(name) ?? [])].filter(([key]) => key.endsWith(ENCRYPTED) && !known(key));
    const folder = new Map([...strays, ...(pieces.get(name) ?? [])]);
    return folder.size ? [{ kind: "unfinished", name, folder, remove: removing(bucket, folder) }] : [];
  });
}

function readableSeal(record: Backup): Seal | undefined {
  try {
    return sealOf(record);
  } catch (error) {
    if (isLifeboatError(error, "corrupt")) return undefined;
    throw error;
  }
}

async function abandonedOf(bucket: Bucket, unfinished: Leftover[], signal: AbortSignal): Promise<Leftover[]> {
  const limit = pLimit(READS_AT_ONCE);
  const abandoned = await Promise.all(unfinished.map((one) => limit(isAbandoned, bucket, one, signal)));
  return unfinished.filter((_, at) => abandoned[at]);
}

/** Whether no run works on what lies there without a record, and a run of ours wrote it: what is Velero's stays. */
async function isAbandoned(bucket: Bucket, { name, folder, doomed }: Leftover, signal: AbortSignal): Promise<boolean> {
  const { tar, index } = backupKeys(name);
  const isEncrypted = [...folder.keys()].some((key) => key.endsWith(ENCRYPTED));
  if ((await lockState({ bucket, kind: "backups", name }, { signal })).state === "held") return false;
  const inPieces = [...folder.keys()].some((key) => key.startsWith(pieceFolder(name)));
  if (folder.has(index) || isEncrypted || inPieces || doomed) return true;
  if (!folder.has(tar)) return false;
  try {
    return (await readHeader(await bucket.get(tar, { signal }))) !== undefined;
  } catch (error) {
    if (isLifeboatError(error, "corrupt") || isLifeboatError(error, "missing")) return false;
    throw error;
  }
}

/** The requests, logs and locks of runs, by the name of what they were to make. */
async function runsIn(bucket: Bucket, kind: RunKind, signal: AbortSignal): Promise<Leftover[]> {
  const [runs, locks] = await Promise.all([
    foldersIn(bucket, `${RUNS}${kind}/`, signal),
    foldersIn(bucket, `${LOCKS}${kind}/`, signal),
  ]);
  return [...joinFolders(runs, locks)].map(([name, folder]) => {
    const keys = [...(runs.get(name)?.keys() ?? [])];
    const remove = (signal: AbortSignal) => deleteTraces({ bucket, kind, name }, keys, signal);
    return { kind: "run", name: `${kind}/${name}`, folder, remove };
  });
}

/** How far runs had come that were cut into slices, and never ended. */
async function cutRunsIn(bucket: Bucket, signal: AbortSignal): Promise<Leftover[]> {
  return [...(await foldersIn(bucket, PROGRESS, signal))].map(([name, folder]) => {
    return { kind: "run", name: `progress/${name}`, folder, remove: removing(bucket, folder) };
  });
}

async function plansIn(bucket: Bucket, signal: AbortSignal): Promise<Leftover[]> {
  return [...(await foldersIn(bucket, PLANS, signal))].map(([file, folder]) => {
    return { kind: "plan", name: file.replace(/\.json\.gz$/, ""), folder, remove: removing(bucket, folder) };
  });
}

/** What was said one after the other, by its subject; probes, which are objects; and what slices of restores left of their plans. */
async function rowsIn(
  bucket: Bucket,
  kind: "pin" | "told" | "probe" | "plan",
  root: string,
  signal: AbortSignal,
): Promise<Leftover[]> {
  return [...(await foldersIn(bucket, root, signal))].map(([name, folder]) => {
    return { kind, name, folder, remove: removing(bucket, folder) };
  });
}

/** What verifications found of backups that are gone; of others, and of the location, all that is old but the newest. */
async function verificationsIn({ bucket, now, signal }: RetentionScope, { folders }: Backups): Promise<Leftover[]> {
  const verified = await foldersIn(bucket, VERIFIED, signal);
  const ofLocation = joinFolders(
    await foldersIn(bucket, `${LOCKS}verification/`, signal),
    await foldersIn(bucket, VERIFICATIONS, signal),
  );
  return [
    ...[...verified].map(([name, folder]) => [name, folders.has(name) ? oldOf(folder, now) : folder] as const),
    ...[...ofLocation].map(([name, folder]) => [name, oldOf(folder, now)] as const),
  ].flatMap(([name, folder]) =>
    folder.size > 0 ? [{ kind: "verification", name, folder, remove: removing(bucket, folder) } as const] : [],
  );
}

/** Of a row's objects those that are old enough to go and say nothing any more. */
function oldOf(folder: Folder, now: Date): Folder {
  const superseded = [...folder].slice(0, -1);
  const isOld = (modified: Date) => now.getTime() - modified.getTime() >= DAYS.verification * DAY_MS;
  return new Map(superseded.filter(([, { modified }]) => isOld(modified)));
}

function removing(bucket: Bucket, folder: Folder): Judged["remove"] {
  return async (signal) => {
    for (const key of folder.keys()) await bucket.delete(key, { signal });
  };
}
