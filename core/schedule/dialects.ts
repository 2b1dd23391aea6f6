import { LifeboatError } from "../errors.ts";
import { type CronFields, hasDay, type Numbers, readTiming, type Written } from "./cron.ts";
import { offsetsOf } from "./offsets.ts";

const MINUTE_MS = 60_000;
const DAY_MINUTES = 1440;
const ALWAYS: CronFields = { minutes: "*", hours: "*", days: "*", months: "*", weekdays: "*" };

/**
 * A schedule for EventBridge Scheduler: `cron(minutes hours day-of-month month day-of-week year)`, all of them together,
 * in `platformZone`. Sunday is 1, and of the two kinds of days one must be `?`, so a schedule of both becomes two.
 *
 * Throws `invalid` for what `readTiming` doesn't take, and for an `@every` that no clock of days and hours can say.
 */
export function eventBridge(written: Written): string[] {
  return byOneKindOfDay(cronsOf(written, "EventBridge Scheduler")).map(({ minutes, hours, days, months, weekdays }) => {
    const weekday = weekdays === "*" ? "?" : text(weekdays.map((day) => day + 1));
    return `cron(${text(minutes)} ${text(hours)} ${weekday === "?" ? text(days) : "?"} ${text(months)} ${weekday} *)`;
  });
}

/** A schedule for Cloud Scheduler: five fields, all of them together, in `platformZone`. Throws as `eventBridge`. */
export function cloudScheduler(written: Written): string[] {
  return cronsOf(written, "Cloud Scheduler").map(fiveFields);
}

/** The zone that the fields of `eventBridge` and `cloudScheduler` are in: UTC for `@every`. */
export function platformZone(written: Written): string {
  const timing = readTiming(written);
  return "every" in timing ? "UTC" : timing.timeZone;
}

/**
 * When a timer of Azure Functions has to look whether a schedule is due, in NCRONTAB, six fields with seconds first, in
 * UTC: its hosts on Linux know no other zone. For a schedule in UTC these are its slots, two expressions where it has both
 * kinds of days, since NCRONTAB wants both to match. For another zone, and for an `@every` that fits into no day, it is
 * every hour, at the minutes at which the schedule can be due, as the zone's offsets are in the year from `now`.
 *
 * Throws `invalid` for what `readTiming` doesn't take.
 */
export function ncrontab(written: Written, now = new Date()): string[] {
  const timing = readTiming(written);
  const offsets = "every" in timing ? [0] : offsetsOf(timing.timeZone, now);
  const crons = "every" in timing ? everyCrons(timing.every) : [timing.fields];
  const exact = crons && offsets.every((offset) => offset === 0);
  const looks = exact ? byOneKindOfDay(crons) : [{ ...ALWAYS, minutes: minutesOf(timing, offsets) }];
  return looks.map((fields) => `0 ${fiveFields(fields)}`);
}

/** The minutes of an hour, in UTC, at which it can be due. */
function minutesOf(timing: { fields: CronFields } | { every: number }, offsets: number[]): Numbers {
  if ("every" in timing) {
    const step = commonDivisor(timing.every / MINUTE_MS, 60);
    return step > 1 ? range(60).filter((minute) => minute % step === 0) : "*";
  }
  const { minutes } = timing.fields;
  if (minutes === "*") return "*";
  const inUTC = offsets.flatMap((offset) => minutes.map((minute) => (((minute - offset) % 60) + 60) % 60));
  return [...new Set(inUTC)].sort((a, b) => a - b);
}

function cronsOf(written: Written, platform: string): CronFields[] {
  const timing = readTiming(written);
  const crons = "every" in timing ? everyCrons(timing.every) : [timing.fields];
  if (crons) return crons;
  throw new LifeboatError("invalid", `${platform} can't be told "${written.schedule}": it fits into no day evenly`, {
    hint: 'write it as five fields, "0 */6 * * *", or @every with whole minutes that divide a day (6h, 90m), or 168h',
  });
}

/** `@every`, in milliseconds, as fields in UTC: one set of them for the hours that have the same minutes. */
function everyCrons(every: number): CronFields[] | undefined {
  const step = every / MINUTE_MS;
  // The epoch was a Thursday.
  if (step === 7 * DAY_MINUTES) return [{ ...ALWAYS, minutes: [0], hours: [0], weekdays: [4] }];
  if (!Number.isInteger(step) || DAY_MINUTES % step !== 0) return undefined;
  const minutesIn = (hour: number) => range(60).filter((minute) => (hour * 60 + minute) % step === 0);
  const alike = Map.groupBy(range(24), (hour) => String(minutesIn(hour)));
  return [...alike.values()].flatMap((hours) => {
    const minutes = minutesIn(hours[0]!);
    return minutes.length ? [{ ...ALWAYS, minutes, hours: hours.length === 24 ? "*" : hours }] : [];
  });
}

/** A day that both of the two match is one slot, and so one backup. */
function byOneKindOfDay(crons: CronFields[]): CronFields[] {
  return crons.flatMap((fields) => {
    if (fields.days === "*" || fields.weekdays === "*") return [fields];
    return [{ ...fields, weekdays: "*" } as const, { ...fields, days: "*" } as const].filter(hasDay);
  });
}

function fiveFields({ minutes, hours, days, months, weekdays }: CronFields): string {
  return [minutes, hours, days, months, weekdays].map(text).join(" ");
}

/** Lists with ranges, which all take alike: no names, no steps. So EventBridge's limit of 256 characters is never reached. */
function text(numbers: Numbers): string {
  if (numbers === "*") return "*";
  const ranges: [from: number, to: number][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([from, to]) => (from === to ? from : `${from}-${to}`)).join();
}

function range(count: number): number[] {
  return [...Array(count).keys()];
}

/** 1 where one of them is no whole number. */
function commonDivisor(a: number, b: number): number {
  return Number.isInteger(a) ? (b === 0 ? a : commonDivisor(b, a % b)) : 1;
}
