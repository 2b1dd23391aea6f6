import { builtIn, type ServedResource } from "../apiserver/resources.ts";
import { objectKey } from "../apiserver/store.ts";
import type { Archive } from "../archive/reader.ts";
import { resourceKey } from "../kube/resource.ts";
import { resourcesOf } from "../reading/find.ts";
import { unserved } from "../restore/selection.ts";

/** What a backup's index tells of all it holds. */
export interface Holdings {
  /** The resources that are served, each in the versions that its objects are stored in. */
  served: ServedResource[];
  /** The newest revision of an object. */
  revision: number;
  /** Of which resources (group-resource strings) the objects come in the order of their keys. */
  sorted: Set<string>;
}

interface Held {
  kind: string;
  namespaced: boolean;
  versions: Set<string>;
  sorted: boolean;
  last: string;
}

/** Reads a backup's whole index, and its definitions. */
export async function surveyHoldings(archive: Archive): Promise<Holdings> {
  const held = new Map<string, Held>();
  let revision = 1;
  for await (const { resource, namespace, name, kind, version, resourceVersion } of archive.entries()) {
    const key = objectKey(namespace, name);
    const one = held.get(resource) ?? { kind, namespaced: false, versions: new Set(), sorted: true, last: "" };
    held.set(resource, one);
    one.namespaced ||= namespace !== "";
    one.versions.add(version);
    one.sorted &&= one.last < key;
    one.last = key;
    if (Number(resourceVersion) > revision) revision = Number(resourceVersion);
  }
  const sorted = new Set([...held].flatMap(([resource, one]) => (one.sorted ? [resource] : [])));
  return { served: servedOf(await resourcesOf(archive), held), revision, sorted };
}

/**
 * What is known of Kubernetes and by the definitions is served in the versions in which there are objects, and in all
 * where there are none; of what nothing defines the objects tell the kind.
 */
function servedOf(known: ServedResource[], held: Map<string, Held>): ServedResource[] {
  const byKey = Map.groupBy(known, resourceKey);
  const served = [...byKey].flatMap(([key, resources]) => {
    const versions = held.get(key)?.versions;
    if (!versions) return resources.filter(({ collection }) => collection === key);
    return [...versions].map(
      (version) => resources.find((one) => one.version === version) ?? { ...resources[0]!, version },
    );
  });
  for (const [key, one] of held) if (!byKey.has(key)) served.push(...undefinedResource(key, one));
  return served.map((resource) => ({ ...resource, collection: resourceKey(resource), hasStatus: false }));
}

function undefinedResource(key: string, { kind, namespaced, versions }: Held): ServedResource[] {
  const named = unserved(key, kind);
  return [...versions].map((version) => ({
    ...{ ...named, version, namespaced, collection: key, listKind: `${kind}List`, categories: [] },
    ...{ hasStatus: false, custom: !builtIn.some(({ group }) => group === named.group) },
  }));
}
