import {
  anyScheduleOf,
  type BackupDocument,
  EXIT_CODES,
  hasCome,
  isFleet,
  LifeboatError,
  readScheduledName,
  runJob,
  scheduledName,
  scheduleOf,
} from "../../../core/index.ts";
import { backupSummary } from "../backup/create.ts";
import { fleetConfig } from "../config.ts";
import { runFleet } from "../fleet/run.ts";
import type { Invocation } from "../options.ts";
import { printResult } from "../output.ts";
import { startProgress } from "../progress.ts";
import { jobContext } from "../running.ts";
import { openBucket } from "../session.ts";

/** `lifeboat schedule run NAME`: a backup of the schedule as of now, of all its clusters, or the one that is named; exit code 3 where it is PartiallyFailed. */
export async function runSchedule({ args, options, signal }: Invocation): Promise<number> {
  const config = await fleetConfig(options);
  const { name: scheduled } = anyScheduleOf(config, args[0] as string);
  const name = (args[1] as string | undefined) ?? scheduledName(scheduled, new Date());
  const named = readScheduledName(name);
  if (named?.schedule !== scheduled)
    throw new LifeboatError("invalid", `${name} is no backup of the schedule ${scheduled}`, {
      hint: `they are called like ${scheduledName(scheduled, new Date())}`,
    });
  if (!hasCome(named.slot, new Date()))
    throw new LifeboatError("invalid", `${name} is of a slot that is still ahead: its own run would not be made`, {
      hint: "leave the name out for a backup as of now",
    });
  if (isFleet(config)) return runFleet(config, { schedule: scheduled, name }, { options, signal });
  const schedule = scheduleOf(config, scheduled);
  const bucket = await openBucket({ ...options, location: config.location });
  const progress = startProgress("backing up", `cluster ${schedule.cluster}`);
  try {
    const outcome = await runJob(
      { kind: "backup", name, schedule: schedule.name },
      jobContext({ config, bucket, progress, verbose: options.verbose, signal }),
    );
    progress.end();
    if (!outcome.document) throw new LifeboatError("busy", outcome.skipped ?? "there was no time for all of it");
    const document = outcome.document as BackupDocument;
    await printResult(options.output, document, () => backupSummary(document, schedule.cluster));
    return document.phase === "Completed" ? EXIT_CODES.ok : EXIT_CODES.partial;
  } finally {
    progress.end();
  }
}
