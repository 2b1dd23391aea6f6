import type { ShardEnd } from "../backup/shards.ts";
import type { BackupMore } from "../backup/slices.ts";
import { untilNextLook } from "../comeback.ts";
import { LifeboatError } from "../errors.ts";
import type { BackupJob } from "../job.ts";
import { isLocked, LOCK_TIMING, type LockScope, type LockTiming, lockState, tryLock } from "../lock.ts";
import { startRunLog } from "../log.ts";
import type { Bucket } from "../ports.ts";
import type { More } from "../slices.ts";
import type { JobContext, NamedContext, Outcome } from "./context.ts";
import { type LockedRun, runUnder } from "./locked.ts";

/** How often somebody who drives them has run unread shards in vain before the backup is given up. */
export const MOST_TIMES = 3;
/** How long a backup waits for its shards: beyond that nothing has its revision any more. */
const LONGEST_MS = 24 * 3_600_000;

/** What is locked while a shard is read. It lies with what is read, and goes with that. */
export function shardLock(bucket: Bucket, backup: string, shard: number): LockScope {
  return { bucket, kind: "shards", name: `${backup}/shard-${shard}` };
}

/** Reads a shard of a backup, or what is left of it, unless somebody else does. The backup itself tells how it went. */
export async function runShardJob(
  job: BackupJob & { name: string; shard: number },
  context: NamedContext,
  work: (run: LockedRun) => Promise<More | ShardEnd>,
): Promise<Outcome> {
  const { name, shard } = job;
  const { bucket, signal, listen, by, timing } = context;
  context.named(name);
  const lock = await tryLock(shardLock(bucket, name, shard), { signal, by, timing });
  if (lock === "running") return { duplicate: true, skipped: `another run reads shard ${shard} of backup "${name}"` };
  await using held = lock;
  const log = startRunLog({ backup: `velero/${name}`, shard: String(shard) }, listen);
  const ended = await work(runUnder(held, log, context));
  if ("more" in ended) return { duplicate: false, next: job, items: ended.items };
  return ended.unwanted ? { duplicate: false, skipped: ended.unwanted } : { duplicate: false, items: ended.items };
}

/**
 * What is left of a backup whose shards are not all read: the shards that nobody reads, as jobs of their own, and `rest`, which is the
 * backup's job itself. Where that can't be begun at once it says when: those that were handed over just now may not have begun, and
 * others are being read. Where nobody drives them (`loops`), what has no lock may wait in a queue for its turn: it is handed over again
 * ever more seldom. Throws `timeout` where that leads nowhere.
 */
export async function shardJobs(
  rest: BackupJob & { name: string },
  { items, shards: { unread, of, since } }: BackupMore & Required<Pick<BackupMore, "shards">>,
  context: Pick<JobContext, "bucket" | "timing" | "signal" | "loops">,
): Promise<{ next: BackupJob; parts?: BackupJob[] }> {
  const { bucket, timing = LOCK_TIMING, signal, loops = false } = context;
  const now = Date.now();
  const begun = Date.parse(since);
  const waitMs = timing.valid / 6;
  const { times, ...then } = rest.handed ?? { at: undefined, times: 0, items: 0 };
  const at = then.at === undefined ? undefined : Date.parse(then.at);
  const inVain = items > then.items ? 0 : times;
  const next = untilNextLook(begun, now, waitMs);
  const later = { next: { ...rest, notBefore: new Date(now + next).toISOString() } };
  const given = (what: string) => {
    const hint = `the logs of the platform tell why; "lifeboat backup delete ${rest.name}" takes away what there is of it`;
    return new LifeboatError("timeout", `${unread.length} of ${of} shards of backup "${rest.name}" ${what}`, { hint });
  };
  if (now - begun > LONGEST_MS) throw given(`are still unread, a day after ${since}`);
  if (at !== undefined && now - at < waitMs) return later;
  const all = loops || at === undefined || now - at >= untilNextLook(begun, at, timing.valid);
  const idle: number[] = [];
  for (const shard of unread) {
    const lock = shardLock(bucket, rest.name, shard);
    if (!(await isLocked(lock, signal, timing)) && (all || (await hasDiedSince(lock, at, { signal, timing }))))
      idle.push(shard);
  }
  if (idle.length === 0) return later;
  if (loops && inVain >= MOST_TIMES)
    throw given(`are still unread: ${inVain} times they were handed over, and nothing was read`);
  // Answers of functions are limited: what is the same for all shards lies in the bucket.
  const { shards: _, handed: __, spec: ___, caller: ____, ...part } = rest;
  return {
    next: { ...rest, handed: { at: new Date(now).toISOString(), times: inVain + 1, items } },
    parts: idle.map((shard) => ({ ...part, shard })),
  };
}

/** Whether a lock that nobody holds any more was let go by nobody, and lapsed after a time, in milliseconds since the epoch. */
async function hasDiedSince(
  lock: LockScope,
  time: number,
  options: { signal: AbortSignal; timing: LockTiming },
): Promise<boolean> {
  const { state, since } = await lockState(lock, options);
  return state !== "free" && since !== undefined && since.getTime() + options.timing.valid >= time;
}
