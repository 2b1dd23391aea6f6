import pLimit from "p-limit";
import { z } from "zod";
import { together } from "../abort.ts";
import { type Backup, type CatalogRow, listBackups } from "../catalog.ts";
import type { Config } from "../config.ts";
import { deleteBackup } from "../delete.ts";
import { readMarks } from "../documents.ts";
import { type ErrorKind, isLifeboatError, type LifeboatError } from "../errors.ts";
import { type CopyOwner, copyOwner } from "../integrity/copies.ts";
import { BACKUPS } from "../layout.ts";
import type { Log } from "../log.ts";
import { type RunProgress, UNCUT } from "../progress.ts";
import { readClock } from "../schedule/cron.ts";
import { timestamp } from "../timestamp.ts";
import { CopiesError, type Forgetting, forget, type RemovalMeans } from "../volumes/remover.ts";
import {
  type Judged,
  type RetentionDocument,
  type RetentionRow,
  type RetentionScope,
  retentionDocument,
  rowSchema,
} from "./document.ts";
import { factsOf } from "./facts.ts";
import { type Folder, foldersIn, sizeOf } from "./folders.ts";
import { type BackupFacts, judge, type ScheduleRules, type Verdict } from "./judge.ts";
import { findLeftovers } from "./leftovers.ts";
import { judgeRestores } from "./restores.ts";

const AT_ONCE = 8;
const REPOSITORIES_AT_ONCE = 4;

/** What is no refusal of one object. */
const ENDS_ALL: ErrorKind[] = ["unreachable", "timeout"];

/** What rightly stays: somebody works on it, or has pinned it meanwhile, or its bucket holds it. */
const STAYS: ErrorKind[] = ["busy", "conflict"];

/** What `runRetention` would do now. Nothing is written. Throws what the bucket throws. */
export async function previewRetention(scope: RetentionScope): Promise<RetentionDocument> {
  return retentionDocument(scope, { dryRun: true, rows: (await judgeAll(scope)).map(({ row }) => row) });
}

const factsSchema: z.ZodType<BackupFacts> = z.object({
  ...{ name: z.string(), problem: z.string().optional(), phase: z.string(), start: z.coerce.date().optional() },
  end: z.object({ at: z.coerce.date(), by: z.string() }).optional(),
  ...{ schedule: z.string().optional(), own: z.boolean(), damaged: z.boolean().optional() },
  untrusted: z.boolean().optional(),
  retained: z.coerce.date().optional(),
});

/** What a run of retention has judged first, and how far it has come in carrying that out. */
export const retentionStateSchema = z.object({
  now: z.coerce.date(),
  rows: z.array(rowSchema),
  /** Of the backups that go: once they are gone, those that are left are judged as if they were not. */
  facts: z.array(factsSchema),
  /** Of which rows all is done, and why one that was to go has stayed; by what they are called. */
  done: z.record(z.string(), z.object({ message: z.string(), rightly: z.boolean() }).nullable()),
  /** Those of which all but copies of files is gone. */
  begun: z.array(z.string()),
});
export type RetentionState = z.infer<typeof retentionStateSchema>;

/**
 * Deletes what is to go, the oldest backups first; interrupted, the next run goes on. What the bucket refuses to delete, a backup
 * whose copies of volumes can't be removed, and what somebody is at work on, is kept and told, and the rest goes on. Copies of files
 * go last, those of one repository together. Throws what else the bucket throws.
 */
export async function runRetention(scope: RetentionScope & { log: Log }): Promise<RetentionDocument> {
  return (await runRetentionSlice(scope, UNCUT))!;
}

/**
 * As `runRetention`, from where the slice before this one has ended; undefined where there is no time for all. What was judged first is
 * carried out, as far as it would be judged so again.
 */
export async function runRetentionSlice(
  given: RetentionScope & { log: Log },
  { before, leave, goOn }: Pick<RunProgress<RetentionState>, "before" | "leave" | "goOn">,
): Promise<RetentionDocument | undefined> {
  const { signal, log, volumes } = given;
  // What lies in the bucket makes no backup older than it is.
  const now = before && before.now < given.now ? before.now : given.now;
  const scope = { ...given, now };
  const limit = pLimit(AT_ONCE);
  const judged = await judgeAll(scope, before?.facts);
  const state: RetentionState = before ?? {
    now,
    rows: judged.map(({ row }) => row),
    facts: judged.filter(goes).flatMap(({ facts }) => facts ?? []),
    done: {},
    begun: [],
  };
  const { done } = state;
  const begunBefore = new Set(state.begun);
  const going = (before ? planned(state, judged) : judged.filter(goes)).toSorted(oldestFirst);
  const deferred = new Map<Judged, { files: Forgetting[]; means: RemovalMeans }>();
  const tell = (message: string) => log("info", message);
  let goesOn = true;
  const carryOut = async (
    { row }: Judged,
    work: (signal: AbortSignal) => Promise<unknown>,
    signal: AbortSignal,
  ): Promise<void> => {
    signal.throwIfAborted();
    const about = `${row.kind} ${row.name}`;
    try {
      if ((await work(signal)) === LATER) return;
      log("info", `Deleted ${about}: ${row.reason}`);
    } catch (error) {
      if (signal.aborted || !isLifeboatError(error) || endsAll(error)) throw error;
      if (error.kind !== "missing" || error instanceof CopiesError) {
        log("warning", `Kept ${about}: ${error.message}`);
        done[calledOf(row)] = { message: error.message, rightly: rightlyStays(error) };
        return;
      }
    }
    done[calledOf(row)] = null;
  };
  const deleteOne = (one: Judged) => async (signal: AbortSignal) => {
    const later = (files: Forgetting[], means: RemovalMeans) => void deferred.set(one, { files, means });
    await one.remove(signal, { tell, ...(volumes && { volumes: { means: volumes, later } }) });
    return deferred.has(one) ? LATER : undefined;
  };
  const step = async (one: Judged, signal: AbortSignal) => {
    if (!goesOn) return;
    await carryOut(one, deleteOne(one), signal);
    const called = calledOf(one.row);
    // What was begun before is no step: a slice of those alone would come no further.
    if (begunBefore.has(called) && deferred.has(one)) return;
    if (deferred.has(one)) state.begun.push(called);
    if (!(await goOn(() => state))) goesOn = false;
  };
  if (!before && going.length > 0) await leave(state);
  await together(
    signal,
    going.map((one) => (signal) => limit(step, one, signal)),
  );
  if (!goesOn) return undefined;
  const failed = await forgetTogether([...deferred.values()], { tell, signal });
  await together(
    signal,
    [...deferred].map(([one, { files }]) => (signal) => {
      const failure = files.map(({ repository }) => failed.get(repository)).find(Boolean);
      const finish = (signal: AbortSignal) =>
        failure ? Promise.reject(failure) : one.remove(signal, { tell, volumes: "removed" });
      return limit(carryOut, one, finish, signal);
    }),
  );
  const rows = state.rows.map((row): RetentionRow => {
    const refusal = done[calledOf(row)];
    return refusal ? { ...row, action: "keep", reason: refusal.message } : row;
  });
  const problems = (rightly: boolean) =>
    state.rows.flatMap((row) => {
      const refusal = done[calledOf(row)];
      return refusal?.rightly === rightly ? [{ message: `${row.kind} ${row.name}: ${refusal.message}` }] : [];
    });
  return retentionDocument(scope, { dryRun: false, rows, warnings: problems(true), errors: problems(false) });
}

function goes({ row }: Judged): boolean {
  return row.action === "delete";
}

/** What a row is called, by which no other one is. */
function calledOf({ kind, name }: RetentionRow): string {
  return `${kind} ${name}`;
}

/** What of the rows that were to go is to be done yet; what would not go any more, since it was pinned say, is done. */
function planned({ rows, done }: RetentionState, judged: Judged[]): Judged[] {
  const now = new Map(judged.map((one) => [calledOf(one.row), one]));
  return rows.flatMap((row) => {
    const called = calledOf(row);
    const one = now.get(called);
    if (row.action === "keep" || called in done) return [];
    if (one && goes(one)) return [{ ...one, row }];
    done[called] = one ? { message: one.row.reason, rightly: true } : null;
    return [];
  });
}

/** Of a deletion that waits for its copies of files. */
const LATER = Symbol("later");

function endsAll(error: LifeboatError): boolean {
  return ENDS_ALL.includes(error.kind) && !(error instanceof CopiesError);
}

function rightlyStays(error: LifeboatError): boolean {
  return STAYS.includes(error.kind) && !(error instanceof CopiesError);
}

/**
 * Removes the copies of files of many backups, by one Job for each repository: what no other copy holds is looked for but once, which
 * takes as long for one copy as for all. Gives the repositories in which it failed, with the errors.
 */
async function forgetTogether(
  deferred: { files: Forgetting[]; means: RemovalMeans }[],
  options: { tell: (message: string) => void; signal: AbortSignal },
): Promise<Map<string, LifeboatError>> {
  const limit = pLimit(REPOSITORIES_AT_ONCE);
  const failed = new Map<string, LifeboatError>();
  const all = deferred.flatMap(({ files, means }) => files.map((one) => ({ one, means })));
  const byRepository = Map.groupBy(all, ({ one }) => one.repository);
  const forgetIn = async ([repository, some]: [string, typeof all]) => {
    const [{ one, means }] = some as [(typeof all)[number]];
    const backups = some.flatMap(({ one }) => one.backups);
    try {
      await forget({ ...one, backups }, means, options);
    } catch (error) {
      if (options.signal.aborted || !isLifeboatError(error)) throw error;
      failed.set(repository, error);
    }
  };
  await Promise.all([...byRepository].map((group) => limit(forgetIn, group)));
  return failed;
}

/** Everything that retention has an opinion of. `gone`: backups that count as they were, though this run may have deleted them. */
async function judgeAll(scope: RetentionScope, gone: BackupFacts[] = []): Promise<Judged[]> {
  const { bucket, signal, schedule } = scope;
  // First what lies there, then the records: what is committed in between is then not taken for unfinished.
  const folders = await foldersIn(bucket, BACKUPS, signal);
  const records = await listBackups(bucket, signal);
  const backups = await judgeBackups(scope, { folders, records, gone });
  if (schedule !== undefined) return backups;
  const restores = await judgeRestores(
    scope,
    backups.map(({ row }) => row),
  );
  const known = [...backups, ...restores].map(({ row }) => row);
  return [...backups, ...restores, ...(await findLeftovers(scope, { folders, records, known }))];
}

async function judgeBackups(
  { bucket, config, schedule, now, by, trustedKeys, signal }: RetentionScope,
  { folders, records, gone }: { folders: Map<string, Folder>; records: CatalogRow<Backup>[]; gone: BackupFacts[] },
): Promise<Judged[]> {
  const { pins, verified } = await readMarks(bucket, signal);
  const there = records.map((record) =>
    factsOf(record, {
      pin: pins.get(record.name),
      damaged: verified.get(record.name)?.ok === false,
      trustedKeys,
      restoreTTL: config.restoreTTL,
    }),
  );
  const names = new Set(there.map(({ name }) => name));
  const all = [...there, ...gone.filter(({ name }) => !names.has(name))];
  const facts = schedule === undefined ? all : all.filter((backup) => backup.schedule === schedule);
  const verdicts = judge(now, facts, rulesOf(config));
  const copies = new Map(records.map(({ name, record }) => [name, record && copyOwner(record, bucket.location)]));
  return facts.map((backup, at) => ({
    row: backupRow(backup, verdicts[at]!, { folder: folders.get(backup.name), copies: copies.get(backup.name) }),
    facts: backup,
    remove: (signal, how) =>
      deleteBackup(bucket, backup.name, signal, { by, unfinished: !names.has(backup.name), ...how }),
  }));
}

function backupRow(
  { name, schedule, phase, start, untrusted }: BackupFacts,
  { action, reason: why }: Verdict,
  { folder, copies }: { folder?: Folder; copies?: CopyOwner },
): RetentionRow {
  const startTimestamp = start && timestamp(start);
  const reason = untrusted ? `${why}; no trusted key has signed it` : why;
  const volumeCopies = copies?.whose === "ours" ? copies.count : undefined;
  const row = { kind: "backup", name, action, reason, schedule, phase, startTimestamp, ...sizeOf(folder) } as const;
  return { ...row, ...(volumeCopies && { volumeCopies }) };
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
