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
  /** How many objects such a scan gives; without one where nothing of the collection was changed or removed since. */
  countIn(collection: string, range?: Range): number;
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
  /** The revision of the last write. */
  newest: number;
  /** Keys whose objects don't exist now. */
  removed: number;
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
    const collection = collections.get(name) ?? emptyCollection();
    collections.set(name, collection);
    collection.newest = revision;
    const versions = collection.versions.get(key) ?? [];
    if (versions.length === 0) {
      collection.versions.set(key, versions);
      collection.fresh.push(key);
    }
    const before = versions.at(-1);
    count += Number(object !== undefined) - Number(before?.object !== undefined);
    collection.removed += Number(!object) - Number(before !== undefined && !before.object);
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

    scan,

    countIn(name, range = {}) {
      const collection = collections.get(name);
      if (!collection) return 0;
      const { revision: at = revision } = range;
      if (collection.removed > 0 || collection.newest > at) return [...scan(name, range)].length;
      const { from, to } = bounds(sortedKeys(collection), range);
      return to - from;
    },
  };

  function* scan(name: string, range: Range = {}): ReturnType<Store["scan"]> {
    const collection = collections.get(name);
    if (!collection) return;
    const { revision: at = revision } = range;
    const keys = sortedKeys(collection);
    const { from, to } = bounds(keys, range);
    for (let index = from; index < to; index++) {
      const key = keys[index]!;
      const object = collection.versions.get(key)!.findLast((version) => version.revision <= at)?.object;
      if (object) yield { key, object };
    }
  }
}

function emptyCollection(): Collection {
  return { versions: new Map(), keys: [], fresh: [], newest: 0, removed: 0 };
}

function sortedKeys(collection: Collection): string[] {
  if (collection.fresh.length > 0) {
    collection.keys = collection.keys.concat(collection.fresh).sort();
    collection.fresh = [];
  }
  return collection.keys;
}

/** The places of a range's keys, the last one's not included. */
function bounds(keys: string[], { prefix = "", after = "" }: Range): { from: number; to: number } {
  const first = firstFrom(keys, after > prefix ? after : prefix);
  const from = after !== "" && keys[first] === after ? first + 1 : first;
  return { from, to: prefix === "" ? keys.length : Math.max(from, firstFrom(keys, `${prefix}\uffff`)) };
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
