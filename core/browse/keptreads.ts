import { bucketSource } from "../archive/source.ts";
import type { Bucket } from "../ports.ts";

/** A bucket that keeps the ranges of sources that were read last, `most` bytes of them: who looks around comes back to the same ones. */
export function keptReads(bucket: Bucket, most = 32 * 1024 * 1024): Bucket {
  const kept = new Map<string, { size: number; bytes: Promise<Buffer> }>();
  let total = 0;

  function forget(id: string): void {
    total -= kept.get(id)?.size ?? 0;
    kept.delete(id);
  }

  async function keep(id: string, size: number, read: () => Promise<Buffer>): Promise<Buffer> {
    const bytes = kept.get(id)?.bytes ?? read();
    forget(id);
    kept.set(id, { size, bytes });
    total += size;
    for (const oldest of kept.keys()) {
      if (total <= most) break;
      forget(oldest);
    }
    try {
      // A copy: who reads may give the memory of what it got back.
      return Buffer.from(await bytes);
    } catch (error) {
      if (kept.get(id)?.bytes === bytes) forget(id);
      throw error;
    }
  }

  return {
    ...bucket,
    async source(key, signal) {
      const source = await bucketSource(bucket, key, signal);
      if (!source) return undefined;
      const read = (start: number, end: number) =>
        keep(`${start}-${end} ${key}`, end - start, () => source.read(start, end));
      return { ...source, read };
    },
  };
}
