import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const running = new Set<ChildProcess>();
const folders = new Set<string>();

/** A server process of the rig. */
export interface Server {
  pid: number;
  /** The last lines that it wrote, for messages. */
  log(): string;
  /** The exit code or signal, once it has ended. */
  ended(): string | undefined;
  /** Kills it with all its children and waits for its end. */
  stop(): Promise<void>;
}

/** Starts a server in a process group of its own, its output going to `<dir>/<name>.log`. It ends with this process. */
export function startServer(
  dir: string,
  name: string,
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Server {
  const logPath = join(dir, `${name}.log`);
  const log = openSync(logPath, "a");
  const [file, ...rest] = [...endWithParent(), command, ...args];
  const child = spawn(file ?? command, rest, {
    cwd: dir,
    env: { PATH: process.env.PATH, HOME: dir, TMPDIR: dir, ...env },
    stdio: ["ignore", log, log],
    detached: true,
  });
  closeSync(log);
  let ended: string | undefined;
  const end = Promise.withResolvers<void>();
  const finish = (how: string) => {
    ended ??= how;
    end.resolve();
  };
  child.on("error", (error) => finish(error.message));
  child.on("exit", (code, signal) => finish(signal ?? `exit code ${code}`));
  running.add(child);
  child.unref();
  return {
    pid: child.pid ?? 0,
    log: () => readFileSync(logPath, "utf8").split("\n").slice(-15).join("\n"),
    ended: () => ended,
    stop: async () => {
      killGroup(child);
      child.ref();
      await end.promise;
      running.delete(child);
    },
  };
}

/** A new temporary folder; it goes with `removeDir`, or at the latest with this process. */
export function makeDir(name: string): string {
  const dir = mkdtempSync(join(tmpdir(), `lifeboat-${name}-`));
  folders.add(dir);
  return dir;
}

/** Removes a folder made by `makeDir`. */
export async function removeDir(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  folders.delete(dir);
}

/**
 * `count` ports of 127.0.0.1 that are free now, for servers that can't be asked for port 0. They lie below the range
 * that systems give to outgoing connections, so that none of those takes one before the server does.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = 15_000 + Math.floor(Math.random() * 17_000);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}

/**
 * Asks `ready` every 50 ms until it gives something else than undefined or false; an exception counts as not yet.
 * Throws after `seconds`, or as soon as one of `servers` has ended, with what it wrote last.
 */
export async function until<T>(
  what: string,
  ready: () => Promise<T | undefined | false>,
  options: { servers?: readonly Server[]; seconds?: number; everyMs?: number } = {},
): Promise<T> {
  const { servers = [], seconds = 60, everyMs = 50 } = options;
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    let reason: unknown = "not yet";
    const answer = await ready().catch((error: unknown) => {
      reason = error;
    });
    if (answer !== undefined && answer !== false) return answer;
    const dead = servers.find((server) => server.ended() !== undefined);
    if (dead) throw new Error(`rig: waited for ${what}, but a server ended (${dead.ended()}):\n${dead.log()}`);
    if (Date.now() > deadline) {
      const logs = servers.map((server) => server.log()).join("\n");
      throw new Error(`rig: ${what}: not within ${seconds} s (${String(reason)})\n${logs}`, { cause: reason });
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** Does something again and again, `everyMs` apart, whatever comes of it; gives what ends that, once the last time is over. */
export function poll(look: () => Promise<void>, everyMs: number): () => Promise<void> {
  let ending: NodeJS.Timeout | undefined;
  let wake = () => {};
  let over = false;
  const looking = (async () => {
    while (!over) {
      await look().catch(() => {});
      if (over) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
        ending = setTimeout(resolve, everyMs);
      });
    }
  })();
  return async () => {
    over = true;
    clearTimeout(ending);
    wake();
    await looking;
  };
}

/** Where Linux can end a child with its parent, however that dies, let it. */
function endWithParent(): string[] {
  return existsSync("/usr/bin/setpriv") ? ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"] : [];
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}

process.on("exit", () => {
  for (const child of running) killGroup(child);
  for (const dir of folders) rmSync(dir, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => process.exit(128 + (signal === "SIGINT" ? 2 : signal === "SIGTERM" ? 15 : 1)));
}
