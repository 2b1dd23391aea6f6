import type { ClusterReference } from "./cluster.ts";
import type { Config, FleetSchedule, Schedule } from "./config.ts";
import { LifeboatError } from "./errors.ts";

/** The schedule of that name. Throws `invalid` where the configuration has none. */
export function scheduleOf({ schedules }: Pick<Config, "schedules">, name: string): Schedule {
  if (Object.hasOwn(schedules, name)) return schedules[name]!;
  throw unknown("schedule", name, Object.keys(schedules));
}

/** All that the configuration has, be they of one cluster each or of a fleet. */
export function everySchedule({ schedules, fleet }: Pick<Config, "schedules" | "fleet">): (Schedule | FleetSchedule)[] {
  return [...Object.values(schedules), ...Object.values(fleet?.schedules ?? {})];
}

/** One of `everySchedule`; as `scheduleOf`. */
export function anyScheduleOf(config: Pick<Config, "schedules" | "fleet">, name: string): Schedule | FleetSchedule {
  const all = everySchedule(config);
  const found = all.find((schedule) => schedule.name === name);
  if (found) return found;
  throw unknown(
    "schedule",
    name,
    all.map(({ name }) => name),
  );
}

/** The name of a cluster: the one given, or that of the only one. Throws `invalid` where there is none or no only one. */
export function clusterName({ clusters }: Pick<Config, "clusters">, name: string | undefined): string {
  const names = Object.keys(clusters);
  if (name === undefined && names.length !== 1) {
    throw new LifeboatError("invalid", `no cluster is named, and the configuration has ${names.length || "none"}`, {
      hint: names.length ? `name one of: ${names.join(", ")}` : "set LIFEBOAT_CLUSTERS_<NAME>_KUBECONFIG",
    });
  }
  const wanted = name ?? names[0]!;
  if (Object.hasOwn(clusters, wanted)) return wanted;
  throw unknown("cluster", wanted, names);
}

/** The cluster of that name; as `clusterName`. */
export function clusterOf(config: Pick<Config, "clusters">, name: string | undefined): ClusterReference {
  return config.clusters[clusterName(config, name)]!;
}

function unknown(noun: string, name: string, names: string[]): LifeboatError {
  return new LifeboatError("invalid", `the configuration has no ${noun} "${name}"`, {
    hint: names.length ? `it has ${names.join(", ")}` : `it has no ${noun} at all`,
  });
}

/** Names are looked up in it that came from outside: "constructor" is then none. */
export function dictionary<T>(entries: (readonly [string, T])[]): Record<string, T> {
  return Object.assign(Object.create(null), Object.fromEntries(entries));
}
