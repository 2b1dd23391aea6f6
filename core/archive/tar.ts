import { extract } from "tar-stream";
import { isLifeboatError, LifeboatError, messageOf } from "../errors.ts";
import { feed, type Sink } from "./flow.ts";
import { unsafePath } from "./item.ts";

/**
 * Tar entries laid into one buffer. Own encoder: tar-stream's `pack` costs a stream per entry (12 µs), nine times
 * this, and its header encoder is not exported.
 */
export interface TarBuffer {
  readonly length: number;
  /** Adds a regular file, mode 0755 (Velero gives the directories it extracts the files' mode), and returns where its body begins. */
  append(path: string, body: Buffer): number;
  /** Adds the two zero blocks that end an archive. */
  appendEnd(): void;
  /** The bytes so far; the buffer starts anew, in the memory of one given to `recycle` where there is one. */
  take(): Buffer;
  recycle(bytes: Buffer): void;
}

const BLOCK = 512;
const NAME_LENGTH = 100;
const REGULAR = "0";
const PAX = "x";

/** A buffer for entries of one modification time. `size`: the bytes to make room for at first. */
export function tarBuffer(mtime: Date, size: number): TarBuffer {
  const headers = { [REGULAR]: blankHeader(mtime, REGULAR), [PAX]: blankHeader(mtime, PAX) };
  let buffer: Buffer = Buffer.allocUnsafeSlow(size);
  let length = 0;
  const spare: Buffer[] = [];

  function reserve(bytes: number): void {
    if (length + bytes <= buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(length + bytes, buffer.length * 2));
    buffer.copy(larger, 0, 0, length);
    buffer = larger;
  }

  // Both write byte by byte: a call of Buffer's write costs more than the few bytes do.

  /** Returns the sum of its bytes. */
  function putName(at: number, name: string): number {
    let sum = 0;
    for (let i = 0; i < name.length; i++) {
      const byte = name.charCodeAt(i);
      buffer[at + i] = byte;
      sum += byte;
    }
    return sum;
  }

  /** Returns the sum of its bytes. */
  function putOctal(at: number, value: number, digits: number): number {
    let sum = 0;
    let rest = value;
    for (let i = digits - 1; i >= 0; i--) {
      const byte = 0x30 + (rest & 7);
      buffer[at + i] = byte;
      sum += byte;
      rest >>>= 3;
    }
    return sum;
  }

  /** `name`: at most 100 ASCII characters. */
  function put(type: typeof REGULAR | typeof PAX, name: string, body: Buffer): number {
    const padding = (BLOCK - (body.length % BLOCK)) % BLOCK;
    reserve(BLOCK + body.length + padding);
    const { block, sum } = headers[type];
    const start = length;
    block.copy(buffer, start);
    const named = putName(start, name);
    const sized = putOctal(start + 124, body.length, 11);
    putOctal(start + 148, sum + named + sized, 6);
    body.copy(buffer, start + BLOCK);
    length = start + BLOCK + body.length;
    buffer.fill(0, length, length + padding);
    length += padding;
    return start + BLOCK;
  }

  return {
    get length() {
      return length;
    },
    append(path, body) {
      const bytes = Buffer.byteLength(path);
      if (bytes === path.length && bytes <= NAME_LENGTH) return put(REGULAR, path, body);
      put(PAX, "PaxHeader", paxRecord("path", path));
      return put(REGULAR, path.replaceAll(/[^\x20-\x7e]/g, "_").slice(0, NAME_LENGTH), body);
    },
    appendEnd() {
      reserve(2 * BLOCK);
      buffer.fill(0, length, length + 2 * BLOCK);
      length += 2 * BLOCK;
    },
    take() {
      const bytes = buffer.subarray(0, length);
      buffer = spare.pop() ?? Buffer.allocUnsafeSlow(size);
      length = 0;
      return bytes;
    },
    recycle(bytes) {
      if (bytes.buffer.byteLength === size) spare.push(Buffer.from(bytes.buffer));
    },
  };
}

/** A ustar header but for name, size and checksum; `sum`: its bytes with a checksum field of spaces, as the format wants. */
function blankHeader(mtime: Date, type: string): { block: Buffer; sum: number } {
  const block = Buffer.alloc(BLOCK);
  block.write("0000755\0" + "0000000\0" + "0000000\0", 100, "latin1");
  block.write(`${octal(Math.max(0, Math.floor(mtime.getTime() / 1000)), 11)}\0`, 136, "latin1");
  block.write(type, 156, "latin1");
  block.write("ustar\0" + "00", 257, "latin1");
  block.write("0000000\0" + "0000000\0", 329, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 8 * 0x20);
  block.write("\0 ", 154, "latin1");
  return { block, sum };
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}

/** "<length> <key>=<value>\n", where the length counts its own digits. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + 1;
  while (length !== rest + String(length).length) length = rest + String(length).length;
  return Buffer.from(`${length} ${key}=${value}\n`);
}

/** Bytes, uncompressed: of one file in an archive (64 MiB), and of all (16 GiB, Velero's own limit). */
export interface ReadLimits {
  itemBytes?: number;
  totalBytes?: number;
}

/** What no reader takes, no writer writes. */
export const MAX_ITEM_BYTES = 64 * 1024 ** 2;
/** Velero's own limit for what it extracts. */
const MAX_TOTAL_BYTES = 16 * 1024 ** 3;

/** A file of a tar; `offset`: where its body begins in the tar. */
export interface TarFile {
  path: string;
  body: Buffer;
  offset: number;
}

/**
 * The files of a tar, in order. Directories are passed over; links, devices and the like, unsafe paths, files over
 * the limit, damage and a missing end of archive are refused: `corrupt`.
 */
export async function* readTarFiles(tar: AsyncIterable<Buffer>, limits: ReadLimits): AsyncGenerator<TarFile> {
  const maxFileBytes = limits.itemBytes ?? MAX_ITEM_BYTES;
  const maxTotalBytes = limits.totalBytes ?? MAX_TOTAL_BYTES;
  const untar = extract();
  let total = 0;
  let sourceFailure: { error: unknown } | undefined;
  async function* counted(): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of tar) {
        total += chunk.length;
        if (total > maxTotalBytes) {
          throw new LifeboatError("corrupt", `the archive holds more than ${maxTotalBytes} bytes uncompressed`);
        }
        yield chunk;
      }
    } catch (error) {
      sourceFailure = { error };
      throw error;
    }
  }
  feed(counted(), untar as unknown as Sink);
  let end = 0;
  try {
    for await (const entry of untar) {
      const { type, size, byteOffset } = entry.header as typeof entry.header & { byteOffset: number };
      const path = entry.header.name.replace(/^(\.\/)+/, "");
      if (type !== "directory") {
        if (type !== "file") throw refused(path, `is a ${type ?? "thing of unknown type"}, not a file`);
        const unsafe = unsafePath(path);
        if (unsafe !== undefined) throw refused(path, unsafe);
        if (size > maxFileBytes) throw refused(path, `has ${size} bytes; the limit is ${maxFileBytes}`);
      }
      const chunks: Buffer[] = [];
      for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk);
      end = byteOffset + (type === "file" ? Math.ceil(size / BLOCK) * BLOCK : 0);
      if (type === "file") yield { path, body: Buffer.concat(chunks, size), offset: byteOffset };
    }
  } catch (error) {
    if (sourceFailure) throw sourceFailure.error;
    if (isLifeboatError(error)) throw error;
    throw new LifeboatError("corrupt", `the archive's tar is damaged: ${messageOf(error)}`, { cause: error });
  } finally {
    untar.destroy();
  }
  if (total < end + 2 * BLOCK) throw new LifeboatError("corrupt", "the archive is cut off: its tar has no end");
}

function refused(path: string, reason: string): LifeboatError {
  return new LifeboatError("corrupt", `the archive's entry ${JSON.stringify(path)} ${reason}`, {
    hint: "Neither Velero nor Lifeboat writes such an entry: don't use this archive.",
  });
}
