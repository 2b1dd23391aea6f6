import type { Bucket } from "../ports.ts";
import { isClusterName } from "./settings.ts";

/** The clusters whose folders lie in a fleet's location, be they still of the fleet or not. Throws what the bucket throws. */
export async function storedClusters(bucket: Bucket, signal: AbortSignal): Promise<string[]> {
  const names: string[] = [];
  for await (const { prefix } of bucket.list("", { delimiter: "/", signal })) {
    const name = prefix?.slice(0, -1) ?? "";
    if (isClusterName(name)) names.push(name);
  }
  return names;
}

/** Whether anything of a cluster lies in a fleet's location. Throws what the bucket throws. */
export async function isStored(bucket: Bucket, cluster: string, signal: AbortSignal): Promise<boolean> {
  if (!isClusterName(cluster)) return false;
  for await (const _ of bucket.list(`${cluster}/`, { delimiter: "/", signal })) return true;
  return false;
}
