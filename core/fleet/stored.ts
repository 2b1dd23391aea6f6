import pLimit from "p-limit";
import { folderNames } from "../contents.ts";
import { isLifeboatError } from "../errors.ts";
import { BACKUPS, OURS, RESTORES } from "../layout.ts";
import type { Bucket } from "../ports.ts";
import { isClusterName } from "./settings.ts";

const LISTS_AT_ONCE = 16;

/**
 * The clusters beside the `known` ones of which backups or restores lie in a fleet's location: they are of the fleet no longer, or
 * were not found. One whose folder may not be read counts: whoever reads it is told. Throws what else the bucket throws.
 */
export async function storedClusters(
  bucket: Bucket,
  known: ReadonlyMap<string, unknown>,
  signal: AbortSignal,
): Promise<string[]> {
  const folders = await folderNames(bucket, "", { signal });
  const others = folders.filter((name) => isClusterName(name) && !known.has(name));
  const limit = pLimit(LISTS_AT_ONCE);
  const stored = (name: string) =>
    limit(holdsAny, bucket, name, [BACKUPS, RESTORES], signal).catch((error: unknown) => {
      if (isLifeboatError(error, "denied")) return true;
      throw error;
    });
  const are = await Promise.all(others.map(stored));
  return others.filter((_, at) => are[at]);
}

/** Whether anything of a cluster lies in a fleet's location, be it only of runs that failed. Throws what the bucket throws. */
export async function isStored(bucket: Bucket, cluster: string, signal: AbortSignal): Promise<boolean> {
  return isClusterName(cluster) && holdsAny(bucket, cluster, [BACKUPS, RESTORES, OURS], signal);
}

/** Whether something lies in any of a cluster's folders. */
async function holdsAny(bucket: Bucket, cluster: string, folders: string[], signal: AbortSignal): Promise<boolean> {
  for (const folder of folders)
    for await (const _ of bucket.list(`${cluster}/${folder}`, { delimiter: "/", signal })) return true;
  return false;
}
