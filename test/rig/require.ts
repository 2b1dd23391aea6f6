import { existsSync } from "node:fs";
import { join } from "node:path";
import { type BinaryName, rigUnavailable } from "./binaries.ts";

/** Data that can't be part of the repository lies in a folder `shared` beside it. */
export const sharedDir = join(import.meta.dirname, "../../../shared");

const told = new Set<string>();

/**
 * What a test that needs more than Node passes as node:test's `skip`: false, or the reason. It needs `rig` (real
 * servers; all binaries, or those named) or `shared` (the folder beside the clone). A skip is told on stderr, and
 * where the environment's `REQUIRE` (say `rig,shared`) names it, it is an error instead.
 */
export function requireOrSkip(what: "rig" | "shared", binaries?: readonly BinaryName[]): string | false {
  const reason = what === "rig" ? rigUnavailable(binaries) : sharedUnavailable();
  if (!reason) return false;
  const demanded = (process.env.REQUIRE ?? "").split(",").map((name) => name.trim());
  if (demanded.includes(what)) throw new Error(`REQUIRE=${what}, but it can't be had here: ${reason}`);
  if (!told.has(reason)) console.error(`SKIPPING tests: ${reason}`);
  told.add(reason);
  return reason;
}

function sharedUnavailable(): string | undefined {
  return existsSync(sharedDir) ? undefined : "needs the folder `shared` beside the clone";
}
