import { createHash, createHmac } from "node:crypto";
import { SignatureV4 } from "@smithy/signature-v4";
import { awsDomains } from "../../core/index.ts";
import { awsError } from "./errors.ts";

/** Credentials of AWS, as the SDK's clients give and take them. */
export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  expiration?: Date;
}

/** Who asks, and in which region. */
export interface Caller {
  region: string;
  credentials: Credentials;
}

const VERSION = "2011-06-15";
const WAIT_MS = 30_000;
/** The shortest session there is. */
const SESSION_SECONDS = "900";

/** The URL of STS in a region. */
export function stsUrl(region: string): URL {
  return new URL(`https://sts.${region}.${awsDomains(region).domain}`);
}

/**
 * A GET request to STS, signed in its URL, which is good for `expiresIn` seconds from `at`. Whoever has it can ask
 * exactly this as us, if he sends `headers`, which are signed too.
 */
export async function presign(
  endpoint: URL,
  parameters: Record<string, string>,
  headers: Record<string, string>,
  caller: Caller,
  { at, expiresIn }: { at: Date; expiresIn: number },
): Promise<URL> {
  const names = new Set(Object.keys(headers));
  const { query = {} } = await signerOf(caller).presign(
    {
      ...requestTo(endpoint),
      method: "GET",
      query: { ...parameters, Version: VERSION },
      headers: { host: endpoint.host, ...headers },
    },
    { signingDate: at, expiresIn, unhoistableHeaders: names, signableHeaders: new Set(["host", ...names]) },
  );
  const url = new URL("/", endpoint);
  url.search = Object.entries(query)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`)
    .join("&");
  return url;
}

/**
 * The credentials of the role `roleArn`, for 15 minutes. STS's address can be set as for the SDK, by
 * AWS_ENDPOINT_URL_STS or AWS_ENDPOINT_URL. One request of our own, as none of the SDK's packages that we name has it.
 * Throws what `awsError` makes of a failure.
 */
export async function assumeRole(roleArn: string, caller: Caller, signal: AbortSignal): Promise<Credentials> {
  const { AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL } = process.env;
  const endpoint = AWS_ENDPOINT_URL_STS || AWS_ENDPOINT_URL;
  const parameters = new URLSearchParams({
    Action: "AssumeRole",
    RoleArn: roleArn,
    RoleSessionName: "lifeboat",
    DurationSeconds: SESSION_SECONDS,
    Version: VERSION,
  });
  try {
    const url = new URL("/", endpoint || stsUrl(caller.region));
    const body = parameters.toString();
    const { method, headers } = await signerOf(caller).sign({
      ...requestTo(url),
      method: "POST",
      headers: { host: url.host, "content-type": "application/x-www-form-urlencoded" },
      body,
    });
    const patience = AbortSignal.any([signal, AbortSignal.timeout(WAIT_MS)]);
    const response = await fetch(url, { method, headers, body, signal: patience });
    const xml = await response.text();
    if (!response.ok) throw refusal(response.status, xml);
    const [accessKeyId, secretAccessKey] = [field(xml, "AccessKeyId"), field(xml, "SecretAccessKey")];
    if (!accessKeyId || !secretAccessKey) throw new Error("an answer without credentials");
    const sessionToken = field(xml, "SessionToken");
    return { accessKeyId, secretAccessKey, sessionToken, expiration: new Date(field(xml, "Expiration") ?? "") };
  } catch (error) {
    signal.throwIfAborted();
    const reason = error instanceof TypeError && error.cause ? error.cause : error;
    throw awsError(reason, `assume the role ${roleArn}`);
  }
}

const signerOf = (caller: Caller) => new SignatureV4({ service: "sts", sha256: Sha256, ...caller });

const requestTo = ({ protocol, hostname }: URL) => ({ protocol, hostname, path: "/" });

/** An error as the SDK would throw it. */
function refusal(httpStatusCode: number, xml: string): Error {
  const code = field(xml, "Code") ?? "";
  const denied = code === "AccessDenied";
  // What STS says of a wrong signature quotes the request, with the session's token.
  const error = new Error(denied ? field(xml, "Message") : code);
  // S3's AccessDenied has a hint of its own.
  error.name = denied ? "AccessDeniedException" : code;
  return Object.assign(error, { $metadata: { httpStatusCode } });
}

/** The text of an element; none of those read here holds what XML escapes, but messages, which are only shown. */
function field(xml: string, name: string): string | undefined {
  return new RegExp(`<${name}>([^<]+)</${name}>`).exec(xml)?.[1];
}

/** SHA-256, or with a key its HMAC, as SignatureV4 asks for them. */
class Sha256 {
  private readonly hash: { update(data: Uint8Array): unknown; digest(): Uint8Array };

  constructor(key?: string | ArrayBuffer | ArrayBufferView) {
    this.hash = key === undefined ? createHash("sha256") : createHmac("sha256", bytesOf(key));
  }
  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.hash.update(bytesOf(data));
  }
  async digest(): Promise<Uint8Array> {
    return this.hash.digest();
  }
  reset(): void {}
}

function bytesOf(data: string | ArrayBuffer | ArrayBufferView): Uint8Array {
  if (typeof data === "string") return Buffer.from(data);
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
