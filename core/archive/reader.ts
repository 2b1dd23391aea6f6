import { isLifeboatError, LifeboatError, messageOf } from "../errors.ts";
import type { Bucket } from "../ports.ts";
import { release } from "../release.ts";
import { ahead } from "./flow.ts";
import { gunzip, memberSize, openMember, sha256 } from "./gzip.ts";
import {
  type ArchiveTotals,
  findEntry,
  type IndexEntry,
  type IndexFooter,
  type Narrowing,
  readEntries,
  readFooter,
  type Visit,
  visitEntries,
} from "./index.ts";
import { type ItemId, itemPath, PREFERRED, parseItemPath } from "./item.ts";
import { readFacts, rebuildIndex } from "./rebuild.ts";
import { bucketSource, type Source, spool } from "./source.ts";
import { type ReadLimits, readTarFiles } from "./tar.ts";
import { together, VERSION_FILE, writeArchive } from "./writer.ts";

/** The bytes that tell whether a file begins with a member of ours. */
const PEEK = 20;

/** Streams the files of any Velero or Lifeboat archive; refuses traversal, links, absurd sizes, bombs, truncation and what is no archive: `corrupt`. */
export async function* readTar(
  tar: AsyncIterable<Buffer>,
  limits: ReadLimits = {},
): AsyncGenerator<{ path: string; body: Buffer }> {
  let found = false;
  const raw = gunzip(tar);
  for await (const { path, body } of readTarFiles(raw, limits)) {
    found ||= path === VERSION_FILE.path || path.startsWith("resources/");
    yield { path, body };
  }
  if (!found)
    throw new LifeboatError("corrupt", "not a backup's archive: it has neither metadata/version nor resources/");
}

export interface VerifyingOptions {
  only?: (segment: number) => boolean;
  /** Hears of a segment that has been looked at, and of how many items lie in it. False ends the verification there. */
  passed?: (items: number, segment: number) => Promise<boolean>;
}

/** A backup's archive, open for reading. */
export interface Archive {
  readonly totals: ArchiveTotals;
  /** The key of the index, where that was missing and was made again from the archive. */
  readonly remade?: string;
  /** In archive order; only those for which `match` holds. */
  entries(match?: (id: ItemId) => boolean, narrow?: Narrowing): AsyncIterable<IndexEntry>;
  /** As `entries`, at a fraction of the cost where few of them are wanted. */
  visit(narrow: Narrowing, visit: Visit): Promise<void>;
  /** The entries of items in other versions than the one Velero restores; not there where there are none. */
  otherVersions?(): AsyncIterable<IndexEntry>;
  /** One item's entry: costs one read of a part of the index. */
  find(id: ItemId): Promise<IndexEntry | undefined>;
  /**
   * Bodies in the order asked; consecutive entries of one segment cost one read; the segment's and item's digests are
   * checked first: `corrupt`. The next segment is read ahead. With `passing` no body is copied: it is empty once the next
   * one is asked for.
   */
  read(
    entries: AsyncIterable<IndexEntry> | Iterable<IndexEntry>,
    options?: { passing?: boolean },
  ): AsyncIterable<{ entry: IndexEntry; body: Buffer }>;
  /** Checks the digests of the segments that the entries lie in, without unpacking them: `corrupt`. */
  check(entries: Iterable<IndexEntry>): Promise<void>;
  /** A file of metadata/, e.g. "metadata/lifeboat.json". */
  file(path: string): Promise<Buffer | undefined>;
  /**
   * Reads everything, or the segments that `only` chooses, and gives what is damaged, instead of throwing at the first. A
   * damaged index still throws.
   */
  verify(options?: VerifyingOptions): AsyncIterable<{ path?: string; reason: string }>;
  close(): Promise<void>;
}

/**
 * Opens a backup's archive; with its index by ranged reads, without one by reading it once: a Lifeboat archive gets its
 * index made again, a foreign one (Velero's) is spooled, as segments with an index, into temporary files that `close`
 * frees; `whole` hears of it before, and may throw. With `indexEnd` only the index whose end has that digest will do, made
 * again or not. Throws `missing` without a tar, `corrupt` for damage and for an index that belongs to another archive,
 * `invalid` for an index of a newer Lifeboat.
 */
export async function openArchive(
  bucket: Bucket,
  keys: { tar: string; index: string },
  options: { signal?: AbortSignal; limits?: ReadLimits; indexEnd?: string; whole?: (bytes: number) => void } = {},
): Promise<Archive> {
  const { signal, limits = {}, indexEnd, whole } = options;
  const tar = await bucketSource(bucket, keys.tar, signal);
  if (!tar) throw new LifeboatError("missing", `${keys.tar} is not in ${bucket.location}`);
  const index = await bucketSource(bucket, keys.index, signal);
  if (index) return await archiveOf(tar, index, indexEnd);
  if (tar.size === 0) throw damaged(tar, "it is empty");
  whole?.(tar.size);
  const ours = await isSegmented(tar);
  const bytes = await bucket.get(keys.tar, { signal });
  if (!ours && indexEnd === undefined) return await spoolForeign(keys.tar, bytes, limits);
  const rebuilt = rebuildIndex(bytes, { limits });
  const remade = await spool(`${keys.index}, made again from the archive,`, rebuilt.index);
  return { ...(await archiveOf(tar, remade, indexEnd)), remade: keys.index };
}

/** Whether an archive begins with a segment, as Lifeboat's do and Velero's don't. */
export async function isSegmented(tar: Source): Promise<boolean> {
  return tar.size > 0 && memberSize(await tar.read(0, Math.min(PEEK, tar.size))) !== undefined;
}

/**
 * Reads a foreign archive into segments: of each item the classic entry, which is the one Velero restores, and what a
 * Velero with EnableAPIGroupVersions stored of it in other versions.
 */
async function spoolForeign(name: string, bytes: AsyncIterable<Buffer>, limits: ReadLimits): Promise<Archive> {
  const writer = writeArchive({ mtime: new Date(0) });
  let others = 0;
  async function fill(): Promise<void> {
    for await (const { path, body } of readTar(bytes, limits)) {
      const item = parseItemPath(path);
      if (item && !item.version?.endsWith(PREFERRED)) {
        const { version, ...id } = item;
        const facts = readFacts(path, body);
        const other = version !== undefined || undefined;
        if (other) others += 1;
        await writer.item({ id, version: version ?? (facts.apiVersion.split("/").at(-1) || "v1"), body, facts, other });
      } else if (path.startsWith("metadata/") && path !== VERSION_FILE.path) {
        await writer.file(path, body);
      }
    }
    await writer.finish();
  }
  const tar = spool(name, writer.tar);
  const index = spool(`${name}'s index`, writer.index);
  try {
    await together(writer, [tar, index, fill()]);
  } catch (error) {
    for (const file of await Promise.allSettled([tar, index]))
      if (file.status === "fulfilled") await file.value.close();
    throw error;
  }
  const { otherVersions, ...archive } = await archiveOf(await tar, await index);
  return others ? { ...archive, otherVersions } : archive;
}

async function archiveOf(tar: Source, index: Source, indexEnd?: string): Promise<Archive> {
  try {
    return archive(tar, index, await readFooter(index, indexEnd));
  } catch (error) {
    await Promise.all([tar.close(), index.close()]);
    throw error;
  }
}

function archive(tar: Source, index: Source, footer: IndexFooter): Archive {
  const { segments, files, items, bytes } = footer;
  const size = segments.reduce((total, segment) => total + segment.length, 0);
  if (size !== tar.size) {
    throw damaged(tar, `it has ${tar.size} bytes, its index ${index.name} says ${size}`);
  }

  async function packed(number: number): Promise<Buffer> {
    const { offset, length, sha256: digest } = segments[number] ?? { offset: 0, length: 0, sha256: "" };
    if (length === 0) throw damaged(tar, `its index ${index.name} tells of a segment ${number} that isn't there`);
    const member = await tar.read(offset, offset + length);
    if (sha256(member) !== digest) throw damaged(tar, `segment ${number} differs from its digest`);
    return member;
  }

  async function segment(number: number): Promise<Buffer> {
    const member = await packed(number);
    const raw = await openMember(member);
    release(member);
    return raw;
  }

  function bodyOf(raw: Buffer, path: string, place: { offset: number; size: number; sha256: string }): Buffer {
    const body = raw.subarray(place.offset, place.offset + place.size);
    if (body.length !== place.size || sha256(body) !== place.sha256) {
      throw damaged(tar, `${JSON.stringify(path)} differs from its digest`);
    }
    return body;
  }

  async function* entries(match?: (id: ItemId) => boolean, narrow?: Narrowing): AsyncGenerator<IndexEntry> {
    for await (const entry of readEntries(index, footer, narrow))
      if (!entry.other && (!match || match(entry))) yield entry;
  }

  async function* otherVersions(): AsyncGenerator<IndexEntry> {
    for await (const entry of readEntries(index, footer)) if (entry.other) yield entry;
  }

  async function* reads(wanted: AsyncIterable<IndexEntry> | Iterable<IndexEntry>) {
    for await (const group of bySegment(wanted)) {
      yield async () => ({ group, raw: await segment((group[0] as IndexEntry).segment) });
    }
  }

  async function* checks(only: (segment: number) => boolean) {
    let next = 0;
    const check = (number: number, group: IndexEntry[]) => async () => {
      try {
        return { number, group, raw: await segment(number), reason: "" };
      } catch (error) {
        if (!isLifeboatError(error, "corrupt")) throw error;
        return { number, group, raw: undefined, reason: messageOf(error) };
      }
    };
    for await (const group of bySegment(entries())) {
      const number = (group[0] as IndexEntry).segment;
      for (; next < number; next++) if (only(next)) yield check(next, []);
      next = Math.max(next, number + 1);
      if (only(number)) yield check(number, group);
    }
    for (; next < segments.length; next++) if (only(next)) yield check(next, []);
  }

  return {
    totals: { items, bytes, segments: segments.length },
    entries,
    visit: (narrow, visit) => visitEntries(index, footer, narrow, visit),
    otherVersions,
    find: (id) => findEntry(index, footer, id),
    async *read(wanted, { passing = false } = {}) {
      for await (const { group, raw } of ahead(reads(wanted), 2)) {
        for (const entry of group) {
          const body = bodyOf(raw, itemPath(entry), entry);
          // A copy: else one small body that is kept would keep its whole segment.
          yield { entry, body: passing ? body : Buffer.from(body) };
        }
        release(raw);
      }
    },
    async check(entries) {
      const numbers = new Set([...entries].map((entry) => entry.segment));
      const reads = function* () {
        for (const number of numbers) yield () => packed(number);
      };
      for await (const member of ahead(reads(), 2)) release(member);
    },
    async file(path) {
      const entry = files.find((file) => file.path === path);
      return entry && Buffer.from(bodyOf(await segment(entry.segment), path, entry));
    },
    async *verify({ only = () => true, passed } = {}) {
      for await (const { number, group, raw, reason } of ahead(checks(only), 2)) {
        if (!raw && group.length === 0) yield { reason };
        for (const entry of group) {
          const path = itemPath(entry);
          try {
            if (raw) bodyOf(raw, path, entry);
            else yield { path, reason };
          } catch (error) {
            yield { path, reason: messageOf(error) };
          }
        }
        if (raw) release(raw);
        if ((await passed?.(group.length, number)) === false) return;
      }
    },
    async close() {
      await Promise.all([tar.close(), index.close()]);
    },
  };
}

async function* bySegment(entries: AsyncIterable<IndexEntry> | Iterable<IndexEntry>): AsyncGenerator<IndexEntry[]> {
  let group: IndexEntry[] = [];
  for await (const entry of entries) {
    if (group[0] && group[0].segment !== entry.segment) {
      yield group;
      group = [];
    }
    group.push(entry);
  }
  if (group.length > 0) yield group;
}

function damaged(tar: Source, reason: string): LifeboatError {
  return new LifeboatError("corrupt", `the archive ${tar.name} is damaged: ${reason}`, {
    key: tar.name,
    hint: "It was damaged or replaced after it was written: use another backup, or another copy of this one.",
  });
}
