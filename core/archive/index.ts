import { createHash } from "node:crypto";
import { z } from "zod";
import { LifeboatError, messageOf } from "../errors.ts";
import { release } from "../release.ts";
import { ahead } from "./flow.ts";
import { compressMember, frameMember, type Member, openMember, readMembers, sha256, writeMembers } from "./gzip.ts";
import { type ItemFacts, type ItemId, itemPath } from "./item.ts";
import { LIKENESS_RULES, likenessOf } from "./likeness.ts";
import type { Source } from "./source.ts";

/** One item's line. `version`: as in its path ("v1"); `offset`: of its body in the uncompressed segment; `size`, `sha256`, `likeness`: of the body. */
export interface IndexEntry extends ItemId, ItemFacts {
  version: string;
  segment: number;
  offset: number;
  size: number;
  sha256: string;
  /** What it is like (likeness.ts); undefined where that can't be told, and in an index made by other rules. */
  likeness?: string;
  /** The same object as another entry, in another version; only in what a foreign archive is spooled into. */
  other?: true;
}

/** Where a file of metadata/ lies. */
export interface FileEntry {
  path: string;
  segment: number;
  offset: number;
  size: number;
  sha256: string;
}

/** Of an archive: its items, their JSON's bytes (each item counted once), its segments. */
export interface ArchiveTotals {
  items: number;
  bytes: number;
  segments: number;
}

const VERSION = 1;
const FORMAT = { format: "lifeboat-index", version: VERSION, likeness: LIKENESS_RULES };
/** Characters of lines after which a member is closed. */
const MEMBER_SIZE = 256 * 1024;
/** Compressed bytes of members that are read at once. */
const READ_SIZE = 1024 * 1024;
/** The footer of most indexes lies within this distance of the end. */
const TAIL_SIZE = 64 * 1024;
/** The closing member holds nothing but, in an FEXTRA subfield "LF", the footer's offset and the SHA-256 of its member. */
const CLOSING_SIZE = 74;
/** Nothing, deflated; its CRC and length. */
const NOTHING = Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

const memberShape = { offset: z.int().min(0), length: z.int().min(0), raw: z.int().min(0), sha256: z.string() };
const footerShape = z.object({
  format: z.literal("lifeboat-index"),
  version: z.literal(VERSION),
  likeness: z.int().optional(),
  items: z.int().min(0),
  bytes: z.int().min(0),
  files: z.array(
    z.object({
      path: z.string(),
      segment: z.int().min(0),
      offset: z.int().min(0),
      size: z.int().min(0),
      sha256: z.string(),
    }),
  ),
  segments: z.array(z.object(memberShape)).min(1),
  members: z.array(z.object({ ...memberShape, items: z.int(), smallest: z.string(), largest: z.string() })),
});

/** The index's last line: what the archive and the index consist of. */
export type IndexFooter = z.infer<typeof footerShape>;

/** An index being written. */
export interface IndexWriter {
  /** Adds the next item in archive order. Where there is no room for another, a promise that resolves when there is. */
  add(entry: IndexEntry): Promise<void> | undefined;
  finish(archive: { segments: Member[]; files: FileEntry[]; items: number; bytes: number }): Promise<void>;
  /** Ends without an end, for another writer to go on: gives all members so far. */
  pause(): Promise<IndexMember[]>;
  fail(error: unknown): void;
  readonly out: AsyncIterable<Buffer>;
}

/**
 * Starts an index, or what follows the members `before` of one that was paused. The same entries give the same bytes.
 * `onStop` hears of a consumer that gave up.
 */
export function writeIndex(onStop: (error: unknown) => void, before: IndexMember[] = []): IndexWriter {
  const file = writeMembers(onStop, before);
  const ranges = before.map(({ items, smallest, largest }) => ({ items, smallest, largest }));
  let lines = "";
  let range = { items: 0, smallest: "", largest: "" };

  async function close(): Promise<void> {
    const raw = Buffer.from(lines);
    ranges.push(range);
    lines = "";
    range = { items: 0, smallest: "", largest: "" };
    await file.push(raw);
  }

  async function members(): Promise<IndexMember[]> {
    if (range.items > 0) await close();
    return (await file.members()).map((member, i) => ({ ...member, ...ranges[i]! }));
  }

  return {
    add(entry) {
      const path = itemPath(entry);
      if (range.items === 0 || path < range.smallest) range.smallest = path;
      if (range.items === 0 || path > range.largest) range.largest = path;
      range.items += 1;
      lines += `${line(entry)}\n`;
      return lines.length >= MEMBER_SIZE ? close() : undefined;
    },
    async finish({ segments, files, items, bytes }) {
      const footer = { ...FORMAT, items, bytes, files, segments, members: await members() };
      await file.push(Buffer.from(`${JSON.stringify(footer)}\n`));
      const { offset, sha256: digest } = (await file.members()).at(-1) as Member;
      await file.pushBytes(closingMember(offset, digest));
      file.end();
    },
    async pause() {
      const closed = await members();
      file.end();
      return closed;
    },
    fail: file.fail,
    out: file.out,
  };
}

/** What the index says of an item's body. */
export function bodyFacts(body: Buffer, resource: string): Pick<IndexEntry, "size" | "sha256" | "likeness"> {
  return { size: body.length, sha256: sha256(body), likeness: likenessOf(body, resource) };
}

/** The fields in the order of docs/format.md. */
function line(entry: IndexEntry): string {
  const { resource, namespace, name, version, kind, apiVersion, uid, resourceVersion } = entry;
  const { owners, labels, images, segment, offset, size, sha256, likeness, other } = entry;
  return JSON.stringify({
    resource,
    namespace,
    name,
    version,
    kind,
    apiVersion,
    uid,
    resourceVersion,
    owners,
    labels,
    images,
    segment,
    offset,
    size,
    sha256,
    likeness,
    other,
  });
}

function closingMember(footerOffset: number, footerDigest: string): Buffer {
  const field = Buffer.alloc(44);
  field.write("LF", "latin1");
  field.writeUInt16LE(40, 2);
  field.writeBigUInt64LE(BigInt(footerOffset), 4);
  field.write(footerDigest, 12, "hex");
  return frameMember(NOTHING, field);
}

/** SHA-256 of a whole index, and of its end, which vouches for all of it and is where reading begins. */
export interface IndexDigests {
  whole: string;
  end: string;
}

/** Gives on the bytes of an index; once they have ended, `digests` tells theirs. */
export function digestingIndex(bytes: AsyncIterable<Buffer>): {
  bytes: AsyncIterable<Buffer>;
  digests: () => IndexDigests;
} {
  const whole = createHash("sha256");
  let end = Buffer.alloc(0);
  async function* pass(): AsyncGenerator<Buffer> {
    for await (const chunk of bytes) {
      whole.update(chunk);
      end = Buffer.concat([end, chunk.subarray(-CLOSING_SIZE)]).subarray(-CLOSING_SIZE);
      yield chunk;
    }
  }
  return { bytes: pass(), digests: () => ({ whole: whole.copy().digest("hex"), end: sha256(end) }) };
}

/**
 * Reads an index's footer: `corrupt` when damaged, or where the digest of its end is another one than `end`; `invalid` when a
 * newer Lifeboat wrote it.
 */
export async function readFooter(index: Source, end?: string): Promise<IndexFooter> {
  if (index.size < CLOSING_SIZE) throw damaged(index, "it is too short");
  const tailStart = Math.max(0, index.size - TAIL_SIZE);
  const tail = await index.read(tailStart, index.size);
  const closing = tail.subarray(-CLOSING_SIZE);
  const offset = Number(closing.readBigUInt64LE(24));
  const digest = closing.subarray(32, 64).toString("hex");
  if (!closing.equals(closingMember(offset, digest))) throw damaged(index, "it is cut off, or its end is damaged");
  if (end !== undefined && sha256(closing) !== end)
    throw damaged(index, "it is another one than the backup's record tells of");
  const footerEnd = index.size - CLOSING_SIZE;
  if (offset >= footerEnd) throw damaged(index, "its end is damaged");
  const member =
    offset >= tailStart ? tail.subarray(offset - tailStart, -CLOSING_SIZE) : await index.read(offset, footerEnd);
  if (sha256(member) !== digest) throw damaged(index, "its footer differs from its digest");
  return parseFooter(index, (await openMember(member)).toString());
}

function parseFooter(index: Source, text: string): IndexFooter {
  const footer = parse(index, text) as { format?: unknown; version?: unknown } | null;
  if (footer?.format !== "lifeboat-index") throw damaged(index, "it has no footer");
  if (typeof footer.version === "number" && footer.version > VERSION) {
    throw new LifeboatError("invalid", `${index.name} was written by a newer Lifeboat; upgrade`, {
      hint: `Its format is version ${footer.version}; this Lifeboat reads up to ${VERSION}.`,
    });
  }
  const parsed = footerShape.safeParse(footer);
  if (!parsed.success) throw damaged(index, `its footer is not one (${parsed.error.issues[0]?.path.join(".")})`);
  return parsed.data;
}

/** What of an index need not be looked at. What is given may be more than what is asked for. */
export interface Narrowing {
  /** Only members are read in which a path may begin with one of these texts. */
  within?: string[];
  /** Only members are read that hold a path which is this text or sorts after it. */
  from?: string;
  /** Only lines are parsed that hold all of these texts, in upper or lower case. */
  holding?: string[];
}

/** All entries in archive order, each member checked against its digest: `corrupt`. Few members are open at a time. */
export async function* readEntries(
  index: Source,
  footer: IndexFooter,
  narrow: Narrowing = {},
): AsyncGenerator<IndexEntry> {
  for await (const lines of readLines(index, footer, narrow))
    for (const line of lines) yield readEntry(index, footer, line);
}

/**
 * Hears of an item. `identity` is what its line says of its name and kind, `facts` of its labels and images, as texts that are the
 * same for those that say the same, in whatever backup. They are parts of a large text: who keeps them copies them. `entry`
 * parses the line.
 */
export type Visit = (identity: string, facts: string, entry: () => IndexEntry) => void;

/** As `readEntries`, for who looks at very many lines and needs few of them parsed. */
export async function visitEntries(index: Source, footer: IndexFooter, narrow: Narrowing, visit: Visit): Promise<void> {
  for await (const lines of readLines(index, footer, narrow))
    for (const line of lines)
      if (!line.endsWith(OTHER)) {
        // No string holds a quote after a comma: it would be escaped. A label may be named as a field is, but for the last one.
        const uid = line.indexOf(',"uid":');
        const labels = line.indexOf(',"labels":', uid);
        const place = line.lastIndexOf(',"segment":', line.length - LEAST_PLACE);
        visit(line.slice(0, uid), line.slice(labels, place), () => readEntry(index, footer, line));
      }
}

/** How long at least is what a line says of the place: it begins no later than that before the line's end. */
const LEAST_PLACE = `,"segment":0,"offset":0,"size":0,"sha256":"${"0".repeat(64)}"}`.length;
/** How the lines end of entries that are `other`. */
const OTHER = ',"other":true}';

function readEntry(index: Source, { likeness }: IndexFooter, line: string): IndexEntry {
  const entry = parse(index, BEYOND_ASCII.test(line) ? Buffer.from(line, "latin1").toString() : line);
  if (!isEntry(entry)) throw damaged(index, "a line of it is no item's");
  if (likeness !== LIKENESS_RULES) entry.likeness = undefined;
  return entry;
}

const BEYOND_ASCII = /[^\0-\x7f]/;

/** The lines of each member that may hold what is asked for, as their bytes, one a character: most need not be decoded. */
async function* readLines(
  index: Source,
  footer: IndexFooter,
  { within, from = "", holding }: Narrowing,
): AsyncGenerator<string[]> {
  const members = footer.members.filter(
    (member) => member.largest >= from && (within === undefined || mayHold(member, within)),
  );
  const texts = holding
    ?.filter(Boolean)
    .map(foldedText)
    .sort((a, b) => b.length - a.length);
  for await (const { member, raw } of ahead(memberReads(index, members), 2)) {
    let count = 0;
    for (const text of partsOf(index, raw)) {
      const lines = texts?.length ? linesHolding(text, texts) : linesOf(text);
      count += lines.length;
      yield lines;
    }
    if (!texts?.length && count !== member.items) throw damaged(index, "a part of it has lines too many or too few");
    release(raw);
  }
}

/** Where a line says in which segment its item lies, and what stands behind that. */
const PLACE =
  /,"segment":(\d+)(,"offset":\d+,"size":\d+,"sha256":"[0-9a-f]{64}"(?:,"likeness":"[^"]*")?(?:,"other":true)?\})$/gm;

/**
 * The members of an index, or of a part of one, as they are where so many segments more stand before its own: their bytes, one after
 * the other. `members`: what is known of them. Throws `corrupt`.
 */
export async function* moveMembers(
  file: AsyncIterable<Buffer>,
  members: IndexMember[],
  segments: number,
): AsyncGenerator<{ bytes: Buffer; member: IndexMember }> {
  async function* moves() {
    const left = members.values();
    for await (const { raw } of readMembers(file)) {
      const member = left.next().value;
      if (!member) throw new LifeboatError("corrupt", "a part of an index has more members than are told of it");
      yield async () => {
        const bytes = await compressMember(movedLines(raw, member.items, segments));
        return { bytes, member: { ...member, length: bytes.length, sha256: sha256(bytes) } };
      };
    }
    if (!left.next().done)
      throw new LifeboatError("corrupt", "a part of an index has fewer members than are told of it");
  }
  yield* ahead(moves(), MOVED_AT_ONCE);
}

const MOVED_AT_ONCE = 4;

function movedLines(raw: Buffer, items: number, segments: number): Buffer {
  let moved = 0;
  const parts = [...partsOf({ name: "a part of an index" }, raw)].map((text) => {
    const lines = text.replaceAll(PLACE, (_, segment: string, rest: string) => {
      moved++;
      return `,"segment":${Number(segment) + segments}${rest}`;
    });
    return Buffer.from(lines, "latin1");
  });
  if (moved !== items) throw new LifeboatError("corrupt", "a part of an index has a line that is no item's");
  return Buffer.concat(parts);
}

function linesOf(text: string): string[] {
  const lines = text.split("\n");
  lines.pop();
  return lines;
}

/** How much of a member is made a text at a time: beyond about 128 KB each would be a mapping of memory of its own. */
const PART = 64 * 1024;

/** A member's lines as texts of some of them, each with its line feed, their bytes one a character. */
function* partsOf(index: Pick<Source, "name">, raw: Buffer): Generator<string> {
  for (let start = 0, end: number; start < raw.length; start = end) {
    end = (start + PART < raw.length ? raw.indexOf("\n", start + PART) : raw.lastIndexOf("\n")) + 1;
    if (end <= start) throw damaged(index, "a part of it ends within a line");
    yield raw.toString("latin1", start, end);
  }
}

/** A text as lines hold it: its bytes, one a character, in lower case. */
function foldedText(text: string): string {
  return Buffer.from(JSON.stringify(text).slice(1, -1)).toString("latin1").toLowerCase();
}

/** Searched for the first text, the longest. It takes a fifth of the time of parsing all lines. */
function linesHolding(text: string, [longest = "", ...others]: string[]): string[] {
  const lines: string[] = [];
  const folded = text.toLowerCase();
  let end = -1;
  for (let at = folded.indexOf(longest); at >= 0; at = folded.indexOf(longest, end)) {
    const next = folded.indexOf("\n", end + 1);
    const start = (next > at ? end : folded.lastIndexOf("\n", at)) + 1;
    end = next > at ? next : folded.indexOf("\n", at);
    const line = others.length ? folded.slice(start, end) : "";
    if (others.every((other) => line.includes(other))) lines.push(text.slice(start, end));
  }
  return lines;
}

function mayHold({ smallest, largest }: IndexMember, beginnings: string[]): boolean {
  return beginnings.some((text) => largest >= text && (smallest <= text || smallest.startsWith(text)));
}

/** The entry of one item, out of the members whose range of paths holds it. */
export async function findEntry(index: Source, footer: IndexFooter, id: ItemId): Promise<IndexEntry | undefined> {
  const path = itemPath(id);
  for await (const entry of readEntries(index, footer, { within: [path], holding: [id.name] }))
    if (!entry.other && itemPath(entry) === path) return entry;
  return undefined;
}

/** Where a member of the index lies, and which items it tells of. */
export type IndexMember = IndexFooter["members"][number];

async function* memberReads(
  index: Source,
  members: IndexMember[],
): AsyncGenerator<() => Promise<{ member: IndexMember; raw: Buffer }>> {
  for await (const { run, start, bytes } of ahead(runReads(index, members), 2)) {
    for (const member of run) {
      const from = member.offset - start;
      yield () => openChecked(index, member, bytes.subarray(from, from + member.length));
    }
  }
}

/** Members that lie together, some at a time. */
function* runReads(index: Source, members: IndexMember[]) {
  for (let i = 0; i < members.length; ) {
    const first = i;
    const start = (members[first] as Member).offset;
    let end = start;
    for (let member = members[i]; member && follows(member, start, end); member = members[++i]) {
      end = member.offset + member.length;
    }
    if (i === first) end = start + (members[i++] as Member).length;
    const run = members.slice(first, i);
    yield async () => ({ run, start, bytes: await index.read(start, end) });
  }
}

function follows({ offset, length }: IndexMember, start: number, end: number): boolean {
  return offset === end && offset + length - start <= READ_SIZE;
}

async function openChecked(index: Source, member: IndexMember, bytes: Buffer) {
  if (sha256(bytes) !== member.sha256) throw damaged(index, "a part of it differs from its digest");
  return { member, raw: await openMember(bytes) };
}

function isEntry(value: unknown): value is IndexEntry {
  if (typeof value !== "object" || value === null) return false;
  const entry = value as Record<string, unknown>;
  const strings = [
    "resource",
    "namespace",
    "name",
    "version",
    "kind",
    "apiVersion",
    "uid",
    "resourceVersion",
    "sha256",
  ];
  return (
    strings.every((field) => typeof entry[field] === "string") &&
    ["string", "undefined"].includes(typeof entry.likeness) &&
    [entry.segment, entry.offset, entry.size].every(
      (number) => Number.isSafeInteger(number) && (number as number) >= 0,
    ) &&
    Array.isArray(entry.owners) &&
    Array.isArray(entry.images) &&
    typeof entry.labels === "object" &&
    entry.labels !== null
  );
}

function parse(index: Source, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw damaged(index, `a line of it is no JSON: ${messageOf(error)}`);
  }
}

function damaged(index: Pick<Source, "name">, reason: string): LifeboatError {
  return new LifeboatError("corrupt", `the index ${index.name} is damaged: ${reason}`, {
    key: index.name,
    hint: "The backup was damaged after it was written. Without the index object, Lifeboat rebuilds it from the archive.",
  });
}
