import { withoutIdentities } from "./errors.ts";
import { gzipText } from "./gziptext.ts";
import { timestamp } from "./timestamp.ts";

export type LogLevel = "info" | "warning" | "error";

/** What a run says while it works. Fields are plain facts (a resource, a count), never secrets. */
export type Log = (level: LogLevel, message: string, fields?: Record<string, string | number>) => void;

/** Gets each line of a log as it is written, without its line feed. */
export type Listen = (line: string, level: LogLevel) => void;

/** The log of one run, kept until the run ends and then stored beside its result. */
export interface RunLog {
  log: Log;
  /** All lines so far, gzipped, in logrus' text format, as `velero backup logs` prints them. */
  gzipped(): Buffer;
  /** Whether the run failed and yet left its log in the bucket, where `readLog` finds it. */
  left: boolean;
  /** What a run that fails leaves half done, and what to do about it: for its result. */
  unfinished: string[];
}

/**
 * Starts the log of one run. `subject` stands on every line (`backup=velero/full`); `listen` gets each line as it is
 * written, without its line feed.
 */
export function startRunLog(subject: Record<string, string>, listen?: Listen): RunLog {
  const text = gzipText();
  return {
    log(level, message, fields = {}) {
      const line = logLine(level, message, { ...subject, ...fields });
      text.add(`${line}\n`);
      listen?.(line, level);
    },
    gzipped: text.gzipped,
    left: false,
    unfinished: [],
  };
}

/** One line of a log, in logrus' text format, without its line feed. */
export function logLine(level: LogLevel, message: string, fields: Record<string, string | number> = {}): string {
  let line = `time=${JSON.stringify(timestamp(new Date()))} level=${level} msg=${JSON.stringify(message)}`;
  for (const [key, value] of Object.entries(fields)) line += ` ${key}=${logrusValue(String(value))}`;
  return withoutIdentities(line);
}

function logrusValue(value: string): string {
  return /^[\w\-./@^+]+$/.test(value) ? value : JSON.stringify(value);
}
