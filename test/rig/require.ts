import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BINARY_NAMES, type BinaryName, rigUnavailable } from "./binaries.ts";
import { containersUnavailable } from "./container.ts";
import { npmUnavailable } from "./npmtool.ts";
import { PYTHON_TOOLS, type PythonTool, pythonUnavailable } from "./pythontool.ts";

/** Data that can't be part of the repository lies in a folder `shared` beside it. */
export const sharedDir = join(import.meta.dirname, "../../../shared");

/** A binary of the rig, a tool that pip or npm installs, or that this machine can run containers. */
export type RigPart = BinaryName | PythonTool | `npm:${string}` | "containers";

const told = new Set<string>();

/**
 * What a test that needs more than Node passes as node:test's `skip`: false, or the reason. It needs `rig` (real
 * servers; all binaries, or the parts named), `shared` (the folder beside the clone) or `terraform` (the program, and
 * that folder's stand-ins for its providers). A skip is told on stderr, and
 * where the environment's `REQUIRE` (say `rig,shared`) names it, it is an error instead.
 */
export function requireOrSkip(
  what: "rig" | "shared" | "terraform",
  parts: readonly RigPart[] = BINARY_NAMES,
): string | false {
  const reasons = {
    rig: () => partsUnavailable(parts),
    shared: sharedUnavailable,
    terraform: () => sharedUnavailable() ?? terraformUnavailable(),
  };
  const reason = reasons[what]();
  if (!reason) return false;
  const demanded = (process.env.REQUIRE ?? "").split(",").map((name) => name.trim());
  if (demanded.includes(what)) throw new Error(`REQUIRE=${what}, but it can't be had here: ${reason}`);
  if (!told.has(reason)) console.error(`SKIPPING tests: ${reason}`);
  told.add(reason);
  return reason;
}

function partsUnavailable(parts: readonly RigPart[]): string | undefined {
  const isPython = (part: RigPart): part is PythonTool => PYTHON_TOOLS.some((tool) => tool === part);
  const isBinary = (part: RigPart): part is BinaryName =>
    !isPython(part) && !part.startsWith("npm:") && part !== "containers";
  const tools = parts.filter((part) => part.startsWith("npm:")).map((part) => part.slice("npm:".length));
  const containers = parts.includes("containers") ? containersUnavailable() : undefined;
  return (
    containers ??
    rigUnavailable(parts.filter(isBinary)) ??
    npmUnavailable(tools) ??
    pythonUnavailable(parts.filter(isPython))
  );
}

function sharedUnavailable(): string | undefined {
  return existsSync(sharedDir) ? undefined : "needs the folder `shared` beside the clone";
}

function terraformUnavailable(): string | undefined {
  return spawnSync("terraform", ["version"]).status === 0 ? undefined : "needs `terraform` in the PATH";
}
