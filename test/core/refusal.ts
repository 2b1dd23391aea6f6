import assert from "node:assert/strict";
import { isLifeboatError } from "../../core/errors.ts";

/** What a refused wish is told: kind, message and hint, in one line. */
export async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.then(() => assert.fail("nothing was thrown")).catch((error: unknown) => error);
  assert.ok(isLifeboatError(error), String(error));
  return [error.kind, error.message, error.hint].filter(Boolean).join(" | ");
}
