import type { ItemId, KubernetesObject } from "../../archive/item.ts";
import { sharedNamespace } from "../../backup/participants.ts";
import { isLifeboatError, messageOf } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { throwIfGone } from "../../kube/gone.ts";
import { metadataOf } from "../../kube/json.ts";
import { listPages, METADATA_ONLY } from "../../kube/list.ts";
import { type Resource, resourceKey } from "../../kube/resource.ts";
import type { Log } from "../../log.ts";
import { DEFINITIONS, NAMESPACES } from "../../objects/resources.ts";
import { neverRestored } from "../../skips.ts";

/** Names, "namespace/name" or "name", by their group-resource strings. */
export type ObjectNames = Map<string, Set<string>>;

/** A live object, as far as kinship goes. */
export interface Relative extends ItemId {
  uid: string;
  owners: Owner[];
}

/** An owner, as its child names it. */
interface Owner {
  uid: string;
  /** A group-resource string; undefined for what the cluster doesn't serve. */
  resource: string | undefined;
}

/** How `ObjectNames` names an object. */
export function nameOf({ namespace, name }: Pick<ItemId, "namespace" | "name">): string {
  return namespace ? `${namespace}/${name}` : name;
}

/** Adds an object to `names`. */
export function addName(names: ObjectNames, id: ItemId): void {
  const known = names.get(id.resource) ?? new Set();
  names.set(id.resource, known.add(nameOf(id)));
}

/** Whether `names` holds the object. */
export function hasName(names: ObjectNames, id: ItemId): boolean {
  return names.get(id.resource)?.has(nameOf(id)) ?? false;
}

/**
 * What goes with objects that are deleted: what only they own, and what is in them where they are Namespaces or
 * definitions, and so on. Pure.
 */
export function takenAlong(all: Relative[], deleted: ObjectNames): ObjectNames {
  const children = Map.groupBy(
    all.flatMap((child) => child.owners.map(({ uid }) => ({ uid, child }))),
    ({ uid }) => uid,
  );
  const isIn = ({ resource, namespace }: Relative) =>
    (namespace !== "" && deleted.get(NAMESPACES)?.has(namespace)) || deleted.get(DEFINITIONS)?.has(resource);
  const along: ObjectNames = new Map();
  const gone = new Set<string>();
  for (const going = all.filter((one) => hasName(deleted, one) || isIn(one)); going.length; ) {
    const one = going.pop()!;
    if (gone.has(one.uid)) continue;
    gone.add(one.uid);
    if (!hasName(deleted, one)) addName(along, one);
    for (const { child } of children.get(one.uid) ?? [])
      if (child.owners.every(({ uid }) => gone.has(uid))) going.push(child);
  }
  return along;
}

/** Who owns objects, and who owns those, and so on: for they come back with references to them. Pure. */
export function ownersOf(all: Relative[], owned: ObjectNames): ObjectNames {
  const owners: ObjectNames = new Map();
  for (const one of withOwners(all, owned)) if (!hasName(owned, one)) addName(owners, one);
  return owners;
}

/** The objects of these names, and all above them, as far as they are among `all`. */
function withOwners(all: Relative[], names: ObjectNames): Set<Relative> {
  const byUid = new Map(all.map((one) => [one.uid, one]));
  const found = new Set(all.filter((one) => hasName(names, one)));
  for (const { owners } of found) for (const { uid } of owners) if (byUid.has(uid)) found.add(byUid.get(uid)!);
  return found;
}

/** What kinship is looked for in. */
interface Looking {
  kube: Kube;
  /** What the cluster serves. */
  resources: Resource[];
  log: Log;
  signal: AbortSignal;
}

/**
 * All that the cluster has and a restore can bring back, without its bodies, as far as it can be kin of these objects:
 * owners live in the same namespace or in none. What may not be listed is left out, and `log` tells of it; throws what
 * listing throws otherwise.
 */
export async function listRelatives(looking: Looking, names: ObjectNames): Promise<Relative[]> {
  return await listSome(looking, looking.resources, names);
}

/** As `listRelatives`, but only of the resources of these objects and of those above them. */
export async function listOwners(looking: Looking, names: ObjectNames): Promise<Relative[]> {
  const relatives: Relative[] = [];
  const listed = new Set<string>();
  for (let wanted = new Set(names.keys()); wanted.size > 0; ) {
    const resources = looking.resources.filter((resource) => wanted.has(resourceKey(resource)));
    relatives.push(...(await listSome(looking, resources, names)));
    for (const resource of wanted) listed.add(resource);
    const owners = [...withOwners(relatives, names)].flatMap((one) => one.owners);
    wanted = new Set(owners.flatMap(({ resource }) => (resource && !listed.has(resource) ? [resource] : [])));
  }
  return relatives;
}

async function listSome(looking: Looking, resources: Resource[], names: ObjectNames): Promise<Relative[]> {
  const { kube, log, signal } = looking;
  const relatives: Relative[] = [];
  const namespace = sharedNamespace([...names.values()].flatMap((some) => [...some]));
  for (const resource of resources.filter((one) => !neverRestored(resourceKey(one)))) {
    try {
      relatives.push(...(await listMetadata(looking, resource, resource.namespaced ? namespace : undefined)));
    } catch (error) {
      await throwIfGone(kube, error, signal);
      if (!isLifeboatError(error, "denied")) throw error;
      log("warning", `What goes with deleted objects is not kept of ${resourceKey(resource)}: ${messageOf(error)}`);
    }
  }
  return relatives;
}

async function listMetadata(
  { kube, resources, signal }: Looking,
  resource: Resource,
  namespace: string | undefined,
): Promise<Relative[]> {
  const relatives: Relative[] = [];
  const keyOf = new Map(resources.map((one) => [`${one.group} ${one.kind}`, resourceKey(one)]));
  for await (const page of listPages(kube, resource, { namespace, accept: METADATA_ONLY, signal })) {
    for (const body of page.items) {
      const metadata = metadataOf(body) as KubernetesObject["metadata"];
      const { name, namespace: inside = "", uid = "", ownerReferences = [] } = metadata;
      const owners = ownerReferences.map((owner) => ({
        uid: owner.uid,
        resource: keyOf.get(`${groupOf(owner.apiVersion)} ${owner.kind}`),
      }));
      relatives.push({ resource: resourceKey(resource), namespace: inside, name, uid, owners });
    }
  }
  return relatives;
}

/** "apps" of "apps/v1", "" of "v1". */
function groupOf(apiVersion: string): string {
  return apiVersion.split("/").at(-2) ?? "";
}
