import {
  bytesText,
  createService,
  drive,
  EXIT_CODES,
  type FleetConfig,
  type FleetDocument,
  isLifeboatError,
  LifeboatError,
  memberLocation,
  readFleetRun,
  readSummary,
  thisProcess,
  unlessMissing,
} from "../../../core/index.ts";
import type { Invocation, SharedOptions } from "../options.ts";
import { countText, durationText, fields, phaseText, plural, printable, printResult, say } from "../output.ts";
import { terminal } from "../platform.ts";
import { problemBlock } from "../problems.ts";
import { startProgress } from "../progress.ts";
import { COMMAND, locationFlags, openConfigBucket } from "../session.ts";
import { fleetReading } from "./reading.ts";

const EXITS = { Completed: EXIT_CODES.ok, PartiallyFailed: EXIT_CODES.partial, Failed: EXIT_CODES.failed } as const;

/** Makes the backups of a fleet's schedule in this process: of each of its clusters, so many at a time as the configuration says. */
export async function runFleet(
  config: FleetConfig,
  { schedule, name }: { schedule: string; name: string },
  { options, signal }: Pick<Invocation, "options" | "signal">,
): Promise<number> {
  const bucket = await openConfigBucket(config, options);
  const progress = startProgress("backing up", `the clusters of ${schedule}`);
  const service = createService(
    { ...terminal, jobs: () => Promise.reject(new Error("whoever drives hands nothing over")) },
    {
      ...{ config: async () => config, by: thisProcess() },
      // Errors are the summary's; that somebody could not be told of it is not.
      listen: (line, level) => {
        if (options.verbose || level === "warning") progress.line(line);
      },
    },
  );
  const begun = Date.now();
  let ended = 0;
  let failure: unknown;
  try {
    await drive(
      service.run,
      { kind: "fleet", schedule, name },
      {
        ...{ atOnce: config.fleet.concurrency, signal },
        ended: () => progress.update({ done: ++ended, noun: "clusters" }),
      },
    ).catch((error) => {
      failure = error;
    });
    if (signal.aborted) {
      progress.end();
      const run = await unlessMissing(readFleetRun(await fleetReading(config, options, signal), name));
      if (run && "ended" in run) say(`Fleet ${name}: ${run.ended} of ${plural(run.clusters ?? 0, "cluster")} done`);
      say(`go on with it: ${COMMAND} schedule run ${schedule} ${name}${locationFlags(options)}`);
      throw signal.reason;
    }
    const document = await readSummary(bucket, name, signal);
    progress.end();
    if (!document) throw causeOf(failure) ?? new LifeboatError("busy", "nobody has summed up the run");
    if (document.phase === "Completed" && failure !== undefined) throw causeOf(failure);
    await printResult(options.output, document, () => summaryOf(document));
    if (Date.parse(document.completionTimestamp) < begun)
      say(`This run had ended at ${document.completionTimestamp}, and nothing is done again: run the schedule anew`);
    const failed = document.clusters.find(({ phase }) => phase !== "Completed" && phase !== "Skipped");
    if (failed && (options.output ?? "table") === "table") say(nextSteps(name, failed.cluster, options));
    return EXITS[document.phase];
  } finally {
    progress.end();
  }
}

/** What stopped the run, as the error that it was before it was told to a platform. */
function causeOf(failure: unknown): unknown {
  return failure instanceof Error && isLifeboatError(failure.cause) ? failure.cause : failure;
}

/** What tells more of a cluster that failed in the run `name`. */
function nextSteps(name: string, cluster: string, options: SharedOptions): string {
  const location = options.location && memberLocation(options.location, cluster);
  const flags = locationFlags({ ...options, location, cluster });
  return `\nWhat is wrong with ${printable(cluster)}:\n  ${COMMAND} location check${flags}\n  ${COMMAND} backup logs ${name}${flags}`;
}

function summaryOf({
  name,
  phase,
  location,
  counts,
  items,
  bytes,
  durationMs,
  errors,
  warnings,
}: FleetDocument): string {
  const skipped = counts.skipped > 0 ? `, ${countText(counts.skipped)} skipped` : "";
  return [
    `Fleet ${name}: ${phaseText(phase)}\n\n`,
    `${fields(
      [
        ["Location", location],
        [
          "Clusters",
          `${countText(counts.good)} of ${countText(counts.clusters)} good, ${countText(counts.failed)} failed${skipped}`,
        ],
        ["Items", `${countText(items)} objects, ${bytesText(bytes)} of JSON`],
        ["Duration", durationText(durationMs)],
      ],
      "  ",
    )}\n`,
    problemBlock("Errors", errors),
    problemBlock("Warnings", warnings),
  ].join("");
}
