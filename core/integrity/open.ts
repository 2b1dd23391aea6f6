import { type Archive, openArchive } from "../archive/reader.ts";
import { HEADER_FILE } from "../backup/record.ts";
import { type Backup, backupKeys } from "../catalog.ts";
import { LifeboatError } from "../errors.ts";
import type { Bucket } from "../ports.ts";
import { checkTrusted, sealOf } from "./seal.ts";

/**
 * Opens the archive of a backup: the one place for whatever reads what is in one. It is held to what the record vouches
 * for: the index as it is opened, and by the index all that is read. With `trustedKeys` one of them must have signed the
 * record. Throws as `openArchive`, and `corrupt` for what isn't trusted, and for an archive of Lifeboat whose record vouches
 * for nothing.
 */
export async function openBackup(
  bucket: Bucket,
  record: Backup,
  { trustedKeys, signal }: { trustedKeys?: string[]; signal?: AbortSignal } = {},
): Promise<Archive> {
  checkTrusted(record, trustedKeys);
  const keys = backupKeys(record.metadata.name);
  const seal = sealOf(record);
  const archive = await openArchive(bucket, keys, { signal, indexEnd: seal?.indexEnd });
  try {
    if (seal || !(await archive.file(HEADER_FILE))) return archive;
    throw new LifeboatError("corrupt", `${keys.metadata} was changed after it was written: it has lost its digests`, {
      hint: "use another backup, or another copy of this one",
    });
  } catch (error) {
    await archive.close();
    throw error;
  }
}
