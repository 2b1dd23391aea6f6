import { orAborted } from "./abort.ts";
import { LifeboatError } from "./errors.ts";

const CONTROL_CHARACTER = /\p{Cc}/u;
const MAX_KEY_BYTES = 1024;

/**
 * Throws `invalid` for a key that some bucket could not keep as it is: empty, longer than 1024 bytes (the limit of S3
 * and Cloud Storage), with a segment that is empty, "." or "..", with a control character or a lone surrogate, or with a
 * backslash (which Azure takes for a slash).
 */
export function checkKey(key: string): void {
  const reason = faultOf(key);
  if (reason) throw new LifeboatError("invalid", `the key ${JSON.stringify(key.slice(0, 200))} ${reason}`);
}

function faultOf(key: string): string | undefined {
  if (key === "") return "is empty";
  if (!key.isWellFormed()) return "is not valid Unicode";
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) return `is longer than ${MAX_KEY_BYTES} bytes`;
  if (CONTROL_CHARACTER.test(key)) return "holds a control character";
  if (key.includes("\\")) return "holds a backslash";
  if (key.split("/").some((segment) => segment === "" || segment === "." || segment === ".."))
    return 'has a segment that is empty, "." or ".."';
  return undefined;
}

/** Throws `invalid` unless `range` is made of two integers, 0 <= start <= end. */
export function checkRange(range: { start: number; end: number } | undefined): void {
  if (!range) return;
  const { start, end } = range;
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && 0 <= start && start <= end) return;
  throw new LifeboatError("invalid", `the range ${start} to ${end} is not one of bytes`);
}

/** The order of keys in every listing: by their UTF-8 bytes, which differs from JavaScript's beyond U+D7FF. */
export function compareKeys(a: string, b: string): number {
  return a === b ? 0 : Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/**
 * `source`, ended with the signal's reason as soon as it is aborted, even while the source is silent. The source is
 * closed when the consumer stops, but not waited for.
 */
export async function* abortable<T>(source: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      const next = await nextUnlessAborted(iterator, signal);
      ended = next.done === true;
      if (next.done) return;
      yield next.value;
    }
  } catch (error) {
    ended ||= !signal?.aborted;
    throw error;
  } finally {
    if (!ended) iterator.return?.().catch(() => {});
  }
}

async function nextUnlessAborted<T>(
  iterator: AsyncIterator<T>,
  signal: AbortSignal | undefined,
): Promise<IteratorResult<T>> {
  signal?.throwIfAborted();
  return orAborted(iterator.next(), signal);
}

/**
 * The bytes in parts of exactly `partBytes`, but for the last one; an empty body has none. Two buffers take turns: a
 * part's bytes hold until the next but one is asked for.
 */
export async function* partsOf(bytes: AsyncIterable<Buffer>, partBytes: number): AsyncGenerator<Buffer, undefined> {
  let part: Buffer = Buffer.allocUnsafeSlow(partBytes);
  let spare: Buffer | undefined;
  let filled = 0;
  for await (let chunk of bytes) {
    while (chunk.length > 0) {
      const taken = chunk.subarray(0, partBytes - filled);
      part.set(taken, filled);
      filled += taken.length;
      chunk = chunk.subarray(taken.length);
      if (filled < partBytes) continue;
      yield part;
      [part, spare] = [spare ?? Buffer.allocUnsafeSlow(partBytes), part];
      filled = 0;
    }
  }
  if (filled > 0) yield part.subarray(0, filled);
}
