import { z } from "zod";
import { readObject } from "../catalog.ts";
import { LifeboatError } from "../errors.ts";
import { newestOf, numberedKey, putJsonOnce } from "../once.ts";
import type { Bucket } from "../ports.ts";

/** Whether a schedule is paused, and, where that was said since it was configured, when and by whom. */
export interface PauseState {
  paused: boolean;
  at?: Date;
  by?: string;
}

const stateSchema = z.looseObject({
  paused: z.boolean(),
  at: z.iso.datetime().transform((text) => new Date(text)),
  by: z.string().optional(),
});

/** A row of states: see `newestOf`. */
const folderOf = (schedule: string) => `metadata/lifeboat/schedules/${schedule}/`;

interface Pausable {
  name: string;
  /** What the configuration says: it holds until somebody has said otherwise. */
  paused: boolean;
}

/** How a schedule stands. Throws `corrupt` where its newest state can't be read, and what the bucket throws. */
export async function readPause(bucket: Bucket, schedule: Pausable, signal?: AbortSignal): Promise<PauseState> {
  return (await newestState(bucket, schedule, signal)).state;
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
    const { state, number } = await newestState(bucket, schedule, signal);
    if (state.paused === paused) return false;
    const next = { paused, at: new Date().toISOString(), by };
    if (await putJsonOnce(bucket, numberedKey(folderOf(schedule.name), number + 1), next, signal)) return true;
  }
}

async function newestState(bucket: Bucket, { name, paused }: Pausable, signal?: AbortSignal) {
  const newest = await newestOf(bucket, folderOf(name), signal);
  if (!newest) return { number: 0, state: { paused } };
  const { number, key } = newest;
  const parsed = stateSchema.safeParse(jsonOf(await readObject(bucket, key, signal)));
  if (parsed.success) return { number, state: parsed.data as PauseState };
  throw new LifeboatError("corrupt", `${key} in ${bucket.location} does not say whether the schedule is paused`, {
    hint: "delete it: the state before it then holds",
  });
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}
