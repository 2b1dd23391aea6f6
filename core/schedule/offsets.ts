const MINUTE_MS = 60_000;
const WEEK_MS = 7 * 86_400_000;
const DAY_SECONDS = 86_400;

/** By how many minutes a zone is ahead of UTC, each offset once, in the year that begins at `from`. */
export function offsetsOf(timeZone: string, from: Date): number[] {
  const offsetAt = offsetIn(timeZone);
  return [...new Set(weeksFrom(from).map(offsetAt))];
}

/**
 * The times of day, in seconds since midnight, that a zone leaves out where its clocks are put forward, in the year that
 * begins at `from`: from the first one to that at which they go on.
 */
export function gapsOf(timeZone: string, from: Date): { first: number; end: number }[] {
  const offsetAt = offsetIn(timeZone);
  return weeksFrom(from).flatMap((week) => {
    let [before, after] = [week, week + WEEK_MS];
    const forward = (offsetAt(after) - offsetAt(before)) * 60;
    if (forward <= 0) return [];
    const offset = offsetAt(before);
    while (after - before > MINUTE_MS) {
      const middle = Math.floor((before + after) / 2 / MINUTE_MS) * MINUTE_MS;
      if (offsetAt(middle) === offset) before = middle;
      else after = middle;
    }
    const first = ((after + offset * MINUTE_MS) / 1000) % DAY_SECONDS;
    return [{ first, end: first + forward }];
  });
}

/** The beginnings of the weeks of a year, in milliseconds since the epoch, at whole minutes. */
function weeksFrom(from: Date): number[] {
  const start = Math.floor(from.getTime() / MINUTE_MS) * MINUTE_MS;
  return Array.from({ length: 53 }, (_, week) => start + week * WEEK_MS);
}

/** How many minutes a zone is ahead of UTC at a time, in milliseconds since the epoch. */
function offsetIn(timeZone: string): (time: number) => number {
  const text = new Intl.DateTimeFormat("en", { timeZone, timeZoneName: "longOffset" });
  return (time) => {
    const name = text.formatToParts(time).find(({ type }) => type === "timeZoneName")?.value ?? "";
    const [, sign, hours = 0, minutes = 0] = /^GMT(?:([-+])(\d\d):(\d\d))?/.exec(name) ?? [];
    return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) || 0;
  };
}
