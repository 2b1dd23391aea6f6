import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { crc32c } from "../../functions/gcp/crc32c.ts";
import { type Compute, RATE_LIMIT, standInCompute } from "./compute.ts";

const LARGEST_TASK = 1_048_576;
const RETRY_MS = 200;

/** What a stand-in does with every call of an API. */
export type GcpTrouble = "denied" | "unreachable" | "silent" | "throttled";

/** Stand-ins on 127.0.0.1 for what of Google Cloud has no emulator, in one server. */
export interface Gcp extends AsyncDisposable {
  /** What leads Google's clients, and ours, to them. */
  env: Readonly<{ GCE_METADATA_HOST: string; LIFEBOAT_GCP_ENDPOINT: string }>;
  project: string;
  /** The service account that the metadata server is for. */
  email: string;
  /** Its access tokens so far, the newest last. Without one a call is refused. */
  tokens: readonly string[];
  /** The seconds that the next tokens are told to be valid for. */
  tokenSeconds: number;
  /** What the last token was asked for. */
  scopes: string[];
  /** Adds a version to a secret and gives its number. */
  addSecret(name: string, value: string | Buffer): number;
  /** From now on that secret's checksum is wrong. */
  damageSecret(name: string): void;
  /** A queue, by its full name; tasks in others are refused. */
  queue: string;
  /** The tasks as they were made, by their names. */
  tasks: ReadonlyMap<string, Task>;
  /** GKE's clusters by their full names ("projects/P/locations/L/clusters/C"), as the API shows them. */
  clusters: Map<string, object>;
  /** The zones whose clusters the API can't tell of. */
  missingZones: string[];
  /** Compute Engine's disks and snapshots. */
  compute: Compute;
  trouble: GcpTrouble | undefined;
  stop(): Promise<void>;
}

/** A task of Cloud Tasks, as far as it is used. */
export interface Task {
  name: string;
  scheduleTime?: string;
  dispatchDeadline?: string;
  httpRequest: {
    url: string;
    httpMethod: string;
    headers?: Record<string, string>;
    body?: string;
    oidcToken?: { serviceAccountEmail: string; audience?: string };
  };
}

interface Answer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

/**
 * Starts stand-ins for the metadata server (service account tokens), Secret Manager, Cloud Tasks, the GKE API and Compute Engine's disks. Their
 * answers have the form of Google's; each API call must carry a token. Cloud Tasks really sends its tasks,
 * with an (unsigned) OIDC token, until they are answered with success.
 */
export async function startGcp(): Promise<Gcp> {
  const secrets = new Map<string, { versions: Buffer[]; damaged: boolean }>();
  const tasks = new Map<string, Task>();
  const tokens: string[] = [];
  const stopped = new AbortController();
  const project = "rig-project";

  const secretOf = (name: string) => {
    const secret = secrets.get(name) ?? { versions: [], damaged: false };
    secrets.set(name, secret);
    return secret;
  };

  const metadata = ({ pathname: path, searchParams }: URL): Answer => {
    const headers = { "metadata-flavor": "Google" };
    if (path.endsWith("/service-accounts/default/token")) {
      gcp.scopes = (searchParams.get("scopes") ?? "").split(",");
      tokens.push(`token-${randomUUID()}`);
      return {
        status: 200,
        headers,
        body: { access_token: tokens.at(-1), expires_in: gcp.tokenSeconds, token_type: "Bearer" },
      };
    }
    const texts: Record<string, string> = {
      "/computeMetadata/v1/instance": "service-accounts/",
      "/computeMetadata/v1/project/project-id": project,
      "/computeMetadata/v1/universe/universe-domain": "googleapis.com",
      "/computeMetadata/v1/instance/service-accounts/default/email": gcp.email,
    };
    const text = texts[path.replace(/\/$/, "")];
    return text === undefined ? { status: 404, headers } : { status: 200, headers, body: text };
  };

  const access = (name: string, version: string): Answer => {
    const { versions, damaged } = secrets.get(name) ?? { versions: [], damaged: false };
    const number = version === "latest" ? versions.length : Number(version);
    const value = versions[number - 1];
    if (!value) return refusal(404, "NOT_FOUND", `Secret Version [${name}/versions/${version}] not found.`);
    const payload = { data: value.toString("base64"), dataCrc32c: String(crc32c(value) + (damaged ? 1 : 0)) };
    return { status: 200, body: { name: `projects/${project}/secrets/${name}/versions/${number}`, payload } };
  };

  const createTask = (queue: string, { task }: { task?: Task }): Answer => {
    if (queue !== gcp.queue) return refusal(404, "NOT_FOUND", "Requested entity was not found.");
    if (!task?.httpRequest?.url || task.httpRequest.httpMethod !== "POST" || !task.name.startsWith(`${queue}/tasks/`)) {
      return refusal(400, "INVALID_ARGUMENT", "The task is malformed.");
    }
    if (Number.parseInt(task.dispatchDeadline ?? "600s", 10) > 1800) {
      return refusal(400, "INVALID_ARGUMENT", "dispatchDeadline must be at most 30m.");
    }
    if (Buffer.byteLength(task.httpRequest.body ?? "", "base64") > LARGEST_TASK) {
      return refusal(400, "INVALID_ARGUMENT", "Task size too large.");
    }
    if (tasks.has(task.name)) return refusal(409, "ALREADY_EXISTS", "Requested entity already exists.");
    tasks.set(task.name, task);
    setTimeout(dispatch, Math.max(0, Date.parse(task.scheduleTime ?? "") - Date.now() || 0), task, 0);
    return { status: 200, body: task };
  };

  const dispatch = async (task: Task, attempt: number): Promise<void> => {
    const { url, headers, body = "", oidcToken } = task.httpRequest;
    const answer = await fetch(url, {
      method: "POST",
      headers: {
        ...headers,
        ...(oidcToken && {
          authorization: `Bearer ${idToken(oidcToken.serviceAccountEmail, oidcToken.audience ?? url)}`,
        }),
        "x-cloudtasks-taskname": task.name.split("/").at(-1) ?? "",
        "x-cloudtasks-taskretrycount": String(attempt),
        "user-agent": "Google-Cloud-Tasks",
      },
      body: Buffer.from(body, "base64"),
      signal: stopped.signal,
    }).catch(() => undefined);
    await answer?.arrayBuffer().catch(() => undefined);
    if (!answer?.ok && !stopped.signal.aborted) setTimeout(dispatch, RETRY_MS, task, attempt + 1);
  };

  const clusterAt = (name: string) => {
    const [, , , location, , short] = name.split("/");
    const cluster = gcp.clusters.get(name);
    return cluster && { name: short, location, ...cluster };
  };

  const clustersIn = (place: string, location = "-") =>
    [...gcp.clusters.keys()]
      .filter((name) => name.startsWith(`${place}/locations/${location === "-" ? "" : `${location}/`}`))
      .map(clusterAt);

  const call = async (request: IncomingMessage, url: URL): Promise<Answer> => {
    const path = url.pathname;
    const body = Buffer.concat(await Array.fromAsync(request)).toString();
    if (gcp.trouble === "denied") return refusal(403, "PERMISSION_DENIED", "The caller does not have permission.");
    if (!tokens.includes(request.headers.authorization?.replace("Bearer ", "") ?? "")) {
      return refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
    }
    if (gcp.trouble === "throttled") return RATE_LIMIT;
    if (path.startsWith("/compute/v1/")) return gcp.compute.answer(request.method ?? "", url, body);
    const [, secret, version] = /^\/v1\/projects\/[^/]+\/secrets\/([^/]+)\/versions\/([^/]+):access$/.exec(path) ?? [];
    if (secret && version) return access(secret, version);
    const queue = /^\/v2\/(projects\/.*)\/tasks$/.exec(path)?.[1];
    if (queue && request.method === "POST") return createTask(queue, JSON.parse(body) as { task?: Task });
    const [, place, location] = /^\/v1\/(projects\/[^/]+)\/locations\/([^/]+)\/clusters$/.exec(path) ?? [];
    if (place) return { status: 200, body: { clusters: clustersIn(place, location), missingZones: gcp.missingZones } };
    const cluster = clusterAt(path.slice("/v1/".length));
    return cluster ? { status: 200, body: cluster } : refusal(404, "NOT_FOUND", `Not found: ${path.slice(4)}.`);
  };

  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? "/", "http://stand-in");
    const { pathname } = url;
    if (pathname.startsWith("/computeMetadata/")) return give(response, metadata(url));
    if (gcp.trouble === "unreachable") return request.socket.resetAndDestroy();
    if (gcp.trouble === "silent") return request.resume();
    give(response, await call(request, url));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

  const stop = async () => {
    stopped.abort();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  const gcp: Gcp = {
    env: { GCE_METADATA_HOST: host, LIFEBOAT_GCP_ENDPOINT: `http://${host}` },
    project,
    email: `rig@${project}.iam.gserviceaccount.com`,
    tokens,
    tokenSeconds: 3599,
    scopes: [],
    addSecret: (name, value) => secretOf(name).versions.push(Buffer.from(value)),
    damageSecret: (name) => {
      secretOf(name).damaged = true;
    },
    queue: `projects/${project}/locations/europe-west1/queues/lifeboat`,
    tasks,
    clusters: new Map(),
    missingZones: [],
    compute: standInCompute(),
    trouble: undefined,
    stop,
    [Symbol.asyncDispose]: stop,
  };
  return gcp;
}

/** An error as Google's APIs answer it. */
function refusal(status: number, name: string, message: string): Answer {
  return { status, body: { error: { code: status, message, status: name } } };
}

function give(response: ServerResponse, { status, body = "", headers = {} }: Answer): void {
  const isText = typeof body === "string";
  const type = isText ? "text/plain" : "application/json; charset=UTF-8";
  response.writeHead(status, { "content-type": type, ...headers }).end(isText ? body : JSON.stringify(body));
}

/** An OIDC token in form only: nobody has signed it. */
function idToken(email: string, audience: string): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: "https://accounts.google.com", aud: audience, email, iat: now, exp: now + 3600 };
  return [{ alg: "none" }, claims, ""]
    .map((part) => part && Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
}
