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

/** Why an object of the resource (a group-resource string) is never deleted; undefined where it may be. */
export function neverDeleted(resource: string): string | undefined {
  return KEPT.find(({ resources }) => resources.includes(resource))?.why;
}
