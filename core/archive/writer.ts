import { LifeboatError } from "../errors.ts";
import { stopped } from "./flow.ts";
import { type Member, sha256, writeMembers } from "./gzip.ts";
import { type ArchiveTotals, bodyFacts, type FileEntry, type IndexMember, writeIndex } from "./index.ts";
import { type ItemFacts, type ItemId, itemPath, PREFERRED, unsafePath } from "./item.ts";
import { MAX_ITEM_BYTES, tarBuffer } from "./tar.ts";

/** An archive being written, and its index with it. Both streams must be consumed at the same time. */
export interface ArchiveWriter {
  /** Adds a file of metadata/; resolves when there is room for more. */
  file(path: string, body: Buffer): Promise<void>;
  /**
   * Adds an item: its classic entry and, right after, the one of `<version>-preferredversion`. Resolves when there is
   * room for more; await it before the next, or memory isn't bounded. `invalid`, and nothing is written, for an
   * identity that can't be a path, and for a body over 64 MiB. With `other` it is an item that is there already, in
   * another version: it has that version's entry alone.
   */
  item(item: { id: ItemId; version: string; body: Buffer; facts: ItemFacts; other?: true }): Promise<void>;
  /** Writes the rest; resolves when all has been handed over. */
  finish(): Promise<ArchiveTotals>;
  /** Hands over what has been added, and ends: another writer goes on from what this gives, and its bytes follow these. */
  pause(): Promise<ArchiveState>;
  /** Both streams, and whoever waits for room, fail with `error`. To be called when a put of one of them fails. */
  abort(error: unknown): void;
  readonly tar: AsyncIterable<Buffer>;
  readonly index: AsyncIterable<Buffer>;
}

/** What a writer must know of what was written before it, as JSON. */
export interface ArchiveState {
  segments: Member[];
  index: IndexMember[];
  files: FileEntry[];
  items: number;
  bytes: number;
}

/** One archive of which each state tells a part, one after the other; what their indexes say of segments is as it is in the whole. */
export function joinStates(states: ArchiveState[]): ArchiveState {
  const whole: ArchiveState = { segments: [], index: [], files: [], items: 0, bytes: 0 };
  for (const { segments, index, files, items, bytes } of states) {
    const before = whole.segments.length;
    whole.files = whole.files.concat(files.map((file) => ({ ...file, segment: file.segment + before })));
    whole.segments = whole.segments.concat(placedAfter(whole.segments, segments));
    whole.index = whole.index.concat(placedAfter(whole.index, index));
    whole.items += items;
    whole.bytes += bytes;
  }
  return whole;
}

/** Members as they lie behind others, one after the other. */
function placedAfter<Part extends Member>(before: Member[], parts: Part[]): Part[] {
  const last = before.at(-1);
  let end = last ? last.offset + last.length : 0;
  return parts.map((part) => {
    const offset = end;
    end += part.length;
    return { ...part, offset };
  });
}

/** The bytes of tar after which a segment is closed. */
const SEGMENT_SIZE = 1024 * 1024;

/** One part of a path. */
const PART = /^(?!\.{1,2}$)[^/\0]+$/;

/** The first entry of every archive: the layout's version (velero-format.md section 2). */
export const VERSION_FILE = { path: "metadata/version", body: Buffer.from("1.1.0\n") };
/** Where an archive of ours says of itself how it came to be, and how it went. */
export const HEADER_FILE = "metadata/lifeboat.json";
export const OUTCOME_FILE = "metadata/lifeboat-outcome.json";

/**
 * Starts an archive, or goes on with one that was paused. `mtime`: of every entry, cut to seconds. The same calls give the same
 * bytes, on one version of Node.
 */
export function writeArchive({ mtime, from }: { mtime: Date; from?: ArchiveState }): ArchiveWriter {
  const segments = writeMembers(abort, from?.segments);
  const index = writeIndex(abort, from?.index);
  const batch = tarBuffer(mtime, SEGMENT_SIZE * 1.25);
  const files = [...(from?.files ?? [])];
  let segment = from?.segments.length ?? 0;
  let items = from?.items ?? 0;
  let bytes = from?.bytes ?? 0;

  function abort(error: unknown): void {
    segments.fail(error);
    index.fail(error);
  }

  function cut(): Promise<void> {
    segment += 1;
    return segments.push(batch.take(), batch.recycle);
  }

  /** Before an entry, not after: so the end of the archive is never a segment of its own, which no item's digest guards. */
  function cutIfFull(): Promise<void> | undefined {
    return batch.length >= SEGMENT_SIZE ? cut() : undefined;
  }

  function addFile(path: string, body: Buffer): void {
    files.push({ path, segment, offset: batch.append(path, body), size: body.length, sha256: sha256(body) });
  }

  if (!from) addFile(VERSION_FILE.path, VERSION_FILE.body);

  return {
    async file(path, body) {
      if (!path.startsWith("metadata/") || path === VERSION_FILE.path || unsafePath(path) !== undefined) {
        throw new LifeboatError("invalid", `a file of an archive lies below metadata/, not at ${JSON.stringify(path)}`);
      }
      const room = cutIfFull();
      addFile(path, body);
      await room;
    },
    async item({ id, version, body, facts, other }) {
      const path = itemPath(id, other && version);
      checkPath(id, version, path);
      if (body.length > MAX_ITEM_BYTES) {
        throw new LifeboatError(
          "invalid",
          `the item ${path} can't be stored: it has ${body.length} bytes, over 64 MiB`,
        );
      }
      const room = cutIfFull();
      const offset = batch.append(path, body);
      if (!other) {
        batch.append(itemPath(id, version + PREFERRED), body);
        items += 1;
        bytes += body.length;
      }
      const place = { segment, offset, ...bodyFacts(body, id.resource) };
      const indexed = index.add({ ...id, version, ...facts, ...place, ...(other && { other }) });
      if (room || indexed) await Promise.all([room, indexed]);
    },
    async finish() {
      batch.appendEnd();
      await cut();
      segments.end();
      await index.finish({ segments: await segments.members(), files, items, bytes });
      return { items, bytes, segments: segment };
    },
    async pause() {
      if (batch.length > 0) await cut();
      segments.end();
      return { segments: await segments.members(), index: await index.pause(), files: [...files], items, bytes };
    },
    abort,
    tar: segments.out,
    index: index.out,
  };
}

/**
 * Waits for the tasks that fill and consume an archive. When one fails, the writer is aborted, so that the others end
 * too, and the error that began it is thrown.
 */
export async function together(writer: Pick<ArchiveWriter, "abort">, tasks: Promise<unknown>[]): Promise<void> {
  const errors: unknown[] = [];
  const guarded = tasks.map((task) =>
    task.catch((error) => {
      errors.push(error);
      writer.abort(error);
    }),
  );
  await Promise.all(guarded);
  if (errors.length > 0) throw errors.find((error) => error !== stopped) ?? errors[0];
}

/** What can be written can be read: each part of the path is one, and no backslash makes it unsafe. */
function checkPath(id: ItemId, version: string, path: string): void {
  const parts = [id.resource, id.namespace || "-", id.name, version];
  if (parts.every((part) => PART.test(part)) && !(path.includes("\\") && unsafePath(path))) return;
  throw new LifeboatError("invalid", `the item ${JSON.stringify(path)} can't be stored: its name is no part of a path`);
}
