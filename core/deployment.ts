import { type Config, parseConfig } from "./config.ts";
import { unlockedBy } from "./encryption/configured.ts";
import { LifeboatError } from "./errors.ts";
import { parseLocation } from "./location.ts";
import { type Listen, logLine } from "./log.ts";
import type { Bucket, Jobs, Platform } from "./ports.ts";
import { type CachedSecrets, openSecrets } from "./secrets.ts";

/** What makes a deployment what it is. */
export interface DeploymentOptions {
  /** Where the configuration comes from. */
  env?: Record<string, string | undefined>;
  /** What gives the configuration in place of `env`. */
  config?: () => Promise<Config>;
  /** Standard output where not given. */
  listen?: Listen;
}

/** What all triggers of one deployment work with. */
export interface Deployment {
  platform: Platform;
  secrets: CachedSecrets;
  /** Opened only when something is enqueued: reads need no queue. */
  jobs: Jobs;
  /** Reads the configuration, and tells of its warnings. */
  configuration: () => Promise<Config>;
  /** Where the configuration comes from, for messages. */
  source: () => string;
  /** The bucket at a location, one for each, so that its connections and credentials are kept. What is encrypted comes as it is stored. */
  storedAt: (location: string) => Promise<Bucket>;
  /** The same, with what is encrypted in the clear, where the configuration has the identity for that. */
  bucketAt: (config: Config) => Promise<Bucket>;
  listen: Listen;
}

/**
 * Opens a deployment. Its configuration is read from the reference LIFEBOAT_CONFIG (`file:lifeboat.yaml`, `aws-sm://…`), where
 * that is set, and from the environment.
 */
export function openDeployment(platform: Platform, options: DeploymentOptions): Deployment {
  const { env = process.env, listen = toStandardOutput } = options;
  const secrets = openSecrets(platform);
  const buckets = new Map<string, Promise<Bucket>>();

  async function configuration(): Promise<Config> {
    if (options.config) return options.config();
    const text = env.LIFEBOAT_CONFIG ? await secrets.read(env.LIFEBOAT_CONFIG) : undefined;
    const { config, warnings } = parseConfig(text, env);
    for (const warning of warnings) listen(logLine("warning", warning), "warning");
    return config;
  }

  function storedAt(location: string): Promise<Bucket> {
    const opened = buckets.get(location) ?? openBucket(platform, location);
    buckets.set(location, opened);
    opened.catch(() => buckets.delete(location));
    return opened;
  }

  return {
    platform,
    secrets,
    jobs: { enqueue: async (...given) => (await platform.jobs()).enqueue(...given) },
    configuration,
    source: () => (options.config ? "the configuration" : (env.LIFEBOAT_CONFIG ?? "the environment")),
    storedAt,
    bucketAt: async ({ location, encryption }) => unlockedBy(await storedAt(location), encryption.identity, secrets),
    listen,
  };
}

/** The platform's bucket at a location. Throws `invalid` for a location of another platform. */
export async function openBucket({ buckets }: Pick<Platform, "buckets">, location: string): Promise<Bucket> {
  const url = parseLocation(location);
  const adapter = buckets[url.protocol];
  if (adapter) return adapter(url);
  throw new LifeboatError("invalid", `no location here has the scheme ${url.protocol}`, {
    hint: `a location begins with ${Object.keys(buckets)
      .map((scheme) => `${scheme}//`)
      .join(" or ")}`,
  });
}

function toStandardOutput(line: string): void {
  process.stdout.write(`${line}\n`);
}
