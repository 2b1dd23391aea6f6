import type { PlannedStep } from "../plan/steps.ts";
import { CHANGED, isUnchanged } from "../plan/unchanged.ts";
import type { Applied } from "../write/apply.ts";
import { pathOf, readLive, refusal, type Sending, send } from "../write/sending.ts";
import { objectGone } from "../write/waits.ts";

const ATTEMPTS = 5;

/** How long what has finalizers is waited for. */
const FINALIZERS_MS = 60_000;

/**
 * Deletes a live object that was planned to be pruned, as it was when it was listed: where it was changed since in a way
 * that matters, it stays and is blocked; a new status doesn't matter. What is gone already, or going, is fine.
 */
export async function pruneLive(one: Sending, step: PlannedStep): Promise<Applied> {
  const { item, reason, warning } = step;
  const pruned: Applied = { action: "pruned", reason, warning };
  const { uid } = item.entry;
  let { resourceVersion } = item.entry;
  for (let attempt = 1; ; attempt++) {
    const response = await send(one, {
      method: "DELETE",
      path: pathOf(one),
      body: JSON.stringify({
        preconditions: { uid, resourceVersion },
        propagationPolicy: "Background",
        // With a body, API servers disregard the query's dryRun.
        ...(one.applying.dryRun && { dryRun: ["All"] }),
      }),
    });
    if (response.status < 400 && step.awaited && !one.applying.dryRun) return await finalized(one, step, pruned);
    if (response.status < 400) return pruned;
    if (response.status === 404) {
      return response.attempts > 1 || one.applying.repeats ? pruned : { action: "skipped", reason: "gone already" };
    }
    if (response.status !== 409) return { action: "failed", reason: refusal(response, item) };
    const live = await readLive(one);
    if (!live || (live.metadata.deletionTimestamp && live.metadata.uid === uid)) return pruned;
    const same =
      live.metadata.uid === uid && isUnchanged(live, item.entry.resource, one.plannedOn!, one.applying.target);
    if (!same || attempt >= ATTEMPTS) return { action: "blocked", reason: CHANGED };
    resourceVersion = live.metadata.resourceVersion ?? "";
  }
}

/** Waits until the object's controller has taken its finalizers away. */
async function finalized(one: Sending, { item }: PlannedStep, pruned: Applied): Promise<Applied> {
  const waiting = { ...one.applying, waitMs: Math.min(one.applying.waitMs, FINALIZERS_MS) };
  const stays = await objectGone(waiting, pathOf(one), item.entry.uid);
  return stays ? { ...pruned, reason: stays, warning: true } : pruned;
}
