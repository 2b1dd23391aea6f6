import { type Agent, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { S3 } from "./s3.ts";

/** What the proxy does with a request: lets it through, refuses it as a credential without that right would be, or lets it through and keeps the answer. */
export type Verdict = "pass" | "deny" | "swallow";

export interface S3Proxy {
  /** The location of a prefix in the bucket, through the proxy. */
  location(prefix: string): string;
  stop(): Promise<void>;
}

/** A proxy before an S3 server that asks `judge` about each request, in the order of their arrival. */
export async function startS3Proxy(
  s3: S3,
  judge: (request: IncomingMessage) => Verdict | Promise<Verdict>,
): Promise<S3Proxy> {
  const upstream = new URL(s3.endpoint);
  const forward = async (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const verdict = await judge(incoming);
    if (verdict === "deny") {
      incoming.resume();
      outgoing.writeHead(403, { "content-type": "application/xml" });
      outgoing.end("<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>");
      return;
    }
    const { method, url, headers } = incoming;
    const passed = request({
      host: upstream.hostname,
      port: upstream.port,
      method,
      path: url,
      headers,
      agent: false as unknown as Agent,
    });
    passed.on("response", (answer) => {
      if (verdict === "swallow") {
        answer.resume();
        answer.on("end", () => outgoing.destroy());
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    passed.on("error", () => outgoing.destroy());
    incoming.on("error", () => passed.destroy());
    outgoing.on("error", () => passed.destroy());
    incoming.pipe(passed);
  };
  const server = createServer((incoming, outgoing) => void forward(incoming, outgoing));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    location: (prefix) => s3.location(prefix).replace(encodeURIComponent(s3.endpoint), encodeURIComponent(endpoint)),
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Refuses what a credential that can only create and read may not do: delete, and write without `If-None-Match: *`. */
export function createAndReadOnly({ method, url = "", headers }: IncomingMessage): Verdict {
  const isPartOfAnUpload = url.includes("uploadId=") || url.includes("uploads");
  if (method === "GET" || method === "HEAD") return "pass";
  if (method === "PUT" || method === "POST")
    return headers["if-none-match"] === "*" || isPartOfAnUpload ? "pass" : "deny";
  return "deny";
}
