import { LifeboatError, type Meaning, NETWORK_CODES } from "../../core/index.ts";

const CREDENTIALS: Meaning = {
  kind: "denied",
  hint: "check GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or the function's service account",
};
const NETWORK: Meaning = { kind: "unreachable" };
const TIMEOUT: Meaning = { kind: "timeout" };

const NO_BUCKET: Meaning = { kind: "missing", hint: "create the bucket, or correct the location" };

/** By what the message says, where neither status nor code tells things apart. */
const BY_MESSAGE: [RegExp, Meaning][] = [
  [/bucket does not exist|bucket not found/i, NO_BUCKET],
  [/could not load the default credentials|unable to detect a project id/i, CREDENTIALS],
  [/could not refresh access token|invalid_grant|invalid_client|service account token/i, CREDENTIALS],
  [/is subject to .*retention|is under active .*hold/i, { kind: "conflict", hint: "the bucket holds the object" }],
  [/payload size exceeds|request payload.*(too large|exceeds)/i, { kind: "invalid" }],
];

/** By Node's or undici's code of a network error, or the SDK's of an error of its own. */
const BY_CODE: Record<string, Meaning> = {
  ...NETWORK_CODES,
  CONTENT_DOWNLOAD_MISMATCH: { kind: "corrupt", hint: "what arrived hasn't the object's CRC32C: try again" },
  FILE_NO_UPLOAD: { kind: "unreachable", hint: "what arrived had another CRC32C and was removed: try again" },
};

const BY_STATUS: Record<number, Meaning> = {
  401: CREDENTIALS,
  403: { kind: "denied", hint: "the service account lacks a role that allows it" },
  404: { kind: "missing" },
  408: TIMEOUT,
  409: { kind: "conflict" },
  412: { kind: "conflict" },
  429: NETWORK,
  504: TIMEOUT,
};

/**
 * What an error of Google's clients means: `can't <wanted>: …`. They throw four kinds (the storage SDK's own, gaxios's,
 * an answer's error object as it came, Node's). The error itself is not passed on as the cause: it holds the request
 * with its token, and an answer.
 */
export function googleError(error: unknown, wanted: string): LifeboatError {
  const { status, code, message } = described(error);
  const { kind, hint } = meaning(error);
  const said = [code, message].filter(Boolean).join(": ") || "no reason given";
  return new LifeboatError(kind, `can't ${wanted}: ${said}${status ? ` (HTTP ${status})` : ""}`, { hint });
}

/** Whether an error says that there are too many requests at once, which some APIs do by a 403. */
export function isTooMany(error: unknown): boolean {
  const { errors, response } = fieldsOf(error);
  const reasons = [...(errors ?? []), ...(response?.data?.error?.errors ?? [])].map(({ reason }) => reason);
  return googleStatus(error) === 429 || reasons.some((reason) => /rateLimitExceeded/i.test(String(reason)));
}

/** Such an error for a port that tells `busy`. */
export function tooMany(error: unknown, wanted: string): LifeboatError {
  return new LifeboatError("busy", googleError(error, wanted).message, { hint: "try again later" });
}

/** The HTTP status of an error of Google's clients, if an answer came at all. */
export function googleStatus(error: unknown): number | undefined {
  return described(error).status;
}

/** Whether an error says that an object isn't there, though its bucket is. */
export function isMissingObject(error: unknown): boolean {
  return googleStatus(error) === 404 && meaning(error) !== NO_BUCKET;
}

/** Whether a request may succeed when it is sent again. The storage SDK asks this of each answer too, 308 among them. */
export function isTransient(error: unknown): boolean {
  const { status, code } = described(error);
  if (code === undefined && (status === undefined || status < 400)) return false;
  return ["unreachable", "timeout"].includes(meaning(error).kind);
}

function meaning(error: unknown): Meaning {
  const { status, code, message } = described(error);
  const told = BY_MESSAGE.find(([pattern]) => pattern.test(message))?.[1];
  return told ?? (code ? (BY_CODE[code] ?? NETWORK) : byStatus(status));
}

function byStatus(status = 0): Meaning {
  return BY_STATUS[status] ?? { kind: status >= 400 && status < 500 ? "invalid" : "unreachable" };
}

interface Described {
  status?: number;
  code?: string;
  message: string;
}

type Reasons = { message?: unknown; reason?: unknown }[];

interface Fields {
  message?: unknown;
  code?: unknown;
  status?: unknown;
  response?: { status?: unknown; statusCode?: unknown; data?: { error?: { errors?: Reasons } } };
  errors?: Reasons;
  cause?: unknown;
}

function described(error: unknown): Described {
  if (typeof error !== "object" || error === null) return { message: String(error) };
  const { code, status, response, errors: [first] = [], cause, message } = error as Fields;
  const statuses = [status, response?.status, response?.statusCode, code].map(Number);
  const codes = [code, first?.reason, fieldsOf(cause).code];
  return {
    status: statuses.find((number) => number >= 100 && number < 600),
    // Reasons of an answer ("notFound") are no codes of the network ("ECONNRESET") or the SDK.
    code: codes.find((text): text is string => typeof text === "string" && /^([A-Z][A-Z_]+|TimeoutError)$/.test(text)),
    message: firstLine(first?.message) || firstLine(message),
  };
}

const fieldsOf = (value: unknown): Fields => (typeof value === "object" && value !== null ? (value as Fields) : {});

/** The message, or that within a JSON answer which a client took for the message. */
function firstLine(message: unknown): string {
  if (typeof message !== "string") return "";
  try {
    const { error } = JSON.parse(message) as { error?: { message?: unknown } };
    if (typeof error?.message === "string") return firstLine(error.message);
  } catch {
    // It is plain text.
  }
  return message.trim().split("\n", 1)[0] ?? "";
}
