import { listBackups, newestBackup, RESTORABLE, SCHEDULE_LABEL } from "../catalog.ts";
import { folderNames } from "../contents.ts";
import { messageOf } from "../errors.ts";
import type { VerifyDocument, VerifyListDocument } from "../integrity/document.ts";
import { damageLines } from "../integrity/findings.ts";
import { readTrustedKeys } from "../integrity/keys.ts";
import {
  lastLocationVerification,
  noteLocationVerification,
  noteVerification,
  readAllVerified,
} from "../integrity/verified.ts";
import {
  type VerifyListState,
  verifyListStateSchema,
  verifyLocationSlice,
  verifySlice,
  verifyStateSchema,
} from "../integrity/verify.ts";
import { ALL, readShare, type VerifyJob } from "../job.ts";
import { BACKUPS } from "../layout.ts";
import { heldText, LOCK_TIMING, lockState, takeLock } from "../lock.ts";
import { startRunLog } from "../log.ts";
import type { Bucket } from "../ports.ts";
import { newRun, openProgress, type RunProgress } from "../progress.ts";
import { settleRequest } from "../runs.ts";
import type { JobContext, NamedContext, Outcome } from "./context.ts";
import { locked } from "./locked.ts";

/** Verifies one backup: that of a name, or the newest of a schedule. */
export async function runVerifyJob(job: VerifyJob, context: NamedContext): Promise<Outcome> {
  const { bucket, config, secrets, signal } = context;
  const newest = () => newestBackup(bucket, job.schedule ?? "", { phases: RESTORABLE, signal });
  const name = job.name ?? (await newest()).metadata.name;
  const read = job.readData ? 1 : (readShare(job.sample ?? "") ?? 0);
  const { run: id = newRun() } = job;
  const next: VerifyJob = { ...job, name, schedule: undefined, run: id, notBefore: undefined };
  const cut = { id, isRest: job.run !== undefined, schema: verifyStateSchema, slice: context.slice };
  return locked({ kind: "verify", name, found: async () => undefined, next }, context, async ({ log, signal }) => {
    const trustedKeys = await readTrustedKeys(secrets, config.signing.publicKeys, signal);
    const progress = await openProgress({ bucket, ...cut, signal });
    let items = 0;
    const counting = (done: number) => {
      items = done;
    };
    const more = () => ({ more: true as const, items });
    try {
      const document = await verifySlice(bucket, name, { read, trustedKeys, signal, progress: counting }, progress);
      if (!document) return more();
      for (const line of damageLines(document.damaged)) log.log("error", line);
      await noteVerification(bucket, document, read, signal);
      await settleRequest(bucket, { kind: "verify", name });
      await progress.end();
      return document;
    } catch (error) {
      if (await progress.isLeft()) return more();
      throw error;
    }
  });
}

/** Which backups are verified where no job names one: `newestNames`, or all. */
type Chosen = NonNullable<VerifyJob["backups"]>;

/**
 * Verifies the backups of the location that the job, else the configuration, chooses, under a lock of its own; what was
 * found of each is said at once. Those go first that were not verified for longest. What there is no time for is left to the next
 * slice. A slot is verified once, however often it is triggered: damage that is noted of it is told again, all else is skipped. Throws
 * `timeout` where there was no time for a single step, and what the bucket throws.
 */
export async function runLocationVerification(
  job: VerifyJob,
  context: JobContext & { slice?: { ends: AbortSignal } },
): Promise<
  | { document: VerifyListDocument; duplicate: boolean }
  | { document?: undefined; duplicate: false; next: VerifyJob; items: number }
  | { document?: undefined; duplicate: true; skipped: string }
> {
  const { bucket, signal, by, slice, timing = LOCK_TIMING } = context;
  const { slot, run: id = newRun() } = job;
  const scope = { bucket, kind: "verification", name: ALL } as const;
  let done = undefined as VerifyListDocument | undefined;
  const settled = async () => {
    const last = slot === undefined ? undefined : await lastLocationVerification(bucket, signal);
    done = last?.slot === slot ? last?.document : undefined;
    return done !== undefined;
  };
  const lock = await takeLock(scope, { settled, signal, timing, by });
  if (lock === "settled") {
    if (!done?.ok) return { document: done!, duplicate: true };
    // Whoever may create objects can have noted that all is well.
    return { duplicate: true, skipped: `the verification of ${slot} is noted in ${bucket.location} already` };
  }
  if (typeof lock === "string") {
    const who = heldText(await lockState(scope, { signal }));
    return { duplicate: true, skipped: `another run verifies ${bucket.location}${who}` };
  }
  await using held = lock;
  const note = async (document?: VerifyListDocument) => {
    const ending = AbortSignal.timeout(NOTE_MS);
    await noteLocationVerification(bucket, { document, slot }, ending);
    // Who may not delete leaves it for retention.
    await held.remove(ending).catch(() => {});
  };
  const verifying = AbortSignal.any([signal, held.signal]);
  const cut = { id, isRest: job.run !== undefined, schema: verifyListStateSchema, slice };
  const progress = await openProgress({ bucket, ...cut, signal: verifying });
  let items = 0;
  const goOn: typeof progress.goOn = (state) => {
    items = state().done;
    return progress.goOn(state);
  };
  const more = () => ({ duplicate: false as const, next: { ...job, run: id, notBefore: undefined }, items });
  try {
    const document = await verifyChosen(job, { ...context, signal: verifying }, { ...progress, goOn });
    if (!document) return more();
    await note(document);
    await progress.end();
    return { document, duplicate: false };
  } catch (error) {
    if (await progress.isLeft()) return more();
    await note().catch(() => {});
    throw error;
  }
}

/** As long as it may take to say how a run ended whose time is up. */
const NOTE_MS = 10_000;

async function verifyChosen(
  job: VerifyJob,
  { bucket, config, secrets, signal, listen }: JobContext,
  { before, goOn }: RunProgress<VerifyListState>,
): Promise<VerifyListDocument | undefined> {
  const { backups = config.verify?.backups ?? "newest" } = job;
  const { readData, sample = "" } = (job.readData ?? job.sample) ? job : (config.verify ?? {});
  const read = readData ? 1 : (readShare(sample) ?? 0);
  const { log } = startRunLog({ verify: bucket.location }, listen);
  const trustedKeys = await readTrustedKeys(secrets, config.signing.publicKeys, signal);
  const options = {
    ...{ read, trustedKeys, signal },
    names: before?.names ?? (await namesOf(bucket, backups, signal)),
    async found(document: VerifyDocument) {
      const { name, ok, damaged } = document;
      for (const line of damageLines(damaged)) log("error", line);
      await noteVerification(bucket, document, read, signal);
      log(ok ? "info" : "error", `Backup ${name} is ${ok ? "intact" : "damaged"}`);
    },
  };
  const document = await verifyLocationSlice(bucket, options, { before, goOn }).catch((error) => {
    log("error", messageOf(error));
    throw error;
  });
  for (const { folder, reason } of document?.orphans ?? []) log("error", `${folder}: ${reason}`);
  return document;
}

/** Those of which nothing is known first, then the ones that were verified longest ago. */
async function namesOf(bucket: Bucket, chosen: Chosen, signal: AbortSignal): Promise<string[]> {
  const names = chosen === "all" ? await folderNames(bucket, BACKUPS, { signal }) : await newestNames(bucket, signal);
  const verified = await readAllVerified(bucket, signal);
  const time = (name: string) => verified.get(name)?.at ?? "";
  return names.sort((a, b) => (time(a) === time(b) ? 0 : time(a) < time(b) ? -1 : 1));
}

/** The newest backup of each schedule that can be restored, and each whose record can't be read: it may be such a one. */
async function newestNames(bucket: Bucket, signal: AbortSignal): Promise<string[]> {
  const rows = await listBackups(bucket, signal);
  const restorable = rows.flatMap(({ record }) =>
    record && RESTORABLE.includes(record.status?.phase ?? "") ? [record] : [],
  );
  const unreadable = rows.flatMap(({ name, problem }) => (problem === undefined ? [] : [name]));
  const bySchedule = Map.groupBy(restorable, ({ metadata: { labels } }) => labels?.[SCHEDULE_LABEL]);
  bySchedule.delete(undefined);
  const startOf = ({ status }: (typeof restorable)[number]) => Date.parse(status?.startTimestamp ?? "") || 0;
  const newest = [...bySchedule.values()].map((backups) =>
    backups.reduce((newest, one) => (startOf(one) > startOf(newest) ? one : newest)),
  );
  return [...unreadable, ...newest.map(({ metadata }) => metadata.name)];
}
