import { z } from "zod";
import { LifeboatError } from "../errors.ts";
import { pauseFolder } from "../layout.ts";
import type { Bucket } from "../ports.ts";
import { newestState, type Placed, say } from "../state.ts";

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
  return stateOf(bucket, schedule, await newestState(bucket, pauseFolder(schedule.name), stateSchema, signal));
}

/** Whether a schedule is paused; errors as `readPause`. */
export async function isPaused(bucket: Bucket, schedule: Pausable, signal?: AbortSignal): Promise<boolean> {
  return (await readPause(bucket, schedule, signal)).paused;
}

/**
 * Pauses a schedule or lets it go on, unless it stands so already; whether anything changed. Of two that say so at the
 * same time, the one that comes last holds. Errors as `readPause`.
 */
export function setPaused(
  bucket: Bucket,
  schedule: Pausable,
  paused: boolean,
  { by, signal }: { by?: string; signal?: AbortSignal } = {},
): Promise<boolean> {
  const next = (placed: Placed<PauseState> | undefined) =>
    stateOf(bucket, schedule, placed).paused === paused ? undefined : { paused, at: new Date().toISOString(), by };
  return say(bucket, pauseFolder(schedule.name), stateSchema, next, signal);
}

function stateOf(bucket: Bucket, { paused }: Pausable, placed: Placed<PauseState> | undefined): PauseState {
  if (!placed) return { paused };
  const { key, state } = placed;
  if (state) return state;
  throw new LifeboatError("corrupt", `${key} in ${bucket.location} does not say whether the schedule is paused`, {
    hint: "delete it: the state before it then holds",
  });
}
