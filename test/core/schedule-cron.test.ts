import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { readClock } from "../../core/schedule/cron.ts";

/** What robfig/cron 3.0.1, which Velero uses, says comes after 2026-01-28 10:20:30 UTC: its answers, run once. */
const ROBFIG: [schedule: string, next: string][] = [
  ["0 */1 * * *", "2026-01-28 11:00, 2026-01-28 12:00, 2026-01-28 13:00"],
  ["*/15 8-18/2 * * mon-fri", "2026-01-28 10:30, 2026-01-28 10:45, 2026-01-28 12:00"],
  ["0 0 13 * fri", "2026-01-30 00:00, 2026-02-06 00:00, 2026-02-13 00:00"],
  ["0 0 */2 * 1", "2026-01-29 00:00, 2026-01-31 00:00, 2026-02-01 00:00"],
  ["0 0 */1 * 1", "2026-02-02 00:00, 2026-02-09 00:00, 2026-02-16 00:00"],
  ["0 0 1-7 * *,1", "2026-02-01 00:00, 2026-02-02 00:00, 2026-02-03 00:00"],
  ["0 0 ? * 2", "2026-02-03 00:00, 2026-02-10 00:00, 2026-02-17 00:00"],
  ["30 4 1,15 * 5", "2026-01-30 04:30, 2026-02-01 04:30, 2026-02-06 04:30"],
  ["1/20 * * * *", "2026-01-28 10:21, 2026-01-28 10:41, 2026-01-28 11:01"],
  ["5-50/15 3 * * *", "2026-01-29 03:05, 2026-01-29 03:20, 2026-01-29 03:35"],
  ["0 0 31 * *", "2026-01-31 00:00, 2026-03-31 00:00, 2026-05-31 00:00"],
  ["0 0 29 2 *", "2028-02-29 00:00, 2032-02-29 00:00, 2036-02-29 00:00"],
  ["0 12 * JAN,jul SAT", "2026-01-31 12:00, 2026-07-04 12:00, 2026-07-11 12:00"],
  ["0 0 1 1 ?", "2027-01-01 00:00, 2028-01-01 00:00, 2029-01-01 00:00"],
  ["0 6/8 * * *", "2026-01-28 14:00, 2026-01-28 22:00, 2026-01-29 06:00"],
  ["59 23 31 12 *", "2026-12-31 23:59, 2027-12-31 23:59, 2028-12-31 23:59"],
  ["0 0 * * 1/2", "2026-01-30 00:00, 2026-02-02 00:00, 2026-02-04 00:00"],
  ["0 0 * 2/5 1-3", "2026-02-02 00:00, 2026-02-03 00:00, 2026-02-04 00:00"],
  ["1,,2 0 * * *", "2026-01-29 00:01, 2026-01-29 00:02, 2026-01-30 00:01"],
  ["@yearly", "2027-01-01 00:00, 2028-01-01 00:00, 2029-01-01 00:00"],
  ["@annually", "2027-01-01 00:00, 2028-01-01 00:00, 2029-01-01 00:00"],
  ["@monthly", "2026-02-01 00:00, 2026-03-01 00:00, 2026-04-01 00:00"],
  ["@weekly", "2026-02-01 00:00, 2026-02-08 00:00, 2026-02-15 00:00"],
  ["@daily", "2026-01-29 00:00, 2026-01-30 00:00, 2026-01-31 00:00"],
  ["@midnight", "2026-01-29 00:00, 2026-01-30 00:00, 2026-01-31 00:00"],
  ["@hourly", "2026-01-28 11:00, 2026-01-28 12:00, 2026-01-28 13:00"],
  ["CRON_TZ=Asia/Tokyo 0 9 * * *", "2026-01-29 00:00, 2026-01-30 00:00, 2026-01-31 00:00"],
  ["TZ=America/New_York 30 22 * * sun", "2026-02-02 03:30, 2026-02-09 03:30, 2026-02-16 03:30"],
  ["CRON_TZ=Asia/Kolkata @daily", "2026-01-28 18:30, 2026-01-29 18:30, 2026-01-30 18:30"],
  ["TZ= 0 5 * * *", "2026-01-29 05:00, 2026-01-30 05:00, 2026-01-31 05:00"],
];

/** What clocks do that are not robfig's, or where robfig does otherwise, from a time in UTC. */
const OWN: [what: string, schedule: string, timeZone: string | undefined, after: string, next: string][] = [
  ["7 is Sunday", "0 0 * * 7", undefined, "2026-01-28 10:20", "2026-02-01 00:00, 2026-02-08 00:00"],
  ["to 7 is to Sunday", "0 0 * * 6-7", undefined, "2026-01-28 10:20", "2026-01-31 00:00, 2026-02-01 00:00"],
  ["timeZone", "0 9 * * *", "Asia/Tokyo", "2026-01-28 10:20", "2026-01-29 00:00, 2026-01-30 00:00"],
  ["both zones, the same", "TZ=Asia/Tokyo 0 9 * * *", "Asia/Tokyo", "2026-01-28 10:20", "2026-01-29 00:00"],
  ["multiples since the epoch", "@every 6h", undefined, "2026-01-28 10:20", "2026-01-28 12:00, 2026-01-28 18:00"],
  ["of whole seconds", "@every 1h30m0.9s", undefined, "1970-01-01 00:00", "1970-01-01 01:30, 1970-01-01 03:00"],
  ["whatever the zone", "CRON_TZ=Asia/Kolkata @every 24h", undefined, "2026-01-28 10:20", "2026-01-29 00:00"],
  [
    "skipped, at the gap's end",
    "30 2 * * *",
    "Europe/Berlin",
    "2026-03-28 12:00",
    "2026-03-29 01:00, 2026-03-30 00:30",
  ],
  ["told twice, once", "30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", "2026-10-25 00:30, 2026-10-26 01:30"],
  ["hourly, over a gap", "0 * * * *", "Europe/Berlin", "2026-03-29 00:00", "2026-03-29 01:00, 2026-03-29 02:00"],
  ["hourly, in both hours", "0 * * * *", "Europe/Berlin", "2026-10-24 23:30", "2026-10-25 00:00, 2026-10-25 01:00"],
];

const REFUSED: [schedule: string, reason: RegExp][] = [
  ["", /it has 0 fields, not 5/],
  ["* * * *", /it has 4 fields/],
  ["0 0 * * * *", /it has 6 fields/],
  ["@reboot", /@reboot is unknown/],
  ["@every", /@every is unknown/],
  ["@every 5 minutes", /"5 minutes" is not a duration/],
  ["@every 59s", /more often than once a minute/],
  ["@every 999999h", /less often than once in five years/],
  ["0 0 L * *", /the day of month can't be "L"/],
  ["0 0 15W * *", /the day of month can't be "15W"/],
  ["0 0 * * 5#2", /the day of week can't be "5#2"/],
  ["0 0 * * 5L", /the day of week can't be "5L"/],
  ["0 0 * * funday", /the day of week can't be "funday"/],
  ["0 0 jan * *", /the day of month can't be "jan"/],
  ["60 * * * *", /the minute 60 is not within 0-59/],
  ["0 24 * * *", /the hour 24 is not within 0-23/],
  ["0 0 0 * *", /the day of month 0 is not within 1-31/],
  ["0 0 * 13 *", /the month 13 is not within 1-12/],
  ["0 0 * * 8", /the day of week 8 is not within 0-7/],
  ["-1 * * * *", /the minute can't be "-1"/],
  ["5-1 * * * *", /"5-1" ends before it begins/],
  ["1-2-3 * * * *", /the minute can't be "1-2-3"/],
  ["1/2/3 * * * *", /the minute can't be "1\/2\/3"/],
  ["*/0 * * * *", /has a step of 0/],
  [", * * * *", /the minute "," holds nothing/],
  ["0 0 30 2 *", /no day of the calendar matches it/],
  ["0 0 31 4,6,9,11 *", /no day of the calendar matches it/],
  ["CRON_TZ=Europe/Berlin", /it has 1 field, not 5/],
  ["CRON_TZ=Nowhere/City 0 0 * * *", /there is no time zone "Nowhere\/City"/],
  ["TZ=+02:00 0 0 * * *", /there is no time zone "\+02:00"/],
];

const time = (text: string) => new Date(`${text.replace(" ", "T")}Z`);

function slots(schedule: { schedule: string; timeZone?: string }, after: Date, count: number): string {
  const clock = readClock(schedule);
  const texts: string[] = [];
  for (let at = clock.next(after); at && texts.length < count; at = clock.next(at)) {
    texts.push(at.toISOString().replace("T", " ").replace(":00.000Z", ""));
  }
  return texts.join(", ");
}

describe("the clock of a schedule", () => {
  for (const [schedule, next] of ROBFIG) {
    it(`is robfig's: ${schedule}`, () => {
      assert.equal(slots({ schedule }, time("2026-01-28 10:20:30"), 3), next);
    });
  }

  for (const [what, schedule, timeZone, after, next] of OWN) {
    it(`${what}: ${schedule}`, () => {
      assert.equal(slots({ schedule, timeZone }, time(after), next.split(",").length), next);
    });
  }

  for (const [schedule, message] of REFUSED) {
    it(`refuses "${schedule}"`, () => {
      assert.throws(() => readClock({ schedule }), { name: "LifeboatError", kind: "invalid", message });
    });
  }

  it("refuses two zones that differ", () => {
    assert.throws(() => readClock({ schedule: "TZ=Asia/Tokyo @daily", timeZone: "UTC" }), {
      kind: "invalid",
      message: /it names the time zone Asia\/Tokyo, and timeZone is UTC/,
    });
  });

  it("goes forth and back over the same slots, in every zone and over changes of the clocks", () => {
    const field = (min: number, max: number) =>
      fc.oneof(
        fc.constant("*"),
        fc.integer({ min: 2, max: 15 }).map((step) => `*/${step}`),
        fc.uniqueArray(fc.integer({ min, max }), { minLength: 1, maxLength: 3 }).map(String),
      );
    const schedules = fc.oneof(
      fc.tuple(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)).map((fields) => fields.join(" ")),
      fc.integer({ min: 1, max: 5000 }).map((minutes) => `@every ${minutes}m`),
    );
    const zones = fc.constantFrom("UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe");
    const days = fc.constantFrom("2026-03-29 00:00", "2026-10-25 00:00", "2026-04-04 14:00", "2027-01-01 00:00");
    const times = fc.tuple(days, fc.integer({ min: -7_200_000, max: 10_800_000 }));
    fc.assert(
      fc.property(schedules, zones, times, (schedule, timeZone, [day, offset]) => {
        const clock = readClock({ schedule, timeZone });
        const at = new Date(time(day).getTime() + offset);
        const next = clock.next(at)!;
        assert.ok(next > at);
        assert.deepEqual(clock.last(next), next);
        const last = clock.last(at)!;
        assert.ok(last <= at);
        assert.deepEqual(clock.next(last), next);
      }),
      { numRuns: 300 },
    );
  });
});
