import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { z } from "zod";
import { sha256 } from "./archive/gzip.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import { putOnce } from "./once.ts";
import type { Bucket, Listed } from "./ports.ts";

const gunzipBuffer = promisify(gunzip);
const gzipBuffer = promisify(gzip);

/** Side files larger than this are refused, as Velero's own readers do. */
const MAX_SIDE_FILE_BYTES = 1 << 30;

/** The keys and sizes of all that lies in a folder of the location. */
export async function listFolder(bucket: Bucket, folder: string, signal?: AbortSignal): Promise<Map<string, number>> {
  const keys = new Map<string, number>();
  for await (const listed of bucket.list(folder, { signal })) if (isObject(listed)) keys.set(listed.key, listed.size);
  return keys;
}

/** The names of the folders in a folder of the location ("": in the location itself) that begin with `stem`, in their order. */
export async function folderNames(
  bucket: Bucket,
  folder: string,
  { stem = "", signal }: { stem?: string; signal?: AbortSignal } = {},
): Promise<string[]> {
  const listed = await Array.fromAsync(bucket.list(`${folder}${stem}`, { delimiter: "/", signal }));
  return listed.flatMap(({ prefix }) => (prefix === undefined ? [] : prefix.slice(folder.length, -1)));
}

function isObject(listed: Listed): listed is Listed & { key: string } {
  return listed.key !== undefined;
}

/** A gzipped side file as text; undefined where it was never written. `corrupt` where it can't be unzipped. */
export async function readSideFile(bucket: Bucket, key: string, signal?: AbortSignal): Promise<string | undefined> {
  let body: Buffer;
  try {
    body = await readObject(bucket, key, signal);
  } catch (error) {
    if (isLifeboatError(error, "missing")) return undefined;
    throw error;
  }
  try {
    return (await gunzipBuffer(body, { maxOutputLength: MAX_SIDE_FILE_BYTES })).toString();
  } catch (cause) {
    throw new LifeboatError("corrupt", `${key} can't be unzipped`, { cause });
  }
}

/**
 * Writes a side file, text or already gzipped, unless it is already there: an interrupted run may have left it, and
 * what it left was made from the same archive. Gives the SHA-256 of what is there.
 */
export async function writeSideFile(
  bucket: Bucket,
  key: string,
  body: string | Buffer,
  signal?: AbortSignal,
): Promise<string> {
  const bytes = typeof body === "string" ? await gzipBuffer(body) : body;
  return sha256((await putOnce(bucket, key, bytes, signal)) ? bytes : await readObject(bucket, key, signal));
}

/** A small object, whole. Larger ones than a side file may be are `corrupt`. */
export async function readObject(bucket: Bucket, key: string, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of await bucket.get(key, { signal })) {
    size += chunk.length;
    if (size > MAX_SIDE_FILE_BYTES)
      throw new LifeboatError("corrupt", `${key} is larger than ${MAX_SIDE_FILE_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What a small object of JSON holds. Throws `missing`, `corrupt` where that is something else, and what the bucket throws. */
export async function readJson<T>(bucket: Bucket, key: string, schema: z.ZodType<T>, signal?: AbortSignal): Promise<T> {
  try {
    return schema.parse(JSON.parse((await readObject(bucket, key, signal)).toString()));
  } catch (cause) {
    if (!(cause instanceof SyntaxError) && !(cause instanceof z.ZodError)) throw cause;
    throw new LifeboatError("corrupt", `${key} does not hold what its name says`, { cause });
  }
}
