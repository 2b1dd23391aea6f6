import pLimit from "p-limit";
import { together } from "../abort.ts";
import { type Backup, type CatalogRow, listBackups } from "../catalog.ts";
import type { Config } from "../config.ts";
import { deleteBackup } from "../delete.ts";
import { readMarks } from "../documents.ts";
import { type ErrorKind, isLifeboatError, type LifeboatError } from "../errors.ts";
import type { Log } from "../log.ts";
import { readClock } from "../schedule/cron.ts";
import { timestamp } from "../timestamp.ts";
import {
  type Judged,
  type RetentionDocument,
  type RetentionRow,
  type RetentionScope,
  retentionDocument,
} from "./document.ts";
import { factsOf } from "./facts.ts";
import { type Folder, foldersIn, sizeOf } from "./folders.ts";
import { type BackupFacts, judge, type ScheduleRules, type Verdict } from "./judge.ts";
import { findLeftovers } from "./leftovers.ts";
import { judgeRestores } from "./restores.ts";

const AT_ONCE = 8;

/** What is no refusal of one object. */
const ENDS_ALL: ErrorKind[] = ["unreachable", "timeout"];

/** What rightly stays: somebody works on it, or has pinned it meanwhile, or its bucket holds it. */
const STAYS: ErrorKind[] = ["busy", "conflict"];

/** What `runRetention` would do now. Nothing is written. Throws what the bucket throws. */
export async function previewRetention(scope: RetentionScope): Promise<RetentionDocument> {
  return retentionDocument(scope, { dryRun: true, rows: (await judgeAll(scope)).map(({ row }) => row) });
}

/**
 * Deletes what is to go, the oldest backups first; interrupted, the next run goes on. What the bucket refuses to delete,
 * and what somebody is at work on, is kept and told, and the rest goes on. Throws what else the bucket throws.
 */
export async function runRetention(scope: RetentionScope & { log: Log }): Promise<RetentionDocument> {
  const { signal, log } = scope;
  const limit = pLimit(AT_ONCE);
  const refused = new Map<RetentionRow, LifeboatError>();
  const judged = await judgeAll(scope);
  const going = judged.filter(({ row }) => row.action === "delete").toSorted(oldestFirst);
  const carryOut = async ({ row, remove }: Judged, signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted();
    const about = `${row.kind} ${row.name}`;
    try {
      await remove(signal);
      log("info", `Deleted ${about}: ${row.reason}`);
    } catch (error) {
      if (signal.aborted || !isLifeboatError(error) || ENDS_ALL.includes(error.kind)) throw error;
      if (error.kind === "missing") return;
      log("warning", `Kept ${about}: ${error.message}`);
      refused.set(row, error);
    }
  };
  await together(
    signal,
    going.map((one) => (signal) => limit(carryOut, one, signal)),
  );
  const rows = judged.map(({ row }): RetentionRow => {
    const error = refused.get(row);
    return error ? { ...row, action: "keep", reason: error.message } : row;
  });
  const problems = (stays: boolean) =>
    judged.flatMap(({ row: { kind, name }, row }) => {
      const error = refused.get(row);
      return error && STAYS.includes(error.kind) === stays ? [{ message: `${kind} ${name}: ${error.message}` }] : [];
    });
  return retentionDocument(scope, { dryRun: false, rows, warnings: problems(true), errors: problems(false) });
}

/** Everything that retention has an opinion of. */
async function judgeAll(scope: RetentionScope): Promise<Judged[]> {
  const { bucket, signal, schedule } = scope;
  // First what lies there, then the records: what is committed in between is then not taken for unfinished.
  const folders = await foldersIn(bucket, "backups/", signal);
  const records = await listBackups(bucket, signal);
  const backups = await judgeBackups(scope, folders, records);
  if (schedule !== undefined) return backups;
  const restores = await judgeRestores(
    scope,
    backups.map(({ row }) => row),
  );
  const known = [...backups, ...restores].map(({ row }) => row);
  return [...backups, ...restores, ...(await findLeftovers(scope, { folders, records, known }))];
}

async function judgeBackups(
  { bucket, config, schedule, now, by, signal }: RetentionScope,
  folders: Map<string, Folder>,
  records: CatalogRow<Backup>[],
): Promise<Judged[]> {
  const { pins, verified } = await readMarks(bucket, signal);
  const all = records.map((record) =>
    factsOf(record, {
      pin: pins.get(record.name),
      damaged: verified.get(record.name)?.ok === false,
      restoreTTL: config.restoreTTL,
    }),
  );
  const facts = schedule === undefined ? all : all.filter((backup) => backup.schedule === schedule);
  const verdicts = judge(now, facts, rulesOf(config));
  return facts.map((backup, at) => ({
    row: backupRow(backup, verdicts[at]!, folders.get(backup.name)),
    remove: (signal) => deleteBackup(bucket, backup.name, signal, { by }),
  }));
}

function backupRow(
  { name, schedule, phase, start }: BackupFacts,
  { action, reason }: Verdict,
  folder: Folder | undefined,
): RetentionRow {
  const startTimestamp = start && timestamp(start);
  return { kind: "backup", name, action, reason, schedule, phase, startTimestamp, ...sizeOf(folder) };
}

/** The rules of the schedules that have some, in their own time zones. */
function rulesOf({ schedules }: Pick<Config, "schedules">): ScheduleRules {
  return new Map(
    Object.values(schedules).flatMap((schedule) => {
      const { name, retention } = schedule;
      return retention ? [[name, { retention, timeZone: readClock(schedule).timeZone }]] : [];
    }),
  );
}

function oldestFirst({ row: a }: Judged, { row: b }: Judged): number {
  return (a.startTimestamp ?? "") < (b.startTimestamp ?? "") ? -1 : 1;
}
