import { createHash } from "node:crypto";
import { basename } from "node:path/posix";
import { bucketSource, type Source } from "../archive/source.ts";
import { LifeboatError } from "../errors.ts";
import type { Bucket, Listed } from "../ports.ts";
import { contentOf, decrypted, encrypted, encrypterFor } from "./age.ts";

/** How the keys of encrypted objects end. */
export const ENCRYPTED = ".age";

/** A bucket whose encrypted objects are read as what is in them, at the sizes that they have. */
interface UnlockedBucket extends Bucket {
  /** As it is stored. */
  stored: Bucket;
}

/**
 * The bucket, with what is encrypted in it readable for who has one of the identities: `get` and `list` of such objects
 * tell of what is in them. Without one that fits, `get` throws `denied`. Puts and deletions are those of `bucket`.
 * `identities` is asked for the first encrypted object: who only writes need not be allowed to read them.
 */
export function unlocked(bucket: Bucket, identities: () => Promise<string[]>): Bucket {
  const sources = new Map<string, Promise<Source>>();
  const open = async (key: string, signal?: AbortSignal) => {
    const file = await bucketSource(bucket, key, signal);
    if (!file) throw new LifeboatError("missing", `can't get ${key} in ${bucket.location}: no such object`);
    return decrypted(file, await identities());
  };
  // Objects are written once, so what was found of one holds; but not a failure.
  const sourceOf = (key: string, signal?: AbortSignal): Promise<Source> => {
    const known = sources.get(key) ?? open(key, signal);
    sources.set(key, known);
    known.catch(() => sources.delete(key));
    return known;
  };
  const unlockedBucket: UnlockedBucket = {
    ...bucket,
    stored: bucket,
    async get(key, options) {
      if (!key.endsWith(ENCRYPTED)) return bucket.get(key, options);
      return contentOf(await sourceOf(key, options?.signal), options?.range);
    },
    async *list(prefix, options) {
      for await (const listed of bucket.list(prefix, options)) {
        // Only who asks for one object wants to know how much is in it.
        const wanted = listed.key === prefix && listed.key.endsWith(ENCRYPTED);
        yield wanted ? ({ ...listed, size: (await sourceOf(prefix, options?.signal)).size } as Listed) : listed;
      }
    },
  };
  return unlockedBucket;
}

/** The bucket as it is stored, whether it was unlocked or not: for who copies, holds to digests, or deletes. */
export function storedIn(bucket: Bucket): Bucket {
  return (bucket as Partial<UnlockedBucket>).stored ?? bucket;
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
