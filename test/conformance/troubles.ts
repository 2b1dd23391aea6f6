import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import type { LifeboatError } from "../../core/errors.ts";
import { rejects } from "./bucket.ts";

/** What can be wrong between an adapter and its service: our rights, the way there, a service that answers nothing. */
export const TROUBLES = ["denied", "unreachable", "silent"] as const;
export type Trouble = (typeof TROUBLES)[number];

/** Brings a trouble about, calls `run`, and ends it again, also where `run` throws. */
export type InTrouble = (trouble: Trouble, run: () => Promise<void>) => Promise<void>;

/** Why a trouble can't be had with an adapter or its stand-in. */
export type WithoutTrouble = Partial<Record<Trouble, string>>;

/**
 * The tests of what `call` does in each trouble, and on a signal: it fails as `denied` or as `unreachable`, and while
 * nothing is answered, with the reason of its signal. `inspectError` sees the errors of the service.
 */
export function troubleTests(
  call: (signal?: AbortSignal) => Promise<unknown>,
  inTrouble: InTrouble,
  without: WithoutTrouble,
  inspectError: (error: LifeboatError) => void = () => {},
): void {
  for (const trouble of ["denied", "unreachable"] as const) {
    test(`${trouble} is told as that, and passes`, { skip: without[trouble] }, async () => {
      await inTrouble(trouble, async () => inspectError(await rejects(trouble, call())));
      await call();
    });
  }

  const reason = new Error("out of time");
  const withReason = (promise: Promise<unknown>) => assert.rejects(promise, (thrown) => thrown === reason);

  test("a signal already aborted rejects with its reason", async () => {
    await withReason(call(AbortSignal.abort(reason)));
  });

  test("a signal ends the wait for a service that is silent", { skip: without.silent }, async () => {
    await inTrouble("silent", async () => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(reason), 50);
      await withReason(call(controller.signal));
    });
    await call();
  });
}

/** Asserts that nothing of an error, shown with all its fields and causes, holds `secret`. */
export function assertNotQuoted(error: unknown, secret: string): void {
  const shown = inspect(error, { depth: Number.POSITIVE_INFINITY, showHidden: true, maxStringLength: null });
  assert(!shown.includes(secret), `an error quotes the secret: ${shown.replaceAll(secret, "<SECRET>")}`);
}
