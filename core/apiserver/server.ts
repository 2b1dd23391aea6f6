import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { KubernetesObject } from "../archive/item.ts";
import { bootstrapObjects } from "./bootstrap.ts";
import { adopt, createCluster } from "./cluster.ts";
import { type About, type Answer, answer } from "./routes.ts";
import { failure, StatusError } from "./status.ts";

/** A running API server. */
export interface ApiServer {
  /** http://127.0.0.1:port */
  url: string;
  /** A kubeconfig (YAML) that any client can use. */
  kubeconfig: string;
  /** Ends it, and all connections to it. */
  stop(): Promise<void>;
  /** How many objects it holds now. */
  count(): number;
}

/** As many bytes of a request's body as a real API server takes. */
const BODY_LIMIT = 3 * 1024 * 1024;

/**
 * Starts a small Kubernetes API server in this process, over plain HTTP on 127.0.0.1 (on a free port where none is
 * given). It holds its objects in memory: what every new cluster has of itself, and `objects` as they are, with their
 * uids and statuses.
 *
 * It does discovery (both kinds), list (limit, continue, selectors, exact revisions), get, create, update, merge patch
 * and delete, the status subresource, dry runs, custom resources; it fills in what clients rely on (uids, revisions,
 * generations, Service addresses, a namespace's `default` ServiceAccount). It does not: authenticate, watch, validate
 * beyond names, default, run admission, keep immutable fields, convert between versions (each shows the stored fields),
 * track managed fields, speak anything but JSON, serve OpenAPI or Table output, take strategic, JSON or apply patches,
 * offer subresources other than status, or play a controller (no Pods for a Deployment, no garbage collection). Every
 * version of every object is kept until it ends. Throws `invalid` where an object is of a kind it doesn't know.
 */
export async function startApiServer(
  options: { objects?: Iterable<KubernetesObject>; port?: number; gitVersion?: string } = {},
): Promise<ApiServer> {
  const cluster = createCluster();
  adopt(cluster, bootstrapObjects());
  adopt(cluster, options.objects ?? []);
  const about: About = { gitVersion: options.gitVersion ?? "v1.36.3+lifeboat", address: "" };

  const server = createServer((request, response) => {
    respond(request, (body) => {
      refuseForeignHost(request.headers.host ?? "");
      const url = new URL(request.url ?? "/", "http://127.0.0.1");
      const { accept = "", "content-type": contentType = "" } = request.headers;
      const call = {
        method: request.method ?? "",
        path: url.pathname,
        query: url.searchParams,
        accept,
        contentType,
        body,
      };
      return answer(cluster, about, call);
    }).then((result) => send(response, result));
  });
  server.listen(options.port ?? 0, "127.0.0.1");
  await once(server, "listening");
  about.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const url = `http://${about.address}`;

  return {
    url,
    kubeconfig: kubeconfig(url),
    count: () => cluster.store.count(),
    async stop() {
      if (!server.listening) return;
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function respond(request: IncomingMessage, handle: (body: Buffer) => Answer): Promise<Answer> {
  try {
    return handle(await readBody(request));
  } catch (error) {
    return failure(error);
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= BODY_LIMIT) chunks.push(chunk);
  }
  if (size <= BODY_LIMIT) return Buffer.concat(chunks);
  throw new StatusError("RequestEntityTooLarge", `Request entity too large: limit is ${BODY_LIMIT}`, {});
}

/** A web page that had its own name resolved to 127.0.0.1 would be sending that name. */
function refuseForeignHost(host: string): void {
  if (/^(127\.0\.0\.1|localhost)(:\d+)?$/i.test(host)) return;
  throw new StatusError("Forbidden", "this server answers only to 127.0.0.1 and localhost", {});
}

function send(response: ServerResponse, { code, body, contentType = "application/json" }: Answer): void {
  const text = Buffer.from(JSON.stringify(body));
  response.writeHead(code, { "content-type": contentType, "content-length": text.length }).end(text);
}

function kubeconfig(server: string): string {
  const name = "lifeboat";
  return [
    "apiVersion: v1",
    "kind: Config",
    `current-context: ${name}`,
    "clusters:",
    `- { name: ${name}, cluster: { server: "${server}" } }`,
    "users:",
    `- { name: ${name}, user: {} }`,
    "contexts:",
    `- { name: ${name}, context: { cluster: ${name}, user: ${name} } }`,
    "",
  ].join("\n");
}
