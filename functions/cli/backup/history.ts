import { styleText } from "node:util";
import { type HistoryDocument, history, type ObjectEvent } from "../../../core/index.ts";
import { fieldsText, type Mark, objectName } from "../changes.ts";
import type { Invocation } from "../options.ts";
import { countText, plural, printable, printResult, say, timeText } from "../output.ts";
import { readingOf } from "../reading.ts";
import { openExisting } from "../session.ts";

interface HistoryOptions {
  diff?: boolean;
  all?: boolean;
  backup?: string[];
  schedule?: string;
}

/** `lifeboat backup history OBJECT`: what became of an object from backup to backup. */
export async function objectHistory({ args, options, signal }: Invocation<HistoryOptions>): Promise<undefined> {
  const { diff, all, backup: backups, schedule } = options;
  const bucket = await openExisting(options);
  const request = { item: args[0] as string, diff, all, backups, schedule };
  const document = await history(bucket, request, await readingOf(options, signal));
  for (const { message } of document.warnings) say(`Warning: ${printable(message)}`);
  await printResult(options.output, document, () => historyText(document));
}

const MARKS: Record<ObjectEvent["change"], Mark> = {
  appeared: { mark: "+", colour: "green" },
  changed: { mark: "~", colour: "yellow" },
  recreated: { mark: "±", colour: "magenta" },
  disappeared: { mark: "-", colour: "red" },
};

function historyText(document: HistoryDocument): string {
  const { events, searched, silent } = document;
  const head = `${printable(objectName(document))} in ${plural(searched, "backup")}\n`;
  const unsure = silent ? `\n${plural(silent, "backup")} of these can't tell whether it was there\n` : "";
  return `${head}\n${events.map(eventText).join("")}${unsure}`;
}

function eventText(event: ObjectEvent): string {
  const { change, backup, timestamp, backups, last, previous, diff, versions = 1 } = event;
  const { mark, colour } = MARKS[change];
  const what = change === "appeared" && !previous ? "there already" : change;
  const head = styleText(colour, `  ${mark} ${timeText(timestamp)}  ${what.padEnd(13)}`);
  const touched = versions > 1 ? `, ${countText(versions)} versions by servers and controllers` : "";
  const span =
    backups > 1
      ? `      so in ${countText(backups)} backups, until ${printable(last.backup)} (${timeText(last.timestamp)})${touched}\n`
      : "";
  return `${head}  ${printable(backup)}\n${fieldsText(diff)}${span}`;
}
