import type { Bucket } from "./ports.ts";

/** What a run asked of its bucket, for what that costs. One put may be several requests where its object goes in parts. */
export interface Usage {
  puts: number;
  gets: number;
  /** Pages of 1,000 objects. */
  lists: number;
  /** Of the objects that were stored. */
  storedBytes: number;
}

const PAGE = 1000;

/** `bucket`, and how much it has been asked for up to now. Reads by `source` of a bucket that decrypts are not counted. */
export function counting(bucket: Bucket): { bucket: Bucket; usage: Usage } {
  const usage: Usage = { puts: 0, gets: 0, lists: 0, storedBytes: 0 };
  return {
    usage,
    bucket: {
      ...bucket,
      async put(key, body, options) {
        usage.puts++;
        let bytes = 0;
        const measured = async function* (chunks: AsyncIterable<Buffer>) {
          for await (const chunk of chunks) {
            bytes += chunk.length;
            yield chunk;
          }
        };
        await bucket.put(key, Buffer.isBuffer(body) ? body : measured(body), options);
        usage.storedBytes += Buffer.isBuffer(body) ? body.length : bytes;
      },
      get(key, options) {
        usage.gets++;
        return bucket.get(key, options);
      },
      async *list(prefix, options) {
        let told = 0;
        usage.lists++;
        for await (const listed of bucket.list(prefix, options)) {
          if (told > 0 && told % PAGE === 0) usage.lists++;
          told++;
          yield listed;
        }
      },
    },
  };
}
