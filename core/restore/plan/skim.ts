import type { KubernetesObject } from "../../archive/item.ts";
import type { Archive } from "../../archive/reader.ts";
import { metadataOf, parseExact } from "../../kube/json.ts";
import { leftoverWarning } from "../clone/leftovers.ts";
import { flawOf } from "../fields.ts";
import { isForeign } from "../finalizers.ts";
import { type FixContext, fix, fixesNothing } from "../fixes.ts";
import { mayModify } from "../modifiers/modifiers.ts";
import { type SkipFacts, skipReason } from "../skips.ts";
import type { Survey } from "../survey.ts";
import type { Statuses } from "../write/statuses.ts";
import { likenessOf } from "./likeness.ts";

/** What reading all of a backup's bodies tells of its items, by their place; small: no body is kept. */
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
  /** Reads all: throws `corrupt` for a damaged backup, and the signal's reason. */
  read(signal: AbortSignal): Promise<void>;
  /** Resolves when the item, and all before it, have been read, and where reading has failed. */
  until(place: number): Promise<void>;
  /** Whether the object, which is the item's in the target, surely says what the restore would make of the item. */
  alike(place: number, live: Buffer): boolean;
}

/** Most of the bytes of most metadata; no rule looks at them. */
const MANAGED_FIELDS = [Buffer.from("managedFields")];

/**
 * To read every body of a backup once: so that a damaged one ends the restore before anything is written, and to learn
 * which items are never restored, and what the others are like. Meant to go on while the target is listed.
 */
export function skimArchive(input: {
  archive: Archive;
  survey: Survey;
  fixing: FixContext;
  facts: SkipFacts;
  statuses: Statuses;
}): Skim {
  const { archive, survey, fixing, facts } = input;
  const likenesses: (string | undefined)[] = [];
  const skips: Skim["skips"] = new Map();
  const flaws: Skim["flaws"] = new Map();
  const notices: Skim["notices"] = new Map();
  const statuses: Skim["statuses"] = new Set();
  const problems: Skim["problems"] = new Map();
  const finalizers: Skim["finalizers"] = new Map();
  const waiting = new Map<number, PromiseWithResolvers<void>>();
  const ended = Promise.withResolvers<void>();
  let count = 0;

  const note = (place: number, metadata: KubernetesObject["metadata"]) => {
    if (input.statuses.of(metadata, survey.items[place]!.entry.resource)) statuses.add(place);
    for (const finalizer of metadata.finalizers?.filter(isForeign) ?? []) {
      const places = finalizers.get(finalizer) ?? [];
      places.push(place);
      finalizers.set(finalizer, places);
    }
  };

  const take = (place: number, body: Buffer) => {
    const { entry } = survey.items[place]!;
    likenesses[place] = fixesNothing(body, entry.resource, fixing) ? likenessOf(body, entry.resource) : undefined;
    const metadata = metadataOf(body, MANAGED_FIELDS);
    const flaw = flawOf(metadata);
    if (flaw !== undefined) flaws.set(place, flaw);
    else {
      const parsed = () => parseExact(body) as KubernetesObject;
      const skip = skipReason(metadata as KubernetesObject["metadata"], entry, facts, parsed);
      if (skip !== undefined) skips.set(place, skip);
      else {
        note(place, metadata as KubernetesObject["metadata"]);
        look(place, entry.resource, parsed);
      }
    }
  };

  const look = (place: number, resource: string, parsed: () => KubernetesObject) => {
    const { domainMapping, modifiers } = fixing;
    if (!domainMapping && !mayModify(resource, modifiers)) return;
    const object = parsed();
    const undone = fix(object, resource, fixing);
    if (undone.length) problems.set(place, undone);
    const notice = domainMapping && leftoverWarning(object, domainMapping);
    if (notice) notices.set(place, notice);
  };

  return {
    skips,
    flaws,
    notices,
    statuses,
    problems,
    finalizers,
    async read(signal) {
      try {
        const entries = survey.items.map(({ entry }) => entry);
        for await (const { body } of archive.read(entries, { passing: true })) {
          signal.throwIfAborted();
          take(count, body);
          waiting.get(count++)?.resolve();
        }
      } finally {
        ended.resolve();
      }
    },
    async until(place) {
      if (place < count) return;
      const waiter = waiting.get(place) ?? Promise.withResolvers<void>();
      waiting.set(place, waiter);
      await Promise.race([waiter.promise, ended.promise]);
    },
    alike(place, live) {
      const likeness = likenesses[place];
      return likeness !== undefined && likeness === likenessOf(live, survey.items[place]!.entry.resource);
    },
  };
}
