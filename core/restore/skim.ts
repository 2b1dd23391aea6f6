import type { KubernetesObject } from "../archive/item.ts";
import type { Archive } from "../archive/reader.ts";
import { parseExact } from "../kube/json.ts";
import { flawOf } from "./fields.ts";
import { type FixContext, fixesNothing } from "./fixes.ts";
import { type Glance, glance, LIKENESS_BYTES } from "./likeness.ts";
import { type SkipFacts, skipReason } from "./skips.ts";
import type { Survey } from "./survey.ts";

/** What reading all of a backup's bodies tells of its items, by their place; small: no body is kept. */
export interface Skim {
  /** Why items aren't restored (skips.ts). */
  skips: Map<number, string>;
  /** What is wrong with items that can't be restored. */
  flaws: Map<number, string>;
  /** Reads all: throws `corrupt` for a damaged backup, and the signal's reason. */
  read(signal: AbortSignal): Promise<void>;
  /** Resolves when the item, and all before it, have been read, and where reading has failed. */
  until(place: number): Promise<void>;
  /** Whether the object, which is the item's in the target, surely says what the restore would make of the item. */
  alike(place: number, live: Glance): boolean;
}

/**
 * To read every body of a backup once: so that a damaged one ends the restore before anything is written, and to learn
 * which items are never restored, and what the others are like. Meant to go on while the target is listed.
 */
export function skimArchive(input: { archive: Archive; survey: Survey; fixing: FixContext; facts: SkipFacts }): Skim {
  const { archive, survey, fixing, facts } = input;
  const likenesses = Buffer.alloc(survey.items.length * LIKENESS_BYTES);
  const known = new Uint8Array(survey.items.length);
  const skips: Skim["skips"] = new Map();
  const flaws: Skim["flaws"] = new Map();
  const waiting = new Map<number, PromiseWithResolvers<void>>();
  const ended = Promise.withResolvers<void>();
  let count = 0;

  const take = (place: number, body: Buffer) => {
    const { entry } = survey.items[place]!;
    const { head, likeness } = glance(body);
    const flaw = flawOf(head);
    if (flaw !== undefined) {
      flaws.set(place, flaw);
      return;
    }
    const skip = skipReason(head, entry, facts, () => parseExact(body) as KubernetesObject);
    if (skip !== undefined) skips.set(place, skip);
    if (!likeness || !fixesNothing(entry.resource, fixing)) return;
    likeness.copy(likenesses, place * LIKENESS_BYTES);
    known[place] = 1;
  };

  return {
    skips,
    flaws,
    async read(signal) {
      try {
        for await (const { body } of archive.read(survey.items.map(({ entry }) => entry))) {
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
    alike(place, { likeness }) {
      const start = place * LIKENESS_BYTES;
      return (
        likeness !== undefined &&
        known[place] === 1 &&
        likeness.compare(likenesses, start, start + LIKENESS_BYTES) === 0
      );
    },
  };
}
