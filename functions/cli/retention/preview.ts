import {
  bytesText,
  copiesText,
  previewRetention,
  type RetentionDocument,
  type RetentionRow,
  scheduleOf,
} from "../../../core/index.ts";
import { loadConfig } from "../config.ts";
import type { Invocation } from "../options.ts";
import { columns, countText, phaseText, printable, printResult, say, timeText } from "../output.ts";
import { openBucket, trustedKeysOf } from "../session.ts";

const COLUMNS: Record<string, (row: RetentionRow) => string> = {
  ACTION: ({ action }) => action,
  KIND: ({ kind }) => kind,
  NAME: ({ name }) => printable(name),
  STATUS: ({ phase }) => phaseText(phase || "-"),
  CREATED: ({ startTimestamp }) => (startTimestamp ? timeText(startTimestamp) : "-"),
  REASON: ({ reason, volumeCopies }) =>
    printable(volumeCopies ? `${reason}; with ${copiesText(volumeCopies)}` : reason),
};

/** `lifeboat retention preview [--schedule NAME]` */
export async function previewAll(invocation: Invocation<{ schedule?: string; details?: boolean }>): Promise<undefined> {
  const { output, details } = invocation.options;
  const document = await previewOf(invocation);
  await printResult(output, document, () => rowsTable(document, details));
  say(summary(document, "would be deleted"));
}

/** What a run would do now. */
export async function previewOf({ options, signal }: Invocation<{ schedule?: string }>): Promise<RetentionDocument> {
  const { schedule } = options;
  const config = await loadConfig(options);
  if (schedule !== undefined) scheduleOf(config, schedule);
  const bucket = await openBucket({ ...options, location: config.location });
  const trustedKeys = await trustedKeysOf(options, signal);
  return previewRetention({ bucket, config, schedule, now: new Date(), trustedKeys, signal });
}

/** What goes, and, with `details`, what stays. */
export function rowsTable({ rows }: RetentionDocument, details = false): string {
  const shown = rows.filter(({ action }) => details || action === "delete");
  if (shown.length === 0) return "";
  return columns([Object.keys(COLUMNS), ...shown.map((row) => Object.values(COLUMNS).map((cell) => cell(row)))]);
}

/** "3 of 17 would be deleted, 1.2 MiB" */
export function summary({ rows, counts, freedBytes }: RetentionDocument, done: string): string {
  if (counts.delete === 0) return `Nothing ${done}: ${countText(rows.length)} looked at`;
  const copies = rows.reduce((sum, { action, volumeCopies = 0 }) => sum + (action === "delete" ? volumeCopies : 0), 0);
  const going = `${countText(counts.delete)} of ${countText(rows.length)} ${done}, ${bytesText(freedBytes)}`;
  return copies ? `${going}, with ${copiesText(copies)}` : going;
}
