import { z } from "zod";
import { listFolder, readObject } from "../catalog.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
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

/** Numbered objects, each created once; the highest number is how it is now. */
const folderOf = (schedule: string) => `metadata/lifeboat/schedules/${schedule}/`;
const keyOf = (schedule: string, number: number) => `${folderOf(schedule)}${String(number).padStart(6, "0")}.json`;

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
    const body = Buffer.from(`${JSON.stringify({ paused, at: new Date().toISOString(), by })}\n`);
    try {
      await bucket.put(keyOf(schedule.name, number + 1), body, { ifAbsent: true, signal });
      return true;
    } catch (error) {
      if (!isLifeboatError(error, "conflict")) throw error;
    }
  }
}

async function newestState(bucket: Bucket, { name, paused }: Pausable, signal?: AbortSignal) {
  const keys = await listFolder(bucket, folderOf(name), signal);
  const numbers = [...keys.keys()].map((key) => Number(/(\d+)\.json$/.exec(key)?.[1] ?? 0));
  const number = Math.max(0, ...numbers);
  if (number === 0) return { number, state: { paused } };
  const key = keyOf(name, number);
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
