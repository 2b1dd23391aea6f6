import { type Bucket, LifeboatError, parseLocation, readLocation } from "../../core/index.ts";

/** Each scheme's adapter, loaded only when it is asked for. */
const ADAPTERS: Record<string, (location: URL) => Promise<Bucket>> = {
  "file:": async (location) => (await import("./bucket.ts")).directoryBucket(directoryOf(location)),
  "s3:": async (location) => (await import("../aws/bucket.ts")).s3Bucket(location),
};

const PLANNED = ["gs:", "azblob:"];

/**
 * The bucket at a location: `file:///directory`, `s3://bucket/prefix?region=R&endpoint=URL&forcePathStyle=true`, or a
 * directory's path that begins with "/", "./" or "../". Throws `invalid`; nothing is asked of the bucket yet.
 */
export async function openLocation(location: string): Promise<Bucket> {
  const url = parseLocation(location);
  const open = ADAPTERS[url.protocol];
  if (open) return open(url);
  const schemes = Object.keys(ADAPTERS).map((scheme) => `${scheme}//`);
  throw new LifeboatError(
    "invalid",
    PLANNED.includes(url.protocol)
      ? `locations of ${url.protocol}// are not supported yet`
      : `no location has the scheme ${url.protocol}`,
    { hint: `a location begins with ${schemes.join(" or ")}` },
  );
}

function directoryOf(location: URL): string {
  const { bucket: host, prefix: path } = readLocation(location, []);
  if (!host) return `/${path}`;
  throw new LifeboatError("invalid", `the file location names the host ${host}`, {
    hint: "a directory's URL has three slashes: file:///directory",
  });
}
