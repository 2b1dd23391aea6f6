import { randomUUID } from "node:crypto";
import { sha256 } from "../archive/gzip.ts";
import { type IndexMember, moveMembers } from "../archive/index.ts";
import { type ArchiveState, type ArchiveWriter, joinStates, writeArchive } from "../archive/writer.ts";
import { readObject } from "../catalog.ts";
import { LifeboatError } from "../errors.ts";
import type { Bucket } from "../ports.ts";

/** Whole gzip members of an archive, or of its index, in an object of their own. */
export interface Piece {
  key: string;
  sha256: string;
}

/** An archive of which what is written so far lies in pieces, as JSON. */
export interface ArchiveInPieces {
  state: ArchiveState;
  tar: Piece[];
  index: Piece[];
}

/** Nothing of an archive, but also not its beginning: what is written follows something else. */
export const MIDDLE: ArchiveInPieces = {
  state: { segments: [], index: [], files: [], items: 0, bytes: 0 },
  tar: [],
  index: [],
};

/** A writer of an archive that stores it in pieces, and holds no more than one in memory. */
export interface PieceWriter extends Pick<ArchiveWriter, "file" | "item"> {
  /** Bytes, compressed, that wait to be stored. */
  waiting(): number;
  /** Stores what waits, in a piece, and goes on. What it gives is all that another writer needs. */
  store(): Promise<ArchiveInPieces>;
  /** How many pieces of the archive are stored. */
  stored(): number;
  /** Ends the archive. */
  finish(): Promise<void>;
  /** All of it, once it has ended: the pieces that are stored, then what waits. As often as wanted; throws `corrupt` for a piece that was changed. */
  whole(): Record<"tar" | "index", () => AsyncGenerator<Buffer>>;
  /** Whoever waits for room fails with `error`. */
  abort(error: unknown): void;
}

/**
 * Starts an archive, or goes on with one. Pieces lie in `folder`, under names that no other writer gives. Its methods throw what
 * the bucket throws.
 */
export function writePieces(
  bucket: Bucket,
  folder: string,
  { mtime, from, signal }: { mtime: Date; from?: ArchiveInPieces; signal: AbortSignal },
): PieceWriter {
  const stored = { tar: [...(from?.tar ?? [])], index: [...(from?.index ?? [])] };
  let part = startPart(mtime, from?.state);

  const put = (chunks: Buffer[], pieces: Piece[], suffix: string) =>
    putPiece(bucket, `${folder}${randomUUID()}${suffix}`, chunks, pieces, signal);

  async function* following(pieces: Piece[], waiting: Buffer[]): AsyncGenerator<Buffer> {
    yield* joined(bucket, pieces, signal);
    yield* waiting;
  }

  return {
    file: (...file) => part.writer.file(...file),
    item: (item) => part.writer.item(item),
    waiting: () => part.tar.size() + part.index.size(),
    async store() {
      const state = await part.writer.pause();
      const [tar, index] = await Promise.all([part.tar.whole, part.index.whole]);
      await Promise.all([put(tar, stored.tar, ".tar.gz"), put(index, stored.index, INDEX)]);
      part = startPart(mtime, state);
      return { state, tar: [...stored.tar], index: [...stored.index] };
    },
    async finish() {
      await part.writer.finish();
      await Promise.all([part.tar.whole, part.index.whole]);
    },
    abort: (error) => part.writer.abort(error),
    stored: () => stored.tar.length,
    whole: () => ({
      tar: () => following(stored.tar, part.tar.chunks),
      index: () => following(stored.index, part.index.chunks),
    }),
  };
}

const INDEX = "-index.json.gz";

async function putPiece(
  bucket: Bucket,
  key: string,
  chunks: Buffer[],
  pieces: Piece[],
  signal: AbortSignal,
): Promise<void> {
  const body = Buffer.concat(chunks);
  if (body.length === 0) return;
  await bucket.put(key, body, { ifAbsent: true, signal });
  pieces.push({ key, sha256: sha256(body) });
}

/**
 * One archive of parts, each of which was written as if it were the first but for the archive's beginning. Their indexes are written
 * anew, in pieces of about so many bytes in `folder`: the segments that their items lie in have other numbers now. Throws as `whole`.
 */
export async function joinParts(
  bucket: Bucket,
  folder: string,
  parts: ArchiveInPieces[],
  { pieceBytes, signal }: { pieceBytes: number; signal: AbortSignal },
): Promise<ArchiveInPieces> {
  const states: ArchiveState[] = [];
  const index: Piece[] = [];
  let segments = 0;
  for (const part of parts) {
    states.push({ ...part.state, index: await moved(part, segments) });
    segments += part.state.segments.length;
  }

  async function moved(part: ArchiveInPieces, by: number): Promise<IndexMember[]> {
    if (by === 0) {
      index.push(...part.index);
      return part.state.index;
    }
    const members: IndexMember[] = [];
    let waiting: Buffer[] = [];
    let bytes = 0;
    const store = async () => {
      await putPiece(bucket, `${folder}${randomUUID()}${INDEX}`, waiting, index, signal);
      [waiting, bytes] = [[], 0];
    };
    for await (const one of moveMembers(joined(bucket, part.index, signal), part.state.index, by)) {
      members.push(one.member);
      waiting.push(one.bytes);
      bytes += one.bytes.length;
      if (bytes >= pieceBytes) await store();
    }
    await store();
    return members;
  }

  return { state: joinStates(states), tar: parts.flatMap(({ tar }) => tar), index };
}

function startPart(mtime: Date, from: ArchiveState | undefined) {
  const writer = writeArchive({ mtime, from });
  return { writer, tar: gather(writer.tar), index: gather(writer.index) };
}

/** What a stream gives, as it comes. */
function gather(stream: AsyncIterable<Buffer>) {
  const chunks: Buffer[] = [];
  let size = 0;
  const take = async () => {
    for await (const chunk of stream) {
      chunks.push(chunk);
      size += chunk.length;
    }
    return chunks;
  };
  const whole = take();
  whole.catch(() => {});
  return { chunks, size: () => size, whole };
}

/** The bytes of pieces one after the other. Throws `corrupt` for one that is not as it was written. */
async function* joined(bucket: Bucket, pieces: Piece[], signal: AbortSignal): AsyncGenerator<Buffer> {
  for (const { key, sha256: digest } of pieces) {
    const body = await readObject(bucket, key, signal);
    if (sha256(body) !== digest)
      throw new LifeboatError("corrupt", `${key} differs from its digest: it was changed after it was written`, {
        key,
      });
    yield body;
  }
}
