import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheRoot, once } from "./cache.ts";

const run = promisify(execFile);
const PYTHON = "python3";
const PYTHON_MINOR = 11;

/** Tools that pip installs, each from `python/<name>.txt`: moto, an interpreter of Google's Workflows, the linter checkov. */
export const PYTHON_TOOLS = ["moto", "workflows", "checkov"] as const;
export type PythonTool = (typeof PYTHON_TOOLS)[number];

const requirements = (tool: PythonTool) => join(import.meta.dirname, `python/${tool}.txt`);

function installDir(tool: PythonTool): string {
  const hash = createHash("sha256").update(readFileSync(requirements(tool)));
  hash.update(JSON.stringify([process.platform, process.arch]));
  return join(cacheRoot(), `${tool}-${hash.digest("hex").slice(0, 12)}`);
}

/** Why one of the tools can't be had here (not in the cache, and no Python, or one too old or without venv), or undefined. */
export function pythonUnavailable(tools: readonly PythonTool[]): string | undefined {
  const absent = tools.filter((tool) => !existsSync(installDir(tool)));
  if (absent.length === 0) return undefined;
  const probe = "import sys, venv, ensurepip; print(sys.version_info.minor)";
  const { status, stdout } = spawnSync(PYTHON, ["-c", probe], { encoding: "utf8" });
  if (status === 0 && Number(stdout) >= PYTHON_MINOR) return undefined;
  const found = status === 0 ? `3.${stdout.trim()}` : `no ${PYTHON} with venv`;
  return `needs Python 3.${PYTHON_MINOR} or later with venv to install ${absent.join(" and ")} (found: ${found})`;
}

/** The path of a Python that has the tool, which is installed at first use and kept in the cache. Throws with pip's last lines. */
export async function pythonWith(tool: PythonTool): Promise<string> {
  const dir = await once(installDir(tool), async (dir) => {
    await run(PYTHON, ["-m", "venv", dir]);
    const args = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", requirements(tool)];
    await run(join(dir, "bin/python"), ["-m", "pip", ...args]).catch((error: unknown) => {
      const output = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
      const tail = output.trim().split("\n").slice(-15).join("\n");
      throw new Error(`rig: installing ${tool} failed:\n${tail || String(error)}`);
    });
  });
  return join(dir, "bin/python");
}
