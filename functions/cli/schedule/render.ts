import { type ClockCloud, renderSchedules } from "../../../core/index.ts";
import { fleetConfig } from "../config.ts";
import type { Invocation } from "../options.ts";
import { print, say } from "../output.ts";

/** `lifeboat schedule render --target CLOUD`: JSON that Terraform reads as a file of variables. */
export async function printRendered({ options }: Invocation<{ target: ClockCloud }>): Promise<undefined> {
  const rendered = renderSchedules(await fleetConfig(options), options.target);
  if (Object.keys(rendered.schedules).length === 0) say("The configuration has no schedules");
  print(JSON.stringify(rendered, undefined, 2));
}
