import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { RetentionDocument } from "../../core/index.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";
import { DAY_MS, putBackup } from "../core/retention-sample.ts";
import { document, lifeboat } from "../e2e/lifeboat.ts";
import { filesIn, makeScratch, type Scratch } from "./cli-sample.ts";

const ago = (days: number) => new Date(Date.now() - days * DAY_MS);

describe("retention on the command line", { concurrency: 3 }, () => {
  let scratch: Scratch;
  before(async () => {
    scratch = await makeScratch();
  });
  after(() => scratch?.remove());

  /** A location with four daily backups, of which the rules keep two, one by hand that has expired, and one that hasn't. */
  async function location(name: string) {
    const bucket = directoryBucket(scratch.path(name));
    for (const days of [4, 3, 2, 1]) {
      await putBackup(bucket, { name: `daily-${days}`, start: ago(days), schedule: "daily" });
    }
    await putBackup(bucket, { name: "expired", start: ago(9), ttl: "24h0m0s" });
    await putBackup(bucket, { name: "fresh", start: ago(9), ttl: "720h0m0s" });
    const config = await scratch.write(
      `${name}.yaml`,
      `
location: ./${name}
clusters: { a: { kubeconfig: "env:A" } }
schedules: { daily: { schedule: "@daily", retention: { keepLast: 2 } } }
`,
    );
    const left = async () => [...new Set((await filesIn(scratch.path(name))).map((file) => file.split("/")[1]))];
    return { env: { LIFEBOAT_CONFIG: config }, left };
  }
  const ALL = ["daily-1", "daily-2", "daily-3", "daily-4", "expired", "fresh"];

  it("preview shows what would go and why, with --details what stays, and deletes nothing", async () => {
    const { env, left } = await location("preview");
    const { stdout, stderr, code } = await lifeboat(["retention", "preview"], env);
    const rows = stdout.split("\n").map((line) => line.split(/ {3,}/));
    assert.deepEqual([code, rows[0]], [0, ["ACTION", "KIND", "NAME", "STATUS", "CREATED", "REASON"]]);
    assert.deepEqual(
      rows
        .slice(1, 4)
        .map(([action, kind, name, status, , reason]) => [action, kind, name, status, reason?.slice(0, 25)]),
      [
        ["delete", "backup", "daily-3", "Completed", "no rule keeps it: keepLas"],
        ["delete", "backup", "daily-4", "Completed", "no rule keeps it: keepLas"],
        ["delete", "backup", "expired", "Completed", "ttl 24h0m0s ended at 2026"],
      ].map((row) => row.map((cell) => cell.replace(/2026$/, String(ago(8).getUTCFullYear())))),
    );
    assert.match(stderr, /^3 of 6 would be deleted, [\d.]+ KiB\n$/);
    const all = await lifeboat(["retention", "preview", "--details"], env);
    assert.match(all.stdout, /\nkeep +backup +daily-1 .* among the newest \(keepLast 1 of 2\)\n/);
    const { rows: told } = await document<RetentionDocument>(["retention", "preview", "--schedule", "daily"], env);
    assert.deepEqual(
      told.map(({ name, action }) => `${action} ${name}`),
      ["keep daily-1", "keep daily-2", "delete daily-3", "delete daily-4"],
    );
    assert.deepEqual(await left(), ALL);
  });

  it("run does what the preview shows, once it is told yes", async () => {
    const { env, left } = await location("run");
    const unasked = await lifeboat(["retention", "run"], env);
    assert.equal(unasked.code, 2);
    assert.match(unasked.stderr, /error: deleting 3 things needs your consent, .*\nhint: add --yes\n$/);
    assert.deepEqual(await left(), ALL);
    const { rows: _, timestamp: __, ...seen } = await document<RetentionDocument>(["retention", "preview"], env);
    const { rows, timestamp, ...done } = await document<RetentionDocument>(["retention", "run", "--yes"], env);
    assert.deepEqual(done, { ...seen, dryRun: false });
    assert.ok(Math.abs(Date.now() - Date.parse(timestamp)) < 600_000);
    assert.equal(rows.filter(({ action }) => action === "delete").length, 3);
    assert.deepEqual(await left(), ["daily-1", "daily-2", "fresh"]);
    const again = await lifeboat(["retention", "run"], env);
    assert.deepEqual([again.code, again.stdout, again.stderr], [0, "", "Nothing deleted: 3 looked at\n"]);
  });

  it("without a configuration only what has expired goes", async () => {
    const { left } = await location("bare");
    const flags = ["--location", scratch.path("bare")];
    assert.equal((await lifeboat(["retention", "run", "--yes", ...flags])).code, 0);
    assert.deepEqual(
      await left(),
      ALL.filter((name) => name !== "expired"),
    );
  });

  it("a pin shows, holds, and comes off", async () => {
    const { env, left } = await location("pin");
    const says = async (args: string[], code = 0) => {
      const ended = await lifeboat(["backup", ...args], { ...env, USER: "ann" });
      assert.equal(ended.code, code, ended.stderr);
      return ended.stdout + ended.stderr;
    };
    const pin = ["pin", "daily-3", "expired", "--reason", "the audit"];
    assert.equal(await says(pin), "Backup daily-3 is pinned\nBackup expired is pinned\n");
    assert.equal(await says(["pin", "expired"]), "Backup expired is pinned already\n");
    assert.match(await says(["get"]), /\nexpired .* yes +/);
    assert.match(await says(["describe", "expired"]), /\nPinned: +pinned by ann at [-\dT:]+Z: the audit\n/);
    assert.match(
      await says(["delete", "expired", "--confirm"], 1),
      /^error: backup "expired" is pinned by ann at .*: the audit\n/,
    );
    const { rows } = await document<RetentionDocument>(["retention", "run", "--yes"], env);
    assert.equal(rows.filter(({ reason }) => reason.startsWith("pinned by ann")).length, 2);
    assert.equal(await says(["unpin", "expired"]), "Backup expired is no longer pinned\n");
    assert.equal(await says(["unpin", "expired"]), "Backup expired was not pinned\n");
    await lifeboat(["retention", "run", "--yes"], env);
    assert.deepEqual(
      (await left()).filter((name) => ALL.includes(name!)),
      ["daily-1", "daily-2", "daily-3", "fresh"],
    );
  });

  const MISTAKES: [args: string, env: Record<string, string>, code: number, says: RegExp][] = [
    [
      "retention preview --schedule dayly",
      {},
      2,
      /^error: the configuration has no schedule "dayly"\nhint: it has daily\n$/,
    ],
    ["retention run --yes --schedule dayly", {}, 2, /^error: the configuration has no schedule "dayly"\n/],
    [
      "retention run --yes",
      { LIFEBOAT_SCHEDULES_DAILY_RETENTION_KEEP_LAST: "-1" },
      2,
      /: LIFEBOAT_SCHEDULES_DAILY_RETENTION_KEEP_LAST: should not be negative\n$/,
    ],
    [
      "retention run --yes",
      { LIFEBOAT_SCHEDULES_DAILY_RETENTION_KEEP_LAST: "0" },
      2,
      /: schedules.daily.retention: keeps nothing: give a rule a number above 0\n$/,
    ],
    [
      "retention run --yes",
      { LIFEBOAT_RETENTION_SCHEDULE: "@dayly" },
      2,
      /LIFEBOAT_RETENTION_SCHEDULE: "@dayly" is not a schedule/,
    ],
    ["backup pin nothing", {}, 5, /^error: there is no backup "nothing"/],
    ["backup unpin nothing", {}, 5, /^error: there is no backup "nothing"/],
    ["backup pin fresh --reason=", {}, 2, /^error: --reason has 0 characters\nhint: use 1 to 500, or leave it out\n$/],
  ];
  for (const [at, [args, more, code, says]] of MISTAKES.entries()) {
    it(`${args} ${Object.keys(more)}: exit code ${code}, and nothing is deleted`, async () => {
      const { env, left } = await location(`mistake-${at}`);
      const ended = await lifeboat(args.split(" "), { ...env, ...more });
      assert.equal(ended.code, code, ended.stderr);
      assert.match(ended.stderr, says);
      assert.deepEqual(await left(), ALL);
    });
  }
});
