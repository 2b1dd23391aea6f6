import { once } from "node:events";
import type { Server } from "node:http";
import { type AddressInfo, isIPv6 } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { isLoopback, LifeboatError } from "../../../core/index.ts";

/** Where to listen. */
export interface Address {
  host: string;
  port: number;
}

/** Reads "HOST:PORT". Throws `invalid`, also for a host that others reach where there is no token to keep them out. */
export function readAddress(text: string, token: string | undefined): Address {
  const [, host = "", digits = ""] = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (!host || port > 65_535) {
    throw new LifeboatError("invalid", `--listen is "${text}"`, { hint: "write it like 127.0.0.1:8080 or [::1]:8080" });
  }
  if (!token && !isLoopback(host)) {
    throw new LifeboatError("invalid", `--listen: ${host} can be reached from elsewhere, and no token is given`, {
      hint: "give one: --token-file FILE, or LIFEBOAT_TOKEN; or listen on 127.0.0.1",
    });
  }
  return { host: host.replace(/^\[(.*)\]$/, "$1"), port };
}

/**
 * Why a request on a loopback address, which needs no token, may yet come from elsewhere: a web page can make its
 * visitor's browser send it, under a name of its own that it has resolved to this machine.
 */
export function foreignReason(request: Request): string | undefined {
  const { host, hostname } = new URL(request.url);
  if (!isLoopback(hostname)) return `without a token only this machine is served, and not as ${host}`;
  const origin = request.headers.get("origin");
  if (origin === null || (URL.canParse(origin) && new URL(origin).host === host)) return undefined;
  return "without a token no web page of another origin is served";
}

/** Serves HTTP there; `from` is the client's address. Throws `invalid` where it can't be listened. */
export async function listen(
  { host, port }: Address,
  answer: (request: Request, from: string | undefined) => Promise<Response>,
): Promise<{ url: string; server: Server }> {
  const server = createAdaptorServer({
    overrideGlobalObjects: false,
    fetch: (request, { incoming }) => answer(request, incoming.socket.remoteAddress),
  }) as Server;
  try {
    await once(server.listen(port, host), "listening");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new LifeboatError("invalid", `can't listen on ${host}:${port}: ${code}`, {
      hint: code === "EADDRINUSE" ? "something else listens there: choose another port" : undefined,
    });
  }
  const { port: bound } = server.address() as AddressInfo;
  return { url: `http://${isIPv6(host) ? `[${host}]` : host}:${bound}`, server };
}
