import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { makeDir, removeDir, startServer, until } from "../process.ts";
import {
  type Data,
  type Delivery,
  findRoute,
  httpData,
  httpKey,
  queueData,
  timerData,
  toAnswer,
} from "./azure-triggers.ts";
import type { UrlAnswer, UrlRequest } from "./function-url.ts";

/** A function as its app registered it: its trigger's binding (`type`, `schedule`, `route`, `authLevel`, `queueName` …). */
export interface AzureFunction {
  name: string;
  trigger: { type: string; [setting: string]: unknown };
  retry?: Record<string, unknown>;
}

/** A function app: the real library of the bundle, over a stand-in of the host. */
export interface AzureHost extends AsyncDisposable {
  functions: AzureFunction[];
  /** The app's function key. */
  key: string;
  /** Fires a timer; `last`: when it fired before, if it did. Rejects with what the function threw. */
  timer(name: string, options?: { isPastDue?: boolean; last?: Date }): Promise<void>;
  /**
   * Asks as the front end does: routes of host.json's prefix, by methods; 404 where none fits, 401 without the key
   * that `authLevel` wants (`key`: another one, or none; by default the right one), 500 where the function throws.
   */
  http(request: Omit<UrlRequest, "caller"> & { key?: string | null }): Promise<UrlAnswer>;
  /** Delivers a message, decoded already, as the queue's trigger does. Rejects with what the function threw. */
  queue(name: string, message: unknown, delivery?: Delivery): Promise<void>;
  /** All that it wrote so far. */
  logs(): string;
  stop(): Promise<void>;
}

/**
 * Starts the function app of the unpacked zip `dir` in a process of its own. `env`: its settings; nothing is inherited
 * but PATH. The stand-in of `@azure/functions-core`, which the host brings, is put into `dir`'s node_modules.
 */
export async function startAzureHost(options: {
  dir: string;
  env: Readonly<Record<string, string>>;
}): Promise<AzureHost> {
  const { dir, env } = options;
  const core = "azure-functions-core";
  await cp(join(import.meta.dirname, core), join(dir, "node_modules/@azure/functions-core"), { recursive: true });
  const settings = JSON.parse(await readFile(join(dir, "host.json"), "utf8"));
  const prefix: string = settings.extensions?.http?.routePrefix ?? "api";
  const scratch = makeDir("azure");
  const address = join(scratch, "address");
  const server = startServer(
    scratch,
    "host",
    process.execPath,
    [join(import.meta.dirname, "azure-host.ts"), dir, address],
    {
      ...env,
      AZURE_FUNCTIONS_ENVIRONMENT: "Production",
      FUNCTIONS_WORKER_RUNTIME: "node",
      FUNCTIONS_EXTENSION_VERSION: "~4",
      WEBSITE_SITE_NAME: "lifeboat",
      WEBSITE_HOSTNAME: "lifeboat.azurewebsites.net",
    },
  );
  const stop = async () => {
    await server.stop();
    await removeDir(scratch);
  };
  try {
    const url = await until("the function app", () => readFile(address, "utf8"), { servers: [server] });
    const functions = (await (await fetch(url)).json()) as AzureFunction[];
    const key = randomBytes(16).toString("hex");

    /** Answers what the function returned, or throws what it threw. */
    async function invoke(name: string, data: Data, metadata: Record<string, Data> = {}): Promise<Data | undefined> {
      const body = JSON.stringify({ name, data, metadata });
      const { error, returned } = (await (await fetch(url, { method: "POST", body })).json()) as {
        error?: { name: string; message: string };
        returned?: Data;
      };
      if (error) throw Object.assign(new Error(error.message), { name: error.name });
      return returned;
    }

    return {
      functions,
      key,
      async timer(name, options = {}) {
        await invoke(name, timerData(options));
      },
      async http(request) {
        const route = findRoute(functions, prefix, request);
        if (!route) return { status: 404, headers: {}, body: "" };
        const headers = httpKey(request, key);
        if (route.authLevel !== "anonymous" && headers["x-functions-key"] !== key)
          return { status: 401, headers: {}, body: "" };
        return invoke(route.name, httpData(request, headers, route.params)).then(toAnswer, () => ({
          status: 500,
          headers: {},
          body: "",
        }));
      },
      async queue(name, message, delivery = {}) {
        const { data, metadata } = queueData(message, delivery);
        await invoke(name, data, metadata);
      },
      logs: () => readFileSync(join(scratch, "host.log"), "utf8"),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
