import { randomUUID } from "node:crypto";
import type { File } from "@google-cloud/storage";
import { abortable, isLifeboatError, LifeboatError, type ObjectRetention } from "../../core/index.ts";
import { base64Of, crc32c } from "./crc32c.ts";
import { send } from "./http.ts";

/** A multiple of 256 KiB, as Cloud Storage wants it. */
const CHUNK_BYTES = 8 * 1024 * 1024;
/** The metadata that tells which put wrote an object. */
const WRITER = "lifeboat-put";
/** Of object retention; an unlocked one can be shortened by who may override it. */
const RETENTION_MODES = { governance: "Unlocked", compliance: "Locked" };

/** Runs a request; what it throws is the signal's reason or a LifeboatError. */
export type Ask = <T>(request: () => Promise<T>) => Promise<T>;

interface Chunk {
  bytes: Buffer;
  last: boolean;
}

/**
 * Puts a body by a resumable upload, of which nothing is visible before its last chunk is complete and has the CRC32C
 * that goes with it. One chunk is under way while the next one fills. Not by the SDK's `createWriteStream`: a chunk that
 * was cut ends the put, requests go on after its abort, and another endpoint gets no token.
 */
export async function put(
  ask: Ask,
  file: File,
  body: Buffer | AsyncIterable<Buffer>,
  { ifAbsent, retain, signal }: { ifAbsent: boolean; retain?: ObjectRetention; signal: AbortSignal | undefined },
): Promise<void> {
  const failed = new AbortController();
  const stop = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
  const writer = randomUUID();
  const session = () =>
    file.createResumableUpload({
      metadata: {
        contentType: "application/octet-stream",
        metadata: { [WRITER]: writer },
        ...(retain && {
          retention: { mode: RETENTION_MODES[retain.mode], retainUntilTime: retain.until.toISOString() },
        }),
      },
      preconditionOpts: ifAbsent ? { ifGenerationMatch: 0 } : {},
    });
  let sum = 0;
  let url: string | undefined;
  let size = 0;
  let wholly = false;
  let sending: Promise<void> | undefined;

  const sendChunk = async ({ bytes, last }: Chunk): Promise<void> => {
    sum = crc32c(bytes, sum);
    const start = size;
    size += bytes.length;
    wholly = last;
    if (url === undefined) [url] = await ask(session);
    const upload = url;
    await ask(() => deliver(upload, bytes, start, last ? base64Of(sum) : undefined, stop));
  };
  // When an answer is lost, a put that has succeeded is repeated, and meets its own object.
  const arrived = async (): Promise<boolean> => {
    if (!wholly) return false;
    const [found] = await file.getMetadata().catch(() => []);
    return found?.metadata?.[WRITER] === writer && Number(found.size) === size;
  };

  try {
    for await (const chunk of Buffer.isBuffer(body) ? [{ bytes: body, last: true }] : chunksOf(abortable(body, stop))) {
      await sending;
      sending = sendChunk(chunk);
      sending.catch((error: unknown) => failed.abort(error));
    }
    await sending;
  } catch (error) {
    failed.abort(error);
    await Promise.allSettled([sending]);
    if (signal?.aborted || !(await arrived())) throw ifAbsent ? asConflict(error) : error;
  }
}

/** Who may create and not delete is told so of a key that exists, should Cloud Storage look at that before `ifGenerationMatch`. */
function asConflict(error: unknown): unknown {
  const isPresent = isLifeboatError(error, "denied") && error.message.includes("storage.objects.delete");
  return isPresent ? new LifeboatError("conflict", error.message) : error;
}

/** Sends a chunk, and what the server hasn't kept of it again. With `checksum`, the whole object's, it is the last one. */
async function deliver(
  url: string,
  bytes: Buffer,
  start: number,
  checksum: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const end = start + bytes.length;
  for (let from = start; ; ) {
    const answer = await send<{ crc32c?: string } | undefined>(undefined, {
      method: "PUT",
      url,
      data: bytes.subarray(from - start),
      headers: {
        "content-range": `bytes ${from < end ? `${from}-${end - 1}` : "*"}/${checksum === undefined ? "*" : end}`,
        ...(checksum !== undefined && { "x-goog-hash": `crc32c=${checksum}` }),
      },
      validateStatus: (status) => status === 308 || (status >= 200 && status < 300),
      signal,
    });
    if (answer.status !== 308) {
      if (answer.data?.crc32c === checksum) return;
      throw new Error("the object has another CRC32C than what was sent");
    }
    const kept = Number(/-(\d+)$/.exec(answer.headers.get("range") ?? "")?.[1] ?? -1) + 1;
    if (kept === end && checksum === undefined) return;
    if (kept <= from || kept > end) throw new Error(`the server says that it has ${kept} bytes of ${end}`);
    from = kept;
  }
}

/**
 * The bytes in chunks of exactly CHUNK_BYTES, but for the last one, which may be empty only where nothing else is. Two
 * buffers take turns: a chunk's bytes hold until the next but one is asked for.
 */
async function* chunksOf(bytes: AsyncIterable<Buffer>): AsyncGenerator<Chunk, undefined> {
  let chunk: Buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  let spare: Buffer | undefined;
  let filled = 0;
  for await (let rest of bytes) {
    while (rest.length > 0) {
      if (filled === CHUNK_BYTES) {
        yield { bytes: chunk, last: false };
        [chunk, spare] = [spare ?? Buffer.allocUnsafeSlow(CHUNK_BYTES), chunk];
        filled = 0;
      }
      const taken = rest.subarray(0, CHUNK_BYTES - filled);
      chunk.set(taken, filled);
      filled += taken.length;
      rest = rest.subarray(taken.length);
    }
  }
  yield { bytes: chunk.subarray(0, filled), last: true };
}
