import { type FleetConfig, type FleetReading, isFleet, openBucket, unlockedBy } from "../../../core/index.ts";
import { fleetConfig } from "../config.ts";
import type { SharedOptions } from "../options.ts";
import { secrets, terminal } from "../platform.ts";

/** What it takes to read how a fleet stands. */
export async function fleetReading(
  config: FleetConfig,
  options: SharedOptions,
  signal: AbortSignal,
): Promise<FleetReading> {
  const identity = options.identity ?? config.encryption.identity;
  const open = async (location: string) => unlockedBy(await openBucket(terminal, location), identity, secrets());
  const bucket = await open(config.location);
  return { config, bucket, secrets: secrets(), clouds: terminal.clusters, openMember: open, signal };
}

/** The fleet that the cluster of `--cluster` is one of, whose own location `--location` says; undefined where there is none. */
export async function fleetOf(options: SharedOptions): Promise<FleetConfig | undefined> {
  if (options.cluster === undefined) return undefined;
  const whole = await fleetConfig({ ...options, cluster: undefined, location: undefined });
  return isFleet(whole) ? whole : undefined;
}
