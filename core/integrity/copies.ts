import { type Archive, openArchive } from "../archive/reader.ts";
import { OUTCOME_FILE } from "../archive/writer.ts";
import { type Backup, backupKeys, CLUSTER, MADE_IN, SERVER, VOLUME_COUNTS } from "../catalog.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
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
 * How many copies an archive without a record names: those of a run that was interrupted right before its end, or, where it is
 * the beginning of a copy, those of the original. 0 where it can't be read, or isn't ours.
 */
export async function unrecordedCopies(
  bucket: Bucket,
  name: string,
  present: Iterable<string>,
  signal?: AbortSignal,
): Promise<number> {
  const keys = backupKeys(name);
  const there = new Set(present);
  if (!there.has(keys.tar) || !there.has(keys.index)) return 0;
  return orDamaged(0, async () => {
    const archive = await openArchive(bucket, keys, { signal });
    try {
      const file = await archive.file(OUTCOME_FILE);
      const volumes = file ? entriesOf(JSON.parse(file.toString()), "volumes") : [];
      return volumes.filter(({ csi, native, files }) => csi || native || files).length;
    } finally {
      await archive.close();
    }
  });
}

/** The error of a backup that can't be deleted for its copies of volumes, with the way out. */
export function copiesStay(name: string, count: number, why: string, hint: string): LifeboatError {
  return new LifeboatError("conflict", `backup "${name}" has ${copiesText(count)}, and ${why}`, { hint });
}
