import { anyScheduleOf, setPaused } from "../../../core/index.ts";
import { fleetConfig } from "../config.ts";
import type { Invocation } from "../options.ts";
import { print } from "../output.ts";
import { openConfigBucket } from "../session.ts";

/** `lifeboat schedule pause NAME...` */
export function pauseSchedules(invocation: Invocation): Promise<undefined> {
  return setAll(invocation, true, { done: "is paused", stood: "is paused already" });
}

/** `lifeboat schedule unpause NAME...` */
export function unpauseSchedules(invocation: Invocation): Promise<undefined> {
  return setAll(invocation, false, { done: "goes on", stood: "was not paused" });
}

async function setAll(
  { args, options, signal }: Invocation,
  paused: boolean,
  { done, stood }: { done: string; stood: string },
): Promise<undefined> {
  const config = await fleetConfig(options);
  const schedules = [...new Set(args[0] as string[])].map((name) => anyScheduleOf(config, name));
  const bucket = await openConfigBucket(config, options);
  for (const schedule of schedules) {
    const changed = await setPaused(bucket, schedule, paused, { by: process.env.USER, signal });
    print(`Schedule ${schedule.name} ${changed ? done : stood}`);
  }
}
