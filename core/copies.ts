import type { Backup } from "./catalog.ts";
import { readObject } from "./contents.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import { copiesStay, findCopyOwner, readCopies, unrecordedCopies } from "./integrity/copies.ts";
import { removalKey } from "./layout.ts";
import { putJsonOnce } from "./once.ts";
import type { Bucket } from "./ports.ts";
import { type Copies, copiesSchema, copiesText, copyCount } from "./volumes/copies.ts";
import {
  CopiesError,
  type Forgetting,
  forget,
  KEEP_HINT,
  type OpenedCopies,
  openCopies,
  type RemovalMeans,
} from "./volumes/remover.ts";

/**
 * What becomes of copies of volumes whose backup is deleted: they are removed by `means`, which is asked only where there are some; "keep" leaves them in their storage; "removed" is for who
 * has done it. With `later` a deletion stops where only copies of files are to go yet, and goes on when it is done again.
 */
export type CopyWish =
  | { means: () => Promise<RemovalMeans>; later?: (files: Forgetting[], means: RemovalMeans) => void }
  | "keep"
  | "removed";

/** What becomes of copies, and who hears where that is something else than that they go. */
export interface CopiesFate {
  /** Where not given, a backup that has some is refused. */
  volumes?: CopyWish;
  tell?: (message: string) => void;
}

/** The copies of a backup's volumes that go with it, opened and noted; undefined where there are none. */
export async function openedCopies(
  { volumes, tell, ...deleted }: CopiesFate & Deleted,
  signal: AbortSignal,
): Promise<(OpenedCopies & { means: RemovalMeans }) | undefined> {
  const { bucket, name } = deleted;
  if (volumes === "removed") return undefined;
  const copies = await copiesThatGo({ ...deleted, keep: volumes === "keep", tell }, signal);
  if (!copies || volumes === "keep") return undefined;
  if (!volumes) throw copiesStay(name, copyCount(copies), "nothing was given to remove them by", KEEP_HINT);
  const means = await volumes.means();
  const opened = await openCopies(copies, means, { location: bucket.location, signal });
  await putJsonOnce(bucket, removalKey(name), copies, signal);
  return { ...opened, means };
}

/** A backup that is deleted. */
interface Deleted {
  bucket: Bucket;
  name: string;
  /** The keys of all that lies there. */
  present: string[];
  /** Where there is one that can be read. */
  record: Backup | undefined;
}

/** What copies go with a backup: those of the note of an interrupted deletion, else those that it names, if they are its own. */
async function copiesThatGo(
  { bucket, name, present, record, keep, tell }: Deleted & { keep: boolean; tell?: (message: string) => void },
  signal: AbortSignal,
): Promise<Copies | undefined> {
  const stay = (count: number, why = "") => tell?.(`backup ${name} leaves ${copiesText(count)} in the storage${why}`);
  const note = removalKey(name);
  if (present.includes(note)) {
    if (!keep) return readNote(bucket, note, signal);
    tell?.(`backup ${name} leaves those of its volume copies in the storage that are still there`);
    return undefined;
  }
  if (!record) {
    if (keep) return undefined;
    const count = await withHint(unrecordedCopies(bucket, name, present, signal), signal);
    if (count === 0) return undefined;
    throw copiesStay(
      name,
      count,
      "no record that tells whose they are",
      `the command that was interrupted, done again, finishes it; then it can be deleted\n${KEEP_HINT}`,
    );
  }
  const finding = withHint(findCopyOwner(bucket, record, signal), signal);
  const owner = await (keep ? finding.catch(orCorrupt) : finding);
  if (!owner) return undefined;
  const { count, whose, madeIn } = owner;
  if (keep) stay(count);
  else if (whose === "elsewhere") stay(count, `, of the original, ${madeIn ? `in ${madeIn}` : "wherever that is"}`);
  else if (whose === "velero")
    throw copiesStay(
      name,
      count,
      "only Velero removes those that it made",
      `"velero backup delete" removes both\n${KEEP_HINT}`,
    );
  else return withHint(readCopies(bucket, record, signal), signal);
  return undefined;
}

async function withHint<T>(reading: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    signal.throwIfAborted();
    if (!isLifeboatError(error)) throw error;
    const { kind, message, hint, key } = error;
    const what = `what copies of volumes go with it can't be told: ${message}`;
    throw new CopiesError(kind, what, { hint: [hint, KEEP_HINT].filter(Boolean).join("\n"), key, cause: error });
  }
}

/** Nothing, where the error is that what names copies is damaged. */
function orCorrupt(error: unknown): undefined {
  if (!isLifeboatError(error, "corrupt")) throw error;
}

async function readNote(bucket: Bucket, key: string, signal: AbortSignal): Promise<Copies> {
  const text = await readObject(bucket, key, signal);
  try {
    return copiesSchema.parse(JSON.parse(text.toString()));
  } catch (cause) {
    throw new LifeboatError("corrupt", `${key} is no note of copies of volumes`, { key, hint: KEEP_HINT, cause });
  }
}

/** Forgets copies of files now, or leaves them to who does it for many backups at once. */
export async function forgetOrDefer(
  { files, means }: OpenedCopies & { means: RemovalMeans },
  { volumes, tell }: CopiesFate,
  signal: AbortSignal,
): Promise<"done" | "later"> {
  if (files.length === 0) return "done";
  if (typeof volumes === "object" && volumes.later) {
    volumes.later(files, means);
    return "later";
  }
  for (const one of files) await forget(one, means, { tell, signal });
  return "done";
}
