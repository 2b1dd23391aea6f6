import manifest from "../package.json" with { type: "json" };
import type { ApiDeps } from "./api.ts";
import type { Checked } from "./check/check.ts";
import type { CheckDocument } from "./check/document.ts";
import { type Config, type FleetConfig, parseConfig } from "./config.ts";
import { unlockedBy } from "./encryption/configured.ts";
import { ERROR_KINDS, isLifeboatError, LifeboatError, mayPass, messageOf } from "./errors.ts";
import type { FleetOutcome, FleetTiming } from "./fleet/job.ts";
import { isFleet, narrowedTo, narrowedToStored } from "./fleet/narrowed.ts";
import type { Holder } from "./holder.ts";
import { damageText } from "./integrity/findings.ts";
import { readTrustedKeys } from "./integrity/keys.ts";
import { ALL, isOfLocation, type Job, type LockedJob, readJob } from "./job.ts";
import type { JobContext, Outcome } from "./jobs/context.ts";
import { parseLocation } from "./location.ts";
import type { LockTiming } from "./lock.ts";
import { type Listen, logLine } from "./log.ts";
import type { Bucket, Jobs, Platform } from "./ports.ts";
import { someOf } from "./report.ts";
import { isPaused } from "./schedule/pause.ts";
import { scheduledName } from "./schedule/slots.ts";
import { openSecrets } from "./secrets.ts";
import type { Usage } from "./usage.ts";

/** What one trigger brings beside its message. */
export interface Trigger {
  /** What is the same whenever the platform delivers this trigger again: jobs without a name get theirs from it. */
  delivery?: string;
  /** When the platform will end the run. */
  deadline?: Date;
  /** Whoever brings it does what is left of the job, as `JobStatus.parts` and `next` say; else that goes to the platform's `Jobs`. */
  loops?: boolean;
  signal?: AbortSignal;
  listen?: Listen;
}

/** How a job ended, in a few bytes: platforms limit what a function may return. Of a check, what it found. */
export interface JobStatus extends Partial<Pick<CheckDocument, "ok" | "location" | "checks">> {
  kind?: Job["kind"] | "plan";
  name?: string;
  phase?: string;
  duplicate: boolean;
  skipped?: string;
  /** What is left is this job, once there were `parts` and they have ended, well or not. */
  next?: LockedJob;
  /** Of a job that is not all: how many items are done. */
  items?: number;
  /** Jobs of their own, which may be done in any order and at the same time, none before its `notBefore`. */
  parts?: LockedJob[];
  /** Of a backup that this run made: what it took, for what that costs. */
  durationMs?: number;
  usage?: Usage;
}

/** What a handler calls: a platform's triggers and requests, in the words of the core. */
export interface Service {
  /**
   * Runs the job that a trigger's message is. Throws `JobFailed` where it fails or ends PartiallyFailed, so that the
   * platform's retries and alarms see it. A check is answered, whatever it finds: somebody asks for it to read that.
   */
  run(message: unknown, trigger?: Trigger): Promise<JobStatus>;
  /**
   * Hands over, as jobs, the backups that have come due, each slot once, retention and verification: for a platform with
   * one clock for all schedules.
   * `last`: when it was called before, where that is known. `kinds`: of jobs that are handed over, by default all.
   */
  tick(last: Date | undefined, kinds?: readonly ClockKind[]): Promise<void>;
  /** Answers a request to the HTTP API. `caller`: who the platform says is asking. */
  fetch(request: Request, env?: { caller?: string }): Promise<Response>;
}

const CLOCK_KINDS = ["backup", "verify", "retention"] as const;
/** A kind of job that has a schedule. */
export type ClockKind = (typeof CLOCK_KINDS)[number];

/**
 * The kinds of jobs that a clock hands over, as the environment says them: `backup,verify`; none where the text is `none`,
 * all where there is none. Throws `invalid`.
 */
export function readClockKinds(text = ""): readonly ClockKind[] {
  const names = text.split(",").map((name) => name.trim());
  if (names.join() === "") return CLOCK_KINDS;
  if (names.join() === "none") return [];
  return names.map((name) => {
    const kind = CLOCK_KINDS.find((known) => known === name);
    if (kind) return kind;
    throw new LifeboatError("invalid", `no clock hands over jobs of the kind ${JSON.stringify(name)}`, {
      hint: `write some of ${CLOCK_KINDS.join(",")}, or none`,
    });
  });
}

/** A job's failure as a platform sees it; the name tells, for its retry rules, whether doing it again may help. */
export class JobFailed extends Error {
  readonly status: number;
  readonly retry: boolean;

  constructor(message: string, options: { retry: boolean; status: number; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = options.retry ? "JobFailedTryAgain" : "JobFailedForGood";
    this.status = options.status;
    this.retry = options.retry;
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
  /** Who takes the locks, where a process runs all there is: what it leaves when it is killed need not be waited for. */
  by?: Holder;
  timing?: LockTiming;
  fleetTiming?: FleetTiming;
}

/**
 * The service of one deployment. Its configuration is read for every trigger, and with it all secrets at most every 5
 * minutes: from the reference LIFEBOAT_CONFIG (`file:lifeboat.yaml`, `aws-sm://…`), where that is set, and from the
 * environment.
 */
export function createService(platform: Platform, options: ServiceOptions = {}): Service {
  const { env = process.env, listen = toStandardOutput, token, by, timing, fleetTiming } = options;
  const secrets = openSecrets(platform);
  const buckets = new Map<string, Promise<Bucket>>();

  async function configuration(): Promise<Config> {
    if (options.config) return options.config();
    const text = env.LIFEBOAT_CONFIG ? await secrets.read(env.LIFEBOAT_CONFIG) : undefined;
    const { config, warnings } = parseConfig(text, env);
    for (const warning of warnings) listen(logLine("warning", warning), "warning");
    return config;
  }

  /** One bucket for each location, so that its connections and credentials are kept. */
  async function bucketAt({ location, encryption }: Config): Promise<Bucket> {
    return unlockedBy(await storedAt(location), encryption.identity, secrets);
  }

  function storedAt(location: string): Promise<Bucket> {
    const opened = buckets.get(location) ?? openBucket(platform, location);
    buckets.set(location, opened);
    opened.catch(() => buckets.delete(location));
    return opened;
  }

  // Opened only when something is enqueued: reads need no queue.
  const jobs: Jobs = { enqueue: async (...given) => (await platform.jobs()).enqueue(...given) };

  /** The error as the platform is to see it; all there is to know of it goes to the log. */
  function told(error: unknown, heard: Listen, cluster?: string): JobFailed {
    const failed = jobFailed(error);
    const cause = isLifeboatError(failed.cause) || !failed.cause ? failed.message : stackOf(failed.cause);
    heard(logLine("error", cause, { error: failed.name, ...(cluster !== undefined && { cluster }) }), "error");
    return failed;
  }

  /** What there is to ask about. Secrets are read anew, so that one that was mended is seen. */
  async function checked(cluster: string | undefined, signal: AbortSignal): Promise<Checked> {
    const [{ configuredClusters, fleetsClusters }, config] = await Promise.all([
      import("./check/check.ts"),
      configuration(),
    ]);
    const fresh = openSecrets(platform);
    const sources = { name: cluster, secrets: fresh, clusters: platform.clusters };
    const found = isFleet(config)
      ? await fleetsClusters(config, sources, signal)
      : { clusters: configuredClusters(config, sources) };
    const source = options.config ? "the configuration" : (env.LIFEBOAT_CONFIG ?? "the environment");
    return { config, source, secrets: fresh, ...found, openBucket: storedAt, disks: platform.disks };
  }

  /** Asks whether backups can be made here, and tells the log what is not well. */
  async function checkHere(
    cluster: string | undefined,
    { deadline, signal, heard }: { deadline?: Date; signal: AbortSignal; heard: Listen },
  ): Promise<CheckDocument> {
    const { check } = await import("./check/check.ts");
    const time = deadline && deadline.getTime() - Date.now();
    const surroundings = platform.memory && { memory: platform.memory(), time };
    const document = await check(() => checked(cluster, signal), { surroundings, signal });
    for (const { state, subject, name, question, message, todo } of document.checks) {
      if (state !== "failed" && state !== "warning") continue;
      const about = { subject, ...(name && { name }), question, ...(todo && { todo }) };
      const level = state === "failed" ? "error" : "warning";
      heard(logLine(level, message, about), level);
    }
    heard(logLine("info", "check ended", { ok: String(document.ok) }), "info");
    return document;
  }

  /** The buckets of a fleet's clusters. */
  const memberOf = (config: Config) => (location: string) => bucketAt({ ...config, location });

  /** What the API of one of a fleet's clusters is made over; `reads`: it takes no more than what lies in the cluster's location. */
  async function memberApi(
    whole: FleetConfig,
    { cluster, reads }: { cluster: string; reads: boolean },
    signal: AbortSignal,
  ): Promise<Pick<ApiDeps, "config"> & Required<Pick<ApiDeps, "into">>> {
    const { clusters: clouds } = platform;
    const narrowedToOne = (name: string) => narrowedTo(whole, name, clouds, signal);
    const bucket = await bucketAt(whole);
    const config = await ofPath(
      reads ? narrowedToStored(whole, cluster, { bucket, clouds, signal }) : narrowedToOne(cluster),
    );
    const into = async (other = cluster) => ({ ...config, clusters: (await narrowedToOne(other)).clusters });
    return { config, into };
  }

  /** Runs a job with what it takes: the configuration is one cluster's and its schedules', or a fleet's. */
  async function runWith(
    job: LockedJob,
    { config, loops, ...context }: JobContext & { loops?: boolean },
  ): Promise<Outcome | FleetOutcome> {
    if (isFleet(config)) {
      const { runInFleet } = await import("./fleet/route.ts");
      return runInFleet(job, { ...context, config, openMember: memberOf(config), loops, fleetTiming });
    }
    if (job.kind === "fleet") throw new LifeboatError("invalid", "the configuration is not a fleet's");
    if ((job.kind === "verify" || job.kind === "retention") && job.cluster !== undefined)
      throw new LifeboatError("invalid", `the ${job.kind} of a cluster is one of a fleet: leave the cluster out`);
    if (job.kind === "restore" && job.from !== undefined)
      throw new LifeboatError("invalid", "from is a cluster of a fleet, which the configuration is not: leave it out");
    const { runJob } = await import("./jobs/run.ts");
    return runJob(job, { ...context, config });
  }

  return {
    async run(message, trigger = {}) {
      const { delivery, deadline, loops, signal = new AbortController().signal, listen: heard = listen } = trigger;
      let cluster: string | undefined;
      try {
        const job = readJob(message);
        if (job.kind !== "fleet") cluster = job.cluster;
        if (job.kind === "check")
          return { ...(await checkHere(job.cluster, { deadline, signal, heard })), duplicate: false };
        const config = await configuration();
        const bucket = await bucketAt(config);
        const { clusters, disks } = platform;
        // One process that does all it is told to gains nothing by sharing work with itself.
        const run = { delivery, deadline, spreads: by === undefined, signal, listen: heard, by, timing };
        const outcome = await runWith(job, { config, bucket, secrets, clusters, disks, loops, ...run });
        if (outcome.next) {
          const { next, items, parts = [] } = outcome;
          if (!loops) await handOver([...parts, next], jobs, signal);
          const left = {
            ...{ job: next.kind, ...(parts.length > 0 && { parts: parts.length }) },
            ...(items !== undefined && { items }),
          };
          heard(logLine("info", "the rest of the job is another one", left), "info");
          return {
            kind: next.kind,
            name: nameIn(next),
            duplicate: false,
            next,
            items,
            ...(parts.length > 0 && { parts }),
          };
        }
        const ended = judged(outcome);
        if (ended.phase) heard(endLine(job, ended), "info");
        return ended;
      } catch (error) {
        throw told(error, heard, cluster);
      }
    },
    async tick(last, kinds = CLOCK_KINDS) {
      try {
        const [{ dueSlot, dueSlots }, { submitOnce }, { askOnce }] = await Promise.all([
          import("./schedule/due.ts"),
          import("./requests.ts"),
          import("./fleet/route.ts"),
        ]);
        const config = await configuration();
        const bucket = await bucketAt(config);
        const now = new Date();
        const due = kinds.includes("backup") ? dueSlots(config, last, now) : [];
        const handOver = due.map(({ schedule, slot }) => async () => {
          if (await isPaused(bucket, schedule)) return;
          const name = scheduledName(schedule.name, slot);
          const job = { schedule: schedule.name, slot: slot.toISOString() };
          if (isFleet(config)) await askOnce(bucket, name, job, jobs);
          else await submitOnce({ kind: "backup", ...job, name }, { bucket, jobs });
        });
        if (kinds.includes("retention") && dueSlot(config.retentionSchedule, last, now))
          handOver.push(() => jobs.enqueue({ kind: "retention" }));
        const slot = kinds.includes("verify") && dueSlot(config.verify?.schedule, last, now)?.toISOString();
        if (slot) handOver.push(() => jobs.enqueue({ kind: "verify", slot }));
        // What can't be handed over holds up nothing else.
        const failures: unknown[] = [];
        for (const one of handOver) await one().catch((error) => failures.push(error));
        for (const failure of failures.slice(1)) told(failure, listen);
        if (failures.length > 0) throw failures[0];
      } catch (error) {
        throw told(error, listen);
      }
    },
    async fetch(request, requestEnv) {
      const { answerBelow, clusterRequest, createApi, problemResponse, refusalOf, unavailable } = await import(
        "./api.ts"
      );
      const log = (line: string) => listen(line, "error");
      const { version } = manifest;
      const { pathname } = new URL(request.url);
      if (pathname === "/healthz" && request.method === "GET") return Response.json({ status: "ok", version });
      const refusal = token === undefined ? undefined : refusalOf(request, token);
      if (refusal) return problemResponse(refusal);
      let deps: ApiDeps;
      let member: ReturnType<typeof clusterRequest>;
      try {
        const whole = await configuration();
        member = isFleet(whole) ? clusterRequest(request) : undefined;
        const { clusters, disks } = platform;
        const { signal } = request;
        const { config, into }: Pick<ApiDeps, "config" | "into"> =
          member && isFleet(whole) ? await memberApi(whole, member, signal) : { config: whole };
        const trustedKeys = () => readTrustedKeys(secrets, config.signing.publicKeys, signal);
        const check: ApiDeps["check"] = (cluster, signal) =>
          checkHere(member?.cluster ?? cluster, { signal, heard: listen });
        const { configuredRemoval } = await import("./removal.ts");
        const removal = () => configuredRemoval({ config, secrets, clusters, disks });
        const fleet = isFleet(config) ? { config, clouds: clusters, openMember: memberOf(config) } : undefined;
        deps = {
          ...{ config, bucket: await bucketAt(config), version, check, removal, trustedKeys, token, log },
          ...{ fleet, into, jobs: member ? jobsOf(member.cluster, jobs) : jobs },
        };
      } catch (error) {
        if (member && isLifeboatError(error, "missing")) return problemResponse(error);
        log(logLine("error", messageOf(error)));
        return problemResponse(unavailable());
      }
      if (!member) return createApi(deps).fetch(request, requestEnv);
      return answerBelow(member.base, await createApi(deps).fetch(member.request, requestEnv));
    },
  };
}

/** The configuration that a path leads to: one that names no cluster of the fleet is one that is `missing`. */
async function ofPath(narrowing: Promise<Config>): Promise<Config> {
  try {
    return await narrowing;
  } catch (error) {
    if (!isLifeboatError(error, "invalid")) throw error;
    throw new LifeboatError("missing", error.message, { hint: error.hint, cause: error });
  }
}

/**
 * The line at the end of a job that went well. Alarms of platforms look for `job=backup schedule=NAME phase=Completed`:
 * these fields stay together, in this order. Of a fleet only the whole run is its schedule's backup; in the lines of its parts the
 * cluster stands between.
 */
function endLine(job: LockedJob, { phase = "", name = "" }: JobStatus): string {
  const { kind, schedule, cluster = "", fleet } = { schedule: undefined, cluster: undefined, fleet: undefined, ...job };
  return logLine("info", "job ended", {
    job: kind === "fleet" ? "backup" : kind,
    ...(fleet !== undefined && { cluster }),
    ...(schedule !== undefined && { schedule }),
    ...{ phase, name },
  });
}

/** Jobs are done on their own then: one that comes before those it waits for says itself what is left. */
async function handOver(all: LockedJob[], jobs: Jobs, signal: AbortSignal): Promise<void> {
  for (const job of all) {
    const after = Math.max(0, Date.parse(job.notBefore ?? "") - Date.now()) / 1000 || 0;
    await jobs.enqueue(job, { after, signal });
  }
}

/** Hands over jobs as those of one cluster of a fleet; a restore into another one as that of its location. */
function jobsOf(cluster: string, jobs: Jobs): Jobs {
  const ofCluster = (job: Job): Job => {
    if (job.kind === "fleet") return job;
    const isInto = job.kind === "restore" && job.cluster !== undefined && job.cluster !== cluster;
    return isInto ? { ...job, from: cluster } : { ...job, cluster };
  };
  return { enqueue: (job, options) => jobs.enqueue(ofCluster(job), options) };
}

function nameIn(job: LockedJob): string | undefined {
  return { name: undefined, ...job }.name;
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The most that a delivered job may have, in bytes. */
const MAX_MESSAGE = 1024 * 1024;

/** The header of a request whose sender does what is left of the job: "true". */
const LOOPS = "lifeboat-loops";

/**
 * Runs the job that is the body of a POST by the platform, and answers it: 2xx only where the job ended well. `slot`: the
 * scheduled time that the platform tells, for what is made once for each and names none.
 */
export async function deliver(
  service: Service,
  request: Request,
  { slot, ...trigger }: Trigger & { slot?: string },
): Promise<Response> {
  try {
    const message = await bodyOf(request);
    const slotted = slot !== undefined && message.slot === undefined && hasSlot(message);
    const loops = request.headers.get(LOOPS) === "true";
    return Response.json(await service.run(slotted ? { ...message, slot } : message, { ...trigger, loops }));
  } catch (error) {
    const { name, message, status } = jobFailed(error);
    const problem = { type: "about:blank", title: name, status, detail: message };
    return Response.json(problem, { status, headers: { "content-type": "application/problem+json" } });
  }
}

/** Whether it is a schedule's backup, or the verification of the location. */
function hasSlot(message: Record<string, unknown>): boolean {
  const { kind, schedule, name } = message;
  const isScheduled = (kind === "backup" || kind === "fleet") && schedule !== undefined;
  return isOfLocation(message) || (isScheduled && name === undefined);
}

async function bodyOf(request: Request): Promise<Record<string, unknown>> {
  const tooLarge = new LifeboatError("invalid", `the job has more than ${MAX_MESSAGE} bytes`);
  if (Number(request.headers.get("content-length")) > MAX_MESSAGE) throw tooLarge;
  const body = await request.arrayBuffer();
  if (body.byteLength > MAX_MESSAGE) throw tooLarge;
  const refuse = (what: string) =>
    new LifeboatError("invalid", `the body of the request is ${what}`, { hint: "it should be a job" });
  let message: unknown;
  try {
    message = JSON.parse(new TextDecoder().decode(body));
  } catch {
    throw refuse("not JSON");
  }
  if (typeof message !== "object" || message === null || Array.isArray(message)) throw refuse("no JSON object");
  return message as Record<string, unknown>;
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

/** So many clusters are named in a failure; the summary names all. */
const MOST_NAMED = 10;

/** What the platform may take for a success: not a document that tells of a failure, though another delivery made it. */
function judged({
  document,
  duplicate,
  skipped,
  items,
}: Exclude<Outcome | FleetOutcome, { next: LockedJob }> & { items?: number }): JobStatus {
  if (!document) return { duplicate, skipped, ...(items !== undefined && { items }) };
  if (document.kind === "fleet") {
    const { kind, name, phase, counts, clusters, errors } = document;
    if (phase === "Completed") return { kind, name, phase, duplicate };
    const failed = clusters.filter(({ phase }) => phase !== "Completed" && phase !== "Skipped");
    const named =
      failed.length > 0
        ? `: ${someOf(
            failed.map(({ cluster }) => cluster),
            MOST_NAMED,
          )}`
        : "";
    const message = `fleet ${name} is ${phase}: ${failed.length} of ${counts.clusters} clusters have no good backup${named}; the first error: ${errors[0]?.message}`;
    throw new JobFailed(message, { retry: false, status: 500 });
  }
  if (document.kind === "plan") return { kind: "plan", name: document.id, phase: "Completed", duplicate };
  if (document.kind === "verify") {
    const { kind, name, ok } = document;
    if (ok) return { kind, name, phase: "Completed", duplicate };
    throw damagedFailure(`backup ${name} is damaged: ${damageText(document.damaged)}`);
  }
  if (document.kind === "verifyList") {
    const { ok, backups, orphans } = document;
    if (ok) return { kind: "verify", name: ALL, phase: "Completed", duplicate };
    const damaged = backups.filter((backup) => !backup.ok);
    const first = damaged[0] ? `${damaged[0].name}: ${damageText(damaged[0].damaged)}` : orphans[0]!.reason;
    throw damagedFailure(`${damaged.length + orphans.length} backups are damaged, the first: ${first}`);
  }
  const { kind, name, phase, errors } = document;
  const took = document.kind === "backup" && document.usage;
  if (phase === "Completed")
    return { kind, name, phase, duplicate, ...(took && { durationMs: document.durationMs, usage: took }) };
  const message = `${kind} ${name} is ${phase}: ${errors.length} errors, the first: ${errors[0]?.message}`;
  throw new JobFailed(message, { retry: false, status: 500 });
}

function damagedFailure(message: string): JobFailed {
  return new JobFailed(message, { retry: false, status: ERROR_KINDS.corrupt.http });
}

function jobFailed(error: unknown): JobFailed {
  if (error instanceof JobFailed) return error;
  if (!isLifeboatError(error)) {
    return new JobFailed("an unexpected error, which the log tells more of", {
      retry: true,
      status: 500,
      cause: error,
    });
  }
  const { http } = ERROR_KINDS[error.kind];
  const message = error.hint ? `${error.message} (${error.hint})` : error.message;
  return new JobFailed(message, { retry: mayPass(error), status: http, cause: error });
}

function toStandardOutput(line: string): void {
  process.stdout.write(`${line}\n`);
}
