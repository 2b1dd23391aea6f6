import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text as textOf } from "node:stream/consumers";

/** A proxy before moto's EC2, whose snapshots and volumes are there at once, and whose requests are never too many. */
export interface Ec2Proxy {
  endpoint: string;
  /** What snapshots are told to be, by their ids. */
  states: Map<string, "pending" | "error">;
  /** Whether nothing gets on: snapshots are begun but not answered, volumes are being made. */
  held: boolean;
  /** Whether connections break. */
  broken: boolean;
  /** Whether every call is one too many. */
  throttled: boolean;
  /** The next so many calls of this action are carried out, but their answers are lost. */
  lost: { action: string; times: number };
  /** What was asked for so far: the actions' names. */
  actions: string[];
  stop(): Promise<void>;
}

const TOO_MANY =
  '<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>RequestLimitExceeded</Code>' +
  "<Message>Request limit exceeded.</Message></Error></Errors><RequestID>rig</RequestID></Response>";

/** Starts one before moto at `upstream`. */
export async function startEc2Proxy(upstream: string): Promise<Ec2Proxy> {
  const server = createServer(async (incoming, outgoing) => {
    const body = await textOf(incoming);
    const action = new URLSearchParams(body).get("Action") ?? "";
    proxy.actions.push(action);
    if (proxy.broken) return void incoming.socket.destroy();
    if (proxy.throttled) return void outgoing.writeHead(503, { "content-type": "text/xml" }).end(TOO_MANY);
    const headers = Object.entries(incoming.headers).flatMap(([name, value]): [string, string][] =>
      typeof value === "string" && !["host", "connection", "content-length", "expect"].includes(name)
        ? [[name, value]]
        : [],
    );
    const answer = await fetch(upstream + (incoming.url ?? "/"), { method: "POST", headers, body }).catch(
      () => undefined,
    );
    const xml = await answer?.text();
    if (!answer || xml === undefined) return void outgoing.destroy();
    if (proxy.lost.action === action && proxy.lost.times-- > 0) return void incoming.socket.destroy();
    if (proxy.held && action === "CreateSnapshot") return;
    outgoing.writeHead(answer.status, { "content-type": "text/xml" }).end(told(xml));
  });

  /** The answer with the states that snapshots and volumes are to be in. */
  const told = (xml: string) =>
    (proxy.held ? xml.replaceAll("<status>available</status>", "<status>creating</status>") : xml).replace(
      /<item>(?:(?!<item>).)*?<snapshotId>(snap-\w+)<\/snapshotId>.*?<\/status>/gs,
      (item, id: string) => {
        const state = proxy.states.get(id);
        if (!state) return item;
        const reason = state === "error" ? "<statusMessage>the volume is gone</statusMessage>" : "";
        return item.replace(/<status>completed<\/status>/, `<status>${state}</status>${reason}`);
      },
    );

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy: Ec2Proxy = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    states: new Map(),
    held: false,
    broken: false,
    throttled: false,
    lost: { action: "", times: 0 },
    actions: [],
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}
