/** By how many minutes a zone is ahead of UTC, each offset once, in the year that begins at `from`. */
export function offsetsOf(timeZone: string, from: Date): number[] {
  const text = new Intl.DateTimeFormat("en", { timeZone, timeZoneName: "longOffset" });
  const offsets = new Set<number>();
  for (let week = 0; week <= 52; week++) {
    const date = new Date(from.getTime() + week * 7 * 86_400_000);
    const name = text.formatToParts(date).find(({ type }) => type === "timeZoneName")?.value ?? "";
    const [, sign, hours = 0, minutes = 0] = /^GMT(?:([-+])(\d\d):(\d\d))?/.exec(name) ?? [];
    offsets.add((sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) || 0);
  }
  return [...offsets];
}
