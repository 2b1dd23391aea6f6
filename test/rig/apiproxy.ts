import { readFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { Agent, createServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import type { Cluster } from "./cluster.ts";
import { kubeconfig } from "./kubeconfig.ts";

/** What the proxy does with a request: an answer of its own, or the connection cut, before or after the server has acted. */
export type Fault =
  | "pass"
  | "cut before"
  | "cut after"
  | { status: number; headers?: Record<string, string>; body: unknown };

export interface ApiProxy {
  /** The administrator's kubeconfig, through the proxy. */
  kubeconfig: string;
  stop(): Promise<void>;
}

/** Whether a request asks for a change. */
export function isWrite({ method }: Pick<IncomingMessage, "method">): boolean {
  return method !== "GET" && method !== "HEAD";
}

/** A proxy before the API server, with its certificate, which asks `judge` about each request. It forwards as `admin`. */
export async function startApiProxy(
  cluster: Cluster,
  judge: (request: IncomingMessage) => Fault | Promise<Fault>,
): Promise<ApiProxy> {
  const pem = (name: string) => readFile(join(cluster.dir, name), "utf8");
  const [ca, cert, key] = await Promise.all(["ca.crt", "admin.crt", "admin.key"].map(pem));
  const agent = new Agent({ keepAlive: true, maxSockets: 64, ca, cert, key });
  const { hostname, port } = new URL(cluster.url);
  const forward = async (incoming: IncomingMessage, body: Buffer) => {
    const { method, url: path, headers } = incoming;
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const passed = request({ agent, hostname, port, method, path, headers }, resolve);
    passed.on("error", reject);
    passed.end(body);
    return await promise;
  };
  const server = createServer({ cert: await pem("server.crt"), key: await pem("server.key") }, (incoming, outgoing) => {
    const handle = async () => {
      const [fault, body] = await Promise.all([judge(incoming), buffer(incoming)]);
      if (fault === "cut before") return void incoming.socket.destroy();
      if (typeof fault === "object") {
        outgoing.writeHead(fault.status, { "content-type": "application/json", ...fault.headers });
        return void outgoing.end(JSON.stringify(fault.body));
      }
      const answer = await forward(incoming, body);
      if (fault === "cut after") {
        await buffer(answer);
        return void incoming.socket.destroy();
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    };
    handle().catch(() => outgoing.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    kubeconfig: kubeconfig(url, ca!, { cert: cert!, key: key! }),
    stop: async () => {
      server.closeAllConnections();
      agent.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
