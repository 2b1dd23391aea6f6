import { isDeepStrictEqual } from "node:util";
import type { KubernetesObject } from "../archive/item.ts";
import { LifeboatError } from "../errors.ts";
import { resourceApiVersion } from "../kube/resource.ts";
import { DEFINITIONS } from "../objects/resources.ts";
import { timestamp } from "../timestamp.ts";
import type { Objects, Scan } from "./list.ts";
import { adopted, created, present, updated } from "./objects.ts";
import { builtIn, definedResources, type ServedResource } from "./resources.ts";
import { alreadyExists, conflict, forbidden, invalid, notFound, StatusError } from "./status.ts";
import { createStore, objectKey, type Store } from "./store.ts";
import { companions, filled } from "./upkeep.ts";

/** A cluster's state: its objects, and the resources that it serves at the moment. */
export interface Cluster {
  store: Store;
  served: ServedResource[];
}

/** How a write is to be done. */
export interface WriteOptions {
  /** Checked and answered, but not stored. */
  dryRun?: boolean;
  /** Through the status subresource: of the object, only `status` is taken. */
  status?: boolean;
}

/** A cluster without a single object. */
export function createCluster(): Cluster {
  return { store: createStore(), served: builtIn };
}

/** A cluster's objects, each shown in any version by its stored fields (conversion "None"). */
export function objectsOf({ store }: Cluster): Objects {
  const within = ({ namespace, ...range }: Scan) => ({ prefix: namespace === "" ? "" : `${namespace}/`, ...range });
  function* scan(resource: ServedResource, range: Scan) {
    for (const { key, object } of store.scan(resource.collection, within(range)))
      yield { key, object: present(resource, object) };
  }
  return {
    revision: store.revision,
    get(resource, namespace, name) {
      const object = store.get(resource.collection, objectKey(namespace, name));
      return object && present(resource, object);
    },
    scan,
    count: ({ collection }, range) => store.countIn(collection, within(range)),
  };
}

/** The object stored under that name, or NotFound. */
export function read(cluster: Cluster, resource: ServedResource, namespace: string, name: string): KubernetesObject {
  const object = cluster.store.get(resource.collection, objectKey(namespace, name));
  if (!object) throw notFound(resource, name);
  return object;
}

/** Stores a new object and returns it. AlreadyExists; NotFound or Forbidden where its namespace is missing or ending. */
export function create(
  cluster: Cluster,
  resource: ServedResource,
  object: KubernetesObject,
  { dryRun }: WriteOptions,
): KubernetesObject {
  const { name, namespace, resourceVersion } = object.metadata;
  if (namespace) requireLivingNamespace(cluster, resource, namespace, name);
  if (resourceVersion) {
    throw new StatusError("InternalError", "resourceVersion should not be set on objects to be created");
  }
  const made = filled(resource, created(resource, object), cluster.store);
  if (cluster.store.get(resource.collection, objectKey(namespace, name))) throw alreadyExists(resource, name);
  return dryRun ? made : store(cluster, resource, made);
}

/**
 * Replaces `live` by `next` and returns what is stored. A Conflict where `next` names another uid or resourceVersion; a
 * custom resource must name one. What changes nothing is not written, so its resourceVersion stays.
 */
export function replace(
  cluster: Cluster,
  resource: ServedResource,
  live: KubernetesObject,
  next: KubernetesObject,
  options: WriteOptions,
): KubernetesObject {
  const { name, uid, resourceVersion } = next.metadata;
  if (uid && uid !== live.metadata.uid) {
    const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${live.metadata.uid}`;
    throw conflict(resource, name, why);
  }
  if (!resourceVersion && resource.custom) {
    const named = { ...resource, kind: resource.name };
    throw invalid(named, name, "metadata.resourceVersion", "Invalid value: 0: must be specified for an update");
  }
  if (resourceVersion && resourceVersion !== live.metadata.resourceVersion) {
    const why = "the object has been modified; please apply your changes to the latest version and try again";
    throw conflict(resource, name, why);
  }
  const changed = options.status ? { ...live, status: next.status } : updated(resource, live, next);
  const object = filled(resource, changed, cluster.store, live);
  if (options.dryRun || isDeepStrictEqual(object, live)) return object;
  if (object.metadata.deletionTimestamp && pendingFinalizers(object).length === 0) {
    erase(cluster, resource, live);
    endNamespace(cluster, object.metadata.namespace);
    return object;
  }
  return store(cluster, resource, object);
}

const NAMESPACES = builtIn.find(({ collection }) => collection === "namespaces")!;
const PROTECTED = ["default", "kube-system", "kube-public"];

/**
 * Deletes an object; a Namespace with all that is in it. What has finalizers stays, marked as being deleted, until they
 * are gone (those of Kubernetes' own controllers count as done). Returns the object if it stays, else undefined.
 */
export function remove(
  cluster: Cluster,
  resource: ServedResource,
  live: KubernetesObject,
  { dryRun }: WriteOptions,
): KubernetesObject | undefined {
  const isNamespace = resource === NAMESPACES;
  const { name, namespace } = live.metadata;
  if (isNamespace && PROTECTED.includes(name)) throw forbidden(resource, name, "this namespace may not be deleted");
  const deletionTimestamp = live.metadata.deletionTimestamp ?? timestamp(new Date());
  const ending = isNamespace
    ? { ...live, metadata: { ...live.metadata, deletionTimestamp }, status: { phase: "Terminating" } }
    : { ...live, metadata: { ...live.metadata, deletionTimestamp, deletionGracePeriodSeconds: 0 } };
  const stays = isNamespace || pendingFinalizers(live).length > 0;
  if (dryRun) return stays ? ending : undefined;
  if (!stays) {
    erase(cluster, resource, live);
    endNamespace(cluster, namespace);
    return undefined;
  }
  const kept = isDeepStrictEqual(ending, live) ? live : cluster.store.put(resource.collection, ending);
  if (isNamespace) {
    for (const [held, object] of [...contents(cluster, name)]) {
      if (pendingFinalizers(object).length > 0) remove(cluster, held, object, {});
      else erase(cluster, held, object);
    }
    endNamespace(cluster, name);
  }
  return kept;
}

/**
 * Takes objects over as they are, with their uids and statuses, in place of those of the same name. They may come in any
 * order, their namespaces and definitions among them. Throws `invalid` for a kind that is not served.
 */
export function adopt(cluster: Cluster, objects: Iterable<KubernetesObject>): void {
  const isDefinition = ({ kind }: KubernetesObject) => Number(kind === "CustomResourceDefinition");
  for (const object of [...objects].sort((a, b) => isDefinition(b) - isDefinition(a))) {
    const { apiVersion, kind } = object;
    const resource = cluster.served.find((one) => one.kind === kind && resourceApiVersion(one) === apiVersion);
    if (!resource) {
      const hint = "add its CustomResourceDefinition to the objects";
      throw new LifeboatError("invalid", `the API server can't hold a ${kind} of ${apiVersion}: not served`, { hint });
    }
    store(cluster, resource, filled(resource, adopted(resource, object), cluster.store));
  }
}

function store(cluster: Cluster, resource: ServedResource, object: KubernetesObject): KubernetesObject {
  const before = cluster.store.get(resource.collection, objectKey(object.metadata.namespace, object.metadata.name));
  const stored = cluster.store.put(resource.collection, object);
  settle(cluster, resource, before, stored);
  return stored;
}

function erase(cluster: Cluster, resource: ServedResource, object: KubernetesObject): void {
  if (resource.collection === DEFINITIONS) {
    const collection = object.metadata.name;
    for (const { key } of [...cluster.store.scan(collection)]) cluster.store.remove(collection, key);
  }
  cluster.store.remove(resource.collection, objectKey(object.metadata.namespace, object.metadata.name));
  settle(cluster, resource, object, undefined);
}

/** After a write: what is served follows the definitions, and companions come and go. */
function settle(cluster: Cluster, resource: ServedResource, before?: KubernetesObject, after?: KubernetesObject): void {
  const wanted = after ? companions(resource, after) : [];
  if (resource.collection === DEFINITIONS) {
    const definitions = [...cluster.store.scan(DEFINITIONS)].map(({ object }) => object);
    cluster.served = [...builtIn, ...definitions.flatMap(definedResources)];
    // Definitions of one group share its APIServices: one goes with the last of them.
    wanted.push(...definitions.flatMap((definition) => companions(resource, definition)));
  }
  for (const companion of wanted) {
    if (!placeOf(cluster, companion).object) adopt(cluster, [companion]);
  }
  for (const companion of before ? companions(resource, before) : []) {
    const { collection, key } = placeOf(cluster, companion);
    if (!wanted.some((one) => same(one, companion))) cluster.store.remove(collection, key);
  }
}

function same(a: KubernetesObject, b: KubernetesObject): boolean {
  return a.kind === b.kind && a.metadata.name === b.metadata.name && a.metadata.namespace === b.metadata.namespace;
}

function placeOf(cluster: Cluster, { kind, metadata }: KubernetesObject) {
  const { collection } = builtIn.find((resource) => resource.kind === kind)!;
  const key = objectKey(metadata.namespace, metadata.name);
  return { collection, key, object: cluster.store.get(collection, key) };
}

function requireLivingNamespace(cluster: Cluster, resource: ServedResource, namespace: string, name: string): void {
  const { metadata } = read(cluster, NAMESPACES, "", namespace);
  if (!metadata.deletionTimestamp) return;
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  throw forbidden(resource, name, why, "NamespaceTerminating");
}

/** Finalizers that someone outside must remove. Those of Kubernetes' own controllers, of which none runs here, are done. */
function pendingFinalizers({ metadata }: KubernetesObject): string[] {
  const own = /^(orphan|foregroundDeletion)$|^([a-z0-9.-]+\.)?(kubernetes|k8s)\.io\//;
  return (metadata.finalizers ?? []).filter((finalizer) => !own.test(finalizer));
}

function* contents(cluster: Cluster, namespace: string): Generator<[ServedResource, KubernetesObject]> {
  for (const collection of cluster.store.collections()) {
    const resource = cluster.served.find((one) => one.collection === collection && one.namespaced);
    if (!resource) continue;
    for (const { object } of cluster.store.scan(collection, { prefix: `${namespace}/` })) yield [resource, object];
  }
}

/** The end of a Namespace that is being deleted, once nothing is left in it. */
function endNamespace(cluster: Cluster, name: string | undefined): void {
  const namespace = name ? cluster.store.get("namespaces", name) : undefined;
  if (!namespace?.metadata.deletionTimestamp || !contents(cluster, name!).next().done) return;
  erase(cluster, NAMESPACES, namespace);
}
