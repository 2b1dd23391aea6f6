import { gzipSync } from "node:zlib";
import type { Mount } from "../volumes/volume.ts";
import type { CollectState } from "./collect.ts";
import type { LintState } from "./lint.ts";
import type { Consistency } from "./photograph.ts";
import type { Problems, Read } from "./readcluster.ts";
import type { RelatedState } from "./related.ts";
import type { InventoryState } from "./sidefiles.ts";
import type { VolumesState } from "./volumes.ts";

/**
 * What was read and learned by shards, each of the LISTs after those of the one before, as one that had made all LISTs knew it: what is
 * left is what comes along, and what follows that.
 */
export function mergeReads(reads: Read[]): Read {
  return {
    collected: mergeCollected(reads.map(({ collected }) => collected)),
    consistency: mergeConsistencies(reads.map(({ consistency }) => consistency)),
    inventory: mergeInventories(reads.map(({ inventory }) => inventory)),
    lint: mergeLints(reads.flatMap(({ lint }) => lint ?? [])),
    volumes: mergeVolumes(reads.flatMap(({ volumes }) => volumes ?? [])),
    problems: mergeProblems(reads.map(({ problems }) => problems)),
  };
}

function mergeCollected(all: CollectState[]): CollectState {
  return {
    place: "needed",
    items: sum(all, ({ items }) => items),
    bytes: sum(all, ({ bytes }) => bytes),
    secretsLeftOut: sum(all, ({ secretsLeftOut }) => secretsLeftOut),
    inhabited: [...new Set(all.flatMap(({ inhabited }) => inhabited))],
    taken: all.flatMap(({ taken }) => taken),
    related: mergeRelated(all.map(({ related }) => related)),
    answered: all.some(({ answered }) => answered),
  };
}

/** In the order in which things were first needed: that is the order in which they are listed. */
function mergeRelated(all: RelatedState[]): RelatedState {
  const once = (lists: [string, string[]][]) =>
    byKey(lists).map(([key, some]): [string, string[]] => [key, [...new Set(some.flat())]]);
  return {
    kinds: [...new Set(all.flatMap(({ kinds }) => kinds))],
    needed: once(all.flatMap(({ needed }) => needed)),
    fresh: once(all.flatMap(({ fresh }) => fresh)),
  };
}

function mergeConsistencies(all: Consistency[]): Consistency {
  const exceptions = byKey(
    all.flatMap(({ exceptions }) => exceptions.map((one): [string, typeof one] => [one.resource, one])),
  ).map(([, [first]]) => first!);
  return { grade: exceptions.length ? "mixed" : "exact", resourceVersion: all[0]!.resourceVersion, exceptions };
}

function mergeInventories(all: InventoryState[]): InventoryState {
  const comma = gzipSync(",");
  const texts = byKey(all.flatMap(({ texts }) => texts)).map(([kind, some]): [string, string] => {
    const joined = some.flatMap((text, place) => [...(place ? [comma] : []), Buffer.from(text, "base64")]);
    return [kind, Buffer.concat(joined).toString("base64")];
  });
  return { texts, volumes: all.flatMap(({ volumes }) => volumes) };
}

function mergeLints(all: LintState[]): LintState | undefined {
  if (all.length === 0) return undefined;
  return {
    held: byKey(all.flatMap(({ held }) => held)).map(([resource, names]) => [resource, names.flat()]),
    custom: byKey(all.flatMap(({ custom }) => custom)).map(([resource, counts]) => [resource, sum(counts, (n) => n)]),
    announced: all.flatMap(({ announced }) => announced),
    found: all.flatMap(({ found }) => found),
    named: all.flatMap(({ named }) => named),
  };
}

function mergeVolumes(all: VolumesState[]): VolumesState | undefined {
  if (all.length === 0) return undefined;
  return {
    held: all.flatMap(({ held }) => held),
    volumes: all.flatMap(({ volumes }) => volumes),
    mounts: byKey(all.flatMap(({ mounts }) => mounts)).map(([claim, some]) => [claim, some.reduce(addMounts)]),
    classes: all.flatMap(({ classes }) => classes),
    podVolumes: sum(all, ({ podVolumes }) => podVolumes),
    told: all.flatMap(({ told }) => told),
  };
}

/** Running Pods stand first, the last one that was met before the others. */
function addMounts(before: Mount[], later: Mount[]): Mount[] {
  const running = (mounts: Mount[]) => mounts.filter(({ running }) => running);
  const others = (mounts: Mount[]) => mounts.filter(({ running }) => !running);
  return [...running(later), ...running(before), ...others(before), ...others(later)];
}

function mergeProblems(all: Problems[]): Problems {
  return { warning: all.flatMap(({ warning }) => warning), error: all.flatMap(({ error }) => error) };
}

function sum<T>(all: T[], of: (one: T) => number): number {
  return all.reduce((total, one) => total + of(one), 0);
}

/** What belongs to the same keys, in the order in which those come first. */
function byKey<T>(pairs: [key: string, value: T][]): [key: string, values: T[]][] {
  return [...Map.groupBy(pairs, ([key]) => key)].map(([key, some]) => [key, some.map(([, value]) => value)]);
}
