import { randomUUID } from "node:crypto";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  S3Client,
} from "@aws-sdk/client-s3";
import {
  type Bucket,
  checkKey,
  checkRange,
  compareKeys,
  isLifeboatError,
  LifeboatError,
  type Listed,
  readLocation,
} from "../../core/index.ts";
import { awsError, awsStatus } from "./errors.ts";
import { type Ask, putStream, putWhole } from "./upload.ts";

const CONNECT_MS = 10_000;
/** Without a byte in either direction; more than a slow reader of ours needs. */
const SILENCE_MS = 300_000;
/** The metadata that tells which put wrote an object. */
const WRITER = "lifeboat-put";
const LOCK_MODES = { governance: "GOVERNANCE", compliance: "COMPLIANCE" } as const;

/**
 * The bucket at `s3://bucket/prefix?region=R&endpoint=URL&forcePathStyle=true`, with the credentials that the AWS SDK
 * finds. The region: the parameter, else AWS_REGION, else AWS_DEFAULT_REGION, else us-east-1 where an endpoint is
 * given. Throws `invalid` for a location that can't be used. A streamed put needs two parts (16 MiB) of memory.
 */
export function s3Bucket(location: URL): Bucket {
  const { bucket, prefix, parameters } = readLocation(location, ["region", "endpoint", "forcePathStyle"]);
  if (!bucket)
    throw new LifeboatError("invalid", "the s3 location names no bucket", { hint: "write s3://bucket/prefix" });
  const client = connect(parameters);

  const object = (key: string) => {
    checkKey(key);
    return { Bucket: bucket, Key: prefix + key };
  };
  const failure = (wanted: string, signal: AbortSignal | undefined, error: unknown): unknown =>
    signal?.aborted ? signal.reason : awsError(error, `${wanted} in ${location.href}`);
  const asking =
    (wanted: string): Ask =>
    async (signal, request) => {
      signal?.throwIfAborted();
      try {
        return await request({ abortSignal: signal });
      } catch (error) {
        throw failure(wanted, signal, error);
      }
    };

  return {
    location: location.href,

    async put(key, body, { ifAbsent = false, retain, signal } = {}) {
      const ask = asking(`put ${key}`);
      const writer = randomUUID();
      const target = {
        ...object(key),
        Metadata: { [WRITER]: writer },
        IfNoneMatch: ifAbsent ? "*" : undefined,
        ...(retain && { ObjectLockMode: LOCK_MODES[retain.mode], ObjectLockRetainUntilDate: retain.until }),
      };
      try {
        await (Buffer.isBuffer(body)
          ? putWhole(client, ask, target, body, signal)
          : putStream(client, ask, target, body, signal));
      } catch (error) {
        if (!isLifeboatError(error, "conflict")) throw error;
        // When an answer is lost, the SDK repeats a put that has succeeded, and meets its own object.
        const request = new HeadObjectCommand(object(key));
        const found = await client.send(request, { abortSignal: signal }).catch(() => undefined);
        if (found?.Metadata?.[WRITER] !== writer) throw error;
      }
    },

    async get(key, { range, signal } = {}) {
      checkRange(range);
      const wanted = `get ${key}`;
      const ask = asking(wanted);
      const source = object(key);
      if (range && range.start === range.end) {
        await ask(signal, (options) => client.send(new HeadObjectCommand(source), options));
        return nothing();
      }
      const Range = range && `bytes=${range.start}-${range.end - 1}`;
      const body = await ask(signal, async (options) => {
        try {
          return (await client.send(new GetObjectCommand({ ...source, Range }), options)).Body;
        } catch (error) {
          if (Range && awsStatus(error) === 416) return undefined;
          throw error;
        }
      });
      return body ? read(body as unknown as AsyncIterable<Buffer>) : nothing();

      async function* read(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
        try {
          yield* bytes;
        } catch (error) {
          throw failure(wanted, signal, error);
        }
      }
    },

    async *list(wanted, { delimiter, signal } = {}) {
      const ask = asking(`list "${wanted}"`);
      const request = { Bucket: bucket, Prefix: prefix + wanted, Delimiter: delimiter };
      let ContinuationToken: string | undefined;
      do {
        const page = await ask(signal, (options) =>
          client.send(new ListObjectsV2Command({ ...request, ContinuationToken }), options),
        );
        yield* listedOf(page, prefix.length);
        ContinuationToken = page.NextContinuationToken;
      } while (ContinuationToken);
    },

    async delete(key, { signal } = {}) {
      const target = object(key);
      const ask = asking(`delete ${key}`);
      // S3 itself only hides a locked object, behind a marker, and says that it is deleted.
      const until = await ask(signal, (options) => lockedUntil(client, target, options));
      if (until && until > new Date()) {
        throw new LifeboatError("conflict", `can't delete ${key} in ${location.href}: it is locked`, {
          hint: `its object lock ends on ${until.toISOString()}`,
        });
      }
      await ask(signal, (options) => client.send(new DeleteObjectCommand(target), options));
    },
  };
}

/** The end of the object's lock, as far as we may know it; undefined too where there is no object. */
async function lockedUntil(
  client: S3Client,
  target: { Bucket: string; Key: string },
  options: { abortSignal: AbortSignal | undefined },
): Promise<Date | undefined> {
  try {
    return (await client.send(new HeadObjectCommand(target), options)).ObjectLockRetainUntilDate;
  } catch (error) {
    // Whoever may delete need not be allowed to read.
    if ([403, 404].includes(awsStatus(error) ?? 0)) return undefined;
    throw error;
  }
}

/** A page's objects and prefixes, which S3 gives apart, in one order. */
function listedOf(page: ListObjectsV2CommandOutput, prefixLength: number): Listed[] {
  const objects = (page.Contents ?? []).map(
    ({ Key = "", Size = 0, LastModified = new Date(0) }): Listed => ({
      key: Key.slice(prefixLength),
      size: Size,
      modified: LastModified,
    }),
  );
  const prefixes = (page.CommonPrefixes ?? []).map(
    ({ Prefix = "" }): Listed => ({ prefix: Prefix.slice(prefixLength) }),
  );
  // Consoles mark a "folder" by an empty object of its name; that of the location's own prefix has no key here.
  return [...objects, ...prefixes].filter(nameOf).sort((a, b) => compareKeys(nameOf(a), nameOf(b)));
}

/**
 * The checksums of the SDK are headers that not every S3 clone knows: with an endpoint they are sent only where the
 * environment asks for them (AWS_REQUEST_CHECKSUM_CALCULATION=WHEN_SUPPORTED, say for object lock). The signature
 * covers the body's SHA-256 in any case. What is read has digests of ours.
 */
function connect(parameters: { region?: string; endpoint?: string; forcePathStyle?: string }): S3Client {
  const { endpoint, forcePathStyle = "false" } = parameters;
  const env = process.env;
  const region = parameters.region || env.AWS_REGION || env.AWS_DEFAULT_REGION || (endpoint && "us-east-1");
  if (!region) {
    throw new LifeboatError("invalid", "the s3 location names no region, nor does the environment", {
      hint: "add ?region=R to the location, or set AWS_REGION",
    });
  }
  if (!["true", "false"].includes(forcePathStyle)) {
    throw new LifeboatError("invalid", `the s3 location's forcePathStyle is ${forcePathStyle}, not true or false`);
  }
  if (endpoint !== undefined) checkEndpoint(endpoint);
  return new S3Client({
    region,
    forcePathStyle: forcePathStyle === "true",
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: SILENCE_MS },
    ...(endpoint && { endpoint }),
    ...(endpoint && !env.AWS_REQUEST_CHECKSUM_CALCULATION && { requestChecksumCalculation: "WHEN_REQUIRED" }),
  });
}

function checkEndpoint(endpoint: string): void {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url && ["http:", "https:"].includes(url.protocol) && !url.username && !url.password) return;
  throw new LifeboatError("invalid", "the s3 location's endpoint is not a http(s) URL without credentials", {
    hint: "write endpoint=https://host:port",
  });
}

async function* nothing(): AsyncGenerator<Buffer> {}

const nameOf = (listed: Listed) => listed.key ?? listed.prefix;
