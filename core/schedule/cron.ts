import { Cron } from "croner";
import { parseDuration } from "../duration.ts";
import { LifeboatError } from "../errors.ts";

/** When a schedule is due. Its slots are whole seconds. */
export interface Clock {
  /** The IANA zone that the schedule is written in. */
  readonly timeZone: string;
  /** The first slot after a time; undefined where none is to come. */
  next(after: Date): Date | undefined;
  /** The last slot at or before a time; undefined where there was none. */
  last(atOrBefore: Date): Date | undefined;
}

interface Field {
  name: string;
  min: number;
  max: number;
  /** The name of `min`, of `min` + 1, and so on. */
  names?: string[];
  /** A number above `max` that stands for `min`. */
  alsoMin?: number;
}

const FIELDS: Field[] = [
  { name: "minute", min: 0, max: 59 },
  { name: "hour", min: 0, max: 23 },
  { name: "day of month", min: 1, max: 31 },
  {
    name: "month",
    min: 1,
    max: 12,
    names: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
  },
  { name: "day of week", min: 0, max: 6, names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"], alsoMin: 7 },
];

const DESCRIPTORS: Record<string, string> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};

/** Of January, of February, and so on. */
const MOST_DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const MINUTE_MS = 60_000;
const LONGEST_EVERY_MS = 5 * 366 * 24 * 60 * MINUTE_MS;

/** A schedule as it stands in the configuration. */
export interface Written {
  /** Five fields, a descriptor or `@every d`; a time zone may stand before. */
  schedule: string;
  timeZone?: string;
}

/** What a field matches: everything, or numbers in rising order, at least one. */
export type Numbers = "*" | readonly number[];

/** Cron's five fields; a weekday is 0, Sunday, to 6. A day matches by `days` OR `weekdays` where neither is "*". */
export interface CronFields {
  readonly minutes: Numbers;
  readonly hours: Numbers;
  readonly days: Numbers;
  readonly months: Numbers;
  readonly weekdays: Numbers;
}

/** A schedule as it was read: fields in an IANA zone, or the milliseconds between slots, which are multiples of them since the epoch. */
export type Timing = { readonly timeZone: string } & ({ readonly fields: CronFields } | { readonly every: number });

/**
 * Reads a schedule as Velero writes it: what robfig's standard parser takes, that is five fields (`*`, `?`,
 * lists, ranges, steps, names of months and days), `@hourly` and the like, `@every 6h`, `CRON_TZ=Zone` or `TZ=Zone`
 * before it; also 7 for Sunday. A day matches by day of month OR day of week where neither begins with `*`.
 * Without a zone the fields are in UTC, as in Velero's image. The slots of `@every d` are the multiples of d since the
 * Unix epoch.
 *
 * Throws `invalid` for what can't be read, for less than a minute, and for what is never due.
 */
export function readTiming({ schedule, timeZone }: Written): Timing {
  const refuse = (reason: string, hint = 'write five fields, "0 3 * * *", or @hourly, @daily, @every 6h') =>
    new LifeboatError("invalid", `"${schedule}" is not a schedule: ${reason}`, { hint });
  const [, prefix, text = ""] = /^(?:(?:CRON_)?TZ=(\S*)\s)?(.*)$/s.exec(schedule.trim()) ?? [];
  if (prefix && timeZone && prefix !== timeZone) {
    throw refuse(`it names the time zone ${prefix}, and timeZone is ${timeZone}`, "leave one of them out");
  }
  const zone = prefix || timeZone || "UTC";
  if (!isTimeZone(zone)) throw refuse(`there is no time zone "${zone}"`, "write it like Europe/Berlin, or UTC");

  const spec = text.trim();
  if (spec.startsWith("@every ")) {
    return { timeZone: zone, every: readEvery(spec.slice("@every ".length).trim(), refuse) };
  }
  if (spec.startsWith("@") && !Object.hasOwn(DESCRIPTORS, spec)) {
    throw refuse(`${spec} is unknown`, `use one of ${Object.keys(DESCRIPTORS).join(", ")}, @every`);
  }
  const texts = (DESCRIPTORS[spec] ?? spec).split(/\s+/).filter(Boolean);
  if (texts.length !== FIELDS.length) {
    throw refuse(`it has ${texts.length} ${texts.length === 1 ? "field" : "fields"}, not 5`);
  }
  const [minutes, hours, days, months, weekdays] = texts.map((text, at) => readField(text, FIELDS[at]!, refuse));
  const fields = { minutes, hours, days, months, weekdays } as CronFields;
  if (!hasDay(fields)) throw refuse("no day of the calendar matches it");
  return { timeZone: zone, fields };
}

/** Whether the calendar has a day that the fields match: not so 30 February. */
export function hasDay({ days, months, weekdays }: CronFields): boolean {
  if (days === "*" || weekdays !== "*") return true;
  return MOST_DAYS.some((most, at) => days[0]! <= most && (months === "*" || months.includes(at + 1)));
}

/**
 * The clock of a schedule that `readTiming` takes. Where clocks are put forward, a schedule of one time a day that is
 * skipped is due at the end of the gap (Velero would leave that day out); where they are put back it is due once.
 *
 * Throws as `readTiming`.
 */
export function readClock(written: Written): Clock {
  const timing = readTiming(written);
  return "every" in timing ? everyClock(timing.every, timing.timeZone) : cronClock(timing.fields, timing.timeZone);
}

/** The pattern has only `*` and lists of numbers, which leave croner nothing to read differently. */
function cronClock({ minutes, hours, days, months, weekdays }: CronFields, timeZone: string): Clock {
  const zone = timeZone === "UTC" ? { utcOffset: 0 } : { timezone: timeZone };
  const pattern = [minutes, hours, days, months, weekdays].join(" ");
  const cron = new Cron(pattern, { ...zone, mode: "5-part", paused: true });
  return {
    timeZone,
    next: (after) => cron.nextRun(after) ?? undefined,
    last: (atOrBefore) => cron.previousRuns(1, new Date(Math.floor(atOrBefore.getTime() / 1000 + 1) * 1000))[0],
  };
}

function everyClock(every: number, timeZone: string): Clock {
  const slot = (date: Date, ahead: number) => new Date((Math.floor(date.getTime() / every) + ahead) * every);
  return { timeZone, next: (after) => slot(after, 1), last: (atOrBefore) => slot(atOrBefore, 0) };
}

/** In milliseconds, whole seconds. */
function readEvery(text: string, refuse: (reason: string) => LifeboatError): number {
  let duration: number;
  try {
    duration = Math.floor(parseDuration(text) / 1000) * 1000;
  } catch {
    throw refuse(`"${text}" is not a duration`);
  }
  if (duration < MINUTE_MS) throw refuse("it is due more often than once a minute");
  if (!(duration <= LONGEST_EVERY_MS)) throw refuse("it is due less often than once in five years");
  return duration;
}

/** "1-5/2,fri" is [1, 3, 5]. */
function readField(text: string, field: Field, refuse: (reason: string) => LifeboatError): Numbers {
  const numbers = new Set<number>();
  let every = false;
  for (const range of text.split(",").filter(Boolean)) {
    const { start, end, step, star } = readRange(range, field, refuse);
    every ||= star && step === 1;
    for (let number = start; number <= end; number += step) {
      numbers.add(number === field.alsoMin ? field.min : number);
    }
  }
  if (numbers.size === 0) throw refuse(`the ${field.name} "${text}" holds nothing`);
  return every ? "*" : [...numbers].sort((a, b) => a - b);
}

/** `*`, `?`, a number, or a range of two, each perhaps with a step; a number with a step goes on to the field's end. */
function readRange(text: string, field: Field, refuse: (reason: string) => LifeboatError) {
  const { name, min, max, names = [], alsoMin: highest = max } = field;
  const [, from = "", to, by] = /^([*?]|\w+)(?:-(\w+))?(?:\/(\d+))?$/.exec(text) ?? [];
  const star = from === "*" || from === "?";
  if (!from || (star && to !== undefined)) throw refuse(`the ${name} can't be "${text}"`);
  const read = (word: string) => {
    const named = names.indexOf(word.toLowerCase());
    const number = named >= 0 ? named + min : /^\d+$/.test(word) ? Number(word) : Number.NaN;
    if (Number.isNaN(number)) throw refuse(`the ${name} can't be "${word}"`);
    if (number >= min && number <= highest) return number;
    throw refuse(`the ${name} ${number} is not within ${min}-${highest}`);
  };
  const start = star ? min : read(from);
  const end = to !== undefined ? read(to) : star || by !== undefined ? Math.max(max, start) : start;
  const step = Number(by ?? 1);
  if (start > end) throw refuse(`the ${name} "${text}" ends before it begins`);
  if (step === 0) throw refuse(`the ${name} "${text}" has a step of 0`);
  return { start, end, step, star };
}

/** Zones by name only: croner and Intl would take "+02:00" too, Velero does not. */
function isTimeZone(zone: string): boolean {
  if (/^[-+\d]/.test(zone)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}
