import { randomInt, randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { KubernetesObject } from "../archive/item.ts";
import { resourceApiVersion } from "../kube/resource.ts";
import { timestamp } from "../timestamp.ts";
import { isRecord } from "./patch.ts";
import type { ServedResource } from "./resources.ts";
import { invalid, StatusError } from "./status.ts";

/** The fields of `metadata` that only the server writes. */
const SERVER_OWNED = [
  ...["uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"],
  "selfLink",
];

/** An object as a resource's version shows it: with that apiVersion and else as it is stored (conversion "None"). */
export function present(resource: ServedResource, object: KubernetesObject): KubernetesObject {
  const apiVersion = resourceApiVersion(resource);
  return object.apiVersion === apiVersion ? object : { ...object, apiVersion };
}

/** A request's body as an object of that resource and place; BadRequest or Invalid where it is none. */
export function incoming(resource: ServedResource, body: unknown, namespace: string, name?: string): KubernetesObject {
  if (!isRecord(body)) throw new StatusError("BadRequest", "the body of the request is not a JSON object");
  const metadata = isRecord(body.metadata) ? body.metadata : {};
  const wanted = `${resourceApiVersion(resource)} ${resource.kind}`;
  const given = `${body.apiVersion} ${body.kind}`;
  if (given !== wanted) throw new StatusError("BadRequest", `${given} in the body cannot be handled as a ${wanted}`);
  if ((metadata.namespace || namespace) !== namespace) {
    const message = "the namespace of the provided object does not match the namespace sent on the request";
    throw new StatusError("BadRequest", message);
  }
  if (name !== undefined && metadata.name !== name) {
    const message = `the name of the object (${metadata.name}) does not match the name on the URL (${name})`;
    throw new StatusError("BadRequest", message);
  }
  for (const field of ["labels", "annotations"]) {
    const values = Object.values(metadata[field] ?? {});
    if (values.some((value) => typeof value !== "string")) {
      throw new StatusError("BadRequest", `metadata.${field} of the body must be a map of strings`);
    }
  }
  const object = { ...body, metadata: { ...metadata, name: nameOf(resource, metadata) } } as KubernetesObject;
  if (namespace !== "") object.metadata.namespace = namespace;
  else delete object.metadata.namespace;
  return object;
}

const SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789";

function nameOf(resource: ServedResource, { name, generateName }: Record<string, unknown>): string {
  if (!name && typeof generateName === "string" && generateName !== "") {
    return generateName + Array.from({ length: 5 }, () => SUFFIX_LETTERS[randomInt(SUFFIX_LETTERS.length)]).join("");
  }
  if (typeof name !== "string" || name === "") {
    throw invalid(resource, "", "metadata.name", "Required value: name or generateName is required");
  }
  if (/[/%]/.test(name) || name === "." || name === "..") {
    throw invalid(
      resource,
      name,
      "metadata.name",
      `Invalid value: "${name}": may not contain '/' or '%', nor be '.' or '..'`,
    );
  }
  return name;
}

/** A new object as the server stores it: its own identity, and the status that all begin with. */
export function created(resource: ServedResource, object: KubernetesObject): KubernetesObject {
  const { status, ...rest } = object;
  const metadata = {
    ...without(object.metadata, SERVER_OWNED),
    ...identity(resource, object),
  } as KubernetesObject["metadata"];
  return resource.hasStatus
    ? { ...rest, metadata, ...(resource.initialStatus ? { status: resource.initialStatus } : {}) }
    : { ...object, metadata };
}

/** An object taken over from a list of objects, a cluster's or a backup's: it keeps its identity and status where it has them. */
export function adopted(resource: ServedResource, object: KubernetesObject): KubernetesObject {
  const { resourceVersion, ...metadata } = object.metadata;
  const status = resource.initialStatus ? { status: resource.initialStatus } : {};
  return { ...status, ...object, metadata: { ...identity(resource, object), ...metadata } };
}

/** What an update makes of `live`: the new content, with the identity (and status, where it has its own subresource) kept. */
export function updated(resource: ServedResource, live: KubernetesObject, next: KubernetesObject): KubernetesObject {
  const own = Object.fromEntries(Object.entries(live.metadata).filter(([field]) => SERVER_OWNED.includes(field)));
  const metadata = { ...without(next.metadata, SERVER_OWNED), ...own } as KubernetesObject["metadata"];
  const result: KubernetesObject = { ...next, apiVersion: live.apiVersion, metadata };
  if (resource.hasStatus) {
    delete result.status;
    if ("status" in live) result.status = live.status;
  }
  const apart = resource.hasStatus ? ["metadata", "status"] : ["metadata"];
  if (metadata.generation !== undefined && !isDeepStrictEqual(without(live, apart), without(result, apart))) {
    metadata.generation = Number(metadata.generation) + 1;
  }
  return result;
}

function identity(resource: ServedResource, object: KubernetesObject): object {
  const counted = resource.custom || resource.name === "pods" || (resource.group !== "" && "spec" in object);
  return { uid: randomUUID(), creationTimestamp: timestamp(new Date()), ...(counted ? { generation: 1 } : {}) };
}

function without(object: object, fields: string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([field]) => !fields.includes(field)));
}
