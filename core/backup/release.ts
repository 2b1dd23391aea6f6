import { listFolder } from "../contents.ts";
import { isLifeboatError, messageOf } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import { throwIfGone } from "../kube/gone.ts";
import { backupKeys, recordIn } from "../layout.ts";
import type { Log } from "../log.ts";
import type { Bucket } from "../ports.ts";
import { removeClones } from "../volumes/csi/clone.ts";
import { namedBy, settleSnapshots, standingSnapshots } from "../volumes/csi/standing.ts";
import type { VolumeMeans } from "../volumes/means.ts";
import type { VolumeRecord } from "../volumes/record.ts";
import { endCopies } from "../volumes/restic/abandoned.ts";

const RELEASE_MS = 120_000;

/**
 * Takes the CSI snapshots of a backup's volumes out of the cluster, once an archive that names them is there to stay: the storage keeps
 * those that are named, whichever run made them. What stands nevertheless is a warning in the log. Never throws.
 */
export async function releaseCopies(
  { kube, bucket, name, log }: { kube: Kube; bucket: Bucket; name: string; log: Log },
  records: VolumeRecord[] = [],
): Promise<void> {
  if (records.length === 0) return;
  const of = { backupName: name, location: bucket.location };
  const signal = AbortSignal.timeout(RELEASE_MS);
  const warn = (reason: string) =>
    log("warning", `A snapshot still stands in the cluster; "lifeboat location check" tells what to do: ${reason}`);
  try {
    const standing = await standingSnapshots(kube, of, signal);
    const options = { of, isNamed: namedBy(records), signal };
    for (const reason of await settleSnapshots(kube, standing, options)) warn(reason);
  } catch (error) {
    const made = records.some(({ csi }) => csi);
    if (made || !isLifeboatError(error, "denied")) warn(messageOf(error));
  }
}

/** A run that is about to copy volumes, and hears what keeps it from taking away what an earlier one left. */
interface Beginning {
  kube: Kube;
  bucket: Bucket;
  name: string;
  volumes?: VolumeMeans;
  warn: (message: string) => void;
  signal: AbortSignal;
}

/**
 * Takes away what an earlier run of this name and location has left in the cluster that died before its archive was stored: Jobs that
 * copy files, claims that were made of snapshots, and snapshots with their objects. To be called under the name's lock. Throws only what ends the run.
 */
export async function clearLeft(run: Beginning): Promise<void> {
  const { kube, volumes: { files } = {}, warn, signal } = run;
  const of = { backupName: run.name, location: run.bucket.location };
  // What uses another goes first.
  const clearing = [
    async () => (files ? endCopies(kube, files, run.name, signal) : []),
    () => removeClones(kube, of, signal),
    () => clearSnapshots(run),
  ];
  for (const clear of clearing)
    try {
      for (const left of await clear())
        warn(`an earlier run of this backup has left something in the cluster: ${left}`);
    } catch (error) {
      await throwIfGone(kube, error, signal);
      // Who has no right to take it away had none to make it.
      if (!isLifeboatError(error, "denied"))
        warn(`what an earlier run of this backup has left in the cluster is not taken away: ${messageOf(error)}`);
    }
}

async function clearSnapshots({ kube, bucket, name, signal }: Beginning): Promise<string[]> {
  const of = { backupName: name, location: bucket.location };
  const standing = await standingSnapshots(kube, of, signal);
  if (standing.length === 0) return [];
  const { folder, tar } = backupKeys(name);
  const present = await listFolder(bucket, folder, signal);
  // Another run has stored them since this one looked, which will fail at that.
  if (present.has(tar) || recordIn(present, name)) return [];
  return settleSnapshots(kube, standing, { of, isNamed: () => false, signal });
}
