import { IdempotencyStrategy, Storage } from "@google-cloud/storage";
import {
  type Bucket,
  checkKey,
  checkRange,
  compareKeys,
  LifeboatError,
  type Listed,
  readLocation,
} from "../../core/index.ts";
import { base64Of, crc32c } from "./crc32c.ts";
import { googleError, googleStatus, isMissingObject, isTransient } from "./errors.ts";
import { isOnThisMachine, NO_PROJECT, send, unlessAborted } from "./http.ts";
import { put } from "./upload.ts";

const PAGE = 1000;
const PAGE_FIELDS = "items(name,size,timeCreated),prefixes,nextPageToken";

interface Page {
  items?: { name: string; size: string; timeCreated: string }[];
  prefixes?: string[];
  nextPageToken?: string;
}

/**
 * The bucket at `gs://bucket/prefix?endpoint=URL`, with the credentials that Google's SDK finds. An endpoint of plain
 * http must be on this machine; it is spoken to without credentials, unless GOOGLE_APPLICATION_CREDENTIALS or
 * GCE_METADATA_HOST names some. Throws `invalid` for a location that can't be used. A streamed put needs two chunks
 * (16 MiB) of memory. What is got whole is checked by its CRC32C; where that is another one, the body ends in `corrupt`.
 */
export function gcsBucket(location: URL): Bucket {
  const { bucket: name, prefix, parameters } = readLocation(location, ["endpoint"]);
  if (!name) {
    throw new LifeboatError("invalid", "the gs location names no bucket", { hint: "write gs://bucket/prefix" });
  }
  const { endpoint } = parameters;
  const auth = endpoint === undefined || needsCredentials(endpoint);
  const storage = new Storage({
    ...NO_PROJECT,
    // All that is sent may be sent twice: a put tells its own object by its writer.
    retryOptions: { idempotencyStrategy: IdempotencyStrategy.RetryAlways, retryableErrorFn: isTransient },
    ...(endpoint !== undefined && { apiEndpoint: endpoint, useAuthWithCustomEndpoint: auth }),
  });
  const bucket = storage.bucket(name);

  const fileOf = (key: string) => {
    checkKey(key);
    return bucket.file(prefix + key);
  };
  const failure = (wanted: string, signal: AbortSignal | undefined, error: unknown): unknown =>
    signal?.aborted ? signal.reason : googleError(error, `${wanted} in ${location.href}`);
  const asking =
    (wanted: string, signal: AbortSignal | undefined) =>
    async <T>(request: () => Promise<T>): Promise<T> => {
      signal?.throwIfAborted();
      try {
        return await unlessAborted(request(), signal);
      } catch (error) {
        throw failure(wanted, signal, error);
      }
    };

  return {
    location: location.href,

    async put(key, body, { ifAbsent = false, retain, signal } = {}) {
      await put(asking(`put ${key}`, signal), fileOf(key), body, { ifAbsent, retain, signal });
    },

    async get(key, { range, signal } = {}) {
      checkRange(range);
      const wanted = `get ${key}`;
      const ask = asking(wanted, signal);
      const file = fileOf(key);
      if (range && range.start === range.end) {
        await ask(() => file.getMetadata());
        return nothing();
      }
      // Not by the SDK's `createReadStream`, which warns of its own listeners and knows no signal.
      const answer = await ask(async () => {
        try {
          return await send<AsyncIterable<Uint8Array>>(auth ? storage.authClient : undefined, {
            url: `${storage.baseUrl}/b/${encodeURIComponent(name)}/o/${encodeURIComponent(file.name)}?alt=media`,
            // With gzip accepted, what is stored as gzip comes as it is stored.
            headers: { "accept-encoding": "gzip", ...(range && { range: `bytes=${range.start}-${range.end - 1}` }) },
            responseType: "stream",
            signal,
          });
        } catch (error) {
          if (range && googleStatus(error) === 416) return undefined;
          throw error;
        }
      });
      return answer ? read(answer.data, range ? undefined : checksumOf(answer.headers)) : nothing();

      async function* read(bytes: AsyncIterable<Uint8Array>, checksum: string | undefined): AsyncGenerator<Buffer> {
        let sum = 0;
        try {
          for await (const chunk of bytes) {
            const buffer = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
            if (checksum !== undefined) sum = crc32c(buffer, sum);
            yield buffer;
          }
        } catch (error) {
          throw failure(wanted, signal, error);
        }
        if (checksum === undefined || base64Of(sum) === checksum) return;
        throw new LifeboatError(
          "corrupt",
          `what came of ${key} in ${location.href} has another CRC32C than the object`,
        );
      }
    },

    async *list(wanted, { delimiter, signal } = {}) {
      const ask = asking(`list "${wanted}"`, signal);
      const query = { prefix: prefix + wanted, delimiter, maxResults: PAGE, fields: PAGE_FIELDS, autoPaginate: false };
      let pageToken: string | undefined;
      do {
        const [, , answer] = await ask(() => bucket.getFiles({ ...query, pageToken }));
        const page = answer as Page;
        yield* listedOf(page, prefix.length);
        pageToken = page.nextPageToken;
      } while (pageToken);
    },

    async delete(key, { signal } = {}) {
      const file = fileOf(key);
      await asking(
        `delete ${key}`,
        signal,
      )(async () => {
        try {
          await file.delete();
        } catch (error) {
          if (!isMissingObject(error)) throw error;
        }
      });
    },
  };
}

/** A page's objects and prefixes, which Cloud Storage gives apart, in one order. */
function listedOf({ items = [], prefixes = [] }: Page, prefixLength: number): Listed[] {
  const objects = items.map(
    ({ name, size, timeCreated }): Listed => ({
      key: name.slice(prefixLength),
      size: Number(size),
      modified: new Date(timeCreated),
    }),
  );
  const folded = prefixes.map((prefix): Listed => ({ prefix: prefix.slice(prefixLength) }));
  // Consoles mark a "folder" by an empty object of its name; that of the location's own prefix has no key here.
  return [...objects, ...folded].filter(nameOf).sort((a, b) => compareKeys(nameOf(a), nameOf(b)));
}

/** The CRC32C of what is stored, unless something else comes than that. */
function checksumOf(headers: Headers): string | undefined {
  const stored = headers.get("x-goog-stored-content-encoding");
  return stored === "identity" ? /crc32c=([^,\s]+)/.exec(headers.get("x-goog-hash") ?? "")?.[1] : undefined;
}

function needsCredentials(endpoint: string): boolean {
  if (!isOnThisMachine(endpoint, "the gs location's endpoint")) return true;
  const { GOOGLE_APPLICATION_CREDENTIALS, GCE_METADATA_HOST } = process.env;
  return Boolean(GOOGLE_APPLICATION_CREDENTIALS || GCE_METADATA_HOST);
}

async function* nothing(): AsyncGenerator<Buffer> {}

const nameOf = (listed: Listed) => listed.key ?? listed.prefix;
