import { scheduleOf } from "../configured.ts";
import { readTrustedKeys } from "../integrity/keys.ts";
import type { RetentionJob } from "../job.ts";
import { bucketClock, heldText, LOCK_TIMING, lockState, takeLock } from "../lock.ts";
import { startRunLog } from "../log.ts";
import { newRun, openProgress } from "../progress.ts";
import { configuredRemoval } from "../removal.ts";
import { type RetentionDocument, retentionName } from "../retention/document.ts";
import { retentionStateSchema, runRetentionSlice } from "../retention/retention.ts";
import type { JobContext } from "./context.ts";

/**
 * Runs retention under its lock: one run at a time for a location. Ages are judged by the earlier of two clocks, this
 * machine's and the bucket's: one that is ahead deletes nothing too soon. What there is no time for is left to the next slice. Throws
 * `invalid` for an unknown schedule, as `readTrustedKeys`, `timeout` where there was no time for a single deletion.
 */
export async function runRetentionJob(
  job: RetentionJob,
  context: JobContext & { slice?: { ends: AbortSignal } },
): Promise<
  | { document: RetentionDocument; duplicate: false }
  | { document?: undefined; duplicate: false; next: RetentionJob; items: number }
  | { document?: undefined; duplicate: true; skipped: string }
> {
  const { bucket, config, secrets, clusters, disks, signal, listen, by, slice, timing = LOCK_TIMING } = context;
  const { schedule, run: id = newRun() } = job;
  if (schedule !== undefined) scheduleOf(config, schedule);
  const trustedKeys = await readTrustedKeys(secrets, config.signing.publicKeys, signal);
  const scope = { bucket, kind: "retention", name: retentionName(undefined) } as const;
  const lock = await takeLock(scope, { settled: async () => false, signal, timing, by });
  if (typeof lock === "string") {
    const who = heldText(await lockState(scope, { signal }));
    return { duplicate: true, skipped: `another run is at the retention of ${bucket.location}${who}` };
  }
  await using held = lock;
  const running = AbortSignal.any([signal, held.signal]);
  const cut = { id, isRest: job.run !== undefined, schema: retentionStateSchema, slice };
  const progress = await openProgress({ bucket, ...cut, signal: running });
  const bucketNow = await bucketClock(scope, running);
  const now = new Date(Math.min(Date.now(), bucketNow()));
  const { log } = startRunLog({ retention: bucket.location }, listen);
  await using removal = configuredRemoval({ config, secrets, clusters, disks });
  const volumes = async () => removal;
  let items = 0;
  const goOn: typeof progress.goOn = (state) => {
    items = Object.keys(state().done).length;
    return progress.goOn(state);
  };
  const more = () => ({ duplicate: false as const, next: { ...job, run: id, notBefore: undefined }, items });
  try {
    const retention = { bucket, config, schedule, now, trustedKeys, log, by, volumes, signal: running };
    const document = await runRetentionSlice(retention, { ...progress, goOn });
    if (!document) return more();
    await progress.end();
    // Who may not delete has said so by now; the next run removes what is left of the lock.
    await held.remove(running).catch(() => {});
    return { document, duplicate: false };
  } catch (error) {
    if (await progress.isLeft()) return more();
    throw error;
  }
}
