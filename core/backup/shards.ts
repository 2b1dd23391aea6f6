import { pieceFolder } from "../layout.ts";
import type { Signer } from "../ports.ts";
import type { Slice } from "../slices.ts";
import type { BackupRun, ShardRun } from "./backup.ts";
import { beginningAt, type ShardRange } from "./collect.ts";
import { mergeReads } from "./merge.ts";
import { joinShards, MIDDLE } from "./pieces.ts";
import type { ClusterReading, Read } from "./readcluster.ts";
import type { BackupSpec } from "./scope.ts";
import { planShards } from "./shardplan.ts";
import {
  type BackupMore,
  captureSlice,
  goOnReading,
  inTheWay,
  isRead,
  PIECE_BYTES,
  readSlices,
  readState,
  type ShardedState,
  type Sliced,
  type SliceState,
  surveyed,
  writeState,
} from "./slices.ts";

/** Why a backup of this spec is read by one worker, whatever is asked for; undefined where nothing speaks against several. */
export function unshardable(
  { orderedResources = {} }: BackupSpec,
  { encrypted, hooked }: { encrypted: boolean; hooked: boolean },
): string | undefined {
  if (encrypted) return "it is encrypted, and no worker could read what another has stored";
  if (hooked) return "Pods have hooks, which would keep them frozen from one run to the next";
  if (Object.keys(orderedResources).length > 0) return "orderedResources says in which order objects are stored";
  return undefined;
}

/** Stores who is to read what of a cluster that was surveyed. Undefined where it is too little for two. */
export async function beginShards(reading: ClusterReading, most: number): Promise<BackupMore | undefined> {
  const { run, header, problems } = reading;
  const plan = await planShards(reading, most);
  if (!plan) return undefined;
  const of = plan.cuts.length - 1;
  run.log.log("info", `Is read in ${of} shards`, { byNamespace: plan.byNamespace.join(",") });
  await writeState(run, pieceFolder(run.name), 1, { ...surveyed(reading), plan, problems });
  return { more: true, items: 0, shards: { unread: numbersUpTo(of), of, since: header.startTimestamp } };
}

/** What shards have left: which of them are unread, or, where none is, all of it as one backup in slices. */
export async function gatherShards(
  run: BackupRun,
  { number, state: planned }: Sliced<ShardedState>,
  signer: Signer | undefined,
): Promise<BackupMore | Sliced<SliceState>> {
  const { bucket, name, signal } = run;
  const { plan, log, ...found } = planned;
  const of = plan.cuts.length - 1;
  const left = await Promise.all(numbersUpTo(of).map((shard) => readShard(run, planned, shard, signer)));
  const states = left.map((one) => one?.state);
  const unread = numbersUpTo(of).filter((shard) => {
    const place = states[shard - 1]?.read.collected.place;
    return !place || !isRead(place, plan.cuts[shard]);
  });
  const items = states.reduce((sum, state) => sum + (state?.read.collected.items ?? 0), 0);
  if (unread.length > 0) return { more: true, items, shards: { unread, of, since: found.header.startTimestamp } };
  const shards = states as SliceState[];
  const read = mergeReads(shards.map((state) => state.read));
  const logs = [log, ...shards.map((state) => state.log)].map((text) => Buffer.from(text, "base64"));
  const pieces = await joinShards(
    bucket,
    pieceFolder(name),
    shards.map((state) => state.pieces),
    { pieceBytes: PIECE_BYTES, signal },
  );
  const { header, resources, namespaces } = found;
  const whole = { header, resources, namespaces, pieces, read, log: Buffer.concat(logs).toString("base64") };
  return { number, state: whole };
}

/** How a shard's run ended: all of it is read; or, where it is not wanted any more, nothing was done. */
export interface ShardEnd {
  items: number;
  unwanted?: string;
}

/**
 * Reads a shard of a backup, or what is left of it, for as long as the slice lasts. What its spec is says the plan. Throws as
 * `backupSlice`.
 */
export async function backupShard(given: ShardRun, shard: number, slice: Slice): Promise<BackupMore | ShardEnd> {
  const { name, bucket, log } = given;
  const signer = await given.signer?.();
  const begun = await readSlices(given, signer);
  if (!begun || !("plan" in begun.state) || shard >= begun.state.plan.cuts.length)
    return { items: 0, unwanted: `backup "${name}" in ${bucket.location} has no shard ${shard} to be read` };
  const planned = begun.state;
  const run: BackupRun = { ...given, spec: planned.header.spec };
  const { cuts, byNamespace } = planned.plan;
  const range: ShardRange = { byNamespace: new Set(byNamespace), end: cuts[shard]! };
  const isDone = (read: Read) => isRead(read.collected.place, range.end);
  const left = await readShard(run, planned, shard, signer);
  if (left && isDone(left.state.read)) return { items: left.state.read.collected.items };
  const before = left ?? beginning(planned, shard);
  log.log(
    "info",
    `Reads shard ${shard} of ${cuts.length - 1} as of resourceVersion ${planned.header.resourceVersion}`,
    {
      slice: (before?.number ?? 0) + 1,
    },
  );
  const reading = goOnReading(run, planned, before?.state.read, before ? undefined : planned.problems);
  const folder = shardFolder(planned, name, shard);
  const ended = (await captureSlice(reading, slice, { folder, before, shard, range })) as BackupMore;
  return ended.whole ? { items: ended.items } : ended;
}

/** What a shard begins with; undefined for the first one, which begins as the backup does. */
function beginning({ plan, ...planned }: ShardedState, shard: number): Sliced<SliceState> | undefined {
  if (shard === 1) return undefined;
  const { header, resources, namespaces } = planned;
  const { resourceVersion } = header;
  const read: Read = {
    collected: beginningAt(plan.cuts[shard - 1]!),
    consistency: { grade: "exact", resourceVersion, exceptions: [] },
    inventory: { texts: [], volumes: [] },
    lint: undefined,
    volumes: undefined,
    problems: { warning: [], error: [] },
  };
  return { number: 0, state: { header, resources, namespaces, pieces: MIDDLE, read, log: "" } };
}

/** What a shard's slices have left. Nobody else's state passes for it. */
async function readShard(
  run: BackupRun,
  planned: ShardedState,
  shard: number,
  signer: Signer | undefined,
): Promise<Sliced<SliceState> | undefined> {
  const left = await readState<SliceState>(run, shardFolder(planned, run.name, shard), signer);
  if (!left || (left.state.shard === shard && left.state.header.run === planned.header.run)) return left;
  throw inTheWay(run, `can't be finished: what lies there as its shard ${shard} is none of it`);
}

/** Each attempt at a backup has its own: what is left of one that was deleted is none of the next one's. */
function shardFolder({ header }: ShardedState, name: string, shard: number): string {
  return `${pieceFolder(name)}${header.run}-${shard}/`;
}

function numbersUpTo(last: number): number[] {
  return Array.from({ length: last }, (_, place) => place + 1);
}
