import { createServer, type IncomingMessage, request } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { ApiServer } from "../../core/apiserver/server.ts";

/** An API server as if it were far away. */
export interface SlowApi {
  kubeconfig: string;
  stop(): Promise<void>;
}

/** A proxy before an embedded API server, which holds back each page of a list for `ms` milliseconds. */
export async function startSlowApi({ kubeconfig }: ApiServer, ms: number): Promise<SlowApi> {
  const [, origin = ""] = /server: "?(https?:\/\/[^/"\s]+)/.exec(kubeconfig) ?? [];
  const server = createServer(async (incoming, outgoing) => {
    const { method, url = "/", headers } = incoming;
    if (url.includes("limit=")) await sleep(ms);
    const passed = request(new URL(url, origin), { method, headers }, (answer: IncomingMessage) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    passed.on("error", () => outgoing.destroy());
    incoming.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    kubeconfig: kubeconfig.replaceAll(origin, `http://127.0.0.1:${port}`),
    stop: async () => {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}
