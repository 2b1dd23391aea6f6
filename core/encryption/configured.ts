import type { Config } from "../config.ts";
import type { Bucket } from "../ports.ts";
import type { CachedSecrets } from "../secrets.ts";
import { readIdentities } from "./age.ts";
import { unlocked } from "./buckets.ts";

/** The bucket, with what is encrypted in it readable by the identity that the configuration, or `reference`, names. */
export function unlockedBy(
  bucket: Bucket,
  reference: Config["encryption"]["identity"],
  secrets: CachedSecrets,
): Bucket {
  return unlocked(bucket, async () => (reference ? readIdentities(await secrets.read(reference), reference) : []));
}
