import { setTimeout as sleep } from "node:timers/promises";

/** Of requests that are not to be given up: they end by themselves, after the client's own attempts. */
export const NEVER = new AbortController().signal;

/** The longest delay that a Node timer takes, 24.8 days, in milliseconds: a longer one ends at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Settles as `promise` does, or rejects with the signal's reason once that aborts; `promise` itself goes on. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([aborted, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Waits so many milliseconds, or rejects with the signal's reason (Node's own would be an AbortError around it). */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(Math.ceil(milliseconds), undefined, { signal }).catch(() => signal?.throwIfAborted());
}

/** Waits until a time, as ISO text, where that is ahead; rejects as `pause`. */
export async function pauseUntil(time: string, signal: AbortSignal | undefined): Promise<void> {
  const left = () => Date.parse(time) - Date.now();
  for (let wait = left(); wait > 0; wait = left()) await pause(Math.min(wait, LONGEST_TIMER_MS), signal);
}

/** Asks again and again, so many milliseconds after each answer, until one comes that isn't undefined, or the signal aborts. */
export async function polled<T>(
  ask: () => Promise<T | undefined>,
  milliseconds: number,
  signal: AbortSignal | undefined,
): Promise<T> {
  for (;;) {
    signal?.throwIfAborted();
    const answer = await ask();
    if (answer !== undefined) return answer;
    await pause(milliseconds, signal);
  }
}

/** Runs tasks at the same time. When one fails the others' signal aborts; when all have ended, the first error is thrown. */
export async function together(signal: AbortSignal, tasks: ((signal: AbortSignal) => Promise<void>)[]): Promise<void> {
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  const running = tasks.map((task) => task(either));
  try {
    await Promise.all(running);
  } catch (error) {
    failure.abort(error);
    await Promise.allSettled(running);
    throw error;
  }
}

/** A signal that aborts with the first of `signals`, which forget it when it is disposed of; AbortSignal.any keeps it alive. */
export function abortedBy(signals: (AbortSignal | undefined)[]): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const present = signals.filter((signal) => signal !== undefined);
  const abort = () => controller.abort(present.find((signal) => signal.aborted)?.reason);
  if (present.some((signal) => signal.aborted)) abort();
  for (const signal of present) signal.addEventListener("abort", abort, { once: true });
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const signal of present) signal.removeEventListener("abort", abort);
    },
  };
}

/** A signal that aborts so many milliseconds after `signal` has, which forgets it when it is disposed of. */
export function abortedAfter(signal: AbortSignal, milliseconds: number): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const begin = () => {
    timer = setTimeout(() => controller.abort(), milliseconds);
  };
  if (signal.aborted) begin();
  else signal.addEventListener("abort", begin, { once: true });
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      signal.removeEventListener("abort", begin);
      clearTimeout(timer);
    },
  };
}
