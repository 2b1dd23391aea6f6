import { scheduleOf, setPaused } from "../../../core/index.ts";
import { loadConfig } from "../config.ts";
import type { Invocation } from "../options.ts";
import { print } from "../output.ts";
import { openBucket } from "../session.ts";

/** `lifeboat schedule pause NAME...` */
export function pauseSchedules(invocation: Invocation): Promise<undefined> {
  return setAll(invocation, true);
}

/** `lifeboat schedule unpause NAME...` */
export function unpauseSchedules(invocation: Invocation): Promise<undefined> {
  return setAll(invocation, false);
}

async function setAll({ args, options, signal }: Invocation, paused: boolean): Promise<undefined> {
  const config = await loadConfig(options);
  const schedules = [...new Set(args[0] as string[])].map((name) => scheduleOf(config, name));
  const bucket = await openBucket({ ...options, location: config.location });
  for (const schedule of schedules) {
    const changed = await setPaused(bucket, schedule, paused, { by: process.env.USER, signal });
    print(`Schedule ${schedule.name} is ${paused ? "" : "not "}paused${changed ? "" : " already"}`);
  }
}
