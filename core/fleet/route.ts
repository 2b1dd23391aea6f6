import { LifeboatError, messageOf } from "../errors.ts";
import { type ClusterJob, type FleetJob, isOfLocation, type LockedJob } from "../job.ts";
import type { Outcome } from "../jobs/context.ts";
import { fleetKeys } from "../layout.ts";
import { logLine } from "../log.ts";
import { listObjects, putJsonOnce } from "../once.ts";
import type { Bucket, Jobs } from "../ports.ts";
import { hasCome } from "../schedule/slots.ts";
import { ASK_AGAIN_MS, asksAgain, fleetClusters, MOST_TRIES } from "./discovery.ts";
import { type FleetOutcome, type FleetTiming, runFleetJob } from "./job.ts";
import { type FleetContext, runMember } from "./member.ts";
import { inOneAnswer } from "./parts.ts";
import { chosenNames } from "./settings.ts";
import { storedClusters } from "./stored.ts";
import { sweepRuns } from "./sweep.ts";

/**
 * Runs a job where there is a fleet. One that names a cluster is that cluster's; a schedule's backup that names none is the
 * fleet's job, so that clocks need not tell them apart; retention, and the verification of the location, become a job for each
 * cluster. Throws `invalid` for a job that can only be of one cluster and names none.
 */
export async function runInFleet(
  job: LockedJob,
  context: FleetContext & { loops?: boolean; fleetTiming?: FleetTiming },
): Promise<Outcome | FleetOutcome> {
  if (job.kind === "fleet") return runFleetJob(job, context);
  const { cluster } = job;
  if (cluster !== undefined) return runMember({ ...job, cluster }, context);
  if (job.kind === "backup" && job.schedule !== undefined) {
    const { schedule, slot, name, caller, notBefore } = job;
    return runFleetJob({ kind: "fleet", schedule, slot, name, caller, notBefore }, context);
  }
  if (job.kind === "retention" || (job.kind === "verify" && isOfLocation(job))) return ofEach(job, context);
  throw new LifeboatError("invalid", `the job names no cluster of the fleet, and a ${job.kind} is of one`, {
    hint: 'name it: "cluster"',
  });
}

/**
 * The same job of each cluster, of so many at once: the others, or the last one, are what is done when those have ended. To verify, of
 * all those whose backups lie in the location, too: no cloud is asked. Retention is of those that are the fleet's now. Where a cloud can't
 * be asked for these it is asked again for some minutes; then those that were found get their jobs, and what is left fails.
 */
async function ofEach(
  { after, ...job }: Extract<ClusterJob, { kind: "retention" | "verify" }>,
  context: FleetContext & { fleetTiming?: FleetTiming },
): Promise<FleetOutcome> {
  const { config, bucket, signal } = context;
  if (job.kind === "verify") {
    const known = new Map(Object.entries(config.clusters));
    const names = [...known.keys(), ...(await storedClusters(bucket, known, signal))];
    return eachOf(job, names.sort(), after);
  }
  const { listen, clusters: clouds, fleetTiming } = context;
  const { tried = 0 } = job;
  if (tried === 0 && after === undefined) await sweep(context);
  const found = await fleetClusters(config, clouds, signal);
  for (const problem of found.problems) listen?.(logLine("error", problem), "error");
  if (asksAgain(found, tried)) {
    const notBefore = new Date(Date.now() + (fleetTiming?.poll ?? ASK_AGAIN_MS)).toISOString();
    return { duplicate: false, next: { ...job, after, tried: tried + 1, notBefore }, parts: [] };
  }
  if (found.failure !== undefined && tried > MOST_TRIES) throw found.failure;
  const schedule = job.schedule === undefined ? undefined : config.fleet.schedules[job.schedule];
  const names = schedule ? chosenNames(schedule.clusters, found.clusters) : [...found.clusters.keys()];
  const each = { ...job, notBefore: undefined };
  if (found.failure === undefined) return eachOf(each, names, after);
  if (names.length === 0) throw found.failure;
  return eachOf(each, names, after, { ...each, tried: MOST_TRIES + 1 });
}

const SWEEP_MS = 60_000;

/** Takes away what old runs have left, as far as that goes in a minute: retention of the clusters does not wait for it. */
async function sweep({ bucket, listen, signal }: FleetContext): Promise<void> {
  try {
    const swept = await sweepRuns(bucket, new Date(), AbortSignal.any([signal, AbortSignal.timeout(SWEEP_MS)]));
    if (swept > 0)
      listen?.(logLine("info", "what old runs of the fleet had left is deleted", { objects: swept }), "info");
  } catch (error) {
    signal.throwIfAborted();
    const message = `what old runs of the fleet had left is not all deleted: ${messageOf(error)}`;
    listen?.(logLine("warning", message), "warning");
  }
}

/** `last`: what is done when all have ended, else one of them. */
function eachOf(
  job: Extract<ClusterJob, { kind: "retention" | "verify" }>,
  names: string[],
  after = "",
  last?: LockedJob,
): FleetOutcome {
  const left = names.filter((name) => name > after);
  const parts = inOneAnswer(left.map((cluster): LockedJob => ({ ...job, cluster })));
  const next = left.length > parts.length ? { ...job, after: left[parts.length - 1]! } : (last ?? parts.pop());
  if (next) return { duplicate: false, next, parts };
  return { duplicate: false, skipped: "the fleet has no cluster that it would be of" };
}

/**
 * Hands over a fleet's schedule, unless a run of that name was before, since its slot: whether it did. It is noted afterwards, so that
 * what could not be handed over is once more: of a job that comes twice there is one run. Throws what the bucket and the platform's `Jobs` throw.
 */
export async function askOnce(
  bucket: Bucket,
  name: string,
  job: Pick<FleetJob, "schedule" | "slot" | "name" | "caller">,
  jobs: Jobs,
): Promise<boolean> {
  const { asked, members, summary } = fleetKeys(name);
  const slot = new Date(job.slot ?? 0);
  for await (const { key, modified } of listObjects(bucket, fleetKeys(name).folder))
    if ((key === asked || key === summary || key.startsWith(members)) && hasCome(slot, modified)) return false;
  await jobs.enqueue({ kind: "fleet", ...job });
  await putJsonOnce(bucket, asked, { schemaVersion: 1, at: new Date().toISOString(), ...job });
  return true;
}
