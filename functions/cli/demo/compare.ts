import {
  discover,
  type Kube,
  type KubernetesObject,
  listPages,
  parseExact,
  type Resource,
} from "../../../core/index.ts";

/** Every object of a cluster by "apps/v1/Deployment shop/web". */
export type ClusterObjects = Map<string, KubernetesObject>;

/** What two clusters have in common, and what not. */
export interface Comparison {
  same: number;
  onlyFirst: string[];
  onlySecond: string[];
  /** Objects that both have, with the fields that differ: "spec.clusterIP". */
  different: { object: string; fields: string[] }[];
}

/** Lists everything that a cluster serves; its Events once, though two API groups serve them. */
export async function listEverything(kube: Kube, signal: AbortSignal): Promise<ClusterObjects> {
  const { resources } = await discover(kube, { signal });
  const objects: ClusterObjects = new Map();
  for (const resource of resources.filter(isListed)) {
    for await (const { items } of listPages(kube, resource, { signal })) {
      for (const body of items) {
        const object = parseExact(body) as KubernetesObject;
        const { namespace, name } = object.metadata;
        objects.set(`${object.apiVersion}/${object.kind} ${namespace ? `${namespace}/` : ""}${name}`, object);
      }
    }
  }
  return objects;
}

function isListed({ preferred, verbs, group }: Resource): boolean {
  return preferred && verbs.includes("list") && group !== "events.k8s.io";
}

/** Compares two clusters object by object, leaving out what API servers and controllers write. */
export function compare(first: ClusterObjects, second: ClusterObjects): Comparison {
  const both = [...first.keys()].filter((key) => second.has(key));
  const different = both
    .map((object) => ({ object, fields: differingFields(authored(first.get(object)!), authored(second.get(object)!)) }))
    .filter(({ fields }) => fields.length > 0);
  return {
    same: both.length - different.length,
    onlyFirst: [...first.keys()].filter((key) => !second.has(key)),
    onlySecond: [...second.keys()].filter((key) => !first.has(key)),
    different,
  };
}

/** What the API server writes into every object's metadata. */
const SERVER_MANAGED = ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"];
/** Velero's restores put these on everything, and so do ours. */
const RESTORE_LABELS = ["velero.io/backup-name", "velero.io/restore-name"];

/** The object without its status, without what the server manages; owners by name, for their uids are others. */
function authored(object: KubernetesObject): object {
  const { status: _status, metadata, ...rest } = object;
  const labels = without(metadata.labels ?? {}, RESTORE_LABELS);
  const owners = metadata.ownerReferences?.map(({ uid: _uid, ...owner }) => owner);
  return { ...rest, metadata: { ...without(metadata, SERVER_MANAGED), labels, ownerReferences: owners } };
}

function without(fields: Record<string, unknown>, names: string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
}

/** The paths of all fields in which two JSON values differ; a list is one field unless both have it. */
export function differingFields(first: unknown, second: unknown, path = ""): string[] {
  const [a, b] = [first ?? emptyLike(second), second ?? emptyLike(first)];
  if (isObject(a) && isObject(b)) {
    const names = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...names].flatMap((name) => differingFields(a[name], b[name], path ? `${path}.${name}` : name));
  }
  return JSON.stringify(first) === JSON.stringify(second) ? [] : [path];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !("rawJSON" in value);
}

function emptyLike(value: unknown): object | undefined {
  return isObject(value) && !Array.isArray(value) ? {} : undefined;
}
