import { builtIn } from "../apiserver/resources.ts";
import type { IndexEntry } from "../archive/index.ts";
import type { ItemId } from "../archive/item.ts";
import { LifeboatError } from "../errors.ts";
import { resourceKey } from "../kube/resource.ts";
import { means } from "../restore/selection.ts";
import { findResource, parseItem, resolveResource } from "../select.ts";
import type { Backups } from "./backups.ts";
import { findItem, theOne } from "./find.ts";
import { definedIn, findObjects } from "./search.ts";

/**
 * The object that a user names as `findItem` reads it, of many backups, and what `look` finds out about it; `look` gives
 * nothing for what none has. An exact name of one of Kubernetes' own resources costs nothing but the looks; else the indexes
 * are searched for it, and definitions in backups tell what its resource may be called (`definedIn`). Throws `missing`, as
 * `findItem` of the newest backup, and `invalid` where there are several.
 */
export async function findAmong<T>(
  backups: Backups,
  text: string,
  look: (id: ItemId) => Promise<T | undefined>,
): Promise<{ id: ItemId; seen: T }> {
  const { namespace, name, resource: called } = parseItem(text);
  const own = findResource(called, builtIn);
  if (own && (namespace !== "" || !own.namespaced)) {
    const id = { resource: resourceKey(own), namespace, name };
    const seen = await look(id);
    if (seen) return { id, seen };
  }
  const newest = await backups.newest();
  if (!newest) throw nothingRead(text, backups);
  const resolved = resolveResource(called, await definedIn(backups));
  const isMeant = (entry: IndexEntry) =>
    entry.name === name &&
    (!namespace || entry.namespace === namespace) &&
    (entry.resource === resolved || means(called, entry));
  const { objects } = await findObjects(backups, isMeant, { holding: [name, namespace] });
  const inNone = objects.filter((object) => namespace === "" && object.namespace === "");
  const found = theOne(inNone.length ? inNone : objects, name);
  const id = found && { resource: found.resource, namespace: found.namespace, name };
  const seen = id && (await look(id));
  if (seen) return { id, seen };
  await findItem(newest, text);
  throw new LifeboatError("missing", `no backup holds "${text}"`);
}

function nothingRead(text: string, backups: Backups): LifeboatError {
  const [first] = backups.warnings();
  const hint = first?.message ?? '"lifeboat backup get" lists what there is';
  return new LifeboatError("missing", `"${text}" was not found: there is no backup that can be read`, { hint });
}
