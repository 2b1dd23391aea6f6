import {
  bytesText,
  type ClusterDocument,
  type ClusterListDocument,
  EXIT_CODES,
  fleetStanding,
  isFleet,
  LifeboatError,
} from "../../../core/index.ts";
import { fleetConfig } from "../config.ts";
import type { Invocation } from "../options.ts";
import { ageText, columns, countText, plural, printable, printResult, say, timeText } from "../output.ts";
import { lineBlock } from "../problems.ts";
import { COMMAND, locationFlags } from "../session.ts";
import { fleetReading } from "./reading.ts";

const COLUMNS: Record<string, (cluster: ClusterDocument) => string> = {
  CLUSTER: ({ name }) => printable(name),
  "LAST GOOD": ({ lastGood }) => printable(lastGood?.name ?? "-"),
  AGE: ({ lastGood, overdue }) => `${ageText(lastGood?.startTimestamp)}${overdue ? " (overdue)" : ""}`,
  NEXT: ({ next }) => (next ? timeText(next) : "-"),
  OBJECTS: ({ items }) => (items === undefined ? "-" : countText(items)),
  SIZE: ({ bytes }) => (bytes === undefined ? "-" : bytesText(bytes)),
  PROBLEMS: ({ problems }) => (problems.length === 0 ? "-" : countText(problems.length)),
};

/** `lifeboat fleet get`: exit code 3 where clusters have problems, or a cloud can't be asked for them. */
export async function getFleet({ options, signal }: Invocation): Promise<number> {
  const config = await fleetConfig(options);
  if (config.member)
    throw new LifeboatError(
      "invalid",
      `fleet get tells of the whole fleet, and --cluster ${config.member.of} is given`,
      {
        hint: `leave --cluster out; of that cluster tells: ${COMMAND} schedule get${locationFlags(options)}`,
      },
    );
  if (!isFleet(config))
    throw new LifeboatError("invalid", "the configuration is not a fleet's", {
      hint: "a fleet has schedules with `clusters`, or a section `fleet`: see docs/fleet.md",
    });
  const document = await fleetStanding(await fleetReading(config, options, signal));
  await printResult(options.output, document, () => table(document));
  const { clusters, problems } = document;
  const good = clusters.filter(({ problems }) => problems.length === 0).length;
  say(`${plural(clusters.length, "cluster")}, ${good} without problems`);
  return good < clusters.length || problems.length > 0 ? EXIT_CODES.partial : EXIT_CODES.ok;
}

function table({ clusters, problems }: ClusterListDocument): string {
  const rows = clusters.map((cluster) => Object.values(COLUMNS).map((cell) => cell(cluster)));
  const ofClusters = clusters.flatMap(({ name, problems }) => problems.map((problem) => `${name}: ${problem}`));
  return columns([Object.keys(COLUMNS), ...rows]) + lineBlock("Problems", [...problems, ...ofClusters]);
}
