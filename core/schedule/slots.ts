import type { Clock } from "./cron.ts";

/** A time as names carry it: YYYYMMDDhhmmss, in UTC. */
export function nameTime(date: Date): string {
  return date.toISOString().slice(0, 19).replace(/\D/g, "");
}

/** The beginning of a name that is made of `subject`, which leaves room for what follows. */
export function nameStem(subject: string): string {
  return subject.slice(0, 190).replace(/[^a-z0-9]+$/, "");
}

/** The name of the backup that a schedule makes for a slot, as Velero's. */
export function scheduledName(schedule: string, slot: Date): string {
  return `${schedule}-${nameTime(slot)}`;
}

/** The schedule and the slot that a backup's name was made of; undefined for any other name. */
export function readScheduledName(name: string): { schedule: string; slot: Date } | undefined {
  const [, schedule, ...parts] = /^(.+)-(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(name) ?? [];
  if (schedule === undefined) return undefined;
  const [year, month, day, hour, minute, second] = parts;
  const slot = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return !Number.isNaN(slot.getTime()) && scheduledName(schedule, slot) === name ? { schedule, slot } : undefined;
}

/** How far the clocks of machines and of buckets may differ, in milliseconds. */
const SKEW_MS = 60_000;

/** Whether a slot had come at a time, which may be another clock's: what lies in a bucket since before is no trace of a run of it. */
export function hasCome(slot: Date, time: Date): boolean {
  return time.getTime() >= slot.getTime() - SKEW_MS;
}

/** More missed slots than these are not counted. */
export const MOST_MISSED = 100;

/**
 * The slots after `newest`, the last one that has a backup, up to and with `until`: oldest first, MOST_MISSED at most.
 * Nothing is missed where there has never been a backup, nor before `since`, when the schedule was last let go on.
 */
export function missedSlots(clock: Clock, range: { newest: Date | undefined; since?: Date; until: Date }): Date[] {
  const { newest, since, until } = range;
  const missed: Date[] = [];
  if (!newest) return missed;
  let slot = clock.next(since && since > newest ? since : newest);
  while (slot && slot <= until && missed.length < MOST_MISSED) {
    missed.push(slot);
    slot = clock.next(slot);
  }
  return missed;
}
