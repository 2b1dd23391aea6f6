import { type GoogleAuth, gaxios } from "google-auth-library";
import { EnvHttpProxyAgent, fetch, type RequestInit } from "undici";
import { isLoopback, LifeboatError, orAborted } from "../../core/index.ts";

const CONNECT_MS = 10_000;
/** Without a byte in either direction; more than a slow reader of ours needs. */
const SILENCE_MS = 300_000;
const RETRIES: gaxios.RetryConfig = {
  retry: 3,
  noResponseRetries: 3,
  httpMethodsToRetry: ["GET", "PUT", "POST", "DELETE"],
  statusCodesToRetry: [
    [408, 408],
    [429, 429],
    [500, 599],
  ],
};

const anonymous = new gaxios.Gaxios();
let agent: EnvHttpProxyAgent | undefined;

/** No request of ours names a project of the caller's; without this, Google's library runs gcloud to find one. */
export const NO_PROJECT = { projectId: "-" };

/** What is sent. It may be sent twice. */
export interface GoogleRequest extends gaxios.GaxiosOptions {
  url: string;
  signal?: AbortSignal | undefined;
}

/**
 * Sends a request with the credentials of `auth`, or without. Google's client has no limits of its own and repeats
 * nothing unless told: here a connection is given up after 10 s, a silent one after 5 minutes, and what may pass is
 * tried 3 times more. HTTPS_PROXY is obeyed. Throws what that client throws, and for a network error its code.
 */
export function send<T>(auth: GoogleAuth | undefined, options: GoogleRequest): Promise<gaxios.GaxiosResponse<T>> {
  const request = { ...options, fetchImplementation, retryConfig: { ...RETRIES } };
  return auth ? auth.request<T>(request) : anonymous.request<T>(request);
}

/** `fetch` with limits. Throws the network's own error, whose code says what happened. */
const fetchImplementation: typeof globalThis.fetch = async (url, init) => {
  agent ??= new EnvHttpProxyAgent({
    connect: { timeout: CONNECT_MS },
    headersTimeout: SILENCE_MS,
    bodyTimeout: SILENCE_MS,
  });
  try {
    const answer = await fetch(String(url), { ...init, dispatcher: agent } as RequestInit);
    return answer as unknown as Response;
  } catch (error) {
    throw error instanceof TypeError && error.cause instanceof Error ? error.cause : error;
  }
};

/**
 * What a request gives, or the end of the wait for it: the signal's, or after 5 minutes. For requests that go on
 * unheeded, as those for a token do, and those of Google's storage SDK.
 */
export async function unlessAborted<T>(request: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const limit = AbortSignal.timeout(SILENCE_MS);
  return orAborted(request, signal ? AbortSignal.any([signal, limit]) : limit);
}

/** Whether an endpoint is plain http on this machine. Throws `invalid` where it is neither that nor https. */
export function isOnThisMachine(endpoint: string, what: string): boolean {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (!url || !["http:", "https:"].includes(url.protocol) || url.username || url.password) {
    throw new LifeboatError("invalid", `${what} is not a http(s) URL without credentials`, {
      hint: "write https://host:port",
    });
  }
  if (url.protocol === "https:") return false;
  if (isLoopback(url.hostname)) return true;
  throw new LifeboatError("invalid", `${what} would be sent a token in clear text`, {
    hint: "plain http is for a server on this machine: write https://host:port",
  });
}
