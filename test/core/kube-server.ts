import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { connect, type Kube } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";

/** What a scripted server does with one request. */
export type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** A real HTTP server that gives its answers in turn, the last one for good, and remembers what was asked. */
export interface ScriptedServer extends AsyncDisposable {
  url: string;
  requests: { method: string; url: string; headers: IncomingMessage["headers"]; body: string }[];
}

export async function serve(...answers: Answer[]): Promise<ScriptedServer> {
  const requests: ScriptedServer["requests"] = [];
  const server = await listen(createServer(), async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    requests.push({ method: request.method!, url: request.url!, headers: request.headers, body });
    answers[Math.min(requests.length, answers.length) - 1]!(request, response, body);
  });
  return { ...server, requests };
}

/** Starts `server` on a free port of 127.0.0.1; it ends with all its connections. */
export async function listen<T extends Server>(
  server: T,
  listener: RequestListener,
): Promise<AsyncDisposable & { url: string }> {
  server.on("request", listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

/** An answer of this status and JSON document. */
export function json(status: number, document: unknown, headers: Record<string, string> = {}): Answer {
  return (_, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(document));
  };
}

/** A refusal as the API server words it. */
export function status(code: number, reason: string, message: string, more: object = {}): Answer {
  return json(code, { kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message, ...more });
}

/** Cuts the connection without an answer. */
export const cut: Answer = (request) => request.socket.destroy();

/** Never answers. */
export const hang: Answer = () => {};

/** A kubeconfig for a server, with a token unless another user is given. */
export function kubeconfig(server: string, user: object = { token: "secret-token" }, cluster: object = {}): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    contexts: [{ name: "test", context: { cluster: "test", user: "tester" } }],
    clusters: [{ name: "test", cluster: { server, ...cluster } }],
    users: [{ name: "tester", user }],
  });
}

/** A client of `server` that ends with the test. */
export function client(server: { url: string }, options?: Parameters<typeof connect>[1]): Kube & AsyncDisposable {
  const kube = connect(readKubeconfig(kubeconfig(server.url)), options);
  return { ...kube, [Symbol.asyncDispose]: () => kube.close() };
}
