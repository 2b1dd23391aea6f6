import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ApiServer, type KubernetesObject, startApiServer } from "../../core/index.ts";

/** A directory for one test file's kubeconfigs and locations. */
export async function makeScratch() {
  const dir = await mkdtemp(join(tmpdir(), "lifeboat-cli-"));
  return {
    dir,
    path: (name: string) => join(dir, name),
    async write(name: string, content: string | Buffer): Promise<string> {
      await writeFile(join(dir, name), content);
      return join(dir, name);
    },
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}

export type Scratch = Awaited<ReturnType<typeof makeScratch>>;

/** An embedded cluster with its kubeconfig as a file. */
export async function startCluster(scratch: Scratch, name: string, objects: KubernetesObject[] = []) {
  const server = await startApiServer({ objects });
  return { ...server, file: await scratch.write(`${name}.kubeconfig`, server.kubeconfig) };
}

/** Some ConfigMaps and a Secret in the namespace "shop". */
export function shop(count = 3): KubernetesObject[] {
  const make = (kind: string, name: string, rest: object = {}): KubernetesObject => ({
    apiVersion: "v1",
    kind,
    metadata: { name, namespace: "shop", labels: { app: name } },
    ...rest,
  });
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
    ...Array.from({ length: count }, (_, i) => make("ConfigMap", `settings-${i}`, { data: { size: "x".repeat(100) } })),
    make("Secret", "password", { type: "Opaque", data: { password: "c2VjcmV0" } }),
  ];
}

/** Everything below a directory; nothing where there is none. */
export async function filesIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
    .sort();
}

/** An HTTP server before a cluster: `refuse` may give a status to answer with instead of passing a request on, or wait. */
export async function startGate(
  cluster: ApiServer,
  refuse: (path: string) => number | undefined | Promise<number | undefined>,
) {
  const server = createServer(async (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const url = new URL(incoming.url ?? "/", cluster.url);
    const status = await refuse(url.pathname);
    if (status !== undefined) {
      const message = status === 401 ? "Unauthorized" : `${url.pathname} is forbidden`;
      outgoing.writeHead(status, { "content-type": "application/json" });
      outgoing.end(JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", message, code: status }));
      return;
    }
    const headers = { ...incoming.headers, host: url.host };
    const onward = request(url, { method: incoming.method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on("error", () => outgoing.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    kubeconfig: cluster.kubeconfig.replace(cluster.url, url),
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
