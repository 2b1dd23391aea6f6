import type { KubernetesObject } from "../../archive/item.ts";
import { metadataOf } from "../../kube/json.ts";
import { DEFINITIONS, NAMESPACES } from "../../objects/resources.ts";
import type { PlannedStep } from "../plan/steps.ts";
import type { RestoreSurvey } from "../survey.ts";
import { compactUid } from "../uid.ts";
import type { Applied } from "./apply.ts";

/** A step that is tried again later. */
interface Wait {
  /** What it waits for (backends.ts). */
  backend: string;
  /** How it ended when it was tried; undefined where it wasn't, since another that waits comes first. */
  tried?: Applied;
  owners: number[];
}

/** The steps that wait until a backend is up, and those that come after them. */
export interface Postponed {
  size(): number;
  /** What the step would wait for: that of a waiting one which must come before it. */
  holds(step: PlannedStep, body: Buffer): string | undefined;
  add(step: PlannedStep, body: Buffer, backend: string, tried?: Applied): void;
  /** The step has ended. */
  end(step: PlannedStep): void;
  of(step: PlannedStep): Wait | undefined;
  /** Those that wait for no other step, by their ranks. */
  free(): PlannedStep[];
  /** What is waited for, each once. */
  backends(): string[];
}

/**
 * Nothing waits yet. After a waiting step come: what its object owns (the new UID is needed), the owner whose controller
 * would make its like anew, what lies in its Namespace, and what its definition defines.
 */
export function nonePostponed(survey: Pick<RestoreSurvey, "owners" | "keepers">): Postponed {
  const waits = new Map<PlannedStep, Wait>();
  const holders = new Map<string, Set<PlannedStep>>();

  const ownersOf = (body: Buffer) => {
    const { ownerReferences = [] } = metadataOf(body) as KubernetesObject["metadata"];
    return ownerReferences.flatMap(({ uid }) => survey.owners.get(compactUid(uid)) ?? []);
  };
  const holder = (step: PlannedStep, owners: number[]) => {
    for (const key of keysBefore(step, owners))
      for (const other of holders.get(key) ?? []) if (other.rank < step.rank) return waits.get(other);
    return undefined;
  };

  return {
    size: () => waits.size,
    holds: (step, body) => (waits.size ? holder(step, ownersOf(body))?.backend : undefined),
    add(step, body, backend, tried) {
      const owners = waits.get(step)?.owners ?? ownersOf(body);
      waits.set(step, { backend, tried, owners });
      for (const key of keysAfter(step, survey)) {
        const known = holders.get(key);
        if (known) known.add(step);
        else holders.set(key, new Set([step]));
      }
    },
    end(step) {
      if (!waits.delete(step)) return;
      for (const key of keysAfter(step, survey)) holders.get(key)?.delete(step);
    },
    of: (step) => waits.get(step),
    free: () =>
      [...waits]
        .filter(([step, { owners }]) => !holder(step, owners))
        .map(([step]) => step)
        .sort((a, b) => a.rank - b.rank || (a.place ?? -1) - (b.place ?? -1)),
    backends: () => [...new Set([...waits.values()].map(({ backend }) => backend))],
  };
}

/** By what a step is known to those that come after it. */
function keysAfter({ item, place }: PlannedStep, { keepers }: Pick<RestoreSurvey, "keepers">): string[] {
  const keys = place === undefined ? [] : [`owner ${place}`];
  const keeper = place === undefined ? undefined : keepers.get(place);
  if (keeper !== undefined) keys.push(`adopted by ${keeper}`);
  if (item.entry.resource === NAMESPACES) keys.push(`namespace ${item.name}`);
  if (item.entry.resource === DEFINITIONS) keys.push(`definition ${item.name}`);
  return keys;
}

function keysBefore({ item, place }: PlannedStep, owners: number[]): string[] {
  return [
    ...owners.map((owner) => `owner ${owner}`),
    `adopted by ${place}`,
    `namespace ${item.namespace}`,
    `definition ${item.entry.resource}`,
  ];
}

/**
 * Tries waiting steps again: of those that wait for the same, one first, the others only when it got through. `write`
 * writes steps, which are in the order of their ranks, and ends those that no longer wait.
 */
export async function tryAgain(postponed: Postponed, write: (steps: PlannedStep[]) => Promise<void>): Promise<void> {
  const tried = new Set<PlannedStep>();
  const up = new Set<string>();
  const down = new Set<string>();
  for (;;) {
    const waiting = postponed.free().filter((step) => !tried.has(step));
    const backendOf = new Map(waiting.map((step) => [step, postponed.of(step)!.backend]));
    const firsts = new Map([...backendOf].reverse().map(([step, backend]) => [backend, step]));
    const next = waiting.filter((step) => {
      const backend = backendOf.get(step)!;
      return up.has(backend) || (!down.has(backend) && firsts.get(backend) === step);
    });
    if (!next.length) return;
    await write(next);
    for (const step of next) {
      tried.add(step);
      const backend = backendOf.get(step)!;
      if (postponed.of(step)?.backend !== backend) up.add(backend);
      else if (!up.has(backend)) down.add(backend);
    }
  }
}
