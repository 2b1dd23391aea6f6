import type { TokenCredential } from "@azure/identity";
import { LifeboatError } from "../../core/index.ts";

const RETRIES = { maxRetries: 3, retryDelayInMs: 500, maxRetryDelayInMs: 5000 };

/**
 * Who we are to Azure. Where the platform offers an identity (IDENTITY_ENDPOINT: in a function), that one; else what
 * the SDK's DefaultAzureCredential finds: the environment's client, workload identity, a virtual machine's identity,
 * `az login`. `clientId`: of the identity to be, by default AZURE_CLIENT_ID. It is looked for at the first token.
 */
export function azureCredential(clientId: string | undefined = process.env.AZURE_CLIENT_ID): TokenCredential {
  let credential: Promise<TokenCredential> | undefined;
  return {
    async getToken(scopes, options) {
      credential ??= findCredential(clientId);
      return (await credential).getToken(scopes, options);
    },
  };
}

async function findCredential(clientId: string | undefined): Promise<TokenCredential> {
  const { DefaultAzureCredential, ManagedIdentityCredential } = await import("@azure/identity");
  if (process.env.IDENTITY_ENDPOINT) return new ManagedIdentityCredential({ clientId, retryOptions: RETRIES });
  const ids = clientId && { managedIdentityClientId: clientId, workloadIdentityClientId: clientId };
  return new DefaultAzureCredential({ ...ids, retryOptions: RETRIES });
}

/** The service of a storage account, and the account's key where the environment has one. */
export interface StorageAccess {
  url: string;
  key?: { account: string; value: string };
}

/** The variables that may hold a connection string. The queue's is first the one that the Functions host listens on. */
const CONNECTIONS = {
  blob: ["AZURE_STORAGE_CONNECTION_STRING"],
  queue: ["AzureWebJobsStorage", "AZURE_STORAGE_CONNECTION_STRING"],
} as const;

const FIELDS = { blob: "BlobEndpoint", queue: "QueueEndpoint" } as const;
const ACCOUNT = /^[a-z0-9]{3,24}$/;

/**
 * Where a storage account's service is, and its key. The account: the one given, else that of a connection string in
 * the environment, else AZURE_STORAGE_ACCOUNT. The URL: the endpoint given (for Azurite and sovereign clouds, the whole
 * URL of the service, as in a connection string), else the connection string's, else https://ACCOUNT.blob.core.windows.net.
 * The key: that of a connection string of this account, else AZURE_STORAGE_KEY, unless AZURE_STORAGE_ACCOUNT says that
 * it is another's; without a key the identity's token is used. Throws `invalid`; no message holds a key.
 */
export function storageAccess(
  service: keyof typeof CONNECTIONS,
  { account, endpoint }: { account?: string; endpoint?: string },
): StorageAccess {
  const env = process.env;
  const connection = CONNECTIONS[service]
    .map((name) => readConnection(env[name] ?? ""))
    .find(({ AccountName }) => AccountName && (!account || account === AccountName));
  const name = account || connection?.AccountName || env.AZURE_STORAGE_ACCOUNT;
  if (name ? !ACCOUNT.test(name) : !endpoint) {
    throw new LifeboatError("invalid", name ? "no storage account has such a name" : "no storage account is named", {
      hint: "add ?account=NAME to the location (3 to 24 small letters and digits), or set AZURE_STORAGE_ACCOUNT",
    });
  }
  const suffix = connection?.EndpointSuffix ?? "core.windows.net";
  const url = endpoint || connection?.[FIELDS[service]] || `https://${name}.${service}.${suffix}`;
  const ownKey = !env.AZURE_STORAGE_ACCOUNT || env.AZURE_STORAGE_ACCOUNT === name;
  const value = connection?.AccountKey || (ownKey && env.AZURE_STORAGE_KEY) || undefined;
  const key = name && value ? { account: name, value } : undefined;
  checkUrl(url, key !== undefined);
  return { url: url.replace(/\/+$/, ""), key };
}

function readConnection(text: string): Partial<Record<string, string>> {
  const fields = text.split(";").map((field) => /^([A-Za-z]+)=(.*)$/.exec(field.trim()));
  return Object.fromEntries(fields.flatMap((match) => (match ? [[match[1], match[2]]] : [])));
}

function checkUrl(text: string, withKey: boolean): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const bare = url && !url.username && !url.password && !url.search && !url.hash;
  if (!bare || !["http:", "https:"].includes(url.protocol)) {
    throw new LifeboatError("invalid", "the storage account's endpoint is not a http(s) URL without credentials", {
      hint: "write endpoint=https://host, or http://host:port/account for Azurite",
    });
  }
  if (url.protocol === "http:" && !withKey) {
    throw new LifeboatError("invalid", "the storage account's endpoint would send a token in clear text", {
      hint: "use https, or set AZURE_STORAGE_KEY",
    });
  }
}
