import { openManaged } from "../cluster.ts";
import type { ConfiguredCluster, FleetConfig, FleetSchedule } from "../config.ts";
import { LifeboatError, mayPass, messageOf } from "../errors.ts";
import type { CloudReferences } from "../kube/clouds.ts";
import type { Platform } from "../ports.ts";
import { type ClusterDiscovery, DISCOVERED_NAME } from "./settings.ts";

/** The label of each discovered cluster that tells which entry of `discover` it was found by. */
const DISCOVERED_BY = "lifeboat/discovered-by";

type Cloud = keyof CloudReferences;

/** The clusters of a fleet by their names; and what kept others from being found, or may have. */
export interface FleetClusters {
  clusters: Map<string, ConfiguredCluster>;
  problems: string[];
  warnings: string[];
  /** Why a cloud could not be asked for all: an error that may pass, where there is one. */
  failure?: unknown;
}

/** How often clouds that can't be asked are asked again until one goes without them, and after how many milliseconds. */
export const MOST_TRIES = 6;
export const ASK_AGAIN_MS = 30_000;

/** Whether it is worth while to ask the clouds again, `tried` times after it was in vain. */
export function asksAgain({ failure }: FleetClusters, tried: number): boolean {
  return failure !== undefined && tried < MOST_TRIES && mayPass(failure);
}

/** The clusters that a schedule names and that are not found, in words: a mistyped tag or name would else be a night without backups. */
export function notFound({ name, clusters: { names = [] } }: FleetSchedule, { clusters }: FleetClusters): string[] {
  return names
    .filter((cluster) => !clusters.has(cluster))
    .map((cluster) => `${cluster}: schedule "${name}" names it, and it is not found`);
}

/**
 * How one cloud's clusters are named after their entry: what follows it tells the reference, no two have the same, and nothing
 * in it is more than a folder's name. No configured cluster's name has a ".".
 */
const NAMING: {
  [C in Cloud]: {
    nameOf: (reference: CloudReferences[C]) => string;
    known: (name: string) => Partial<CloudReferences[C]>;
  };
} = {
  eks: { nameOf: ({ name }) => name, known: (name) => ({ name }) },
  gke: {
    nameOf: ({ location, name }) => `${location}.${name}`,
    known: (text) => {
      const [location = "", name = ""] = text.split(".");
      return { location, name };
    },
  },
  // Azure takes names of resources in any case, and gives them in any.
  aks: {
    nameOf: ({ resourceGroup, name }) => `${resourceGroup}.${name}`.toLowerCase(),
    known: (text) => {
      const at = text.lastIndexOf(".");
      return { resourceGroup: text.slice(0, at), name: text.slice(at + 1) };
    },
  },
};

/**
 * The clusters of a fleet: those of the configuration, and those that its clouds tell of now. An entry of `discover` whose
 * cloud can't be asked is a problem, and keeps nobody from the others. Throws the signal's reason.
 */
export async function fleetClusters(
  { clusters, fleet }: FleetConfig,
  clouds: Platform["clusters"],
  signal: AbortSignal,
): Promise<FleetClusters> {
  const found: FleetClusters = { clusters: new Map(Object.entries(clusters)), problems: [], warnings: [] };
  await Promise.all(
    Object.entries(fleet.discover).map(async ([entry, discovery]) => {
      try {
        let isEmpty = true;
        for await (const [name, cluster] of discovered(discovery, { entry, clouds, signal })) {
          isEmpty = false;
          if (DISCOVERED_NAME.test(name)) found.clusters.set(name, cluster);
          else
            found.problems.push(
              `discover ${entry}: the cluster ${JSON.stringify(name)} has a name that can't be a folder's`,
            );
        }
        if (isEmpty) found.warnings.push(`discover ${entry}: no cluster of it has these tags`);
      } catch (error) {
        signal.throwIfAborted();
        if (found.failure === undefined || !mayPass(found.failure)) found.failure = error;
        found.problems.push(`discover ${entry}: ${messageOf(error)}`);
      }
    }),
  );
  return {
    ...found,
    clusters: new Map([...found.clusters].sort(([a], [b]) => (a < b ? -1 : 1))),
    problems: found.problems.sort(),
    warnings: found.warnings.sort(),
  };
}

/**
 * One cluster of a fleet by its name. Of a discovered one its cloud is asked, once: it is reached only if it is there and has the
 * tags of its entry. Throws `invalid` for a name that is none of the fleet's, and what the cloud throws.
 */
export async function fleetCluster(
  { clusters, fleet }: FleetConfig,
  name: string,
  clouds: Platform["clusters"],
  signal: AbortSignal,
): Promise<ConfiguredCluster> {
  if (Object.hasOwn(clusters, name)) return clusters[name]!;
  const [entry = "", ...rest] = name.split(".");
  if (rest.length > 0 && DISCOVERED_NAME.test(name) && Object.hasOwn(fleet.discover, entry)) {
    const discovery = fleet.discover[entry]!;
    for await (const [found, cluster] of discovered(discovery, { entry, only: rest.join("."), clouds, signal }))
      if (found === name) return cluster;
    throw new LifeboatError("invalid", `the cluster "${name}" is not one that discover.${entry} covers`, {
      hint: "it has to have the tags that the configuration names",
    });
  }
  const names = [...Object.keys(clusters), ...Object.keys(fleet.discover).map((entry) => `${entry}.…`)];
  throw new LifeboatError("invalid", `the fleet has no cluster "${name}"`, {
    hint: names.length > 0 ? `it has ${names.join(", ")}` : "it has none at all",
  });
}

interface Asking {
  entry: string;
  /** What follows the entry in the name of the only cluster that is asked for. */
  only?: string;
  clouds: Platform["clusters"];
  signal: AbortSignal;
}

/** The clusters of an entry that have its tags, by their names. */
async function* discovered(discovery: ClusterDiscovery, asking: Asking): AsyncGenerator<[string, ConfiguredCluster]> {
  if ("eks" in discovery) {
    const { tags, ...place } = discovery.eks;
    for await (const [name, eks, labels] of tagged("eks", place, tags, asking)) yield [name, { eks, labels }];
  } else if ("gke" in discovery) {
    const { labels: tags, ...place } = discovery.gke;
    for await (const [name, gke, labels] of tagged("gke", place, tags, asking)) yield [name, { gke, labels }];
  } else {
    const { tags, ...place } = discovery.aks;
    for await (const [name, aks, labels] of tagged("aks", place, tags, asking)) yield [name, { aks, labels }];
  }
}

async function* tagged<C extends Cloud>(
  cloud: C,
  place: Partial<CloudReferences[C]>,
  wanted: Record<string, string>,
  { entry, only, clouds, signal }: Asking,
): AsyncGenerator<[name: string, reference: CloudReferences[C], labels: Record<string, string>]> {
  const { nameOf, known } = NAMING[cloud];
  const managed = await openManaged(clouds, cloud)();
  const asked = { ...(only === undefined ? {} : known(only)), ...place };
  for await (const { reference, tags } of managed.list(asked, signal)) {
    const fits = Object.entries(wanted).every(([key, value]) => Object.hasOwn(tags, key) && tags[key] === value);
    if (fits) yield [`${entry}.${nameOf(reference)}`, reference, { ...tags, [DISCOVERED_BY]: entry }];
  }
}
