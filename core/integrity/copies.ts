import { type Archive, openArchive, readTar } from "../archive/reader.ts";
import { OUTCOME_FILE } from "../archive/writer.ts";
import { type Backup, CLUSTER, MADE_IN, SERVER, VOLUME_COUNTS } from "../catalog.ts";
import { ENCRYPTED } from "../encryption/buckets.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { backupKeys } from "../layout.ts";
import { samePlace } from "../location.ts";
import { entriesOf } from "../objects/fields.ts";
import { SNAPSHOT_CONTENTS } from "../objects/resources.ts";
import type { Bucket } from "../ports.ts";
import { type Copies, copiesOf, copiesText, copyCount } from "../volumes/copies.ts";
import { storedSnapshot } from "../volumes/csi/deletion.ts";
import type { StoredVolume, VolumeCounts } from "../volumes/record.ts";
import { openBackup } from "./open.ts";
import { RUN } from "./seal.ts";
import { readStoredVolumes } from "./volumes.ts";

/** Whose the copies of volumes are that a backup names, and how many; undefined where it names none. */
export interface CopyOwner {
  count: number;
  /**
   * "ours": they go with the backup. "elsewhere": the backup is a copy, and they are the original's, which lies in `madeIn`.
   * "velero": Velero made it, and removes them itself.
   */
  whose: "ours" | "elsewhere" | "velero";
  madeIn?: string;
}

/**
 * Whose the copies are, by the record alone. The same snapshots are named by every copy of a backup, so they go with the one
 * that lies where it was made: the record of it says where that is, and a copy is the same, byte for byte. Of Velero's backups the
 * record doesn't say how many there are: undefined.
 */
export function copyOwner({ metadata: { annotations = {} } }: Backup, location: string): CopyOwner | undefined {
  const counts = countsIn(annotations[VOLUME_COUNTS]);
  const count = counts ? counts.csiSnapshots + counts.nativeSnapshots + counts.fileCopies : 0;
  if (count === 0) return undefined;
  const madeIn = annotations[MADE_IN];
  const ours = madeIn !== undefined && samePlace(madeIn, location);
  return { count, whose: ours ? "ours" : "elsewhere", ...(madeIn !== undefined && { madeIn }) };
}

function countsIn(text: string | undefined): VolumeCounts | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as VolumeCounts);
  } catch {
    return undefined;
  }
}

/** As `copyOwner`; of Velero's backups by their volume infos. Throws as `readStoredVolumes`. */
export async function findCopyOwner(
  bucket: Bucket,
  record: Backup,
  signal?: AbortSignal,
): Promise<CopyOwner | undefined> {
  if (record.metadata.annotations?.[RUN] !== undefined) return copyOwner(record, bucket.location);
  const count = countCopies(await readStoredVolumes(bucket, record, signal));
  return count > 0 ? { count, whose: "velero" } : undefined;
}

function countCopies(stored: StoredVolume[]): number {
  return copyCount(copiesOf({ backup: "" }, stored));
}

/** The copies of a backup's volumes, with what removing them takes. Throws `corrupt` for what was changed, `denied` without an identity. */
export async function readCopies(bucket: Bucket, record: Backup, signal?: AbortSignal): Promise<Copies> {
  const { name, annotations = {} } = record.metadata;
  const { [CLUSTER]: cluster, [SERVER]: server } = annotations;
  const stored = await readStoredVolumes(bucket, record, signal);
  const copies = copiesOf({ backup: name, ...(cluster && { cluster }), ...(server && { server }) }, stored);
  return { ...copies, csi: await withSecrets(bucket, record, { csi: copies.csi, stored }, signal) };
}

/**
 * CSI snapshots with the places of the secrets by which their drivers delete them, which the stored contents name. Most drivers
 * need none, so a damaged archive doesn't keep the snapshots from being removed.
 */
async function withSecrets(
  bucket: Bucket,
  record: Backup,
  { csi, stored }: { csi: Copies["csi"]; stored: StoredVolume[] },
  signal?: AbortSignal,
): Promise<Copies["csi"]> {
  if (csi.length === 0) return csi;
  const names = stored.flatMap(({ csi }) => (csi ? [csi.contentName] : []));
  const secrets = await orDamaged([], async () => {
    const archive = await openBackup(bucket, record, { secrets: "if readable", signal });
    try {
      return await Promise.all(names.map((name) => secretOf(archive, name)));
    } finally {
      await archive.close();
    }
  });
  return csi.map((one, place) => ({ ...one, ...(secrets[place] && { secret: secrets[place] }) }));
}

async function secretOf(archive: Archive, name: string): Promise<Copies["csi"][number]["secret"]> {
  const entry = name && (await archive.find({ resource: SNAPSHOT_CONTENTS, namespace: "", name }));
  if (!entry) return undefined;
  for await (const { body } of archive.read([entry])) return storedSnapshot(JSON.parse(body.toString()))?.secret;
  return undefined;
}

async function orDamaged<T>(otherwise: T, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const damaged = isLifeboatError(error, "corrupt") || isLifeboatError(error, "missing");
    if (damaged || error instanceof SyntaxError) return otherwise;
    throw error;
  }
}

/**
 * How many copies archives without a record name: those of a run that was interrupted right before its end, or, where it is
 * the beginning of a copy, those of the original. 0 of what is damaged, or isn't ours. Throws `denied` for what is encrypted, where
 * no identity reads it.
 */
export async function unrecordedCopies(
  bucket: Bucket,
  name: string,
  present: Iterable<string>,
  signal?: AbortSignal,
): Promise<number> {
  const there = new Set(present);
  const { tar } = backupKeys(name);
  let count = 0;
  for (const encrypted of ["", ENCRYPTED].filter((ending) => there.has(tar + ending)))
    count += await orDamaged(0, async () => {
      const volumes = entriesOf(await outcomeIn(bucket, backupKeys(name, encrypted), there, signal), "volumes");
      return volumes.filter(({ csi, native, files }) => csi || native || files).length;
    });
  return count;
}

/** What an archive says last: found by its index, or, without one that is whole, by reading all of it. */
async function outcomeIn(
  bucket: Bucket,
  keys: ReturnType<typeof backupKeys>,
  there: Set<string>,
  signal?: AbortSignal,
): Promise<unknown> {
  const indexed = there.has(keys.index) && (await orDamaged(undefined, () => indexedOutcome(bucket, keys, signal)));
  if (indexed) return JSON.parse(indexed.toString());
  let outcome: unknown;
  for await (const { path, body } of readTar(await bucket.get(keys.tar, { signal })))
    if (path === OUTCOME_FILE) outcome = JSON.parse(body.toString());
  return outcome;
}

async function indexedOutcome(
  bucket: Bucket,
  keys: ReturnType<typeof backupKeys>,
  signal?: AbortSignal,
): Promise<Buffer | undefined> {
  const archive = await openArchive(bucket, keys, { signal });
  try {
    return await archive.file(OUTCOME_FILE);
  } finally {
    await archive.close();
  }
}

/** The error of a backup that can't be deleted for its copies of volumes, with the way out. */
export function copiesStay(name: string, count: number, why: string, hint: string): LifeboatError {
  return new LifeboatError("conflict", `backup "${name}" has ${copiesText(count)}, and ${why}`, { hint });
}
