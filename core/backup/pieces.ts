import { createHash, randomUUID } from "node:crypto";
import { type IndexMember, moveMembers } from "../archive/index.ts";
import { type ArchiveState, type ArchiveWriter, joinStates, writeArchive } from "../archive/writer.ts";
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

/** A writer of an archive that stores it in pieces. Only the beginning of a piece is held in memory, and all of a small one. */
export interface PieceWriter extends Pick<ArchiveWriter, "file" | "item"> {
  /** Bytes, compressed, of the piece that is being made. */
  waiting(): number;
  /** Stores the piece, and begins another. What it gives is all that another writer needs. */
  store(): Promise<ArchiveInPieces>;
  /** How many pieces of the archive are stored. */
  stored(): number;
  /** Ends the archive. */
  finish(): Promise<void>;
  /** All of it, once it has ended: the pieces that are stored, then what is held. As often as wanted; throws `corrupt` for a piece that was changed. */
  whole(): Record<"tar" | "index", () => AsyncGenerator<Buffer>>;
  /** Whoever waits for room, or stores a piece, fails with `error`. */
  abort(error: unknown): void;
}

/**
 * Starts an archive, or goes on with one. Pieces lie in `folder`, under names that no other writer gives; what is begun of one is
 * sent on as it comes once it has more than `heldBytes`. Its methods throw what the bucket throws.
 */
export function writePieces(
  bucket: Bucket,
  folder: string,
  { mtime, from, heldBytes, signal }: { mtime: Date; from?: ArchiveInPieces; heldBytes: number; signal: AbortSignal },
): PieceWriter {
  const stored = { tar: [...(from?.tar ?? [])], index: [...(from?.index ?? [])] };
  const place = { bucket, folder, heldBytes, signal };
  let current = startPair(from?.state);

  function startPair(state: ArchiveState | undefined) {
    const writer = writeArchive({ mtime, from: state });
    const abort = (error: unknown) => writer.abort(error);
    return {
      writer,
      tar: startPiece(writer.tar, { ...place, suffix: TAR, abort }),
      index: startPiece(writer.index, { ...place, suffix: INDEX, abort }),
    };
  }

  async function* following(pieces: Piece[], held: Buffer[]): AsyncGenerator<Buffer> {
    yield* joined(bucket, pieces, signal);
    yield* held;
  }

  return {
    file: (...file) => current.writer.file(...file),
    item: (item) => current.writer.item(item),
    waiting: () => current.tar.size() + current.index.size(),
    async store() {
      const state = await current.writer.pause();
      const [tar, index] = await Promise.all([current.tar.stored(), current.index.stored()]);
      stored.tar.push(...tar);
      stored.index.push(...index);
      current = startPair(state);
      return { state, tar: [...stored.tar], index: [...stored.index] };
    },
    async finish() {
      await current.writer.finish();
      const [tar, index] = await Promise.all([current.tar.ended(), current.index.ended()]);
      stored.tar.push(...tar);
      stored.index.push(...index);
    },
    abort: (error) => current.writer.abort(error),
    stored: () => stored.tar.length,
    whole: () => ({
      tar: () => following(stored.tar, current.tar.held),
      index: () => following(stored.index, current.index.held),
    }),
  };
}

const TAR = ".tar.gz";
const INDEX = "-index.json.gz";

/** Where pieces are stored. */
interface PiecePlace {
  bucket: Bucket;
  folder: string;
  signal: AbortSignal;
}

/** A piece that is being made of what a stream gives. `abort` hears why it can't be stored. */
function startPiece(stream: AsyncIterable<Buffer>, { heldBytes, suffix, abort, ...place }: PiecePlace & PieceOptions) {
  const held: Buffer[] = [];
  let size = 0;
  async function* passing(chunks: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
    yield* held.splice(0);
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
      size += next.value.length;
      yield next.value;
    }
  }
  /** The piece, where it is not held. */
  const take = async (): Promise<Piece[]> => {
    const chunks = stream[Symbol.asyncIterator]();
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
      held.push(next.value);
      size += next.value.length;
      if (size > heldBytes) return [await putPiece(place, suffix, passing(chunks))];
    }
    return [];
  };
  const ended = take();
  ended.catch(abort);
  return {
    held,
    size: () => size,
    ended: () => ended,
    async stored(): Promise<Piece[]> {
      const pieces = await ended;
      return held.length > 0 ? [await putPiece(place, suffix, Buffer.concat(held.splice(0)))] : pieces;
    },
  };
}

interface PieceOptions {
  heldBytes: number;
  suffix: string;
  abort: (error: unknown) => void;
}

async function putPiece(
  { bucket, folder, signal }: PiecePlace,
  suffix: string,
  body: Buffer | AsyncIterable<Buffer>,
): Promise<Piece> {
  const key = `${folder}${randomUUID()}${suffix}`;
  const digest = createHash("sha256");
  async function* digested(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      digest.update(chunk);
      yield chunk;
    }
  }
  if (Buffer.isBuffer(body)) digest.update(body);
  await bucket.put(key, Buffer.isBuffer(body) ? body : digested(body), { ifAbsent: true, signal });
  return { key, sha256: digest.digest("hex") };
}

/**
 * One archive of shards, each of which was written as if it were the first but for the archive's beginning. Their indexes are written
 * anew, in pieces of about so many bytes in `folder`: the segments that their items lie in have other numbers now. Throws as `whole`.
 */
export async function joinShards(
  bucket: Bucket,
  folder: string,
  shards: ArchiveInPieces[],
  { pieceBytes, signal }: { pieceBytes: number; signal: AbortSignal },
): Promise<ArchiveInPieces> {
  const states: ArchiveState[] = [];
  const index: Piece[] = [];
  let segments = 0;
  for (const shard of shards) {
    states.push({ ...shard.state, index: await moved(shard, segments) });
    segments += shard.state.segments.length;
  }

  async function moved(shard: ArchiveInPieces, by: number): Promise<IndexMember[]> {
    if (by === 0) {
      index.push(...shard.index);
      return shard.state.index;
    }
    const members: IndexMember[] = [];
    let waiting: Buffer[] = [];
    let bytes = 0;
    const store = async () => {
      if (bytes > 0) index.push(await putPiece({ bucket, folder, signal }, INDEX, Buffer.concat(waiting)));
      [waiting, bytes] = [[], 0];
    };
    for await (const one of moveMembers(joined(bucket, shard.index, signal), shard.state.index, by)) {
      members.push(one.member);
      waiting.push(one.bytes);
      bytes += one.bytes.length;
      if (bytes >= pieceBytes) await store();
    }
    await store();
    return members;
  }

  return { state: joinStates(states), tar: shards.flatMap(({ tar }) => tar), index };
}

/** The bytes of pieces one after the other. Throws `corrupt` at the end of one that is not as it was written. */
async function* joined(bucket: Bucket, pieces: Piece[], signal: AbortSignal): AsyncGenerator<Buffer> {
  for (const { key, sha256: written } of pieces) {
    const digest = createHash("sha256");
    for await (const chunk of await bucket.get(key, { signal })) {
      digest.update(chunk);
      yield chunk;
    }
    if (digest.digest("hex") !== written)
      throw new LifeboatError("corrupt", `${key} differs from its digest: it was changed after it was written`, {
        key,
      });
  }
}
