import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type BackupFacts, judge, type ScheduleRules } from "../../core/retention/judge.ts";
import { periodsOf } from "../../core/retention/periods.ts";
import type { Retention } from "../../core/retention/rules.ts";
import { DAY_MS, HOUR_MS, ZONES } from "./retention-sample.ts";

const NOW = new Date("2026-11-24T12:00:00Z");

const PHASES = { C: "Completed", P: "PartiallyFailed", F: "Failed" } as const;

/** "C 11-23T02:00": a backup of the schedule that began then, named by its time. */
function backup(text: string, more: Partial<BackupFacts> = {}): BackupFacts {
  const [phase = "", time = ""] = text.split(" ");
  const start = new Date(`${time.length > 11 ? "" : "2026-"}${time}:00Z`);
  return { name: time, phase: PHASES[phase as "C"], start, schedule: "s", own: true, ...more };
}

function rules(retention: Retention, timeZone = "UTC"): ScheduleRules {
  return new Map([["s", { retention, timeZone }]]);
}

/** The names of what stays, newest first. */
function kept(backups: BackupFacts[], ...given: [ScheduleRules, Date?]): string[] {
  const [ruled, now = NOW] = given;
  const verdicts = judge(now, backups, ruled);
  return backups
    .filter((_, at) => verdicts[at]?.action === "keep")
    .map(({ name }) => name)
    .sort()
    .reverse();
}

const reason = (now: Date, backups: BackupFacts[], given: ScheduleRules) => judge(now, backups, given)[0];

describe("periods", () => {
  const CASES: [time: string, zone: string, periods: string][] = [
    ["2026-11-24T23:59:59Z", "UTC", "2026-11-24T23:00+00:00 2026-11-24 2026-W48 2026-11 2026"],
    ["2026-11-24T23:59:59Z", "Asia/Kolkata", "2026-11-25T05:00+05:30 2026-11-25 2026-W48 2026-11 2026"],
    ["2026-11-22T23:30:00Z", "Europe/Berlin", "2026-11-23T00:00+01:00 2026-11-23 2026-W48 2026-11 2026"],
    ["2027-01-03T12:00:00Z", "UTC", "2027-01-03T12:00+00:00 2027-01-03 2026-W53 2027-01 2027"],
    ["2024-12-30T00:00:00Z", "UTC", "2024-12-30T00:00+00:00 2024-12-30 2025-W01 2024-12 2024"],
    ["2026-10-25T00:30:00Z", "Europe/Berlin", "2026-10-25T02:00+02:00 2026-10-25 2026-W43 2026-10 2026"],
    ["2026-10-25T01:30:00Z", "Europe/Berlin", "2026-10-25T02:00+01:00 2026-10-25 2026-W43 2026-10 2026"],
  ];
  for (const [time, zone, periods] of CASES) {
    it(`${time} in ${zone}`, () => assert.equal(Object.values(periodsOf(new Date(time), zone)).join(" "), periods));
  }

  it("follow one another, also where clocks are put forward and back, and are as long as they should be", () => {
    const longest = { hourly: HOUR_MS, daily: 25 * HOUR_MS, weekly: 7 * DAY_MS + HOUR_MS };
    const times = fc.integer({ min: Date.parse("2026-01-01T00:00:00Z") / 1000, max: 2_200_000_000 });
    fc.assert(
      fc.property(
        fc.constantFrom(...ZONES),
        times,
        fc.integer({ min: 0, max: 8 * 24 * 3600 }),
        (zone, start, later) => {
          const [first, second] = [start, start + later].map((time) => periodsOf(new Date(time * 1000), zone));
          for (const rule of ["daily", "weekly", "monthly", "yearly"] as const)
            assert.ok(first![rule] <= second![rule]);
          for (const [rule, ms] of Object.entries(longest) as ["hourly", number][]) {
            if (later * 1000 >= ms) assert.notEqual(first![rule], second![rule]);
          }
        },
      ),
    );
  });
});

describe("rules", () => {
  const hours = (...times: number[]) => times.map((hour) => backup(`C 11-24T${String(hour).padStart(2, "0")}:00`));
  const days = (...dates: string[]) => dates.map((date) => backup(`C ${date}T03:00`));

  const CASES: [what: string, backups: BackupFacts[], retention: Retention, kept: string[]][] = [
    ["keepLast keeps the newest", hours(1, 2, 3, 4), { keepLast: 2 }, ["11-24T04:00", "11-24T03:00"]],
    [
      "hourly keeps the newest of each hour that has one",
      [...hours(1, 2, 5), backup("C 11-24T05:40"), backup("C 11-24T01:20")],
      { hourly: 3 },
      ["11-24T05:40", "11-24T02:00", "11-24T01:20"],
    ],
    [
      "daily keeps the newest of each day, and days without any don't count",
      [...days("11-01", "11-10", "11-23"), ...hours(1, 2)],
      { daily: 3 },
      ["11-24T02:00", "11-23T03:00", "11-10T03:00"],
    ],
    [
      "weekly goes by ISO weeks, from Monday to Sunday",
      days("11-01", "11-08", "11-09", "11-15", "11-16", "11-23"),
      { weekly: 3 },
      ["11-23T03:00", "11-16T03:00", "11-15T03:00"],
    ],
    ["monthly", days("09-30", "10-01", "10-31", "11-01", "11-23"), { monthly: 2 }, ["11-23T03:00", "10-31T03:00"]],
    [
      "yearly",
      days("2023-05-01", "2024-01-01", "2024-12-31", "2025-12-30", "2026-11-23"),
      { yearly: 3 },
      ["2026-11-23T03:00", "2025-12-30T03:00", "2024-12-31T03:00"],
    ],
    [
      "all rules are looked at, and one is enough",
      days("09-30", "10-30", "10-31", "11-22", "11-23"),
      { keepLast: 1, monthly: 2, hourly: 0 },
      ["11-23T03:00", "10-31T03:00"],
    ],
    [
      "a partial backup counts where no good one stands for the period",
      [
        backup("C 11-20T01:00"),
        backup("P 11-20T05:00"),
        backup("P 11-21T01:00"),
        backup("P 11-21T05:00"),
        ...days("11-22"),
      ],
      { daily: 3 },
      ["11-22T03:00", "11-21T05:00", "11-20T01:00"],
    ],
    [
      "the newest good one stays where all newer ones have failed",
      [backup("C 11-19T01:00"), ...["P 11-20T01:00", "P 11-21T01:00", "P 11-22T01:00"].map((text) => backup(text))],
      { keepLast: 2 },
      ["11-22T01:00", "11-21T01:00", "11-19T01:00"],
    ],
    [
      "a damaged one stands for no other, and stays as long as it would if it were good",
      [
        ...days("11-19", "11-20"),
        backup("C 11-21T03:00", { damaged: true }),
        backup("C 11-22T03:00", { damaged: true }),
        backup("P 11-23T03:00", { damaged: true }),
      ],
      { keepLast: 2 },
      ["11-23T03:00", "11-22T03:00", "11-20T03:00", "11-19T03:00"],
    ],
    [
      "a damaged one does not stand for its period",
      [backup("P 11-20T01:00"), backup("C 11-20T05:00", { damaged: true }), ...days("11-21")],
      { daily: 2 },
      ["11-21T03:00", "11-20T05:00", "11-20T01:00"],
    ],
    [
      "a failed one counts for nothing",
      [...days("11-20", "11-21"), backup("F 11-22T03:00")],
      { keepLast: 1 },
      ["11-21T03:00"],
    ],
  ];
  for (const [what, backups, retention, names] of CASES) {
    it(what, () => assert.deepEqual(kept(backups, rules(retention)), names));
  }

  it("go by the schedule's own time zone", () => {
    const night = [backup("C 11-22T22:30"), backup("C 11-22T23:30"), backup("C 11-23T22:30")];
    assert.deepEqual(kept(night, rules({ daily: 2 }, "Europe/Berlin")), ["11-23T22:30", "11-22T22:30"]);
    assert.deepEqual(kept(night, rules({ daily: 2 })), ["11-23T22:30", "11-22T23:30"]);
  });

  it("keep each of the two hours that are one on the clocks", () => {
    const night = ["10-25T00:10", "10-25T00:50", "10-25T01:10", "10-25T02:10"].map((time) => backup(`C ${time}`));
    assert.deepEqual(kept(night, rules({ hourly: 3 }, "Europe/Berlin")), ["10-25T02:10", "10-25T01:10", "10-25T00:50"]);
  });
});

describe("reasons", () => {
  const old = (more: Partial<BackupFacts> = {}) => backup("C 10-01T03:00", more);
  const newer = backup("C 11-23T03:00");
  const last = rules({ keepLast: 1 });
  const ttl = { at: new Date("2026-10-31T03:00:00Z"), by: "ttl 720h" };
  const none: ScheduleRules = new Map();

  const CASES: [what: string, backups: BackupFacts[], rules: ScheduleRules, verdict: string][] = [
    [
      "a rule",
      [newer],
      rules({ keepLast: 2, daily: 7, weekly: 4 }),
      "keep: among the newest (keepLast 1 of 2), newest of 2026-11-23 (daily 1 of 7), newest of 2026-W48 (weekly 1 of 4)",
    ],
    [
      "no rule",
      [old(), newer],
      rules({ keepLast: 1, daily: 1, yearly: 0 }),
      "delete: no rule keeps it: keepLast 1, daily 1",
    ],
    [
      "a pin",
      [old({ pin: { by: "ann", at: "2026-10-02T00:00:00Z", reason: "the audit" } }), newer],
      last,
      "keep: pinned by ann at 2026-10-02T00:00:00Z: the audit",
    ],
    [
      "a lock",
      [old({ retained: new Date("2027-01-01T00:00:00Z") }), newer],
      last,
      "keep: its record says that its bucket holds it until 2027-01-01T00:00:00Z",
    ],
    [
      "a lock that has ended",
      [old({ retained: new Date("2026-11-01T00:00:00Z") }), newer],
      last,
      "delete: no rule keeps it: keepLast 1",
    ],
    ["the grace", [backup("C 11-24T11:00"), backup("C 11-24T11:59")], last, "delete: no rule keeps it: keepLast 1"],
    ["the grace", [backup("C 11-24T11:01"), backup("C 11-24T11:59")], last, "keep: younger than the grace of 1h"],
    [
      "failures",
      [old(), backup("P 11-23T03:00")],
      last,
      "keep: newest good backup of the schedule: all newer ones have failed",
    ],
    [
      "damage",
      [old({ end: ttl }), backup("C 11-23T03:00", { damaged: true })],
      none,
      "keep: newest good backup of the schedule: all newer ones have failed or are damaged",
    ],
    ["damage", [old({ damaged: true, end: ttl }), newer], none, "delete: ttl 720h ended at 2026-10-31T03:00:00Z"],
    [
      "the last one, which is damaged",
      [old({ damaged: true, end: ttl }), backup("F 11-23T03:00")],
      none,
      "keep: newest backup of the schedule, which has no good one",
    ],
    ["the last one", [old({ end: ttl })], none, "keep: newest good backup of the schedule"],
    [
      "the last one, which is partial",
      [backup("P 10-01T03:00", { end: ttl }), backup("F 11-23T03:00")],
      none,
      "keep: newest backup of the schedule, which has no good one",
    ],
    ["a ttl to come", [newer, old()], none, "keep: it has no ttl, and its schedule no retention"],
    [
      "a ttl to come",
      [backup("C 11-23T03:00", { end: { ...ttl, at: new Date("2026-12-23T03:00:00Z") } })],
      none,
      "keep: ttl 720h ends at 2026-12-23T03:00:00Z",
    ],
    ["a ttl", [old({ end: ttl }), newer], none, "delete: ttl 720h ended at 2026-10-31T03:00:00Z"],
    [
      "a ttl without a schedule",
      [old({ end: ttl, schedule: undefined })],
      last,
      "delete: ttl 720h ended at 2026-10-31T03:00:00Z",
    ],
    ["nothing", [old({ schedule: undefined })], last, "keep: it has no ttl"],
    ["rules, whatever the ttl", [old({ end: ttl })], last, "keep: among the newest (keepLast 1 of 1)"],
    [
      "another schedule",
      [old({ schedule: "constructor" }), newer],
      last,
      "keep: it has no ttl, and its schedule no retention",
    ],
    [
      "Velero's backup of a schedule of that name",
      [old({ own: false }), newer],
      last,
      "keep: it has no ttl, and its schedule no retention",
    ],
    [
      "Velero's backup of a schedule of that name",
      [old({ own: false, end: ttl }), newer],
      last,
      "keep: newest good backup of the schedule",
    ],
    [
      "a record that can't be read",
      [{ name: "x", problem: "x is not JSON", phase: "", own: false }],
      none,
      "keep: x is not JSON",
    ],
    [
      "an unknown phase",
      [old({ phase: "Finalizing", end: ttl }), newer],
      none,
      "keep: its phase is Finalizing: that is no backup that has ended",
    ],
    [
      "no phase",
      [old({ phase: "", end: ttl }), newer],
      none,
      "keep: its phase is missing: that is no backup that has ended",
    ],
    ["no start", [old({ start: undefined, end: ttl }), newer], none, "keep: its record does not tell when it began"],
    [
      "a start to come",
      [backup("C 11-24T12:01"), newer],
      last,
      "keep: it began at 2026-11-24T12:01:00Z, which is to come: a clock was wrong",
    ],
  ];
  for (const [what, backups, given, verdict] of CASES) {
    it(`${what}: ${verdict}`, () => {
      const told = reason(NOW, backups, given);
      assert.equal(`${told?.action}: ${told?.reason}`, verdict);
    });
  }

  it("a backup from the future is nobody's newest", () => {
    const wrong = backup("C 2099-01-01T00:00");
    assert.deepEqual(kept([wrong, old(), newer], last), ["2099-01-01T00:00", "11-23T03:00"]);
  });
});
