import { readBackup, rowProblem } from "../catalog.ts";
import type { Schedule } from "../config.ts";
import { isLifeboatError } from "../errors.ts";
import type { Bucket } from "../ports.ts";
import { timestamp } from "../timestamp.ts";
import { readClock } from "./cron.ts";
import { readPause } from "./pause.ts";
import { missedSlots, readScheduledName } from "./slots.ts";

/** How a schedule stands: the same for the command line, HTTP and functions. Times are RFC 3339. */
export interface ScheduleDocument {
  schemaVersion: 1;
  kind: "schedule";
  name: string;
  schedule: string;
  timeZone: string;
  cluster: string;
  /** The URL of the location that its backups lie in. */
  location: string;
  paused: boolean;
  /** Its newest backup that was committed. */
  lastBackup?: { name: string; phase: string; startTimestamp?: string };
  /** The next slot; absent while it is paused. */
  next?: string;
  /** Slots since the last backup that have none: see `missedSlots`. */
  missed: string[];
}

/** A slot without a backup is not missed yet for so long: the run may be under way, no function runs longer. */
const GRACE_MS = 15 * 60_000;

/** How a schedule stands at a time. Throws what the bucket and `readPause` throw. */
export async function scheduleDocument(
  bucket: Bucket,
  schedule: Schedule,
  now: Date,
  signal?: AbortSignal,
): Promise<ScheduleDocument> {
  const { name, cluster } = schedule;
  const clock = readClock(schedule);
  const [pause, last] = await Promise.all([readPause(bucket, schedule, signal), newestCommitted(bucket, name, signal)]);
  const until = new Date(now.getTime() - GRACE_MS);
  const next = pause.paused ? undefined : clock.next(now);
  const missed = pause.paused ? [] : missedSlots(clock, { newest: last?.slot, since: pause.at, until });
  return {
    ...{ schemaVersion: 1, kind: "schedule", name },
    ...{ schedule: schedule.schedule, timeZone: clock.timeZone, cluster, location: bucket.location },
    paused: pause.paused,
    lastBackup: last?.backup,
    next: next && timestamp(next),
    missed: missed.map(timestamp),
  };
}

/** By their names: Velero's backups of a schedule of that name are among them. */
async function newestCommitted(bucket: Bucket, schedule: string, signal?: AbortSignal) {
  const folder = "backups/";
  const found: { name: string; slot: Date }[] = [];
  for await (const { prefix } of bucket.list(`${folder}${schedule}-`, { delimiter: "/", signal })) {
    const name = prefix?.slice(folder.length, -1) ?? "";
    const read = readScheduledName(name);
    if (read?.schedule === schedule) found.push({ name, slot: read.slot });
  }
  for (const { name, slot } of found.reverse()) {
    const backup = await committed(bucket, name, signal);
    if (backup) return { backup, slot };
  }
  return undefined;
}

/** Undefined for what an interrupted run left, or one that is under way. */
async function committed(bucket: Bucket, name: string, signal?: AbortSignal): Promise<ScheduleDocument["lastBackup"]> {
  try {
    const { status = {} } = await readBackup(bucket, name, signal);
    return { name, phase: status.phase ?? "", startTimestamp: status.startTimestamp };
  } catch (error) {
    if (isLifeboatError(error, "missing")) return undefined;
    rowProblem(error);
    return { name, phase: "Unreadable" };
  }
}
