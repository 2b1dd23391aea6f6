import { randomUUID } from "node:crypto";
import { writeSideFile } from "./contents.ts";
import { messageOf } from "./errors.ts";
import { RUN_KINDS, runKeys } from "./layout.ts";
import type { RunLog } from "./log.ts";
import type { Bucket } from "./ports.ts";

type Kind = keyof typeof RUN_KINDS;

/**
 * Runs `work`; where it fails, leaves the run's log and its result document in the bucket, if the bucket takes them,
 * before the error goes on: `log.left` says whether it did. The name of the backup or restore stays free for the next
 * run. Within another `leavingLog` of the same run only the inner one leaves them.
 */
export async function leavingLog<T>(
  run: { kind: Kind; bucket: Bucket; name: string; log: RunLog },
  work: () => Promise<T>,
): Promise<T> {
  const { kind, bucket, name, log } = run;
  try {
    return await work();
  } catch (error) {
    if (log.left) throw error;
    for (const message of [messageOf(error), ...log.unfinished]) log.log("error", message);
    const keys = runKeys(RUN_KINDS[kind], name, `${new Date().toISOString()}-${randomUUID()}`);
    const signal = AbortSignal.timeout(10_000);
    const [stored] = await Promise.allSettled([
      writeSideFile(bucket, keys.log, log.gzipped(), signal),
      putFailure(bucket, { kind, name, key: keys.result, error, unfinished: log.unfinished }, signal),
    ]);
    log.left = stored.status === "fulfilled";
    throw error;
  }
}

/** Notes that what was asked for under a name is done, though no record of that name tells so: the name is free again. */
export function settleRequest(bucket: Bucket, { kind, name }: { kind: Kind; name: string }): Promise<void> {
  const { result } = runKeys(RUN_KINDS[kind], name, `${new Date().toISOString()}-${randomUUID()}`);
  const content = { schemaVersion: 1, kind, name, phase: "Completed", errors: [] };
  return bucket.put(result, Buffer.from(`${JSON.stringify(content)}\n`), { ifAbsent: true });
}

/** Leaves the result of a run that failed, or of one that will not be. */
export function putFailure(
  bucket: Bucket,
  {
    kind,
    name,
    key,
    error,
    unfinished = [],
  }: { kind: Kind; name: string; key: string; error: unknown; unfinished?: string[] },
  signal?: AbortSignal,
): Promise<void> {
  const result = {
    schemaVersion: 1,
    kind,
    name,
    phase: "Failed",
    errors: [messageOf(error), ...unfinished].map((message) => ({ message })),
  };
  return bucket.put(key, Buffer.from(`${JSON.stringify(result)}\n`), { ifAbsent: true, signal });
}
