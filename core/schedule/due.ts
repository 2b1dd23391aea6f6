import type { Config, FleetSchedule, Schedule } from "../config.ts";
import { everySchedule } from "../configured.ts";
import { LifeboatError } from "../errors.ts";
import { readClock } from "./cron.ts";

/** A clock that fails, or is told late, is made up for so long. What lies further back was missed. */
const LOOK_BACK_MS = 3_600_000;
/** How far a clock's own times may be off. */
const SLACK_MS = 60_000;
/** A clock that has never been told looks back as far as clocks usually tick. */
const USUAL_MS = 900_000;
/** What is told of the last time is not believed beyond this: .NET's first date stands for never. */
const LONGEST_MS = 31 * 24 * 3_600_000;

/**
 * The newest slot of each schedule that has come due by `now`, as of a clock that was told `last`. What it gives may have
 * been given before: slots are told again for an hour, so that a clock that failed loses none, except those of a schedule
 * that says `skipImmediately`.
 */
export function dueSlots(
  config: Pick<Config, "schedules" | "fleet">,
  last: Date | undefined,
  now: Date,
): { schedule: Schedule | FleetSchedule; slot: Date }[] {
  const since = sinceTold(last, now);
  return everySchedule(config).flatMap((schedule) => {
    const slot = readClock(schedule).last(now);
    const back = schedule.skipImmediately ? since : Math.max(since, LOOK_BACK_MS);
    return slot && now.getTime() - slot.getTime() <= back ? [{ schedule, slot }] : [];
  });
}

/** The slot of what follows a schedule of its own, where it has come due since the clock was told `last`; it may be told twice. */
export function dueSlot(schedule: string | undefined, last: Date | undefined, now: Date): Date | undefined {
  const slot = schedule === undefined ? undefined : readClock({ schedule }).last(now);
  return slot && now.getTime() - slot.getTime() <= sinceTold(last, now) ? slot : undefined;
}

function sinceTold(last: Date | undefined, now: Date): number {
  const told = now.getTime() - (last?.getTime() ?? 0);
  return told >= 0 && told < LONGEST_MS ? told + SLACK_MS : USUAL_MS;
}

/** The schedule's last slot at or before the time given. One that lies ahead, as a trigger forced by hand may carry, is none. */
export function slotOf(schedule: Pick<Schedule, "name" | "schedule" | "timeZone">, given: string | undefined): Date {
  const now = Date.now();
  const time = given === undefined ? now : Date.parse(given);
  const due = readClock(schedule).last(new Date(time <= now + SLACK_MS ? time : now));
  if (due) return due;
  throw new LifeboatError("invalid", `schedule "${schedule.name}" (${schedule.schedule}) has never been due`);
}
