import type { KubernetesObject } from "../../archive/item.ts";
import { isForeign } from "../finalizers.ts";

/** Objects that a restore never deletes, to create them anew or because the backup doesn't hold them. */
interface Kept {
  /** Group-resource strings. */
  resources: string[];
  /** Follows "it is not deleted: ". */
  why: string;
}

const KEPT: Kept[] = [
  { resources: ["namespaces"], why: "all that lives in it would go with it" },
  {
    resources: ["customresourcedefinitions.apiextensions.k8s.io"],
    why: "all custom resources of its kind would go with it",
  },
  { resources: ["persistentvolumes", "persistentvolumeclaims"], why: "its data might go with it" },
];

/** Why a live object, or any, of the resource (a group-resource string) is never deleted; undefined where it may be. */
export function neverDeleted(resource: string, live?: KubernetesObject): string | undefined {
  const row = KEPT.find(({ resources }) => resources.includes(resource));
  return row?.why ?? (live?.metadata.finalizers?.some(isForeign) ? CLEANS_UP : undefined);
}

/** Why an object stays whose finalizers are those of a controller of its own. */
export const CLEANS_UP = "its controller would clean up, maybe outside of the cluster too: delete it yourself";
