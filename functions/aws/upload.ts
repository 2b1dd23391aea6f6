import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { abortable, partsOf, pause } from "../../core/index.ts";

/** A body below this size is one request. S3 takes 10,000 parts: an object can have 80 GiB. */
const PART_BYTES = 8 * 1024 * 1024;
const CLEAN_UP_MS = 10_000;
const PUTS = 5;
const PAUSE_MS = 50;

/** Sends a request to S3; what it throws is the signal's reason or a LifeboatError. */
export type Ask = <T>(
  signal: AbortSignal | undefined,
  request: (options: { abortSignal: AbortSignal | undefined }) => Promise<T>,
) => Promise<T>;

/** What a put is to write, in S3's words. */
export interface Target {
  Bucket: string;
  Key: string;
  Metadata: Record<string, string>;
  IfNoneMatch: string | undefined;
  ObjectLockMode?: "GOVERNANCE" | "COMPLIANCE";
  ObjectLockRetainUntilDate?: Date;
}

const CRC32: { ChecksumAlgorithm?: "CRC32" } = { ChecksumAlgorithm: "CRC32" };

/** S3 takes no locked object without a checksum, whatever the endpoint. */
function lockChecksum({ ObjectLockMode }: Pick<Target, "ObjectLockMode">): typeof CRC32 {
  return ObjectLockMode ? CRC32 : {};
}

/**
 * Puts a body by one request. Where that met another put of the same key (ConditionalRequestConflict) it is sent again,
 * as AWS asks: whether the object then exists is not known before the other has ended.
 */
export async function putWhole(
  client: S3Client,
  ask: Ask,
  target: Target,
  Body: Buffer,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const done = await ask(signal, async (options) => {
      try {
        await client.send(new PutObjectCommand({ ...target, ...lockChecksum(target), Body }), options);
        return true;
      } catch (error) {
        if (attempt < PUTS && error instanceof Error && error.name === "ConditionalRequestConflict") return false;
        throw error;
      }
    });
    if (done) return;
    await pause(2 ** attempt * PAUSE_MS * Math.random(), signal);
  }
}

/** Puts a stream: by one request if it is shorter than a part, else as a multipart upload. */
export async function putStream(
  client: S3Client,
  ask: Ask,
  target: Target,
  body: AsyncIterable<Buffer>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const failed = new AbortController();
  const stop = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
  const parts = partsOf(abortable(body, stop), PART_BYTES);
  try {
    const { value: first = Buffer.alloc(0) } = await parts.next();
    if (first.length === PART_BYTES) return await putParts(client, ask, target, first, parts, stop, failed);
    await putWhole(client, ask, target, first, signal);
  } finally {
    await parts.return(undefined);
  }
}

/**
 * A multipart upload: one part is under way while the next one fills. The condition is checked when it completes.
 * Any failure aborts the upload, so that no parts stay (and cost). Not by `@aws-sdk/lib-storage`: after a failed part
 * it reads the body to its end, on a signal it returns before its parts are gone, and an error while it cleans up
 * hides the body's own.
 */
async function putParts(
  client: S3Client,
  ask: Ask,
  { Metadata, IfNoneMatch, ObjectLockMode, ObjectLockRetainUntilDate, ...object }: Target,
  first: Buffer,
  parts: AsyncIterator<Buffer, undefined>,
  stop: AbortSignal,
  failed: AbortController,
): Promise<void> {
  const lock = { ObjectLockMode, ObjectLockRetainUntilDate };
  const checksums = (await client.config.requestChecksumCalculation()) === "WHEN_SUPPORTED";
  const { ChecksumAlgorithm } = checksums ? CRC32 : lockChecksum(lock);
  const { UploadId } = await ask(stop, (options) =>
    client.send(new CreateMultipartUploadCommand({ ...object, ...lock, Metadata, ChecksumAlgorithm }), options),
  );
  const sent: Promise<CompletedPart>[] = [];
  const send = async (PartNumber: number, Body: Buffer): Promise<CompletedPart> => {
    const part = { ...object, UploadId, PartNumber, Body, ChecksumAlgorithm };
    const { ETag, ChecksumCRC32 } = await ask(stop, (options) => client.send(new UploadPartCommand(part), options));
    return { PartNumber, ETag, ChecksumCRC32 };
  };
  try {
    for (let part: Buffer | undefined = first; part; part = (await parts.next()).value) {
      const sending = send(sent.length + 1, part);
      sending.catch((error: unknown) => failed.abort(error));
      sent.push(sending);
      await sent.at(-2);
    }
    const MultipartUpload = { Parts: await Promise.all(sent) };
    await ask(stop, (options) =>
      client.send(new CompleteMultipartUploadCommand({ ...object, UploadId, MultipartUpload, IfNoneMatch }), options),
    );
  } catch (error) {
    failed.abort(error);
    await Promise.allSettled(sent);
    // What a failure here leaves are invisible parts: the bucket's lifecycle rule removes them.
    const options = { abortSignal: AbortSignal.timeout(CLEAN_UP_MS) };
    await client.send(new AbortMultipartUploadCommand({ ...object, UploadId }), options).catch(() => {});
    throw error;
  }
}
