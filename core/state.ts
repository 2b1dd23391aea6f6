import pLimit from "p-limit";
import type { z } from "zod";
import { readObject } from "./contents.ts";
import { listObjects, newestOf, numberedKey, numberIn, putJsonOnce } from "./once.ts";
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
  return newest && placed(bucket, newest, schema, signal);
}

/** What the object of a number says. Throws `missing` where there is none, and what else the bucket throws. */
export function stateAt<State>(
  bucket: Bucket,
  folder: string,
  number: number,
  schema: z.ZodType<State>,
  signal?: AbortSignal,
): Promise<Placed<State>> {
  return placed(bucket, { number, key: numberedKey(folder, number) }, schema, signal);
}

/**
 * Says what `next` makes of what a row says now; false where it makes nothing of that. Of several that say something at
 * once, each sees what the one before it said. Throws what the bucket and `next` throw.
 */
export async function say<State>(
  bucket: Bucket,
  folder: string,
  schema: z.ZodType<State>,
  next: (placed: Placed<State> | undefined) => object | undefined,
  signal?: AbortSignal,
): Promise<boolean> {
  for (;;) {
    const placed = await newestState(bucket, folder, schema, signal);
    const said = next(placed);
    if (!said) return false;
    if (await putJsonOnce(bucket, numberedKey(folder, (placed?.number ?? 0) + 1), said, signal)) return true;
  }
}

/** How many objects of rows are read at once. */
export const READS_AT_ONCE = 16;

/** What the rows say now that lie in folders below one folder, by the names of their own. Throws what the bucket throws. */
export async function newestStates<State>(
  bucket: Bucket,
  root: string,
  schema: z.ZodType<State>,
  signal?: AbortSignal,
): Promise<Map<string, Placed<State>>> {
  const newest = new Map<string, { number: number; key: string }>();
  for await (const { key } of listObjects(bucket, root, signal)) {
    const [name = "", file = ""] = key.slice(root.length).split("/");
    const number = numberIn(file);
    if (number) newest.set(name, { number, key });
  }
  const limit = pLimit(READS_AT_ONCE);
  const read = async (name: string, one: { number: number; key: string }) =>
    [name, await placed(bucket, one, schema, signal)] as const;
  return new Map(await Promise.all([...newest].map(([name, one]) => limit(read, name, one))));
}

async function placed<State>(
  bucket: Bucket,
  { number, key }: { number: number; key: string },
  schema: z.ZodType<State>,
  signal?: AbortSignal,
): Promise<Placed<State>> {
  return { number, key, state: schema.safeParse(jsonOf(await readObject(bucket, key, signal))).data };
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}
