import type { KubernetesObject } from "../archive/item.ts";

/** Objects by collection ("pods", "deployments.apps") and key, at any revision since the store was made. */
export interface Store {
  /** The revision of the last write; one counter for all collections, as in etcd. */
  revision(): number;
  /** Objects that exist now. */
  count(): number;
  collections(): string[];
  get(collection: string, key: string): KubernetesObject | undefined;
  /** Writes at the next revision and returns what was stored: `object` with that `resourceVersion`. */
  put(collection: string, object: KubernetesObject): KubernetesObject;
  /** Ends the object's life at the next revision. */
  remove(collection: string, key: string): void;
  /**
   * Objects whose key begins with `prefix` and comes after `after`, as they were at `revision` (now, where it is not
   * given), in the order etcd gives them: by the bytes of their keys.
   */
  scan(collection: string, range?: Range): Generator<{ key: string; object: KubernetesObject }, void>;
}

interface Range {
  prefix?: string;
  after?: string;
  revision?: number;
}

interface Version {
  revision: number;
  /** Undefined: deleted at this revision. */
  object: KubernetesObject | undefined;
}

interface Collection {
  versions: Map<string, Version[]>;
  keys: string[];
  /** Keys not yet merged into the sorted `keys`. */
  fresh: string[];
}

/** An object's key in its collection: "namespace/name", or its name where it is cluster-scoped. */
export function objectKey(namespace: string | undefined, name: string): string {
  return namespace ? `${namespace}/${name}` : name;
}

/**
 * An empty store. Every version of every object is kept, so any revision can be read as long as the store lives; it is
 * made for a server that lives for a demo or a drill, not for years.
 */
export function createStore(): Store {
  const collections = new Map<string, Collection>();
  let revision = 0;
  let count = 0;

  function write(name: string, key: string, object: KubernetesObject | undefined): void {
    const collection = collections.get(name) ?? { versions: new Map<string, Version[]>(), keys: [], fresh: [] };
    collections.set(name, collection);
    const versions = collection.versions.get(key) ?? [];
    if (versions.length === 0) {
      collection.versions.set(key, versions);
      collection.fresh.push(key);
    }
    count += Number(object !== undefined) - Number(versions.at(-1)?.object !== undefined);
    versions.push({ revision, object });
  }

  const get = (collection: string, key: string) => collections.get(collection)?.versions.get(key)?.at(-1)?.object;

  return {
    revision: () => revision,
    count: () => count,
    collections: () => [...collections.keys()],
    get,

    put(collection, object) {
      revision += 1;
      const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
      write(collection, objectKey(object.metadata.namespace, object.metadata.name), stored);
      return stored;
    },

    remove(collection, key) {
      if (!get(collection, key)) return;
      revision += 1;
      write(collection, key, undefined);
    },

    *scan(name, { prefix = "", after = "", revision: at = revision } = {}) {
      const collection = collections.get(name);
      if (!collection) return;
      const keys = sortedKeys(collection);
      for (let index = firstFrom(keys, after > prefix ? after : prefix); index < keys.length; index++) {
        const key = keys[index]!;
        if (!key.startsWith(prefix)) return;
        if (key === after) continue;
        const object = collection.versions.get(key)!.findLast((version) => version.revision <= at)?.object;
        if (object) yield { key, object };
      }
    },
  };
}

function sortedKeys(collection: Collection): string[] {
  if (collection.fresh.length > 0) {
    collection.keys = collection.keys.concat(collection.fresh).sort();
    collection.fresh = [];
  }
  return collection.keys;
}

function firstFrom(keys: string[], bound: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keys[middle]! < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
