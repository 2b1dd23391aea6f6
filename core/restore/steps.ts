import type { IndexEntry } from "../archive/index.ts";
import type { KubernetesObject } from "../archive/item.ts";
import type { Archive } from "../archive/reader.ts";
import { parseExact } from "../kube/json.ts";
import { comparable, digest } from "./comparable.ts";
import { flawOf } from "./fields.ts";
import { type FixContext, fix, refersElsewhere } from "./fixes.ts";
import { nodePorts } from "./nodeports.ts";
import { type Known, type Policy, plan, type Step } from "./plan.ts";
import { NAMESPACES } from "./selection.ts";
import type { Served } from "./served.ts";
import { skipReason } from "./skips.ts";
import type { Item, Survey } from "./survey.ts";
import { DELETING, type Target } from "./target.ts";
import { waveOf } from "./waves.ts";

/** One item and what is done with it. */
export interface PlannedStep extends Step {
  item: Item;
  /** In the survey; undefined for a Namespace that the backup doesn't have. */
  place: number | undefined;
  rank: number;
}

/**
 * Plans every item: reads every body once, so that a damaged backup throws `corrupt` before anything is written, and
 * asks plan.ts. Namespaces that are needed and are neither in the backup nor in the target come as blank ones.
 */
export async function planSteps(input: {
  archive: Archive;
  survey: Survey;
  target: Target;
  served: Served;
  fixing: FixContext;
  policy: Policy;
  signal: AbortSignal;
}): Promise<PlannedStep[]> {
  const { archive, survey, policy, signal } = input;
  const steps: PlannedStep[] = [];
  for await (const { body } of archive.read(survey.items.map(({ entry }) => entry))) {
    signal.throwIfAborted();
    const place = steps.length;
    const item = survey.items[place]!;
    steps.push({ ...plan(knownOf(place, item, body, input), policy), item, place, rank: survey.ranks[place]! });
  }
  return withNamespaces(steps, input.target);
}

function knownOf(place: number, item: Item, body: Buffer, input: Parameters<typeof planSteps>[0]): Known {
  const { survey, target, fixing } = input;
  const { resource } = item.entry;
  const object = parseExact(body) as KubernetesObject;
  const flaw = flawOf(object);
  if (flaw !== undefined) return { resource, live: "absent", blocked: `${flaw}: it can't be restored` };
  const skip = skipReason(object, item.entry, { selectingServices: survey.selectingServices, nodes: target.nodes });
  const live = target.digests.get(place);
  const known: Known = {
    resource,
    skip,
    live: live === undefined ? "absent" : live === DELETING ? "deleting" : "different",
  };
  if (skip !== undefined) return known;
  known.keeper = keeperOf(place, survey, target);
  known.clash = target.clashes.get(place);
  known.blocked = blockedBy(item, input);
  if (known.live === "different") {
    fix(object, resource, fixing);
    const asked = resource === "services" ? [...nodePorts(object)] : [];
    const has = target.nodePorts.get(place);
    if (
      digest(comparable(object, resource, target)) === live &&
      asked.every(([port, number]) => has?.get(port) === number)
    )
      known.live = "equal";
    else known.shared = refersElsewhere(body, resource, fixing);
  }
  if (item.needed) known.leave = "only what is missing is restored of what others need";
  if (resource === NAMESPACES && item.name !== item.entry.name)
    known.leave = "objects are restored into it, itself it is left as it is";
  return known;
}

/** The controller in the target that has, or will have, the item's like: the owner that adopts it, or that owner's. */
function keeperOf(place: number, survey: Survey, target: Target): string | undefined {
  const keepers = new Set<number>();
  for (
    let keeper = survey.keepers.get(place);
    keeper !== undefined && !keepers.has(keeper);
    keeper = survey.keepers.get(keeper)
  ) {
    keepers.add(keeper);
    const live = target.digests.get(keeper);
    if (live !== undefined && live !== DELETING)
      return `${survey.items[keeper]!.entry.kind} ${survey.items[keeper]!.name}`;
  }
  return undefined;
}

function blockedBy(item: Item, { survey, target, served }: Parameters<typeof planSteps>[0]): string | undefined {
  const { resource } = item.entry;
  const comes = survey.definitions.has(resource);
  return (
    target.blocked.get(resource) ??
    (resource === NAMESPACES ? target.blocked.get(`${NAMESPACES}/${item.name}`) : undefined) ??
    (item.namespace ? target.blocked.get(`${NAMESPACES}/${item.namespace}`) : undefined) ??
    (served.find(item) || comes ? undefined : served.absence(item))
  );
}

/** Leaves out needed Namespaces that nothing is created in, and adds blank ones where they are known to be missing. */
function withNamespaces(steps: PlannedStep[], target: Target): PlannedStep[] {
  const filled = new Set(steps.filter(({ action }) => action === "create").map(({ item }) => item.namespace));
  const made = new Set<string>();
  for (const step of steps) {
    if (step.item.entry.resource !== NAMESPACES) continue;
    if (step.action === "create" && step.item.needed && !filled.has(step.item.name)) {
      step.action = "skip";
      step.reason = "nothing is restored into it";
    }
    if (step.action === "create") made.add(step.item.name);
  }
  if (target.blocked.has(NAMESPACES)) return steps;
  const missing = [...filled].filter((name) => name && !made.has(name) && !target.namespaces.has(name));
  return [...missing.map(blankNamespace), ...steps];
}

function blankNamespace(name: string): PlannedStep {
  const entry: IndexEntry = {
    resource: NAMESPACES,
    namespace: "",
    name,
    kind: "Namespace",
    apiVersion: "v1",
    version: "v1",
    uid: "",
    resourceVersion: "",
    owners: [],
    labels: {},
    images: [],
    segment: 0,
    offset: 0,
    size: 0,
    sha256: "",
  };
  const item = { entry, namespace: "", name, needed: true };
  return {
    action: "create",
    reason: "made blank: the backup doesn't have it",
    item,
    place: undefined,
    rank: waveOf(NAMESPACES),
  };
}
