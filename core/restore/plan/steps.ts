import type { IndexEntry } from "../../archive/index.ts";
import { API_SERVICES, NAMESPACES, VOLUMES } from "../../objects/resources.ts";
import { diskZone, type RestoreData } from "../data.ts";
import type { FixContext } from "../fixes.ts";
import type { Served } from "../served.ts";
import type { Item, RestoreSurvey } from "../survey.ts";
import { waveOf } from "../write/waves.ts";
import { type Known, type Policy, plan, type Step } from "./plan.ts";
import type { Skim } from "./skim.ts";
import { DELETING, type Target } from "./target.ts";

/** One item and what is done with it. */
export interface PlannedStep extends Step {
  item: Item;
  /** In the survey; undefined for what the backup doesn't have: a needed Namespace, what is pruned. */
  place: number | undefined;
  rank: number;
  /** What needs a person, beside the reason. */
  notice?: string;
  /** It gets the status that the backup holds. */
  status?: boolean;
  /** Its API isn't served as long as this isn't up (backends.ts). */
  awaits?: string;
  /** Of a live object that is pruned, as it was listed: its state (unchanged.ts). Its entry says its UID. */
  state?: string;
  /** Its end is waited for before anything else is deleted: its controller, which may be deleted too, has work to do first. */
  awaited?: boolean;
  /** What could not be done to the object, which is restored nevertheless: errors. */
  problems?: string[];
}

/** What planning takes. */
interface Planning {
  survey: RestoreSurvey;
  target: Target;
  skim: Skim;
  served: Served;
  fixing: FixContext;
  /** Undefined where a restore is undone. */
  data: RestoreData | undefined;
  policy: Policy;
}

/**
 * Plans every item by asking plan.ts. Namespaces that are needed and are neither in the backup nor in the target come
 * as blank ones.
 */
export function planSteps(input: Planning): PlannedStep[] {
  const { survey, target, skim, policy } = input;
  const apis = restoredApis(input);
  const steps = survey.items.map((item, place) => {
    const awaits = awaitedApi(item, input, apis);
    const known = knownOf(place, item, input, awaits);
    const step = plan(known, policy);
    const becomes = becomesBackups(step, known);
    const notice = becomes ? skim.notices.get(place) : undefined;
    const problems = becomes ? skim.problems.get(place) : undefined;
    const more = { ...(notice && { notice }), ...(problems && { problems }), ...(awaits && { awaits }) };
    const status = skim.statuses.has(place);
    return { ...step, item, place, rank: survey.ranks[place]!, ...(status && { status }), ...more };
  });
  return withNamespaces(steps, target);
}

/** Whether the object is, or will be, what the backup says. */
function becomesBackups({ action }: Step, { skip, live }: Known): boolean {
  return action === "skip" ? skip === undefined && live === "equal" : action !== "blocked";
}

/** What the target has in the item's place. */
function liveOf(place: number, { target, skim }: Planning): Pick<Known, "live" | "shared"> {
  const live = target.digests.get(place);
  if (live === undefined) return { live: "absent" };
  return skim.comparisons.get(place) ?? { live: live === DELETING ? "deleting" : "equal" };
}

/** "group/version" of the APIs whose APIService, one with a backend, is restored as well. */
function restoredApis({ survey, skim }: Planning): Set<string> {
  const taken = survey.items.filter(({ entry }, place) => entry.resource === API_SERVICES && !skim.skips.has(place));
  return new Set(taken.map(({ name }) => name.replace(/^([^.]+)\.(.+)$/, "$2/$1")));
}

/** What must be up before the item's API is served. */
function awaitedApi(item: Item, { served, survey }: Planning, apis: Set<string>): string | undefined {
  const { resource, apiVersion } = item.entry;
  if (served.find(item) || survey.definitions.has(resource)) return undefined;
  return served.down(item) || apis.has(apiVersion) ? `what serves ${apiVersion}` : undefined;
}

function knownOf(place: number, item: Item, planning: Planning, awaits: string | undefined): Known {
  const { survey, target, skim, served } = planning;
  const { resource } = item.entry;
  const flaw = skim.flaws.get(place);
  if (flaw !== undefined) return { resource, live: "absent", blocked: `${flaw}: it can't be restored` };
  const known: Known = { resource, skip: skim.skips.get(place), ...liveOf(place, planning) };
  if (known.skip !== undefined) return known;
  known.keeper = keeperOf(place, survey, target);
  known.clash = target.clashes.get(place);
  known.status = skim.statuses.has(place);
  known.blocked = blockedBy(item, planning, awaits) ?? (known.live === "absent" ? unmade(item, planning) : undefined);
  known.unlisted = target.unlisted.get(resource) ?? (awaits && served.absence(item));
  known.exact = planning.fixing.exact;
  known.others = target.others.get(place);
  if (item.needed) known.leave = "only what is missing is restored of what others need";
  if (resource === NAMESPACES && item.name !== item.entry.name)
    known.leave = "objects are restored into it, itself it is left as it is";
  if (resource === VOLUMES && planning.data?.plan.remade.has(item.entry.name))
    known.leave = "it keeps the disk that it has";
  return known;
}

/** Why the volume of a snapshot can't be made here. */
function unmade(item: Item, { data, target, fixing: { restoreName } }: Planning): string | undefined {
  const zone = data && diskZone(data, { item, zones: target.zones, restoreName });
  return zone && "reason" in zone ? zone.reason : undefined;
}

/** The controller in the target that has, or will have, the item's like: the owner that adopts it, or that owner's. */
function keeperOf(place: number, survey: RestoreSurvey, target: Target): string | undefined {
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

function blockedBy(item: Item, { survey, target, served }: Planning, awaits: string | undefined): string | undefined {
  const { resource } = item.entry;
  const comes = survey.definitions.has(resource);
  return (
    target.blocked.get(resource) ??
    (resource === NAMESPACES ? target.blocked.get(`${NAMESPACES}/${item.name}`) : undefined) ??
    (item.namespace ? target.blocked.get(`${NAMESPACES}/${item.namespace}`) : undefined) ??
    (served.find(item) || comes || awaits ? undefined : served.absence(item))
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
