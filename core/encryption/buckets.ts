import { createHash } from "node:crypto";
import { basename } from "node:path/posix";
import { bucketSource } from "../archive/source.ts";
import { LifeboatError } from "../errors.ts";
import type { Bucket } from "../ports.ts";
import { contentOf, decrypted, encrypted, encrypterFor } from "./age.ts";

/** How the keys of encrypted objects end. */
export const ENCRYPTED = ".age";

/**
 * The bucket, with what is encrypted in it readable for who has one of the identities. Without one that fits, reading
 * throws `denied`. All else, the sizes in listings too, is as it is stored. `identities` is asked for the first
 * encrypted object: who only writes need not be allowed to read them.
 */
export function unlocked(bucket: Bucket, identities: () => Promise<string[]>): Bucket {
  const stored = storedIn(bucket);
  const source = async (key: string, signal?: AbortSignal) => {
    const file = await bucketSource(stored, key, signal);
    return file && key.endsWith(ENCRYPTED) ? decrypted(file, await identities()) : file;
  };
  return {
    ...bucket,
    source,
    async get(key, options) {
      if (options?.asStored || !key.endsWith(ENCRYPTED)) return stored.get(key, options);
      const file = await source(key, options?.signal);
      if (!file) throw new LifeboatError("missing", `can't get ${key} in ${bucket.location}: no such object`);
      return contentOf(file, options?.range);
    },
  };
}

/** The bucket with all that is read from it as it is stored: for who copies, or holds to digests. */
export function storedIn(bucket: Bucket): Bucket {
  return { ...bucket, source: undefined, get: (key, options) => bucket.get(key, { ...options, asStored: true }) };
}

/** A bucket that encrypts all that is put into it. */
export interface EncryptingBucket extends Bucket {
  /** The SHA-256 of what it stored, by the last part of the key. */
  digests: Record<string, string>;
}

/** `bucket`, into which everything goes encrypted to these public keys. Throws `invalid` for what is no such key. */
export function encrypting(bucket: Bucket, recipients: string[]): EncryptingBucket {
  const stored = storedIn(bucket);
  const digests: Record<string, string> = {};
  encrypterFor(recipients);
  return {
    ...stored,
    digests,
    async put(key, body, options) {
      const hash = createHash("sha256");
      const bytes = encrypted(Buffer.isBuffer(body) ? oneOf(body) : body, encrypterFor(recipients));
      await stored.put(key, hashing(bytes, hash), options);
      digests[basename(key)] = hash.digest("hex");
    },
  };
}

async function* oneOf(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

async function* hashing(bytes: AsyncIterable<Buffer>, hash: ReturnType<typeof createHash>): AsyncGenerator<Buffer> {
  for await (const chunk of bytes) {
    hash.update(chunk);
    yield chunk;
  }
}
