import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

/** Where what the rig builds and installs is kept: `LIFEBOAT_RIG_CACHE`, or `lifeboat-rig` in the user's cache folder. */
export function cacheRoot(): string {
  const caches = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return process.env.LIFEBOAT_RIG_CACHE || join(caches, "lifeboat-rig");
}

/**
 * Makes the file or folder `path` with `make`, once among all processes: a lock beside it holds the maker's pid, and it
 * appears by rename, complete. A maker that was killed leaves a lock that the next one takes over.
 */
export async function once(path: string, make: (temporary: string) => Promise<void>): Promise<string> {
  await mkdir(join(path, ".."), { recursive: true });
  const lock = `${path}.lock`;
  while (!existsSync(path)) {
    if (!(await lockFile(lock))) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      continue;
    }
    const temporary = `${path}.${process.pid}`;
    try {
      if (!existsSync(path)) {
        await make(temporary);
        await rename(temporary, path);
      }
    } finally {
      await rm(temporary, { recursive: true, force: true });
      await rm(lock, { force: true });
    }
  }
  return path;
}

async function lockFile(lock: string): Promise<boolean> {
  try {
    await writeFile(lock, String(process.pid), { flag: "wx" });
    return true;
  } catch {
    const [holder, age] = await Promise.all([
      readFile(lock, "utf8").catch(() => ""),
      stat(lock).then(
        (entry) => Date.now() - entry.mtimeMs,
        () => 0,
      ),
    ]);
    // A lock just made may still be empty; one of this very process belongs to another caller in it.
    if (holder === "" ? age > 5000 : !alive(Number(holder))) await rm(lock, { force: true });
    return false;
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
