import { pause } from "../abort.ts";
import type { KubernetesObject } from "../archive/item.ts";
import type { Kube } from "./client.ts";
import { type Kind, listObjects, placeOf } from "./object.ts";

/** Objects that many wait for at once. */
export interface PolledObjects {
  /**
   * Resolves with what `judge` makes of the object ("namespace/name" or "name"; undefined where there is none) once that is
   * something. It is shown what LISTs tell that began after this call. Rejects with what it throws, with what a LIST throws,
   * or with the signal's reason.
   */
  until<T>(
    place: string,
    judge: (live: KubernetesObject | undefined) => T | undefined,
    signal: AbortSignal,
  ): Promise<T>;
}

interface Waiter {
  place: string;
  see(live: KubernetesObject | undefined): void;
  fail(error: unknown): void;
}

/**
 * Looks at the objects with a label by one LIST after the other, `pollMs` apart, as long as anybody waits: one request a
 * second, however many objects there are to wait for.
 */
export function polledObjects(
  kube: Kube,
  kind: Kind,
  { labelSelector, pollMs }: { labelSelector: string; pollMs: number },
): PolledObjects {
  const waiting = new Set<Waiter>();
  let looking: AbortController | undefined;

  async function look(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const asked = [...waiting];
      const live = new Map<string, KubernetesObject>();
      try {
        for await (const object of listObjects(kube, kind, { labelSelector, signal }))
          live.set(placeOf(object.metadata), object);
        for (const waiter of asked) waiter.see(live.get(waiter.place));
        await pause(pollMs, signal);
      } catch (error) {
        for (const waiter of asked) waiter.fail(error);
      }
    }
  }

  return {
    async until<T>(place: string, judge: (live: KubernetesObject | undefined) => T | undefined, signal: AbortSignal) {
      signal.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      const waiter: Waiter = {
        place,
        fail: reject,
        see(live) {
          try {
            const made = judge(live);
            if (made !== undefined) resolve(made);
          } catch (error) {
            reject(error);
          }
        },
      };
      const abort = () => reject(signal.reason);
      signal.addEventListener("abort", abort);
      waiting.add(waiter);
      if (!looking) {
        looking = new AbortController();
        void look(looking.signal);
      }
      try {
        return await promise;
      } finally {
        signal.removeEventListener("abort", abort);
        waiting.delete(waiter);
        if (waiting.size === 0) {
          looking?.abort();
          looking = undefined;
        }
      }
    },
  };
}
