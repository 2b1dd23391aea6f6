import type { Dispatcher } from "undici";
import { abortedBy, orAborted, pause } from "../abort.ts";
import { LifeboatError } from "../errors.ts";
import { type CredentialFacts, type Credentials, factsOf } from "./credentials.ts";
import type { ClusterAccess } from "./kubeconfig.ts";
import { type NetworkFailure, networkFailure } from "./network.ts";
import { type ExecResult, execInPod, type PodExec } from "./podexec.ts";
import { NOTHING_DONE, retryAfterMs, retryDelay, type Trouble, troubleOf } from "./retry.ts";
import { type HttpResponse, openPool, send } from "./send.ts";

export { expectOk } from "./status.ts";

export interface KubeRequest {
  /** GET where not given. */
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Absolute, as `resourcePath` makes it. */
  path: string;
  query?: Record<string, string | undefined>;
  body?: Buffer | string;
  /** Of the body; application/json where not given. */
  contentType?: string;
  accept?: string;
  /** Ends the request wherever it is, waiting included; it then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Of one attempt; 30 s where not given. */
  timeoutMs?: number;
  /** Carries out the pause after each trouble, so that the caller can do other things meanwhile. */
  pausing?: (trouble: Trouble, pause: () => Promise<void>) => Promise<void>;
}

export interface KubeResponse extends HttpResponse {
  /** Requests sent. After more than one, a write's 409 or 404 may be the work of an earlier attempt. */
  attempts: number;
  /** Of the last attempt. */
  latencyMs: number;
}

export interface Kube {
  /** The API server's URL. */
  readonly server: string;
  /** The kubeconfig's context. */
  readonly context: string;
  /**
   * Sends the request, again where retry.ts says so, and resolves with the last answer whatever its status (see
   * `expectOk`). Throws `unreachable`, `timeout` or `denied` where there was none, and what authentication throws.
   */
  request(request: KubeRequest): Promise<KubeResponse>;
  /**
   * Runs a command in a container of a Pod and resolves with its end, whatever its exit code (podexec.ts). It is sent again
   * only where it was surely not begun.
   */
  exec(exec: PodExec): Promise<ExecResult>;
  /** What the credentials in use tell of themselves. Throws what authentication throws. */
  credential(signal?: AbortSignal): Promise<CredentialFacts>;
  /** Ends the connections, and requests that are still under way. */
  close(): Promise<void>;
}

const TIMEOUT_MS = 30_000;

/**
 * A client of one API server over one pool of at most `connections` (64) kept-alive connections. Nothing is sent until
 * the first request. Credentials past their time are obtained anew; so are those that meet a 401, once per request, and
 * from then on by the access that `reload` gives (for kubeconfigs kept in a secret store; the signal is that of `close`).
 */
export function connect(
  access: ClusterAccess,
  options: { connections?: number; reload?: (signal: AbortSignal) => Promise<ClusterAccess> } = {},
): Kube {
  const closing = new AbortController();
  const { connections = 64, reload = async () => access } = options;
  let known = access;
  let session: Promise<Session> | undefined;
  let expires = Number.POSITIVE_INFINITY;
  let reached = false;

  /** The session in use; a new one where `stale` is still it, so that many requests refused at once renew it once. */
  function sessionAfter(stale?: Promise<Session>): Promise<Session> {
    const old = session;
    if (old && old !== stale && Date.now() < expires) return old;
    const loading = old && old === stale ? reload(closing.signal) : Promise.resolve(known);
    const opened = openSession(loading, connections, closing.signal);
    session = opened;
    expires = Number.POSITIVE_INFINITY;
    opened.then(
      (next) => {
        known = next.access;
        if (next.expires && next.expires.getTime() > Date.now()) expires = next.expires.getTime();
      },
      () => {
        if (session === opened) session = undefined;
      },
    );
    old?.then(({ pool }) => pool.close()).catch(() => {});
    return opened;
  }

  async function request(wanted: Wanted): Promise<KubeResponse> {
    using ending = abortedBy([closing.signal, wanted.signal]);
    const { signal } = ending;
    const { pausing = (_, wait) => wait() } = wanted;
    const began = performance.now();
    const met = new Map<Trouble, number>();
    let refused: Promise<Session> | undefined;
    for (let attempts = 1; ; attempts++) {
      const current = sessionAfter(refused);
      const { answer, failed, latencyMs } = await attempt(await orAborted(current, signal), wanted, signal);
      if (answer) reached = true;
      if (answer?.status === 401 && !refused) {
        refused = current;
        continue;
      }
      const trouble = answer ? troubleOf(answer) : failed.failure && (reached ? failed.failure : "unreached");
      const elapsedMs = performance.now() - began;
      if (trouble) met.set(trouble, (met.get(trouble) ?? 0) + 1);
      const again = trouble && (!wanted.upgrade || NOTHING_DONE.has(trouble)) ? trouble : undefined;
      const waiting = { elapsedMs, retryAfterMs: answer && retryAfterMs(answer) };
      const delay = again && retryDelay(again, met.get(again) ?? 1, waiting);
      if (!again || delay === undefined) {
        if (failed) throw failed.error;
        return { ...answer, attempts, latencyMs };
      }
      await pausing(again, () => pause(delay, signal));
    }
  }

  return {
    server: access.server,
    context: access.name,
    request,
    exec: (exec) =>
      execInPod(exec, ({ headers, ...wanted }) => request({ ...wanted, upgrade: headers }), closing.signal),
    credential: async (signal) => (await orAborted(sessionAfter(), signal)).facts,
    async close() {
      closing.abort(new LifeboatError("unreachable", `the client of ${access.server} is closed`));
      await session?.then(({ pool }) => pool.destroy()).catch(() => {});
    },
  };
}

/** A request, and where it asks for a WebSocket the headers for that. */
type Wanted = KubeRequest & { upgrade?: Record<string, string> };

/** Credentials in use and the connections that were opened with them. */
interface Session {
  access: ClusterAccess;
  pool: Dispatcher;
  headers: Credentials["headers"];
  expires: Date | undefined;
  facts: CredentialFacts;
}

async function openSession(
  loading: Promise<ClusterAccess>,
  connections: number,
  signal: AbortSignal,
): Promise<Session> {
  const access = await loading;
  const credentials = await access.authenticate(signal);
  const pool = await openPool(access, credentials, connections);
  const { headers, expires } = credentials;
  return { access, pool, headers, expires, facts: factsOf(credentials) };
}

type Attempt = { latencyMs: number } & (
  | { answer: HttpResponse; failed?: undefined }
  | { answer?: undefined; failed: NetworkFailure }
);

/** Sends the request once. Throws only the signal's reason. */
async function attempt({ access, pool, headers }: Session, wanted: Wanted, signal: AbortSignal): Promise<Attempt> {
  const timeoutMs = wanted.timeoutMs ?? TIMEOUT_MS;
  const began = performance.now();
  try {
    const answer = await send(pool, dispatchOptions(access.server, wanted, headers), { signal, timeoutMs });
    return { answer, latencyMs: performance.now() - began };
  } catch (error) {
    signal.throwIfAborted();
    const failed = networkFailure(error, { server: access.server, proxied: access.proxyUrl !== undefined, timeoutMs });
    return { failed, latencyMs: performance.now() - began };
  }
}

function dispatchOptions(
  server: string,
  wanted: Wanted,
  credentials: Credentials["headers"],
): Dispatcher.DispatchOptions {
  const url = new URL(server + wanted.path);
  for (const [name, value] of Object.entries(wanted.query ?? {}))
    if (value !== undefined) url.searchParams.set(name, value);
  const headers: Credentials["headers"] = { accept: "application/json", "user-agent": "lifeboat", ...credentials };
  if (wanted.accept) headers.accept = wanted.accept;
  if (wanted.body !== undefined) headers["content-type"] = wanted.contentType ?? "application/json";
  return {
    origin: url.origin,
    path: url.pathname + url.search,
    method: wanted.method ?? "GET",
    headers: { ...headers, ...wanted.upgrade },
    body: wanted.body,
    upgrade: wanted.upgrade && "websocket",
  };
}
