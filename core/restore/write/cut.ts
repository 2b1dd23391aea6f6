import { CLAIMS, DEFINITIONS } from "../../objects/resources.ts";
import type { PlannedStep } from "../plan/steps.ts";
import type { RestoreReport } from "../report.ts";
import type { RestorePlan } from "../restore.ts";
import type { RestoreCut } from "../slices.ts";
import type { Item } from "../survey.ts";
import type { Applied } from "./apply.ts";

/** What a slice of the writes tells the next ones; steps are known by their place in the plan. */
export type WriteEvent =
  | {
      step: number;
      action: Applied["action"];
      reason?: string;
      warning?: true;
      uid?: string;
      without?: "empty" | "same";
    }
  /** The resources of a written definition are served, or why not. */
  | { definition: number; problem?: string }
  /** Nothing is left but what waits for backends. */
  | { waits: true };

/** Writes that are cut, as `writeSteps` sees them. */
export interface WriteCut {
  /** Whether a slice before this one has ended the step. */
  ended(step: PlannedStep): boolean;
  /** Whether the rest is left to the next slice. */
  over(): boolean;
  /** Leaves what was told, from time to time. */
  keep(): Promise<void>;
  /** A step has ended. */
  end(step: PlannedStep, applied: Applied): void;
  /** A written definition has been waited for. */
  awaited(definition: Item, problem?: string): void;
  /** Nothing is left but what waits for backends; gives since when, as `performance.now`. */
  waits(): number;
  /** By slices before this one: definitions that are still to be waited for, and whether others were. */
  unawaited: Item[];
  someAwaited: boolean;
  /** When they created an object of a resource last, as `performance.now`, or somewhat later. */
  createdAt: Map<string, number>;
  /** Whether they have begun to prune: nothing stood against it. */
  prunes: boolean;
}

/** Whether a written definition's resources are waited for. */
export function isToBeServed({ item, action }: PlannedStep, became: Applied["action"]): boolean {
  const stays = !["failed", "blocked", "pruned"].includes(became) && action !== "prune";
  return item.entry.resource === DEFINITIONS && stays;
}

/** Goes on with what slices before this one have written: tells the report of it, and `planned` what came of it. */
export function writeCut(
  cut: RestoreCut,
  { steps, survey, target, data }: RestorePlan,
  report: RestoreReport,
): WriteCut {
  const numbers = new Map(steps.map((step, number) => [step, number]));
  const definitions = new Map(
    steps.flatMap(({ item }, number) => (item.entry.resource === DEFINITIONS ? [[item, number] as const] : [])),
  );
  const ended = new Set<PlannedStep>();
  const createdAt = new Map<string, number>();
  const unawaited = new Set<Item>();
  let someAwaited = false;
  let waitsSince: number | undefined;
  let prunes = false;

  const replay = (event: WriteEvent, at: number) => {
    if ("waits" in event) {
      waitsSince ??= at;
      return;
    }
    if ("definition" in event) {
      const { item } = steps[event.definition]!;
      unawaited.delete(item);
      someAwaited = true;
      if (event.problem) report.error(item, event.problem);
      return;
    }
    const { action, reason, warning, uid, without } = event;
    const step = steps[event.step]!;
    const { item, place } = step;
    const { resource } = item.entry;
    ended.add(step);
    prunes ||= step.action === "prune";
    if (uid && place !== undefined && survey.owns(place)) target.uids.set(place, uid);
    if (without) data?.without.set(`${item.namespace}/${item.name}`, without);
    if (action === "created") createdAt.set(resource, at);
    if (isToBeServed(step, action)) unawaited.add(item);
    report.item(item, action, reason, warning);
  };
  const now = performance.now() - Date.now();
  for (const { at, events } of cut.written)
    for (const event of events) replay(event, Math.min(now + at, performance.now()));

  return {
    ended: (step) => ended.has(step),
    over: cut.over,
    keep: cut.keep,
    end(step, { action, reason, warning, uid }) {
      const { item, place } = step;
      const owns = uid && place !== undefined && survey.owns(place);
      const without = item.entry.resource === CLAIMS ? data?.without.get(`${item.namespace}/${item.name}`) : undefined;
      const told = { ...(reason && { reason }), ...(warning && { warning }), ...(owns && { uid }) };
      cut.note({ step: numbers.get(step)!, action, ...told, ...(without && { without }) });
    },
    awaited: (definition, problem) =>
      cut.note({ definition: definitions.get(definition)!, ...(problem && { problem }) }),
    waits() {
      if (waitsSince === undefined) cut.note({ waits: true });
      waitsSince ??= performance.now();
      return waitsSince;
    },
    unawaited: [...unawaited],
    someAwaited,
    createdAt,
    prunes,
  };
}
