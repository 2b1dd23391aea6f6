import { isDeepStrictEqual } from "node:util";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import type { LockedJob, RecordedJob } from "../job.ts";
import { RUN_KINDS } from "../layout.ts";
import { heldText, LOCK_TIMING, lockState, takeLock } from "../lock.ts";
import { type RunLog, startRunLog } from "../log.ts";
import type { Bucket } from "../ports.ts";
import { leavingLog } from "../runs.ts";
import type { More } from "../slices.ts";
import type { JobContext, NamedContext, Outcome, Result } from "./context.ts";

interface Locked<Document> {
  kind: RecordedJob["kind"];
  name: string;
  /** What has been committed under that name already. */
  found: () => Promise<Document | undefined>;
  /** What does the rest, of a job that may leave some. */
  next?: LockedJob;
}

/** What a job is done with under its lock. */
export interface LockedRun {
  bucket: Bucket;
  log: RunLog;
  signal: AbortSignal;
  /** Milliseconds since it began. */
  elapsed: () => number;
}

/** What is done under a lock that was taken: it ends with the lock, and its time begins now. */
export function runUnder(lock: { signal: AbortSignal }, log: RunLog, { bucket, signal }: JobContext): LockedRun {
  const began = performance.now();
  const elapsed = () => Math.round(performance.now() - began);
  return { bucket, log, signal: AbortSignal.any([signal, lock.signal]), elapsed };
}

/** Does `work` under the lock of its name, or tells that it need not be done. */
export async function locked<Document extends Result>(
  { kind, name, found, next }: Locked<Document>,
  context: NamedContext,
  work: (run: LockedRun) => Promise<Document | (More & { next?: LockedJob; parts?: LockedJob[] })>,
): Promise<Outcome> {
  const { bucket, signal, listen, by, timing = LOCK_TIMING } = context;
  const scope = { bucket, kind: RUN_KINDS[kind], name };
  context.named(name);
  let document: Document | undefined;
  const settled = async () => {
    document = await found();
    return document !== undefined;
  };
  const lock = await takeLock(scope, { settled, signal, timing, by });
  if (lock === "settled") return { document: document!, duplicate: true };
  if (lock === "cancelled") return { duplicate: true, skipped: `${kind} "${name}" has been called off` };
  if (lock === "running")
    return {
      duplicate: true,
      skipped: `another run is making ${kind} "${name}"${heldText(await lockState(scope, { signal }))}`,
    };
  await using held = lock;
  const log = startRunLog({ [kind]: `velero/${name}` }, listen);
  const run = runUnder(held, log, context);
  try {
    const result = await leavingLog({ kind, bucket, name, log }, () => work(run));
    if (!("more" in result)) return { document: result, duplicate: false };
    return { duplicate: false, next: result.next ?? next!, items: result.items, parts: result.parts };
  } catch (error) {
    if (isLifeboatError(error, "conflict")) {
      if (held.signal.reason === error) return { duplicate: false, skipped: error.message };
      if (await settled()) return { document: document!, duplicate: true };
    }
    throw error;
  }
}

/** The document of what is committed; undefined where nothing is. */
export async function committed<Document>(read: () => Promise<Document>): Promise<Document | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isLifeboatError(error, "missing")) return undefined;
    throw error;
  }
}

/** A job that meets another's backup or restore under its name has not been done. What isn't known of either says nothing. */
export function checkSame(
  kind: RecordedJob["kind"],
  name: string,
  what: string,
  there?: string,
  wanted?: string,
): void {
  if (there === undefined || wanted === undefined || there === wanted) return;
  throw new LifeboatError(
    "conflict",
    `there is a ${kind} "${name}" already, of the ${what} "${there}", not "${wanted}"`,
    { hint: "choose another name" },
  );
}

/** As `checkSame`, of specs: which fields differ. */
export function checkSameSpec(kind: RecordedJob["kind"], name: string, there?: object, wanted?: object): void {
  if (there === undefined || wanted === undefined) return;
  const [theirs, ours] = [asStored(there), asStored(wanted)];
  const fields = Object.keys({ ...theirs, ...ours }).filter((field) => !isDeepStrictEqual(theirs[field], ours[field]));
  if (fields.length === 0) return;
  throw new LifeboatError(
    "conflict",
    `there is a ${kind} "${name}" already, of a spec that differs in ${fields.sort().join(", ")}`,
    { hint: "choose another name" },
  );
}

function asStored(spec: object): Record<string, unknown> {
  return JSON.parse(JSON.stringify(spec));
}
