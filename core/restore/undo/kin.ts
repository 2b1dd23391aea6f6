import type { ItemId, KubernetesObject } from "../../archive/item.ts";
import { sharedNamespace } from "../../backup/collect.ts";
import { isLifeboatError, messageOf } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { throwIfGone } from "../../kube/gone.ts";
import { metadataOf } from "../../kube/json.ts";
import { listPages, METADATA_ONLY } from "../../kube/list.ts";
import { type Resource, resourceKey } from "../../kube/resource.ts";
import type { Log } from "../../log.ts";
import { DEFINITIONS, NAMESPACES } from "../selection.ts";
import { neverRestored } from "../skips.ts";

/** Names, "namespace/name" or "name", by their group-resource strings. */
export type Names = Map<string, Set<string>>;

/** A live object, as far as kinship goes. */
export interface Relative extends ItemId {
  uid: string;
  /** UIDs of its owners. */
  owners: string[];
}

/** How `Names` names an object. */
export function nameOf({ namespace, name }: Pick<ItemId, "namespace" | "name">): string {
  return namespace ? `${namespace}/${name}` : name;
}

/** Adds an object to `names`. */
export function addName(names: Names, id: ItemId): void {
  const known = names.get(id.resource) ?? new Set();
  names.set(id.resource, known.add(nameOf(id)));
}

/** Whether `names` holds the object. */
export function hasName(names: Names, id: ItemId): boolean {
  return names.get(id.resource)?.has(nameOf(id)) ?? false;
}

/**
 * What goes with objects that are deleted: what only they own, and what is in them where they are Namespaces or
 * definitions, and so on; and who owns the deleted ones, for they come back with references to them. Pure.
 */
export function kinOf(all: Relative[], deleted: Names): Names {
  const byUid = new Map(all.map((relative) => [relative.uid, relative]));
  const children = Map.groupBy(
    all.flatMap((child) => child.owners.map((owner) => ({ owner, child }))),
    ({ owner }) => owner,
  );
  const isIn = ({ resource, namespace }: Relative) =>
    (namespace !== "" && deleted.get(NAMESPACES)?.has(namespace)) || deleted.get(DEFINITIONS)?.has(resource);
  const chosen = all.filter((one) => hasName(deleted, one));
  const kin: Names = new Map();
  const add = (one: Relative) => {
    if (!hasName(deleted, one)) addName(kin, one);
  };

  const gone = new Set<string>();
  for (const going = [...chosen, ...all.filter(isIn)]; going.length; ) {
    const one = going.pop()!;
    if (gone.has(one.uid)) continue;
    gone.add(one.uid);
    add(one);
    for (const { child } of children.get(one.uid) ?? [])
      if (child.owners.every((owner) => gone.has(owner))) going.push(child);
  }
  for (const above = [...chosen]; above.length; ) {
    for (const uid of above.pop()!.owners) {
      const owner = byUid.get(uid);
      if (!owner || hasName(kin, owner)) continue;
      add(owner);
      above.push(owner);
    }
  }
  return kin;
}

/**
 * All that the cluster has and a restore can bring back, without its bodies, as far as it can be kin of those that are
 * deleted: owners live in the same namespace or in none. What may not be listed is left out,
 * and `log` tells of it; throws what listing throws otherwise.
 */
export async function listRelatives(
  { kube, log, signal }: { kube: Kube; log: Log; signal: AbortSignal },
  resources: Resource[],
  deleted: Names,
): Promise<Relative[]> {
  const relatives: Relative[] = [];
  const namespace = sharedNamespace([...deleted.values()].flatMap((names) => [...names]));
  for (const resource of resources.filter((one) => !neverRestored(resourceKey(one)))) {
    try {
      relatives.push(...(await listMetadata(kube, resource, resource.namespaced ? namespace : undefined, signal)));
    } catch (error) {
      await throwIfGone(kube, error, signal);
      if (!isLifeboatError(error, "denied")) throw error;
      log("warning", `What goes with deleted objects is not kept of ${resourceKey(resource)}: ${messageOf(error)}`);
    }
  }
  return relatives;
}

async function listMetadata(
  kube: Kube,
  resource: Resource,
  namespace: string | undefined,
  signal: AbortSignal,
): Promise<Relative[]> {
  const relatives: Relative[] = [];
  const key = resourceKey(resource);
  for await (const page of listPages(kube, resource, { namespace, accept: METADATA_ONLY, signal })) {
    for (const body of page.items) {
      const metadata = metadataOf(body) as KubernetesObject["metadata"];
      const { name, namespace: inside = "", uid = "", ownerReferences = [] } = metadata;
      relatives.push({
        resource: key,
        namespace: inside,
        name,
        uid,
        owners: ownerReferences.map((owner) => owner.uid),
      });
    }
  }
  return relatives;
}
