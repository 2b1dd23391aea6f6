import { randomUUID } from "node:crypto";
import { open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LifeboatError } from "../errors.ts";
import type { Bucket } from "../ports.ts";

/** Bytes that can be read by ranges. */
export interface Source {
  /** For messages. */
  readonly name: string;
  readonly size: number;
  /** Exactly the bytes from `start` up to `end`: `corrupt` when there are fewer. */
  read(start: number, end: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** An object of a bucket, decrypted where the bucket does that; undefined when it isn't there. */
export async function bucketSource(bucket: Bucket, key: string, signal?: AbortSignal): Promise<Source | undefined> {
  if (bucket.source) return bucket.source(key, signal);
  for await (const listed of bucket.list(key, { signal })) {
    if (listed.key !== key) return undefined;
    return {
      name: key,
      size: listed.size,
      async read(start, end) {
        const chunks: Buffer[] = [];
        for await (const chunk of await bucket.get(key, { range: { start, end }, signal })) chunks.push(chunk);
        return whole(key, Buffer.concat(chunks), end - start);
      },
      close: async () => {},
    };
  }
  return undefined;
}

/** Spools `bytes` into a temporary file that nobody else can open and that is gone once closed, or when the process ends. */
export async function spool(name: string, bytes: AsyncIterable<Buffer>): Promise<Source> {
  const path = join(tmpdir(), `lifeboat-spool-${randomUUID()}`);
  const file = await open(path, "wx+", 0o600);
  try {
    // Without a name already: it can't be left behind, whatever happens.
    await rm(path);
    let size = 0;
    for await (const chunk of bytes) {
      await file.writeFile(chunk);
      size += chunk.length;
    }
    return {
      name,
      size,
      async read(start, end) {
        const buffer = Buffer.allocUnsafeSlow(end - start);
        const { bytesRead } = await file.read(buffer, 0, buffer.length, start);
        return whole(name, buffer.subarray(0, bytesRead), end - start);
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function whole(name: string, bytes: Buffer, length: number): Buffer {
  if (bytes.length !== length) {
    throw new LifeboatError("corrupt", `${name} ends too early: ${length} bytes were wanted, ${bytes.length} came`, {
      key: name,
    });
  }
  return bytes;
}
