import type { KubernetesObject } from "../archive/item.ts";
import { expectOk, type Kube, type KubeResponse } from "./client.ts";
import { parseExact } from "./json.ts";
import { listPages } from "./list.ts";
import { type Resource, resourcePath } from "./resource.ts";

/** What a path takes of a resource; `kind` for messages. */
export type Kind = Pick<Resource, "group" | "version" | "name" | "kind">;

/** Which object of its kind is meant; without a namespace where it has none. */
export interface NamespacedName {
  namespace?: string;
  name: string;
}

/** "namespace/name", or the name alone. */
export function placeOf({ namespace, name }: NamespacedName): string {
  return namespace ? `${namespace}/${name}` : name;
}

/** The object as it is now; undefined where there is none. Throws what `request` and `expectOk` throw. */
export async function getObject(
  kube: Kube,
  kind: Kind,
  place: NamespacedName,
  signal: AbortSignal,
): Promise<KubernetesObject | undefined> {
  const response = await kube.request({ path: resourcePath(kind, place.namespace, place.name), signal });
  return found(response, `get the ${kind.kind} ${placeOf(place)}`);
}

/** All objects of a kind, or those of a namespace or with a label; a page of them in memory at a time. Throws as `listPages`. */
export async function* listObjects(
  kube: Kube,
  kind: Kind,
  options: { namespace?: string; labelSelector?: string; signal: AbortSignal },
): AsyncGenerator<KubernetesObject, void, undefined> {
  for await (const { items } of listPages(kube, kind, options))
    for (const item of items) yield parseExact(item) as KubernetesObject;
}

/**
 * Creates the object, whose name nobody else chooses: what exists after an earlier attempt of this request is what that
 * made. Gives what the server made of it. Throws `conflict` where it was there before, and what `request` and `expectOk` throw.
 */
export async function createObject(
  kube: Kube,
  kind: Kind,
  object: KubernetesObject,
  signal: AbortSignal,
): Promise<KubernetesObject> {
  const { metadata } = object;
  const path = resourcePath(kind, metadata.namespace);
  const response = await kube.request({ method: "POST", path, body: JSON.stringify(object), signal });
  if (response.status === 409 && response.attempts > 1) {
    const made = await getObject(kube, kind, metadata, signal);
    if (made) return made;
  }
  return parse(expectOk(response, `create the ${kind.kind} ${placeOf(metadata)}`));
}

/** Applies a merge patch and gives what came of it; undefined where there is no such object. Throws as `getObject`. */
export async function patchObject(
  kube: Kube,
  kind: Kind,
  place: NamespacedName,
  patch: object,
  signal: AbortSignal,
): Promise<KubernetesObject | undefined> {
  const response = await kube.request({
    method: "PATCH",
    path: resourcePath(kind, place.namespace, place.name),
    contentType: "application/merge-patch+json",
    body: JSON.stringify(patch),
    signal,
  });
  return found(response, `change the ${kind.kind} ${placeOf(place)}`);
}

/**
 * Asks for the object's deletion, which may still wait for finalizers; what is not there, or is another than that of `uid`,
 * is left. Throws as `getObject`.
 */
export async function deleteObject(
  kube: Kube,
  kind: Kind,
  place: NamespacedName & { uid?: string },
  signal: AbortSignal,
  propagationPolicy: "Background" | "Foreground" | "Orphan" = "Background",
): Promise<void> {
  const response = await kube.request({
    method: "DELETE",
    path: resourcePath(kind, place.namespace, place.name),
    body: JSON.stringify({ propagationPolicy, ...(place.uid && { preconditions: { uid: place.uid } }) }),
    signal,
  });
  if (response.status !== 404 && !(place.uid && response.status === 409))
    expectOk(response, `delete the ${kind.kind} ${placeOf(place)}`);
}

function found(response: KubeResponse, wanted: string): KubernetesObject | undefined {
  return response.status === 404 ? undefined : parse(expectOk(response, wanted));
}

function parse({ body }: KubeResponse): KubernetesObject {
  return parseExact(body) as KubernetesObject;
}
