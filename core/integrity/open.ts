import { joinArchives } from "../archive/join.ts";
import { type Archive, openArchive } from "../archive/reader.ts";
import { HEADER_FILE } from "../archive/writer.ts";
import { type Backup, backupKeysOf, OMITTED, SECRETS, SECRETS_INDEX_END } from "../catalog.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { secretsKeys } from "../layout.ts";
import type { Bucket } from "../ports.ts";
import { checkTrusted, sealOf } from "./seal.ts";

/** How a backup is opened. */
export interface Opening {
  trustedKeys?: string[];
  /** Where they alone are encrypted: without an identity that reads them they are "needed" (`denied`), which is the default, or left out. */
  secrets?: "needed" | "if readable";
  /** As of `openArchive`. */
  whole?: (bytes: number) => void;
  signal?: AbortSignal;
}

/** With the Secrets of a backup that has them, encrypted, in an archive of their own. */
async function withSecrets(
  archive: Archive,
  bucket: Bucket,
  { metadata: { name, annotations = {} } }: Backup,
  { secrets, signal }: Opening,
): Promise<Archive> {
  const suffix = annotations[SECRETS];
  if (suffix === undefined || suffix === OMITTED) return archive;
  try {
    const keys = secretsKeys(name, suffix);
    const theirs = await openArchive(bucket, keys, { signal, indexEnd: annotations[SECRETS_INDEX_END] });
    return joinArchives([archive, theirs], { disjoint: true });
  } catch (error) {
    if (secrets === "if readable" && isLifeboatError(error, "denied")) return archive;
    throw error;
  }
}

/**
 * Opens the archive of a backup: the one place for whatever reads what is in one. It is held to what the record vouches
 * for: the index as it is opened, and by the index all that is read. With `trustedKeys` one of them must have signed the
 * record. Throws as `openArchive`, and `corrupt` for what isn't trusted, and for an archive of Lifeboat whose record vouches
 * for nothing.
 */
export async function openBackup(
  bucket: Bucket,
  record: Backup,
  { trustedKeys, secrets = "needed", whole, signal }: Opening = {},
): Promise<Archive> {
  checkTrusted(record, trustedKeys);
  const keys = backupKeysOf(record);
  const seal = sealOf(record);
  const archive = await openArchive(bucket, keys, { signal, indexEnd: seal?.indexEnd, whole });
  try {
    if (seal || !(await archive.file(HEADER_FILE)))
      return await withSecrets(archive, bucket, record, { secrets, signal });
    throw new LifeboatError("corrupt", `${keys.metadata} was changed after it was written: it has lost its digests`, {
      hint: "use another backup, or another copy of this one",
    });
  } catch (error) {
    await archive.close();
    throw error;
  }
}
