import { isLifeboatError, LifeboatError } from "./errors.ts";
import type { Bucket } from "./ports.ts";

/** Creates an object: false where it is there already. Throws what else the bucket throws. */
export async function putOnce(bucket: Bucket, key: string, body: Buffer, signal?: AbortSignal): Promise<boolean> {
  try {
    await bucket.put(key, body, { ifAbsent: true, signal });
    return true;
  } catch (error) {
    if (isLifeboatError(error, "conflict")) return false;
    throw error;
  }
}

/** Creates an object of JSON; as `putOnce`. */
export function putJsonOnce(bucket: Bucket, key: string, content: object, signal?: AbortSignal): Promise<boolean> {
  return putOnce(bucket, key, Buffer.from(`${JSON.stringify(content)}\n`), signal);
}

/** The newest object of a row. */
export interface Newest {
  number: number;
  key: string;
  modified: Date;
}

const DIGITS = 6;
const NUMBERED = new RegExp(`^(\\d{${DIGITS}})\\.json$`);

/**
 * The key of one of a row's objects, which are numbered from 1: nothing is overwritten (design: 6.2), so what changes is a
 * row, and its newest object says how it is now. Of any number of writers of a number one wins. Throws `corrupt` for the number
 * after the last one, which no row of ours comes to.
 */
export function numberedKey(folder: string, number: number): string {
  const keyOf = (one: number) => `${folder}${String(one).padStart(DIGITS, "0")}.json`;
  if (number < 10 ** DIGITS) return keyOf(number);
  const key = keyOf(10 ** DIGITS - 1);
  throw new LifeboatError("corrupt", `nothing can follow ${key}, which is the last of its row`, {
    ...{ key, hint: "no row gets so long by itself: find out who writes there, and take that object away" },
  });
}

/** The number of a row's object, by what follows the folder in its key; undefined for another object. */
export function numberIn(file: string): number | undefined {
  const number = NUMBERED.exec(file)?.[1];
  return number === undefined ? undefined : Number(number);
}

/** The newest object of the row in a folder, which may hold others too; undefined where there is none. */
export async function newestOf(bucket: Bucket, folder: string, signal?: AbortSignal): Promise<Newest | undefined> {
  let newest: Newest | undefined;
  for await (const { key, modified } of listObjects(bucket, folder, signal)) {
    const number = numberIn(key.slice(folder.length));
    if (number) newest = { number, key, modified };
  }
  return newest;
}

/** Every object whose key begins with `prefix`, in the order of their keys. */
export async function* listObjects(bucket: Bucket, prefix: string, signal?: AbortSignal) {
  for await (const listed of bucket.list(prefix, { signal })) if (listed.key !== undefined) yield listed;
}
