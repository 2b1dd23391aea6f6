import type { KubernetesObject } from "../../archive/item.ts";
import type { RestoreSurvey } from "../survey.ts";
import { compactUid } from "../uid.ts";
import { adopts } from "./adoptions.ts";

type References = NonNullable<KubernetesObject["metadata"]["ownerReferences"]>;

/**
 * The references a restored object gets: to each owner by its UID in the target, `uids`, by the owner's place. Without
 * those whose controller adopts the object and writes the reference itself. `leftOut` names the owners that are not
 * in the restore, or could not be restored.
 */
export function newReferences(
  object: KubernetesObject,
  resource: string,
  survey: Pick<RestoreSurvey, "owners" | "items">,
  uids: Map<number, string>,
): { references: References; leftOut: string[] } {
  const references: References = [];
  const leftOut: string[] = [];
  for (const reference of object.metadata.ownerReferences ?? []) {
    const owner = survey.owners.get(compactUid(reference.uid));
    const uid = owner === undefined ? undefined : uids.get(owner);
    if (owner !== undefined && adopts(survey.items[owner]!.entry.resource, resource)) continue;
    if (uid === undefined) leftOut.push(`${reference.kind} ${reference.name}`);
    else references.push({ ...reference, uid });
  }
  return { references, leftOut };
}
