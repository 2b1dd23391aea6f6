import { isLifeboatError } from "../../errors.ts";
import { takeLock } from "../../lock.ts";
import { listObjects } from "../../once.ts";
import type { Bucket } from "../../ports.ts";
import { repositoryFolder } from "./repository.ts";

/** Makes repositories that are not there yet. */
export interface Repositories {
  /**
   * Resolves once the repository of a namespace is there. Where it isn't, `init` is to make it, with a signal of its own. Who asks for
   * the same one meanwhile, or later, gets the same answer, a failure as well: it would meet another only after as long a wait.
   */
  ensure(namespace: string, init: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void>;
}

/**
 * The repositories of one run. Two that `restic init` makes at one time in one place are none: each has its own key, and the
 * configuration that is written last opens with one of them. So it is done under a lock of the bucket, and of any number of runs one
 * makes it.
 */
export function bucketRepositories(bucket: Bucket): Repositories {
  const known = new Map<string, Promise<void>>();

  async function isThere(namespace: string, signal: AbortSignal): Promise<boolean> {
    const key = `${repositoryFolder(namespace)}config`;
    for await (const listed of listObjects(bucket, key, signal)) if (listed.key === key) return true;
    return false;
  }

  async function make(namespace: string, init: (signal: AbortSignal) => Promise<void>, signal: AbortSignal) {
    const settled = () => isThere(namespace, signal);
    if (await settled()) return;
    for (;;) {
      const lock = await takeLock({ bucket, kind: "repositories", name: namespace }, { settled, signal });
      if (lock === "settled") return;
      if (typeof lock === "string") continue;
      await using held = lock;
      try {
        return await init(AbortSignal.any([signal, held.signal]));
      } catch (error) {
        signal.throwIfAborted();
        // The Job may have ended after it made the repository, and before it could say so.
        if (isLifeboatError(error) && (await settled())) return;
        throw error;
      }
    }
  }

  return {
    ensure(namespace, init, signal) {
      const making = known.get(namespace) ?? make(namespace, init, signal);
      known.set(namespace, making);
      return making;
    },
  };
}
