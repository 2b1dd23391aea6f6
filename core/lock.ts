import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { orAborted, pause } from "./abort.ts";
import { readObject } from "./contents.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import { type Holder, isGone } from "./holder.ts";
import { LOCKS, type LockKind, lockFolder } from "./layout.ts";
import { listObjects, newestOf, numberedKey, putJsonOnce } from "./once.ts";
import type { Bucket } from "./ports.ts";

/** Milliseconds. A lock that is not renewed in `valid` is nobody's any more. */
export interface LockTiming {
  renew: number;
  valid: number;
  poll: number;
}

/** Design: contract 6.2. */
export const LOCK_TIMING: LockTiming = { renew: 60_000, valid: 180_000, poll: 2_000 };

/** A lock in our hands. */
export interface Lock extends AsyncDisposable {
  /** Aborts with `busy` once the lock is lost, and with `conflict` once somebody asked the run to stop. */
  readonly signal: AbortSignal;
  /** Stops renewing it and removes what it has left, unless somebody else has taken it over: for whoever may delete. Nobody need give it back then. */
  remove(signal?: AbortSignal): Promise<void>;
}

/** What is locked: the one backup or restore of that name. */
export interface LockScope {
  bucket: Bucket;
  kind: LockKind;
  name: string;
}

/** Only a restore can be called off, and only its run looks for that: looking costs a LIST every `poll`. */
export type Cancellable = LockScope & { kind: "restores" };

function isCancellable(scope: LockScope): scope is Cancellable {
  return scope.kind === "restores";
}

/** One numbered object: whoever creates the next number takes, keeps or gives back the lock, or calls its work off. */
interface Rung {
  run: string;
  state: "held" | "released" | "cancelled";
  /** When the run took the lock, by its own clock, as ISO time: for people. */
  since?: string;
  /** Who it is, where a process can be told to have ended. */
  by?: Holder;
}

interface Placed {
  number: number;
  /** Milliseconds since the epoch, by the bucket's clock. */
  modified: number;
  rung: Rung;
}

/**
 * Takes the lock of a backup or restore, or finds that there is nothing to do: "settled" once `settled` says so,
 * "cancelled" where its work was called off, "running" once a run that holds it has renewed it meanwhile. A lock is a row
 * of numbered objects, each created once (design: 6.2), so a credential that can only create and read suffices, and of any
 * number of contenders one wins. Its age is judged by the bucket's own clock; no lock is waited for longer than it is valid,
 * and none whose holder, `by`, is known to have ended.
 */
export async function takeLock(
  scope: LockScope,
  options: { settled: () => Promise<boolean>; signal: AbortSignal; timing?: LockTiming; by?: Holder },
): Promise<Lock | "settled" | "cancelled" | "running"> {
  const { settled, signal, timing = LOCK_TIMING, by } = options;
  const now = lazyClock(scope, signal);
  let met: number | undefined;
  for (;;) {
    if (await settled()) return "settled";
    const taken = await lockOrHolder(scope, { now, timing, by, signal });
    if ("signal" in taken) {
      // Whoever held it before may have ended its work between our looking at that and at the lock.
      let kept = false;
      try {
        kept = !(await settled());
        return kept ? taken : "settled";
      } finally {
        if (!kept) await taken[Symbol.asyncDispose]();
      }
    }
    if (taken.rung.state === "cancelled") return "cancelled";
    met ??= taken.number;
    if (taken.number !== met) return "running";
    await pause(timing.poll * (0.75 + Math.random() / 2), signal);
  }
}

/** Takes a lock and waits for nobody: "running" where a run holds it. What was called off is taken, and stays so afterwards. */
export async function tryLock(
  scope: LockScope,
  { signal, by, timing = LOCK_TIMING }: { signal: AbortSignal; by?: Holder; timing?: LockTiming },
): Promise<Lock | "running"> {
  const now = lazyClock(scope, signal);
  const taken = await lockOrHolder(scope, { now, timing, by, calledOff: true, signal });
  return "signal" in taken ? taken : "running";
}

/** The lock, or the object by which it isn't to be had: a run's that holds it or, without `calledOff`, that of a cancellation. */
async function lockOrHolder(
  scope: LockScope,
  options: { now: () => Promise<number>; timing: LockTiming; by?: Holder; calledOff?: boolean; signal: AbortSignal },
): Promise<Lock | Placed> {
  const { now, timing, by, calledOff = false, signal } = options;
  for (;;) {
    const newest = await newestRung(scope, signal);
    if (newest?.rung.state === "cancelled" && !calledOff) return newest;
    if (newest && (await lives(newest, now, timing))) return newest;
    const lock = await takeNext(scope, newest, { by, timing, signal });
    if (lock) return lock;
  }
}

/** A lock that is looked at before the work and taken in it, right before the first thing is written. */
export interface LockClaim extends AsyncDisposable {
  /** As that of the lock, once it is taken. */
  readonly signal: AbortSignal;
  /** Throws `busy` where another run holds the lock, or has worked under it since the claim was made. */
  take(): Promise<void>;
}

/**
 * Claims a lock for somebody who asks now, and waits for nobody: throws `busy` where a run holds it. What was called off may be
 * begun so. Nothing is stored before it is taken: a run that fails before its first write leaves nothing.
 */
export async function claimLock(
  scope: LockScope,
  { signal, by, timing = LOCK_TIMING }: { signal: AbortSignal; by?: Holder; timing?: LockTiming },
): Promise<LockClaim> {
  const seen = await newestRung(scope, signal);
  checkState(scope, standing(seen, timing));
  const lost = new AbortController();
  let lock: Lock | undefined;
  return {
    signal: lost.signal,
    async take() {
      const newest = await newestRung(scope, signal);
      checkState(scope, standing(newest, timing));
      // This machine's clock may be ahead: only the bucket's tells whether what looks dead is.
      if (await lives(newest, lazyClock(scope, signal), timing))
        checkState(scope, { ...standing(newest, timing), state: "held" });
      const same = (newest?.number ?? 0) === (seen?.number ?? 0);
      lock = same ? await takeNext(scope, newest, { by, timing, signal }) : undefined;
      if (!lock) throw workedOn(scope);
      lock.signal.addEventListener("abort", () => lost.abort(lock?.signal.reason), { once: true });
    },
    async [Symbol.asyncDispose]() {
      await lock?.[Symbol.asyncDispose]();
    },
  };
}

function workedOn({ kind, name }: LockScope): LifeboatError {
  return new LifeboatError("busy", `another run has worked on ${NOUNS[kind]} "${name}" just now`, {
    hint: "run the command again: it looks at how things are now",
  });
}

const NOUNS: Record<LockKind, string> = {
  backups: "backup",
  restores: "restore",
  verifications: "verification of",
  repositories: "restic repository of",
  shards: "shard",
  retention: "retention",
  verification: "verification",
};

/** Throws `busy` where a run holds the lock, and says which, since when, and what to do. */
export async function checkNotHeld(scope: LockScope, options: { signal?: AbortSignal } = {}): Promise<void> {
  checkState(scope, await lockState(scope, options));
}

function checkState({ kind, name }: LockScope, state: LockState): void {
  if (state.state !== "held") return;
  const noun = NOUNS[kind];
  throw new LifeboatError("busy", `${noun} "${name}" is being made by another run${heldText(state)}`, {
    hint: `once that has ended, "lifeboat ${noun} get ${name}" shows it; what died is let go 3 minutes after it was last seen`,
  });
}

/** Who holds a lock, since when, and when it was last seen, for people: " (process 17 on web-1, since 10:00:00 UTC), last seen …". */
export function heldText({ by, taken, since }: LockState): string {
  const clock = (time: Date) => `${time.toISOString().slice(11, 19)} UTC`;
  const who = [by && `process ${by.pid} on ${by.host}`, taken && `since ${clock(taken)}`].filter(Boolean).join(", ");
  return `${who && ` (${who})`}${since ? `, last seen at ${clock(since)}` : ""}`;
}

/** Whether a run that may still live has the lock, if it has renewed it in time. */
function isHeld(newest: Placed | undefined): newest is Placed {
  return newest?.rung.state === "held" && !isGone(newest.rung.by);
}

/** Whether a run has the lock, by the bucket's clock. */
async function lives(newest: Placed | undefined, now: () => Promise<number>, { valid }: LockTiming): Promise<boolean> {
  return isHeld(newest) && (await now()) - newest.modified <= valid;
}

/** Whether a run holds the lock, by the bucket's clock: one object is created there where it may. */
export async function isLocked(scope: LockScope, signal?: AbortSignal, timing = LOCK_TIMING): Promise<boolean> {
  return lives(await newestRung(scope, signal), lazyClock(scope, signal), timing);
}

/** Takes the number after `newest`; undefined where somebody else has it. What was called off stays so afterwards. */
async function takeNext(
  scope: LockScope,
  newest: Placed | undefined,
  { by, timing, signal }: { by?: Holder; timing: LockTiming; signal: AbortSignal },
): Promise<Lock | undefined> {
  const rung: Rung = { run: randomUUID(), state: "held", since: new Date().toISOString(), ...(by && { by }) };
  const renewed = performance.now();
  const number = (newest?.number ?? 0) + 1;
  if (!(await climb(scope, number, rung, signal))) return undefined;
  const end = newest?.rung.state === "cancelled" ? "cancelled" : "released";
  return hold(scope, { rung, number, renewed, timing, end });
}

/** How a lock stands: "died" is one whose run has ended without giving it back, or has not renewed it in time. */
export interface LockState {
  state: "free" | "held" | "died" | "cancelled";
  /** When its newest object was stored: where it is held, when its run was last seen. */
  since?: Date;
  /** When the run took it, and who that is, where it says so. */
  taken?: Date;
  by?: Holder;
}

/** How a lock stands, as far as this machine's clock can tell. */
export async function lockState(
  scope: LockScope,
  { signal, timing = LOCK_TIMING }: { signal?: AbortSignal; timing?: LockTiming } = {},
): Promise<LockState> {
  return standing(await newestRung(scope, signal), timing);
}

/** The names of the restores whose lock a run holds, and who, as `heldText`: those that write, as far as this machine's clock can tell. */
export async function restoresUnderWay(bucket: Bucket, signal?: AbortSignal): Promise<Map<string, string>> {
  const folder = `${LOCKS}restores/`;
  const renewed = new Set<string>();
  for await (const { key, modified } of listObjects(bucket, folder, signal))
    if (Date.now() - modified.getTime() < LOCK_TIMING.valid) renewed.add(key.slice(folder.length).split("/", 1)[0]!);
  const held = new Map<string, string>();
  for (const name of renewed) {
    const state = await lockState({ bucket, kind: "restores", name }, { signal });
    if (state.state === "held") held.set(name, heldText(state));
  }
  return held;
}

function standing(newest: Placed | undefined, timing: LockTiming): LockState {
  if (!newest || newest.rung.state === "released") return { state: "free" };
  const since = new Date(newest.modified);
  if (newest.rung.state === "cancelled") return { state: "cancelled", since };
  const lives = isHeld(newest) && Date.now() - newest.modified < timing.valid;
  const { since: taken, by } = newest.rung;
  return { state: lives ? "held" : "died", since, ...(taken && { taken: new Date(taken) }), ...(by && { by }) };
}

/**
 * Calls off the work on a restore: "asked" where a run is at it, which obeys in some seconds, "done" where none
 * is; none will be begun then, until `reopen`.
 */
export async function cancelWork(
  scope: Cancellable,
  caller: string | undefined,
  { signal, timing = LOCK_TIMING }: { signal?: AbortSignal; timing?: LockTiming } = {},
): Promise<"asked" | "done"> {
  for (;;) {
    const newest = await newestRung(scope, signal);
    const number = newest?.number ?? 0;
    if (newest?.rung.state === "cancelled") return "done";
    if (standing(newest, timing).state === "held") {
      const key = numberedKey(cancelsOf(scope), number);
      await putJsonOnce(scope.bucket, key, { caller, at: new Date().toISOString() }, signal);
      return "asked";
    }
    if (await climb(scope, number + 1, { run: randomUUID(), state: "cancelled" }, signal)) return "done";
  }
}

/** Lets work that was called off be begun again. */
export async function reopen(scope: LockScope, signal?: AbortSignal): Promise<void> {
  const newest = await newestRung(scope, signal);
  if (newest?.rung.state !== "cancelled") return;
  await climb(scope, newest.number + 1, { run: randomUUID(), state: "released" }, signal);
}

/** Keeps the lock: renews it, and listens for whoever wants the run to stop, until it is given back. */
function hold(
  scope: LockScope,
  options: { rung: Rung; number: number; renewed: number; timing: LockTiming; end: Rung["state"] },
): Lock {
  const { rung, number: first, timing } = options;
  const ended = new AbortController();
  const hurried = new AbortController();
  const lost = new AbortController();
  let { number, renewed, end } = options;
  let asked: number | undefined;

  async function tick(signal: AbortSignal): Promise<void> {
    const caller = isCancellable(scope) ? await cancelledBy(scope, first, signal) : undefined;
    if (caller !== undefined) {
      end = "cancelled";
      throw new LifeboatError("conflict", `cancelled${caller && ` by ${caller}`}`);
    }
    if (performance.now() - renewed < timing.renew) return;
    // The bucket may have stored it when it was first asked to, though its answer was lost.
    asked ??= performance.now();
    if (!(await climb(scope, number + 1, rung, signal))) throw takenOver(scope);
    number += 1;
    renewed = asked;
    asked = undefined;
  }

  async function keep(): Promise<void> {
    while (!lost.signal.aborted) {
      await sleep(timing.poll, undefined, { signal: ended.signal }).catch(() => {});
      if (ended.signal.aborted) return;
      const left = renewed + timing.valid - timing.renew / 2 - performance.now();
      if (left <= 0) return lost.abort(takenOver(scope));
      try {
        const limit = AbortSignal.any([hurried.signal, AbortSignal.timeout(Math.ceil(left))]);
        await orAborted(tick(limit), limit);
      } catch (error) {
        if (isLifeboatError(error, "conflict") || isLifeboatError(error, "busy")) lost.abort(error);
      }
    }
  }
  const keeping = keep();

  /** What is being stored has so many milliseconds left to be it. */
  async function stop(left: number): Promise<void> {
    ended.abort();
    const timer = setTimeout(() => hurried.abort(), left);
    await keeping;
    clearTimeout(timer);
  }

  return {
    signal: lost.signal,
    async remove(signal) {
      await stop(10_000);
      const keys = await Array.fromAsync(listObjects(scope.bucket, folderOf(scope), signal));
      if ((await newestRung(scope, signal))?.rung.run !== rung.run) return;
      for (const { key } of keys) await scope.bucket.delete(key, { signal });
    },
    async [Symbol.asyncDispose]() {
      await stop(0);
      await giveBack(scope, { run: rung.run, state: end }).catch(() => {});
    },
  };
}

/** Ends a lock that is still ours. A renewal that was under way may have been stored: hence the second look. */
async function giveBack(scope: LockScope, rung: Rung): Promise<void> {
  const signal = AbortSignal.timeout(10_000);
  for (;;) {
    const newest = await newestRung(scope, signal);
    if (newest?.rung.run !== rung.run) return;
    if (await climb(scope, newest.number + 1, rung, signal)) return;
  }
}

function takenOver({ kind, name }: LockScope): LifeboatError {
  return new LifeboatError("busy", `another run has taken over ${NOUNS[kind]} "${name}"`, {
    hint: "this one was not able to renew its lock in time",
  });
}

async function newestRung(scope: LockScope, signal?: AbortSignal): Promise<Placed | undefined> {
  const newest = await newestOf(scope.bucket, folderOf(scope), signal);
  if (!newest) return undefined;
  const rung = await readRung(scope, newest.key, signal);
  // Of what nobody can call off it says no more than that nobody has the lock.
  const state = rung.state === "cancelled" && !isCancellable(scope) ? "released" : rung.state;
  return { number: newest.number, modified: newest.modified.getTime(), rung: { ...rung, state } };
}

async function readRung({ bucket }: LockScope, key: string, signal?: AbortSignal): Promise<Rung> {
  return JSON.parse((await readObject(bucket, key, signal)).toString()) as Rung;
}

/** Creates the object of `number`, or finds that it did, though the bucket's answer was lost: false where somebody else did. */
async function climb(scope: LockScope, number: number, rung: Rung, signal?: AbortSignal): Promise<boolean> {
  const key = numberedKey(folderOf(scope), number);
  if (await putJsonOnce(scope.bucket, key, rung, signal)) return true;
  try {
    const there = await readRung(scope, key, signal);
    return there.run === rung.run && there.state === rung.state;
  } catch (error) {
    if (isLifeboatError(error, "missing")) return false;
    throw error;
  }
}

/** As `bucketClock`, which is asked once, when it is first needed. */
function lazyClock(scope: LockScope, signal: AbortSignal | undefined): () => Promise<number> {
  let clock: (() => number) | undefined;
  return async () => {
    clock ??= await bucketClock(scope, signal);
    return clock();
  };
}

/** The bucket's time now, in milliseconds since the epoch: that at which it stored an object of ours, and what passed since. */
export async function bucketClock(scope: LockScope, signal?: AbortSignal): Promise<() => number> {
  const key = `${folderOf(scope)}clock-${randomUUID()}`;
  const asked = performance.now();
  await putJsonOnce(scope.bucket, key, {}, signal);
  for await (const { modified } of listObjects(scope.bucket, key, signal)) {
    return () => modified.getTime() + performance.now() - asked;
  }
  throw new LifeboatError("unreachable", `${scope.bucket.location} does not list ${key}, which it has just stored`);
}

/** Who asked the run that took the lock with the number `first`, or renewed it since, to stop; "" where it isn't known. */
async function cancelledBy(scope: LockScope, first: number, signal: AbortSignal): Promise<string | undefined> {
  const prefix = cancelsOf(scope);
  for await (const { key } of listObjects(scope.bucket, prefix, signal)) {
    if (Number.parseInt(key.slice(prefix.length), 10) < first) continue;
    return (JSON.parse((await readObject(scope.bucket, key, signal)).toString()) as { caller?: string }).caller ?? "";
  }
  return undefined;
}

function folderOf({ kind, name }: LockScope): string {
  return lockFolder(kind, name);
}

/** Where it is said that the run which holds a number should stop. */
function cancelsOf(scope: LockScope): string {
  return `${folderOf(scope)}cancel-`;
}
