import { type GoogleAuth, gaxios } from "google-auth-library";
import { EnvHttpProxyAgent, fetch, type RequestInit } from "undici";

const CONNECT_MS = 10_000;
/** Without a byte in either direction; more than a slow reader of ours needs. */
export const SILENCE_MS = 300_000;
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

/** What is sent; `retry: false` for what may not be sent twice. */
export interface GoogleRequest extends gaxios.GaxiosOptions {
  url: string;
  signal?: AbortSignal | undefined;
  retry?: boolean;
}

/**
 * Sends a request with the credentials of `auth`, or without. Google's client has no limits of its own and repeats
 * nothing unless told: here a connection is given up after 10 s, a silent one after 5 minutes, and what may pass is
 * tried 3 times more. HTTPS_PROXY is obeyed. Throws what that client throws, and for a network error its code.
 */
export function send<T>(
  auth: GoogleAuth | undefined,
  { retry = true, ...options }: GoogleRequest,
): Promise<gaxios.GaxiosResponse<T>> {
  const request = { ...options, fetchImplementation, ...(retry && { retryConfig: { ...RETRIES } }) };
  return auth ? auth.request<T>(request) : anonymous.request<T>(request);
}

/** `fetch` with limits. Throws the network's own error, whose code says what happened. */
export const fetchImplementation: typeof globalThis.fetch = async (url, init) => {
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
