import { builtIn, type ServedResource } from "../apiserver/resources.ts";
import type { IndexEntry, Narrowing, Visit } from "../archive/index.ts";
import { itemPath, itemsPath } from "../archive/item.ts";
import { LifeboatError } from "../errors.ts";
import { resourceKey } from "../kube/resource.ts";
import { meant } from "../nearest.ts";
import type { Bucket } from "../ports.ts";
import type { Problem } from "../report.ts";
import { means } from "../restore/selection.ts";
import { anyGlob, findResource, isGlob, matchesSelector, parseSelector, resolveResource } from "../select.ts";
import { type BackupChoice, type Backups, type BackupTime, chooseBackups, timeOf } from "./backups.ts";
import { resourcesOf } from "./find.ts";
import type { Reading } from "./open.ts";

/** What is looked for: all that is given must hold of an object at once, in one backup. */
export interface Criteria {
  /** In its name, its namespace, an image, or a label, as `key=value`; ASCII letters in upper or lower case. */
  text?: string;
  /** Its resource, as kubectl's users name it: plural, kind or short name, with or without the group. */
  kind?: string;
  /** Its name, or a glob. */
  name?: string;
  /** Its namespace, or a glob. */
  namespace?: string;
  /** In the name of one of its images; in upper or lower case. */
  image?: string;
  /** A label selector: `app=web,tier!=db`. */
  label?: string;
}

/** An object that was found, in all of the backups in which it was as it was looked for. */
export interface FoundObject {
  /** A group-resource string. */
  resource: string;
  kind: string;
  /** "" for cluster-scoped objects. */
  namespace: string;
  name: string;
  /** In how many backups. */
  backups: number;
  first: BackupTime;
  last: BackupTime;
}

/** What a search found: the same for the command line and HTTP. */
export interface SearchDocument {
  schemaVersion: 1;
  kind: "search";
  location: string;
  /** What was looked for. */
  criteria: Criteria;
  /** How many backups were looked into. */
  searched: number;
  /** Those that are in the newest backups first. */
  objects: FoundObject[];
  /** There are more: those that were only in older backups are left out. */
  cut?: true;
  warnings: Problem[];
}

/** Objects that are told of. */
export const MOST_FOUND = 10_000;
/** Objects that are remembered, with what was made of them, from one backup to the next. */
const MOST_KNOWN = 50_000;

/**
 * Which objects are in which backups, of names, namespaces, kinds, labels and images: as indexes have them, bodies are not
 * read. Throws `invalid` where nothing is looked for, and for broken globs and selectors; `missing` as `chooseBackups`.
 */
export async function search(
  bucket: Bucket,
  { criteria, ...choice }: BackupChoice & { criteria: Criteria },
  { most = MOST_FOUND, ...reading }: Reading & { most?: number } = {},
): Promise<SearchDocument> {
  const given = Object.fromEntries(Object.entries(criteria).filter(([, value]) => value)) as Criteria;
  if (Object.keys(given).length === 0) {
    throw new LifeboatError("invalid", "nothing is looked for", {
      hint: "give a text, or a kind, a name, a namespace, an image or a label",
    });
  }
  // Before anything is read: what is said wrongly is told at once.
  const takes = matcherOf(given);
  const backups = await chooseBackups(bucket, choice, reading);
  const kind = await kindOf(given.kind, backups);
  const narrow = narrowing(given, kind.resource);
  const found = await findObjects(backups, (entry) => kind.takes(entry) && takes(entry), narrow, most);
  const warnings = backups.warnings();
  if (found.objects.length === 0 && kind.near)
    warnings.push({ message: `no kind "${given.kind}" is known here: did you mean ${kind.near}?` });
  const frame = { schemaVersion: 1, kind: "search", location: bucket.location, criteria: given } as const;
  return { ...frame, ...found, warnings };
}

/** What is remembered of an object; `object`: what is told of it, once it has been. */
type Hit = Pick<FoundObject, "resource" | "kind" | "namespace" | "name"> & { path: string; object?: FoundObject };

/** What was made of a line of an index. `next`: of that which came after it. */
interface Known {
  identity: string;
  facts: string;
  hit?: Hit | undefined;
  next?: Known | undefined;
}

/**
 * The objects that `takes` takes, with the backups that they are in, newest first. Each object is looked at once for each state of
 * its labels and images, not once for each backup; what is held grows with the objects, not with the backups.
 */
export async function findObjects(
  backups: Backups,
  takes: (entry: IndexEntry) => boolean,
  narrow: Narrowing,
  most = MOST_FOUND,
): Promise<Pick<SearchDocument, "searched" | "objects" | "cut">> {
  const known = new Map<string, Known>();
  /** What is known of the lines of an index, one after the other: mostly what came next last time comes next. */
  const knowing = (): ((...line: Parameters<Visit>) => Hit | undefined) => {
    let last: Known = { identity: "", facts: "" };
    return (identity, facts, entry) => {
      const before = last.next?.identity === identity ? last.next : known.get(identity);
      if (before?.facts === facts) {
        last.next = before;
        last = before;
        return before.hit;
      }
      const parsed = entry();
      const { resource, kind, namespace, name } = parsed;
      const hit = takes(parsed) ? { resource, kind, namespace, name, path: itemPath(parsed) } : undefined;
      if (known.size >= MOST_KNOWN) known.clear();
      const now: Known = { identity: copyOf(identity), facts: copyOf(facts), hit, next: before?.next };
      known.set(now.identity, now);
      last.next = now;
      last = now;
      return hit;
    };
  };

  const objects = new Map<string, FoundObject>();
  let searched = 0;
  let cut = false;
  const looked = backups.each(backups.records.toReversed(), async ({ archive }) => {
    const hits: Hit[] = [];
    const hitOf = knowing();
    await archive.visit(narrow, (identity, facts, entry) => {
      const hit = hitOf(identity, facts, entry);
      if (hit) hits.push(hit);
    });
    return hits;
  });
  for await (const { record, found: hits } of looked) {
    searched += 1;
    const time = timeOf(record);
    for (const hit of hits) {
      const object = hit.object ?? objects.get(hit.path);
      if (object) {
        // Of two archives that are one backup's, both may hold it.
        if (object.first !== time) object.backups += 1;
        object.first = time;
        hit.object = object;
      } else if (objects.size < most) {
        const { path, ...named } = hit;
        hit.object = { ...named, backups: 1, first: time, last: time };
        objects.set(path, hit.object);
      } else cut = true;
    }
  }
  return { searched, objects: newestFirst([...objects.values()]), ...(cut && { cut }) };
}

/** Not a part of a larger text, which it would keep. */
function copyOf(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("latin1");
}

/** Stable: objects come as the newest backups first. Within one they are sorted as `kubectl get` would. */
function newestFirst(objects: FoundObject[]): FoundObject[] {
  const placeOf = ({ resource, namespace, name }: FoundObject) => `${resource} ${namespace}/${name}`;
  return [...Map.groupBy(objects, ({ last }) => last).values()].flatMap((some) =>
    some.sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1)),
  );
}

/** What `--kind` means: `resource` where it is one of Kubernetes' own. Definitions in backups tell of others. */
async function kindOf(kind: string | undefined, backups: Backups) {
  if (kind === undefined) return { takes: () => true };
  const own = findResource(kind, builtIn);
  if (own) {
    const resource = resourceKey(own);
    return { resource, takes: (entry: IndexEntry) => entry.resource === resource };
  }
  const resources = await definedIn(backups);
  const resolved = resolveResource(kind, resources);
  return {
    takes: (entry: IndexEntry) => entry.resource === resolved || means(kind, entry),
    near: meant(
      kind,
      resources.flatMap(({ name, singular, shortNames }) => [name, singular, ...shortNames]),
    ),
  };
}

/** Kubernetes' own resources, and those that the newest backup defines that holds definitions. */
export async function definedIn(backups: Backups): Promise<ServedResource[]> {
  const defined = backups.each(backups.records.toReversed(), ({ archive }) => resourcesOf(archive));
  for await (const { found } of defined) if (found.length > builtIn.length) return found;
  return builtIn;
}

/** A glob in which braces and backslashes are characters like others. */
function withoutBraces(glob: string): string {
  return isGlob(glob) ? glob.replace(/[\\{}]/g, "\\$&") : glob;
}

/** Whether an entry is what is looked for, its kind aside. Throws `invalid`. */
export function matcherOf({ text, name, namespace, image, label }: Criteria): (entry: IndexEntry) => boolean {
  const tests: ((entry: IndexEntry) => boolean)[] = [];
  if (name) {
    const matches = anyGlob([withoutBraces(name)]);
    tests.push((entry) => matches(entry.name));
  }
  if (namespace) {
    const matches = anyGlob([withoutBraces(namespace)]);
    tests.push((entry) => matches(entry.namespace));
  }
  if (image) tests.push(({ images }) => images.some((one) => holds(one, folded(image))));
  if (label) {
    const selector = parseSelector(label);
    tests.push(({ labels }) => matchesSelector(selector, labels));
  }
  if (text) {
    const wanted = folded(text);
    tests.push((entry) => textsOf(entry).some((one) => holds(one, wanted)));
  }
  return (entry) => tests.every((test) => test(entry));
}

function textsOf({ name, namespace, images, labels }: IndexEntry): string[] {
  return [name, namespace, ...images, ...Object.entries(labels).map(([key, value]) => `${key}=${value}`)];
}

function holds(text: string, wanted: string): boolean {
  return folded(text).includes(wanted);
}

function folded(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** What of an index need be looked at. `resource`: a group-resource string, where all that is looked for is of one. */
export function narrowing({ text, name, namespace, image, label }: Criteria, resource?: string): Narrowing {
  const { matchLabels = {} } = label ? parseSelector(label) : {};
  const exact = namespace && !isGlob(namespace) ? namespace : undefined;
  return {
    within: resource === undefined ? undefined : [itemsPath(resource, exact)],
    holding: [
      ...literals(name),
      ...literals(namespace),
      ...(image ? [image] : []),
      ...Object.entries(matchLabels).flat(),
      // A label's key and value stand apart in an index.
      ...(text?.split("=") ?? []),
    ].filter(Boolean),
  };
}

/** The texts that all must have that match a glob. */
function literals(glob = ""): string[] {
  return glob.split(/[*?]|\[[^\]]+\]/);
}
