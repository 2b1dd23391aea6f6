import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type BackupFacts, judge, type ScheduleRules } from "../../core/retention/judge.ts";
import { periodsOf } from "../../core/retention/periods.ts";
import { PERIODS, type Retention } from "../../core/retention/rules.ts";
import { readClock } from "../../core/schedule/cron.ts";
import { anyRetention, DAY_MS, HOUR_MS, ZONES } from "./retention-sample.ts";

const CRONS = ["0 * * * *", "0 */6 * * *", "30 2 * * *", "0 4 * * sun", "0 3 1 * *", "@every 8h"] as const;

const RUNS = 60;

/** What happens at a slot: how the backup ends, if there is one, how late it begins, what else is done to it. */
interface Turn {
  phase: "Completed" | "PartiallyFailed" | "none";
  late: number;
  /** A verification finds it damaged before retention is run. */
  damaged: boolean;
  pinned: boolean;
  unpins: boolean;
  retainedDays: number;
  /** Whether retention is run after it, and how much later. */
  retention: number | undefined;
}

const turn: fc.Arbitrary<Turn> = fc.record({
  phase: fc.constantFrom("Completed", "Completed", "Completed", "PartiallyFailed", "none"),
  late: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.double({ min: 0, max: 0.9, noNaN: true })),
  damaged: fc.nat(6).map((n) => n === 0),
  pinned: fc.nat(20).map((n) => n === 0),
  unpins: fc.nat(30).map((n) => n === 0),
  retainedDays: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.nat(400)),
  retention: fc.option(fc.double({ min: 0, max: 2, noNaN: true }), { freq: 2 }),
});

interface Life {
  cron: (typeof CRONS)[number];
  timeZone: (typeof ZONES)[number];
  retention: Retention;
  begin: Date;
  turns: Turn[];
}

const life: fc.Arbitrary<Life> = fc.record({
  cron: fc.constantFrom(...CRONS),
  timeZone: fc.constantFrom(...ZONES),
  retention: anyRetention,
  begin: fc.date({ min: new Date("2026-01-01"), max: new Date("2030-01-01"), noInvalidDate: true }),
  turns: fc.array(turn, { minLength: 1, maxLength: 150, size: "max" }),
});

/** What there is at a run of retention: all that was ever made, what of it is left, and the time. */
interface Moment {
  now: Date;
  made: BackupFacts[];
  left: BackupFacts[];
}

/** Lives through the turns; at each run of retention `check` sees what is there before, and what is deleted. */
function live(
  { cron, timeZone, begin, turns }: Life,
  judged: (moment: Moment) => BackupFacts[],
  check: (moment: Moment, deleted: Set<BackupFacts>) => void,
): void {
  const clock = readClock({ schedule: cron, timeZone });
  const made: BackupFacts[] = [];
  let left: BackupFacts[] = [];
  let slot = clock.next(begin)!;
  for (const { phase, late, damaged, pinned, unpins, retainedDays, retention } of turns) {
    const next = clock.next(slot)!;
    const interval = next.getTime() - slot.getTime();
    const start = new Date(slot.getTime() + Math.floor((late * interval) / 1000) * 1000);
    if (phase !== "none") {
      const retained = retainedDays ? new Date(start.getTime() + retainedDays * DAY_MS) : undefined;
      const pin = pinned ? {} : undefined;
      made.push({ name: `s-${made.length}`, phase, start, schedule: "s", own: true, retained, pin, damaged });
      left.push(made.at(-1)!);
    }
    if (unpins) for (const backup of left) delete backup.pin;
    if (retention !== undefined) {
      const now = new Date(start.getTime() + retention * interval);
      const moment = { now, made: made.filter((backup) => backup.start! <= now), left };
      const deleted = new Set(judged(moment));
      check(moment, deleted);
      left = left.filter((backup) => !deleted.has(backup));
    }
    slot = next;
  }
}

function goes(now: Date, backups: BackupFacts[], rules: ScheduleRules): BackupFacts[] {
  const verdicts = judge(now, backups, rules);
  return backups.filter((_, at) => verdicts[at]?.action === "delete");
}

const newestFirst = (backups: BackupFacts[]) => backups.toSorted((a, b) => b.start!.getTime() - a.start!.getTime());
const isIntact = ({ damaged }: BackupFacts) => !damaged;
const isGood = ({ phase, damaged }: BackupFacts) => phase === "Completed" && !damaged;
/** The backup of a schedule that must stay: an intact one, if there is one, Completed, if there is one. */
const safest = (backups: BackupFacts[]) =>
  backups.find(isGood) ?? backups.find(isIntact) ?? backups.find(({ phase }) => phase === "Completed") ?? backups[0];

/** Runs a law for many lives under rules. */
function law(what: string, check: (moment: Moment, deleted: Set<BackupFacts>, life: Life) => void) {
  it(what, () => {
    fc.assert(
      fc.property(life, (one) => {
        const rules = new Map([["s", { retention: one.retention, timeZone: one.timeZone }]]);
        live(
          one,
          ({ now, left }) => goes(now, left, rules),
          (moment, deleted) => check(moment, deleted, one),
        );
      }),
      { numRuns: RUNS },
    );
  });
}

describe("years of retention by rules, with failures, damage, pins, locks and late runs", () => {
  law("nothing goes that is pinned, locked, an hour old or to come", ({ now }, deleted) => {
    for (const { pin, retained, start } of deleted) {
      assert.equal(pin, undefined);
      assert.ok(!retained || retained <= now);
      assert.ok(now.getTime() - start!.getTime() >= HOUR_MS);
    }
  });

  law(
    "the newest good backup stays, else the newest partial one, else a damaged one",
    ({ now, made, left }, deleted) => {
      const begun = newestFirst(made.filter(({ start }) => start! <= now));
      const newest = safest(begun);
      assert.ok(!newest || (left.includes(newest) && !deleted.has(newest)));
    },
  );

  law("no good backup goes while all newer ones have failed", ({ left }, deleted) => {
    for (const gone of deleted) {
      assert.ok(!isGood(gone) || left.some((other) => isGood(other) && other.start! > gone.start!));
    }
  });

  law("of each period that a rule speaks of the backup stays that stands for it", (moment, deleted, one) => {
    const counted = newestFirst(moment.made.filter(isIntact)).map((backup) => ({
      backup,
      ...periodsOf(backup.start!, one.timeZone),
    }));
    for (const rule of PERIODS) {
      const periods = [...Map.groupBy(counted, (backup) => backup[rule]).values()].slice(0, one.retention[rule] ?? 0);
      for (const backups of periods) {
        const { backup } = backups.find(({ backup }) => isGood(backup)) ?? backups[0]!;
        assert.ok(moment.left.includes(backup) && !deleted.has(backup), `${backup.name} (${rule})`);
      }
    }
    for (const { backup } of counted.slice(0, one.retention.keepLast ?? 0)) assert.ok(!deleted.has(backup));
  });

  law(
    "no more stay than the rules say, but for those that are kept whatever they say",
    ({ now, left }, deleted, one) => {
      const most = Object.values(one.retention).reduce((sum, count) => sum + count, 0);
      const free = left.filter(({ pin, retained, start }) => {
        const young = now.getTime() - start!.getTime() < HOUR_MS;
        return !pin && !(retained && retained > now) && !young;
      });
      const stays = free.filter((backup) => !deleted.has(backup));
      assert.ok(stays.filter(isIntact).length <= most + 1);
      assert.ok(stays.filter(({ damaged }) => damaged).length <= most + 1);
    },
  );

  law(
    "what is damaged costs no other backup its place, and goes no sooner than if all were good",
    (moment, deleted, one) => {
      const { now, left } = moment;
      const rules = new Map([["s", { retention: one.retention, timeZone: one.timeZone }]]);
      const without = new Set(goes(now, left.filter(isIntact), rules).map(({ name }) => name));
      const mended = left.map((backup) => ({ ...backup, damaged: false }));
      const anyway = new Set(goes(now, mended, rules).map(({ name }) => name));
      // The newest one that is Completed would stay as the newest good one.
      const newest = newestFirst(left).find(({ phase }) => phase === "Completed");
      for (const gone of deleted)
        assert.ok(isIntact(gone) ? without.has(gone.name) : anyway.has(gone.name) || gone === newest);
    },
  );

  law("run again at once, nothing goes", ({ now, left }, deleted, { retention, timeZone }) => {
    const rest = left.filter((backup) => !deleted.has(backup));
    assert.deepEqual(goes(now, rest, new Map([["s", { retention, timeZone }]])), []);
  });

  law(
    "a clock that is years ahead deletes nothing that is not due now",
    ({ now, left }, _, { retention, timeZone }) => {
      const rules = new Map([["s", { retention, timeZone }]]);
      const later = new Date(now.getTime() + 3000 * DAY_MS);
      // The grace and locks end, as they should.
      const settled = left.map(({ retained: _, start, ...backup }) => {
        return { ...backup, start: new Date(start!.getTime() - HOUR_MS) };
      });
      assert.deepEqual(goes(later, settled, rules), goes(now, settled, rules));
    },
  );
});

describe("years of retention by ttl", () => {
  const withTTL = fc.record({ one: life, days: fc.integer({ min: 1, max: 400 }) });

  function aged(backups: BackupFacts[], days: number): BackupFacts[] {
    const end = ({ start }: BackupFacts) => ({ at: new Date(start!.getTime() + days * DAY_MS), by: "ttl" });
    return backups.map((backup) => ({ ...backup, end: end(backup) }));
  }

  function ttlLaw(what: string, check: (moment: Moment, deleted: Set<string>, days: number) => void) {
    it(what, () => {
      fc.assert(
        fc.property(withTTL, ({ one, days }) => {
          const judged = ({ now, left }: Moment) => {
            const names = new Set(goes(now, aged(left, days), new Map()).map(({ name }) => name));
            return left.filter(({ name }) => names.has(name));
          };
          live(one, judged, (moment, deleted) => check(moment, new Set([...deleted].map(({ name }) => name)), days));
        }),
        { numRuns: RUNS },
      );
    });
  }

  ttlLaw("nothing goes before its time, and never the newest good one", ({ now, left }, deleted, days) => {
    for (const { name, start } of left) {
      if (deleted.has(name)) assert.ok(now.getTime() - start!.getTime() >= days * DAY_MS);
    }
    const begun = newestFirst(left.filter(({ start }) => start! <= now));
    const newest = safest(begun);
    assert.ok(!newest || !deleted.has(newest.name));
  });

  ttlLaw("a clock that has jumped ahead, or a schedule that has stopped, costs nothing", ({ now, left }, _, days) => {
    const starts = newestFirst(left).map(({ start }) => start!.getTime());
    const longest = Math.max(0, ...starts.slice(1).map((start, at) => starts[at]! - start));
    const later = new Date(Math.max(now.getTime(), (starts[0] ?? 0) + 2 * longest + 1) + 3000 * DAY_MS);
    assert.deepEqual(
      goes(
        later,
        aged(
          left.map(({ retained: _, pin: __, ...backup }) => backup),
          days,
        ),
        new Map(),
      ),
      [],
    );
  });
});
