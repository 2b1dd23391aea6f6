import { z } from "zod";
import { readBackup, rowProblem } from "../catalog.ts";
import type { Schedule } from "../config.ts";
import { folderNames, readObject } from "../contents.ts";
import { backupDocument } from "../documents.ts";
import { isLifeboatError } from "../errors.ts";
import { distrustOf } from "../integrity/seal.ts";
import { readVerified } from "../integrity/verified.ts";
import { BACKUPS, runFolder, VERIFIED } from "../layout.ts";
import type { Bucket } from "../ports.ts";
import { timestamp } from "../timestamp.ts";
import { type Clock, readClock } from "./cron.ts";
import { readPause } from "./pause.ts";
import { hasCome, missedSlots, readScheduledName } from "./slots.ts";

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
  /** Of a fleet's cluster: that holds for the whole fleet. */
  fleetPaused?: boolean;
  /** Of a fleet: the clusters for which alone it is paused. */
  pausedClusters?: string[];
  /** Its newest backup that was committed. */
  lastBackup?: StandingBackup;
  /**
   * Its newest backup that is Completed, trusted and not known to be damaged, the one above or an older one; of a fleet, of its
   * clusters' the oldest.
   */
  lastGood?: StandingBackup;
  /** Of a fleet: the clusters that have none, or whose location can't be read. */
  withoutGood?: string[];
  /** Of a fleet: what kept clusters from being found, of whose backups nothing is told then; which of its runs can't be read. */
  problems?: string[];
  /** Its newest backup that a job has verified, when, and whether it is good. */
  lastVerified?: { name: string; at: string; ok: boolean };
  /** From one slot to the next, about now. */
  intervalSeconds?: number;
  /** Two of its intervals have passed since its last good backup, or since the first slot where there is none. */
  overdue: boolean;
  /** The newest run since that backup that failed, of a slot or of `schedule run`: its log is that of the backup `name`. */
  lastFailure?: { name: string; slot: string; message: string };
  /** The next slot; absent while it is paused. */
  next?: string;
  /** Slots since the last backup, or, where there is none, since the first run that failed, without a backup. */
  missed: string[];
}

/** A backup of a schedule, and how much is in it: objects, and bytes of JSON. */
export interface StandingBackup {
  name: string;
  phase: string;
  startTimestamp?: string;
  items?: number;
  bytes?: number;
  /** Why it isn't trusted: keys are, and none of them has signed it. */
  distrust?: string;
}

/** A slot of which nothing is known is not missed yet for so long: its run may be under way, no function runs longer. */
const GRACE_MS = 15 * 60_000;

const resultSchema = z.object({ errors: z.array(z.object({ message: z.string() })).min(1) });

/** How a schedule stands at a time; all backups are trusted where no `trustedKeys` are given. Throws what the bucket and `readPause` throw. */
export async function scheduleDocument(
  bucket: Bucket,
  schedule: Schedule,
  now: Date,
  { trustedKeys, signal }: { trustedKeys?: string[]; signal?: AbortSignal } = {},
): Promise<ScheduleDocument> {
  const { name, cluster } = schedule;
  const clock = readClock(schedule);
  const range = { schedule: name, now, trustedKeys, signal };
  const [pause, last] = await Promise.all([readPause(bucket, schedule, signal), newestCommitted(bucket, range)]);
  const [good, lastVerified] = await Promise.all([
    newestCommitted(bucket, range, { good: true }),
    newestVerified(bucket, range),
  ]);
  const failed = await failedRuns(bucket, last?.slot, range);
  const next = pause.paused ? undefined : clock.next(now);
  const first = failed[0] && new Date(failed[0].slot.getTime() - 1);
  const since = missedSlots(clock, { newest: last?.slot ?? first, since: pause.at, until: now });
  const isMissed = (slot: Date) =>
    now.getTime() - slot.getTime() >= GRACE_MS || failed.some((run) => run.slot.getTime() === slot.getTime());
  const missed = pause.paused ? [] : since.filter(isMissed);
  return {
    ...{ schemaVersion: 1, kind: "schedule", name },
    ...{ schedule: schedule.schedule, timeZone: clock.timeZone, cluster, location: bucket.location },
    paused: pause.paused,
    lastBackup: last?.backup,
    lastGood: good?.backup,
    lastVerified,
    ...expectation(clock, now, pause.paused, good?.slot ?? first),
    ...(failed.length && { lastFailure: await failureOf(bucket, failed.at(-1)!, signal) }),
    next: next && timestamp(next),
    missed: missed.map(timestamp),
  };
}

/** How often a backup is expected, and whether it is high time for one. `since`: the slot of the last good one. */
export function expectation(clock: Clock, now: Date, paused: boolean, since: Date | undefined) {
  const last = clock.last(now);
  const next = last && clock.next(last);
  if (!last || !next) return { overdue: false };
  const intervalMs = next.getTime() - last.getTime();
  const overdue = !paused && since !== undefined && now.getTime() - since.getTime() > 2 * intervalMs + GRACE_MS;
  return { intervalSeconds: intervalMs / 1000, overdue };
}

/** The folders in one of the location's that are called as the backups of a schedule's slots up to `now`, oldest first. */
export async function slotFolders(
  bucket: Bucket,
  folder: string,
  { schedule, now, signal }: SlotRange,
): Promise<{ name: string; slot: Date }[]> {
  const names = await folderNames(bucket, folder, { stem: `${schedule}-`, signal });
  return names.flatMap((name) => {
    const read = readScheduledName(name);
    return read?.schedule === schedule && hasCome(read.slot, now) ? { name, slot: read.slot } : [];
  });
}

/** Of which schedule's slots, up to when: whoever may write there can call what he likes by one that lies ahead. */
interface SlotRange {
  schedule: string;
  now: Date;
  signal?: AbortSignal;
}

/** Where there are some, one of them has to have signed a good backup. */
type Trusting = SlotRange & { trustedKeys?: string[] };

/** By their names: Velero's backups of a schedule of that name are among them. */
async function newestCommitted(bucket: Bucket, range: Trusting, { good }: { good?: boolean } = {}) {
  const { trustedKeys, signal } = range;
  const found = await slotFolders(bucket, BACKUPS, range);
  for (const { name, slot } of found.reverse()) {
    const backup = await committed(bucket, name, { trustedKeys, signal });
    if (!backup || (good && (backup.phase !== "Completed" || backup.distrust))) continue;
    if (good && (await readVerified(bucket, name, signal))?.ok === false) continue;
    return { backup, slot };
  }
  return undefined;
}

/** By the backups' names. */
async function newestVerified(bucket: Bucket, range: SlotRange) {
  const name = (await slotFolders(bucket, VERIFIED, range)).at(-1)?.name;
  const verified = name === undefined ? undefined : await readVerified(bucket, name, range.signal);
  return name !== undefined && verified ? { name, at: verified.at, ok: verified.ok } : undefined;
}

/** Undefined for what an interrupted run left, or one that is under way. */
async function committed(
  bucket: Bucket,
  name: string,
  { trustedKeys = [], signal }: { trustedKeys?: string[]; signal?: AbortSignal },
): Promise<ScheduleDocument["lastBackup"]> {
  try {
    const record = await readBackup(bucket, name, signal);
    const { phase, startTimestamp, items, bytes } = backupDocument(record, bucket.location, {
      warnings: [],
      errors: [],
    });
    const distrust = distrustOf(record, trustedKeys);
    return {
      ...{ name, phase, startTimestamp, items },
      ...(bytes !== undefined && { bytes }),
      ...(distrust !== undefined && { distrust }),
    };
  } catch (error) {
    if (isLifeboatError(error, "missing")) return undefined;
    rowProblem(error);
    return { name, phase: "Unreadable" };
  }
}

/** A run that left a result, which it does only where it failed. */
interface FailedRun {
  name: string;
  slot: Date;
  /** Of its newest result. */
  result: string;
}

/** The runs of slots after `newest` that failed, by slot, oldest first. */
async function failedRuns(bucket: Bucket, newest: Date | undefined, { schedule, now, signal }: SlotRange) {
  const prefix = runFolder("backups", `${schedule}-`).slice(0, -1);
  const failed = new Map<string, FailedRun>();
  for await (const { key = "" } of bucket.list(prefix, { signal })) {
    const name = `${schedule}-${key.slice(prefix.length).split("/", 1)[0]}`;
    const read = readScheduledName(name);
    if (!key.endsWith("-result.json") || read?.schedule !== schedule) continue;
    if ((newest && read.slot <= newest) || !hasCome(read.slot, now)) continue;
    failed.set(name, { name, slot: read.slot, result: key });
  }
  return [...failed.values()];
}

async function failureOf(bucket: Bucket, { name, slot, result }: FailedRun, signal?: AbortSignal) {
  const text = (await readObject(bucket, result, signal)).toString();
  let message = `${result} can't be read`;
  try {
    message = resultSchema.parse(JSON.parse(text)).errors[0]!.message;
  } catch {}
  return { name, slot: timestamp(slot), message };
}
