/** Which object an item is: its resource as Kubernetes' group-resource string ("pods", "deployments.apps"), its namespace ("" for cluster-scoped) and its name. */
export interface ItemId {
  resource: string;
  namespace: string;
  name: string;
}

/** What the index keeps of an object, beside its identity. */
export interface ItemFacts {
  kind: string;
  /** With the group: "v1", "apps/v1". */
  apiVersion: string;
  uid: string;
  resourceVersion: string;
  /** UIDs of `metadata.ownerReferences`. */
  owners: string[];
  labels: Record<string, string>;
  /** Container images of Pods and of what holds a Pod template. */
  images: string[];
}

/** A parsed Kubernetes object, as loosely typed as it comes. */
export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string; controller?: boolean }[];
    finalizers?: string[];
    [field: string]: unknown;
  };
  [field: string]: unknown;
}

/** What follows the version in the path of the version that the source cluster preferred. */
export const PREFERRED = "-preferredversion";

/**
 * An item's path in the archive (Velero's layout): the classic one, or with `version` ("v1-preferredversion", "v1")
 * the one below that version's directory.
 */
export function itemPath(id: ItemId, version?: string): string {
  const scope = id.namespace === "" ? "cluster" : `namespaces/${id.namespace}`;
  return `resources/${id.resource}/${version === undefined ? "" : `${version}/`}${scope}/${id.name}.json`;
}

/** How the paths of a resource's items begin: of all, of those in one namespace, or, for "", of those in none. */
export function itemsPath(resource: string, namespace?: string): string {
  if (namespace === undefined) return `resources/${resource}/`;
  return itemPath({ resource, namespace, name: "" }).replace(/\.json$/, "");
}

/** The inverse of `itemPath`; undefined for paths that are no item's. */
export function parseItemPath(path: string): (ItemId & { version?: string }) | undefined {
  const [root, resource, ...rest] = path.split("/");
  if (root !== "resources" || !resource) return undefined;
  const version = rest[0] === "cluster" || rest[0] === "namespaces" ? undefined : rest.shift();
  const scope = rest.shift();
  const namespace = scope === "namespaces" ? rest.shift() : scope === "cluster" ? "" : undefined;
  const file = rest.shift();
  if (namespace === undefined || (scope === "namespaces" && namespace === "") || version === "") return undefined;
  if (rest.length > 0 || !file?.endsWith(".json") || file === ".json") return undefined;
  const id = { resource, namespace, name: file.slice(0, -".json".length) };
  return version === undefined ? id : { ...id, version };
}

/**
 * Why nobody should extract `path` to a disk, or undefined: absolute, or with "..", "." or an empty part, where
 * a backslash counts as a separator too, since on Windows it is one. Names may hold backslashes otherwise: RBAC allows
 * any that are one path segment.
 */
export function unsafePath(path: string): string | undefined {
  if (path.includes("\0")) return "holds a NUL";
  if (/^[/\\]/.test(path) || /^[A-Za-z]:[/\\]/.test(path)) return "is absolute";
  const parts = path.split(/[/\\]/);
  if (parts.includes("..")) return 'holds ".."';
  if (path.split("/").some((part) => part === "" || part === ".")) return "holds an empty part";
  return undefined;
}

/** What the index keeps of `object`. Tolerates any JSON: what is missing or of another type is left empty. */
export function itemFacts(object: KubernetesObject): ItemFacts {
  const metadata = record(object.metadata);
  return {
    kind: text(object.kind),
    apiVersion: text(object.apiVersion),
    uid: text(metadata.uid),
    resourceVersion: text(metadata.resourceVersion),
    owners: list(metadata.ownerReferences)
      .map((owner) => text(record(owner).uid))
      .filter((uid) => uid !== ""),
    labels: Object.fromEntries(
      Object.entries(record(metadata.labels)).filter(
        (label): label is [string, string] => typeof label[1] === "string",
      ),
    ),
    images: object.spec || object.template ? podImages(record(object.spec), record(object.template)) : [],
  };
}

/** Distinct images in the order met. The places of a Pod spec: Pod; PodTemplate; Deployment and its like; CronJob. */
function podImages(spec: Record<string, unknown>, template: Record<string, unknown>): string[] {
  const job = record(record(spec.jobTemplate).spec);
  const podSpecs = [spec, record(template.spec), record(record(spec.template).spec), record(record(job.template).spec)];
  const containers = podSpecs.flatMap((pod) => [
    ...list(pod.initContainers),
    ...list(pod.containers),
    ...list(pod.ephemeralContainers),
  ]);
  return [...new Set(containers.map((container) => text(record(container).image)).filter((image) => image !== ""))];
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
