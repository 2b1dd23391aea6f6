import { LifeboatError } from "../errors.ts";
import type { FilterSpec } from "../select.ts";

/** The part of Velero's RestoreSpec that is understood so far; the fields have Velero's names and meaning (velero-format: 5.13). */
export type RestoreSpec = FilterSpec & {
  backupName: string;
  /** From a namespace of the backup to one of the target. */
  namespaceMapping?: Record<string, string>;
  /** "none", as unset: an object that exists is left as it is; "update": it is made what the backup says. */
  existingResourcePolicy?: "none" | "update";
  preserveNodePorts?: boolean;
};

/** Throws `invalid` for what `selection` doesn't see: an unknown policy, a mapping to what can't be a namespace. */
export function checkSpec({ existingResourcePolicy, namespaceMapping = {} }: RestoreSpec): void {
  if (!["none", "update", undefined].includes(existingResourcePolicy)) {
    throw new LifeboatError("invalid", `existingResourcePolicy is "${existingResourcePolicy}"`, {
      hint: "use none or update",
    });
  }
  for (const [from, to] of Object.entries(namespaceMapping)) {
    if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(to)) {
      throw new LifeboatError(
        "invalid",
        `namespaceMapping maps "${from}" to "${to}", which can't be a namespace's name`,
      );
    }
  }
}
