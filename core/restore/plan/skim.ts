import type { IndexEntry } from "../../archive/index.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { likenessOf } from "../../archive/likeness.ts";
import type { Archive } from "../../archive/reader.ts";
import { metadataOf, parseExact } from "../../kube/json.ts";
import { flawOf } from "../../objects/fields.ts";
import { SERVICES, VOLUMES } from "../../objects/resources.ts";
import { type SkipFacts, skipReason } from "../../skips.ts";
import type { Placement } from "../../volumes/restic/job.ts";
import { leftoverWarning } from "../clone/leftovers.ts";
import { isForeign } from "../finalizers.ts";
import { type FixContext, fix, fixesNothing, refersElsewhere } from "../fixes.ts";
import { mayModify } from "../modifiers/modifiers.ts";
import { nodePorts } from "../nodeports.ts";
import type { RestoreSurvey } from "../survey.ts";
import { nodePath } from "../volumes.ts";
import { mayHaveExecHooks } from "../write/hooks.ts";
import { PODS } from "../write/posthooks.ts";
import type { Statuses } from "../write/statuses.ts";
import { comparable, digest } from "./comparable.ts";
import { notePlacement } from "./placement.ts";
import type { Known } from "./plan.ts";
import { ALIKE, DELETING, type Target } from "./target.ts";

/** What the bodies of a backup tell of its items, by their place; small: no body is kept. */
export interface Skim {
  /** Why items aren't restored (skips.ts). */
  skips: Map<number, string>;
  /** What is wrong with items that can't be restored. */
  flaws: Map<number, string>;
  /** Items by the finalizers they hold that others than Kubernetes must remove. */
  finalizers: Map<string, number[]>;
  /** Items whose status is restored too. */
  statuses: Set<number>;
  /** What a person should know of items that become what the backup says. */
  notices: Map<number, string>;
  /** What could not be done to items that become what the backup says (`fix`). */
  problems: Map<number, string[]>;
  /** Where the backup's running Pods use claims of the target ("namespace/name"), as far as data are brought into some. */
  placements: Map<string, Placement>;
  /** Names in the target of volumes that are folders of nodes. */
  onNodes: Set<string>;
  /** Of items that exist: whether they are what the backup says. */
  comparisons: Map<number, Comparison>;
  /** Some of the Pods have exec hooks. */
  hooked: boolean;
  /** The first item, by its place, that hasn't been looked at. */
  next: number;
}

/** Of nothing. */
export function nothingSkimmed(): Skim {
  return {
    skips: new Map(),
    flaws: new Map(),
    finalizers: new Map(),
    statuses: new Set(),
    notices: new Map(),
    problems: new Map(),
    placements: new Map(),
    onNodes: new Set(),
    comparisons: new Map(),
    hooked: false,
    next: 0,
  };
}

type Comparison = Pick<Known, "live" | "shared">;

/**
 * Whether a live object, given as JSON, surely says what the restore would make of the item, so that its body need not be
 * read: they have the same likeness, no fix changes an object that says what the live one says, and its status isn't asked for.
 */
export function isAlike(
  { likeness, resource }: IndexEntry,
  live: Buffer,
  { fixing, statuses }: { fixing: FixContext; statuses: Statuses },
): boolean {
  return (
    likeness !== undefined &&
    likeness === likenessOf(live, resource) &&
    fixesNothing(live, resource, fixing) &&
    !statuses.mayBeOf(live, resource)
  );
}

/** Only Pods whose text holds it mount claims. */
const CLAIM_MARK = Buffer.from('"persistentVolumeClaim"');

/** Most of the bytes of most metadata; no rule looks at them. */
const MANAGED_FIELDS = [Buffer.from("managedFields")];

/**
 * Reads the bodies of all items that the target doesn't surely have as they are, to learn which are never restored and
 * what is to know of the others: from where `skim` has got to, into it, and until it is `over`, after one item at least.
 * Resolves with whether all are read. Throws `corrupt` for a damaged backup, and the signal's reason.
 */
export async function skimArchive(input: {
  archive: Archive;
  survey: RestoreSurvey;
  target: Target;
  fixing: FixContext;
  facts: SkipFacts;
  statuses: Statuses;
  signal: AbortSignal;
  skim: Skim;
  over?: () => boolean;
}): Promise<boolean> {
  const { archive, survey, target, fixing, facts, signal, skim, over = () => false } = input;

  const note = (place: number, metadata: KubernetesObject["metadata"]) => {
    if (input.statuses.of(metadata, survey.items[place]!.entry.resource)) skim.statuses.add(place);
    for (const finalizer of metadata.finalizers?.filter(isForeign) ?? []) {
      const places = skim.finalizers.get(finalizer) ?? [];
      places.push(place);
      skim.finalizers.set(finalizer, places);
    }
  };

  const look = (place: number, resource: string, parsed: () => KubernetesObject) => {
    const { domainMapping, modifiers } = fixing;
    if (!domainMapping && !mayModify(resource, modifiers)) return;
    const object = parsed();
    const undone = fix(object, resource, fixing);
    if (undone.length) skim.problems.set(place, undone);
    const notice = domainMapping && leftoverWarning(object, domainMapping);
    if (notice) skim.notices.set(place, notice);
  };

  const take = (place: number, body: Buffer) => {
    const { entry } = survey.items[place]!;
    const metadata = metadataOf(body, MANAGED_FIELDS) as KubernetesObject["metadata"];
    const flaw = flawOf(metadata);
    if (flaw !== undefined) return skim.flaws.set(place, flaw);
    const parsed = () => parseExact(body) as KubernetesObject;
    // Before anything is left out: what is scaled to zero comes later.
    if (entry.resource === PODS && facts.refilled?.size && body.includes(CLAIM_MARK)) {
      const fixed = (pod: KubernetesObject) => void fix(pod, PODS, fixing);
      notePlacement(parsed(), { fix: fixed, placements: skim.placements });
    }
    const skip = skipReason(metadata, entry, facts, parsed);
    if (skip !== undefined) return skim.skips.set(place, skip);
    if (entry.resource === VOLUMES && nodePath(parsed())) skim.onNodes.add(survey.items[place]!.name);
    note(place, metadata);
    if (entry.resource === PODS) skim.hooked ||= mayHaveExecHooks(body, fixing.hooks);
    look(place, entry.resource, parsed);
    const live = target.digests.get(place);
    if (live !== undefined && live !== DELETING) skim.comparisons.set(place, compare(place, body, input));
  };

  const places = [...survey.items.keys()].filter((place) => place >= skim.next && target.digests.get(place) !== ALIKE);
  const entries = places.map((place) => survey.items[place]!.entry);
  const next = places.values();
  for await (const { body } of archive.read(entries, { passing: true })) {
    signal.throwIfAborted();
    const place = next.next().value!;
    take(place, body);
    skim.next = place + 1;
    if (over() && place !== places.at(-1)) return false;
  }
  return true;
}

function compare(
  place: number,
  body: Buffer,
  { survey, target, fixing }: { survey: RestoreSurvey; target: Target; fixing: FixContext },
): Comparison {
  const { resource } = survey.items[place]!.entry;
  const object = parseExact(body) as KubernetesObject;
  fix(object, resource, fixing);
  const asked = resource === SERVICES ? [...nodePorts(object)] : [];
  const has = target.nodePorts.get(place);
  const equal =
    digest(comparable(object, resource, target)) === target.digests.get(place) &&
    asked.every(([port, number]) => has?.get(port) === number);
  return equal ? { live: "equal" } : { live: "different", shared: refersElsewhere(body, resource, fixing) };
}
