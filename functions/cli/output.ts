import { stripVTControlCharacters, styleText } from "node:util";
import type { OutputFormat } from "./options.ts";

let closed = false;

/** Lets a reader of stdout that has seen enough (`| head`) close it: what follows is dropped, the command goes on. */
export function toleratePipesClosed(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      closed ||= stream === process.stdout;
    });
  }
}

/** Data, for stdout. */
export function print(text: string): void {
  if (!closed) process.stdout.write(text.endsWith("\n") || text === "" ? text : `${text}\n`);
}

/** A message about the data, for stderr. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Waits until all that was printed is out. */
export async function flushOutput(): Promise<void> {
  if (!closed) await new Promise<void>((resolve) => process.stdout.write("", () => resolve()));
}

/** Prints a result document as JSON or YAML; where neither is asked for, the text that `table` makes. */
export async function printResult(
  format: OutputFormat | undefined,
  document: object,
  table: () => string,
): Promise<void> {
  if (format === "json") print(JSON.stringify(document, undefined, 2));
  else if (format === "yaml") print((await import("yaml")).stringify(document, plainNumber, YAML));
  else print(table());
}

/** As kubectl writes and reads it: YAML 1.1, in which `yes` is a boolean; no line is folded, nothing said by reference. */
const YAML = { version: "1.1", lineWidth: 0, aliasDuplicateObjects: false } as const;

/** Integers that `parseExact` kept are written as numbers. */
function plainNumber(_key: unknown, value: unknown): unknown {
  return JSON.isRawJSON(value) ? BigInt((value as { rawJSON: string }).rawJSON) : value;
}

/** Columns as kubectl prints them: as wide as their longest cell, three spaces apart. */
export function columns(rows: string[][]): string {
  const widths: number[] = [];
  for (const row of rows) for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, widthOf(cell));
  const line = (row: string[]) => row.map((cell, at) => cell + " ".repeat(widths[at]! - widthOf(cell))).join("   ");
  return rows.map((row) => `${line(row).trimEnd()}\n`).join("");
}

/** "Name:  value" lines, the values below one another; nested ones are indented. */
export function fields(pairs: [string, string][], indent = ""): string {
  const width = Math.max(...pairs.map(([name]) => name.length)) + 1;
  return pairs.map(([name, value]) => `${indent}${`${name}:`.padEnd(width)}  ${value}`.trimEnd()).join("\n");
}

const COLOURS: Record<string, "green" | "yellow" | "red"> = {
  Completed: "green",
  PartiallyFailed: "yellow",
  Failed: "red",
  FailedValidation: "red",
  Unreadable: "red",
  Intact: "green",
  Damaged: "red",
};

/** A phase, in colour where stdout is a terminal and NO_COLOR is not set. */
export function phaseText(phase: string): string {
  const colour = COLOURS[phase];
  return colour ? styleText(colour, phase) : printable(phase);
}

/** Text from a bucket or a cluster without what could steer a terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ");
}

/** 12345 as "12,345". */
export function countText(count: number): string {
  return count.toLocaleString("en-US");
}

/** "1 error", "2 errors". */
export function plural(count: number, word: string): string {
  return `${countText(count)} ${word}${count === 1 ? "" : "s"}`;
}

/** 1940 as "1.9 s", 133000 as "2m13s". */
export function durationText(ms: number): string {
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h ? `${h}h${m}m` : `${m}m${s}s`;
}

/** An RFC 3339 time as Velero's tables show it: "2026-08-21 20:47:40 UTC". */
export function timeText(timestamp: string | undefined): string {
  return timestamp ? printable(timestamp).replace(/^(\S+)T(\S+)Z$/, "$1 $2 UTC") : "n/a";
}

/** How long from now, as Velero's EXPIRES column: "29d", "5h", "12m", "expired". */
export function untilText(timestamp: string | undefined): string {
  if (!timestamp) return "never";
  const minutes = (Date.parse(timestamp) - Date.now()) / 60_000;
  if (Number.isNaN(minutes)) return printable(timestamp);
  return minutes <= 0 ? "expired" : spanText(minutes);
}

/** How long ago: "29d", "5h", "12m"; "-" for no time. */
export function ageText(timestamp: string | undefined): string {
  const minutes = (Date.now() - Date.parse(timestamp ?? "")) / 60_000;
  return Number.isNaN(minutes) ? "-" : spanText(Math.max(0, minutes));
}

/** "every": of seconds, "1h", "30m", "7d"; "-" for none. */
export function intervalText(seconds: number | undefined): string {
  if (seconds === undefined) return "-";
  const units = [
    ["d", 86_400],
    ["h", 3_600],
    ["m", 60],
  ] as const;
  const [unit, size] = units.find(([, size]) => seconds >= size && seconds % size === 0) ?? ["s", 1];
  return `${seconds / size}${unit}`;
}

function spanText(minutes: number): string {
  if (minutes < 120) return `${Math.floor(minutes)}m`;
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)}h` : `${Math.floor(minutes / 1440)}d`;
}

/** Cells may hold colour codes, which take no room. */
function widthOf(cell: string): number {
  return stripVTControlCharacters(cell).length;
}
