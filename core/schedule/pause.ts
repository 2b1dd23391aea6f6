import { z } from "zod";
import { pauseFolder } from "../catalog.ts";
import { LifeboatError } from "../errors.ts";
import { numberedKey, putJsonOnce } from "../once.ts";
import type { Bucket } from "../ports.ts";
import { newestState } from "../state.ts";

/** Whether a schedule is paused, and, where that was said since it was configured, when and by whom. */
export interface PauseState {
  paused: boolean;
  at?: Date;
  by?: string;
}

const stateSchema: z.ZodType<PauseState> = z.object({
  paused: z.boolean(),
  at: z.iso.datetime().transform((text) => new Date(text)),
  by: z.string().optional(),
});

interface Pausable {
  name: string;
  /** What the configuration says: it holds until somebody has said otherwise. */
  paused: boolean;
}

/** How a schedule stands. Throws `corrupt` where its newest state can't be read, and what the bucket throws. */
export async function readPause(bucket: Bucket, schedule: Pausable, signal?: AbortSignal): Promise<PauseState> {
  return (await stateOf(bucket, schedule, signal)).state;
}

/** Whether a schedule is paused; errors as `readPause`. */
export async function isPaused(bucket: Bucket, schedule: Pausable, signal?: AbortSignal): Promise<boolean> {
  return (await readPause(bucket, schedule, signal)).paused;
}

/**
 * Pauses a schedule or lets it go on, unless it stands so already; whether anything changed. Of two that say so at the
 * same time, the one that comes last holds. Errors as `readPause`.
 */
export async function setPaused(
  bucket: Bucket,
  schedule: Pausable,
  paused: boolean,
  { by, signal }: { by?: string; signal?: AbortSignal } = {},
): Promise<boolean> {
  for (;;) {
    const { state, number } = await stateOf(bucket, schedule, signal);
    if (state.paused === paused) return false;
    const next = { paused, at: new Date().toISOString(), by };
    if (await putJsonOnce(bucket, numberedKey(pauseFolder(schedule.name), number + 1), next, signal)) return true;
  }
}

async function stateOf(bucket: Bucket, { name, paused }: Pausable, signal?: AbortSignal) {
  const placed = await newestState(bucket, pauseFolder(name), stateSchema, signal);
  if (!placed) return { number: 0, state: { paused } };
  const { number, key, state } = placed;
  if (state) return { number, state };
  throw new LifeboatError("corrupt", `${key} in ${bucket.location} does not say whether the schedule is paused`, {
    hint: "delete it: the state before it then holds",
  });
}
