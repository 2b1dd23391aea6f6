import type { Config } from "../config.ts";
import type { Job } from "../job.ts";
import { readClock } from "./cron.ts";

/** A clock may tell of its last time a moment late, and of this one a moment early. */
const SLACK_MS = 60_000;
/** What lies further back was missed, not merely told late. */
const LATE_MS = 600_000;
/** A clock that has never told before can't say since when nobody has looked. */
const LONGEST_MS = 31 * 24 * 3600 * 1000;

/**
 * A backup job for each schedule that has come due since `since`: of several slots the newest one, and none that was
 * missed where the schedule says `skipImmediately`. The same slot told twice makes one backup.
 */
export function dueJobs({ schedules }: Config, since: Date, now: Date): Job[] {
  const told = now.getTime() - since.getTime();
  const back = Number.isFinite(told) && told < LONGEST_MS ? told + SLACK_MS : LATE_MS;
  return Object.values(schedules).flatMap((schedule) => {
    const slot = readClock(schedule).last(now);
    const age = slot ? now.getTime() - slot.getTime() : Number.POSITIVE_INFINITY;
    if (schedule.paused || age > back || (schedule.skipImmediately && age > LATE_MS)) return [];
    return [{ kind: "backup", schedule: schedule.name, slot: slot!.toISOString() }];
  });
}
