import { isDeepStrictEqual } from "node:util";
import { readBackup } from "../catalog.ts";
import { listFolder } from "../contents.ts";
import { messageOf } from "../errors.ts";
import { RUN } from "../integrity/seal.ts";
import type { Kube } from "../kube/client.ts";
import { backupKeys, recordIn } from "../layout.ts";
import type { Log } from "../log.ts";
import type { Bucket } from "../ports.ts";
import type { VolumeRecord } from "../volumes/record.ts";
import { readHeader, readOutcome } from "./adopt.ts";
import { releaseCopies } from "./release.ts";
import type { BackupVolumes } from "./volumes.ts";

/** A run that failed, by what it may have left in its bucket. */
export interface FailedRun {
  kube: Kube;
  bucket: Bucket;
  name: string;
  /** The id that its archive and its record have. */
  run: string;
  /** Whether a later run may finish the archive that it left. */
  adoptable: boolean;
  /** Slices have one id: those that followed one that only seemed dead, too. */
  sliced?: boolean;
  log: Log;
}

/** How long the bucket is asked, which may be what failed. */
const LOOK_MS = 15_000;

/**
 * Takes away the copies of volumes of a run that failed, unless the bucket holds what names them: the run's record, or an archive
 * of it that a later run may adopt; then only what stands of them in the cluster is. That a request failed doesn't say that it was not carried out, so what can't be
 * told is left, with a warning in the log. Never throws.
 */
export async function takeBack(
  volumes: Pick<BackupVolumes, "count" | "discard" | "records">,
  failed: FailedRun,
): Promise<void> {
  const { bucket, name, log } = failed;
  if (volumes.count() === 0) return;
  try {
    if (await areNamed(failed, volumes.records, AbortSignal.timeout(LOOK_MS)))
      return await releaseCopies(failed, volumes.records);
  } catch (error) {
    const unknown = `whether backup "${name}" in ${bucket.location} names its copies of volumes can't be told`;
    log(
      "warning",
      `${unknown}: unless the same command, done again, finishes it, they are left over: ${messageOf(error)}`,
    );
    return;
  }
  await volumes.discard();
}

async function areNamed(
  { bucket, name, run, adoptable, sliced }: FailedRun,
  records: VolumeRecord[],
  signal: AbortSignal,
): Promise<boolean> {
  const { folder, tar } = backupKeys(name);
  const present = await listFolder(bucket, folder, signal);
  const areThese = async () => {
    if (!sliced) return true;
    const { volumes } = (await readOutcome(await bucket.get(tar, { signal }))) ?? {};
    return isDeepStrictEqual(volumes, JSON.parse(JSON.stringify(records)));
  };
  if (recordIn(present, name)) {
    const { annotations } = (await readBackup(bucket, name, signal)).metadata;
    if (annotations?.[RUN] === run) return areThese();
  }
  if (!adoptable || !present.has(tar)) return false;
  return (await readHeader(await bucket.get(tar, { signal })))?.run === run && (await areThese());
}
