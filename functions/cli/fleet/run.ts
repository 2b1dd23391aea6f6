import {
  anyScheduleOf,
  bytesText,
  createService,
  drive,
  EXIT_CODES,
  type FleetConfig,
  type FleetDocument,
  LifeboatError,
  readSummary,
  scheduledName,
  thisProcess,
} from "../../../core/index.ts";
import type { Invocation } from "../options.ts";
import { countText, durationText, fields, phaseText, printResult } from "../output.ts";
import { terminal } from "../platform.ts";
import { problemBlock } from "../problems.ts";
import { startProgress } from "../progress.ts";
import { openConfigBucket } from "../session.ts";

const EXITS = { Completed: EXIT_CODES.ok, PartiallyFailed: EXIT_CODES.partial, Failed: EXIT_CODES.failed } as const;

/** Makes the backups of a fleet's schedule in this process: of each of its clusters, so many at a time as the configuration says. */
export async function runFleet(config: FleetConfig, { args, options, signal }: Invocation): Promise<number> {
  const schedule = anyScheduleOf(config, args[0] as string);
  const bucket = await openConfigBucket(config, options);
  const name = scheduledName(schedule.name, new Date());
  const progress = startProgress("backing up", `the clusters of ${schedule.name}`);
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
  let ended = 0;
  let failure: unknown;
  try {
    await drive(
      service.run,
      { kind: "fleet", schedule: schedule.name, name },
      {
        ...{ atOnce: config.fleet.concurrency, signal },
        ended: () => progress.update({ done: ++ended, noun: "clusters" }),
      },
    ).catch((error) => {
      failure = error;
    });
    signal.throwIfAborted();
    const document = await readSummary(bucket, name, signal);
    progress.end();
    if (!document) throw failure ?? new LifeboatError("busy", "nobody has summed up the run");
    await printResult(options.output, document, () => summaryOf(document));
    return EXITS[document.phase];
  } finally {
    progress.end();
  }
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
