import { existsSync, readFileSync } from "node:fs";
import { mkdir, readFile, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { makeDir, removeDir, startServer, until } from "../process.ts";

const FRAMEWORK = "@google-cloud/functions-framework";

/** A function under Google's Functions Framework. */
export interface CloudFunction extends AsyncDisposable {
  /** Where it answers, on 127.0.0.1. Cloud Run's IAM, which stands before it there, is not part of it. */
  url: string;
  /** All that it wrote so far. */
  logs(): string;
  stop(): Promise<void>;
}

/**
 * Starts the function `target` of the unpacked zip `dir` in a process of its own. `env`: its environment; nothing is
 * inherited but PATH. The framework is put into `dir`'s node_modules, where the buildpack would install it.
 */
export async function startCloudFunction(options: {
  dir: string;
  env: Readonly<Record<string, string>>;
  target: string;
}): Promise<CloudFunction> {
  const { dir, env, target } = options;
  const installed = join(dir, "node_modules", FRAMEWORK);
  if (!existsSync(installed)) {
    const main = createRequire(import.meta.url).resolve(FRAMEWORK);
    await mkdir(dirname(installed), { recursive: true });
    await symlink(join(main.slice(0, main.lastIndexOf(FRAMEWORK)), FRAMEWORK), installed);
  }
  const scratch = makeDir("gcf");
  const address = join(scratch, "address");
  const server = startServer(
    scratch,
    "function",
    process.execPath,
    [join(import.meta.dirname, "gcf-host.ts"), dir, target, address],
    {
      TZ: "UTC",
      NODE_ENV: "production",
      ...env,
      FUNCTION_TARGET: target,
      FUNCTION_SIGNATURE_TYPE: "http",
      K_SERVICE: "lifeboat",
      K_REVISION: "lifeboat-00001-abc",
    },
  );
  const stop = async () => {
    await server.stop();
    await removeDir(scratch);
  };
  try {
    const url = await until("the function", async () => readFile(address, "utf8"), { servers: [server] });
    return {
      url,
      logs: () => readFileSync(join(scratch, "function.log"), "utf8"),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
