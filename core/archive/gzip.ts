import { hash } from "node:crypto";
import { promisify } from "node:util";
import zlib from "node:zlib";
import { LifeboatError } from "../errors.ts";
import { ahead, feed, flow } from "./flow.ts";

/** Where a gzip member lies in its file, and what it holds; `raw` is its length uncompressed, `sha256` is of its compressed bytes (hex). */
export interface Member {
  offset: number;
  length: number;
  raw: number;
  sha256: string;
}

/** No member holds more than an item of 64 MiB, twice, with what stood before it. */
const MAX_RAW = 160 * 1024 * 1024;
/** Deflate's best is 1,032 : 1; what claims more is lying. The slack lets small files be anything. */
const MAX_RATIO = 1000;
const RATIO_SLACK = 1024 * 1024;
/** Measured on Kubernetes objects stored twice: half the time of level 6 for a seventh to a third more bytes. */
const LEVEL = 3;
const IN_FLIGHT = 4;

const HEADER = 20;
const TRAILER = 8;
/** FLG: FEXTRA. MTIME 0, XFL 0, OS 255 (unknown): the same input gives the same bytes everywhere. */
const HEADER_START = Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255]);
const SIZE_FIELD = Buffer.from([0x4c, 0x42, 4, 0]);

const gzip = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gzip);
const unzip = promisify<Buffer, zlib.ZlibOptions, { buffer: Buffer; engine: zlib.Gunzip }>(zlib.gunzip as never);

/** A gzip member that states its own total size in an FEXTRA subfield "LB", before the subfields in `extra`. `rest`: what follows a gzip header. */
export function frameMember(rest: Buffer, extra?: Buffer): Buffer {
  const total = HEADER + (extra?.length ?? 0) + rest.length;
  const head = Buffer.alloc(HEADER);
  HEADER_START.copy(head);
  head.writeUInt16LE(8 + (extra?.length ?? 0), 10);
  SIZE_FIELD.copy(head, 12);
  head.writeUInt32LE(total, 16);
  return Buffer.concat(extra ? [head, extra, rest] : [head, rest], total);
}

/** Compresses `raw` into one member, on zlib's thread pool. */
export async function compressMember(raw: Buffer): Promise<Buffer> {
  // One output chunk is one trip to the pool: chunks large enough for nearly every member.
  const compressed = await gzip(raw, { level: LEVEL, chunkSize: Math.max(1024, raw.length >> 2) });
  return frameMember(compressed.subarray(HEADER_START.length));
}

/** The total size of the member that begins with `head`, or undefined where that is no member of ours. Needs 20 bytes. */
export function memberSize(head: Buffer): number | undefined {
  if (head.length < HEADER || !head.subarray(0, 10).equals(HEADER_START)) return undefined;
  if (head.readUInt16LE(10) < 8 || !head.subarray(12, 16).equals(SIZE_FIELD)) return undefined;
  const size = head.readUInt32LE(16);
  return size >= HEADER + TRAILER ? size : undefined;
}

/** Uncompresses one whole member of ours (without further subfields), checking every byte of its frame: `corrupt`. */
export async function openMember(member: Buffer): Promise<Buffer> {
  if (memberSize(member) !== member.length || member.readUInt16LE(10) !== 8)
    throw damaged("its header is not the one written");
  const length = member.readUInt32LE(member.length - 4);
  if (length > MAX_RAW || length > member.length * MAX_RATIO + RATIO_SLACK) {
    throw damaged(`it claims to hold ${length} bytes in ${member.length}`);
  }
  const opened = await unzip(member, { chunkSize: length + 64, maxOutputLength: length + 1, info: true }).catch(
    (error) => {
      throw damaged("it can't be uncompressed", error);
    },
  );
  if (opened.buffer.length !== length || opened.engine.bytesWritten !== member.length)
    throw damaged("its size differs");
  return opened.buffer;
}

function damaged(reason: string, cause?: unknown): LifeboatError {
  return new LifeboatError("corrupt", `a gzip member is damaged: ${reason}`, { cause });
}

/** Members of one file being written: compressed some at a time, given out in order. */
export interface MemberWriter {
  /** Adds a member that holds `raw`, to be left alone until `done` is called; resolves when there is room for another. */
  push(raw: Buffer, done?: (raw: Buffer) => void): Promise<void>;
  /** Adds bytes as they are. */
  pushBytes(bytes: Buffer): Promise<void>;
  /** All members so far, once they are compressed. */
  members(): Promise<Member[]>;
  end(): void;
  fail(error: unknown): void;
  readonly out: AsyncIterable<Buffer>;
}

/** Starts a file of members, or what follows the members `before`. `onStop`: see `flow`. */
export function writeMembers(onStop: (error: unknown) => void, before: Member[] = []): MemberWriter {
  const { push, end, fail, out } = flow(IN_FLIGHT, onStop);
  const written: Promise<Omit<Member, "offset">>[] = [];
  return {
    async push(raw, done) {
      const compressed = compressMember(raw).finally(() => done?.(raw));
      const record = compressed.then((bytes) => ({ length: bytes.length, raw: raw.length, sha256: sha256(bytes) }));
      record.catch(() => {});
      written.push(record);
      await push(compressed);
    },
    pushBytes: push,
    async members() {
      const last = before.at(-1);
      let offset = last ? last.offset + last.length : 0;
      const since = (await Promise.all(written)).map((record) => {
        const member = { offset, ...record };
        offset += record.length;
        return member;
      });
      return [...before, ...since];
    },
    end,
    fail,
    out,
  };
}

/** Walks a file of members by the sizes in their headers and gives each one uncompressed: `corrupt` for anything else. */
export async function* readMembers(file: AsyncIterable<Buffer>): AsyncGenerator<{ member: Member; raw: Buffer }> {
  yield* ahead(openers(file), 2);
}

async function* openers(file: AsyncIterable<Buffer>): AsyncGenerator<() => Promise<{ member: Member; raw: Buffer }>> {
  let offset = 0;
  for await (const bytes of splitMembers(file)) {
    const start = offset;
    offset += bytes.length;
    yield async () => {
      const raw = await openMember(bytes);
      return { member: { offset: start, length: bytes.length, raw: raw.length, sha256: sha256(bytes) }, raw };
    };
  }
}

async function* splitMembers(file: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let chunks: Buffer[] = [];
  let held = 0;
  let wanted = HEADER;
  for await (const chunk of file) {
    chunks.push(chunk);
    held += chunk.length;
    while (held >= wanted) {
      const bytes = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, held);
      const size = memberSize(bytes);
      if (size === undefined || size > MAX_RAW)
        throw new LifeboatError("corrupt", "what should be a Lifeboat archive has bytes that are no segment");
      const whole = bytes.length >= size;
      if (whole) yield bytes.subarray(0, size);
      chunks = [whole ? bytes.subarray(size) : bytes];
      held = chunks[0]?.length ?? 0;
      wanted = whole ? HEADER : size;
    }
  }
  if (held > 0) throw new LifeboatError("corrupt", "the archive ends in the middle of a segment");
}

/** Uncompresses any gzip file, of any number of members: `corrupt` for garbage, truncation and bombs. */
export async function* gunzip(file: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const gunzip = zlib.createGunzip({ chunkSize: 256 * 1024 });
  let compressed = 0;
  let raw = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const chunk of file) {
      compressed += chunk.length;
      yield chunk;
    }
  }
  feed(counted(), gunzip);
  try {
    for await (const chunk of gunzip as AsyncIterable<Buffer>) {
      raw += chunk.length;
      if (raw > compressed * MAX_RATIO + RATIO_SLACK) {
        throw new LifeboatError("corrupt", `the archive is a compression bomb: ${raw} bytes out of ${compressed}`);
      }
      yield chunk;
    }
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    if (typeof code !== "string" || !code.startsWith("Z_")) throw error;
    const reason = code === "Z_BUF_ERROR" ? "it ends too early" : "it is no gzip file, or damaged";
    throw new LifeboatError("corrupt", `the archive can't be uncompressed: ${reason}`, { cause: error });
  } finally {
    gunzip.destroy();
  }
}

/** The SHA-256 of `bytes`, in hexadecimal. */
export function sha256(bytes: Buffer): string {
  return hash("sha256", bytes, "hex");
}
