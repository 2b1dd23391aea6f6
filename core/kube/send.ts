import type { Duplex } from "node:stream";
import type { Dispatcher } from "undici";
import Agent from "undici/lib/dispatcher/agent.js";
import type { Credentials } from "./credentials.ts";
import type { ClusterAccess } from "./kubeconfig.ts";
import { ATTEMPT_TIMEOUT } from "./network.ts";

/** A connection in use is cut by many load balancers after 60 s of silence: probe before. */
const KEEP_ALIVE = { keepAlive: true, keepAliveInitialDelay: 30_000 };
const CONNECT_TIMEOUT_MS = 10_000;
/** Below the idle timeout of load balancers (60 s and more), above the pauses of a backup. */
const IDLE_MS = 30_000;

/**
 * The pool of connections to one API server: HTTP/1.1, kept alive, at most `connections`; through the proxy where the
 * kubeconfig names one (https by CONNECT, http by forwarding). Attempts are timed by `send`, so the pool's own timers are off.
 */
export async function openPool(
  access: ClusterAccess,
  credentials: Credentials,
  connections: number,
): Promise<Dispatcher> {
  const tls = { ...access.tls, cert: credentials.cert, key: credentials.key };
  const pool = { connections, allowH2: false, keepAliveTimeout: IDLE_MS, headersTimeout: 0, bodyTimeout: 0 };
  if (!access.proxyUrl) return new Agent({ ...pool, connect: { ...tls, ...KEEP_ALIVE, timeout: CONNECT_TIMEOUT_MS } });
  const { ProxyAgent } = await import("undici");
  return new ProxyAgent({
    ...pool,
    uri: access.proxyUrl,
    requestTls: { ...tls, ...KEEP_ALIVE },
    connectTimeout: CONNECT_TIMEOUT_MS,
  });
}

/** One attempt's complete answer. */
export interface HttpResponse {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
  /** Of a request that asked for an upgrade, where it was granted (101): the connection, whose end is the caller's to see to. */
  socket?: Duplex;
}

/**
 * Sends one request and collects its answer. Rejects with what undici throws, with an error of code `ATTEMPT_TIMEOUT`
 * after `timeoutMs`, or with the signal's reason, in both cases at once, even where no connection came about yet.
 */
export function send(
  pool: Dispatcher,
  request: Dispatcher.DispatchOptions,
  { signal, timeoutMs }: { signal: AbortSignal; timeoutMs: number },
): Promise<HttpResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
  const answer: HttpResponse = { status: 0, headers: {}, body: EMPTY };
  const chunks: Buffer[] = [];
  let controller: Dispatcher.DispatchController | undefined;
  let over = false;
  const take = (status: number, headers: Record<string, string | string[] | undefined>) => {
    answer.status = status;
    for (const [name, value] of Object.entries(headers)) answer.headers[name] = [value ?? []].flat().join(", ");
  };
  const end = (settle: () => void) => {
    over = true;
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    settle();
  };
  const giveUp = (reason: unknown) => {
    end(() => reject(reason));
    controller?.abort(GIVEN_UP);
  };
  const onAbort = () => giveUp(signal.reason);
  const timer = setTimeout(
    () => giveUp(Object.assign(new Error("attempt timed out"), { code: ATTEMPT_TIMEOUT })),
    timeoutMs,
  );
  signal.addEventListener("abort", onAbort);
  pool.dispatch(request, {
    onRequestStart(started) {
      controller = started;
      if (over) started.abort(GIVEN_UP);
    },
    onRequestUpgrade(_, status, headers, socket) {
      take(status, headers);
      if (over) socket.destroy();
      end(() => resolve({ ...answer, socket }));
    },
    onResponseStart: (_, status, headers) => take(status, headers),
    onResponseData: (_, chunk) => void chunks.push(chunk),
    onResponseEnd: () => end(() => resolve({ ...answer, body: Buffer.concat(chunks) })),
    onResponseError: (_, error) => end(() => reject(error)),
  });
  return promise;
}

const EMPTY = Buffer.alloc(0);
const GIVEN_UP = new Error("given up");
