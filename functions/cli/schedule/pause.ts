import {
  anyScheduleOf,
  type FleetConfig,
  fleetPauses,
  fleetScheduleDocuments,
  isFleet,
  setPaused,
} from "../../../core/index.ts";
import { fleetConfig } from "../config.ts";
import { fleetOf, fleetReading } from "../fleet/reading.ts";
import type { Invocation } from "../options.ts";
import { print, printable, say } from "../output.ts";
import { openConfigBucket } from "../session.ts";

/** `lifeboat schedule pause NAME...` */
export async function pauseSchedules(invocation: Invocation): Promise<undefined> {
  const whom = (await fleetOf(invocation.options)) ? ` for ${invocation.options.cluster}` : "";
  await setAll(invocation, true, { done: `is paused${whom}`, stood: `is paused${whom} already` });
}

/** `lifeboat schedule unpause NAME...`; tells what is paused still, for the whole fleet or for some of its clusters. */
export async function unpauseSchedules(invocation: Invocation): Promise<undefined> {
  const { options, signal } = invocation;
  const fleet = await fleetOf(options);
  const whom = fleet ? ` for ${options.cluster}` : "";
  const names = await setAll(invocation, false, { done: `goes on${whom}`, stood: `was not paused${whom}` });
  if (fleet) {
    const { bucket } = await fleetReading(fleet, options, signal);
    const pauses = await fleetPauses(fleet, bucket, signal);
    for (const name of names.filter((name) => pauses.has(name)))
      say(`${name} is paused for the whole fleet: unpause it without --cluster`);
  }
  const config = await fleetConfig(options);
  if (isFleet(config)) await tellOfClusters(config, names, invocation);
}

async function tellOfClusters(config: FleetConfig, names: string[], { options, signal }: Invocation): Promise<void> {
  const schedules = names.flatMap((name) => config.fleet.schedules[name] ?? []);
  const documents = await fleetScheduleDocuments(await fleetReading(config, options, signal), schedules, new Date());
  for (const problem of documents[0]?.problems ?? []) say(printable(problem));
  for (const { name, pausedClusters = [] } of documents)
    if (pausedClusters.length > 0)
      say(printable(`${name} is still paused for: ${pausedClusters.join(", ")} (unpause it with --cluster)`));
}

/** The names of the schedules. */
async function setAll(
  { args, options, signal }: Invocation,
  paused: boolean,
  { done, stood }: { done: string; stood: string },
): Promise<string[]> {
  const config = await fleetConfig(options);
  const schedules = [...new Set(args[0] as string[])].map((name) => anyScheduleOf(config, name));
  const bucket = await openConfigBucket(config, options);
  for (const schedule of schedules) {
    const changed = await setPaused(bucket, schedule, paused, { by: process.env.USER, signal });
    print(`Schedule ${schedule.name} ${changed ? done : stood}`);
  }
  return schedules.map(({ name }) => name);
}
