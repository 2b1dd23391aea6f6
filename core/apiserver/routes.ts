import type { KubernetesObject } from "../archive/item.ts";
import { messageOf } from "../errors.ts";
import { parseExact } from "../kube/json.ts";
import { type Cluster, create, read, remove, replace } from "./cluster.ts";
import {
  AGGREGATED,
  aggregated,
  coreVersions,
  groupList,
  oneGroup,
  resourceList,
  wantsAggregated,
} from "./discovery.ts";
import { list } from "./list.ts";
import { incoming, present } from "./objects.ts";
import { isRecord, mergePatch } from "./patch.ts";
import type { Served } from "./resources.ts";
import { conflict, StatusError } from "./status.ts";

/** A request, read completely. */
export interface Call {
  method: string;
  path: string;
  query: URLSearchParams;
  accept: string;
  contentType: string;
  body: Buffer;
}

/** Its answer: a document to send as JSON. */
export interface Answer {
  code: number;
  body: object;
  contentType?: string;
}

/** What the server says of itself. */
export interface About {
  gitVersion: string;
  /** host:port */
  address: string;
}

/** Answers one request; throws a StatusError where Kubernetes would answer with a failure. */
export function answer(cluster: Cluster, about: About, call: Call): Answer {
  if (!/(^|,)\s*(application\/(json|\*)|\*\/\*)/.test(call.accept || "*/*")) {
    const message = "only the following media types are accepted: application/json";
    throw new StatusError("NotAcceptable", message, {});
  }
  const segments = segmentsOf(call.path);
  const [group, version, rest] =
    segments[0] === "api" ? ["", segments[1], segments.slice(2)] : [segments[1], segments[2], segments.slice(3)];
  const isResource = (segments[0] === "api" || segments[0] === "apis") && rest.length > 0;
  if (isResource) return onResource(cluster, targetOf(cluster, group!, version!, rest), call);
  if (call.method !== "GET") throw notAllowed();
  return aboutServer(cluster, about, call, segments);
}

function aboutServer(
  cluster: Cluster,
  { gitVersion, address }: About,
  { path, accept }: Call,
  segments: string[],
): Answer {
  const [root, group, version] = segments;
  if ((root === "api" || root === "apis") && segments.length === 1 && wantsAggregated(accept)) {
    return { code: 200, body: aggregated(cluster.served, root === "api"), contentType: AGGREGATED };
  }
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(gitVersion) ?? [];
  const documents: Record<string, () => object | undefined> = {
    "/api": () => coreVersions(address),
    "/apis": () => groupList(cluster.served),
    "/version": () => ({ major, minor, gitVersion, platform: `${process.platform}/${process.arch}` }),
    "/healthz": () => ({ status: "ok" }),
    "/livez": () => ({ status: "ok" }),
    "/readyz": () => ({ status: "ok" }),
  };
  const document =
    documents[path]?.() ||
    (root === "api" && segments.length === 2 && resourceList(cluster.served, "", group!)) ||
    (root === "apis" && segments.length === 2 && oneGroup(cluster.served, group!)) ||
    (root === "apis" && segments.length === 3 && resourceList(cluster.served, group!, version!));
  if (!document) throw notServed();
  return { code: 200, body: document };
}

interface Target {
  resource: Served;
  namespace: string;
  name: string | undefined;
  status: boolean;
}

function targetOf(cluster: Cluster, group: string, version: string, rest: string[]): Target {
  const inNamespace = rest[0] === "namespaces" && rest.length > 2 && rest[2] !== "status";
  const [plural, name, subresource, ...more] = inNamespace ? rest.slice(2) : rest;
  const resource = cluster.served.find((one) => one.name === plural && one.group === group && one.version === version);
  const status = subresource === "status";
  if (!resource || more.length > 0 || (subresource !== undefined && !(status && resource.hasStatus))) throw notServed();
  if (resource.namespaced ? name !== undefined && !inNamespace : inNamespace) throw notServed();
  return { resource, namespace: inNamespace ? rest[1]! : "", name, status };
}

function onResource(cluster: Cluster, target: Target, call: Call): Answer {
  const { resource, namespace, name, status } = target;
  const dryRun = isDryRun(call.query.getAll("dryRun"));
  const write = (code: number, object: KubernetesObject) => ({ code, body: present(resource, object) });
  if (name === undefined) {
    if (call.method === "GET") {
      refuseWatch(call.query);
      return { code: 200, body: list(cluster.store, resource, namespace, call.query) };
    }
    if (call.method !== "POST" || (resource.namespaced && namespace === "")) throw notAllowed();
    return write(201, create(cluster, resource, incoming(resource, jsonBody(call), namespace), { dryRun }));
  }
  if (call.method === "GET") {
    refuseWatch(call.query);
    return write(200, read(cluster, resource, namespace, name));
  }
  if (call.method === "DELETE" && !status) return onDelete(cluster, target, call);
  if (call.method !== "PUT" && call.method !== "PATCH") throw notAllowed();
  const body = call.method === "PUT" ? jsonBody(call) : patchBody(call);
  const live = read(cluster, resource, namespace, name);
  const wanted = call.method === "PUT" ? body : mergePatch(present(resource, live), body);
  return write(200, replace(cluster, resource, live, incoming(resource, wanted, namespace, name), { dryRun, status }));
}

function onDelete(cluster: Cluster, { resource, namespace, name }: Target, call: Call): Answer {
  const options = call.body.length > 0 ? parse(call.body) : {};
  const { dryRun, preconditions } = isRecord(options) ? options : {};
  const live = read(cluster, resource, namespace, name!);
  for (const [field, wanted] of Object.entries(isRecord(preconditions) ? preconditions : {})) {
    const found = live.metadata[field];
    if (wanted === found) continue;
    throw conflict(
      resource,
      name!,
      `Precondition failed: ${field} in precondition: ${wanted}, in object meta: ${found}`,
    );
  }
  const dry = isDryRun([...call.query.getAll("dryRun"), ...(Array.isArray(dryRun) ? dryRun : [])]);
  const kept = remove(cluster, resource, live, { dryRun: dry });
  if (kept) return { code: 200, body: present(resource, kept) };
  const details = { name, group: resource.group || undefined, kind: resource.name, uid: live.metadata.uid };
  return { code: 200, body: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details } };
}

function segmentsOf(path: string): string[] {
  try {
    return path.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    throw new StatusError("BadRequest", "the request's path is not valid percent-encoding");
  }
}

function isDryRun(values: unknown[]): boolean {
  const wrong = values.find((value) => value !== "All" && value !== "");
  if (wrong !== undefined)
    throw new StatusError("BadRequest", `dryRun: Unsupported value: "${wrong}": supported values: "All"`);
  return values.includes("All");
}

function refuseWatch(query: URLSearchParams): void {
  if (!["true", "1"].includes(query.get("watch") ?? "")) return;
  throw new StatusError("MethodNotAllowed", "this server does not serve watches: list again instead", {});
}

/** A write's body. JSON alone, named as such: what a web page could send here without being asked is refused. */
function jsonBody({ contentType, body }: Call): unknown {
  if (mediaType(contentType) === "application/json") return parse(body);
  const message = `the body of the request was in an unknown format (${contentType || "none named"}) - accepted media types include: application/json`;
  throw new StatusError("UnsupportedMediaType", message, {});
}

function patchBody({ contentType, body }: Call): unknown {
  if (mediaType(contentType) === "application/merge-patch+json") return parse(body);
  const message = `this server takes no ${contentType || "patch without a type"} - accepted media types include: application/merge-patch+json`;
  throw new StatusError("UnsupportedMediaType", message, {});
}

function mediaType(contentType: string): string {
  return contentType.split(";", 1)[0]!.trim().toLowerCase();
}

function parse(body: Buffer): unknown {
  try {
    return parseExact(body);
  } catch (error) {
    throw new StatusError("BadRequest", `the body of the request is not JSON: ${messageOf(error)}`);
  }
}

function notServed(): StatusError {
  return new StatusError("NotFound", "the server could not find the requested resource", {});
}

function notAllowed(): StatusError {
  return new StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource", {});
}
