import type { Period } from "./rules.ts";

const DAY_MS = 24 * 3_600_000;

const formats = new Map<string, Intl.DateTimeFormat>();

/**
 * The hour, day, ISO week, month and year that a time lies in, by the clocks of a time zone: "2026-10-25T02:00+02:00",
 * "2026-10-25", "2026-W43", "2026-10", "2026". An hour bears its offset from UTC, so that of the two hours where clocks
 * are put back each is one.
 */
export function periodsOf(time: Date, timeZone: string): Record<Period, string> {
  const parts = Object.fromEntries(
    formatOf(timeZone)
      .formatToParts(time)
      .map(({ type, value }) => [type, value]),
  );
  const { year = "", month = "", day = "", hour = "", timeZoneName = "" } = parts;
  const date = `${year.padStart(4, "0")}-${month}-${day}`;
  return {
    hourly: `${date}T${hour}:00${timeZoneName.replace("GMT", "") || "+00:00"}`,
    daily: date,
    weekly: weekOf(Date.parse(`${date}T00:00:00Z`)),
    monthly: date.slice(0, 7),
    yearly: date.slice(0, 4),
  };
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone);
  if (known) return known;
  const format = new Intl.DateTimeFormat("en-US", {
    ...{ timeZone, calendar: "gregory", numberingSystem: "latn", hourCycle: "h23", timeZoneName: "longOffset" },
    ...{ year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit" },
  });
  formats.set(timeZone, format);
  return format;
}

/** The ISO week of a day: it belongs to the year that its Thursday lies in. */
function weekOf(midnight: number): string {
  const weekday = (new Date(midnight).getUTCDay() + 6) % 7;
  const thursday = new Date(midnight + (3 - weekday) * DAY_MS);
  const year = thursday.getUTCFullYear();
  const week = Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / (7 * DAY_MS)) + 1;
  return `${year}-W${String(week).padStart(2, "0")}`;
}
