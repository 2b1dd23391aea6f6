import type { KubernetesObject } from "../../archive/item.ts";
import type { Resource } from "../../kube/resource.ts";
import { resourceFilter } from "../../select.ts";
import type { RestoreSpec } from "../../specs.ts";
import { hasName, type ObjectNames } from "../undo/kin.ts";

/** Whose statuses are restored. */
export interface Statuses {
  of(metadata: KubernetesObject["metadata"], resource: string): boolean;
  /** Whether the object, given as JSON, may be one of them. */
  mayBeOf(body: Buffer, resource: string): boolean;
}

/** An object says so itself, whatever the spec says (Velero restoreItem, 5.5). */
const ANNOTATION = "velero.io/restore-status";

/** The statuses of these objects, whose namespaces are the same in the backup and in the target. */
export function statusesIn(names: ObjectNames): Statuses {
  return {
    of: ({ namespace = "", name }, resource) => hasName(names, { resource, namespace, name }),
    mayBeOf: (_body, resource) => names.has(resource),
  };
}

/**
 * Whose statuses a spec restores: nobody's without `restoreStatus`, everybody's where that is empty, and an object's own
 * annotation decides before it. `resources` are those of the target.
 */
export function statusesOf({ restoreStatus }: RestoreSpec, resources: Resource[]): Statuses {
  const { includedResources, excludedResources } = restoreStatus ?? {};
  const passes = resourceFilter(includedResources, excludedResources, resources);
  const included = (resource: string) => restoreStatus !== undefined && passes(resource);
  return {
    of({ annotations }, resource) {
      const own = annotations?.[ANNOTATION];
      return own === "true" || own === "false" ? own === "true" : included(resource);
    },
    mayBeOf: (body, resource) => included(resource) || body.includes(ANNOTATION),
  };
}
