import { hash, randomBytes, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { LifeboatError } from "../errors.ts";
import type { Call, ServerAnswer } from "./routes.ts";
import { failure, StatusError } from "./status.ts";

/** An API server that listens. */
export interface Listening {
  /** 127.0.0.1:port */
  address: string;
  /** http://127.0.0.1:port, with the secret path where there is one. */
  url: string;
  /** A kubeconfig (YAML) that any client can use. */
  kubeconfig: string;
  /** Ends it, and all connections to it. */
  stop(): Promise<void>;
}

/** As many bytes of a request's body as a real API server takes. */
const BODY_LIMIT = 3 * 1024 * 1024;
/** Of a streamed answer, as many characters are made before the first is sent: so long a failure still becomes its status. */
const HELD_BACK = 1024 * 1024;

/**
 * Answers requests on 127.0.0.1 alone, over plain HTTP, at a free port where none is given. With `secret`, only below a
 * random first segment of the path, which the kubeconfig names: clients send no token over plain HTTP (client-go's
 * clientcmd leaves it out), but all keep a server's path. Throws `invalid` where the port can't be had.
 */
export async function listen(
  handle: (call: Call) => Promise<ServerAnswer>,
  { port = 0, secret = false, name = "lifeboat" }: { port?: number; secret?: boolean; name?: string } = {},
): Promise<Listening> {
  const root = secret ? `/${randomBytes(24).toString("base64url")}` : "";
  const stopping = new AbortController();
  const server = createServer(async (request, response) => {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const signal = AbortSignal.any([gone.signal, stopping.signal]);
    try {
      await send(response, await respond(request, root, (call) => handle({ ...call, signal })));
    } catch (error) {
      if (response.headersSent) response.destroy();
      else await send(response, failure(error));
    }
  });
  try {
    await once(server.listen(port, "127.0.0.1"), "listening");
  } catch (error) {
    throw new LifeboatError("invalid", `can't listen on 127.0.0.1:${port}: ${(error as NodeJS.ErrnoException).code}`, {
      hint: "choose another port, or none",
    });
  }
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const url = `http://${address}${root}`;
  return {
    address,
    url,
    kubeconfig: kubeconfig(url, name),
    async stop() {
      if (!server.listening) return;
      stopping.abort();
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function respond(
  request: IncomingMessage,
  root: string,
  handle: (call: Omit<Call, "signal">) => Promise<ServerAnswer>,
): Promise<ServerAnswer> {
  const body = await readBody(request);
  refuseForeignHost(request.headers.host ?? "");
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://127.0.0.1");
  if (!begins(pathname, root)) {
    throw new StatusError("Unauthorized", "Unauthorized: use the kubeconfig that this server was started with");
  }
  const { accept = "", "content-type": contentType = "" } = request.headers;
  const path = pathname.slice(root.length);
  return await handle({ method: request.method ?? "", path, query: searchParams, accept, contentType, body });
}

function begins(path: string, root: string): boolean {
  const first = root && path.slice(0, path.indexOf("/", 1));
  return timingSafeEqual(hash("sha256", first, "buffer"), hash("sha256", root, "buffer"));
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

async function send(response: ServerResponse, answer: ServerAnswer): Promise<void> {
  const { code, body, contentType = "application/json", live = false } = answer;
  const head = { "content-type": contentType };
  if (!isStream(body)) {
    const text = Buffer.from(JSON.stringify(body));
    response.writeHead(code, { ...head, "content-length": text.length }).end(text);
    return;
  }
  let held = "";
  for await (const piece of body) {
    held += piece;
    if (!live && held.length < HELD_BACK) continue;
    if (!response.headersSent) response.writeHead(code, head).flushHeaders();
    if (held && !response.write(held)) await once(response, "drain");
    held = "";
  }
  if (response.headersSent) response.end(held);
  else response.writeHead(code, { ...head, "content-length": Buffer.byteLength(held) }).end(held);
}

function isStream(body: ServerAnswer["body"]): body is AsyncIterable<string> {
  return Symbol.asyncIterator in body;
}

function kubeconfig(server: string, name: string): string {
  return [
    "apiVersion: v1",
    "kind: Config",
    `current-context: "${name}"`,
    "clusters:",
    `- { name: "${name}", cluster: { server: "${server}" } }`,
    "users:",
    `- { name: "${name}", user: {} }`,
    "contexts:",
    `- { name: "${name}", context: { cluster: "${name}", user: "${name}" } }`,
    "",
  ].join("\n");
}
