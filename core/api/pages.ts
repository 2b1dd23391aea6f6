import { compareKeys } from "../bucket.ts";
import { readBackup, readRestore, rowProblem } from "../catalog.ts";
import { readBackupDocument, readMarks, readRestoreDocument } from "../documents.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import type { Bucket } from "../ports.ts";
import type { Problem } from "../report.ts";

/** As large as an answer may get: what the smallest of the platforms takes is 6 MB, in JSON. */
export const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/** Kept for what stands around a page's entries. */
const FRAME_BYTES = 4096;

const READS_AT_ONCE = 16;

/** A part of a list; `next` continues after it, where there is more. */
export interface Page<Entry> {
  entries: Entry[];
  next?: string;
}

/** A record or its report that can't be read, in a list of documents. */
export interface Unreadable {
  schemaVersion: 1;
  kind: "backup" | "restore";
  name: string;
  location: string;
  problem: string;
}

/** Backups in the order of their names: see `recordPage`. */
export async function backupPage(bucket: Bucket, range: Range, signal: AbortSignal) {
  const marks = await readMarks(bucket, signal);
  const read = async (name: string) =>
    readBackupDocument(bucket, await readBackup(bucket, name, signal), signal, marks);
  return recordPage(bucket, "backup", read, range, signal);
}

/** Restores in the order of their names: see `recordPage`. */
export function restorePage(bucket: Bucket, range: Range, signal: AbortSignal) {
  const read = async (name: string) => readRestoreDocument(bucket, await readRestore(bucket, name, signal), signal);
  return recordPage(bucket, "restore", read, range, signal);
}

/** At most `limit` of those that come after the name `after`. */
interface Range {
  limit: number;
  after?: string;
}

/**
 * Documents of what is committed, at most `limit` and as many as fit an answer: perhaps fewer. Names are listed up to
 * the page's end; only the page's own records are read.
 */
async function recordPage<Document extends { warnings: Problem[]; errors: Problem[] }>(
  bucket: Bucket,
  kind: "backup" | "restore",
  readDocument: (name: string) => Promise<Document>,
  { limit, after }: Range,
  signal: AbortSignal,
): Promise<Page<Document | Unreadable>> {
  const { names, more } = await namesAfter(bucket, `${kind}s/`, after, limit, signal);
  const read = async (name: string) => {
    try {
      return fitted(await readDocument(name));
    } catch (error) {
      if (isLifeboatError(error, "missing")) return undefined;
      return { schemaVersion: 1, kind, name, location: bucket.location, problem: rowProblem(error) } as const;
    }
  };
  const rows: Awaited<ReturnType<typeof read>>[] = [];
  let fitting = 0;
  // Not all at once: what doesn't fit this page would be read, and kept, for nothing.
  while (rows.length < names.length && fitting === rows.length) {
    rows.push(...(await Promise.all(names.slice(rows.length, rows.length + READS_AT_ONCE).map(read))));
    fitting = countFitting(rows);
  }
  const entries = rows.slice(0, fitting).filter((row) => row !== undefined);
  return { entries, next: more || fitting < names.length ? names[fitting - 1] : undefined };
}

async function namesAfter(
  bucket: Bucket,
  folder: string,
  after: string | undefined,
  limit: number,
  signal: AbortSignal,
) {
  const names: string[] = [];
  for await (const { prefix } of bucket.list(folder, { delimiter: "/", signal })) {
    if (prefix === undefined) continue;
    if (after !== undefined && compareKeys(prefix, `${folder}${after}/`) <= 0) continue;
    if (names.length === limit) return { names, more: true };
    names.push(prefix.slice(folder.length, -1));
  }
  return { names, more: false };
}

/** `limit` of the entries from the one at `start` on, as far as they fit an answer. */
export function entryPage<Entry>(entries: Entry[], { limit, start }: { limit: number; start: number }): Page<Entry> {
  const wanted = entries.slice(start, start + limit);
  const fitting = wanted.slice(0, countFitting(wanted));
  const end = start + fitting.length;
  return { entries: fitting, next: end < entries.length ? String(end) : undefined };
}

/** The part of a text that begins at the byte `start`, cut after a line, where a line is not longer than an answer. */
export function textPage(text: string, start: number, limit = MAX_ANSWER_BYTES): { text: string; next?: string } {
  const bytes = Buffer.from(text);
  if (start + limit >= bytes.length) return { text: bytes.subarray(start).toString() };
  let end = bytes.lastIndexOf(0x0a, start + limit - 1) + 1;
  // No line ends there: between two characters, then.
  if (end <= start) for (end = start + limit; (bytes[end]! & 0xc0) === 0x80; ) end--;
  return { text: bytes.subarray(start, end).toString(), next: String(end) };
}

/** `document`, with as many of its problems as fit an answer, and a word on the others. */
export function fitted<Document extends { warnings: Problem[]; errors: Problem[] }>(document: Document): Document {
  let left = MAX_ANSWER_BYTES - FRAME_BYTES;
  if (bytesOf(document) <= left) return document;
  left -= bytesOf({ ...document, warnings: [], errors: [] });
  if (left < 0) throw new LifeboatError("corrupt", `the record is larger than an answer may be`);
  const cut = (problems: Problem[]): Problem[] => {
    const kept = problems.findIndex((problem) => {
      left -= bytesOf(problem) + 1;
      return left < 0;
    });
    if (kept < 0) return problems;
    return [...problems.slice(0, kept), { message: `and ${problems.length - kept} more, which the log tells` }];
  };
  return { ...document, errors: cut(document.errors), warnings: cut(document.warnings) };
}

/** How many of the entries fit an answer, at least one. */
function countFitting(entries: unknown[]): number {
  let left = MAX_ANSWER_BYTES - FRAME_BYTES;
  const over = entries.findIndex((entry) => {
    left -= entry === undefined ? 0 : bytesOf(entry) + 1;
    return left < 0;
  });
  return over < 0 ? entries.length : Math.max(over, 1);
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
