import { randomUUID } from "node:crypto";
import { runKeys, writeSideFile } from "./catalog.ts";
import { messageOf } from "./errors.ts";
import type { RunLog } from "./log.ts";
import type { Bucket } from "./ports.ts";

const KINDS = { backup: "backups", restore: "restores" } as const;

/**
 * Runs `work`; where it fails, leaves the run's log and its result document in the bucket, if the bucket takes them,
 * before the error goes on: `log.left` says whether it did. The name of the backup or restore stays free for the next
 * run. Within another `leavingLog` of the same run only the inner one leaves them.
 */
export async function leavingLog<T>(
  run: { kind: "backup" | "restore"; bucket: Bucket; name: string; log: RunLog },
  work: () => Promise<T>,
): Promise<T> {
  const { kind, bucket, name, log } = run;
  try {
    return await work();
  } catch (error) {
    if (log.left) throw error;
    log.log("error", messageOf(error));
    const keys = runKeys(KINDS[kind], name, `${new Date().toISOString()}-${randomUUID()}`);
    const result = { schemaVersion: 1, kind, name, phase: "Failed", errors: [{ message: messageOf(error) }] };
    const signal = AbortSignal.timeout(10_000);
    const [stored] = await Promise.allSettled([
      writeSideFile(bucket, keys.log, log.gzipped(), signal),
      bucket.put(keys.result, Buffer.from(`${JSON.stringify(result)}\n`), { ifAbsent: true, signal }),
    ]);
    log.left = stored.status === "fulfilled";
    throw error;
  }
}
