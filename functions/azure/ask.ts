import { LifeboatError, orAborted } from "../../core/index.ts";
import { azureError } from "./errors.ts";

/** The longest wait for one answer, or for more of a body. Every request of ours is short: at most a block long. */
const SILENCE_MS = 120_000;

/** A conversation with a service. */
export interface Conversation {
  /**
   * Waits for what `request` gives; its signal ends it. What this throws is the reason of the conversation's own
   * signal, or a LifeboatError, `timeout` where nothing came.
   */
  wait<T>(request: (abortSignal: AbortSignal) => Promise<T>): Promise<T>;
}

/** Begins a conversation that `signal` ends; `wanted` says in errors what it is for. */
export function converse(wanted: string, signal: AbortSignal | undefined): Conversation {
  const silence = new AbortController();
  const stop = signal ? AbortSignal.any([signal, silence.signal]) : silence.signal;

  return {
    async wait(request) {
      signal?.throwIfAborted();
      const timer = setTimeout(() => {
        const message = `can't ${wanted}: nothing came for ${SILENCE_MS / 1000} s`;
        silence.abort(new LifeboatError("timeout", message));
      }, SILENCE_MS);
      try {
        // Not every part of the SDKs obeys its signal: those that get tokens don't.
        return await orAborted(request(stop), stop);
      } catch (error) {
        throw stop.aborted ? stop.reason : azureError(error, wanted);
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** A conversation of one request: see `Conversation.wait`. */
export function ask<T>(
  wanted: string,
  signal: AbortSignal | undefined,
  request: (abortSignal: AbortSignal) => Promise<T>,
): Promise<T> {
  return converse(wanted, signal).wait(request);
}
