import { LifeboatError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import type { RestoreSpec } from "../specs.ts";
import { mappingFault, namespaceFault } from "./clone/mappings.ts";

export type { RestoreSpec } from "../specs.ts";

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

/** Throws `invalid` for what `selection` doesn't see: an unknown policy, a mapping to what can't be a namespace, mappings of a clone that make no sense. */
export function checkSpec(spec: RestoreSpec): void {
  const { existingResourcePolicy, namespaceMapping = {} } = spec;
  const fault = mappingFault(spec);
  if (fault) throw new LifeboatError("invalid", `${fault.field} ${fault.message}`);
  if (!["none", "update", "recreate", undefined].includes(existingResourcePolicy)) {
    throw new LifeboatError("invalid", `existingResourcePolicy is "${existingResourcePolicy}"`, {
      hint: "use none, update or recreate",
    });
  }
  const namespaces = namespaceFault(namespaceMapping);
  if (namespaces) throw new LifeboatError("invalid", `namespaceMapping ${namespaces}`);
}
