import { isLifeboatError, LifeboatError, type Meaning, messageOf, NETWORK_CODES } from "../../core/index.ts";

const CREDENTIALS: Meaning = {
  kind: "denied",
  hint: "check AZURE_STORAGE_KEY, AZURE_CLIENT_ID and its secret or token file, `az login`, or the function's identity",
};
const NETWORK: Meaning = { kind: "unreachable" };
const TIMEOUT: Meaning = { kind: "timeout" };
const ROLE: Meaning = {
  kind: "denied",
  hint: "give the identity Storage Blob Data Contributor on the container, Storage Queue Data Contributor on the queue",
};
const NO_KEYS: Meaning = {
  kind: "denied",
  hint: "the account takes no keys: unset AZURE_STORAGE_KEY and AZURE_STORAGE_CONNECTION_STRING",
};

/** By the code that Azure answers, the SDK's code or name of an error, or Node's code of a network error. */
const BY_CODE: Record<string, Meaning> = {
  ...NETWORK_CODES,
  ContainerNotFound: { kind: "missing", hint: "create the container, or correct the location" },
  QueueNotFound: { kind: "missing", hint: "create the queue" },
  BlobImmutableDueToPolicy: { kind: "conflict", hint: "the container's immutability policy protects the object" },
  LeaseIdMissing: { kind: "denied", hint: "something else holds a lease on the object" },
  BlobArchived: { kind: "denied", hint: "the object is in the archive tier: rehydrate it first" },
  PublicAccessNotPermitted: CREDENTIALS,
  InvalidBlockList: { kind: "conflict", hint: "another put of the same object ended first" },
  AuthenticationFailed: CREDENTIALS,
  InvalidAuthenticationInfo: CREDENTIALS,
  AuthorizationFailure: { kind: "denied", hint: "check AZURE_STORAGE_KEY, then the account's network rules" },
  AuthorizationPermissionMismatch: ROLE,
  KeyBasedAuthenticationNotPermitted: NO_KEYS,
  Forbidden: {
    kind: "denied",
    hint: "give the identity Key Vault Secrets User, and look whether the secret is enabled",
  },
  AuthorizationFailed: {
    kind: "denied",
    hint: "give the identity Azure Kubernetes Service Cluster User Role, and for disks a role that allows what is named",
  },
  TooManyRequests: { kind: "busy", hint: "try again later" },
  CredentialUnavailableError: CREDENTIALS,
  AuthenticationError: CREDENTIALS,
  AuthenticationRequiredError: CREDENTIALS,
  AggregateAuthenticationError: CREDENTIALS,
  ENOTFOUND: { kind: "unreachable", hint: "no such host: look at the name of the account or vault" },
};

/** By the HTTP status, where the code says nothing. */
const BY_STATUS: Record<number, Meaning> = {
  401: CREDENTIALS,
  403: { kind: "denied" },
  404: { kind: "missing" },
  408: TIMEOUT,
  409: { kind: "conflict" },
  412: { kind: "conflict" },
  429: NETWORK,
};

/**
 * What an error thrown by Azure's SDKs means: `can't <wanted>: …`; one of ours is given back. The error itself is not passed on as the cause: it
 * holds the request with its token, and the answer.
 */
export function azureError(error: unknown, wanted: string): LifeboatError {
  if (isLifeboatError(error)) return error;
  const { code = "", status, message } = described(error);
  const { kind, hint } = meaning(code, status, message);
  const said = [code, message].filter(Boolean).join(": ") || "no reason given";
  return new LifeboatError(kind, `can't ${wanted}: ${said}${status ? ` (HTTP ${status})` : ""}`, { hint });
}

/** The HTTP status of an error thrown by Azure's SDKs, if an answer came at all. */
export function azureStatus(error: unknown): number | undefined {
  return described(error).status;
}

/** Azure's code of an error, as BlobNotFound, or Node's. */
export function azureCode(error: unknown): string | undefined {
  return described(error).code;
}

function meaning(code: string, status: number | undefined, message: string): Meaning {
  // The credentials of @azure/identity have one name for no identity and for no way to ask for its token.
  if (BY_CODE[code] === CREDENTIALS && /network.?(unreachable|error)|ECONN/i.test(message)) return NETWORK;
  return BY_CODE[code] ?? (status ? byStatus(status) : NETWORK);
}

function byStatus(status: number): Meaning {
  return BY_STATUS[status] ?? { kind: status >= 400 && status < 500 ? "invalid" : "unreachable" };
}

interface Fields {
  name?: unknown;
  code?: unknown;
  statusCode?: unknown;
  cause?: unknown;
}

function described(error: unknown): { code?: string; status?: number; message: string } {
  if (!(error instanceof Error)) return { message: messageOf(error) };
  const { name, code, statusCode, cause } = error as Fields;
  const status = typeof statusCode === "number" ? statusCode : undefined;
  // This message of the SDK quotes the answer, which may be a secret.
  if (code === "PARSE_ERROR") return { code, status, message: "the answer is not what it should be" };
  // What the SDK calls an abort, where none was asked for, is an answer that was cut.
  if (name === "AbortError") return { message: "the connection broke" };
  const causeCode = cause instanceof Error ? (cause as Fields).code : undefined;
  const codes = [typeof name === "string" && name in BY_CODE ? name : undefined, code, causeCode];
  return { code: codes.find((text) => typeof text === "string"), status, message: messageOf(error) };
}
