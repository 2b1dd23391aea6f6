import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";

/** What the process prints, as a line of JSON, once all of its clusters answer: their kubeconfigs by name. */
export type Clusters = Record<string, string>;

const TOKEN = "the-right-token";
const SLOW_MS = 120_000;
const [good = "0"] = process.argv.slice(2);

/** Starts the clusters of a fleet in this process: so many good ones, and one of each trouble that a fleet has. */
async function startClusters(count: number): Promise<Clusters> {
  const clusters: Clusters = {};
  for (let number = 1; number <= count; number++) {
    const name = `good-${String(number).padStart(2, "0")}`;
    clusters[name] = (await startApiServer({ objects: objectsOf(name) })).kubeconfig;
  }
  const behind = await startApiServer({ objects: objectsOf("behind") });
  const strict = await gate(behind.url, (authorization) => authorization === `Bearer ${TOKEN}`);
  clusters.denied = kubeconfig(strict, "a-wrong-token");
  clusters.mended = kubeconfig(strict, TOKEN);
  for (const name of ["slow-1", "slow-2"]) clusters[name] = kubeconfig(await gate(behind.url, undefined, SLOW_MS));
  for (const name of ["dead-1", "dead-2"]) clusters[name] = kubeconfig(await nobody());
  clusters["dead-3"] = kubeconfig(await blackHole());
  return clusters;
}

/** Objects that tell of which cluster they are. */
function objectsOf(cluster: string): KubernetesObject[] {
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: cluster } };
  const maps = Array.from({ length: 40 }, (_, number) => ({
    ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: `map-${number}`, namespace: cluster } },
    data: { cluster, filler: "x".repeat(500) },
  }));
  return [namespace, ...maps];
}

/** A way to a server that lets pass who may, after a while. */
async function gate(url: string, may?: (authorization?: string) => boolean, ms = 0): Promise<string> {
  const server = createServer(async (request, response) => {
    if (may && !may(request.headers.authorization)) {
      const body = { kind: "Status", status: "Failure", reason: "Unauthorized", message: "Unauthorized", code: 401 };
      response.writeHead(401, { "content-type": "application/json" }).end(JSON.stringify(body));
      return;
    }
    await sleep(ms);
    if (request.socket.destroyed) return;
    const { accept = "*/*" } = request.headers;
    const answer = await fetch(new URL(request.url ?? "", url), { method: request.method, headers: { accept } });
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" });
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An address at which connections are refused. */
async function nobody(): Promise<string> {
  const server = createTcpServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return `http://127.0.0.1:${port}`;
}

/** An address at which connections are taken, and nothing is ever answered. */
async function blackHole(): Promise<string> {
  const server = createTcpServer(() => {});
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function kubeconfig(server: string, token = "none"): string {
  return JSON.stringify({
    ...{ apiVersion: "v1", kind: "Config", "current-context": "a" },
    contexts: [{ name: "a", context: { cluster: "a", user: "a" } }],
    clusters: [{ name: "a", cluster: { server } }],
    users: [{ name: "a", user: { token } }],
  });
}

process.stdout.write(`${JSON.stringify(await startClusters(Number(good)))}\n`);
