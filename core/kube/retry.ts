import { parseStatus } from "./status.ts";

/** Why a request is sent again: an answer that asks for it, or no answer. */
export type Trouble = keyof typeof RETRIES;

/**
 * How many attempts of a request may meet each trouble; the last one's is then the answer. Writes are sent again as well: only a 429
 * and a refused connection are sure to have done nothing, so a caller that sees more than one attempt must reckon with
 * a 409 or a 404 that its own earlier attempt caused.
 */
export const RETRIES = {
  throttled: { attempts: 10, reason: "429: the server is alive and says when to come back" },
  failing: {
    attempts: 5,
    reason: "500 that no webhook caused, 502, 503, 504: an etcd election, a rollout, a load balancer",
  },
  cut: { attempts: 5, reason: "a connection that broke: often an idle one that the other side had given up" },
  timeout: { attempts: 3, reason: "each has already cost a whole timeout" },
  refused: { attempts: 8, reason: "an API server that answered before is restarting: back within seconds" },
  unreached: {
    attempts: 2,
    reason: "nothing was ever heard of this server: most likely a wrong address, so say it at once",
  },
} as const;

/** After these the server has surely not begun what it was asked for: what must not be done twice may be sent again. */
export const NOTHING_DONE: ReadonlySet<Trouble> = new Set(["throttled", "refused"]);

const BASE_MS = 250;
const CAP_MS = 10_000;
const RETRY_AFTER_CAP_MS = 30_000;
/** No retry begins later than this after the first attempt began. */
export const TOTAL_MS = 120_000;

/**
 * How long to wait, in milliseconds, after `attempts` attempts of a request have met this trouble: what the server asked
 * for plus exponential backoff with full jitter; undefined where the request must not be sent again.
 */
export function retryDelay(
  trouble: Trouble,
  attempts: number,
  options: { elapsedMs: number; retryAfterMs?: number; random?: () => number },
): number | undefined {
  if (attempts >= RETRIES[trouble].attempts) return undefined;
  const backoff = Math.min(CAP_MS, BASE_MS * 2 ** (attempts - 1)) * (options.random ?? Math.random)();
  const delay = Math.min(RETRY_AFTER_CAP_MS, options.retryAfterMs ?? 0) + backoff;
  return options.elapsedMs + delay > TOTAL_MS ? undefined : delay;
}

/** What an answer's status asks for: undefined where it is final. */
export function troubleOf(response: {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}): Trouble | undefined {
  const { status } = response;
  if (status === 429) return "throttled";
  if (status === 502 || status === 503 || status === 504) return "failing";
  if (status === 500 && isTransient(response)) return "failing";
  return undefined;
}

/** The answer's Retry-After, given in seconds or as an HTTP date, in milliseconds. */
export function retryAfterMs(
  response: { headers: Record<string, string>; body: Buffer },
  now = Date.now(),
): number | undefined {
  const header = response.headers["retry-after"];
  if (header === undefined) return undefined;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - now) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : undefined;
}

/**
 * 500 is what the API server says of all that it didn't foresee: etcd's elections, a proxy's trouble. What a webhook brought
 * about is left to the caller, unless the server says when to come back: its backend may be down for long.
 */
function isTransient(response: { headers: Record<string, string>; body: Buffer }): boolean {
  if (response.headers["retry-after"] !== undefined) return true;
  const status = parseStatus(response.body);
  return Boolean(status.details?.retryAfterSeconds) || !/webhook/.test(status.message ?? "");
}
