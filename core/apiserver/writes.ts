import type { KubernetesObject } from "../archive/item.ts";
import { messageOf } from "../errors.ts";
import { parseExact } from "../kube/json.ts";
import { type Cluster, create, read, remove, replace } from "./cluster.ts";
import { incoming, present } from "./objects.ts";
import { isRecord, mergePatch } from "./patch.ts";
import { type Call, notAllowed, type RequestTarget, type ServerAnswer } from "./routes.ts";
import { conflict, StatusError } from "./status.ts";

/** Answers a request that writes; throws a StatusError where Kubernetes would answer with a failure. */
export function write(cluster: Cluster, target: RequestTarget, call: Call): ServerAnswer {
  const { resource, namespace, name, status } = target;
  const dryRun = isDryRun(call.query.getAll("dryRun"));
  const written = (code: number, object: KubernetesObject) => ({ code, body: present(resource, object) });
  if (name === undefined) {
    if (call.method !== "POST" || (resource.namespaced && namespace === "")) throw notAllowed();
    return written(201, create(cluster, resource, incoming(resource, jsonBody(call), namespace), { dryRun }));
  }
  if (call.method === "DELETE" && !status) return onDelete(cluster, target, call);
  if (call.method !== "PUT" && call.method !== "PATCH") throw notAllowed();
  const body = call.method === "PUT" ? jsonBody(call) : patchBody(call);
  const live = read(cluster, resource, namespace, name);
  const wanted = call.method === "PUT" ? body : mergePatch(present(resource, live), body);
  return written(
    200,
    replace(cluster, resource, live, incoming(resource, wanted, namespace, name), { dryRun, status }),
  );
}

function onDelete(cluster: Cluster, { resource, namespace, name }: RequestTarget, call: Call): ServerAnswer {
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

function isDryRun(values: unknown[]): boolean {
  const wrong = values.find((value) => value !== "All" && value !== "");
  if (wrong !== undefined)
    throw new StatusError("BadRequest", `dryRun: Unsupported value: "${wrong}": supported values: "All"`);
  return values.includes("All");
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
