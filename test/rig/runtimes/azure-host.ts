import { randomUUID } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import type { AzureFunction } from "./azure.ts";
import type { Data } from "./azure-triggers.ts";

/**
 * A process that runs the function app of the folder `dir` as the host's Node worker does, by orders over HTTP on
 * 127.0.0.1 (GET: the functions; POST: one invocation), and writes its URL to the file `address`.
 */
const [dir = "", address = ""] = process.argv.slice(2);
const { main } = JSON.parse(await readFile(join(dir, "package.json"), "utf8"));
const entry = join(dir, main);
const core: Core = createRequire(entry)("@azure/functions-core");
await import(pathToFileURL(entry).href);

const model = core.getProgrammingModel();
if (!model) throw new Error("the app registered no function through @azure/functions");
const capabilities = await model.getCapabilities({});
if (capabilities.HttpUri) throw new Error("this stand-in of the host has no HTTP streams (enableHttpStream)");

const server = createServer(async (request, response) => {
  const answer =
    request.method === "GET"
      ? [...core.registered.values()].map(describe)
      : await invoke((await json(request)) as Order).then(
          (returned) => ({ returned }),
          (error: Error) => ({ error: { name: error.name, message: error.message } }),
        );
  response.end(JSON.stringify(answer));
});
server.listen(0, "127.0.0.1", async () => {
  const { port } = server.address() as AddressInfo;
  await writeFile(`${address}.new`, `http://127.0.0.1:${port}`);
  await rename(`${address}.new`, address);
});

/** The worker's part of one invocation. */
async function invoke({ name, data, metadata: triggerMetadata }: Order): Promise<Data | undefined> {
  const { metadata, callback } = core.registered.get(name) ?? fail(`no function "${name}" is registered`);
  const invocationId = randomUUID();
  const inputData = [{ name: triggerOf(metadata).name, data: bytesIn(data) }];
  const invocation = core.getProgrammingModel().getInvocationModel({
    invocationId,
    metadata,
    request: {
      invocationId,
      functionId: name,
      inputData,
      triggerMetadata: Object.fromEntries(Object.entries(triggerMetadata).map(([key, value]) => [key, bytesIn(value)])),
    },
    log: core.log,
  });
  core.log("information", "system", `Executing 'Functions.${name}'`);
  const { context, inputs } = await invocation.getArguments();
  try {
    const result = await invocation.invokeFunction(context, inputs, callback);
    const { returnValue } = await invocation.getResponse(context, result);
    return returnValue ? bytesOut(returnValue) : undefined;
  } catch (error) {
    core.log(
      "error",
      "system",
      `Executed 'Functions.${name}' (Failed): ${error instanceof Error ? error.stack : error}`,
    );
    throw error;
  }
}

function describe({ metadata }: Registered): AzureFunction {
  const { name, direction, properties, ...trigger } = triggerOf(metadata);
  return { name: metadata.name, trigger, ...(metadata.retryOptions ? { retry: metadata.retryOptions } : {}) };
}

function triggerOf(metadata: Registered["metadata"]) {
  const found = Object.entries(metadata.bindings).find(([, { type }]) => /trigger$/i.test(type));
  if (!found) return fail(`the function "${metadata.name}" has no trigger`);
  return { ...found[1], name: found[0] };
}

/** The library's values hold bytes where ours hold base64; an HTTP value holds its body as another value. */
function bytesIn({ base64, http, ...rest }: Data): unknown {
  return {
    ...rest,
    ...(base64 === undefined ? {} : { bytes: Buffer.from(base64, "base64") }),
    ...(http ? { http: { ...http, ...(http.body ? { body: bytesIn(http.body) } : {}) } } : {}),
  };
}

function bytesOut({ bytes, http, ...rest }: Data & { bytes?: Uint8Array }): Data {
  return {
    ...rest,
    ...(bytes ? { base64: Buffer.from(bytes).toString("base64") } : {}),
    ...(http ? { http: { ...http, ...(http.body ? { body: bytesOut(http.body) } : {}) } } : {}),
  };
}

function fail(message: string): never {
  throw new Error(message);
}

interface Order {
  name: string;
  data: Data;
  metadata: Record<string, Data>;
}

interface Registered {
  metadata: {
    name: string;
    bindings: Record<string, { type: string; direction: string; properties?: unknown }>;
    retryOptions?: Record<string, unknown>;
  };
  callback: (...inputs: unknown[]) => unknown;
}

interface Model {
  getCapabilities(capabilities: Record<string, string>): Promise<Record<string, string>>;
  getInvocationModel(context: object): {
    getArguments(): Promise<{ context: object; inputs: unknown[] }>;
    invokeFunction(context: object, inputs: unknown[], callback: Registered["callback"]): Promise<unknown>;
    getResponse(context: object, result: unknown): Promise<{ returnValue?: Data & { bytes?: Uint8Array } }>;
  };
}

interface Core {
  registered: Map<string, Registered>;
  getProgrammingModel(): Model;
  log(level: string, category: string, message: string): void;
}
