import { type Backup, BEFORE_RESTORE_LABEL, type CatalogRow, RETAINED_UNTIL, SCHEDULE_LABEL } from "../catalog.ts";
import { addDuration, parseDuration } from "../duration.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { distrustOf, RUN } from "../integrity/seal.ts";
import type { Pin } from "../pins.ts";
import type { BackupFacts } from "./judge.ts";

/** What besides its record tells of a backup. */
interface FactsScope {
  pin?: Pin;
  /** A verification found it damaged. */
  damaged?: boolean;
  /** Where there are some, one of them has to have signed the record. */
  trustedKeys?: string[];
  restoreTTL?: string;
}

/**
 * What retention knows of a backup, ours or Velero's. Its life ends at `status.expiration`, else `spec.ttl` after its
 * start; that of what was kept before a restore, `restoreTTL` after its start. What can't be read is a problem.
 */
export function factsOf(
  { name, record, problem }: CatalogRow<Backup>,
  { pin, damaged, trustedKeys = [], restoreTTL }: FactsScope,
): BackupFacts {
  if (!record) return { name, problem, phase: "", own: false, pin, damaged };
  const { metadata, spec = {}, status = {} } = record;
  const start = dateOf(status.startTimestamp);
  const schedule = metadata.labels?.[SCHEDULE_LABEL] || undefined;
  const { annotations = {} } = metadata;
  const facts = {
    name,
    phase: status.phase ?? "",
    start,
    schedule,
    own: annotations[RUN] !== undefined,
    pin,
    damaged,
    untrusted: distrustOf(record, trustedKeys) !== undefined,
    retained: dateOf(annotations[RETAINED_UNTIL]),
  };
  const isBefore = facts.own && metadata.labels?.[BEFORE_RESTORE_LABEL] !== undefined;
  try {
    return { ...facts, end: isBefore ? endAfter(start, restoreTTL, "restoreTTL") : endOf(start, spec, status) };
  } catch (error) {
    if (!isLifeboatError(error)) throw error;
    return { ...facts, problem: `its record does not tell when it ends: ${error.message}` };
  }
}

function endOf(
  start: Date | undefined,
  { ttl }: { ttl?: unknown },
  { expiration }: { expiration?: string },
): BackupFacts["end"] {
  const text = typeof ttl === "string" && parseDuration(ttl) > 0 ? ttl : undefined;
  if (expiration === undefined) return endAfter(start, text, "ttl");
  const at = dateOf(expiration);
  if (!at) throw new LifeboatError("corrupt", `"${expiration}" is no time`);
  return { at, by: text ? `ttl ${text}` : "its expiration" };
}

/** When what began then ends that has so long to live, by that name; undefined where it never does. */
export function endAfter(start: Date | undefined, ttl: string | undefined, name: string): BackupFacts["end"] {
  const at = start && ttl ? addDuration(start, ttl) : undefined;
  return at && !Number.isNaN(at.getTime()) ? { at, by: `${name} ${ttl}` } : undefined;
}

/** The time that a record tells, if it is one. */
export function dateOf(text: string | undefined): Date | undefined {
  const time = Date.parse(text ?? "");
  return Number.isNaN(time) ? undefined : new Date(time);
}
