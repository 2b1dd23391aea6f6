/** A kind of object the cluster serves, in one version of its group. */
export interface Resource {
  /** "" for the core group. */
  group: string;
  version: string;
  /** The plural, as in paths: "pods". */
  name: string;
  kind: string;
  singular: string;
  shortNames: string[];
  namespaced: boolean;
  verbs: string[];
  /** Whether this is the version the server prefers for this resource: the first of its group's that has it. */
  preferred: boolean;
}

/** The resource's group-resource string, as Velero writes it: "pods", "deployments.apps". */
export function resourceKey(resource: { group: string; name: string }): string {
  return resource.group ? `${resource.name}.${resource.group}` : resource.name;
}

/** The `apiVersion` of the resource's objects: "v1", "apps/v1". */
export function resourceApiVersion(resource: { group: string; version: string }): string {
  return resource.group ? `${resource.group}/${resource.version}` : resource.version;
}

/** The API server's path of the resource, of those in one namespace, of one object or of its subresource. */
export function resourcePath(
  resource: Pick<Resource, "group" | "version" | "name">,
  namespace?: string,
  name?: string,
  subresource?: string,
): string {
  const root = resource.group ? ["apis", resource.group] : ["api"];
  const segments = [...root, resource.version];
  if (namespace) segments.push("namespaces", namespace);
  segments.push(resource.name);
  if (name) segments.push(name);
  const path = `/${segments.map(encodeURIComponent).join("/")}`;
  return subresource ? `${path}/${subresource}` : path;
}
