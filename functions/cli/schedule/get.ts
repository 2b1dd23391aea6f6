import { anyScheduleDocument, anyScheduleOf, everySchedule, type ScheduleDocument } from "../../../core/index.ts";
import { fleetConfig } from "../config.ts";
import type { Invocation, SharedOptions } from "../options.ts";
import {
  ageText,
  columns,
  countText,
  intervalText,
  phaseText,
  printable,
  printResult,
  say,
  timeText,
} from "../output.ts";
import { COMMAND, locationFlags, openConfigBucket } from "../session.ts";

const COLUMNS: Record<string, (document: ScheduleDocument) => string> = {
  NAME: ({ name }) => name,
  SCHEDULE: ({ schedule, timeZone }) =>
    timeZone === "UTC" || schedule.includes("TZ=") ? printable(schedule) : printable(`${schedule} (${timeZone})`),
  CLUSTER: ({ cluster }) => cluster,
  "LAST BACKUP": ({ lastBackup }) => printable(lastBackup?.name ?? "-"),
  STATUS: ({ lastBackup, lastFailure }) => phaseText(lastFailure ? "Failed" : (lastBackup?.phase ?? "-")),
  "LAST GOOD": ({ lastGood, overdue }) => `${ageText(lastGood?.startTimestamp)}${overdue ? " (overdue)" : ""}`,
  VERIFIED: ({ lastVerified }) =>
    lastVerified ? `${lastVerified.ok ? "" : "damaged, "}${ageText(lastVerified.at)}` : "-",
  EVERY: ({ intervalSeconds }) => intervalText(intervalSeconds),
  NEXT: ({ next }) => (next ? timeText(next) : "-"),
  MISSED: ({ missed }) => countText(missed.length),
  PAUSED: ({ paused }) => String(paused),
};

/** `lifeboat schedule get [NAME]` */
export async function getSchedules({ args, options, signal }: Invocation): Promise<undefined> {
  const config = await fleetConfig(options);
  const bucket = await openConfigBucket(config, options);
  const now = new Date();
  const name = args[0] as string | undefined;
  if (name !== undefined) {
    const document = await anyScheduleDocument(bucket, anyScheduleOf(config, name), now, signal);
    await printResult(options.output, document, () => table([document], options));
    return;
  }
  const schedules = everySchedule(config);
  const documents = await Promise.all(schedules.map((schedule) => anyScheduleDocument(bucket, schedule, now, signal)));
  if (documents.length === 0) say("The configuration has no schedules");
  const list = { schemaVersion: 1, kind: "scheduleList", location: bucket.location, schedules: documents };
  await printResult(options.output, list, () => (documents.length === 0 ? "" : table(documents, options)));
}

function table(documents: ScheduleDocument[], options: SharedOptions): string {
  const rows = documents.map((document) => Object.values(COLUMNS).map((cell) => cell(document)));
  const failures = documents.flatMap(({ lastFailure }) =>
    lastFailure ? [printable(`  ${lastFailure.name}: ${lastFailure.message}`)] : [],
  );
  const block = failures.length
    ? `\nFailed ("${COMMAND} backup logs NAME${locationFlags(options)}" tells more):\n${failures.join("\n")}\n`
    : "";
  return columns([Object.keys(COLUMNS), ...rows]) + block;
}
