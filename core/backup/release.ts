import { isLifeboatError, messageOf } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import type { Log } from "../log.ts";
import type { Bucket } from "../ports.ts";
import { namedBy, settleSnapshots, standingSnapshots } from "../volumes/csi/standing.ts";
import type { VolumeRecord } from "../volumes/record.ts";

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
