import { z } from "zod";
import type { Config } from "./config.ts";
import { messageOf } from "./errors.ts";
import { lastLocationVerification, lastVerification } from "./integrity/verified.ts";
import { toldFolder } from "./layout.ts";
import { type Listen, logLine } from "./log.ts";
import { type Event, isWanted, type JobDocument, notify } from "./notify.ts";
import type { Bucket } from "./ports.ts";
import type { CachedSecrets } from "./secrets.ts";
import { type Placed, say } from "./state.ts";

/** What telling takes. */
export interface Telling {
  config: Config;
  bucket: Bucket;
  secrets: CachedSecrets;
  listen?: Listen;
  /**
   * Hears that somebody could not be told. The run's result and its log are complete by then: without it, `listen` hears a line of
   * that.
   */
  warn?: (message: string) => void;
}

/** The document of a job that failed before it made one. */
export function failureDocument(
  job: Pick<JobDocument, "kind" | "name" | "location" | "cluster" | "schedule">,
  error: unknown,
): JobDocument {
  return { schemaVersion: 1, ...job, phase: "Failed", warnings: [], errors: [{ message: messageOf(error) }] };
}

/** The last failure of a row, or the recovery from it, and whose it was. */
const toldSchema = z.object({ event: z.enum(["failure", "recovery"]), name: z.string() });
type Told = z.infer<typeof toldSchema>;

/**
 * Tells who wants to know of a job that ended (notify.ts). A job that fails again under its name, as one that the platform
 * tries again, is told of once. The first success after a failure is a recovery: of jobs of its kind and schedule, or,
 * without one, of its name. Never throws.
 */
export async function tell(
  document: JobDocument,
  { config, bucket, secrets, listen, ...telling }: Telling,
): Promise<void> {
  const { notifications } = config;
  const warn = telling.warn ?? ((message) => listen?.(logLine("warning", message), "warning"));
  const failed = document.phase !== "Completed";
  if (!(failed ? isWanted(notifications, "failure") : isWanted(notifications, "recovery"))) return;
  try {
    const event = await eventOf(document, bucket);
    if (event) await notify(event, document, { notifications, secrets, warn });
  } catch (error) {
    warn(`Nobody was told of ${document.kind} ${document.name}: ${messageOf(error)}`);
  }
}

/** What an end is, and from now on it is known to have been told; undefined where it had been before. */
async function eventOf({ kind, name, phase, schedule }: JobDocument, bucket: Bucket): Promise<Event | undefined> {
  // What is damaged stays so: it is told of every time.
  if (kind === "verify" || kind === "verifyList") {
    if (phase !== "Completed") return "failure";
    const last = await (kind === "verify" ? lastVerification(bucket, name) : lastLocationVerification(bucket));
    return last?.recovered ? "recovery" : "success";
  }
  let event: Event | undefined;
  const next = ({ state }: Partial<Placed<Told>> = {}) => {
    const isDown = state?.event === "failure";
    if (phase === "Completed") event = isDown ? "recovery" : "success";
    else event = isDown && state.name === name ? undefined : "failure";
    return event === undefined || event === "success" ? undefined : { event, name, at: new Date().toISOString() };
  };
  await say(bucket, toldFolder(kind, schedule ?? name), toldSchema, next);
  return event;
}
