import type { Config, ConfiguredCluster, FleetConfig, FleetSchedule } from "../config.ts";
import { dictionary } from "../configured.ts";
import type { Platform } from "../ports.ts";
import { fleetCluster } from "./discovery.ts";
import { choiceText, isChosen } from "./settings.ts";

/** Whether a configuration is one of a fleet. */
export function isFleet(config: Config): config is FleetConfig {
  return config.fleet !== undefined;
}

/**
 * The configuration of a fleet narrowed to one of its clusters, as if that were deployed alone: a location of its own below the
 * fleet's, which Velero takes as it is, and those schedules that choose it. Whatever works for one cluster works with it; `member`
 * tells what the fleet has beside it.
 */
export function narrowed({ fleet, ...config }: FleetConfig, name: string, cluster: ConfiguredCluster): Config {
  const { labels = {} } = cluster;
  const chooses = ({ clusters }: FleetSchedule) => isChosen(clusters, { name, labels });
  const all = Object.values(fleet.schedules);
  const others = all.filter((schedule) => !chooses(schedule));
  const schedules = all
    .filter(chooses)
    .map(({ clusters: _, ...schedule }) => [schedule.name, { ...schedule, cluster: name }] as const);
  return {
    ...config,
    location: memberLocation(config.location, name),
    clusters: dictionary([[name, cluster]]),
    schedules: dictionary(schedules),
    member: { of: name, otherSchedules: dictionary(others.map((other) => [other.name, choiceText(other.clusters)])) },
  };
}

/** The same, of a cluster's name. Throws as `fleetCluster`. */
export async function narrowedTo(
  config: FleetConfig,
  name: string,
  clouds: Platform["clusters"],
  signal: AbortSignal,
): Promise<Config> {
  return narrowed(config, name, await fleetCluster(config, name, clouds, signal));
}

/** The location of one cluster's backups below that of its fleet, which may be a URL or a path. */
export function memberLocation(location: string, cluster: string): string {
  const [, place = "", parameters = ""] = /^([^?]*)(\?.*)?$/s.exec(location) ?? [];
  return `${place.replace(/\/+$/, "")}/${cluster}${parameters}`;
}
