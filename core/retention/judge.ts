import { type Pin, pinText } from "../pins.ts";
import { timestamp } from "../timestamp.ts";
import { periodsOf } from "./periods.ts";
import { PERIODS, type Retention } from "./rules.ts";

/** What of a backup decides whether it goes. */
export interface BackupFacts {
  name: string;
  /** Why nothing can be told of it: its record can't be read. */
  problem?: string;
  /** Velero's. */
  phase: string;
  /** Absent where the record tells none. */
  start?: Date;
  /** When its life ends, and by what: "ttl 720h". */
  end?: { at: Date; by: string };
  /** The schedule that it is of. */
  schedule?: string;
  /** Whether Lifeboat made it. Rules of schedules are not for Velero's. */
  own: boolean;
  pin?: Pin;
  /** A verification found it damaged. */
  damaged?: boolean;
  /** Keys are trusted, and none of them has signed it. */
  untrusted?: boolean;
  /** Until when the bucket it was made in holds it against deletion, by its record; a copy may lie in another. */
  retained?: Date;
}

/** The schedules that have rules, by their names. */
export type ScheduleRules = ReadonlyMap<string, { retention: Retention; timeZone: string }>;

export interface Verdict {
  action: "keep" | "delete";
  reason: string;
}

/** Nothing younger is deleted, in milliseconds: who has just made a backup means to have it. */
const GRACE_MS = 3_600_000;

/** Of so many of a schedule's last intervals the longest one is what it usually is. */
const INTERVALS = 10;

const ENDED = ["Completed", "PartiallyFailed", "Failed"];

type Dated = BackupFacts & { start: Date };

/**
 * Which backups go, and why, as of `now`; in the order given. A backup goes where its end has come or, if it is of a
 * schedule with rules, where no rule keeps it, and nothing of this speaks against it: it can't be judged, is pinned, is
 * held by its bucket, is younger than an hour, is the newest good one of its schedule, or its schedule has stopped and it would go
 * by age. What is damaged or not trusted goes when it would go if it were neither, but stands for no other: not as the newest good one,
 * nor in a rule's count. Rules count backups, not days: a clock that is wrong, or a schedule that makes none, costs no backup.
 */
export function judge(now: Date, backups: readonly BackupFacts[], rules: ScheduleRules): Verdict[] {
  const groups = Map.groupBy(backups, ({ schedule, own, name }) => JSON.stringify(schedule ? [schedule, own] : name));
  const verdicts = new Map([...groups.values()].flatMap((group) => judgeGroup(now, group, rules)));
  return backups.map((backup) => verdicts.get(backup)!);
}

/** The backups of one schedule, all ours or all Velero's; or one that is of none. */
function judgeGroup(now: Date, group: BackupFacts[], rules: ScheduleRules): [BackupFacts, Verdict][] {
  const { schedule, own } = group[0]!;
  const rule = schedule && own ? rules.get(schedule) : undefined;
  const sound = group.filter((backup) => faultOf(backup, now) === undefined) as Dated[];
  const newestFirst = sound.sort((a, b) => b.start.getTime() - a.start.getTime() || (a.name < b.name ? 1 : -1));
  const intact = newestFirst.filter(isIntact);
  const byRules = rule && new Map([...keptByRules(newestFirst, rule), ...keptByRules(intact, rule)]);
  const safe = schedule ? newestGood(newestFirst) : undefined;
  const stopped = schedule ? stoppedSince(newestFirst, now) : undefined;

  return group.map((backup) => {
    const fault = faultOf(backup, now);
    if (fault) return [backup, { action: "keep", reason: fault }];
    const verdict = rule ? ruled(byRules?.get(backup), rule.retention) : aged(backup, now);
    if (verdict.action === "keep") return [backup, verdict];
    const reason =
      keptWhatever(backup, now) ??
      (safe?.backup === backup ? safe.reason : undefined) ??
      (stopped && !rule ? `${verdict.reason}, but its schedule has made none since ${timestamp(stopped)}` : undefined);
    return [backup, reason ? { action: "keep", reason } : verdict];
  });
}

/** Why a backup can't be judged. */
function faultOf({ problem, phase, start }: BackupFacts, now: Date): string | undefined {
  if (problem !== undefined) return problem;
  if (!ENDED.includes(phase)) return `its phase is ${phase || "missing"}: that is no backup that has ended`;
  if (!start) return "its record does not tell when it began";
  return start > now ? `it began at ${timestamp(start)}, which is to come: a clock was wrong` : undefined;
}

/**
 * What the rules keep of a schedule's backups, newest first, and which of them do. In each period the newest Completed
 * one stands for it, or, where there is none, the newest PartiallyFailed one. Only periods that have a backup count.
 */
function keptByRules(
  newestFirst: Dated[],
  { retention, timeZone }: { retention: Retention; timeZone: string },
): Map<BackupFacts, string> {
  const kept = new Map<BackupFacts, string>();
  const keep = (backup: BackupFacts, why: string) =>
    kept.set(backup, kept.has(backup) ? `${kept.get(backup)}, ${why}` : why);
  const counted = newestFirst
    .filter((backup) => isGood(backup) || isPartial(backup))
    .map((backup) => ({ backup, periods: periodsOf(backup.start, timeZone) }));

  const { keepLast = 0 } = retention;
  for (const [at, { backup }] of counted.slice(0, keepLast).entries()) {
    keep(backup, `among the newest (keepLast ${at + 1} of ${keepLast})`);
  }
  for (const rule of PERIODS) {
    const most = retention[rule] ?? 0;
    const byPeriod = [...Map.groupBy(counted, ({ periods }) => periods[rule])].slice(0, most);
    for (const [at, [period, inIt]] of byPeriod.entries()) {
      const { backup } = inIt.find(({ backup }) => isGood(backup)) ?? inIt[0]!;
      keep(backup, `newest of ${period} (${rule} ${at + 1} of ${most})`);
    }
  }
  return kept;
}

function ruled(why: string | undefined, retention: Retention): Verdict {
  if (why) return { action: "keep", reason: why };
  const rules = Object.entries(retention).flatMap(([rule, most]) => (most ? [`${rule} ${most}`] : []));
  return { action: "delete", reason: `no rule keeps it: ${rules.join(", ")}` };
}

function aged({ end, schedule }: BackupFacts, now: Date): Verdict {
  if (!end) return { action: "keep", reason: `it has no ttl${schedule ? ", and its schedule no retention" : ""}` };
  const { at, by } = end;
  if (at > now) return { action: "keep", reason: `${by} ends at ${timestamp(at)}` };
  return { action: "delete", reason: `${by} ended at ${timestamp(at)}` };
}

function keptWhatever({ pin, retained, start }: BackupFacts, now: Date): string | undefined {
  if (pin) return pinText(pin);
  if (retained && retained > now) return `its record says that its bucket holds it until ${timestamp(retained)}`;
  return start && now.getTime() - start.getTime() < GRACE_MS ? "younger than the grace of 1h" : undefined;
}

/** The backup of a schedule that is kept whatever becomes of the others: one that is damaged or not trusted where there is no other. */
function newestGood(newestFirst: Dated[]): { backup: BackupFacts; reason: string } | undefined {
  const intact = newestFirst.filter(isIntact);
  const good = intact.find(isGood);
  if (good === newestFirst[0] && good) return { backup: good, reason: "newest good backup of the schedule" };
  if (good) {
    const newer = newestFirst.slice(0, newestFirst.indexOf(good));
    const damaged = newer.some(({ damaged }) => damaged) ? " or are damaged" : "";
    const untrusted = newer.some(({ untrusted }) => untrusted) ? " or are not trusted" : "";
    const reason = `newest good backup of the schedule: all newer ones have failed${damaged}${untrusted}`;
    return { backup: good, reason };
  }
  const backup = intact.find(isPartial) ?? newestFirst.find(isGood) ?? newestFirst.find(isPartial);
  return backup && { backup, reason: "newest backup of the schedule, which has no good one" };
}

/**
 * When a schedule made its newest backup, where it should have made another since: that is longer ago than twice the
 * longest of its last intervals. Then it has stopped, or the clock is wrong; either way its backups don't age.
 */
function stoppedSince(newestFirst: Dated[], now: Date): Date | undefined {
  const starts = newestFirst.slice(0, INTERVALS + 1).map(({ start }) => start.getTime());
  const longest = Math.max(...starts.slice(1).map((start, at) => starts[at]! - start));
  return now.getTime() - starts[0]! > 2 * longest && starts.length > 1 ? newestFirst[0]!.start : undefined;
}

function isIntact({ damaged, untrusted }: BackupFacts): boolean {
  return !damaged && !untrusted;
}

function isGood({ phase }: BackupFacts): boolean {
  return phase === "Completed";
}

function isPartial({ phase }: BackupFacts): boolean {
  return phase === "PartiallyFailed";
}
