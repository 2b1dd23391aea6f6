import pLimit from "p-limit";
import { type ClusterReference, openCluster } from "../cluster.ts";
import type { Config, ConfiguredCluster, FleetConfig } from "../config.ts";
import { clusterName, everySchedule } from "../configured.ts";
import { fleetCluster, fleetClusters } from "../fleet/discovery.ts";
import { isFleet, narrowed } from "../fleet/narrowed.ts";
import { configuredSigner, readTrustedKeys } from "../integrity/keys.ts";
import type { Bucket, Platform } from "../ports.ts";
import type { CachedSecrets } from "../secrets.ts";
import { repositoryAt } from "../volumes/restic/repository.ts";
import { resticSettings } from "../volumes/restic/settings.ts";
import { asking } from "./asking.ts";
import { type CheckedLocation, checkLocation } from "./bucket.ts";
import { type CheckedCluster, checkCluster } from "./cluster.ts";
import type { Check, CheckDocument, Judgement } from "./document.ts";

/** What a deployment is asked about: its configuration, and what that names. */
export interface Checked {
  config: Config;
  /** Where the configuration comes from, for people. */
  source: string;
  secrets: CachedSecrets;
  openBucket(location: string): Promise<Bucket>;
  /** The clouds whose disks can be asked. */
  disks?: Platform["disks"];
  /** In place of those of the configuration. */
  clusters: CheckedCluster[];
  /** What was found in asking clouds for them. */
  discovery?: Check[];
}

/** Where it is asked: a function's limits, as far as they are known. */
export interface Surroundings {
  /** Bytes of memory. */
  memory?: number;
  /** Milliseconds that a run may last. */
  time?: number;
}

const CLUSTERS_AT_ONCE = 4;
const MIB = 1024 * 1024;
/** What cgroups say where they set no limit is more than any machine has. */
const UNLIMITED = 1024 * 1024 * MIB;
/** Three times what a backup of 25,000 objects takes (docs/performance.md); below, a platform gives little CPU, too. */
const LEAST_MEMORY = 512 * MIB;
/** A run that is ended begins anew: what takes longer than the limit is never done. */
const LEAST_TIME_MS = 300_000;

/**
 * Whether backups can be made: of every cluster, to the location, from here; one row for each question of `QUESTIONS`, with what
 * to do. `read` gives what there is to ask about; its error is an answer too. Nothing is changed but for the location's probe.
 * Throws the signal's reason, and what is no LifeboatError.
 */
export async function check(
  read: () => Promise<Checked>,
  { surroundings, signal }: { surroundings?: Surroundings; signal: AbortSignal },
): Promise<CheckDocument> {
  const { ask, answers } = asking("configuration", { signal });
  const checked = await ask("read", async () => {
    const value = await read();
    const { clusters } = value.config;
    const schedules = everySchedule(value.config);
    const known = `${counted("cluster", Object.keys(clusters).length)}, ${counted("schedule", schedules.length)}`;
    const message = `${value.source}: ${known}`;
    return { state: "ok", message, value };
  });
  if (!checked) return documentOf(answers());
  const { config, secrets, clusters, discovery = [], openBucket, disks } = checked;
  const { key, publicKeys } = config.signing;
  await ask("signing key", async () => {
    const signer = configuredSigner(config.signing, secrets);
    if (!signer) return { state: "notAsked", message: "backups are not signed" };
    await signer();
    return { state: "ok", message: `${key}` };
  });
  await ask("trusted keys", async (signal) => {
    if (!publicKeys) return { state: "notAsked", message: "every backup is trusted" };
    await readTrustedKeys(secrets, publicKeys, signal);
    return { state: "ok", message: publicKeys.join(", ") };
  });
  const { location } = config;
  await ask("restic", async (signal) => {
    const { restic } = config.volumes;
    if (!restic) return { state: "notAsked", message: "no files of volumes are copied" };
    const settings = resticSettings(restic, { location, secrets });
    repositoryAt(location, "default", settings.env);
    await settings.secrets(signal);
    const message = [restic.password, restic.credentials].filter(Boolean).join(", ");
    if (restic.credentials || restic.serviceAccount) return { state: "ok", message };
    const todo = "give volumes.restic.credentials, or a serviceAccount that has an identity in the cloud";
    return { state: "warning", message: `${message}; Jobs reach the bucket by their nodes' identity, if at all`, todo };
  });
  const holds = everySchedule(config).some(({ template }) => template.retainFor !== undefined);
  const limit = pLimit(CLUSTERS_AT_ONCE);
  const open = () => openBucket(location);
  const volumesOf = ({ location: own = location }: CheckedCluster) => ({
    ...{ restic: config.volumes.restic !== undefined, disks },
    bucket: () => openBucket(own),
  });
  const checks = await Promise.all([
    answers(),
    discovery,
    ...(clusters.length > 0 || discovery.length > 0
      ? clusters.map((cluster) => limit(checkCluster, cluster, volumesOf(cluster), signal))
      : [NO_CLUSTER]),
    checkLocation({ location, holds, open, isFleet: isFleet(config) } satisfies CheckedLocation, signal),
    checkLimits(surroundings),
  ]);
  return documentOf(checks.flat(), location);
}

const NO_CLUSTER: Check[] = [
  {
    ...{ subject: "cluster", question: "access", state: "notAsked", message: "no cluster is named" },
    todo: "name some in the configuration (clusters), or one by --kubeconfig",
  },
];

const counted = (what: string, count: number) => `${count} ${what}${count === 1 ? "" : "s"}`;

function documentOf(checks: Check[], location?: string): CheckDocument {
  const ok = !checks.some(({ state }) => state === "failed");
  return { schemaVersion: 1, kind: "check", ok, ...(location && { location }), checks };
}

/** The clusters of a configuration, or the one that is named. Throws `invalid` for one that it doesn't have. */
export function configuredClusters(
  config: Config,
  { name, ...sources }: { name?: string; secrets: CachedSecrets; clusters: Platform["clusters"] },
): CheckedCluster[] {
  const names = name === undefined ? Object.keys(config.clusters) : [clusterName(config, name)];
  return names.map((name) => {
    const reference = config.clusters[name]!;
    const specs = Object.values(config.schedules).filter(({ cluster }) => cluster === name);
    return {
      name,
      from: referenceText(reference),
      open: (signal) => openCluster(reference, sources, { signal }),
      specs: specs.map(({ template }) => template),
    };
  });
}

/**
 * The same of a fleet, or of one of its clusters: each with its own location, and of each discovery how it went. Throws `invalid`
 * for one that is none of it, and the signal's reason.
 */
export async function fleetsClusters(
  config: FleetConfig,
  { name, ...sources }: { name?: string; secrets: CachedSecrets; clusters: Platform["clusters"] },
  signal: AbortSignal,
): Promise<Pick<Checked, "clusters" | "discovery">> {
  const { clusters: clouds } = sources;
  const clusters = new Map<string, ConfiguredCluster>(
    name === undefined ? Object.entries(config.clusters) : [[name, await fleetCluster(config, name, clouds, signal)]],
  );
  const entries = name === undefined ? Object.entries(config.fleet.discover) : [];
  const discovery = entries.map(async ([entry, one]) => {
    const { ask, answers } = asking("discovery", { name: entry, signal });
    await ask("list", async (signal) => {
      const alone = { ...config, clusters: {}, fleet: { ...config.fleet, discover: { [entry]: one } } };
      const { clusters: found, problems, failure } = await fleetClusters(alone, clouds, signal);
      for (const [name, cluster] of found) clusters.set(name, cluster);
      if (failure !== undefined) throw failure;
      if (problems.length > 0) return { state: "failed", message: problems.join("; "), todo: OTHER_TAGS };
      if (found.size === 0) return { state: "warning", message: "no cluster has the tags", todo: OTHER_TAGS };
      return { state: "ok", message: counted("cluster", found.size) };
    });
    return answers();
  });
  const checks = (await Promise.all(discovery)).flat();
  const all = [...clusters].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    discovery: checks,
    clusters: all.flatMap(([name, cluster]) => {
      const own = narrowed(config, name, cluster);
      return configuredClusters(own, sources).map((checked) => ({ ...checked, location: own.location }));
    }),
  };
}

const OTHER_TAGS = "tag the clusters that are meant, and no others, or correct fleet.discover";

function referenceText(reference: ClusterReference): string {
  if ("kubeconfig" in reference) {
    const { kubeconfig, context } = reference;
    return `kubeconfig ${kubeconfig}${context ? `, context ${context}` : ""}`;
  }
  if ("eks" in reference) return `EKS cluster ${reference.eks.name} in ${reference.eks.region}`;
  if ("gke" in reference) return `GKE cluster ${reference.gke.name} in ${reference.gke.location}`;
  return `AKS cluster ${reference.aks.name} in ${reference.aks.resourceGroup}`;
}

async function checkLimits(limits: Surroundings | undefined): Promise<Check[]> {
  const question = { subject: "function", question: "limits" } as const;
  return [{ ...question, ...judgeLimits(limits) }];
}

function judgeLimits(limits: Surroundings | undefined): Judgement {
  const { time } = limits ?? {};
  const memory = limits?.memory !== undefined && limits.memory < UNLIMITED ? limits.memory : undefined;
  const told = [
    ...(memory === undefined ? [] : [`${Math.round(memory / MIB)} MiB of memory`]),
    ...(time === undefined ? [] : [`${Math.round(time / 1000)} s`]),
  ];
  if (told.length === 0)
    return { state: "notAsked", message: limits ? "the platform tells none" : "this is no function" };
  const lacks = [
    memory !== undefined && memory < LEAST_MEMORY && "memory (512 MiB; 1769 MB are a whole CPU of Lambda)",
    time !== undefined && time < LEAST_TIME_MS && "time (300 s; more for clusters of more than 100,000 objects)",
  ].filter((lack) => lack !== false);
  if (lacks.length === 0) return { state: "ok", message: told.join(", ") };
  return { state: "warning", message: told.join(", "), todo: `give it more ${lacks.join(" and ")}` };
}
