import {
  type Bucket,
  type Config,
  clusterOf,
  configuredSigner,
  connect,
  encrypterFor,
  isFleet,
  isLifeboatError,
  type Kube,
  LifeboatError,
  ofOneCluster,
  openCluster as openConfigured,
  openedOnce,
  openBucket as openLocation,
  type RemovalMeans,
  readKubeconfig,
  readTrustedKeys,
  unlockedBy,
  type VolumeMeans,
  volumeMeans,
} from "../../core/index.ts";
import { checkDirectory } from "./bucket.ts";
import { loadConfig, ofOneLocation, readConfig, readFleetConfig } from "./config.ts";
import { loadKubeconfig } from "./kubeconfig.ts";
import type { SharedOptions } from "./options.ts";
import { secrets, terminal } from "./platform.ts";

/**
 * The bucket of `--location`, else of LIFEBOAT_LOCATION, else of the configuration: of a fleet, that of the cluster that is named.
 * Throws `invalid` where none says; what it gives does where a fleet itself has that location.
 */
export async function openBucket(options: SharedOptions): Promise<Bucket> {
  const location = options.location || (await locationOf(options));
  if (location) return ofOneCluster(await openAt(location, options));
  throw new LifeboatError("invalid", "no location is given", {
    hint: "say where the backups lie: --location ./backups, or LIFEBOAT_LOCATION='s3://bucket/prefix?region=eu-west-1'",
  });
}

/** The bucket of a configuration, be it one cluster's or a whole fleet's. */
export async function openConfigBucket(config: Config, options: SharedOptions): Promise<Bucket> {
  const { location } = config;
  return isFleet(config) ? openAt(location, options) : openBucket({ ...options, location });
}

async function openAt(location: string, options: SharedOptions): Promise<Bucket> {
  return unlockedBy(await openLocation(terminal, location), await identityOf(options), secrets());
}

async function locationOf(options: SharedOptions): Promise<string | undefined> {
  const { LIFEBOAT_LOCATION: given } = process.env;
  if (options.cluster === undefined) return given || (await readConfig(options))?.location;
  return (given ? await loadConfig(options) : await readConfig(options))?.location;
}

/** The same, to look into: throws `missing` for a directory that isn't there, which only who stores something makes. */
export async function openExisting(options: SharedOptions): Promise<Bucket> {
  const bucket = await openBucket(options);
  if (bucket.location.startsWith("file:")) await checkDirectory(bucket.location);
  return bucket;
}

/** The reference of the identity that reads what is encrypted, where there is one. */
async function identityOf(options: SharedOptions): Promise<string | undefined> {
  return (
    options.identity ??
    process.env.LIFEBOAT_ENCRYPTION_IDENTITY ??
    (await readFleetConfig(options))?.encryption.identity
  );
}

/** The public keys that backups are encrypted to; none where they aren't. Throws `invalid` for what is no such key. */
export async function recipientsOf(options: SharedOptions): Promise<string[] | undefined> {
  const recipients = options.recipient ?? (await loadConfig(options)).encryption.recipients;
  encrypterFor(recipients ?? []);
  return recipients;
}

/**
 * A client of the cluster that `--cluster` names in the configuration, else of the one that `--kubeconfig` and
 * `--context` name. No cluster is asked anything yet. Throws `invalid`, and what reading the cluster's secret throws.
 */
export async function openCluster(options: SharedOptions, signal: AbortSignal): Promise<Kube> {
  const { kubeconfig, context, cluster } = options;
  if (cluster === undefined) {
    const { yaml, directory } = await loadKubeconfig(kubeconfig, process.env).catch((error) =>
      kubeconfig === undefined && context === undefined ? hintAtClusters(error, options) : Promise.reject(error),
    );
    return connect(readKubeconfig(yaml, { context, directory }));
  }
  if (kubeconfig !== undefined || context !== undefined) {
    throw new LifeboatError("invalid", "both --cluster and a kubeconfig are given", {
      hint: "--cluster names one of the configuration, --kubeconfig and --context any other: leave one of them out",
    });
  }
  const reference = clusterOf(await loadConfig(options), cluster);
  return openConfigured(reference, { secrets: secrets(), clusters: terminal.clusters }, { signal });
}

/** By what volumes' data can be copied and brought back: this machine's identity in the clouds, and the configuration's restic. */
export async function volumesOf(options: SharedOptions, { location }: Bucket): Promise<VolumeMeans> {
  const { volumes } = await loadConfig(options);
  return volumeMeans(volumes, { location, secrets: secrets(), disks: terminal.disks });
}

/**
 * By what copies of volumes are removed with their backup, asked for once there are some: in the cluster that the flags name, else in
 * the one of the configuration that the backup's record names, else in the current one of the kubeconfig, if that is the backup's.
 */
export function removalOf(
  options: SharedOptions,
  bucket: Bucket,
): { means: () => Promise<RemovalMeans> } & AsyncDisposable {
  const named = options.cluster ?? options.kubeconfig ?? options.context;
  const clients = openedOnce((cluster: string | undefined, signal) => openCluster({ ...options, cluster }, signal));
  const cluster: RemovalMeans["cluster"] = async ({ backup, cluster, server }, signal) => {
    if (named !== undefined) return clients.open(options.cluster, signal);
    const kube = await clients.open(cluster, signal);
    if (cluster !== undefined || kube.server === server) return kube;
    throw new LifeboatError(
      "invalid",
      `backup "${backup}" is of the cluster ${server ?? "that its record doesn't tell"}, and ${kube.context} is another`,
      {
        hint: "name that cluster, or one that has the same storage: --kubeconfig, --context or --cluster",
      },
    );
  };
  return {
    means: async () => ({ ...(await volumesOf(options, bucket)), cluster }),
    [Symbol.asyncDispose]: () => clients.close(),
  };
}

/** What signs backups, where one does. Throws `invalid` for a configuration that can't be read. */
export async function signerOf(options: SharedOptions) {
  const key = options.signingKey ?? (await loadConfig(options)).signing.key;
  return configuredSigner({ key }, secrets());
}

/** The public keys that are trusted; none where all is. Throws `invalid` for a key that is none. */
export async function trustedKeysOf(options: SharedOptions, signal: AbortSignal): Promise<string[]> {
  const references = options.trustedKey ?? (await loadConfig(options)).signing.publicKeys;
  return readTrustedKeys(secrets(), references, signal);
}

/** Throws the error with the clusters of the configuration, where there are some, as its hint. */
async function hintAtClusters(error: unknown, options: SharedOptions): Promise<never> {
  const config = isLifeboatError(error) ? await readFleetConfig(options).catch(() => undefined) : undefined;
  if (config) ofOneLocation(config, options);
  const names = Object.keys(config?.clusters ?? {});
  if (!isLifeboatError(error) || names.length === 0) throw error;
  const hint = `name one of the configuration: --cluster ${names.join(" or ")}`;
  throw new LifeboatError(error.kind, error.message, { hint, cause: error });
}

/** A cluster, for people, as it was named: "prod (https://10.0.0.1:6443)". */
export function clusterText({ context, server }: Kube, { cluster }: SharedOptions): string {
  return `${cluster ?? context} (${server})`;
}

/** How the user calls this program, for suggested commands: in a clone, npx finds it. */
export const COMMAND = import.meta.url.endsWith(".ts") ? "npx lifeboat" : "lifeboat";

/** Makes the flags that say where backups lie, where they were given, part of a suggested command: of a fleet the cluster does, too. */
export function locationFlags({ location, config, cluster }: SharedOptions): string {
  return givenFlags({ location, config, cluster });
}

/** The same for a command that names another cluster: of a fleet the location has to be named then. */
export async function elsewhereFlags(options: SharedOptions, { location }: Pick<Bucket, "location">): Promise<string> {
  const { member } = await loadConfig(options);
  return locationFlags({ ...options, ...(member && { location }), cluster: undefined });
}

/** Makes the flags that name location, cluster and keys, where they were given, part of a suggested command. */
export function targetFlags(options: SharedOptions): string {
  const { location, config, kubeconfig, context, cluster, trustedKey, signingKey } = options;
  const { identity, recipient } = options;
  const keys = { "trusted-key": trustedKey?.join(), "signing-key": signingKey, identity, recipient: recipient?.join() };
  return givenFlags({ location, config, kubeconfig, context, cluster, ...keys });
}

function givenFlags(flags: Record<string, string | undefined>): string {
  const quoted = (text: string) => (/^[\w./:-]+$/.test(text) ? text : `'${text}'`);
  return Object.entries(flags)
    .map(([flag, value]) => (value ? ` --${flag} ${quoted(value)}` : ""))
    .join("");
}
