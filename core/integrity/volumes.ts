import { basename } from "node:path/posix";
import { type Backup, backupKeysOf } from "../catalog.ts";
import { readSideFile } from "../contents.ts";
import { LifeboatError } from "../errors.ts";
import type { Bucket } from "../ports.ts";
import { readVolumeInfos, type StoredVolume } from "../volumes/record.ts";
import { digestOf } from "./checks.ts";
import { sealOf } from "./seal.ts";

/**
 * What a backup says of the data of its volumes, held to what its record vouches for: it names the snapshots that a restore
 * uses and a deletion removes. Nothing for a backup of Velero that doesn't say. Throws `corrupt` for what was changed.
 */
export async function readStoredVolumes(bucket: Bucket, record: Backup, signal?: AbortSignal): Promise<StoredVolume[]> {
  const key = backupKeysOf(record).volumeInfo;
  const damaged = (reason: string, cause?: unknown) =>
    new LifeboatError("corrupt", `${key} was changed after it was written: ${reason}`, {
      key,
      hint: "use another backup, or another copy of this one",
      cause,
    });
  const digest = sealOf(record)?.files[basename(key)];
  const text = await readSideFile(bucket, key, signal);
  if (digest !== undefined && text === undefined) throw damaged("it is missing");
  if (digest !== undefined && (await digestOf(bucket, key, signal)) !== digest)
    throw damaged("it differs from its digest");
  try {
    return readVolumeInfos(text);
  } catch (cause) {
    throw damaged("it holds no volume infos", cause);
  }
}
