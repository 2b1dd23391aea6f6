import { abortable, checkKey, checkRange, compareKeys } from "../core/bucket.ts";
import { LifeboatError } from "../core/errors.ts";
import type { Bucket, Listed } from "../core/ports.ts";

/** The port's contract at its shortest: a bucket in memory, for tests of the core. */
export function memoryBucket(): Bucket {
  const location = "memory://";
  const objects = new Map<string, { bytes: Buffer; modified: Date; until?: Date }>();
  const checkHeld = (key: string) => {
    const { until } = objects.get(key) ?? {};
    if (until && until > new Date()) throw new LifeboatError("conflict", `${key} is held until ${until.toISOString()}`);
  };
  return {
    location,
    async put(key, body, { ifAbsent = false, retain, signal } = {}) {
      checkKey(key);
      signal?.throwIfAborted();
      const chunks: Buffer[] = [];
      for await (const chunk of Buffer.isBuffer(body) ? [body] : abortable(body, signal)) chunks.push(chunk);
      signal?.throwIfAborted();
      if (ifAbsent && objects.has(key)) throw new LifeboatError("conflict", `can't put ${key}: it exists already`);
      checkHeld(key);
      objects.set(key, { bytes: Buffer.concat(chunks), modified: new Date(), until: retain?.until });
    },
    async get(key, { range, signal } = {}) {
      checkKey(key);
      checkRange(range);
      signal?.throwIfAborted();
      const object = objects.get(key);
      if (!object) throw new LifeboatError("missing", `can't get ${key} in ${location}: no such object`);
      return chunksOf(Buffer.from(object.bytes.subarray(range?.start, range?.end)), signal);
    },
    async *list(prefix, { delimiter, signal } = {}) {
      let folded: string | undefined;
      for (const key of [...objects.keys()].filter((key) => key.startsWith(prefix)).sort(compareKeys)) {
        signal?.throwIfAborted();
        const end = delimiter ? key.indexOf(delimiter, prefix.length) + 1 : 0;
        const object = objects.get(key);
        if (end > 0) {
          if (key.slice(0, end) === folded) continue;
          folded = key.slice(0, end);
          yield { prefix: folded } satisfies Listed;
        } else if (object) {
          yield { key, size: object.bytes.length, modified: object.modified } satisfies Listed;
        }
      }
    },
    async delete(key, { signal } = {}) {
      checkKey(key);
      signal?.throwIfAborted();
      checkHeld(key);
      objects.delete(key);
    },
  };
}

async function* chunksOf(bytes: Buffer, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += 65_536) {
    signal?.throwIfAborted();
    yield bytes.subarray(start, start + 65_536);
  }
}
