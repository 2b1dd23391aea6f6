import { randomUUID } from "node:crypto";
import type { AzureFunction, AzureHost } from "./azure.ts";
import type { UrlAnswer } from "./function-url.ts";

type HttpRequest = Parameters<AzureHost["http"]>[0];

/** A value between the host and the library (RpcTypedData), with bytes as base64, for JSON. */
export interface Data {
  json?: string;
  string?: string;
  base64?: string;
  http?: {
    statusCode?: string;
    headers?: Record<string, string>;
    body?: Data;
    [other: string]: unknown;
  };
}

/** What a timer trigger gives: not the time that it is for, only the one before; none yet is .NET's first date. */
export function timerData({ isPastDue = false, last }: { isPastDue?: boolean; last?: Date }): Data {
  const now = new Date().toISOString();
  const status = { Last: last?.toISOString() ?? "0001-01-01T00:00:00", Next: now, LastUpdated: now };
  return { json: JSON.stringify({ Schedule: { AdjustForDST: true }, ScheduleStatus: status, IsPastDue: isPastDue }) };
}

/** How a message comes: for the how many-th time, and its id, by default a new one. */
export interface Delivery {
  dequeueCount?: number;
  id?: string;
}

/** What a queue trigger gives: the message's text, and the message's own facts. */
export function queueData(
  message: unknown,
  { dequeueCount = 1, id = randomUUID() }: Delivery,
): { data: Data; metadata: Record<string, Data> } {
  const time = (ms: number) => ({ json: JSON.stringify(new Date(Date.now() + ms).toISOString()) });
  return {
    data: { string: typeof message === "string" ? message : JSON.stringify(message) },
    metadata: {
      Id: { string: id },
      DequeueCount: { json: String(dequeueCount) },
      PopReceipt: { string: "AgAAAAMAAAAAAAAA" },
      InsertionTime: time(0),
      ExpirationTime: time(7 * 86_400_000),
      NextVisibleTime: time(600_000),
    },
  };
}

/** The function that the front end picks: a literal segment goes before a parameter, and that before a catch-all. */
export function findRoute(functions: readonly AzureFunction[], prefix: string, { method, path }: HttpRequest) {
  const rank = (segment: string) => (segment.startsWith("{*") ? 2 : segment.startsWith("{") ? 1 : 0);
  const found = functions.flatMap(({ name, trigger }) => {
    if (trigger.type !== "httpTrigger" || !(trigger.methods as string[]).includes(method.toUpperCase())) return [];
    const route = [prefix, String(trigger.route ?? name)].filter(Boolean).join("/");
    const match = pattern(route).exec(path);
    const order = route.split("/").map(rank).join("");
    return match ? [{ name, authLevel: trigger.authLevel, params: { ...match.groups }, order }] : [];
  });
  return found.sort((a, b) => a.order.localeCompare(b.order))[0];
}

function pattern(route: string): RegExp {
  const segments = route.split("/").map((segment) => {
    const [, rest, name] = /^\{(\*?)(\w+)\}$/.exec(segment) ?? [];
    if (name) return rest ? `(?:/(?<${name}>.*))?` : `/(?<${name}>[^/]+)`;
    return `/${segment.replaceAll(/[^\w-]/g, "\\$&")}`;
  });
  return new RegExp(`^${segments.join("")}/?$`, "i");
}

/** The request's headers in lower case, with the function key that it is to have. */
export function httpKey(request: HttpRequest, key: string): Record<string, string> {
  const { headers = {}, key: given = key } = request;
  const all = {
    host: "lifeboat.azurewebsites.net",
    ...headers,
    ...(given === null ? {} : { "x-functions-key": given }),
  };
  return Object.fromEntries(Object.entries(all).map(([name, value]) => [name.toLowerCase(), value]));
}

/** What an HTTP trigger gives. */
export function httpData(request: HttpRequest, headers: Record<string, string>, params: Record<string, string>): Data {
  const { method, path, query = {}, body } = request;
  const url = new URL(path, "https://lifeboat.azurewebsites.net");
  url.search = new URLSearchParams(query).toString();
  const data = body === undefined ? {} : { body: { base64: Buffer.from(body).toString("base64") } };
  return { http: { method, url: url.href, headers, params, query, ...data } };
}

/** What the front end makes of an HTTP function's response: without one it is an empty 204. */
export function toAnswer(returned: Data | undefined): UrlAnswer {
  if (!returned?.http) return { status: 204, headers: {}, body: "" };
  const { statusCode, headers = {}, body = {} } = returned.http;
  const text =
    body.base64 === undefined ? (body.string ?? body.json ?? "") : Buffer.from(body.base64, "base64").toString();
  return { status: Number(statusCode), headers, body: text };
}
