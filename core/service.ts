import manifest from "../package.json" with { type: "json" };
import { type Config, parseConfig } from "./config.ts";
import { ERROR_KINDS, isLifeboatError, LifeboatError } from "./errors.ts";
import { readJob } from "./job.ts";
import { parseLocation } from "./location.ts";
import type { LockTiming } from "./lock.ts";
import { type LogLevel, logLine } from "./log.ts";
import type { Bucket, Jobs, Platform } from "./ports.ts";
import type { Outcome } from "./run.ts";
import { openSecrets } from "./secrets.ts";

/** Gets each line of a run's log as it is written. */
export type Listen = (line: string, level: LogLevel) => void;

/** What one trigger brings beside its message. */
export interface Trigger {
  /** When the platform will end the run. */
  deadline?: Date;
  signal?: AbortSignal;
  listen?: Listen;
}

/** What a handler calls: a platform's triggers and requests, in the words of the core. */
export interface Service {
  /**
   * Runs the job that a trigger's message is. Throws `JobFailed` where it fails or ends PartiallyFailed, so that the
   * platform's retries and alarms see it.
   */
  run(message: unknown, trigger?: Trigger): Promise<Outcome>;
  /** Hands over, as jobs, the backups that have come due since `since`: for a platform with one clock for all schedules. */
  tick(since: Date): Promise<void>;
  /** Answers a request to the HTTP API. `caller`: who the platform says is asking. */
  fetch(request: Request, env?: { caller?: string }): Promise<Response>;
}

/** A job's failure as a platform sees it; the name tells, for its retry rules, whether doing it again may help. */
export class JobFailed extends Error {
  readonly status: number;

  constructor(message: string, options: { retry: boolean; status: number; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = options.retry ? "JobFailedTryAgain" : "JobFailedForGood";
    this.status = options.status;
  }
}

export interface ServiceOptions {
  /** Where the configuration comes from. */
  env?: Record<string, string | undefined>;
  /** What gives the configuration in place of `env`. */
  config?: () => Promise<Config>;
  /** Standard output where not given. */
  listen?: Listen;
  /** What requests must bear where the platform doesn't authenticate them. */
  token?: string;
  timing?: LockTiming;
}

/**
 * The service of one deployment. Its configuration is read for every trigger, and with it all secrets at most every 5
 * minutes: from the reference LIFEBOAT_CONFIG (`file:lifeboat.yaml`, `aws-sm://…`), where that is set, and from the
 * environment.
 */
export function createService(platform: Platform, options: ServiceOptions = {}): Service {
  const { env = process.env, listen = toStandardOutput, token, timing } = options;
  const secrets = openSecrets(platform);

  async function configuration(): Promise<Config> {
    if (options.config) return options.config();
    const text = env.LIFEBOAT_CONFIG ? await secrets.read(env.LIFEBOAT_CONFIG) : undefined;
    const { config, warnings } = parseConfig(text, env);
    for (const warning of warnings) listen(logLine("warning", warning), "warning");
    return config;
  }

  return {
    async run(message, { deadline, signal = new AbortController().signal, listen: heard = listen } = {}) {
      try {
        const job = readJob(message);
        const config = await configuration();
        const bucket = await openBucket(platform, config.location);
        const { runJob } = await import("./run.ts");
        const { clusters } = platform;
        return judged(
          await runJob(job, { config, bucket, secrets, clusters, deadline, signal, listen: heard, timing }),
        );
      } catch (error) {
        const failed = jobFailed(error);
        heard(logLine("error", failed.message, { error: failed.name }), "error");
        throw failed;
      }
    },
    async tick(since) {
      const { dueJobs } = await import("./schedule/due.ts");
      const jobs = await platform.jobs();
      for (const job of dueJobs(await configuration(), since, new Date())) await jobs.enqueue(job);
    },
    async fetch(request, requestEnv) {
      const { createApi, problemResponse } = await import("./api.ts");
      const log = (line: string) => listen(line, "error");
      try {
        const config = await configuration();
        const bucket = await openBucket(platform, config.location);
        // Opened only when something is enqueued: reads need no queue.
        const jobs: Jobs = { enqueue: async (...given) => (await platform.jobs()).enqueue(...given) };
        const deps = { config, bucket, jobs, version: manifest.version, token, log };
        return await createApi(deps).fetch(request, requestEnv);
      } catch (error) {
        return problemResponse(error, log);
      }
    },
  };
}

/** The most that a delivered job may have, in bytes. */
const MAX_MESSAGE = 1024 * 1024;

/** Runs the job that is the body of a POST by the platform, and answers it: 2xx only where the job ended well. */
export async function deliver(
  service: Service,
  request: Request,
  { slot, ...trigger }: Trigger & { slot?: string },
): Promise<Response> {
  try {
    const message = await messageOf(request);
    return Response.json(await service.run(slot ? { ...message, slot } : message, trigger));
  } catch (error) {
    const { name, message, status } = jobFailed(error);
    const problem = { type: "about:blank", title: name, status, detail: message };
    return Response.json(problem, { status, headers: { "content-type": "application/problem+json" } });
  }
}

async function messageOf(request: Request): Promise<object> {
  const text = await request.text();
  if (text.length > MAX_MESSAGE) throw new LifeboatError("invalid", `the job has more than ${MAX_MESSAGE} bytes`);
  try {
    return JSON.parse(text) as object;
  } catch {
    throw new LifeboatError("invalid", "the body of the request is not JSON", { hint: "it should be a job" });
  }
}

/** The platform's bucket at a location. Throws `invalid` for a location of another platform. */
export async function openBucket({ buckets }: Pick<Platform, "buckets">, location: string): Promise<Bucket> {
  const url = parseLocation(location);
  const adapter = buckets[url.protocol];
  if (adapter) return adapter(url);
  throw new LifeboatError("invalid", `no location here has the scheme ${url.protocol}`, {
    hint: `a location begins with ${Object.keys(buckets)
      .map((scheme) => `${scheme}//`)
      .join(" or ")}`,
  });
}

/** An outcome that the platform may take for a success. One that was met, not made, has been judged before. */
function judged(outcome: Outcome): Outcome {
  const { document, duplicate } = outcome;
  if (!document || duplicate || document.phase === "Completed") return outcome;
  const { kind, name, phase, errors } = document;
  const message = `${kind} ${name} is ${phase}: ${errors.length} errors, the first: ${errors[0]?.message}`;
  throw new JobFailed(message, { retry: false, status: 500 });
}

function jobFailed(error: unknown): JobFailed {
  if (error instanceof JobFailed) return error;
  if (!isLifeboatError(error)) {
    return new JobFailed(`unexpected: ${error}`, { retry: true, status: 500, cause: error });
  }
  const { retry, http } = ERROR_KINDS[error.kind];
  const message = error.hint ? `${error.message} (${error.hint})` : error.message;
  return new JobFailed(message, { retry, status: http, cause: error });
}

function toStandardOutput(line: string): void {
  process.stdout.write(`${line}\n`);
}
