import manifest from "../package.json" with { type: "json" };
import type { ApiDeps, clusterRequest } from "./api.ts";
import type { Checked } from "./check/check.ts";
import type { CheckDocument } from "./check/document.ts";
import type { Config, FleetConfig } from "./config.ts";
import { type Deployment, type DeploymentOptions, openDeployment } from "./deployment.ts";
import { isLifeboatError, LifeboatError, messageOf } from "./errors.ts";
import type { FleetOutcome, FleetTiming } from "./fleet/job.ts";
import { isFleet, narrowedTo, narrowedToStored } from "./fleet/narrowed.ts";
import type { Holder } from "./holder.ts";
import { readTrustedKeys } from "./integrity/keys.ts";
import { type Job, type LockedJob, readJob } from "./job.ts";
import type { JobContext, Outcome } from "./jobs/context.ts";
import type { LockTiming } from "./lock.ts";
import { type Listen, logLine } from "./log.ts";
import type { Bucket, Jobs, Platform } from "./ports.ts";
import { isPaused } from "./schedule/pause.ts";
import { scheduledName } from "./schedule/slots.ts";
import { openSecrets } from "./secrets.ts";
import { endLine, type JobStatus, loggedFailure, statusOf } from "./verdict.ts";

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

export interface ServiceOptions extends DeploymentOptions {
  /** What requests must bear where the platform doesn't authenticate them. */
  token?: string;
  /** Who takes the locks, where a process runs all there is: what it leaves when it is killed need not be waited for. */
  by?: Holder;
  timing?: LockTiming;
  fleetTiming?: FleetTiming;
}

/**
 * The service of one deployment. Its configuration is read for every trigger, and with it all secrets at most every 5
 * minutes.
 */
export function createService(platform: Platform, options: ServiceOptions = {}): Service {
  const deployment = openDeployment(platform, options);
  return {
    async run(message, trigger = {}) {
      const { deadline, signal = new AbortController().signal, listen = deployment.listen } = trigger;
      let cluster: string | undefined;
      try {
        const job = readJob(message);
        if (job.kind !== "fleet") cluster = job.cluster;
        if (job.kind === "check")
          return { ...(await checkHere(deployment, cluster, { deadline, signal, listen })), duplicate: false };
        const outcome = await runHere(deployment, job, { ...trigger, signal, listen }, options);
        if (outcome.next && !trigger.loops)
          await enqueueRest([...(outcome.parts ?? []), outcome.next], deployment.jobs, signal);
        const status = statusOf(outcome);
        const line = endLine(job, status);
        if (line !== undefined) listen(line, "info");
        return status;
      } catch (error) {
        throw loggedFailure(error, listen, cluster);
      }
    },
    async tick(last, kinds = CLOCK_KINDS) {
      const { listen } = deployment;
      try {
        // What can't be handed over holds up nothing else.
        const failures: unknown[] = [];
        for (const one of await handingOver(deployment, last, kinds))
          await one().catch((error) => failures.push(error));
        for (const failure of failures.slice(1)) loggedFailure(failure, listen);
        if (failures.length > 0) throw failures[0];
      } catch (error) {
        throw loggedFailure(error, listen);
      }
    },
    fetch: (request, env) => answer(deployment, request, { env, token: options.token }),
  };
}

/** Runs a job in the deployment. */
async function runHere(
  { platform, secrets, configuration, bucketAt }: Deployment,
  job: LockedJob,
  { delivery, deadline, loops, signal, listen }: Trigger & { signal: AbortSignal },
  { by, timing, fleetTiming }: ServiceOptions,
): Promise<Outcome | FleetOutcome> {
  const config = await configuration();
  const bucket = await bucketAt(config);
  const { clusters, disks } = platform;
  // One process that does all it is told to gains nothing by sharing work with itself.
  const run = { delivery, deadline, spreads: by === undefined, loops, signal, listen, by, timing };
  const context: JobContext = { config, bucket, secrets, clusters, disks, ...run };
  if (isFleet(config)) {
    const { runInFleet } = await import("./fleet/route.ts");
    return runInFleet(job, { ...context, config, openMember: memberBuckets(config, bucketAt), fleetTiming });
  }
  if (job.kind === "fleet") throw new LifeboatError("invalid", "the configuration is not a fleet's");
  if ((job.kind === "verify" || job.kind === "retention") && job.cluster !== undefined)
    throw new LifeboatError("invalid", `the ${job.kind} of a cluster is one of a fleet: leave the cluster out`);
  if (job.kind === "restore" && job.from !== undefined)
    throw new LifeboatError("invalid", "from is a cluster of a fleet, which the configuration is not: leave it out");
  const { runJob } = await import("./jobs/run.ts");
  return runJob(job, context);
}

/** Jobs are done on their own then: one that comes before those it waits for says itself what is left. */
async function enqueueRest(all: LockedJob[], jobs: Jobs, signal: AbortSignal): Promise<void> {
  for (const job of all) {
    const after = Math.max(0, Date.parse(job.notBefore ?? "") - Date.now()) / 1000 || 0;
    await jobs.enqueue(job, { after, signal });
  }
}

/** What has come due since `last`, each as what hands it over. */
async function handingOver(
  { jobs, configuration, bucketAt, listen }: Deployment,
  last: Date | undefined,
  kinds: readonly ClockKind[],
): Promise<(() => Promise<unknown>)[]> {
  const [{ dueSlot, dueSlots }, { submitOnce }, { askOnce }] = await Promise.all([
    import("./schedule/due.ts"),
    import("./requests.ts"),
    import("./fleet/route.ts"),
  ]);
  const config = await configuration();
  const bucket = await bucketAt(config);
  const now = new Date();
  const due = kinds.includes("backup") ? dueSlots(config, last, now) : [];
  const all: (() => Promise<unknown>)[] = due.map(({ schedule, slot }) => async () => {
    if (await isPaused(bucket, schedule)) return;
    const name = scheduledName(schedule.name, slot);
    const job = { schedule: schedule.name, slot: slot.toISOString() };
    const handedOver = isFleet(config)
      ? await askOnce(bucket, name, job, jobs)
      : await submitOnce({ kind: "backup", ...job, name }, { bucket, jobs });
    if (!handedOver) listen(logLine("info", "the slot was handed over before", job), "info");
  });
  if (kinds.includes("retention") && dueSlot(config.retentionSchedule, last, now))
    all.push(() => jobs.enqueue({ kind: "retention" }));
  const slot = kinds.includes("verify") && dueSlot(config.verify?.schedule, last, now)?.toISOString();
  if (slot) all.push(() => jobs.enqueue({ kind: "verify", slot }));
  return all;
}

/** Asks whether backups can be made here, and tells the log what is not well. */
async function checkHere(
  deployment: Deployment,
  cluster: string | undefined,
  { deadline, signal, listen }: { deadline?: Date; signal: AbortSignal; listen: Listen },
): Promise<CheckDocument> {
  const { memory } = deployment.platform;
  const { check } = await import("./check/check.ts");
  const time = deadline && deadline.getTime() - Date.now();
  const surroundings = memory && { memory: memory(), time };
  const document = await check(() => checkedIn(deployment, cluster, signal), { surroundings, signal });
  for (const { state, subject, name, question, message, todo } of document.checks) {
    if (state !== "failed" && state !== "warning") continue;
    const about = { subject, ...(name && { name }), question, ...(todo && { todo }) };
    const level = state === "failed" ? "error" : "warning";
    listen(logLine(level, message, about), level);
  }
  listen(logLine("info", "check ended", { ok: String(document.ok) }), "info");
  return document;
}

/** What there is to ask about. Secrets are read anew, so that one that was mended is seen. */
async function checkedIn(
  { platform, configuration, source, storedAt }: Deployment,
  cluster: string | undefined,
  signal: AbortSignal,
): Promise<Checked> {
  const [{ configuredClusters, fleetsClusters }, config] = await Promise.all([
    import("./check/check.ts"),
    configuration(),
  ]);
  const secrets = openSecrets(platform);
  const sources = { name: cluster, secrets, clusters: platform.clusters };
  const found = isFleet(config)
    ? await fleetsClusters(config, sources, signal)
    : { clusters: configuredClusters(config, sources) };
  return { config, source: source(), secrets, ...found, openBucket: storedAt, disks: platform.disks };
}

/** Answers a request to the HTTP API. `token`: what it must bear. */
async function answer(
  deployment: Deployment,
  request: Request,
  { env, token }: { env?: { caller?: string }; token?: string },
): Promise<Response> {
  const { answerBelow, clusterRequest, createApi, problemResponse, refusalOf, unavailable } = await import("./api.ts");
  const log = (line: string) => deployment.listen(line, "error");
  const { version } = manifest;
  const { pathname } = new URL(request.url);
  if (pathname === "/healthz" && request.method === "GET") return Response.json({ status: "ok", version });
  const refusal = token === undefined ? undefined : refusalOf(request, token);
  if (refusal) return problemResponse(refusal);
  let deps: ApiDeps;
  let member: MemberRequest | undefined;
  try {
    const config = await deployment.configuration();
    member = isFleet(config) ? clusterRequest(request) : undefined;
    deps = { ...(await apiDeps(deployment, config, member, request.signal)), version, token, log };
  } catch (error) {
    if (member && isLifeboatError(error, "missing")) return problemResponse(error);
    log(logLine("error", messageOf(error)));
    return problemResponse(unavailable());
  }
  if (!member) return createApi(deps).fetch(request, env);
  return answerBelow(member.base, await createApi(deps).fetch(member.request, env));
}

/** A request below one of a fleet's clusters. */
type MemberRequest = NonNullable<ReturnType<typeof clusterRequest>>;

/** What the API is made over: all that the configuration says, or one of its clusters. */
async function apiDeps(
  deployment: Deployment,
  whole: Config,
  member: MemberRequest | undefined,
  signal: AbortSignal,
): Promise<Omit<ApiDeps, "version" | "token" | "log">> {
  const { platform, secrets, jobs, bucketAt, listen } = deployment;
  const { clusters, disks } = platform;
  const { config, into }: Pick<ApiDeps, "config" | "into"> =
    member && isFleet(whole) ? await memberConfig(deployment, whole, member, signal) : { config: whole };
  const { configuredRemoval } = await import("./removal.ts");
  return {
    config,
    bucket: await bucketAt(config),
    check: (cluster, signal) => checkHere(deployment, member?.cluster ?? cluster, { signal, listen }),
    removal: () => configuredRemoval({ config, secrets, clusters, disks }),
    trustedKeys: () => readTrustedKeys(secrets, config.signing.publicKeys, signal),
    fleet: isFleet(config)
      ? { config, secrets, clouds: clusters, openMember: memberBuckets(config, bucketAt) }
      : undefined,
    into,
    jobs: member ? jobsOf(member.cluster, jobs) : jobs,
  };
}

/** The configuration of one of a fleet's clusters; `reads`: it takes no more than what lies in the cluster's location. */
async function memberConfig(
  { platform, bucketAt }: Deployment,
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

/** The configuration that a path leads to: one that names no cluster of the fleet is one that is `missing`. */
async function ofPath(narrowing: Promise<Config>): Promise<Config> {
  try {
    return await narrowing;
  } catch (error) {
    if (!isLifeboatError(error, "invalid")) throw error;
    throw new LifeboatError("missing", error.message, { hint: error.hint, cause: error });
  }
}

/** What opens the buckets of a fleet's clusters. */
function memberBuckets(config: Config, bucketAt: Deployment["bucketAt"]): (location: string) => Promise<Bucket> {
  return (location) => bucketAt({ ...config, location });
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
