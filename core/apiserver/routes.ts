import type { KubernetesObject } from "../archive/item.ts";
import {
  AGGREGATED,
  aggregated,
  coreVersions,
  groupList,
  oneGroup,
  resourceList,
  wantsAggregated,
} from "./discovery.ts";
import { list, type Objects } from "./list.ts";
import type { ServedResource } from "./resources.ts";
import { shownAs, showOne } from "./shown.ts";
import { notFound, StatusError } from "./status.ts";
import { isWatch, watch } from "./watch.ts";

/** A request, read completely. */
export interface Call {
  method: string;
  path: string;
  query: URLSearchParams;
  accept: string;
  contentType: string;
  body: Buffer;
  /** Aborted when the client is gone, or the server stops. */
  signal: AbortSignal;
}

/** Its answer: a document to send as JSON, or the text of one in pieces, which are sent as they come where it is `live`. */
export interface ServerAnswer {
  code: number;
  body: object | AsyncIterable<string>;
  contentType?: string;
  live?: boolean;
}

/** What a server is in front of. */
export interface Backend {
  /** The resources that it serves at the moment. */
  served: ServedResource[];
  /** What may be done with each. */
  verbs: string[];
  objects: Objects;
  /** Its version: "v1.36.3". */
  gitVersion: string;
  /** When it is, for ages. */
  now(): Date;
  /** Answers what is no reading: creates, updates, patches, deletes. */
  other(target: RequestTarget): ServerAnswer;
}

/** What a request is about: a resource's objects, in a namespace ("": in all, or in none), or one by name. */
export interface RequestTarget {
  resource: ServedResource;
  namespace: string;
  name: string | undefined;
  status: boolean;
}

/** Answers one request; throws a StatusError where Kubernetes would answer with a failure. */
export async function answer(backend: Backend, call: Call): Promise<ServerAnswer> {
  if (!/(^|,)\s*(application\/(json|\*)|\*\/\*)/.test(call.accept || "*/*")) {
    const message = "only the following media types are accepted: application/json";
    throw new StatusError("NotAcceptable", message, {});
  }
  const segments = segmentsOf(call.path);
  const [group, version, rest] =
    segments[0] === "api" ? ["", segments[1], segments.slice(2)] : [segments[1], segments[2], segments.slice(3)];
  const isResource = (segments[0] === "api" || segments[0] === "apis") && rest.length > 0;
  if (isResource) return await onResource(backend, targetOf(backend.served, group!, version!, rest), call);
  if (call.method !== "GET") throw notAllowed();
  return aboutServer(backend, call, segments);
}

function aboutServer({ served, verbs, gitVersion }: Backend, { path, accept }: Call, segments: string[]): ServerAnswer {
  const [root, group, version] = segments;
  if ((root === "api" || root === "apis") && segments.length === 1 && wantsAggregated(accept)) {
    return { code: 200, body: aggregated(served, verbs, root === "api"), contentType: AGGREGATED };
  }
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(gitVersion) ?? [];
  const documents: Record<string, () => object | undefined> = {
    "/api": () => coreVersions(),
    "/apis": () => groupList(served),
    "/version": () => ({ major, minor, gitVersion, platform: `${process.platform}/${process.arch}` }),
    "/healthz": () => ({ status: "ok" }),
    "/livez": () => ({ status: "ok" }),
    "/readyz": () => ({ status: "ok" }),
  };
  const document =
    documents[path]?.() ||
    (root === "api" && segments.length === 2 && resourceList(served, verbs, "", group!)) ||
    (root === "apis" && segments.length === 2 && oneGroup(served, group!)) ||
    (root === "apis" && segments.length === 3 && resourceList(served, verbs, group!, version!));
  if (!document) throw notServed();
  return { code: 200, body: document };
}

function targetOf(served: ServedResource[], group: string, version: string, rest: string[]): RequestTarget {
  const inNamespace = rest[0] === "namespaces" && rest.length > 2 && rest[2] !== "status";
  const [plural, name, subresource, ...more] = inNamespace ? rest.slice(2) : rest;
  const resource = served.find((one) => one.name === plural && one.group === group && one.version === version);
  const status = subresource === "status";
  if (!resource || more.length > 0 || (subresource !== undefined && !(status && resource.hasStatus))) throw notServed();
  if (resource.namespaced ? name !== undefined && !inNamespace : inNamespace) throw notServed();
  return { resource, namespace: inNamespace ? rest[1]! : "", name, status };
}

async function onResource(backend: Backend, target: RequestTarget, call: Call): Promise<ServerAnswer> {
  if (call.method !== "GET") return backend.other(target);
  const { objects, now } = backend;
  const { resource, namespace, name } = target;
  const shown = shownAs(call, resource, now);
  if (isWatch(call.query)) {
    if (!backend.verbs.includes("watch")) {
      throw new StatusError("MethodNotAllowed", "this server does not serve watches: list again instead", {});
    }
    return { code: 200, body: watch(objects, target, call, shown), live: true };
  }
  if (name === undefined) return { code: 200, body: list(objects, resource, namespace, call.query, shown) };
  return { code: 200, body: showOne(shown, await read(objects, resource, namespace, name)) };
}

async function read(
  objects: Objects,
  resource: ServedResource,
  namespace: string,
  name: string,
): Promise<KubernetesObject> {
  const object = await objects.get(resource, namespace, name);
  if (!object) throw notFound(resource, name);
  return object;
}

function segmentsOf(path: string): string[] {
  try {
    return path.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    throw new StatusError("BadRequest", "the request's path is not valid percent-encoding");
  }
}

function notServed(): StatusError {
  return new StatusError("NotFound", "the server could not find the requested resource", {});
}

/** 405, where nothing better is known to say. */
export function notAllowed(): StatusError {
  return new StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource", {});
}
