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

/** Throws `invalid` where a namespace is mapped that isn't one of the backup's: nothing would be restored into the other. */
export function checkMapping(namespaceMapping: Record<string, string>, namespaces: Set<string>): void {
  for (const [from, to] of Object.entries(namespaceMapping)) {
    if (namespaces.has(from)) continue;
    const near = nearest(from, [...namespaces]);
    throw new LifeboatError(
      "invalid",
      `namespaceMapping maps "${from}" to "${to}", but the backup doesn't hold a namespace "${from}"`,
      { hint: near.length ? `it holds ${near.join(", ")}` : "it holds none" },
    );
  }
}

/** The three names that it takes the fewest changes of a character to come to. */
function nearest(name: string, names: string[]): string[] {
  const distances = new Map(names.map((other) => [other, distance(name, other)]));
  return names.sort((a, b) => distances.get(a)! - distances.get(b)! || (a < b ? -1 : 1)).slice(0, 3);
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, character] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      next.push(Math.min(row[j]! + (b[j] === character ? 0 : 1), row[j + 1]! + 1, next[j]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

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
