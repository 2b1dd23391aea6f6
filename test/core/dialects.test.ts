import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { readClock } from "../../core/schedule/cron.ts";
import { cloudScheduler, eventBridge, ncrontab, platformZone } from "../../core/schedule/dialects.ts";
import { renderSchedules } from "../../core/schedule/render.ts";

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000];

const MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/** What a field of a dialect matches, by its documented grammar: `*`, numbers, ranges, lists, steps, names. Fails on all else. */
function numbersOf(field: string, least: number, most: number, names: string[] = []): Set<number> {
  const numbers = new Set<number>();
  const plain = field.replace(/[a-z]+/gi, (name) => String(names.indexOf(name.toUpperCase()) + least));
  for (const part of plain.split(",")) {
    const [, first, to, step] = /^(\*|\d+)(?:-(\d+))?(?:\/(\d+))?$/.exec(part) ?? [];
    assert.ok(first, `"${part}" is no part of a field`);
    const from = first === "*" ? least : Number(first);
    const end = to !== undefined ? Number(to) : first === "*" || step ? most : from;
    assert.ok(from >= least && from <= end && end <= most, `"${part}" is not within ${least}-${most}`);
    for (let number = from; number <= end; number += Number(step ?? 1)) numbers.add(number);
  }
  return numbers;
}

/** A dialect's expression: the minutes of a day at which it is due, in order, and on which days. */
interface Read {
  times: number[];
  isDay(month: number, day: number, weekday: number): boolean;
}

const timesOf = (minutes: Set<number>, hours: Set<number>) =>
  [...hours].flatMap((hour) => [...minutes].map((minute) => hour * 60 + minute)).sort((a, b) => a - b);

/**
 * https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html: minutes, hours, day-of-month, month,
 * day-of-week, year; days of the week 1-7 from Sunday; one of the two kinds of days is `?`. At most 256 characters:
 * https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
 */
function readEventBridge(text: string): Read {
  assert.ok(text.length <= 256);
  const fields = /^cron\((\S+) (\S+) (\S+) (\S+) (\S+) \*\)$/.exec(text);
  assert.ok(fields, `"${text}" is not EventBridge's`);
  const [minutes, hours, day, month, weekday] = fields.slice(1) as [string, string, string, string, string];
  assert.equal([day, weekday].filter((field) => field === "?").length, 1, `"${text}" wants one ?`);
  const days = day === "?" ? undefined : numbersOf(day, 1, 31);
  const weekdays = weekday === "?" ? undefined : numbersOf(weekday, 1, 7, WEEKDAYS);
  const months = numbersOf(month, 1, 12, MONTHS);
  return {
    times: timesOf(numbersOf(minutes, 0, 59), numbersOf(hours, 0, 23)),
    isDay: (month, day, weekday) => months.has(month) && (days?.has(day) ?? weekdays!.has(weekday + 1)),
  };
}

/**
 * https://cloud.google.com/scheduler/docs/configuring/cron-job-schedules: five fields; a day matches by either kind
 * "unless one or the other field is marked as unrestricted with an asterisk".
 */
function readCloudScheduler(text: string): Read {
  const fields = text.split(" ");
  assert.equal(fields.length, 5);
  const [minutes, hours, day, month, weekday] = fields as [string, string, string, string, string];
  const [days, months] = [numbersOf(day, 1, 31), numbersOf(month, 1, 12, MONTHS)];
  const weekdays = numbersOf(weekday, 0, 7, WEEKDAYS);
  const isWeekday = (number: number) => weekdays.has(number) || (number === 0 && weekdays.has(7));
  const either = day !== "*" && weekday !== "*";
  return {
    times: timesOf(numbersOf(minutes, 0, 59), numbersOf(hours, 0, 23)),
    isDay: (month, day, weekday) =>
      months.has(month) && (either ? days.has(day) || isWeekday(weekday) : days.has(day) && isWeekday(weekday)),
  };
}

/**
 * https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions: six fields, seconds
 * first. NCrontab, which reads them, has Sunday to Saturday as 0 to 6, and wants both kinds of days to match
 * (https://github.com/atifaziz/NCrontab, CrontabFieldImpl.cs and CrontabSchedule.cs).
 */
function readNCrontab(text: string): Read {
  const fields = text.split(" ");
  assert.equal(fields.length, 6);
  assert.equal(fields.shift(), "0");
  const [minutes, hours, day, month, weekday] = fields as [string, string, string, string, string];
  const [days, months] = [numbersOf(day, 1, 31), numbersOf(month, 1, 12, MONTHS)];
  const weekdays = numbersOf(weekday, 0, 6, WEEKDAYS);
  return {
    times: timesOf(numbersOf(minutes, 0, 59), numbersOf(hours, 0, 23)),
    isDay: (month, day, weekday) => months.has(month) && days.has(day) && weekdays.has(weekday),
  };
}

/** The wall clock's times, as if they were UTC, from the day of `from` on at which one of the expressions is due. */
function* wallTimes(expressions: Read[], from: number): Generator<number> {
  for (let midnight = Math.floor(from / DAY) * DAY; ; midnight += DAY) {
    const date = new Date(midnight);
    const [month, day, weekday] = [date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCDay()];
    const due = expressions.filter(({ isDay }) => isDay(month, day, weekday)).map(({ times }) => times);
    const times = due.length > 1 ? [...new Set(due.flat())].sort((a, b) => a - b) : (due[0] ?? []);
    for (const time of times) yield midnight + time * MINUTE;
  }
}

/** By how many milliseconds a zone is ahead of UTC. */
function offsetAt(zone: string): (time: number) => number {
  if (zone === "UTC") return () => 0;
  const format = new Intl.DateTimeFormat("en", {
    ...{ timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric" },
    ...{ hour: "numeric", minute: "numeric" },
  });
  const known = new Map<number, number>();
  const ask = (time: number) => {
    const found = known.get(time);
    if (found !== undefined) return found;
    const part = Object.fromEntries(format.formatToParts(time).map(({ type, value }) => [type, Number(value)]));
    const offset = Date.UTC(part.year!, part.month! - 1, part.day, part.hour, part.minute) - time;
    known.set(time, offset);
    return offset;
  };
  return (time) => ask(Math.floor(time / HOUR) * HOUR);
}

const offsets = new Map<string, ReturnType<typeof offsetAt>>();
const COUNT = 50;

interface Written {
  schedule: string;
  timeZone: string;
}

/** Holds what is rendered to the next slots of the original, leaving out the day before and after clocks are changed. */
function assertRendered([schedule, timeZone]: [string, string], after: number): void {
  const written = { schedule, timeZone };
  const zone = platformZone(written);
  if (!offsets.has(zone)) offsets.set(zone, offsetAt(zone));
  const offset = offsets.get(zone)!;
  const steady = (time: number) => offset(time - 26 * HOUR) === offset(time + 26 * HOUR);
  const clock = readClock(written);
  const slots: number[] = [];
  for (let slot = clock.next(new Date(after)); slots.length < COUNT; slot = clock.next(slot!)) {
    if (steady(slot!.getTime())) slots.push(slot!.getTime());
  }

  const runs = (expressions: Read[]) => {
    const found: number[] = [];
    for (const wall of wallTimes(expressions, after + offset(after))) {
      const time = wall - offset(wall - offset(wall));
      if (time > after && steady(time)) found.push(time);
      if (found.length === COUNT) break;
    }
    return found;
  };
  assert.deepEqual(runs(eventBridge(written).map(readEventBridge)), slots);
  assert.deepEqual(runs(cloudScheduler(written).map(readCloudScheduler)), slots);
  const looks = ncrontab(written, new Date(after)).map(readNCrontab);
  if (zone === "UTC") assert.deepEqual(runs(looks), slots);
  else assert.ok(slots.every((slot) => isDue(looks, slot)));
}

function isDue(expressions: Read[], time: number): boolean {
  const date = new Date(time);
  const minute = (time % DAY) / MINUTE;
  return expressions.some(
    ({ times, isDay }) => isDay(date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCDay()) && times.includes(minute),
  );
}

const field = (least: number, most: number) =>
  fc
    .oneof(
      { weight: 3, arbitrary: fc.constant("*") },
      { weight: 2, arbitrary: fc.integer({ min: least, max: most }).map(String) },
      { weight: 2, arbitrary: fc.integer({ min: 1, max: most }).map((step) => `*/${step}`) },
      {
        weight: 2,
        arbitrary: fc
          .tuple(fc.integer({ min: least, max: most }), fc.integer({ min: least, max: most }))
          .map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
      },
      {
        weight: 1,
        arbitrary: fc
          .tuple(
            fc.integer({ min: least, max: most }),
            fc.integer({ min: least, max: most }),
            fc.integer({ min: 1, max: 9 }),
          )
          .map(([a, b, step]) => `${Math.min(a, b)}-${Math.max(a, b)}/${step}`),
      },
    )
    .chain((part) =>
      fc.oneof(
        { weight: 3, arbitrary: fc.constant(part) },
        { weight: 1, arbitrary: fc.integer({ min: least, max: most }).map((other) => `${part},${other}`) },
      ),
    );
const cron = fc
  .tuple(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
  .map((fields) => fields.join(" "));
const dividesDay = [...Array(1441).keys()].filter((minutes) => minutes > 0 && 1440 % minutes === 0);
const every = fc.constantFrom(...dividesDay, 7 * 1440).map((minutes) => `@every ${minutes}m`);
const expression = fc.oneof({ weight: 19, arbitrary: cron }, { weight: 1, arbitrary: every });
const ZONES = [
  ...["Europe/Berlin", "Europe/London", "America/New_York", "America/St_Johns", "America/Sao_Paulo"],
  ...["Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo", "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Kiritimati"],
];
const inUTC = fc.tuple(expression, fc.constant("UTC"));
const inZone = fc.tuple(expression, fc.constantFrom(...ZONES));
const begin = fc.integer({ min: Date.UTC(2026, 0) / 1000, max: Date.UTC(2030, 0) / 1000 }).map((time) => time * 1000);

/** Those that no day matches are none. */
function isSchedule([schedule, timeZone]: [string, string]): boolean {
  try {
    readClock({ schedule, timeZone });
    return true;
  } catch {
    return false;
  }
}

const texts = (times: Iterable<number>, count: number) => {
  const found: string[] = [];
  for (const time of times) {
    if (found.length === count) break;
    found.push(new Date(time).toISOString().slice(0, 16).replace("T", " "));
  }
  return found.join(", ");
};

/** Of the vendors' documentation, and of NCrontab's own tests: they hold the interpreters above to the platforms. */
const VENDORS: [read: (text: string) => Read, expression: string, from: string, runs: string][] = [
  [readEventBridge, "cron(0 10 * * ? *)", "2026-01-28", "2026-01-28 10:00, 2026-01-29 10:00"],
  [readEventBridge, "cron(0 18 ? * MON-FRI *)", "2026-01-30", "2026-01-30 18:00, 2026-02-02 18:00"],
  [readEventBridge, "cron(0 8 1 * ? *)", "2026-01-28", "2026-02-01 08:00, 2026-03-01 08:00"],
  [readEventBridge, "cron(0/15 * * * ? *)", "2026-01-28", "2026-01-28 00:00, 2026-01-28 00:15"],
  [readEventBridge, "cron(0/5 8-17 ? * MON-FRI *)", "2026-01-31", "2026-02-02 08:00, 2026-02-02 08:05"],
  [readCloudScheduler, "30 16 * * 7", "2026-01-28", "2026-02-01 16:30, 2026-02-08 16:30"],
  [readCloudScheduler, "0 0 1 * SAT", "2026-01-28", "2026-01-31 00:00, 2026-02-01 00:00, 2026-02-07 00:00"],
  [readCloudScheduler, "0 0 1 1 1", "2026-01-01", "2026-01-01 00:00, 2026-01-05 00:00, 2026-01-12 00:00"],
  [readNCrontab, "0 */5 * * * *", "2026-01-28", "2026-01-28 00:00, 2026-01-28 00:05"],
  [readNCrontab, "0 0 9-17 * * *", "2026-01-28", "2026-01-28 09:00, 2026-01-28 10:00"],
  [readNCrontab, "0 30 9 * * 1-5", "2026-01-30", "2026-01-30 09:30, 2026-02-02 09:30"],
  [readNCrontab, "0 30 9 * Jan Mon", "2026-01-20", "2026-01-26 09:30, 2027-01-04 09:30"],
  [readNCrontab, "0 30 6 * * 0", "2003-06-26", "2003-06-29 06:30, 2003-07-06 06:30"],
  [readNCrontab, "0 45 16 1 * Mon", "2003-01-01", "2003-09-01 16:45, 2003-12-01 16:45"],
  [readNCrontab, "0 0 0 29 Feb Mon", "2017-01-01", "2044-02-29 00:00"],
];

/** Each schedule as EventBridge, Cloud Scheduler and a timer of Azure take it. */
const RENDERED: [what: string, schedule: string, zone: string, aws: string, gcp: string, azure: string][] = [
  ["daily", "0 3 * * *", "UTC", "cron(0 3 * * ? *)", "0 3 * * *", "0 0 3 * * *"],
  ["names", "0 3 * JAN,jul sun", "UTC", "cron(0 3 ? 1,7 1 *)", "0 3 * 1,7 0", "0 0 3 * 1,7 0"],
  ["Friday to Sunday", "0 3 * * 5-7", "UTC", "cron(0 3 ? * 1,6-7 *)", "0 3 * * 0,5-6", "0 0 3 * * 0,5-6"],
  ["steps of weekdays", "0 3 * * */2", "UTC", "cron(0 3 ? * 1,3,5,7 *)", "0 3 * * 0,2,4,6", "0 0 3 * * 0,2,4,6"],
  [
    "both kinds of days",
    "0 3 1,15 * 1",
    "UTC",
    "cron(0 3 1,15 * ? *); cron(0 3 ? * 2 *)",
    "0 3 1,15 * 1",
    "0 0 3 1,15 * *; 0 0 3 * * 1",
  ],
  ["a day that never comes", "0 3 30 2 1", "UTC", "cron(0 3 ? 2 2 *)", "0 3 30 2 1", "0 0 3 * 2 1"],
  ["a zone", "30 2 * * *", "Europe/Berlin", "cron(30 2 * * ? *)", "30 2 * * *", "0 30 * * * *"],
  ["half an hour ahead", "0,10 2 * * *", "Asia/Kolkata", "cron(0,10 2 * * ? *)", "0,10 2 * * *", "0 30,40 * * * *"],
  ["by half an hour", "5 2 * * *", "Australia/Lord_Howe", "cron(5 2 * * ? *)", "5 2 * * *", "0 5,35 * * * *"],
  [
    "@every, in UTC",
    "@every 6h",
    "Asia/Tokyo",
    "cron(0 0,6,12,18 * * ? *)",
    "0 0,6,12,18 * * *",
    "0 0 0,6,12,18 * * *",
  ],
  ["a week", "@every 168h", "UTC", "cron(0 0 ? * 5 *)", "0 0 * * 4", "0 0 0 * * 4"],
  ["minutes that differ", "@every 8h30m", "UTC", "invalid", "invalid", "0 0,30 * * * *"],
  [
    "90 minutes",
    "@every 90m",
    "UTC",
    "cron(0 0,3,6,9,12,15,18,21 * * ? *); cron(30 1,4,7,10,13,16,19,22 * * ? *)",
    "0 0,3,6,9,12,15,18,21 * * *; 30 1,4,7,10,13,16,19,22 * * *",
    "0 0 0,3,6,9,12,15,18,21 * * *; 0 30 1,4,7,10,13,16,19,22 * * *",
  ],
  ["@every 7h", "@every 7h", "UTC", "invalid", "invalid", "0 0 * * * *"],
  ["@every 90s", "@every 90s", "UTC", "invalid", "invalid", "0 * * * * *"],
  ["two days", "@every 48h", "UTC", "invalid", "invalid", "0 0 * * * *"],
];

const REFUSED: [schedule: string, reason: RegExp][] = [
  ["0 0 L * *", /the day of month can't be "L"/],
  ["0 0 15W * *", /the day of month can't be "15W"/],
  ["0 0 * * 1#2", /the day of week can't be "1#2"/],
  ["0 0 0 * * *", /it has 6 fields/],
  ["@every 30s", /more often than once a minute/],
];

/** How far slots are apart at most. */
const INTERVALS: [schedule: string, zone: string, seconds: number][] = [
  // From 23:00 on 2 April, in summer time, to 00:00 on 2 March.
  ["0 * 2 3-4 *", "Europe/Berlin", 335 * 86_400 - 23 * 3_600 + 3_600],
  ["0 * * * *", "Europe/Berlin", 3600],
  // The Sunday on which clocks are put forward at one o'clock has none.
  ["0,3 1 * * 0", "Europe/London", 14 * 86_400 - 180 + 3_600],
  ["0,3 2 * * 0", "Europe/London", 7 * 86_400 - 180 + 3_600],
  ["*/5 9-17 * * 1-5", "UTC", (2 * 24 + 15) * 3600 + 300],
  ["30 2 * * *", "UTC", 86_400],
  ["30 2 * * *", "Europe/Berlin", 90_000],
  ["15 * * * *", "Australia/Lord_Howe", 5400],
  ["0 0 1 * *", "UTC", 31 * 86_400],
  ["0 0 29 2 *", "UTC", (4 * 365 + 1) * 86_400],
  ["@every 7h", "UTC", 7 * 3600],
];

const intervalOf = ({ schedule, timeZone }: Written) => {
  const rest = { name: "a", cluster: "a", paused: false, skipImmediately: false, template: {} };
  const schedules = { a: { ...rest, schedule, timeZone } };
  return renderSchedules({ schedules }, "azure", new Date("2026-01-01")).schedules.a!.interval_seconds;
};

describe("schedules in the notations of the clouds' clocks", () => {
  for (const [read, expression, from, runs] of VENDORS) {
    it(`the interpreter is the vendor's: ${expression}`, () => {
      assert.equal(texts(wallTimes([read(expression)], Date.parse(from)), runs.split(",").length), runs);
    });
  }

  for (const [what, schedule, timeZone, aws, gcp, azure] of RENDERED) {
    it(`${what}: ${schedule} in ${timeZone}`, () => {
      const written = { schedule, timeZone };
      for (const [render, wanted] of [
        [eventBridge, aws],
        [cloudScheduler, gcp],
      ] as const) {
        if (wanted !== "invalid") assert.equal(render(written).join("; "), wanted);
        else
          assert.throws(() => render(written), {
            kind: "invalid",
            message: /can't be told "@every .*fits into no day/,
          });
      }
      assert.equal(ncrontab(written, new Date("2026-01-01")).join("; "), azure);
    });
  }

  for (const [schedule, message] of REFUSED) {
    it(`none takes ${schedule}`, () => {
      for (const render of [eventBridge, cloudScheduler, ncrontab]) {
        assert.throws(() => render({ schedule }), { kind: "invalid", message });
      }
    });
  }

  for (const [schedule, timeZone, seconds] of INTERVALS) {
    it(`slots of ${schedule} in ${timeZone} are at most ${seconds} seconds apart`, () => {
      assert.equal(intervalOf({ schedule, timeZone }), seconds);
    });
  }

  it("4,000 in UTC are due when the original is", () => {
    fc.assert(fc.property(inUTC.filter(isSchedule), begin, assertRendered), { numRuns: 4000 });
  });

  it("1,000 in other zones are due when the original is, but for changes of the clocks", () => {
    fc.assert(fc.property(inZone.filter(isSchedule), begin, assertRendered), { numRuns: 1000 });
  });

  it("no two slots are further apart than the interval says, also where clocks are changed", () => {
    const changes = fc.constantFrom("2026-03-27", "2026-10-23", "2026-03-06", "2026-10-30", "2026-04-03");
    fc.assert(
      fc.property(inZone.filter(isSchedule), changes, ([schedule, timeZone], day) => {
        const interval = intervalOf({ schedule, timeZone }) * 1000;
        const clock = readClock({ schedule, timeZone });
        let slot = clock.next(new Date(day))!;
        for (let count = 0; count < COUNT; count++) {
          const next = clock.next(slot)!;
          assert.ok(next.getTime() - slot.getTime() <= interval, `${slot.toISOString()} to ${next.toISOString()}`);
          slot = next;
        }
      }),
      { numRuns: 300 },
    );
  });
});
