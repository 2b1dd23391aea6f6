import { addDuration } from "../duration.ts";
import type { Bucket, ObjectRetention } from "../ports.ts";
import type { ArchiveHeader } from "./record.ts";

/** How long what a backup stores is held in its bucket; undefined where its spec doesn't ask for that. */
export function retentionOf({
  spec: { retainFor, retainMode = "governance" },
  startTimestamp,
}: Pick<ArchiveHeader, "spec" | "startTimestamp">): ObjectRetention | undefined {
  if (retainFor === undefined) return undefined;
  return { until: addDuration(new Date(startTimestamp), retainFor), mode: retainMode };
}

/** `bucket`, which holds all that is put into it. */
export function holding(bucket: Bucket, retain: ObjectRetention | undefined): Bucket {
  if (!retain) return bucket;
  return { ...bucket, put: (key, body, options) => bucket.put(key, body, { ...options, retain }) };
}
