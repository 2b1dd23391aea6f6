import { runFolder } from "./catalog.ts";
import type { Config } from "./config.ts";
import { messageOf } from "./errors.ts";
import { lastLocationVerification, lastVerification } from "./integrity/verified.ts";
import { type Listen, logLine } from "./log.ts";
import { type Ended, type Event, isWanted, notify } from "./notify.ts";
import type { Bucket } from "./ports.ts";
import { endedBadlyBefore } from "./schedule/standing.ts";
import type { CachedSecrets } from "./secrets.ts";

/** What telling takes. */
export interface Telling {
  config: Config;
  bucket: Bucket;
  secrets: CachedSecrets;
  listen?: Listen;
}

/** The document of a job that failed before it made one. */
export function failureDocument(
  job: Pick<Ended, "kind" | "name" | "location" | "cluster" | "schedule">,
  error: unknown,
): Ended {
  return { schemaVersion: 1, ...job, phase: "Failed", warnings: [], errors: [{ message: messageOf(error) }] };
}

/**
 * Tells who wants to know of a job that ended (notify.ts). A job that fails again under its name, as one that the platform
 * tries again, is told of once. Never throws.
 */
export async function tell(document: Ended, { config, bucket, secrets, listen }: Telling): Promise<void> {
  const { notifications } = config;
  const log = (level: "info" | "warning" | "error", message: string) => listen?.(logLine(level, message), level);
  const failed = document.phase !== "Completed";
  if (!(failed ? isWanted(notifications, "failure") : isWanted(notifications, "recovery"))) return;
  try {
    const event = await eventOf(document, bucket);
    if (event) await notify(event, document, { notifications, secrets, log });
  } catch (error) {
    log("warning", `Nobody was told of ${document.kind} ${document.name}: ${messageOf(error)}`);
  }
}

async function eventOf(document: Ended, bucket: Bucket): Promise<Event | undefined> {
  const { kind, name, phase, schedule } = document;
  // What is damaged stays so: it is told of every time.
  if (kind === "verify" || kind === "verifyList") {
    if (phase !== "Completed") return "failure";
    const last = await (kind === "verify" ? lastVerification(bucket, name) : lastLocationVerification(bucket));
    return last?.recovered ? "recovery" : "success";
  }
  const failures = kind === "retention" ? 0 : await failedRuns(bucket, kind, name);
  // A failed run has left its own result already; one that is PartiallyFailed leaves none.
  if (phase !== "Completed") return failures > (phase === "Failed" ? 1 : 0) ? undefined : "failure";
  if (failures > 0) return "recovery";
  return kind === "backup" && schedule && (await endedBadlyBefore(bucket, schedule, name)) ? "recovery" : "success";
}

/** How many runs of that name have failed. */
async function failedRuns(bucket: Bucket, kind: string, name: string): Promise<number> {
  let count = 0;
  for await (const { key } of bucket.list(runFolder(kind === "backup" ? "backups" : "restores", name)))
    if (key?.endsWith("-result.json")) count++;
  return count;
}
