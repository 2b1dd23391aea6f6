import timers from "node:timers/promises";
import {
  type Bucket,
  type Config,
  type Job,
  type Jobs,
  lastSlot,
  missedSlots,
  readClock,
  readPause,
  type Schedule,
} from "../../../core/index.ts";
import type { Timed } from "./runner.ts";

/** However far the next slot is: clocks are set, computers sleep, and configurations change. */
const LONGEST_SLEEP_MS = 60_000;

/** What the clock works with. */
export interface Due<Timed> {
  /** The schedules as they are now. */
  schedules(): Promise<Timed[]>;
  /** Takes a slot that is due; false where it is to be offered again, or a later one in its place. */
  take(schedule: Timed, slot: Date): boolean;
}

/** Offers each schedule's slots as they come due, after `since`, until `signal` aborts. Of several only the newest one. */
export async function runClock<Timed extends Pick<Schedule, "name" | "schedule" | "timeZone">>(
  { schedules, take }: Due<Timed>,
  signal: AbortSignal,
  since: Date,
): Promise<void> {
  const done = new Map<string, Date>();
  for (let time = since; !signal.aborted; time = new Date()) {
    let wake = time.getTime() + LONGEST_SLEEP_MS;
    for (const schedule of await schedules()) {
      const clock = readClock(schedule);
      const after = done.get(schedule.name);
      if (!after) done.set(schedule.name, time);
      const slot = clock.last(time);
      if (after && slot && slot > after && take(schedule, slot)) done.set(schedule.name, slot);
      wake = Math.min(wake, clock.next(time)?.getTime() ?? wake);
    }
    await timers.setTimeout(Math.max(wake - Date.now(), 0), undefined, { signal }).catch(() => {});
  }
}

/**
 * What runs on a schedule beside backups, and how it is begun for a slot. Runs at once are no harm: what comes late finds
 * nothing left to delete, or that its slot is done.
 */
export function timedJobs({ retentionSchedule, verify }: Pick<Config, "retentionSchedule" | "verify">, jobs: Jobs) {
  const begin = (job: (slot: string) => Job) => (slot: Date) => {
    void jobs.enqueue(job(slot.toISOString()));
    return true;
  };
  const timed = [
    { name: "retention", schedule: retentionSchedule, begin: begin(() => ({ kind: "retention" })) },
    { name: "verify", schedule: verify?.schedule, begin: begin((slot) => ({ kind: "verify", slot })) },
  ];
  return timed.flatMap(({ schedule, ...one }) => (schedule === undefined ? [] : [{ ...one, schedule }]));
}

/** The slots of a schedule since its newest backup, up to `now`, that have none. Throws what the bucket throws. */
export async function missedBy(bucket: Bucket, schedule: Timed, now: Date, signal: AbortSignal): Promise<Date[]> {
  const { paused, at } = await readPause(bucket, schedule, signal);
  const newest = await lastSlot(bucket, schedule, now, signal);
  return paused ? [] : missedSlots(readClock(schedule), { newest, since: at, until: now });
}
