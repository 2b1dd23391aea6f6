import { z } from "zod";
import { orAborted } from "./abort.ts";
import { LifeboatError } from "./errors.ts";
import { environmentSecrets, fileSecrets } from "./localsecrets.ts";
import type { Platform, Secrets } from "./ports.ts";

/**
 * The schema of a reference, for messages to a file of that name, with the reason to want one. They do not quote what came: it may be
 * the secret.
 */
export const secretReference = (file: string, reason = "") =>
  z
    .string()
    .regex(
      /^(aws-sm:\/\/|gcp-sm:\/\/|azure-kv:\/\/|env:|file:)./,
      `is no reference${reason}: write file:/path/to/${file} or env:NAME, or a secret's: aws-sm://…, gcp-sm://… or azure-kv://…`,
    );

const KEPT_MS = 300_000;
const PATIENCE_MS = 60_000;

/** Secrets by any reference of the platform, kept for five minutes. */
export interface CachedSecrets {
  /**
   * The secret's text, without one final newline (which `echo` and editors add), wherever it is kept. What was read in
   * the last five minutes is not read again, unless `fresh` is asked for. Readers of one reference share the read that
   * is under way; each leaves it on its own signal, with its reason. Throws what the store throws, `timeout` after a
   * minute, and `invalid` for a scheme that the platform doesn't have and for an empty secret. No failure is kept.
   */
  read(reference: string, options?: { fresh?: boolean; signal?: AbortSignal }): Promise<string>;
}

/** The platform's stores of secrets, with `env:NAME` and `file:path`. `now`: a clock, in milliseconds. */
export function openSecrets(platform: Pick<Platform, "secrets">, now: () => number = Date.now): CachedSecrets {
  const stores: Platform["secrets"] = {
    "env:": async () => environmentSecrets(),
    "file:": async () => fileSecrets(),
    ...platform.secrets,
  };
  const opened = new Map<string, Promise<Secrets>>();
  /** Without `until`, the read is under way. */
  const reads = new Map<string, { text: Promise<string>; until?: number }>();

  const storeOf = (reference: string): Promise<Secrets> => {
    const scheme = schemeOf(reference);
    const store = opened.get(scheme) ?? stores[scheme]?.();
    if (!store) {
      // Not the reference: somebody may have written the secret itself in its place.
      throw new LifeboatError("invalid", "a secret's reference begins with no scheme that is known here", {
        hint: `known are ${Object.keys(stores).join(", ")}`,
      });
    }
    opened.set(scheme, store);
    store.catch(() => opened.delete(scheme));
    return store;
  };

  const readNow = async (reference: string): Promise<string> => {
    const patience = new AbortController();
    const timeout = new LifeboatError("timeout", `no answer to the secret ${reference} in ${PATIENCE_MS / 1000} s`);
    const timer = setTimeout(() => {
      // Perhaps it is the opening that does not end.
      opened.delete(schemeOf(reference));
      patience.abort(timeout);
    }, PATIENCE_MS);
    const ask = async () => (await storeOf(reference)).read(reference, { signal: patience.signal });
    try {
      const text = (await orAborted(ask(), patience.signal)).replace(/\r?\n$/, "");
      if (!text) throw new LifeboatError("invalid", `the secret ${reference} is empty`);
      return text;
    } finally {
      clearTimeout(timer);
    }
  };

  const begin = (reference: string): Promise<string> => {
    const text = readNow(reference);
    const read: { text: Promise<string>; until?: number } = { text };
    reads.set(reference, read);
    text.then(
      () => {
        read.until = now() + KEPT_MS;
      },
      () => reads.delete(reference),
    );
    return text;
  };

  return {
    async read(reference, { fresh = false, signal } = {}) {
      signal?.throwIfAborted();
      const read = reads.get(reference);
      const shared = read && (read.until === undefined || (!fresh && now() < read.until));
      return orAborted(shared ? read.text : begin(reference), signal);
    },
  };
}

function schemeOf(reference: string): string {
  return /^[a-z][a-z0-9-]*:/.exec(reference)?.[0] ?? "";
}
