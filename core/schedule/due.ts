import type { Config, Schedule } from "../config.ts";
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
  { schedules }: Pick<Config, "schedules">,
  last: Date | undefined,
  now: Date,
): { schedule: Schedule; slot: Date }[] {
  const since = sinceTold(last, now);
  return Object.values(schedules).flatMap((schedule) => {
    const slot = readClock(schedule).last(now);
    const back = schedule.skipImmediately ? since : Math.max(since, LOOK_BACK_MS);
    return slot && now.getTime() - slot.getTime() <= back ? [{ schedule, slot }] : [];
  });
}

/** Whether retention has come due since the clock was told `last`. To be told twice does no harm: nothing is left to delete. */
export function isRetentionDue(
  { retentionSchedule }: Pick<Config, "retentionSchedule">,
  last: Date | undefined,
  now: Date,
): boolean {
  const slot = retentionSchedule === undefined ? undefined : readClock({ schedule: retentionSchedule }).last(now);
  return slot !== undefined && now.getTime() - slot.getTime() <= sinceTold(last, now);
}

function sinceTold(last: Date | undefined, now: Date): number {
  const told = now.getTime() - (last?.getTime() ?? 0);
  return told >= 0 && told < LONGEST_MS ? told + SLACK_MS : USUAL_MS;
}
