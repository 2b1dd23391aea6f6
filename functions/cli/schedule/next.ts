import { anyScheduleOf, everySchedule, LifeboatError, readClock } from "../../../core/index.ts";
import { fleetConfig } from "../config.ts";
import type { Invocation } from "../options.ts";
import { columns, printResult, say, timeText } from "../output.ts";

const MOST = 10_000;

/** `lifeboat schedule next [NAME] [--count N]`: all their slots in the order of time. */
export async function nextSlots({ args, options }: Invocation<{ count?: string }>): Promise<undefined> {
  const count = Number(options.count ?? 5);
  if (!Number.isInteger(count) || count < 1 || count > MOST) {
    throw new LifeboatError("invalid", `--count is "${options.count}"`, { hint: `use a number from 1 to ${MOST}` });
  }
  const config = await fleetConfig(options);
  const name = args[0] as string | undefined;
  const schedules = name === undefined ? everySchedule(config) : [anyScheduleOf(config, name)];
  if (schedules.length === 0) say("The configuration has no schedules");
  const now = new Date();
  const slots = schedules
    .flatMap((schedule) => slotsOf(schedule, now, count))
    .sort((a, b) => (a.slot === b.slot ? 0 : a.slot < b.slot ? -1 : 1));
  await printResult(options.output, { schemaVersion: 1, kind: "slotList", slots }, () =>
    slots.length === 0
      ? ""
      : columns([
          ["SCHEDULE", "TIME", "UTC"],
          ...slots.map(({ schedule, localTime, slot }) => [schedule, localTime, timeText(slot)]),
        ]),
  );
}

/** Those after `now`, at most `count`; `localTime`: "2026-03-29 03:00:00 GMT+2". */
function slotsOf(schedule: ReturnType<typeof everySchedule>[number], now: Date, count: number) {
  const clock = readClock(schedule);
  const local = new Intl.DateTimeFormat("sv-SE", {
    ...{ year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" },
    ...{ timeZone: clock.timeZone, timeZoneName: "shortOffset" },
  });
  const slots: { schedule: string; slot: string; timeZone: string; localTime: string }[] = [];
  for (let slot = clock.next(now); slot && slots.length < count; slot = clock.next(slot)) {
    const time = slot.toISOString().replace(".000Z", "Z");
    slots.push({ schedule: schedule.name, slot: time, timeZone: clock.timeZone, localTime: local.format(slot) });
  }
  return slots;
}
