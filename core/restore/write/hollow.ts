import type { KubernetesObject } from "../../archive/item.ts";
import { parseExact } from "../../kube/json.ts";
import { at, entriesOf } from "../../objects/fields.ts";
import { PODS } from "./posthooks.ts";

const STATEFUL_SETS = "statefulsets.apps";

/** The names of the claims that a controller makes for an object where they are not there, as a test of names. */
const MAKES: Record<string, (object: KubernetesObject) => (claim: string) => boolean> = {
  [STATEFUL_SETS]: (object) => {
    const stems = entriesOf(object, "spec", "volumeClaimTemplates").map(
      (template) => `${at(template, "metadata", "name")}-${object.metadata.name}-`,
    );
    return (claim) => stems.some((stem) => claim.startsWith(stem) && /^\d+$/.test(claim.slice(stem.length)));
  },
  [PODS]: (object) => {
    const names = entriesOf(object, "spec", "volumes").flatMap((volume) =>
      at(volume, "ephemeral") ? [`${object.metadata.name}-${volume.name}`] : [],
    );
    return (claim) => names.includes(claim);
  },
};

/**
 * The claim, of those whose data could not be brought back ("namespace/name"), for which an object's controller would make an empty one,
 * so that its Pods would start on nothing, and the next restore find a claim that is there. `namespace` is the target's.
 */
export function hollowClaim(
  resource: string,
  body: Buffer,
  namespace: string,
  lacking: ReadonlySet<string>,
): string | undefined {
  const makes = lacking.size > 0 && Object.hasOwn(MAKES, resource) ? MAKES[resource] : undefined;
  if (!makes) return undefined;
  const isMade = makes(parseExact(body) as KubernetesObject);
  return [...lacking]
    .filter((claim) => claim.startsWith(`${namespace}/`))
    .map((claim) => claim.slice(namespace.length + 1))
    .find(isMade);
}
