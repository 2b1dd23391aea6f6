import {
  anyScheduleOf,
  type Config,
  EXIT_CODES,
  everySchedule,
  fleetPauses,
  fleetScheduleDocuments,
  isFleet,
  readTrustedKeys,
  type ScheduleDocument,
  scheduleDocument,
  someOf,
  underFleet,
} from "../../../core/index.ts";
import { fleetConfig } from "../config.ts";
import { fleetOf, fleetReading } from "../fleet/reading.ts";
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
import { secrets } from "../platform.ts";
import { lineBlock } from "../problems.ts";
import { COMMAND, locationFlags, openConfigBucket } from "../session.ts";

const COLUMNS: Record<string, (document: ScheduleDocument) => string> = {
  NAME: ({ name }) => name,
  SCHEDULE: ({ schedule, timeZone }) =>
    timeZone === "UTC" || schedule.includes("TZ=") ? printable(schedule) : printable(`${schedule} (${timeZone})`),
  CLUSTER: ({ cluster }) => cluster,
  "LAST BACKUP": ({ lastBackup }) => printable(lastBackup?.name ?? "-"),
  STATUS: ({ lastBackup, lastFailure }) => phaseText(lastFailure ? "Failed" : (lastBackup?.phase ?? "-")),
  "LAST GOOD": ({ lastGood, overdue, withoutGood = [] }) => {
    const none = withoutGood.length > 0 ? ` (none: ${someOf(withoutGood, MOST_NAMED)})` : "";
    return printable(`${ageText(lastGood?.startTimestamp)}${overdue ? " (overdue)" : ""}${none}`);
  },
  VERIFIED: ({ lastVerified }) =>
    lastVerified ? `${lastVerified.ok ? "" : "damaged, "}${ageText(lastVerified.at)}` : "-",
  EVERY: ({ intervalSeconds }) => intervalText(intervalSeconds),
  NEXT: ({ next }) => (next ? timeText(next) : "-"),
  MISSED: ({ missed }) => countText(missed.length),
  PAUSED: ({ paused, fleetPaused, pausedClusters = [] }) => {
    if (paused || pausedClusters.length === 0) return fleetPaused ? "true (whole fleet)" : String(paused);
    return printable(someOf(pausedClusters, MOST_NAMED));
  },
};

/** So many clusters are named in a cell. */
const MOST_NAMED = 3;

/** `lifeboat schedule get [NAME]`: exit code 3 where a cloud can't be asked for clusters. */
export async function getSchedules({ args, options, signal }: Invocation): Promise<number> {
  const config = await fleetConfig(options);
  const name = args[0] as string | undefined;
  const schedules = name === undefined ? everySchedule(config) : [anyScheduleOf(config, name)];
  const { location, documents } = await documentsOf(config, schedules, { options, signal });
  if (documents.length === 0) say("The configuration has no schedules");
  const list = { schemaVersion: 1, kind: "scheduleList", location, schedules: documents };
  const told = name === undefined ? list : documents[0]!;
  await printResult(options.output, told, () => (documents.length === 0 ? "" : table(documents, options)));
  return documents.some(({ problems }) => problems) ? EXIT_CODES.partial : EXIT_CODES.ok;
}

/** How schedules stand: of a fleet's cluster by what is said of the whole fleet, too. */
async function documentsOf(
  config: Config,
  schedules: ReturnType<typeof everySchedule>,
  { options, signal }: Pick<Invocation, "options" | "signal">,
): Promise<{ location: string; documents: ScheduleDocument[] }> {
  const now = new Date();
  if (isFleet(config)) {
    const reading = await fleetReading(config, options, signal);
    const documents = await fleetScheduleDocuments(reading, Object.values(config.fleet.schedules), now);
    const names = new Set(schedules.map(({ name }) => name));
    return { location: reading.bucket.location, documents: documents.filter(({ name }) => names.has(name)) };
  }
  const bucket = await openConfigBucket(config, options);
  const fleet = await fleetOf(options);
  const root = fleet && (await fleetReading(fleet, options, signal)).bucket;
  const pauses = fleet && root ? await fleetPauses(fleet, root, signal) : new Set<string>();
  const own = schedules.flatMap((schedule) => ("clusters" in schedule ? [] : [schedule]));
  const trust = { trustedKeys: await readTrustedKeys(secrets(), config.signing.publicKeys, signal), signal };
  const documents = await Promise.all(own.map((schedule) => scheduleDocument(bucket, schedule, now, trust)));
  return { location: bucket.location, documents: documents.map((document) => underFleet(document, pauses)) };
}

function table(documents: ScheduleDocument[], options: SharedOptions): string {
  const rows = documents.map((document) => Object.values(COLUMNS).map((cell) => cell(document)));
  const failures = documents.flatMap(({ lastFailure }) =>
    lastFailure ? [`${lastFailure.name}: ${lastFailure.message}`] : [],
  );
  const logs = `"${COMMAND} backup logs NAME${locationFlags(options)}" tells more`;
  const problems = new Set(
    documents.flatMap(({ problems = [], lastBackup }) => problems.concat(lastBackup?.distrust ?? [])),
  );
  const blocks = lineBlock(`Failed (${logs})`, failures) + lineBlock("Problems", [...problems]);
  return columns([Object.keys(COLUMNS), ...rows]) + blocks;
}
