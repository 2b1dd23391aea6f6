import { spawn } from "node:child_process";
import { join } from "node:path";
import { text } from "node:stream/consumers";

/** The command line's entry point, for `node`. */
export const MAIN = join(import.meta.dirname, "../../functions/cli/main.ts");

/** What a run of the command line finds in its environment: what Node needs, its compile cache where there is one. */
export const ENVIRONMENT: NodeJS.ProcessEnv = {
  PATH: process.env.PATH,
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
  HOME: "/nonexistent",
};

/** How a run of the command line ended. */
export interface Ended {
  /** The exit code, or null where a signal ended it. */
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A run of the command line under way. */
export interface Running {
  pid: number;
  kill(): void;
  ended: Promise<Ended>;
}

/** Starts `lifeboat` with these arguments; `env` is added to its environment. */
export function start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...ENVIRONMENT, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const code = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  return {
    pid: child.pid!,
    kill: () => child.kill("SIGKILL"),
    ended: Promise.all([code, text(child.stdout), text(child.stderr)]).then(([code, stdout, stderr]) => ({
      code,
      stdout,
      stderr,
    })),
  };
}

/** Runs `lifeboat` to its end. */
export function lifeboat(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  return start(args, env).ended;
}

/** Runs `lifeboat … -o json` and gives the document it prints; throws with its stderr unless it exits with `code`. */
export async function document<T>(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  code = 0,
): Promise<T> {
  const ended = await lifeboat([...args, "-o", "json"], env);
  if (ended.code !== code) throw new Error(`lifeboat ${args.join(" ")} exited with ${ended.code}:\n${ended.stderr}`);
  return JSON.parse(ended.stdout) as T;
}

/** What the tests read of a backup's document (design: contract 6.1). */
export interface BackupDocument {
  kind: "backup";
  name: string;
  phase: string;
  consistency: { grade: string; resourceVersion: string; exceptions: { resource: string; reason: string }[] };
  items: number;
  warnings: unknown[];
  errors: unknown[];
}

/** What the tests read of a restore's document. */
export interface RestoreDocument {
  kind: "restore";
  phase: string;
  counts: Record<"created" | "updated" | "recreated" | "pruned" | "skipped" | "blocked" | "failed", number>;
  warnings: unknown[];
  errors: unknown[];
}
