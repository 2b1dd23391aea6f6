import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { binary } from "./binaries.ts";
import { freePorts, makeDir, removeDir, startServer, until } from "./process.ts";

/** A Cloud Storage server on 127.0.0.1 with one empty bucket. It asks nobody who they are. */
export interface Gcs extends AsyncDisposable {
  endpoint: string;
  bucket: string;
  /** The location of a prefix in the bucket, as lifeboat takes it. */
  location(prefix: string): string;
  stop(): Promise<void>;
}

/** Starts fake-gcs-server, which keeps its objects in memory, behind a front that mends it. */
export async function startGcs({ bucket = "backups" } = {}): Promise<Gcs> {
  const dir = makeDir("gcs");
  const [port = 0] = await freePorts(1);
  const server = startServer(dir, "fake-gcs-server", await binary("fake-gcs-server"), [
    ...["-scheme", "http", "-host", "127.0.0.1", "-port", String(port)],
    // Without a port it answers to the names of proxies before it too.
    ...["-public-host", "127.0.0.1", "-backend", "memory", "-log-level", "error"],
  ]);
  const front = await startFront(port, bucket);
  const stop = async () => {
    await front.stop();
    await server.stop();
    await removeDir(dir);
  };
  try {
    const own = `http://127.0.0.1:${port}`;
    await until("the Cloud Storage server", async () => (await fetch(`${own}/_internal/healthcheck`)).ok, {
      servers: [server],
    });
    const made = await fetch(`${own}/storage/v1/b?project=rig`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: bucket }),
    });
    if (!made.ok) throw new Error(`rig: the bucket could not be made: HTTP ${made.status}`);
  } catch (error) {
    await stop();
    throw error;
  }
  const { endpoint } = front;
  return {
    endpoint,
    bucket,
    location: (prefix) => `gs://${bucket}/${prefix}?${new URLSearchParams({ endpoint })}`,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/**
 * A proxy before fake-gcs-server, for where that does otherwise than Cloud Storage: bytes of an upload that come twice
 * it would keep twice, an upload that is complete it doesn't know, an upload into a bucket that isn't there would make
 * the bucket.
 */
async function startFront(port: number, bucket: string) {
  const agent = new Agent({ keepAlive: true });
  const uploads = new Map<string, Progress>();

  const forward = (incoming: IncomingMessage, outgoing: ServerResponse, upload: string | null) => {
    const { method, url: path, headers } = incoming;
    const passed = request({ host: "127.0.0.1", port, method, path, headers, agent });
    passed.on("response", async (answer) => {
      const { statusCode: status = 502 } = answer;
      outgoing.writeHead(status, answer.headers);
      if (upload === null) return answer.pipe(outgoing);
      const body = Buffer.concat(await Array.fromAsync(answer));
      if (status === 200) uploads.set(upload, { kept: Number.POSITIVE_INFINITY, body });
      if (status === 308) uploads.set(upload, { kept: Number(answer.headers.range?.split("-")[1]) + 1 });
      outgoing.end(body);
    });
    passed.on("error", () => outgoing.destroy());
    incoming.on("error", () => passed.destroy());
    outgoing.on("close", () => passed.destroy());
    incoming.pipe(passed);
  };

  const server = createServer((incoming, outgoing) => {
    const { pathname, searchParams } = new URL(incoming.url ?? "/", "http://front");
    const upload = searchParams.get("upload_id");
    const start = Number(/^bytes (\d+)-/.exec(incoming.headers["content-range"] ?? "")?.[1] ?? 0);
    const { kept = 0, body } = uploads.get(upload ?? "") ?? {};
    if (bucketOf(pathname) !== bucket) {
      answer(
        incoming,
        outgoing,
        404,
        {},
        JSON.stringify({ error: { message: "The specified bucket does not exist." } }),
      );
    } else if (body) answer(incoming, outgoing, 200, {}, body);
    else if (start < kept) answer(incoming, outgoing, 308, { range: `bytes=0-${kept - 1}` }, "");
    else forward(incoming, outgoing, upload);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: async () => {
      agent.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The bucket of a request of the JSON API, or of the XML API, by which Google's client for Go reads objects. */
function bucketOf(path: string): string | undefined {
  return (/\/storage\/v1\/b\/([^/]+)/.exec(path) ?? /^\/([^/]+)\//.exec(path))?.[1];
}

/** How far a resumable upload has come: the bytes that are there, and the answer once they are all there. */
interface Progress {
  kept: number;
  body?: Buffer;
}

async function answer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  status: number,
  headers: Record<string, string>,
  body: string | Buffer,
): Promise<void> {
  for await (const _ of incoming);
  outgoing.writeHead(status, { "content-type": "application/json", ...headers }).end(body);
}
