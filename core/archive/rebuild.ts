import { LifeboatError } from "../errors.ts";
import { type Member, readMembers, sha256 } from "./gzip.ts";
import { type ArchiveTotals, bodyFacts, type FileEntry, type IndexEntry, writeIndex } from "./index.ts";
import {
  type ItemFacts,
  type ItemId,
  itemFacts,
  itemPath,
  type KubernetesObject,
  PREFERRED,
  parseItemPath,
} from "./item.ts";
import { type ReadLimits, readTarFiles, type TarFile } from "./tar.ts";
import { VERSION_FILE } from "./writer.ts";

/** An index made again from its archive. */
export interface RebuiltIndex {
  /** The index's bytes, the same as the run that wrote the archive would have written. */
  readonly index: AsyncIterable<Buffer>;
  /** What the archive holds, once the index has been consumed. Rejects as `index` does. */
  readonly finished: Promise<ArchiveTotals>;
}

/**
 * Reads a Lifeboat archive once and makes its index. Anything
 * truncated or damaged, or not laid out as a Lifeboat writes it: `corrupt`.
 */
export function rebuildIndex(tar: AsyncIterable<Buffer>, options: { limits?: ReadLimits } = {}): RebuiltIndex {
  const index = writeIndex(() => {});
  const segments: Member[] = [];
  const starts: number[] = [];
  const files: FileEntry[] = [];
  let segment = 0;
  let items = 0;
  let bytes = 0;

  async function* segmentBytes(): AsyncGenerator<Buffer> {
    let start = 0;
    for await (const { member, raw } of readMembers(tar)) {
      segments.push(member);
      starts.push(start);
      start += raw.length;
      yield raw;
    }
  }

  function place({ offset }: TarFile) {
    while ((starts[segment + 1] ?? Number.POSITIVE_INFINITY) <= offset) segment += 1;
    return { segment, offset: offset - (starts[segment] as number) };
  }

  async function walk() {
    let waiting: { id: ItemId; entry: Omit<IndexEntry, "version">; body: Buffer } | undefined;
    for await (const file of readTarFiles(segmentBytes(), options.limits ?? {})) {
      if (files.length === 0 && file.path !== VERSION_FILE.path)
        throw irregular(file.path, "stands before its version");
      const id = parseItemPath(file.path);
      if (waiting) {
        const entry = { ...waiting.entry, version: pairVersion(waiting.id, file) };
        if (!waiting.body.equals(file.body)) throw irregular(file.path, "differs from the entry before it");
        waiting = undefined;
        items += 1;
        bytes += entry.size;
        await index.add(entry);
      } else if (id && id.version === undefined) {
        const { path, body } = file;
        const facts = { ...readFacts(path, body), ...bodyFacts(body, id.resource) };
        waiting = { id, entry: { ...id, ...facts, ...place(file) }, body };
      } else if (file.path.startsWith("metadata/")) {
        const { path, body } = file;
        files.push({ path, ...place(file), size: body.length, sha256: sha256(body) });
      } else {
        throw irregular(file.path, "has no place in a Lifeboat archive");
      }
    }
    if (waiting) throw irregular(itemPath(waiting.id), "has no versioned copy");
    await index.finish({ segments, files, items, bytes });
    return { items, bytes, segments: segments.length };
  }

  const finished = walk().catch((error) => {
    index.fail(error);
    throw error;
  });
  finished.catch(() => {});
  return { index: index.out, finished };
}

/** What the index keeps of the object in `body`: `corrupt` when it is no JSON object. */
export function readFacts(path: string, body: Buffer): ItemFacts {
  let object: unknown;
  try {
    object = JSON.parse(body.toString());
  } catch (error) {
    throw new LifeboatError("corrupt", `the archive's entry ${JSON.stringify(path)} is no JSON`, { cause: error });
  }
  if (typeof object !== "object" || object === null || Array.isArray(object)) {
    throw new LifeboatError("corrupt", `the archive's entry ${JSON.stringify(path)} is no JSON object`);
  }
  return itemFacts(object as KubernetesObject);
}

function pairVersion(id: ItemId, file: TarFile): string {
  const version = parseItemPath(file.path)?.version;
  if (!version?.endsWith(PREFERRED) || file.path !== itemPath(id, version)) {
    throw irregular(itemPath(id), "is not followed by its versioned copy");
  }
  return version.slice(0, -PREFERRED.length);
}

function irregular(path: string, reason: string): LifeboatError {
  return new LifeboatError("corrupt", `the archive's entry ${JSON.stringify(path)} ${reason}`);
}
