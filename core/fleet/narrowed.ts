import type { Config, ConfiguredCluster, FleetConfig, FleetSchedule } from "../config.ts";
import { dictionary } from "../configured.ts";
import type { Bucket, Platform } from "../ports.ts";
import { fleetCluster } from "./discovery.ts";
import { choiceText, isChosen } from "./settings.ts";
import { isStored } from "./stored.ts";

/** Whether a configuration is one of a fleet. */
export function isFleet(config: Config): config is FleetConfig {
  return config.fleet !== undefined;
}

/**
 * The configuration of a fleet narrowed to one of its clusters, as if that were deployed alone: a location of its own below the
 * fleet's, which Velero takes as it is, and those schedules that choose it. Whatever works for one cluster works with it; `member`
 * tells what the fleet has beside it. Of one that is not known to be of the fleet it has neither the cluster nor schedules.
 */
export function narrowed(
  { fleet, ...config }: FleetConfig,
  name: string,
  cluster: ConfiguredCluster | undefined,
): Config {
  const { labels = {} } = cluster ?? {};
  const chooses = ({ clusters }: FleetSchedule) => cluster !== undefined && isChosen(clusters, { name, labels });
  const all = Object.values(fleet.schedules);
  const others = all.filter((schedule) => !chooses(schedule));
  const schedules = all
    .filter(chooses)
    .map(({ clusters: _, ...schedule }) => [schedule.name, { ...schedule, cluster: name }] as const);
  return {
    ...config,
    location: memberLocation(config.location, name),
    clusters: dictionary(cluster ? [[name, cluster]] : []),
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

/**
 * The same for who only reads what lies in the cluster's location: no cloud is asked of one whose folder is there, be it lost, or no
 * longer of the fleet, so nothing is known of how it is reached and of its schedules. `bucket`: the fleet's own. Throws as
 * `fleetCluster`, and what the bucket throws.
 */
export async function narrowedToStored(
  config: FleetConfig,
  name: string,
  { bucket, clouds, signal }: { bucket: Bucket; clouds: Platform["clusters"]; signal: AbortSignal },
): Promise<Config> {
  if (Object.hasOwn(config.clusters, name) || !(await isStored(bucket, name, signal)))
    return narrowedTo(config, name, clouds, signal);
  return narrowed(config, name, undefined);
}

/** The location of one cluster's backups below that of its fleet, which may be a URL or a path. */
export function memberLocation(location: string, cluster: string): string {
  const [, place = "", parameters = ""] = /^([^?]*)(\?.*)?$/s.exec(location) ?? [];
  return `${place.replace(/\/+$/, "")}/${cluster}${parameters}`;
}
