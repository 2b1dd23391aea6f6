import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer, json } from "node:stream/consumers";
import { npmTool } from "../npmtool.ts";
import { makeDir, removeDir, type Server, startServer } from "../process.ts";
import { fromUrlResult, type UrlAnswer, type UrlRequest, urlEvent } from "./function-url.ts";

const API = "/2018-06-01/runtime";
const REGION = "eu-west-1";
const NAME = "lifeboat";
const ARN = `arn:aws:lambda:${REGION}:123456789012:function:${NAME}`;
const TIMED_OUT = "Sandbox.Timedout";
const RESPONSE_LIMIT = 6 * 1024 * 1024;

/** What an invocation came to: what the handler returned, or how it failed, as `aws lambda invoke` tells it. */
export interface Invocation {
  payload?: unknown;
  error?: { errorType: string; errorMessage: string };
}

/** A function on AWS Lambda's own runtime client. */
export interface Lambda extends AsyncDisposable {
  /**
   * Runs the handler on `event`. As on Lambda, an environment runs one invocation at a time and is kept for the next;
   * one that outstays its time or ends is killed, and the invocation fails (`Sandbox.Timedout`, `Runtime.ExitError`).
   */
  invoke(event: unknown): Promise<Invocation>;
  /** Asks through the function's URL, signed by `caller`; a function that fails is a 502, as there. */
  invokeUrl(request: UrlRequest): Promise<UrlAnswer>;
  /** All that its environments wrote so far. */
  logs(): string;
  /** How long each invocation took, in milliseconds, and the start of an environment before it (as Lambda's REPORT lines). */
  reports: readonly Report[];
  stop(): Promise<void>;
}

interface Report {
  durationMs: number;
  initDurationMs?: number;
}

/**
 * Starts the function whose unpacked zip is `dir`, handler `index.handler`, in aws-lambda-ric on this Node. `env`: its
 * environment; nothing is inherited but PATH. `timeoutMs`: its time limit, of which each invocation's deadline is made
 * (default 15 minutes). `concurrency`: how many environments there may be; more invocations wait (default 1).
 */
export async function startLambda(options: {
  dir: string;
  env: Readonly<Record<string, string>>;
  timeoutMs?: number;
  concurrency?: number;
}): Promise<Lambda> {
  const { dir, env, timeoutMs = 900_000, concurrency = 1 } = options;
  const client = join(await npmTool("aws-lambda-ric"), "node_modules/aws-lambda-ric/index.mjs");
  const scratch = makeDir("lambda");
  const environments = new Set<Environment>();
  const idle: Environment[] = [];
  const waiting: (() => void)[] = [];
  const reports: Report[] = [];
  let started = 0;
  let running = 0;

  async function invoke(event: unknown): Promise<Invocation> {
    if (running >= concurrency) await new Promise<void>((go) => waiting.push(go));
    else running++;
    try {
      let environment = idle.pop();
      if (!environment) {
        environment = await startEnvironment({ client, dir, env, scratch, reports, log: `environment-${++started}` });
        environments.add(environment);
      }
      const invocation = await environment.invoke(event, timeoutMs);
      if (environment.alive()) idle.push(environment);
      return invocation;
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  }

  const stop = async () => {
    await Promise.all([...environments].map((environment) => environment.stop()));
    await removeDir(scratch);
  };
  return {
    invoke,
    invokeUrl: async (request) => fromUrlResult(await invoke(urlEvent(request))),
    logs: () => [...environments].map((environment) => environment.logs()).join(""),
    reports,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

interface Environment {
  invoke(event: unknown, timeoutMs: number): Promise<Invocation>;
  alive(): boolean;
  logs(): string;
  stop(): Promise<void>;
}

/** A process of the runtime client with a Runtime API server of its own, which has at most one invocation. */
async function startEnvironment(options: {
  client: string;
  dir: string;
  env: Readonly<Record<string, string>>;
  scratch: string;
  reports: Report[];
  log: string;
}): Promise<Environment> {
  const begun = performance.now();
  let current: { id: string; end: (invocation: Invocation) => void } | undefined;
  let next = Promise.withResolvers<ServerResponse>();
  let initError: Invocation["error"];
  let used = false;

  const routes: Record<string, (request: IncomingMessage, response: ServerResponse) => Promise<void>> = {
    "GET invocation/next": async (_, response) => next.resolve(response),
    "POST init/error": async (request, response) => {
      initError = (await json(request)) as Invocation["error"];
      response.writeHead(202).end();
    },
    "POST invocation/response": async (request, response) => {
      const body = await buffer(request);
      const tooLarge = body.length > RESPONSE_LIMIT;
      response.writeHead(tooLarge ? 413 : 202).end();
      current?.end(
        tooLarge
          ? failure("Function.ResponseSizeTooLarge", `Response payload size exceeded (${body.length} bytes).`)
          : { payload: JSON.parse(body.toString() || "null") },
      );
    },
    "POST invocation/error": async (request, response) => {
      const { errorType, errorMessage } = (await json(request)) as NonNullable<Invocation["error"]>;
      response.writeHead(202).end();
      current?.end(failure(errorType, errorMessage));
    },
  };
  const api = createServer((request, response) => {
    const path = request.url?.slice(API.length + 1).replace(current ? `/${current.id}/` : "", "/");
    const route = routes[`${request.method} ${path}`];
    if (route) route(request, response).catch(() => response.destroy());
    else response.writeHead(403).end();
  });
  await new Promise<void>((resolve) => api.listen(0, "127.0.0.1", resolve));
  const { port } = api.address() as AddressInfo;

  const server: Server = startServer(options.scratch, options.log, process.execPath, [options.client], {
    AWS_REGION: REGION,
    AWS_DEFAULT_REGION: REGION,
    TZ: ":UTC",
    LANG: "en_US.UTF-8",
    ...options.env,
    AWS_EXECUTION_ENV: "AWS_Lambda_nodejs24.x",
    AWS_LAMBDA_FUNCTION_NAME: NAME,
    AWS_LAMBDA_FUNCTION_VERSION: "$LATEST",
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "1769",
    AWS_LAMBDA_INITIALIZATION_TYPE: "on-demand",
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${NAME}`,
    AWS_LAMBDA_LOG_STREAM_NAME: options.log,
    AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${port}`,
    LAMBDA_TASK_ROOT: options.dir,
    _HANDLER: "index.handler",
  });

  async function stop(): Promise<void> {
    await server.stop();
    api.closeAllConnections();
    await new Promise((resolve) => api.close(resolve));
  }

  async function invoke(event: unknown, timeoutMs: number): Promise<Invocation> {
    const id = randomUUID();
    const answer = Promise.withResolvers<Invocation>();
    current = { id, end: answer.resolve };
    const exits = setInterval(() => {
      if (server.ended() === undefined) return;
      const { errorType = "Runtime.ExitError", errorMessage = `Runtime exited with error: ${server.ended()}` } =
        initError ?? {};
      answer.resolve(failure(errorType, errorMessage));
    }, 50);
    let timer: NodeJS.Timeout | undefined;
    let taken = begun;
    const first = !used;
    used = true;
    // Lambda counts from when the environment asks for work: its start is not part of the invocation's time.
    next.promise.then((response) => {
      taken = performance.now();
      timer = setTimeout(
        () => answer.resolve(failure(TIMED_OUT, `Task timed out after ${timeoutMs / 1000} seconds`)),
        timeoutMs,
      );
      response.writeHead(200, {
        "Content-Type": "application/json",
        "Lambda-Runtime-Aws-Request-Id": id,
        "Lambda-Runtime-Deadline-Ms": String(Date.now() + timeoutMs),
        "Lambda-Runtime-Invoked-Function-Arn": ARN,
        "Lambda-Runtime-Trace-Id": `Root=1-${randomUUID()};Sampled=0`,
      });
      response.end(JSON.stringify(event));
      next = Promise.withResolvers();
    });
    const invocation = await answer.promise;
    const initDurationMs = first ? taken - begun : undefined;
    options.reports.push({ durationMs: performance.now() - taken, initDurationMs });
    clearInterval(exits);
    clearTimeout(timer);
    if (invocation.error?.errorType === TIMED_OUT || server.ended() !== undefined) await stop();
    return invocation;
  }

  return {
    invoke,
    alive: () => server.ended() === undefined,
    logs: () => readFileSync(join(options.scratch, `${options.log}.log`), "utf8"),
    stop,
  };
}

const failure = (errorType: string, errorMessage: string): Invocation => ({ error: { errorType, errorMessage } });
