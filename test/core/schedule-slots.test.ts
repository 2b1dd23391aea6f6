import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { backupKeys, runKeys } from "../../core/layout.ts";
import type { Bucket } from "../../core/ports.ts";
import { readClock } from "../../core/schedule/cron.ts";
import { isPaused, readPause, setPaused } from "../../core/schedule/pause.ts";
import { MOST_MISSED, missedSlots, readScheduledName, scheduledName } from "../../core/schedule/slots.ts";
import { scheduleDocument } from "../../core/schedule/standing.ts";
import { memoryBucket } from "../memory-bucket.ts";

const hourly = readClock({ schedule: "0 * * * *" });
const at = (time: string) => new Date(`2026-08-21T${time}Z`);

describe("names of scheduled backups", () => {
  it("tell schedule and slot", () => {
    assert.equal(scheduledName("hourly", at("01:00:00")), "hourly-20260821010000");
    assert.deepEqual(readScheduledName("a-b-20260821010000"), { schedule: "a-b", slot: at("01:00:00") });
  });

  it("are read as what they were made of", () => {
    const names = fc.stringMatching(/^[a-z]([-a-z0-9]{0,20}[a-z0-9])?$/);
    const slots = fc.integer({ min: 0, max: 4_000_000_000 }).map((seconds) => new Date(seconds * 1000));
    fc.assert(
      fc.property(names, slots, (schedule, slot) => {
        assert.deepEqual(readScheduledName(scheduledName(schedule, slot)), { schedule, slot });
      }),
    );
  });

  for (const name of ["full", "hourly-2026082101000", "-20260821010000", "hourly-20260231010000", "h-20260821250000"]) {
    it(`"${name}" is none`, () => assert.equal(readScheduledName(name), undefined));
  }
});

describe("missed slots", () => {
  const cases: [
    what: string,
    newest: string | undefined,
    since: string | undefined,
    until: string,
    missed: string[],
  ][] = [
    ["none where there never was a backup", undefined, undefined, "09:00:00", []],
    ["none where the last slot has one", "08:00:00", undefined, "08:59:59", []],
    ["all since the newest backup", "06:00:00", undefined, "08:30:00", ["07:00:00", "08:00:00"]],
    ["the one that is due at this second", "06:00:00", undefined, "07:00:00", ["07:00:00"]],
    ["also after one made by hand between slots", "06:10:00", undefined, "07:30:00", ["07:00:00"]],
    ["none before it was let go on", "02:00:00", "07:30:00", "08:30:00", ["08:00:00"]],
    ["since the backup that came after it was let go on", "08:00:00", "02:00:00", "09:30:00", ["09:00:00"]],
  ];
  for (const [what, newest, since, until, missed] of cases) {
    it(what, () => {
      const range = { newest: newest ? at(newest) : undefined, since: since ? at(since) : undefined, until: at(until) };
      assert.deepEqual(missedSlots(hourly, range), missed.map(at));
    });
  }

  it("are counted up to a bound", () => {
    const range = { newest: new Date(0), until: at("00:00:00") };
    assert.equal(missedSlots(readClock({ schedule: "* * * * *" }), range).length, MOST_MISSED);
  });
});

describe("pausing", () => {
  const schedule = { name: "hourly", paused: false };

  it("holds over the configuration, once it was said", async () => {
    const bucket = memoryBucket();
    assert.equal(await isPaused(bucket, schedule), false);
    assert.equal(await isPaused(bucket, { ...schedule, paused: true }), true);
    assert.equal(await setPaused(bucket, schedule, true, { by: "ann" }), true);
    const { paused, by, at } = await readPause(bucket, schedule);
    assert.deepEqual([paused, by], [true, "ann"]);
    assert.ok(Math.abs(Date.now() - at!.getTime()) < 60_000);
    assert.equal(await setPaused(bucket, schedule, false), true);
    assert.equal(await isPaused(bucket, { ...schedule, paused: true }), false);
    assert.equal(await isPaused(bucket, { name: "other", paused: true }), true);
  });

  it("writes nothing where it stands so already, and overwrites nothing", async () => {
    const bucket = memoryBucket();
    assert.equal(await setPaused(bucket, schedule, false), false);
    for (const paused of [true, true, false]) await setPaused(bucket, schedule, paused);
    const keys = [];
    for await (const { key } of bucket.list("")) keys.push(key);
    assert.deepEqual(keys, [
      "metadata/lifeboat/schedules/hourly/000001.json",
      "metadata/lifeboat/schedules/hourly/000002.json",
    ]);
  });

  it("of twenty at once ends as the last one says", async () => {
    const bucket = memoryBucket();
    const said = await Promise.all(Array.from({ length: 20 }, (_, i) => setPaused(bucket, schedule, i % 2 === 0)));
    const changes = said.filter(Boolean).length;
    assert.equal(await isPaused(bucket, schedule), changes % 2 === 1);
  });

  it("refuses a state that can't be read", async () => {
    const bucket = memoryBucket();
    await bucket.put("metadata/lifeboat/schedules/hourly/000001.json", Buffer.from('{"paused":"yes"}'));
    await assert.rejects(isPaused(bucket, schedule), { kind: "corrupt", message: /hourly\/000001\.json/ });
  });
});

describe("how a schedule stands", () => {
  const schedule = {
    ...{ name: "hourly", schedule: "0 * * * *", cluster: "prod", paused: false, skipImmediately: false, template: {} },
  };

  async function put(bucket: Bucket, name: string, phase: string | undefined): Promise<void> {
    const keys = backupKeys(name);
    if (phase === undefined) return bucket.put(keys.tar, Buffer.from("x"));
    const record = { kind: "Backup", metadata: { name }, status: { phase, startTimestamp: "2026-08-21T06:00:03Z" } };
    return bucket.put(keys.metadata, Buffer.from(phase === "broken" ? "{" : JSON.stringify(record)));
  }

  it("tells its newest committed backup, the next slot and those missed", async () => {
    const bucket = memoryBucket();
    await put(bucket, "hourly-20260821050000", "Completed");
    await put(bucket, "hourly-20260821060000", "PartiallyFailed");
    await put(bucket, "hourly-20260821070000", undefined);
    await put(bucket, "hourly-eu-20260821080000", "Completed");
    assert.deepEqual(await scheduleDocument(bucket, schedule, at("08:10:00")), {
      schemaVersion: 1,
      kind: "schedule",
      name: "hourly",
      schedule: "0 * * * *",
      timeZone: "UTC",
      cluster: "prod",
      location: "memory://",
      paused: false,
      lastBackup: {
        name: "hourly-20260821060000",
        phase: "PartiallyFailed",
        startTimestamp: "2026-08-21T06:00:03Z",
        items: 0,
      },
      next: "2026-08-21T09:00:00Z",
      missed: ["2026-08-21T07:00:00Z"],
      lastVerified: undefined,
      lastGood: {
        name: "hourly-20260821050000",
        phase: "Completed",
        startTimestamp: "2026-08-21T06:00:03Z",
        items: 0,
      },
      intervalSeconds: 3600,
      overdue: true,
    });
  });

  async function fail(bucket: Bucket, name: string, ended: string, message: string): Promise<void> {
    const { result, log } = runKeys("backups", name, ended);
    await bucket.put(log, Buffer.from("x"));
    await bucket.put(result, Buffer.from(message && JSON.stringify({ phase: "Failed", errors: [{ message }] })));
  }

  it("tells the newest run that failed since the last backup; its slot is missed at once, others after 15 minutes", async () => {
    const bucket = memoryBucket();
    await fail(bucket, "hourly-20260821050000", "1", "before the last backup");
    await put(bucket, "hourly-20260821060000", "Completed");
    await fail(bucket, "hourly-20260821070000", "1", "an older one");
    await fail(bucket, "hourly-20260821080000", "1", "the first attempt");
    await fail(bucket, "hourly-20260821080000", "2", "the second attempt");
    await fail(bucket, "hourly-eu-20260821090000", "1", "another schedule's");
    const { lastBackup, lastFailure, missed } = await scheduleDocument(bucket, schedule, at("09:10:00"));
    assert.equal(lastBackup?.name, "hourly-20260821060000");
    assert.deepEqual(lastFailure, {
      name: "hourly-20260821080000",
      slot: "2026-08-21T08:00:00Z",
      message: "the second attempt",
    });
    assert.deepEqual(missed, ["2026-08-21T07:00:00Z", "2026-08-21T08:00:00Z"]);
    assert.equal((await scheduleDocument(bucket, schedule, at("08:00:30"))).missed.length, 2);
    assert.equal((await scheduleDocument(bucket, schedule, at("09:15:00"))).missed.length, 3);
  });

  it("whose every run failed has missed all slots since the first; one made by hand is none", async () => {
    const bucket = memoryBucket();
    await fail(bucket, "hourly-20260821053012", "1", "schedule run");
    await fail(bucket, "hourly-20260821060000", "1", "");
    const { lastBackup, lastFailure, missed } = await scheduleDocument(bucket, schedule, at("07:20:00"));
    assert.equal(lastBackup, undefined);
    assert.match(lastFailure?.message ?? "", /1-result\.json can't be read$/);
    assert.deepEqual(missed, ["2026-08-21T06:00:00Z", "2026-08-21T07:00:00Z"]);
  });

  it("tells its last good backup, and when two intervals have passed since it", async () => {
    const bucket = memoryBucket();
    await put(bucket, "hourly-20260821040000", "Completed");
    await put(bucket, "hourly-20260821050000", "PartiallyFailed");
    const told = async (time: string) => {
      const { lastBackup, lastGood, intervalSeconds, overdue } = await scheduleDocument(bucket, schedule, at(time));
      return [lastBackup?.name, lastGood?.name, intervalSeconds, overdue];
    };
    const names = ["hourly-20260821050000", "hourly-20260821040000", 3600];
    assert.deepEqual(await told("06:15:00"), [...names, false]);
    assert.deepEqual(await told("06:15:01"), [...names, true]);
    await setPaused(bucket, schedule, true);
    assert.deepEqual(await told("09:00:00"), [...names, false]);
  });

  it("has no next and misses nothing while it is paused", async () => {
    const bucket = memoryBucket();
    await put(bucket, "hourly-20260821010000", "Completed");
    await setPaused(bucket, schedule, true);
    const { paused, next, missed } = await scheduleDocument(bucket, schedule, at("08:10:00"));
    assert.deepEqual([paused, next, missed], [true, undefined, []]);
  });

  it("takes nothing of slots that lie ahead, but for what clocks differ", async () => {
    const bucket = memoryBucket();
    await put(bucket, "hourly-20260821060000", "Completed");
    await put(bucket, "hourly-20260821070000", "Completed");
    await put(bucket, "hourly-29991231000000", "Completed");
    await fail(bucket, "hourly-29991231000000", "1", "forged");
    const last = async (time: string) => {
      const { lastBackup, lastGood, lastFailure } = await scheduleDocument(bucket, schedule, at(time));
      assert.equal(lastFailure, undefined);
      return [lastBackup?.name, lastGood?.name];
    };
    assert.deepEqual(await last("06:58:59"), Array(2).fill("hourly-20260821060000"));
    assert.deepEqual(await last("06:59:01"), Array(2).fill("hourly-20260821070000"));
  });

  it("tells a backup whose record can't be read", async () => {
    const bucket = memoryBucket();
    await put(bucket, "hourly-20260821060000", "broken");
    const { lastBackup } = await scheduleDocument(bucket, schedule, at("06:10:00"));
    assert.deepEqual(lastBackup, { name: "hourly-20260821060000", phase: "Unreadable" });
  });
});
