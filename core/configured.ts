import type { ClusterReference } from "./cluster.ts";
import type { Config, FleetSchedule, Schedule } from "./config.ts";
import { LifeboatError } from "./errors.ts";

/** The schedule of that name. Throws `invalid` where the configuration has none. */
export function scheduleOf({ schedules, member }: Pick<Config, "schedules" | "member">, name: string): Schedule {
  if (Object.hasOwn(schedules, name)) return schedules[name]!;
  throw unknownSchedule(name, Object.keys(schedules), member);
}

/** All that the configuration has, be they of one cluster each or of a fleet. */
export function everySchedule({ schedules, fleet }: Pick<Config, "schedules" | "fleet">): (Schedule | FleetSchedule)[] {
  return [...Object.values(schedules), ...Object.values(fleet?.schedules ?? {})];
}

/** One of `everySchedule`; as `scheduleOf`. */
export function anyScheduleOf(
  config: Pick<Config, "schedules" | "fleet" | "member">,
  name: string,
): Schedule | FleetSchedule {
  const all = everySchedule(config);
  const found = all.find((schedule) => schedule.name === name);
  if (found) return found;
  throw unknownSchedule(
    name,
    all.map(({ name }) => name),
    config.member,
  );
}

/** The name of a cluster: the one given, or that of the only one. Throws `invalid` where there is none or no only one. */
export function clusterName(
  { clusters, member }: Pick<Config, "clusters" | "member">,
  name: string | undefined,
): string {
  const names = Object.keys(clusters);
  if (name === undefined && names.length !== 1) {
    throw new LifeboatError("invalid", `no cluster is named, and the configuration has ${names.length || "none"}`, {
      hint: names.length ? `name one of: ${names.join(", ")}` : "set LIFEBOAT_CLUSTERS_<NAME>_KUBECONFIG",
    });
  }
  const wanted = name ?? names[0]!;
  if (Object.hasOwn(clusters, wanted)) return wanted;
  if (member)
    throw new LifeboatError(
      "invalid",
      `the cluster "${wanted}" is named where the fleet's "${member.of}" alone is meant`,
      {
        hint: `leave it out, or ask "${wanted}" itself`,
      },
    );
  throw unknown("cluster", wanted, names);
}

/** The cluster of that name; as `clusterName`. */
export function clusterOf(config: Pick<Config, "clusters" | "member">, name: string | undefined): ClusterReference {
  return config.clusters[clusterName(config, name)]!;
}

function unknownSchedule(name: string, names: string[], member: Config["member"]): LifeboatError {
  if (!member || !Object.hasOwn(member.otherSchedules, name)) return unknown("schedule", name, names);
  const chosen = member.otherSchedules[name];
  const message = `the schedule "${name}" doesn't choose the cluster "${member.of}": it is of ${chosen}`;
  const own = names.length > 0 ? `"${member.of}" is of ${names.join(", ")}` : `no schedule chooses "${member.of}"`;
  return new LifeboatError("invalid", message, { hint: own });
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
