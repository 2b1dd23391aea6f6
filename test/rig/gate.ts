import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";

/** A proxy on 127.0.0.1 before an HTTP server, which refuses, breaks or ignores every request when told to. */
export interface Gate {
  port: number;
  trouble: "denied" | "unreachable" | "silent" | undefined;
  stop(): Promise<void>;
}

/** Starts a gate before the server at `target`; `denial` is how that server refuses a request. */
export async function startGate(
  target: string,
  denial: { status: number; headers?: Record<string, string>; body?: string },
): Promise<Gate> {
  const { hostname, port } = new URL(target);
  const server = createServer((incoming, outgoing) => {
    if (gate.trouble === "silent") return;
    if (gate.trouble === "unreachable") return void incoming.socket.destroy();
    if (gate.trouble === "denied") {
      incoming.resume();
      return void outgoing.writeHead(denial.status, denial.headers).end(denial.body);
    }
    const { method, url: path, headers } = incoming;
    const passed = request({ hostname, port, method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    passed.on("error", () => outgoing.destroy());
    incoming.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const gate: Gate = {
    port: (server.address() as AddressInfo).port,
    trouble: undefined,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return gate;
}
