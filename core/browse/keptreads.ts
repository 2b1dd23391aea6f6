import type { Bucket } from "../ports.ts";

/** Of what is read most is in segments and members of this size at most, compressed. */
const LARGEST = 2 * 1024 * 1024;

/** A bucket that keeps the ranges that were read last, `most` bytes of them: who looks around comes back to the same ones. */
export function keptReads(bucket: Bucket, most = 32 * 1024 * 1024): Bucket {
  const kept = new Map<string, { size: number; bytes: Promise<Buffer> }>();
  let total = 0;

  function forget(id: string): void {
    total -= kept.get(id)?.size ?? 0;
    kept.delete(id);
  }

  return {
    location: bucket.location,
    put: (key, body, options) => bucket.put(key, body, options),
    list: (prefix, options) => bucket.list(prefix, options),
    delete: (key, options) => bucket.delete(key, options),
    async get(key, options = {}) {
      const { range } = options;
      if (!range || range.end - range.start > LARGEST) return await bucket.get(key, options);
      const id = `${range.start}-${range.end} ${key}`;
      const size = range.end - range.start;
      const bytes = kept.get(id)?.bytes ?? readWhole(bucket, key, options);
      forget(id);
      kept.set(id, { size, bytes });
      total += size;
      for (const oldest of kept.keys()) {
        if (total <= most) break;
        forget(oldest);
      }
      try {
        return once(await bytes);
      } catch (error) {
        if (kept.get(id)?.bytes === bytes) forget(id);
        throw error;
      }
    },
  };
}

async function readWhole(bucket: Bucket, key: string, options: Parameters<Bucket["get"]>[1]): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(await bucket.get(key, options)));
}

/** A copy: who reads may give the memory of what it got back. */
async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield Buffer.from(bytes);
}
