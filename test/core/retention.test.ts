import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { afterEach, describe, it, mock } from "node:test";
import { generateIdentity, identityToRecipient } from "age-encryption";
import fc from "fast-check";
import type { Config, Schedule } from "../../core/config.ts";
import { deleteBackup } from "../../core/delete.ts";
import { type ErrorKind, LifeboatError } from "../../core/errors.ts";
import type { VerifyDocument } from "../../core/integrity/document.ts";
import { openSigner } from "../../core/integrity/keys.ts";
import {
  lastLocationVerification,
  noteLocationVerification,
  noteVerification,
  readVerified,
} from "../../core/integrity/verified.ts";
import type { JobContext } from "../../core/jobs/context.ts";
import { runRetentionJob } from "../../core/jobs/retention.ts";
import {
  backupKeys,
  lockFolder,
  noteFolder,
  PROBES,
  pieceFolder,
  pinFolder,
  planKey,
  restoreKeys,
  runKeys,
  sliceFolder,
  verifiedFolder,
} from "../../core/layout.ts";
import { tryLock } from "../../core/lock.ts";
import { pinBackup, unpinBackup } from "../../core/pins.ts";
import type { Bucket } from "../../core/ports.ts";
import type { RetentionDocument, RetentionRow } from "../../core/retention/document.ts";
import { previewRetention } from "../../core/retention/retention.ts";
import type { Retention } from "../../core/retention/rules.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { backedUp, filesIn } from "./integrity-sample.ts";
import { anyRetention, DAY_MS, HOUR_MS, putBackup, type Sample } from "./retention-sample.ts";

const NOW = new Date("2026-11-24T12:00:00Z");
const ago = (days: number) => new Date(NOW.getTime() - days * DAY_MS);
const signal = new AbortController().signal;
const text = Buffer.from("{}");

afterEach(() => mock.timers.reset());

/** Does what `work` does as of a time: objects that it puts are of then. */
async function asOf<T>(time: Date, work: () => Promise<T>): Promise<T> {
  mock.timers.reset();
  mock.timers.enable({ apis: ["Date"], now: time });
  return await work();
}

/** A configuration with such schedules. */
function config(schedules: Record<string, Retention | undefined>, more: Partial<Config> = {}): Config {
  const entry = ([name, retention]: [string, Retention | undefined]): [string, Schedule] => {
    const about = { name, cluster: "a", paused: false, skipImmediately: false, template: {} };
    return [name, { ...about, schedule: "0 3 * * *", ...(retention && { retention }) }];
  };
  const named = Object.fromEntries(Object.entries(schedules).map(entry));
  return {
    location: "memory://",
    clusters: {},
    schedules: named,
    notifications: {},
    signing: {},
    encryption: {},
    volumes: {},
    ...more,
  };
}

const preview = (bucket: Bucket, given: Config, now = NOW, schedule?: string) =>
  asOf(now, () => previewRetention({ bucket, config: given, schedule, now: new Date(), signal }));

async function run(bucket: Bucket, given: Config, now = NOW, schedule?: string): Promise<RetentionDocument> {
  const context = { bucket, config: given, secrets: texts, signal } as JobContext;
  const { document } = await asOf(now, () => runRetentionJob({ kind: "retention", schedule }, context));
  return document ?? assert.fail("it was not run");
}

/** Secrets whose references are their texts. */
const texts = { read: async (reference: string) => reference };

const keysOf = async (bucket: Bucket) => [...(await filesIn(bucket)).keys()];
const told = ({ rows }: RetentionDocument) =>
  rows.map(({ kind, name, action, reason }) => [kind, name, action, reason]);
const goes = ({ rows }: { rows: RetentionRow[] }) =>
  rows.flatMap(({ kind, name, action }) => (action === "delete" ? [`${kind} ${name}`] : []));

/** Puts backups of a schedule, one a day at 03:00 for so many days until yesterday, as they would have been. */
async function putDays(bucket: Bucket, schedule: string, days: number, more: Partial<Sample> = {}): Promise<void> {
  for (let day = days; day > 0; day--) {
    const start = new Date(ago(day).getTime() - 9 * HOUR_MS);
    const name = `${schedule}-${start.toISOString().slice(0, 10)}`;
    await asOf(start, () => putBackup(bucket, { name, start, schedule, ...more }));
  }
}

describe("a run of retention", () => {
  it("takes no backup for good in which a verification found damage", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "aged", 3, { ttl: "24h" });
    await asOf(ago(0.2), () =>
      noteVerification(bucket, documentOf("aged-2026-11-23", [{ key: "k", reason: "torn" }]), 0),
    );
    assert.deepEqual(goes(await run(bucket, config({}))), ["backup aged-2026-11-21", "backup aged-2026-11-23"]);
  });

  it("takes no backup for good that no trusted key has signed, where some are trusted", async () => {
    const keys = ["ours", "theirs"].map(() => generateKeyPairSync("ed25519"));
    const [ours, theirs] = keys.map(({ privateKey }) => String(privateKey.export({ format: "pem", type: "pkcs8" })));
    const publicKeys = [String(keys[0]!.publicKey.export({ format: "pem", type: "spki" }))];
    const bucket = memoryBucket();
    const by = { 5: ours, 4: ours, 3: ours, 2: theirs, 1: undefined };
    for (const schedule of ["ruled", "aged"])
      for (const [days, key] of Object.entries(by)) {
        const start = ago(Number(days));
        const signer = key === undefined ? undefined : await openSigner(texts, key);
        await putBackup(bucket, { name: `${schedule}-${days}`, start, schedule, signer, ttl: "12h" });
      }
    const without = config({ ruled: { keepLast: 2 } });
    const kept = ({ rows }: RetentionDocument) =>
      rows.flatMap(({ name, action, reason }) => (action === "keep" ? [`${name}: ${reason}`] : []));
    const names = (document: RetentionDocument) => kept(document).map((text) => text.split(":")[0]);
    assert.deepEqual(names(await preview(bucket, without)), ["aged-1", "ruled-1", "ruled-2"]);

    const given = { ...without, signing: { publicKeys } };
    assert.deepEqual(kept(await run(bucket, given)), [
      "aged-3: newest good backup of the schedule: all newer ones have failed or are not trusted",
      "ruled-1: among the newest (keepLast 1 of 2); no trusted key has signed it",
      "ruled-2: among the newest (keepLast 2 of 2); no trusted key has signed it",
      "ruled-3: among the newest (keepLast 1 of 2)",
      "ruled-4: among the newest (keepLast 2 of 2)",
    ]);
  });

  it("deletes what its preview tells, wholly, and nothing else", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "ruled", 5);
    await putDays(bucket, "aged", 5, { ttl: "72h0m0s" });
    await putDays(bucket, "velero", 5, { foreign: true });
    await asOf(ago(90), () => putBackup(bucket, { name: "by-hand", start: ago(90), ttl: "720h0m0s" }));
    await asOf(ago(90), () => putBackup(bucket, { name: "for-good", start: ago(90) }));
    const given = config({ ruled: { keepLast: 1, daily: 2 }, aged: undefined });
    const before = await filesIn(bucket);

    const seen = await preview(bucket, given);
    assert.deepEqual(await filesIn(bucket), before);
    const gone = [
      ...["aged-2026-11-19", "aged-2026-11-20", "aged-2026-11-21", "by-hand"],
      ...["ruled-2026-11-19", "ruled-2026-11-20", "ruled-2026-11-21"],
    ];
    assert.deepEqual(
      goes(seen),
      gone.map((name) => `backup ${name}`),
    );
    assert.deepEqual([seen.dryRun, seen.phase, seen.counts], [true, "Completed", { delete: 7, keep: 10 }]);

    assert.deepEqual(await run(bucket, given), { ...seen, dryRun: false });
    const rest = [...before].filter(([key]) => !gone.includes(key.split("/")[1]!));
    assert.deepEqual([...(await filesIn(bucket))], rest);
    const again = await run(bucket, given);
    assert.deepEqual([again.counts, again.freedBytes], [{ delete: 0, keep: 10 }, 0]);
  });

  it("tells how much it frees", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "s", 2);
    const { rows, freedBytes } = await preview(bucket, config({ s: { keepLast: 1 } }));
    const files = [...(await filesIn(bucket, "backups/s-2026-11-22/")).values()];
    const bytes = files.reduce((sum, { length }) => sum + length, 0);
    assert.deepEqual([rows[0]?.objects, rows[0]?.bytes, freedBytes], [5, bytes, bytes]);
  });

  it("can be of one schedule, and then touches nothing else", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "s", 2);
    await putDays(bucket, "t", 2);
    await asOf(ago(90), () => bucket.put(planKey("old"), text));
    const given = config({ s: { keepLast: 1 }, t: { keepLast: 1 } });
    assert.deepEqual(goes(await run(bucket, given, NOW, "s")), ["backup s-2026-11-22"]);
    assert.deepEqual(goes(await preview(bucket, given)), ["backup t-2026-11-22", "plan old"]);
    await assert.rejects(run(bucket, given, NOW, "u"), { kind: "invalid", message: /no schedule "u"/ });
  });

  it("run by two at once deletes once, and both end well", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "s", 9);
    const timing = { renew: 60_000, valid: 180_000, poll: 20 };
    const context = { bucket, config: config({ s: { keepLast: 1 } }), signal, timing } as JobContext;
    const outcomes = await asOf(NOW, () =>
      Promise.all(Array.from({ length: 4 }, () => runRetentionJob({ kind: "retention" }, context))),
    );
    assert.equal(
      outcomes.reduce((sum, { document }) => sum + (document?.counts.delete ?? 0), 0),
      8,
    );
  });

  it("interrupted at any deletion goes on with the next run, and ends in the same state", async () => {
    const given = config({ s: { keepLast: 2 } });
    const made = async () => {
      const bucket = memoryBucket();
      await putDays(bucket, "s", 5);
      return bucket;
    };
    const whole = await made();
    await run(whole, given);
    // Three backups of five objects, and a lock of each.
    for (let cut = 0; cut < 3 * 6; cut++) {
      const bucket = await made();
      let deleted = 0;
      const unreachable = new LifeboatError("unreachable", "the connection is cut");
      const cutting: Bucket = {
        ...bucket,
        delete: async (key) => (deleted++ < cut ? bucket.delete(key) : Promise.reject(unreachable)),
      };
      await assert.rejects(run(cutting, given), unreachable);
      await run(bucket, given);
      assert.deepEqual(await filesIn(bucket, "backups/"), await filesIn(whole), `cut after ${cut}`);
      // What it left of locks goes in its time.
      await run(bucket, given, ago(-31));
      assert.deepEqual(await keysOf(bucket), await keysOf(whole));
    }
  });

  it("judges ages by the earlier one of two clocks", async () => {
    const bucket = memoryBucket();
    await asOf(ago(29), () => putBackup(bucket, { name: "b", start: ago(29), ttl: "720h0m0s" }));
    const ahead: Bucket = {
      ...bucket,
      async *list(prefix, options) {
        for await (const listed of bucket.list(prefix, options)) {
          if (listed.key?.includes("/clock-")) yield { ...listed, modified: NOW };
          else yield listed;
        }
      },
    };
    assert.deepEqual(goes(await run(ahead, config({}), ago(-2))), []);
    assert.deepEqual(goes(await run(bucket, config({}), ago(-2))), ["backup b"]);
  });
});

describe("what is not to be deleted", () => {
  it("a pinned backup stays until it is unpinned, and is not deleted by hand", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "s", 3);
    const given = config({ s: { keepLast: 1 } });
    const name = "s-2026-11-21";
    assert.equal(await asOf(ago(1), () => pinBackup(bucket, name, { by: "ann", reason: "the audit" })), true);
    const pinned = "pinned by ann at 2026-11-23T12:00:00Z: the audit";
    assert.deepEqual(told(await run(bucket, given))[0], ["backup", name, "keep", pinned]);
    await assert.rejects(deleteBackup(bucket, name), {
      kind: "conflict",
      message: `backup "${name}" is ${pinned}`,
      hint: `"lifeboat backup unpin ${name}" lets it go`,
    });
    assert.equal(await unpinBackup(bucket, name), true);
    assert.deepEqual(goes(await run(bucket, given)), [`backup ${name}`]);
    assert.deepEqual(
      (await keysOf(bucket)).filter((key) => key.includes(name)),
      [],
    );
  });

  it("a pin that comes after the judgement holds", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "s", 2);
    let pins = 0;
    const slow: Bucket = {
      ...bucket,
      async *list(prefix, options) {
        yield* bucket.list(prefix, options);
        if (prefix === "metadata/lifeboat/pins/" && pins++ === 0) await pinBackup(bucket, "s-2026-11-22");
      },
    };
    const { phase, warnings, counts } = await run(slow, config({ s: { keepLast: 1 } }));
    assert.deepEqual([phase, counts], ["Completed", { delete: 0, keep: 2 }]);
    assert.match(warnings[0]!.message, /^backup s-2026-11-22: backup "s-2026-11-22" is pinned at /);
  });

  it("a pin that can't be read is one", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "s", 2);
    await bucket.put(`${pinFolder("s-2026-11-22")}000001.json`, Buffer.from("{"));
    const { rows } = await run(bucket, config({ s: { keepLast: 1 } }));
    assert.match(rows[0]!.reason, /^pinned: .*000001\.json can't be read$/);
    assert.equal(await unpinBackup(bucket, "s-2026-11-22"), true);
    assert.equal(goes(await run(bucket, config({ s: { keepLast: 1 } }))).length, 1);
  });

  it("what its bucket holds stays till then, and is not even tried", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "s", 2, { retained: ago(-30) });
    const given = config({ s: { keepLast: 1 } });
    const held = "its record says that its bucket holds it until 2026-12-24T12:00:00Z";
    assert.deepEqual(told(await run(bucket, given))[0], ["backup", "s-2026-11-22", "keep", held]);
    await assert.rejects(
      asOf(NOW, () => deleteBackup(bucket, "s-2026-11-22")),
      { kind: "denied" },
    );
    assert.deepEqual(goes(await run(bucket, given, ago(-31))), ["backup s-2026-11-22"]);
  });

  /** Refuses to delete what the pattern matches, as a bucket with a retention of its own. */
  const refusing = (bucket: Bucket, pattern: RegExp, kind: ErrorKind): Bucket => ({
    ...bucket,
    delete: async (key) => {
      if (pattern.test(key)) throw new LifeboatError(kind, `can't delete ${key}: it is locked`);
      await bucket.delete(key);
    },
  });

  it("what the bucket refuses to delete stays, whole, and the rest goes", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "s", 4);
    const before = await filesIn(bucket);
    const document = await run(refusing(bucket, /s-2026-11-21\/velero/, "conflict"), config({ s: { keepLast: 1 } }));
    const reason = "can't delete backups/s-2026-11-21/velero-backup.json: it is locked";
    const { phase, rows, warnings, counts } = document;
    assert.deepEqual([phase, counts], ["Completed", { delete: 2, keep: 2 }]);
    assert.deepEqual([rows[1]?.action, rows[1]?.reason], ["keep", reason]);
    assert.deepEqual(warnings, [{ message: `backup s-2026-11-21: ${reason}` }]);
    const left = [...(await filesIn(bucket, "backups/"))];
    assert.deepEqual(
      left,
      [...before].filter(([key]) => /s-2026-11-2[13]/.test(key)),
    );
  });

  it("who lacks the right to delete is told that as a failure", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "s", 4);
    const { phase, errors, counts } = await run(refusing(bucket, /./, "denied"), config({ s: { keepLast: 1 } }));
    assert.deepEqual([phase, errors.length, counts], ["PartiallyFailed", 3, { delete: 0, keep: 4 }]);
  });

  it("what somebody works on stays", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "s", 3);
    const given = config({ s: { keepLast: 1 } });
    const scope = { bucket, kind: "backups", name: "s-2026-11-21" } as const;
    const lock = await asOf(NOW, () => tryLock(scope, { signal }));
    assert.ok(typeof lock === "object");
    const { phase, warnings, counts } = await run(bucket, given);
    assert.deepEqual([phase, counts], ["Completed", { delete: 1, keep: 2 }]);
    const since = "(since 12:00:00 UTC), last seen at 12:00:00 UTC";
    assert.deepEqual(warnings, [{ message: `backup s-2026-11-21: a run works on backup "s-2026-11-21" ${since}` }]);
    await lock[Symbol.asyncDispose]();
    assert.equal(goes(await run(bucket, given)).length, 1);
  });

  it("what can't be read stays", async () => {
    const bucket = memoryBucket();
    await putDays(bucket, "s", 4);
    const damage = async (day: string, change: (record: Record<string, never>) => void) => {
      const key = backupKeys(`s-2026-11-${day}`).metadata;
      const record = JSON.parse((await filesIn(bucket)).get(key)!.toString());
      change(record);
      await bucket.put(key, Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`));
    };
    await bucket.put(backupKeys("s-2026-11-20").metadata, Buffer.from("{"));
    await damage("21", (record) => Object.assign(record.status!, { phase: "Failed" }));
    await damage("22", (record) => Object.assign(record, { kind: "Restore" }));
    const before = await filesIn(bucket);
    const { rows, phase } = await run(bucket, config({ s: { keepLast: 1 } }));
    assert.deepEqual([phase, rows.every(({ action }) => action === "keep")], ["Completed", true]);
    assert.deepEqual(await filesIn(bucket), before);
  });
});

describe("restores and what was there before them", () => {
  async function restored(bucket: Bucket, name: string, day: number): Promise<void> {
    await asOf(ago(day), async () => {
      const keys = restoreKeys(name);
      await putBackup(bucket, { name: `${name}-before`, start: ago(day), beforeRestore: name });
      await bucket.put(`${noteFolder(name)}000001.json.gz`, text);
      await bucket.put(keys.log, text);
      const status = {
        ...{ phase: "Completed", startTimestamp: ago(day).toISOString(), completionTimestamp: ago(day).toISOString() },
        ...{ errors: 0, warnings: 0, progress: { totalItems: 0, itemsRestored: 0 } },
      };
      const record = { kind: "Restore", metadata: { name }, spec: { backupName: "b" }, status };
      await bucket.put(keys.record, Buffer.from(JSON.stringify(record)));
    });
  }

  it("stay for good where no restoreTTL is configured", async () => {
    const bucket = memoryBucket();
    await restored(bucket, "r", 4000);
    assert.deepEqual(told(await run(bucket, config({}))), [["backup", "r-before", "keep", "it has no ttl"]]);
  });

  it("go together when it ends", async () => {
    const bucket = memoryBucket();
    await restored(bucket, "old", 31);
    await restored(bucket, "new", 29);
    await asOf(ago(31), () => bucket.put("restores/velero/restore-velero-logs.gz", text));
    await asOf(ago(31), () => bucket.put(`${noteFolder("dead")}000001.json.gz`, text));
    const given = config({}, { restoreTTL: "720h" });
    assert.deepEqual(goes(await run(bucket, given)), ["backup old-before", "restore old", "restore dead"]);
    const left = (await keysOf(bucket)).filter((key) => !key.includes("new"));
    assert.deepEqual(left, ["restores/velero/restore-velero-logs.gz"]);
    assert.equal((await keysOf(bucket)).filter((key) => key.includes("new")).length, 8);
  });

  it("stay together where the backup is pinned", async () => {
    const bucket = memoryBucket();
    await restored(bucket, "r", 31);
    await asOf(ago(2), () => pinBackup(bucket, "r-before"));
    const { rows } = await run(bucket, config({}, { restoreTTL: "720h" }));
    assert.deepEqual(
      rows.map(({ kind, reason }) => `${kind}: ${reason}`),
      ["backup: pinned at 2026-11-22T12:00:00Z", "restore: backup r-before is kept: pinned at 2026-11-22T12:00:00Z"],
    );
  });
});

/** What a verification found that found this damage. */
function documentOf(name: string, damaged: VerifyDocument["damaged"] = []): VerifyDocument {
  const about = { schemaVersion: 1, kind: "verify", name, location: "memory://" } as const;
  return { ...about, ok: damaged.length === 0, damaged, unchecked: [], files: 1, items: 1 };
}

describe("leftovers", () => {
  const ages = async (put: (bucket: Bucket) => Promise<unknown>, days: number[]) => {
    const found: string[][] = [];
    for (const day of days) {
      const bucket = memoryBucket();
      await asOf(ago(day), () => put(bucket));
      const seen = await preview(bucket, config({}));
      const before = await keysOf(bucket);
      assert.deepEqual(await run(bucket, config({})), { ...seen, dryRun: false });
      const { length } = await keysOf(bucket);
      assert.equal(length, seen.counts.delete ? 0 : before.length);
      found.push(seen.rows.map(({ kind, name, reason }) => `${kind} ${name}: ${reason}`));
    }
    return found;
  };
  const lock = (bucket: Bucket, kind: "backups" | "restores", state: string) =>
    bucket.put(`${lockFolder(kind, "x")}000001.json`, Buffer.from(JSON.stringify({ run: "r", state })));
  const month = "nothing was added to it for 30 days";

  const CASES: [what: string, put: (bucket: Bucket) => Promise<unknown>, limit: number, told: string][] = [
    ["a plan", (bucket) => bucket.put(planKey("p"), text), 7, "plan p: nothing was added to it for 7 days"],
    [
      "the plan of a restore whose slices have ended",
      (bucket) => bucket.put(`${sliceFolder("x")}000001.json`, text),
      7,
      "plan x: nothing was added to it for 7 days",
    ],
    ["a lock that died", (bucket) => lock(bucket, "backups", "held"), 30, `run backups/x: ${month}`],
    ["a lock that was given back", (bucket) => lock(bucket, "restores", "released"), 30, `run restores/x: ${month}`],
    ["work that was called off", (bucket) => lock(bucket, "restores", "cancelled"), 30, `run restores/x: ${month}`],
    ["a probe of a check", (bucket) => bucket.put(`${PROBES}x`, text), 1, "probe x: nothing was added to it for a day"],
    [
      "a clock, or a wish to cancel",
      (bucket) => bucket.put(`${lockFolder("backups", "x")}clock-1`, text),
      30,
      `run backups/x: ${month}`,
    ],
    [
      "the log of a run that failed",
      (bucket) => bucket.put(runKeys("backups", "x", "2026").log, text),
      30,
      `run backups/x: ${month}`,
    ],
    ["a pin of what is gone", (bucket) => bucket.put(`${pinFolder("x")}000001.json`, text), 30, `pin x: ${month}`],
    [
      "what a verification found of what is gone",
      (bucket) => bucket.put(`${verifiedFolder("x")}000001.json`, text),
      30,
      `verification x: ${month}`,
    ],
    [
      "what an interrupted deletion left",
      (bucket) => bucket.put(backupKeys("x").index, text),
      1,
      "unfinished x: nothing was added to it for a day",
    ],
    [
      "shards of a backup whose workers have ended",
      async (bucket) => {
        for (const key of [`${pieceFolder("x")}000001.json`, `${pieceFolder("x")}run-1/x.tar.gz`])
          await bucket.put(key, text);
        await bucket.put(`${lockFolder("shards", "x/shard-1")}000001.json`, Buffer.from('{"state":"held"}'));
      },
      1,
      "unfinished x: nothing was added to it for a day",
    ],
    [
      "pieces of a backup whose slices have ended",
      (bucket) => bucket.put(`${pieceFolder("x")}000001.json`, text),
      1,
      "unfinished x: nothing was added to it for a day",
    ],
  ];
  for (const [what, put, limit, reason] of CASES) {
    it(`${what} goes after ${limit} days`, async () => {
      assert.deepEqual(await ages(put, [limit - 0.1, limit + 0.1]), [[], [reason]]);
    });
  }

  it("of what verifications found of a backup that stays, and of the location, the newest does", async () => {
    const bucket = memoryBucket();
    const document = documentOf("b");
    await asOf(ago(80), () => putBackup(bucket, { name: "b", start: ago(80) }));
    for (const days of [70, 50, 31.5, 31]) {
      await asOf(ago(days), async () => {
        await noteVerification(bucket, document, 1);
        await noteLocationVerification(bucket, { slot: `${days}` });
        await bucket.put(`${lockFolder("verification", "all")}00000${Math.round(days)}.json`, text);
      });
    }
    const { rows } = await run(bucket, config({}));
    assert.deepEqual(
      rows.filter(({ action }) => action === "delete").map(({ kind, name, objects }) => [kind, name, objects]),
      [
        ["verification", "b", 3],
        ["verification", "all", 7],
      ],
    );
    assert.equal((await readVerified(bucket, "b"))?.ok, true);
    assert.equal((await lastLocationVerification(bucket))?.slot, "31");
    assert.deepEqual(goes(await run(bucket, config({}))), []);
  });

  it("a request that comes after the judgement stays", async () => {
    const bucket = memoryBucket();
    const old = runKeys("backups", "x", "2025").log;
    const { job } = runKeys("backups", "x", "2026");
    await asOf(ago(31), () => bucket.put(old, text));
    const asking: Bucket = {
      ...bucket,
      async *list(prefix, options) {
        yield* bucket.list(prefix, options);
        if (prefix.startsWith("metadata/lifeboat/plans/")) await bucket.put(job, text);
      },
    };
    assert.deepEqual(goes(await run(asking, config({}))), ["run backups/x"]);
    assert.deepEqual(await keysOf(bucket), [job]);
  });

  it("an archive that a killed run left goes after a day, unless it is worked on; Velero's does not", async () => {
    const bucket = memoryBucket();
    const { tar } = backupKeys("b");
    await asOf(ago(2), async () => {
      const archive = (await filesIn(await backedUp([]))).get(tar)!;
      await bucket.put(tar, archive);
      await bucket.put(backupKeys("velero").tar, text);
      await bucket.put(backupKeys("other").log, text);
      await bucket.put(backupKeys("busy").index, text);
    });
    await asOf(ago(0.001), () =>
      bucket.put(`${lockFolder("backups", "busy")}000001.json`, Buffer.from('{"state":"held"}')),
    );
    assert.deepEqual(goes(await run(bucket, config({}))), ["unfinished b"]);
    assert.deepEqual(
      (await keysOf(bucket)).filter((key) => key.startsWith("backups/")),
      [backupKeys("busy").index, backupKeys("other").log, backupKeys("velero").tar],
    );
  });

  it("pieces that a backup was made of, and whose run could not delete them, go after a day", async () => {
    const bucket = memoryBucket();
    await asOf(ago(2), () => backedUp([], "b", bucket));
    const whole = await keysOf(bucket);
    await asOf(ago(2), () => bucket.put(`${pieceFolder("b")}x.tar.gz`, text));
    assert.deepEqual(goes(await run(bucket, config({}), ago(1.1))), []);
    assert.deepEqual(goes(await run(bucket, config({}))), ["unfinished b"]);
    assert.deepEqual(await keysOf(bucket), whole);
  });

  it("an encrypted backup goes wholly, and what a dead run left beside one that stays goes after a day", async () => {
    const bucket = memoryBucket();
    const recipients = [await identityToRecipient(await generateIdentity())];
    await asOf(ago(40), () => backedUp([], "old", bucket, { recipients, spec: { ttl: "720h" } }));
    await asOf(ago(2), async () => {
      await bucket.put(`${backupKeys("new").tar}.age`, text);
      await backedUp([], "new", bucket, { recipients });
      await bucket.put(`${backupKeys("dead").tar}.age`, text);
    });
    const whole = await keysOf(bucket);
    const stray = "backups/new/new.tar.gz.age";
    assert.ok(whole.includes("backups/new/new.tar.gz.2.age"));
    assert.deepEqual(goes(await run(bucket, config({}), ago(1.1))), ["backup old"]);
    assert.deepEqual(goes(await run(bucket, config({}))), ["unfinished dead", "unfinished new"]);
    assert.deepEqual(
      await keysOf(bucket),
      whole.filter((key) => !/\/(old|dead)\//.test(key) && key !== stray),
    );
    assert.deepEqual(goes(await run(bucket, config({}))), []);
  });

  it("an archive whose run commits it meanwhile is none", async () => {
    const bucket = memoryBucket();
    await asOf(ago(2), () => putBackup(bucket, { name: "b", start: ago(2) }));
    const record = (await filesIn(bucket)).get(backupKeys("b").metadata)!;
    await bucket.delete(backupKeys("b").metadata);
    await assert.rejects(
      (async () => {
        const late: Bucket = {
          ...bucket,
          async *list(prefix, options) {
            if (prefix === backupKeys("b").folder) await bucket.put(backupKeys("b").metadata, record);
            yield* bucket.list(prefix, options);
          },
        };
        await deleteBackup(late, "b", signal, { unfinished: true });
      })(),
      { kind: "conflict", message: /has been finished meanwhile/ },
    );
    assert.equal((await filesIn(bucket, "backups/")).size, 5);
  });

  it("what nobody here has written stays", async () => {
    const bucket = memoryBucket();
    const keys = [
      "kopia/x",
      "metadata/lifeboat/schedules/s/000001.json",
      "metadata/lifeboat/unknown/x",
      "restic/x",
      "x",
    ];
    await asOf(ago(4000), async () => {
      for (const key of keys) await bucket.put(key, text);
    });
    assert.deepEqual((await run(bucket, config({}, { restoreTTL: "1h" }))).rows, []);
    assert.deepEqual((await keysOf(bucket)).sort(), keys.sort());
  });
});

describe("any location", () => {
  const sample = fc.record({
    day: fc.integer({ min: 0, max: 60 }),
    phase: fc.constantFrom("Completed", "Completed", "PartiallyFailed", "Failed", "Finalizing"),
    schedule: fc.constantFrom("s", "t", "gone", undefined),
    ttl: fc.constantFrom("24h0m0s", "720h0m0s", undefined),
    foreign: fc.boolean(),
    beforeRestore: fc.constantFrom(undefined, undefined, "r"),
    pinned: fc.nat(9).map((n) => n === 0),
    unfinished: fc.nat(9).map((n) => n === 0),
  });

  it("is after a run as the preview has told, and stays so", async () => {
    const property = fc.asyncProperty(
      fc.array(sample, { maxLength: 25 }),
      anyRetention,
      fc.constantFrom(undefined, "240h"),
      async (samples, retention, restoreTTL) => {
        const bucket = memoryBucket();
        for (const [at, { day, pinned, unfinished, ...one }] of samples.entries()) {
          const start = ago(day);
          await asOf(start, async () => {
            await putBackup(bucket, { name: `b-${at}`, start, ...one });
            if (pinned) await pinBackup(bucket, `b-${at}`);
            else if (unfinished) await bucket.delete(backupKeys(`b-${at}`).metadata);
          });
        }
        const given = config({ s: retention, t: undefined }, { restoreTTL });
        const before = await filesIn(bucket);
        const seen = await preview(bucket, given);
        assert.deepEqual(await filesIn(bucket), before);
        assert.deepEqual(await run(bucket, given), { ...seen, dryRun: false });
        const gone = new Set(seen.rows.filter(({ action }) => action === "delete").map(({ name }) => name));
        const rest = [...before].filter(([key]) => !gone.has(key.split("/")[1]!));
        assert.deepEqual(
          [...(await filesIn(bucket))].filter(([key]) => !key.startsWith("metadata/")),
          rest.filter(([key]) => !key.startsWith("metadata/")),
        );
        assert.deepEqual(goes(await run(bucket, given)), []);
      },
    );
    await fc.assert(property, { numRuns: 40 });
  });
});
