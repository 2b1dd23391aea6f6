import { type Archive, openArchive } from "../archive/reader.ts";
import { type Backup, backupKeys, checkFormat, readBackup } from "../catalog.ts";
import type { Bucket } from "../ports.ts";

/** How backups are read. */
export interface Reading {
  signal?: AbortSignal;
  /** Hears, before it happens, that a backup without an index (Velero's) is read whole; what it throws ends the reading. */
  whole?: (name: string, bytes: number) => void;
}

/** A backup that is looked into. */
export interface OpenBackup {
  record: Backup;
  archive: Archive;
}

/** Opens a committed backup, whatever its phase, as far as it has an archive. Throws as `readBackup`, `checkFormat` and `openArchive`. */
export async function openBackup(bucket: Bucket, name: string, { signal, whole }: Reading = {}): Promise<OpenBackup> {
  const record = await readBackup(bucket, name, signal);
  checkFormat(record);
  return { record, archive: await openRecorded(bucket, record, { signal, whole }) };
}

/** Opens the archive of a backup whose record is known. */
export async function openRecorded(bucket: Bucket, { metadata }: Backup, { signal, whole }: Reading): Promise<Archive> {
  const { name } = metadata;
  return await openArchive(bucket, backupKeys(name), { signal, whole: whole && ((bytes) => whole(name, bytes)) });
}
