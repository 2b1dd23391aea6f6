import type { Archive } from "../archive/reader.ts";
import { type Backup, checkFormat, OMITTED, readBackup, SECRETS } from "../catalog.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { type Opening, openBackup } from "../integrity/open.ts";
import type { Bucket } from "../ports.ts";

/** How backups are read. */
export interface Reading extends Pick<Opening, "trustedKeys" | "signal"> {
  /** Hears, before it happens, that a backup without an index (Velero's) is read whole; what it throws ends the reading. */
  whole?: (name: string, bytes: number) => void;
}

/** A backup that is looked into. */
export interface OpenBackup {
  record: Backup;
  archive: Archive;
  /** Why it doesn't tell of Secrets, where it doesn't: `missing` or `denied`. */
  withoutSecrets?: LifeboatError;
}

/** Opens a committed backup by its name. Throws as `readBackup` and `openToRead`. */
export async function openNamed(bucket: Bucket, name: string, reading: Reading = {}): Promise<OpenBackup> {
  return await openToRead(bucket, await readBackup(bucket, name, reading.signal), reading);
}

/**
 * Opens a backup, whatever its phase, as far as it has an archive; without its Secrets where they alone are encrypted and
 * can't be read here. Throws as `openBackup`, and `invalid` for another format.
 */
export async function openToRead(
  bucket: Bucket,
  record: Backup,
  { trustedKeys, signal, whole }: Reading = {},
): Promise<OpenBackup> {
  checkFormat(record);
  const { name, annotations } = record.metadata;
  const opening = { trustedKeys, signal, whole: whole && ((bytes: number) => whole(name, bytes)) };
  if (annotations?.[SECRETS] === OMITTED) {
    const withoutSecrets = new LifeboatError("missing", `Secrets were left out of backup "${name}"`);
    return { record, archive: await openBackup(bucket, record, opening), withoutSecrets };
  }
  try {
    return { record, archive: await openBackup(bucket, record, opening) };
  } catch (error) {
    if (annotations?.[SECRETS] === undefined || !isLifeboatError(error, "denied")) throw error;
    return {
      record,
      archive: await openBackup(bucket, record, { ...opening, secrets: "if readable" }),
      withoutSecrets: error,
    };
  }
}
