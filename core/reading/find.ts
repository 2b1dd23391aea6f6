import { builtIn, definedResources, type ServedResource } from "../apiserver/resources.ts";
import type { IndexEntry } from "../archive/index.ts";
import { itemsPath, type KubernetesObject } from "../archive/item.ts";
import type { Archive } from "../archive/reader.ts";
import { LifeboatError } from "../errors.ts";
import { parseExact } from "../kube/json.ts";
import { resourceKey } from "../kube/resource.ts";
import { meant, nearest } from "../nearest.ts";
import { DEFINITIONS } from "../objects/resources.ts";
import { someOf } from "../report.ts";
import { means } from "../restore/selection.ts";
import { findResource, type NamedItem, parseItem, resolveResource } from "../select.ts";
import type { OpenBackup } from "./open.ts";

/** The resources that a backup's cluster served, as far as the backup tells: Kubernetes' own, and those that its definitions define. */
export async function resourcesOf(archive: Archive): Promise<ServedResource[]> {
  const within = [itemsPath(DEFINITIONS)];
  const definitions = archive.entries(({ resource }) => resource === DEFINITIONS, { within });
  const resources = [...builtIn];
  for await (const { body } of archive.read(definitions, { passing: true }))
    resources.push(...definedResources(parseExact(body) as KubernetesObject));
  return resources;
}

/**
 * The item that a user names, as `parseItem` reads it: by its resource's plural, kind or short name. What lies in a
 * namespace may be named without it where only one of the backup's has that name. Names of Kubernetes' own resources and
 * full ones ("certificates.cert-manager.io") cost one read of a part of the index. Throws `missing`, with names that are
 * near, and `invalid` where there are several.
 */
export async function findItem({ record, archive, withoutSecrets }: OpenBackup, text: string): Promise<IndexEntry> {
  const wanted = parseItem(text);
  if (withoutSecrets && resolveResource(wanted.resource, builtIn) === "secrets") throw withoutSecrets;
  const find = (resources: ServedResource[]) => findAs(archive, resolveResource(wanted.resource, resources), wanted);
  const found = (await find(builtIn)) ?? (await find(await resourcesOf(archive)));
  return found ?? (await findAnywhere(archive, wanted, { text, backup: `backup "${record.metadata.name}"` }));
}

/** The body of an item. */
export async function readItem(archive: Archive, entry: IndexEntry): Promise<Buffer> {
  for await (const { body } of archive.read([entry])) return body;
  throw new LifeboatError("corrupt", "the archive gave nothing for an entry of its index");
}

/** What the item is called in messages and tables: "deployments.apps shop/web". */
export function itemName({ resource, namespace, name }: Pick<IndexEntry, "resource" | "namespace" | "name">): string {
  return `${resource} ${namespace ? `${namespace}/` : ""}${name}`;
}

async function findAs(archive: Archive, resource: string, wanted: NamedItem): Promise<IndexEntry | undefined> {
  const { namespace, name } = wanted;
  const exact = await archive.find({ resource, namespace, name });
  if (exact || namespace) return exact;
  const isIt = (id: NamedItem) => id.resource === resource && id.name === name;
  return theOne(await Array.fromAsync(archive.entries(isIt, { within: [itemsPath(resource)], holding: [name] })), name);
}

/** The first and only one; undefined where there is none. Throws `invalid` where there are several. */
export function theOne<Item extends NamedItem>(entries: Item[], name: string): Item | undefined {
  if (entries.length < 2) return entries[0];
  const names = entries.map(({ resource, namespace }) => `${namespace}/${resource}/${name}`);
  throw new LifeboatError("invalid", `"${name}" is in several namespaces`, { hint: `say which: ${someOf(names, 5)}` });
}

/** Of what nothing defines the items themselves tell the kind. */
async function findAnywhere(
  archive: Archive,
  wanted: NamedItem,
  { text, backup }: { text: string; backup: string },
): Promise<IndexEntry> {
  const resources = await resourcesOf(archive);
  const resolved = resolveResource(wanted.resource, resources);
  const isMeant = (entry: IndexEntry) => entry.resource === resolved || means(wanted.resource, entry);
  const found: IndexEntry[] = [];
  const near = new Set<string>();
  const kinds = new Map<string, string>();
  for await (const entry of archive.entries()) {
    const { resource, kind, namespace, name } = entry;
    kinds.set(resource, kind);
    if (!isMeant(entry)) continue;
    const [inPlace, alike] = [namespace === wanted.namespace, name === wanted.name];
    if (alike && (inPlace || !wanted.namespace)) found.push(entry);
    else if (inPlace || alike) near.add(`${namespace ? `${namespace}/` : ""}${wanted.resource}/${name}`);
  }
  const one = theOne(found, wanted.name);
  if (one) return one;
  if (![...kinds].some(([resource, kind]) => resource === resolved || means(wanted.resource, { resource, kind })))
    throw unknownKind(wanted.resource, backup, kinds, resources);
  throw new LifeboatError("missing", `${backup} doesn't hold "${text}"`, {
    hint: near.size
      ? `it holds ${nearest(text, [...near]).join(", ")}`
      : "its objects: lifeboat backup describe NAME --details",
  });
}

function unknownKind(
  name: string,
  backup: string,
  kinds: Map<string, string>,
  resources: ServedResource[],
): LifeboatError {
  const known = findResource(name, resources);
  if (known) return new LifeboatError("missing", `${backup} holds no ${resourceKey(known)}`);
  const names = [...kinds].flatMap(([resource, kind]) => [resource, resource.split(".")[0]!, kind.toLowerCase()]);
  const near = meant(name, [...names, ...resources.flatMap(({ name, shortNames }) => [name, ...shortNames])]);
  return new LifeboatError("missing", `${backup} holds no kind "${name}"`, {
    hint: near ? `did you mean ${near}?` : `it holds ${someOf([...kinds.keys()], 5)}`,
  });
}
