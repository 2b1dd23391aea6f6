import type { Fields } from "../../objects/fields.ts";
import { at, fieldsAt } from "../../objects/fields.ts";

/** How far restic has come. */
export interface ResticProgress {
  bytes: number;
  files: number;
  /** Of those it knows of so far. */
  totalBytes: number;
  totalFiles: number;
}

/** What restic wrote, line by line: its own JSON where it is that, else text. */
export interface Output {
  /** The newest line of progress. */
  progress?: ResticProgress;
  /** What it says at its end. */
  summary?: Fields;
  /** What it could not read or write, and why: "/data/x: permission denied". */
  problems: string[];
  /** Other lines, of people's words. */
  words: string[];
}

/** Reads a container's log. Lines that were cut are taken for words. */
export function readOutput(log: string): Output {
  const output: Output = { problems: [], words: [] };
  for (const line of log.split("\n")) {
    if (!line.trim()) continue;
    const message = parseLine(line);
    const type = at(message, "message_type");
    if (!message) output.words.push(line.trim());
    else if (type === "status") output.progress = progressOf(message);
    else if (type === "summary") output.summary = message;
    else if (type === "error") output.problems.push(problemOf(message));
    else if (type === "exit_error") output.words.push(text(message.message));
  }
  return output;
}

/** The document of a command that answers with one line of JSON; undefined where there is none. */
export function readAnswer(log: string): unknown {
  const line = log.split("\n").findLast((line) => /^\s*[[{]/.test(line));
  try {
    return line === undefined ? undefined : JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** A number of restic's summary; 0 where it says none. */
export function count(summary: unknown, ...fields: string[]): number {
  const value = at(summary, ...fields);
  return typeof value === "number" ? value : 0;
}

function parseLine(line: string): Fields | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return fieldsAt({ line: JSON.parse(line) }, "line");
  } catch {
    return undefined;
  }
}

/** Copies and restores name what they have done differently. */
function progressOf(status: Fields): ResticProgress {
  return {
    bytes: count(status, "bytes_done") || count(status, "bytes_restored"),
    files: count(status, "files_done") || count(status, "files_restored"),
    totalBytes: count(status, "total_bytes"),
    totalFiles: count(status, "total_files"),
  };
}

function problemOf(message: Fields): string {
  const reason = text(at(message, "error", "message"));
  const item = text(message.item);
  return item && !reason.includes(item) ? `${item}: ${reason}` : reason;
}

function text(value: unknown): string {
  return typeof value === "string" ? value.replace(/\s+/g, " ").trim() : "";
}
