import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import {
  type Config,
  isFleet,
  isLifeboatError,
  LifeboatError,
  memberLocation,
  narrowedTo,
  parseConfig,
  parseLocation,
  samePlace,
} from "../../core/index.ts";
import type { SharedOptions } from "./options.ts";
import { say } from "./output.ts";
import { secrets, terminal } from "./platform.ts";

const DEFAULT_FILE = "lifeboat.yaml";

interface ConfigText {
  /** Where it comes from, for messages. */
  source: string;
  text: string;
  /** That of the file, where relative paths in it begin; of a secret there is none. */
  folder?: string;
}

/**
 * The configuration of one cluster, or of those that share a location: of the file `--config`, else of LIFEBOAT_CONFIG, a file or
 * a secret's reference, else of ./lifeboat.yaml where it is there; and of the environment, and of `--location`, which wins.
 * Relative paths in a file begin at its folder, those in variables and flags at the working directory. One of a fleet is
 * narrowed to the cluster that `--cluster` names. Throws `invalid` with all that is wrong in it, `missing` where a file that
 * was named isn't there.
 */
export async function loadConfig(options: SharedOptions): Promise<Config> {
  return ofOneLocation(await fleetConfig(options), options);
}

/** The same; undefined where there is no file and none is named. */
export async function readConfig(options: SharedOptions): Promise<Config | undefined> {
  const config = await readFleetConfig(options);
  return config && ofOneLocation(config, options);
}

/** The same, of a whole fleet too. */
export async function readFleetConfig(options: SharedOptions): Promise<Config | undefined> {
  const found = await findText(options);
  return found && narrowedBy(found, options);
}

/** The same, for who knows what to do with a fleet: where no cluster is named, all of that. */
export async function fleetConfig(options: SharedOptions): Promise<Config> {
  return narrowedBy(await findText(options), options);
}

/** `--location` says where the named cluster's backups lie, which can't be at the fleet's own. */
async function narrowedBy(found: ConfigText | undefined, options: SharedOptions): Promise<Config> {
  const { cluster, location } = options;
  const config = parse(found, options);
  if (!isFleet(config) || cluster === undefined) return config;
  const own = location && configuredLocation(found);
  if (own && samePlace(parseLocation(own).href, parseLocation(location).href))
    throw new LifeboatError(
      "invalid",
      `${location} is the fleet's location, and the backups of ${cluster} lie below it`,
      {
        hint: `leave --location out, or take ${memberLocation(location, cluster)}`,
      },
    );
  const narrow = await narrowedTo(config, cluster, terminal.clusters, new AbortController().signal);
  return location ? { ...narrow, location } : narrow;
}

/** What the configuration says itself, the environment before the file, where one does. */
function configuredLocation(found: ConfigText | undefined): string | undefined {
  try {
    return parse(found, {}).location;
  } catch (error) {
    if (isLifeboatError(error, "invalid")) return undefined;
    throw error;
  }
}

/** The configuration; throws `invalid` for one of a whole fleet where no location is named. */
export function ofOneLocation(config: Config, { location }: SharedOptions): Config {
  if (!isFleet(config) || location) return config;
  throw new LifeboatError(
    "invalid",
    "the configuration is a fleet's, each of whose clusters has a location of its own",
    {
      hint: 'name one: --cluster NAME; "lifeboat fleet get" lists them',
    },
  );
}

/** Where the configuration comes from, for people. Throws as `loadConfig`. */
export async function configSource(options: SharedOptions): Promise<string> {
  return (await findText(options))?.source ?? "flags and the environment";
}

function parse(found: ConfigText | undefined, { location }: SharedOptions): Config {
  const env = location ? { ...process.env, LIFEBOAT_LOCATION: location } : process.env;
  try {
    const { config, warnings } = parseConfig(found?.text, env);
    for (const warning of warnings) warnOnce(`${found?.source ?? "the environment"}: ${warning}`);
    return found?.folder === undefined ? config : withPathsFrom(found.folder, config, env);
  } catch (error) {
    if (!isLifeboatError(error)) throw error;
    const configured = Object.entries(process.env).some(([name, value]) => value && CONFIGURES.test(name));
    const none = configured ? "" : `there is no ${DEFAULT_FILE} here: name the configuration with --config FILE`;
    throw found
      ? new LifeboatError(error.kind, `${found.source}: ${error.message}`, { hint: error.hint, cause: error })
      : new LifeboatError(error.kind, error.message, {
          hint: [error.hint, none].filter(Boolean).join("\n") || undefined,
        });
  }
}

/** Variables that are values of the configuration. */
const CONFIGURES = /^LIFEBOAT_(LOCATION$|CLUSTERS_|SCHEDULES_|SIGNING_|VOLUMES_)/;

/** With absolute paths in place of the relative ones that the file holds; what a variable has said is left as it is. */
function withPathsFrom(folder: string, config: Config, env: NodeJS.ProcessEnv): Config {
  const location =
    !env.LIFEBOAT_LOCATION && /^\.{1,2}(\/|$)/.test(config.location)
      ? resolve(folder, config.location)
      : config.location;
  const secret = (reference: string, variable: string) => {
    const path = env[variable] ? undefined : /^file:(.+)$/s.exec(reference)?.[1];
    return path === undefined ? reference : `file:${resolve(folder, path)}`;
  };
  const clusters = Object.entries(config.clusters).map(([name, cluster]) => {
    if (!("kubeconfig" in cluster)) return [name, cluster] as const;
    const variable = `LIFEBOAT_CLUSTERS_${name.toUpperCase().replaceAll("-", "_")}_KUBECONFIG`;
    return [name, { ...cluster, kubeconfig: secret(cluster.kubeconfig, variable) }] as const;
  });
  const { key, publicKeys } = config.signing;
  const signing = {
    key: key && secret(key, "LIFEBOAT_SIGNING_KEY"),
    publicKeys: publicKeys?.map((reference) => secret(reference, "LIFEBOAT_SIGNING_PUBLIC_KEYS")),
  };
  const { identity } = config.encryption;
  const encryption = {
    ...config.encryption,
    identity: identity && secret(identity, "LIFEBOAT_ENCRYPTION_IDENTITY"),
  };
  const { restic } = config.volumes;
  const volumes = restic && {
    restic: {
      ...restic,
      password: secret(restic.password, "LIFEBOAT_VOLUMES_RESTIC_PASSWORD"),
      credentials: restic.credentials && secret(restic.credentials, "LIFEBOAT_VOLUMES_RESTIC_CREDENTIALS"),
    },
  };
  const notifications = Object.entries(config.notifications).map(([name, notification]) => {
    const variable = `LIFEBOAT_NOTIFICATIONS_${name.toUpperCase().replaceAll("-", "_")}_URL`;
    return [name, { ...notification, url: secret(notification.url, variable) }] as const;
  });
  return {
    ...config,
    notifications: Object.assign(Object.create(null), Object.fromEntries(notifications)),
    encryption,
    volumes: volumes ?? {},
    location,
    clusters: Object.assign(Object.create(null), Object.fromEntries(clusters)),
    signing,
  };
}

const warned = new Set<string>();

function warnOnce(warning: string): void {
  if (!warned.has(warning)) say(`warning: ${warning}`);
  warned.add(warning);
}

async function findText({ config }: SharedOptions): Promise<ConfigText | undefined> {
  const named = config ?? process.env.LIFEBOAT_CONFIG;
  if (named && /^[a-z][a-z0-9-]+:/.test(named)) return { source: named, text: await secrets().read(named) };
  const source = named || DEFAULT_FILE;
  try {
    return { source, text: await readFile(source, "utf8"), folder: dirname(resolve(source)) };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" && !named) return undefined;
    if (code === "ENOENT") throw new LifeboatError("missing", `there is no configuration: no file ${source}`);
    throw new LifeboatError("invalid", `the configuration ${source} can't be read: ${code}`);
  }
}
