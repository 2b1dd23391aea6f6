import type { z } from "zod";
import { readObject } from "./catalog.ts";
import { newestOf } from "./once.ts";
import type { Bucket } from "./ports.ts";

/** What the newest object of a row (`numberedKey`) says. */
export interface Placed<State> {
  number: number;
  key: string;
  /** Undefined where that can't be read. */
  state: State | undefined;
}

/** What the row in a folder says now; undefined where nothing was said yet. Throws what the bucket throws. */
export async function newestState<State>(
  bucket: Bucket,
  folder: string,
  schema: z.ZodType<State>,
  signal?: AbortSignal,
): Promise<Placed<State> | undefined> {
  const newest = await newestOf(bucket, folder, signal);
  if (!newest) return undefined;
  const { number, key } = newest;
  return { number, key, state: schema.safeParse(jsonOf(await readObject(bucket, key, signal))).data };
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}
