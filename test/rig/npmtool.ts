import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { cacheRoot, once } from "./cache.ts";

const run = promisify(execFile);
const FILES = ["package.json", "package-lock.json"] as const;
const PING = ["ping", "--fetch-timeout=10000", "--fetch-retries=1"];
const toolsDir = join(import.meta.dirname, "npm");

/** The npm tools of the rig: the folders of `npm/`, each with a package.json and the lock file of what it installs. */
export const NPM_TOOLS: readonly string[] = readdirSync(toolsDir).sort();

function installDir(name: string): string {
  const hash = createHash("sha256");
  for (const file of FILES) hash.update(readFileSync(join(toolsDir, name, file)));
  hash.update(JSON.stringify([process.platform, process.arch, process.versions.modules]));
  return join(cacheRoot(), `npm-${name}-${hash.digest("hex").slice(0, 12)}`);
}

/** What a tool's package.json says beside npm's own fields: `needs`, the commands that building it takes. */
interface Manifest {
  os?: string[];
  needs?: string[];
  allowScripts?: unknown;
}

const readManifest = (name: string): Manifest => JSON.parse(readFileSync(join(toolsDir, name, "package.json"), "utf8"));

/** Why these tools can't be had here (not in the cache, and no npm, registry or compiler), or undefined. */
export function npmUnavailable(names: readonly string[]): string | undefined {
  const missing = names.filter((name) => !existsSync(installDir(name)));
  if (missing.length === 0) return undefined;
  for (const name of missing) {
    const { os = [process.platform], needs = [] } = readManifest(name);
    if (!os.includes(process.platform)) return `${name} is only for ${os.join(", ")}`;
    const absent = needs.filter((command) => spawnSync(command, ["--version"]).error);
    if (absent.length > 0) return `needs ${absent.join(", ")} to build ${name}`;
  }
  const ping = spawnSync("npm", PING, { encoding: "utf8", env: npmEnv() });
  if (ping.status === 0) return undefined;
  const found = ping.error ? "no npm command" : "npm ping failed";
  return `needs npm and its registry to install ${missing.join(", ")} (${found})`;
}

/**
 * The folder whose node_modules holds the tool `name`. It is installed from its lock file at first use and kept in the
 * cache. Install scripts run only for a tool whose package.json names packages under `allowScripts`. Throws with npm's
 * last lines.
 */
export async function npmTool(name: string): Promise<string> {
  return once(installDir(name), async (dir) => {
    await mkdir(dir);
    for (const file of FILES) await copyFile(join(toolsDir, name, file), join(dir, file));
    const scripts = readManifest(name).allowScripts ? [] : ["--ignore-scripts"];
    const args = ["ci", "--no-audit", "--no-fund", "--prefer-offline", ...scripts];
    const options = { cwd: dir, env: npmEnv(), maxBuffer: 64 * 1024 * 1024 };
    await run("npm", args, options).catch((error: unknown) => {
      const output = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
      const tail = output.trim().split("\n").slice(-15).join("\n");
      throw new Error(`rig: installing ${name} failed:\n${tail || String(error)}`);
    });
  });
}

/** This process's environment with its own Node first, for which native parts are then built. */
function npmEnv(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) };
}
