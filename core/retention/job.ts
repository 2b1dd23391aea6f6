import { scheduleOf } from "../configured.ts";
import type { Job } from "../job.ts";
import { bucketClock, heldText, LOCK_TIMING, lockState, takeLock } from "../lock.ts";
import { startRunLog } from "../log.ts";
import { configuredRemoval } from "../removal.ts";
import type { JobContext } from "../run.ts";
import { type RetentionDocument, retentionName } from "./document.ts";
import { runRetention } from "./retention.ts";

/**
 * Runs retention under its lock: one run at a time for a location. Ages are judged by the earlier of two clocks, this
 * machine's and the bucket's: one that is ahead deletes nothing too soon. Throws `invalid` for an unknown schedule.
 */
export async function runRetentionJob(
  { schedule }: Extract<Job, { kind: "retention" }>,
  { bucket, config, secrets, clusters, disks, signal, listen, by, timing = LOCK_TIMING }: JobContext,
): Promise<
  { document: RetentionDocument; duplicate: false } | { document?: undefined; duplicate: true; skipped: string }
> {
  if (schedule !== undefined) scheduleOf(config, schedule);
  const scope = { bucket, kind: "retention", name: retentionName(undefined) } as const;
  const lock = await takeLock(scope, { settled: async () => false, signal, timing, by });
  if (typeof lock === "string") {
    const who = heldText(await lockState(scope, { signal }));
    return { duplicate: true, skipped: `another run is at the retention of ${bucket.location}${who}` };
  }
  await using held = lock;
  const running = AbortSignal.any([signal, held.signal]);
  const bucketNow = await bucketClock(scope, running);
  const now = new Date(Math.min(Date.now(), bucketNow()));
  const { log } = startRunLog({ retention: bucket.location }, listen);
  await using removal = configuredRemoval({ config, secrets, clusters, disks });
  const volumes = async () => removal;
  const document = await runRetention({ bucket, config, schedule, now, log, by, volumes, signal: running });
  // Who may not delete has said so by now; the next run removes what is left of the lock.
  await held.remove(running).catch(() => {});
  return { document, duplicate: false };
}
