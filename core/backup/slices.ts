import { digestingIndex, type IndexDigests } from "../archive/index.ts";
import type { KubernetesObject } from "../archive/item.ts";
import { OUTCOME_FILE } from "../archive/writer.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { digestOf } from "../integrity/checks.ts";
import type { Resource } from "../kube/resource.ts";
import { backupKeys, pieceFolder } from "../layout.ts";
import type { Signer } from "../ports.ts";
import { leaveSlice, type More, readSlice, type Slice, type SliceRow, signerVoucher } from "../slices.ts";
import { differenceOf, leftoverHint, takenMeanwhile } from "./adopt.ts";
import type { BackupRun, ShardRun } from "./backup.ts";
import type { CollectPlace, ShardRange } from "./collect.ts";
import { holding, retentionOf } from "./hold.ts";
import { type ArchiveInPieces, MIDDLE, writePieces } from "./pieces.ts";
import { type ClusterReading, type Problems, type Read, readCluster, reporting, startReading } from "./readcluster.ts";
import type { Archived, ArchiveHeader } from "./record.ts";
import { backupScope } from "./scope.ts";
import type { ShardPlan } from "./shardplan.ts";
import { takeBack } from "./takeback.ts";

/** The end of a slice of a backup that is not the last one; `items` are stored so far. */
export interface BackupMore extends More {
  /** Those that are to be read first, by `backupShard`, of so many; since when, as ISO time. */
  shards?: { unread: number[]; of: number; since: string };
  /** Of a shard: all of it is read. */
  whole?: boolean;
}

/** No more is lost of a run that is killed. */
export const PIECE_BYTES = 16 << 20;
export const PIECE_MS = 60_000;
/** The share of a piece that is held in memory: what a backup has less of is stored as by a run without a deadline. */
const HELD_SHARE = 1 / 4;

/** What the survey found, as JSON. */
interface Surveyed {
  header: ArchiveHeader;
  resources: Resource[];
  namespaces: string[];
  /** Of all slices so far: gzipped, in base64. */
  log: string;
}

/** What a slice leaves for the next: what was read, and where. */
export interface SliceState extends Surveyed {
  pieces: ArchiveInPieces;
  read: Read;
  /** Of a shard: its number. */
  shard?: number;
}

/** What the first run of a sharded backup leaves: who reads what. */
export interface ShardedState extends Surveyed {
  plan: ShardPlan;
  problems: Problems;
}

/** A backup that is being made in slices, or a shard of it. */
export interface Sliced<State> {
  /** Of the state that was read. */
  number: number;
  state: State;
}

/**
 * What slices before this one have left of a backup; undefined where there were none. Throws `conflict` where that is of another
 * backup than the run's, or, for one that is to be signed, was not left by who signs.
 */
export async function readSlices(
  run: ShardRun,
  signer: Signer | undefined,
): Promise<Sliced<SliceState | ShardedState> | undefined> {
  const left = await readState<SliceState | ShardedState>(run, pieceFolder(run.name), signer);
  if (!left) return undefined;
  if ("shard" in left.state) throw inTheWay(run, "can't be finished: what lies there is only a shard of it");
  const difference = await differenceOf(left.state.header, run);
  if (difference) throw inTheWay(run, `${difference} lies there`);
  return left;
}

/**
 * What others have left in a row of states; undefined where there is nothing. Throws `conflict` where it is to be signed, and was
 * not by the signer, or names pieces that lie elsewhere.
 */
export async function readState<State extends Surveyed>(
  run: ShardRun,
  folder: string,
  signer: Signer | undefined,
): Promise<Sliced<State> | undefined> {
  const { name } = run;
  const left = await readSlice<State>(rowOf(run, folder, signer));
  if (!left) return undefined;
  if ("flaw" in left && left.flaw === "unreadable")
    throw new LifeboatError("corrupt", `${left.key} can't be read`, { key: left.key, hint: leftoverHint(name) });
  if ("flaw" in left) throw inTheWay(run, "can't be finished and signed, for it is not signed by who signs it now");
  const { number, state } = left;
  const pieces = "pieces" in state ? (state.pieces as ArchiveInPieces) : MIDDLE;
  const elsewhere = [...pieces.tar, ...pieces.index].find(({ key }) => !key.startsWith(folder));
  if (elsewhere) throw inTheWay(run, `can't be finished: ${elsewhere.key} is no piece of it`);
  return { number, state };
}

export function inTheWay({ bucket, name }: ShardRun, what: string): LifeboatError {
  return new LifeboatError("conflict", `an unfinished backup "${name}" in ${bucket.location} ${what}`, {
    hint: leftoverHint(name),
  });
}

export async function writeState(
  run: BackupRun,
  folder: string,
  number: number,
  content: SliceState | ShardedState,
): Promise<void> {
  await leaveSlice(rowOf(run, folder, await run.signer?.()), number, content);
}

function rowOf({ bucket, name, signal }: ShardRun, folder: string, signer: Signer | undefined): SliceRow {
  return { bucket, folder, of: `backup "${name}"`, voucher: signerVoucher(signer), signal };
}

/** What a slice knows of what it stores. */
export interface SliceOptions {
  /** Where its states and pieces lie. */
  folder: string;
  before?: Sliced<SliceState>;
  /** When the slice began, in milliseconds since the epoch, where that was not just now. */
  begun?: number;
  /** Of a shard: its number, and which LISTs it makes. */
  shard?: number;
  range?: ShardRange;
}

/** Reads until all is read or the slice ends; what waits in memory becomes a piece from time to time. Of a shard all ends with `BackupMore`. */
export async function captureSlice(
  reading: ClusterReading,
  slice: Slice,
  options: SliceOptions,
): Promise<Archived | BackupMore> {
  const { run, header, inventory, volumes, failing } = reading;
  const { folder, before, begun = Date.now(), shard, range } = options;
  const { signal } = run;
  const { ends, lengthMs = Number.POSITIVE_INFINITY, pieceBytes = PIECE_BYTES, pieceMs = PIECE_MS } = slice;
  const mtime = new Date(header.startTimestamp);
  const from = before?.state.pieces;
  const pieces = writePieces(run.bucket, folder, { mtime, from, heldBytes: pieceBytes * HELD_SHARE, signal });
  const logBefore = Buffer.from(before?.state.log ?? "", "base64");
  let number = before?.number ?? 0;
  let stored = Date.now();
  let items = 0;
  let whole = false;
  let ended = false;
  const takeBackCopies = async () => {
    const made = { ...run, run: header.run, log: run.log.log, adoptable: !run.signer, sliced: true };
    if (volumes) await takeBack(volumes, made);
  };

  /** What follows once all is read, copies of volumes above all, is not cut: it gets most of a slice. */
  const isOver = (place: CollectPlace) => {
    const heavy = place === "read" && (pieces.stored() > 0 || (volumes?.holds() ?? 0) > 0);
    return ends.aborted || (heavy && Date.now() - begun > lengthMs / 2);
  };
  const goOn = async (place: CollectPlace, readSoFar: () => Read) => {
    whole = isRead(place, range?.end);
    const over = whole || isOver(place);
    if (!over && pieces.waiting() < pieceBytes && Date.now() - stored < pieceMs) return true;
    const read = readSoFar();
    number += 1;
    await writeState(run, folder, number, {
      ...surveyed(reading, logBefore),
      pieces: await pieces.store(),
      read,
      shard,
    });
    stored = Date.now();
    items = read.collected.items;
    return !over;
  };
  try {
    const outcome = await readCluster(reading, { writer: pieces, from: before?.state.read.collected, range, goOn });
    if (!outcome) return { more: true, items, whole };
    ended = true;
    await pieces.file(OUTCOME_FILE, Buffer.from(JSON.stringify(outcome)));
    await pieces.finish();
    const index = await storeArchive(run, header, pieces.whole());
    return { header, outcome, inventory, index, logBefore, takeBackCopies };
  } catch (error) {
    pieces.abort(error);
    failing.abort(error);
    // What has no end is finished by nobody.
    await (ended ? takeBackCopies() : volumes?.discard());
    throw error;
  }
}

/** Whether a shard has made all its LISTs: those before number `end`. */
export function isRead(place: CollectPlace, end: number | undefined): boolean {
  return end !== undefined && typeof place === "object" && !place.from && place.listing >= end;
}

/** What the next run is to know beside what was read. */
export function surveyed(
  { header, resources, namespaces, run }: ClusterReading,
  logBefore = Buffer.alloc(0),
): Surveyed {
  const log = Buffer.concat([logBefore, run.log.gzipped()]).toString("base64");
  return { header, resources, namespaces: namespaces.items.map(({ body }) => body.toString()), log };
}

/** Goes on with what slices before this one have left. */
export async function continueSlices(
  run: BackupRun,
  slice: Slice,
  before: Sliced<SliceState>,
  begun?: number,
): Promise<Archived | BackupMore> {
  const { state, number } = before;
  const { resourceVersion } = state.header;
  run.log.log("info", `Goes on with the cluster as of resourceVersion ${resourceVersion}`, { slice: number + 1 });
  return captureSlice(goOnReading(run, state, state.read), slice, { folder: pieceFolder(run.name), before, begun });
}

/** Goes on to read what was surveyed by another, who has read so much of it, and told of these problems. */
export function goOnReading(
  run: BackupRun,
  { header, resources, namespaces }: Surveyed,
  read: Read | undefined,
  problems = read?.problems,
): ClusterReading {
  const items = namespaces.map((text) => ({ body: Buffer.from(text), object: JSON.parse(text) as KubernetesObject }));
  const names = items.map(({ object }) => object.metadata.name);
  const facts = {
    header,
    resources,
    scope: backupScope(header.settled ?? header.spec, resources, names),
    namespaces: { revision: header.resourceVersion, items },
    ...reporting(run.log.log, problems),
  };
  return startReading(run, facts, read);
}

/** Of a backup that is to be signed, what lies there already is as good where it is the same. */
async function storeArchive(
  { bucket, name, signer, signal }: BackupRun,
  header: ArchiveHeader,
  bytes: Record<"tar" | "index", () => AsyncIterable<Buffer>>,
): Promise<IndexDigests> {
  const keys = backupKeys(name);
  const held = holding(bucket, retentionOf(header));
  const index = digestingIndex(bytes.index());
  const orSame = (key: string, ours: () => AsyncIterable<Buffer>) => async (error: unknown) => {
    if (!signer || !isLifeboatError(error, "conflict")) throw error;
    const again = digestingIndex(ours());
    for await (const _ of again.bytes);
    if ((await digestOf(bucket, key, signal)) !== again.digests().whole) throw error;
    return again.digests();
  };
  try {
    await held.put(keys.tar, bytes.tar(), { ifAbsent: true, signal }).catch(orSame(keys.tar, bytes.tar));
    const putting = held.put(keys.index, index.bytes, { ifAbsent: true, signal });
    return await putting.then(index.digests, orSame(keys.index, bytes.index));
  } catch (error) {
    // Who has finished removes the pieces.
    const taken = isLifeboatError(error, "conflict") || isLifeboatError(error, "missing");
    throw taken ? takenMeanwhile(bucket, name, error) : error;
  }
}
