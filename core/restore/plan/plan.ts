import type { RestoreSpec } from "../../specs.ts";

/** What happens to objects that exist and differ. */
export type Policy = NonNullable<RestoreSpec["existingResourcePolicy"]>;

/** What is done with one item, and why. */
export interface Step {
  /**
   * "merge": a ServiceAccount that exists gets what it lacks; "free": a volume is given back (volumes.ts). Whether an
   * update must delete the object and create it anew only the API server tells (policy "recreate"). "status": the object
   * is equal, and only its status may be missing, where an earlier run of this restore made it and was interrupted.
   * "prune": what the backup doesn't hold is deleted (extras.ts).
   */
  action: "create" | "update" | "merge" | "free" | "status" | "prune" | "skip" | "blocked";
  reason?: string;
  /** The reason is worth the user's attention: it becomes a warning of the restore. */
  warning?: boolean;
}

/** What is known of an item when its step is decided. */
export interface Known {
  /** A group-resource string. */
  resource: string;
  /** Why it is never restored (skips.ts). */
  skip?: string;
  /** The controller, in the target, that adopted it or makes its like: "ReplicaSet web-5d4". */
  keeper?: string;
  /** The other item of the backup that becomes the same object, by `namespaceMapping`. */
  clash?: string;
  /** Why it can't be restored. */
  blocked?: string;
  /** Why nobody can say yet what the target has of its resource: that shows when it is created. */
  unlisted?: string;
  /** The target's object of that name, compared with the backup's; "deleting": it has a deletionTimestamp. */
  live: "absent" | "equal" | "different" | "deleting";
  /** Its status is restored too (statuses.ts). */
  status?: boolean;
  /** Why an object that exists is left as it is, whatever it says. */
  leave?: string;
  /** It is to become what the backup says in every respect, for a restore is undone. */
  exact?: boolean;
  /** Why an object that differs is others' now, and is left, with a warning. */
  others?: string;
  /** It exists for others too, by `namespaceMapping`: it is left as it is, with a warning. */
  shared?: boolean;
}

/** The reason of what is left since it is so already. */
export const EQUAL = "exists, equal";

export const BEING_DELETED = "it is being deleted; restore it again when it is gone";

/** Decides what is done with one item under an existingResourcePolicy ("none" is Velero's default). Pure. */
export function plan(known: Known, policy: Policy): Step {
  const { skip, clash, keeper, blocked, unlisted, live, status, leave, others, shared, exact } = known;
  if (skip) return { action: "skip", reason: skip };
  if (clash)
    return { action: "skip", reason: `left out: the backup's ${clash} becomes the same object`, warning: true };
  if (keeper) return { action: "skip", reason: `${keeper} exists and makes what it needs` };
  if (blocked) return { action: "blocked", reason: blocked };
  if (live === "absent") return { action: "create", ...(unlisted && { reason: unlisted }) };
  if (live === "deleting") return { action: "blocked", reason: BEING_DELETED };
  if (live === "equal") return { action: status && !exact ? "status" : "skip", reason: EQUAL };
  if (leave) return { action: "skip", reason: `exists; ${leave}` };
  if (others) return { action: "skip", reason: others, warning: true };
  if (shared) {
    const reason =
      "exists, maybe for the namespaces of the original, and is left; add by hand what the mapped ones need";
    return { action: "skip", reason, warning: true };
  }
  if (known.resource === "serviceaccounts" && !exact) return { action: "merge" };
  if (policy !== "none") return { action: "update" };
  return {
    action: "skip",
    reason: "exists and differs; use --existing-resource-policy update to make it what the backup says",
    warning: true,
  };
}
