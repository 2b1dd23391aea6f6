import type { Bucket } from "../ports.ts";
import { isClusterName } from "./settings.ts";

/** The clusters whose folders lie in a fleet's location, be they still of the fleet or not. Throws what the bucket throws. */
export async function storedClusters(bucket: Bucket, signal: AbortSignal): Promise<string[]> {
  return (await foldersIn(bucket, "", signal)).filter(isClusterName);
}

/** The names of the folders below a prefix. Throws what the bucket throws. */
export async function foldersIn(bucket: Bucket, prefix: string, signal?: AbortSignal): Promise<string[]> {
  const listed = await Array.fromAsync(bucket.list(prefix, { delimiter: "/", signal }));
  return listed.flatMap(({ prefix: folder }) => (folder === undefined ? [] : folder.slice(prefix.length, -1)));
}

/** Whether anything of a cluster lies in a fleet's location. Throws what the bucket throws. */
export async function isStored(bucket: Bucket, cluster: string, signal: AbortSignal): Promise<boolean> {
  if (!isClusterName(cluster)) return false;
  for await (const _ of bucket.list(`${cluster}/`, { delimiter: "/", signal })) return true;
  return false;
}
