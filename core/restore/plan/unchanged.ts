import type { KubernetesObject } from "../../archive/item.ts";
import { parseExact } from "../../kube/json.ts";
import { goJson } from "../../objects/fields.ts";
import { SERVICES } from "../../objects/resources.ts";
import { nodePorts } from "../nodeports.ts";
import { type CompareFacts, comparable, digest } from "./comparable.ts";
import type { PlannedStep } from "./steps.ts";
import type { Target } from "./target.ts";

/** Why a live object is neither overwritten nor deleted: what it says now is kept nowhere, and nobody has planned for it. */
export const CHANGED = "it was changed since it was listed, and is left as it is: try again";

/** A live object as it was when a step was planned on it. */
export interface PlannedOn {
  /** What `stateOf` gives of it. */
  state: string;
  resourceVersion: string | undefined;
}

/**
 * Whether nobody has changed a live object in what matters. One of the same revision may read otherwise all the same, where
 * its definition was changed.
 */
export function isUnchanged(
  live: KubernetesObject,
  resource: string,
  planned: PlannedOn,
  facts: CompareFacts,
): boolean {
  return live.metadata.resourceVersion === planned.resourceVersion || stateOf(live, resource, facts) === planned.state;
}

/**
 * What a live object says, as far as comparing looks at it: a new status or what controllers write makes no difference, another
 * node port does. A digest; `resource` is a group-resource string.
 */
export function stateOf(live: KubernetesObject, resource: string, facts: CompareFacts): string {
  const copy = parseExact(goJson(live)) as KubernetesObject;
  const ports = resource === SERVICES ? nodePorts(copy) : undefined;
  return stateFrom(digest(comparable(copy, resource, facts)), ports);
}

/** What a step was planned on; undefined where there was no object. */
export function plannedOn({ place, state, item }: PlannedStep, target: Target): PlannedOn | undefined {
  if (place === undefined)
    return state === undefined ? undefined : { state, resourceVersion: item.entry.resourceVersion };
  const digest = target.digests.get(place);
  if (digest === undefined) return undefined;
  return { state: stateFrom(digest, target.nodePorts.get(place)), resourceVersion: target.revisions.get(place) };
}

function stateFrom(digest: string, ports: Map<string, unknown> = new Map()): string {
  return digest + [...ports].map(([port, number]) => `${port} ${number}`).sort();
}
