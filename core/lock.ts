import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { lockFolder, type RunKind, readObject } from "./catalog.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
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
  /** Aborts with `busy` once the lock is lost, and with a LifeboatError once somebody asked the run to stop. */
  readonly signal: AbortSignal;
}

/** What is locked: the one backup or restore of that name. */
export interface LockScope {
  bucket: Bucket;
  kind: RunKind;
  name: string;
}

/** One numbered object: whoever creates the next number has the lock, or gives it back. */
interface Rung {
  run: string;
  state: "held" | "released";
}

/**
 * Takes the lock of a backup or restore, or finds that there is nothing left to do: "settled" once `settled` says so,
 * "running" once a run that holds it has renewed it meanwhile. A lock is a row of numbered objects, each created once
 * (design: 6.2), so a credential that can only create and read suffices, and of any number of contenders one wins. Its
 * age is judged by the bucket's own clock; no lock is waited for longer than it is valid.
 */
export async function takeLock(
  scope: LockScope,
  options: { settled: () => Promise<boolean>; signal: AbortSignal; timing?: LockTiming },
): Promise<Lock | "settled" | "running"> {
  const { settled, signal, timing = LOCK_TIMING } = options;
  const run = randomUUID();
  let clock: (() => number) | undefined;
  let met: number | undefined;
  for (;;) {
    if (await settled()) return "settled";
    const newest = await newestRung(scope, signal);
    const free = !newest || newest.rung.state === "released";
    if (!free) clock ??= await bucketClock(scope, signal);
    if (free || clock!() - newest.modified > timing.valid) {
      const number = (newest?.number ?? 0) + 1;
      if (await climb(scope, number, { run, state: "held" }, signal)) return hold(scope, run, number, timing);
      continue;
    }
    met ??= newest.number;
    if (newest.number > met) return "running";
    await sleep(timing.poll * (0.75 + Math.random() / 2), undefined, { signal });
  }
}

/** Whether a run works on it now, as far as this machine's clock can tell. */
export async function isLocked(scope: LockScope, signal?: AbortSignal, timing = LOCK_TIMING): Promise<boolean> {
  const newest = await newestRung(scope, signal);
  return newest?.rung.state === "held" && Date.now() - newest.modified < timing.valid;
}

/** Asks the run that holds the lock to stop; it obeys in some seconds. False where none does. */
export async function requestCancel(
  scope: LockScope,
  caller: string | undefined,
  signal?: AbortSignal,
): Promise<boolean> {
  if (!(await isLocked(scope, signal))) return false;
  const { number } = (await newestRung(scope, signal))!;
  const key = `${folderOf(scope)}cancel-${padded(number)}.json`;
  await createOnce(scope.bucket, key, { caller, at: new Date().toISOString() }, signal);
  return true;
}

/** Keeps the lock: renews it, and listens for whoever wants the run to stop, until it is given back. */
function hold(scope: LockScope, run: string, first: number, timing: LockTiming): Lock {
  const ended = new AbortController();
  const lost = new AbortController();
  let number = first;
  let renewed = performance.now();
  const tick = async () => {
    const caller = await cancelledBy(scope, first, ended.signal);
    if (caller !== undefined) throw new LifeboatError("conflict", `cancelled${caller && ` by ${caller}`}`);
    if (performance.now() - renewed < timing.renew) return;
    const at = performance.now();
    if (!(await climb(scope, number + 1, { run, state: "held" }, ended.signal))) throw taken(scope);
    number += 1;
    renewed = at;
  };
  const renewing = (async () => {
    while (!ended.signal.aborted && !lost.signal.aborted) {
      await sleep(timing.poll, undefined, { signal: ended.signal }).catch(() => {});
      if (ended.signal.aborted) return;
      try {
        await tick();
      } catch (error) {
        const final = isLifeboatError(error, "conflict") || isLifeboatError(error, "busy");
        if (final || performance.now() - renewed > timing.valid - timing.renew / 2) lost.abort(error);
      }
    }
  })();
  return {
    signal: lost.signal,
    async [Symbol.asyncDispose]() {
      ended.abort();
      await renewing;
      await climb(scope, number + 1, { run, state: "released" }, AbortSignal.timeout(10_000)).catch(() => {});
    },
  };
}

function taken({ kind, name }: LockScope): LifeboatError {
  return new LifeboatError("busy", `another run has taken over ${kind} "${name}"`, {
    hint: "this one was not able to renew its lock in time",
  });
}

const NUMBERED = /^(\d{6})\.json$/;

async function newestRung(
  scope: LockScope,
  signal?: AbortSignal,
): Promise<{ number: number; modified: number; rung: Rung } | undefined> {
  const folder = folderOf(scope);
  let newest: { key: string; modified: Date; number: number } | undefined;
  for await (const { key, modified } of objects(scope.bucket, folder, signal)) {
    const number = NUMBERED.exec(key.slice(folder.length))?.[1];
    if (number) newest = { key, modified, number: Number(number) };
  }
  if (!newest) return undefined;
  const rung = JSON.parse((await readObject(scope.bucket, newest.key, signal)).toString()) as Rung;
  return { number: newest.number, modified: newest.modified.getTime(), rung };
}

/** Creates the object of `number`: false where somebody else did. */
function climb(scope: LockScope, number: number, rung: Rung, signal?: AbortSignal): Promise<boolean> {
  return createOnce(scope.bucket, `${folderOf(scope)}${padded(number)}.json`, rung, signal);
}

/** The bucket's time now, in milliseconds since the epoch: that at which it stored an object of ours, and what passed since. */
async function bucketClock(scope: LockScope, signal: AbortSignal): Promise<() => number> {
  const key = `${folderOf(scope)}clock-${randomUUID()}`;
  const asked = performance.now();
  await createOnce(scope.bucket, key, {}, signal);
  for await (const { modified } of objects(scope.bucket, key, signal)) {
    return () => modified.getTime() + performance.now() - asked;
  }
  throw new LifeboatError("unreachable", `${scope.bucket.location} does not list ${key}, which it has just stored`);
}

/** Who asked the run that took the lock with the number `first`, or renewed it since, to stop; "" where it isn't known. */
async function cancelledBy(scope: LockScope, first: number, signal: AbortSignal): Promise<string | undefined> {
  const prefix = `${folderOf(scope)}cancel-`;
  for await (const { key } of objects(scope.bucket, prefix, signal)) {
    if (Number.parseInt(key.slice(prefix.length), 10) < first) continue;
    return (JSON.parse((await readObject(scope.bucket, key, signal)).toString()) as { caller?: string }).caller ?? "";
  }
  return undefined;
}

async function* objects(bucket: Bucket, prefix: string, signal?: AbortSignal) {
  for await (const listed of bucket.list(prefix, { signal })) if (listed.key !== undefined) yield listed;
}

async function createOnce(bucket: Bucket, key: string, content: object, signal?: AbortSignal): Promise<boolean> {
  try {
    await bucket.put(key, Buffer.from(`${JSON.stringify(content)}\n`), { ifAbsent: true, signal });
    return true;
  } catch (error) {
    if (isLifeboatError(error, "conflict")) return false;
    throw error;
  }
}

function folderOf({ kind, name }: LockScope): string {
  return lockFolder(kind, name);
}

function padded(number: number): string {
  return String(number).padStart(6, "0");
}
