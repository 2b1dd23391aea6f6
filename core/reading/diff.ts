import { builtIn } from "../apiserver/resources.ts";
import type { IndexEntry } from "../archive/index.ts";
import { isLifeboatError } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import { type Resource, resourceKey } from "../kube/resource.ts";
import type { FieldChange } from "../objects/diff.ts";
import type { Bucket } from "../ports.ts";
import type { Problem } from "../report.ts";
import { findResource, isGlob, parseItem } from "../select.ts";
import type { FilterSpec } from "../specs.ts";
import { timestamp } from "../timestamp.ts";
import { type Compared, compare, fieldsOf, type Pair } from "./compare.ts";
import { findItem, resourcesOf } from "./find.ts";
import { liveSide } from "./live.ts";
import { type OpenBackup, openNamed, type Reading } from "./open.ts";
import { backupSide, type Side } from "./sides.ts";

/** What a diff is of. */
export interface DiffRequest {
  from: string;
  /** A backup, or a cluster as it is now, with its name for people. */
  to: string | { kube: Kube; name: string };
  filters?: FilterSpec;
  /** Only this object, named as `findItem` reads it. */
  item?: string;
  /** With the fields that were changed; of a single object they are always told. */
  details?: boolean;
}

/** One object that is not the same in both. */
export interface ObjectChange {
  /** A group-resource string. */
  resource: string;
  /** "" for cluster-scoped objects. */
  namespace: string;
  name: string;
  change: "added" | "removed" | "changed";
  /** What was changed, where that was asked for. */
  diff?: FieldChange[];
}

/** A state that was compared, and of when it is. */
export interface DiffState {
  backup?: string;
  /** A cluster, as it was named. */
  cluster?: string;
  timestamp?: string;
}

/** What was changed from one state to another: the same for the command line and HTTP. */
export interface DiffDocument {
  schemaVersion: 1;
  kind: "diff";
  location: string;
  from: DiffState;
  to: DiffState;
  counts: Record<ObjectChange["change"] | "same", number>;
  /** By resource, namespace and name. */
  objects: ObjectChange[];
  warnings: Problem[];
}

/**
 * What was added, removed and changed from one backup to another, or to a cluster as it is: of what people wrote (`compare`).
 *
 * Throws `missing` for an unknown backup or object, and for filters that name what neither has; `invalid`, `corrupt`; and of
 * a cluster what asking it throws.
 */
export async function diff(bucket: Bucket, request: DiffRequest, reading: Reading = {}): Promise<DiffDocument> {
  const { from, to, filters = {}, item, details = item !== undefined } = request;
  const first = await openNamed(bucket, from, reading);
  const opened = [first];
  try {
    const second = typeof to === "string" ? await openNamed(bucket, to, reading) : undefined;
    if (second) opened.push(second);
    const live =
      typeof to === "string" ? undefined : await liveSide({ ...to, ...first, filters, signal: reading.signal });
    const sides: Pair<Side> = [backupSide(first), live ?? backupSide(second!)];
    const found = item === undefined ? undefined : await findIn(opened, live?.resources, item);
    const compared = await compare(sides, {
      filters,
      only: found?.id,
      resources: [...(live?.resources ?? []), ...(await knownTo(opened, filters))],
      namespaces: live?.namespaces,
    });
    const { same, added, warnings } = compared;
    if (found?.missing && same + added.length + warnings.length === 0) throw found.missing;
    return {
      schemaVersion: 1,
      kind: "diff",
      location: bucket.location,
      from: stateOf(first),
      to: second ? stateOf(second) : { cluster: live!.name, timestamp: timestamp(new Date()) },
      ...countsAndObjects(
        compared,
        details ? await Array.fromAsync(fieldsOf(compared.changed, sides, compared.facts)) : [],
      ),
      warnings: compared.warnings.map((message) => ({ message })),
    };
  } finally {
    await Promise.all(opened.map(({ archive }) => archive.close()));
  }
}

function stateOf({ record: { metadata, status } }: OpenBackup): DiffState {
  return { backup: metadata.name, timestamp: status?.startTimestamp };
}

function countsAndObjects(
  { added, removed, changed, same }: Compared,
  diffs: (FieldChange[] | undefined)[],
): Pick<DiffDocument, "counts" | "objects"> {
  const told =
    (change: ObjectChange["change"]) =>
    ({ resource, namespace, name }: IndexEntry): ObjectChange => ({ resource, namespace, name, change });
  const objects = [
    ...added.map(told("added")),
    ...removed.map(told("removed")),
    ...changed.map(([from], at) => ({ ...told("changed")(from), ...(diffs[at] && { diff: diffs[at] }) })),
  ];
  const place = ({ resource, namespace, name }: ObjectChange) => `${resource} ${namespace}/${name}`;
  return {
    counts: { added: added.length, removed: removed.length, changed: changed.length, same },
    objects: objects.sort((a, b) => (place(a) < place(b) ? -1 : 1)),
  };
}

/**
 * Which object is meant, as the first of the backups tells that has it. Where none has it, it may be the cluster's, as that calls
 * its resource: `missing` then is what to throw where it isn't.
 */
async function findIn(opened: OpenBackup[], live: Resource[] = [], text: string) {
  let missing: unknown;
  for (const backup of opened) {
    try {
      return { id: await findItem(backup, text) };
    } catch (error) {
      if (!isLifeboatError(error, "missing")) throw error;
      missing ??= error;
    }
  }
  const item = parseItem(text);
  const resource = findResource(item.resource, live);
  if (resource) return { id: { ...item, resource: resourceKey(resource) }, missing };
  throw missing;
}

/** Resources that the filters may name: beside Kubernetes' own those that the backups define, where a name is none of those. */
export async function knownTo(opened: OpenBackup[], filters: FilterSpec = {}): Promise<Resource[]> {
  const specs = [filters, ...opened.map(({ record }) => (record.spec ?? {}) as FilterSpec)];
  const names = specs.flatMap(({ includedResources, excludedResources }) => [
    ...(includedResources ?? []),
    ...(excludedResources ?? []),
  ]);
  const known = names.every((name) => isGlob(name) || findResource(name, builtIn))
    ? builtIn
    : (await Promise.all(opened.map(({ archive }) => resourcesOf(archive)))).flat();
  return known.map((resource) => ({ ...resource, verbs: [], preferred: true }));
}
