import type { Config } from "../config.ts";
import { everySchedule } from "../configured.ts";
import { LifeboatError } from "../errors.ts";
import { type CronFields, type Numbers, readTiming, type Written } from "./cron.ts";
import { cloudScheduler, eventBridge, ncrontab, platformZone } from "./dialects.ts";
import { gapsOf, offsetsOf } from "./offsets.ts";

/** The clouds whose clocks schedules can be written for. */
export type ClockCloud = "aws" | "gcp" | "azure";

/** What a cloud's clock sends, but for the slot, which is the clock's to say. */
type SentJob = ({ kind: "backup"; schedule: string } | { kind: "retention" } | { kind: "verify" }) & {
  /** Of a fleet. */
  cluster?: string;
};

/** A schedule as the Terraform modules take it. */
export interface Rendered {
  /** In the cloud's own notation; due where one of them is. Azure has one `clock` for all. */
  expressions?: string[];
  time_zone?: string;
  job: SentJob;
  /** The longest time between two slots. */
  interval_seconds: number;
  paused: boolean;
}

/** Variables of the Terraform module of one cloud. */
export interface RenderedSchedules {
  /** Azure's: when its one clock has to look at the schedules, in UTC. */
  clock?: string[];
  schedules: Record<string, Rendered>;
}

/** What Azure's clock does beside: a backup that could not be handed over is tried again, for an hour. */
const AGAIN = "0 */15 * * * *";

/**
 * The configuration's schedules, by their names, for the clock of a cloud, or those of the cluster to which a fleet is narrowed; also `retention` and `verify` where they have
 * a schedule, or `retention_job` and `verify_job` where a schedule has that name.
 *
 * Throws `invalid` with all that the cloud's clock can't be told.
 */
export function renderSchedules(
  config: Pick<Config, "schedules" | "fleet" | "member" | "retentionSchedule" | "verify">,
  target: ClockCloud,
  now = new Date(),
): RenderedSchedules {
  const { member } = config;
  if (member && target === "azure")
    throw new LifeboatError("invalid", "the one clock of Azure's function is that of the whole configuration", {
      hint: "leave --cluster out",
    });
  const all = everySchedule(config);
  const entries: [name: string, written: Written, job: SentJob, paused: boolean][] = all.map((schedule) => [
    schedule.name,
    schedule,
    { kind: "backup", schedule: schedule.name },
    schedule.paused,
  ]);
  for (const [kind, schedule] of [
    ["retention", config.retentionSchedule],
    ["verify", config.verify?.schedule],
  ] as const) {
    const key = all.some(({ name }) => name === kind) ? `${kind}_job` : kind;
    if (schedule !== undefined) entries.push([key, { schedule }, { kind }, false]);
  }

  const clock = new Set<string>();
  const refused: string[] = [];
  const schedules: Record<string, Rendered> = {};
  for (const [name, written, sent, paused] of entries) {
    const job = { ...sent, ...(member && { cluster: member.of }) };
    const common = { job, interval_seconds: longestInterval(written, now), paused };
    try {
      if (target === "azure") {
        for (const expression of ncrontab(written, now)) clock.add(expression);
        schedules[name] = common;
      } else {
        const expressions = (target === "aws" ? eventBridge : cloudScheduler)(written);
        schedules[name] = { expressions, time_zone: platformZone(written), ...common };
      }
    } catch (error) {
      if (!(error instanceof LifeboatError)) throw error;
      refused.push(`${name}: ${error.message}; ${error.hint}`);
    }
  }
  if (refused.length > 0)
    throw new LifeboatError("invalid", "schedules can't be rendered", { hint: refused.join("\n") });
  return target === "azure" ? { clock: [...clock.add(AGAIN)], schedules } : { schedules };
}

const DAY_SECONDS = 86_400;
/** After so many years of the Gregorian calendar the weekdays come again, but for 2100. */
const CYCLE_DAYS = 28 * 365.25;

/** In seconds: no two slots that follow each other are further apart, also where clocks are changed. */
function longestInterval(written: Written, now: Date): number {
  const timing = readTiming(written);
  if ("every" in timing) return timing.every / 1000;
  const { fields, timeZone } = timing;
  const hours = numbersOf(fields.hours, 24);
  const minutes = numbersOf(fields.minutes, 60);
  const times = hours.flatMap((hour) => minutes.map((minute) => hour * 3600 + minute * 60));
  // One time alone is made up for at the end of the gap (`readClock`); of several none is.
  const skipsDays =
    times.length > 1 && gapsOf(timeZone, now).some(({ first, end }) => first <= times[0]! && times.at(-1)! < end);
  const days = longestDays(fields, skipsDays ? 2 : 1);
  const overNight = days * DAY_SECONDS - times.at(-1)! + times[0]!;
  const longest = times.reduce((most, time, at) => Math.max(most, time - (times[at - 1] ?? time)), overNight);
  const offsets = offsetsOf(timeZone, now);
  const putBack = (Math.max(...offsets) - Math.min(...offsets)) * 60;
  const isHourly = fields.hours === "*" && days === 1;
  return isHourly && putBack % 3600 === 0 ? longest : longest + putBack;
}

/** How many days there are at most from one that matches to the next, or, with `later` 2, to the one after that. */
function longestDays({ days, months, weekdays }: CronFields, later: 1 | 2): number {
  const matches = (numbers: Numbers, number: number) => numbers === "*" || numbers.includes(number);
  const matched: number[] = [];
  let longest: number = later;
  for (let day = 0; day <= 2 * CYCLE_DAYS; day++) {
    const date = new Date(day * DAY_SECONDS * 1000);
    if (!matches(months, date.getUTCMonth() + 1)) continue;
    const [byDay, byWeekday] = [matches(days, date.getUTCDate()), matches(weekdays, date.getUTCDay())];
    if (!(days === "*" || weekdays === "*" ? byDay && byWeekday : byDay || byWeekday)) continue;
    matched.push(day);
    if (matched.length > later) longest = Math.max(longest, day - matched.shift()!);
  }
  return longest;
}

function numbersOf(numbers: Numbers, count: number): readonly number[] {
  return numbers === "*" ? [...Array(count).keys()] : numbers;
}
