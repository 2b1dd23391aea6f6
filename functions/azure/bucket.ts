import type { Readable } from "node:stream";
import { ContainerClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import {
  type Bucket,
  checkKey,
  checkRange,
  compareKeys,
  LifeboatError,
  type Listed,
  readLocation,
} from "../../core/index.ts";
import { azureCredential, storageAccess } from "./access.ts";
import { ask, type Conversation, converse } from "./ask.ts";
import { azureCode, azureStatus } from "./errors.ts";
import { putBlob } from "./upload.ts";

const RETRIES = { maxTries: 4, retryDelayInMs: 500, maxRetryDelayInMs: 10_000 };

/**
 * The container at `azblob://container/prefix?account=A&endpoint=URL`; `storageAccess` tells the account and its key,
 * without which `azureCredential` tells who we are. Throws `invalid` for a location that can't be used. A streamed put
 * needs two blocks (16 MiB) of memory. The account must be one without a hierarchical namespace, where the folders are
 * objects too.
 */
export function azureBlobBucket(location: URL): Bucket {
  const { bucket: name, prefix, parameters } = readLocation(location, ["account", "endpoint"]);
  if (!name) {
    throw new LifeboatError("invalid", "the azblob location names no container", {
      hint: "write azblob://container/prefix?account=A",
    });
  }
  if (prefix.includes("\\")) {
    throw new LifeboatError("invalid", "the azblob location holds a backslash, which Azure takes for a slash");
  }
  const { url, key: accountKey } = storageAccess("blob", parameters);
  const credential = accountKey
    ? new StorageSharedKeyCredential(accountKey.account, accountKey.value)
    : azureCredential();
  const container = new ContainerClient(`${url}/${name}`, credential, { retryOptions: RETRIES });
  const blobOf = (key: string) => {
    checkKey(key);
    return container.getBlockBlobClient(prefix + key);
  };

  return {
    location: location.href,

    async put(key, body, { ifAbsent = false, retain, signal } = {}) {
      await putBlob(blobOf(key), body, { wanted: `put ${key} in ${location.href}`, ifAbsent, retain, signal });
    },

    async get(key, { range, signal } = {}) {
      checkRange(range);
      const blob = blobOf(key);
      const server = converse(`get ${key} in ${location.href}`, signal);
      if (range && range.start === range.end) {
        await server.wait((abortSignal) => blob.getProperties({ abortSignal }));
        return nothing();
      }
      const body = await server.wait(async (abortSignal) => {
        try {
          const count = range && range.end - range.start;
          return (await blob.download(range?.start, count, { abortSignal })).readableStreamBody;
        } catch (error) {
          if (range && azureStatus(error) === 416) return undefined;
          throw error;
        }
      });
      return body ? read(body as Readable, server) : nothing();
    },

    async *list(wanted, { delimiter, signal } = {}) {
      const query = { prefix: prefix + wanted };
      let continuationToken: string | undefined;
      do {
        const token = continuationToken;
        const page = await ask(`list "${wanted}" in ${location.href}`, signal, async (abortSignal) => {
          const options = { ...query, abortSignal };
          const blobs = delimiter
            ? container.listBlobsByHierarchy(delimiter, options)
            : container.listBlobsFlat(options);
          return (await blobs.byPage({ continuationToken: token }).next()).value as Page | undefined;
        });
        if (page) yield* listedOf(page, prefix.length);
        continuationToken = page?.continuationToken;
      } while (continuationToken);
    },

    async delete(key, { signal } = {}) {
      const blob = blobOf(key);
      await ask(`delete ${key} in ${location.href}`, signal, async (abortSignal) => {
        try {
          await blob.delete({ abortSignal });
        } catch (error) {
          if (azureCode(error) !== "BlobNotFound") throw error;
        }
      });
    },
  };
}

interface Page {
  segment: {
    blobItems: { name: string; properties: { contentLength?: number; lastModified: Date } }[];
    blobPrefixes?: { name: string }[];
  };
  continuationToken?: string;
}

/** A page's objects and prefixes, which Azure gives apart, in one order. */
function listedOf({ segment: { blobItems, blobPrefixes = [] } }: Page, prefixLength: number): Listed[] {
  const objects = blobItems.map(
    ({ name, properties: { contentLength = 0, lastModified } }): Listed => ({
      key: name.slice(prefixLength),
      size: contentLength,
      modified: lastModified,
    }),
  );
  const prefixes = blobPrefixes.map(({ name }): Listed => ({ prefix: name.slice(prefixLength) }));
  // Consoles mark a "folder" by an empty object of its name; that of the location's own prefix has no key here.
  return [...objects, ...prefixes].filter(nameOf).sort((a, b) => compareKeys(nameOf(a), nameOf(b)));
}

async function* read(body: Readable, server: Conversation): AsyncGenerator<Buffer> {
  const chunks = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  try {
    for (;;) {
      const { value, done } = await server.wait(() => chunks.next());
      if (done) return;
      yield value;
    }
  } finally {
    body.on("error", () => {}).destroy();
  }
}

async function* nothing(): AsyncGenerator<Buffer> {}

const nameOf = (listed: Listed) => listed.key ?? listed.prefix;
