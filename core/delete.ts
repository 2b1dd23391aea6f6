import { type Backup, RETAINED_UNTIL, readBackup } from "./catalog.ts";
import { listFolder } from "./contents.ts";
import { type CopiesFate, forgetOrDefer, openedCopies } from "./copies.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import type { Holder } from "./holder.ts";
import {
  backupKeys,
  noteFolder,
  pieceFolder,
  pinFolder,
  recordIn,
  removalKey,
  restoreKeys,
  runFolder,
  sliceFolder,
  verifiedFolder,
} from "./layout.ts";
import { heldText, type LockScope, type LockTiming, lockState, tryLock } from "./lock.ts";
import { checkName } from "./names.ts";
import { checkUnpinned } from "./pins.ts";
import type { Bucket } from "./ports.ts";

/** How a backup is deleted. */
export interface Deletion extends CopiesFate {
  /** Only what an interrupted run left: `conflict` where a record is there. */
  unfinished?: boolean;
  by?: Holder;
  timing?: LockTiming;
}

/**
 * Deletes a backup, or what an interrupted run left under its name: the record first, so that it is at no moment
 * listed and incomplete, then the archive, so that a new run does not adopt it, then the copies of its volumes, then the rest;
 * the note of those copies, by which an interrupted deletion goes on, and the index, by which what it left is known as ours, last. It
 * holds the lock meanwhile, so that no job commits what is being deleted. Gives the number of objects that were deleted.
 *
 * Throws `missing` where nothing lies under that name, `busy` where a job works on it, `denied` where it is retained,
 * `conflict` where it is pinned, where its copies are Velero's, or, with `unfinished`, where a record is there; and a CopiesError
 * where copies can't be removed: before anything is deleted where that is known by then, else once all were tried.
 */
export async function deleteBackup(
  bucket: Bucket,
  name: string,
  signal?: AbortSignal,
  { unfinished = false, by, timing, ...wish }: Deletion = {},
): Promise<number> {
  checkName("backup", name);
  const keys = backupKeys(name);
  const note = removalKey(name);
  const folders = [
    keys.folder,
    runFolder("backups", name),
    runFolder("verifications", name),
    pinFolder(name),
    verifiedFolder(name),
    pieceFolder(name),
    note,
  ];
  const lie = (signal?: AbortSignal) => keysIn(bucket, folders, signal);
  const scope = { bucket, kind: "backups", name } as const;
  if ((await lie(signal)).length === 0 && (await lockState(scope, { signal })).state !== "held") {
    throw new LifeboatError("missing", `there is no backup "${name}" in ${bucket.location}`, {
      hint: '"lifeboat backup get" lists what there is',
    });
  }
  // An encrypted archive, and its index, have longer names.
  const last: Which[] = [(key) => key === note, (key) => key.startsWith(keys.index)];
  const isArchive = (key: string) => key.startsWith(keys.tar);
  async function* remains(signal: AbortSignal, check = false): AsyncGenerator<string, "whole" | "later"> {
    const present = await lie(signal);
    const key = recordIn(new Set(present), name);
    const record = key === undefined ? undefined : await recordOf(bucket, name, signal);
    if (check) {
      if (unfinished && key) throw new LifeboatError("conflict", `backup "${name}" has been finished meanwhile`);
      checkNotRetained(name, record);
      await checkUnpinned(bucket, name, signal);
    }
    const copies = await openedCopies({ bucket, name, present, record, ...wish }, signal);
    if (key) yield key;
    yield* present.filter(isArchive);
    await copies?.removeSnapshots(signal);
    if (copies && (await forgetOrDefer(copies, wish, signal)) === "later") return "later";
    const rest = present.filter((one) => one !== key && !isArchive(one));
    yield* inOrder(copies && !rest.includes(note) ? [...rest, note] : rest, [], last);
    return "whole";
  }
  return deleteLocked({ ...scope, by, timing }, signal, async function* (signal) {
    if ((yield* remains(signal, true)) === "later") return;
    // A run that saw the archive just before it was deleted, and holds no lock any more, may have put its record since. One
    // that puts it after this look sees itself that the archive is gone.
    yield* remains(signal);
  });
}

/** The record of a backup; undefined where there is none, or none that can be read. */
async function recordOf(bucket: Bucket, name: string, signal?: AbortSignal): Promise<Backup | undefined> {
  try {
    return await readBackup(bucket, name, signal);
  } catch (error) {
    if (isLifeboatError(error, "missing") || isLifeboatError(error, "corrupt")) return undefined;
    throw error;
  }
}

/** Throws `denied` for a backup that its bucket holds: some buckets would only hide it (S3 with object lock). */
function checkNotRetained(name: string, record: Backup | undefined): void {
  const until = record?.metadata.annotations?.[RETAINED_UNTIL];
  if (until === undefined || new Date(until) <= new Date()) return;
  throw new LifeboatError("denied", `backup "${name}" is retained until ${until}`, {
    hint: "its record says so: it was made with retainFor, and what it says goes for copies too",
  });
}

/**
 * Deletes the record and the report of a restore, the record first, and what its undo needs in notes; the backups of what
 * was there before it are backups. Where there is no record, what lies beside it may be Velero's, and stays. Gives the
 * number of objects. Throws `busy` where a job works on it.
 */
export function deleteRestore(bucket: Bucket, name: string, signal?: AbortSignal): Promise<number> {
  const { folder, record } = restoreKeys(name);
  return deleteLocked({ bucket, kind: "restores", name }, signal, async function* (signal) {
    const report = await keysIn(bucket, [folder], signal);
    const rest = await keysIn(bucket, [noteFolder(name), sliceFolder(name), runFolder("restores", name)], signal);
    yield* inOrder([...(report.includes(record) ? report : []), ...rest], [(key) => key === record]);
  });
}

/**
 * Deletes what runs of a name left: these requests and logs, so that one that was stored since stays, and the lock. Gives
 * the number of objects. Throws `busy` where a job works on it.
 */
export function deleteTraces(scope: LockScope, keys: string[], signal?: AbortSignal): Promise<number> {
  return deleteLocked(scope, signal, async function* () {
    yield* keys;
  });
}

/**
 * Deletes, in their order, the objects that `find` names while nobody else works on what is locked; then the lock. Once
 * that is lost it stops: what lies there from then on may be another run's.
 */
async function deleteLocked(
  { by, timing, ...scope }: LockScope & { by?: Holder; timing?: LockTiming },
  signal = new AbortController().signal,
  find: (signal: AbortSignal) => AsyncIterable<string>,
): Promise<number> {
  const { bucket, kind, name } = scope;
  const lock = await tryLock(scope, { signal, by, timing });
  if (lock === "running") {
    const who = heldText(await lockState(scope, { signal }));
    throw new LifeboatError("busy", `a run works on ${kind.slice(0, -1)} "${name}"${who}`, {
      hint: "try again when it has ended",
    });
  }
  await using held = lock;
  const deleting = AbortSignal.any([signal, held.signal]);
  let deleted = 0;
  for await (const key of find(deleting)) {
    deleting.throwIfAborted();
    await bucket.delete(key, { signal: deleting });
    deleted++;
  }
  await held.remove(deleting);
  return deleted;
}

async function keysIn(bucket: Bucket, folders: string[], signal?: AbortSignal): Promise<string[]> {
  const listed = await Promise.all(folders.map((folder) => listFolder(bucket, folder, signal)));
  return listed.flatMap((keys) => [...keys.keys()]);
}

type Which = (key: string) => boolean;

function inOrder(keys: string[], first: Which[], last: Which[] = []): string[] {
  const place = (key: string) => {
    const at = first.findIndex((which) => which(key));
    return at >= 0 ? at : first.length + 1 + last.findIndex((which) => which(key));
  };
  return keys.toSorted((a, b) => place(a) - place(b));
}
