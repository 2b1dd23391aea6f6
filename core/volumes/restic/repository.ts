import { LifeboatError } from "../../errors.ts";
import { awsDomains } from "../../kube/clouds.ts";
import { parseLocation, readLocation } from "../../location.ts";

/** Where restic finds the repository of a namespace, and what it must be told for that beside secrets. */
export interface Repository {
  /** As restic's `-r` takes it. It never holds a credential. */
  url: string;
  /** Plain variables of restic's environment. */
  env: Record<string, string>;
  /** Flags of every command. */
  flags: string[];
}

/** The folder of a namespace's repository in the bucket, as Velero has it (velero-format: 6.7); it ends in "/". */
export function repositoryFolder(namespace: string): string {
  return `restic/${namespace}/`;
}

/**
 * The repository of a source namespace at a location, in restic's words. Each provider is told what `env` tells the location's
 * own client (AWS_REGION, AZURE_STORAGE_ACCOUNT), since restic knows those by other names. Throws `invalid` for a location that
 * restic can't reach from a Pod.
 */
export function repositoryAt(
  location: string,
  namespace: string,
  env: Record<string, string | undefined> = {},
): Repository {
  const url = parseLocation(location);
  const scheme = url.protocol.slice(0, -1);
  const provider = Object.hasOwn(PROVIDERS, scheme) ? PROVIDERS[scheme as keyof typeof PROVIDERS] : undefined;
  if (provider) return provider(url, repositoryFolder(namespace).slice(0, -1), env);
  throw new LifeboatError(
    "invalid",
    `files can't be copied to a ${scheme} location: Pods of a cluster don't reach it`,
    {
      hint: "copies of files need a location in a bucket: s3://, gs:// or azblob://",
    },
  );
}

type Read = (location: URL, folder: string, env: Record<string, string | undefined>) => Repository;

const PROVIDERS = { s3, gs, azblob } satisfies Record<string, Read>;

function s3(location: URL, folder: string, env: Record<string, string | undefined>): Repository {
  const { bucket, prefix, parameters } = readLocation(location, ["region", "endpoint", "forcePathStyle"]);
  const region = parameters.region || env.AWS_REGION || env.AWS_DEFAULT_REGION;
  const aws = region ? `https://s3.${region}.${awsDomains(region).domain}` : "https://s3.amazonaws.com";
  const endpoint = (parameters.endpoint || aws).replace(/\/+$/, "");
  return {
    url: `s3:${endpoint}/${encodeURI(`${bucket}/${prefix}${folder}`)}`,
    env: region ? { AWS_DEFAULT_REGION: region } : {},
    flags: parameters.forcePathStyle === "true" ? ["-o", "s3.bucket-lookup=path"] : [],
  };
}

function gs(location: URL, folder: string): Repository {
  const { bucket, prefix, parameters } = readLocation(location, ["endpoint"]);
  return {
    url: `gs:${bucket}:/${prefix}${folder}`,
    env: parameters.endpoint ? { STORAGE_EMULATOR_HOST: parameters.endpoint } : {},
    flags: [],
  };
}

function azblob(location: URL, folder: string, env: Record<string, string | undefined>): Repository {
  const { bucket, prefix, parameters } = readLocation(location, ["account", "endpoint"]);
  const host = parameters.endpoint && new URL(parameters.endpoint).host;
  const account = parameters.account || host?.split(".blob.")[0] || env.AZURE_STORAGE_ACCOUNT;
  if (!account) {
    throw new LifeboatError("invalid", "the azblob location names no storage account, which restic must be told", {
      hint: "add ?account=NAME to the location, or set AZURE_STORAGE_ACCOUNT",
    });
  }
  const suffix = host?.startsWith(`${account}.blob.`) ? host.slice(`${account}.blob.`.length) : undefined;
  if (host && (!suffix || !parameters.endpoint?.startsWith("https:"))) {
    throw new LifeboatError("invalid", "restic doesn't reach the azblob location's endpoint", {
      hint: "it reaches an account at https://ACCOUNT.blob.SUFFIX alone",
    });
  }
  return {
    url: `azure:${bucket}:/${prefix}${folder}`,
    env: { AZURE_ACCOUNT_NAME: account, ...(suffix && { AZURE_ENDPOINT_SUFFIX: suffix }) },
    flags: [],
  };
}
