import { connect, createServer, type Socket } from "node:net";

/** A TCP proxy on 127.0.0.1 before a server, which breaks connections when told to. */
export interface TcpProxy {
  port: number;
  /** From now on each connection is reset once the client has sent that many bytes; undefined: never. */
  cutAfter(bytes: number | undefined): void;
  /** Breaks every connection there is now. */
  cut(): void;
  /** The answer to the next request that holds `text` gets lost: the server has acted, the client's connection breaks. */
  loseAnswerTo(text: string): void;
  /** How many pieces that clients sent hold `text`, from now on. */
  count(text: string): () => number;
  /** How many connections have been broken. */
  broken(): number;
  stop(): Promise<void>;
}

/** Starts a proxy before the server at `url` (http, with a port). */
export async function startProxy(url: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  const resets = new Set<() => void>();
  let limit: number | undefined;
  let unanswered: string | undefined;
  let broken = 0;
  const counts = new Map<string, number>();

  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    const reset = () => {
      broken++;
      client.resetAndDestroy();
      upstream.destroy();
    };
    resets.add(reset);
    client.on("close", () => resets.delete(reset));
    let sent = 0;
    let losing = false;
    client.on("data", (chunk: Buffer) => {
      if (unanswered !== undefined && chunk.includes(unanswered)) {
        unanswered = undefined;
        losing = true;
      }
      for (const [text, count] of counts) if (chunk.includes(text)) counts.set(text, count + 1);
      sent += chunk.length;
      if (limit !== undefined && sent > limit) return reset();
      if (!upstream.write(chunk)) client.pause();
    });
    upstream.on("drain", () => client.resume());
    upstream.on("data", (chunk: Buffer) => {
      if (losing) return reset();
      if (!client.write(chunk)) upstream.pause();
    });
    client.on("drain", () => upstream.resume());
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("end", () => other.end());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("rig: the proxy has no port");

  return {
    port: address.port,
    cutAfter: (bytes) => {
      limit = bytes;
    },
    cut: () => {
      for (const reset of resets) reset();
    },
    loseAnswerTo: (text) => {
      unanswered = text;
    },
    count: (text) => {
      counts.set(text, 0);
      return () => counts.get(text)!;
    },
    broken: () => broken,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
