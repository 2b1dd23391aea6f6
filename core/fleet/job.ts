import pLimit from "p-limit";
import { z } from "zod";
import { FIRST_LOOK_MS, untilNextLook } from "../comeback.ts";
import type { FleetSchedule } from "../config.ts";
import { listFolder, readJson } from "../contents.ts";
import { isLifeboatError, LifeboatError, mayPass, unlessMissing } from "../errors.ts";
import type { FleetJob, LockedJob } from "../job.ts";
import { untilDue } from "../jobs/deadline.ts";
import { fleetKeys } from "../layout.ts";
import { type LockState, type LockTiming, lockState } from "../lock.ts";
import { type Log, startRunLog } from "../log.ts";
import { checkName, checkNewName } from "../names.ts";
import { putJsonOnce } from "../once.ts";
import type { Bucket } from "../ports.ts";
import { slotOf } from "../schedule/due.ts";
import { isPaused } from "../schedule/pause.ts";
import { scheduledName } from "../schedule/slots.ts";
import { failureDocument, tell } from "../tell.ts";
import { ASK_AGAIN_MS } from "./discovery.ts";
import { type FleetDocument, type FleetRun, fleetDocument, type MemberEnd, readSummary } from "./document.ts";
import { endsOf, type FleetBuckets, type Noted, notedIn } from "./ends.ts";
import type { FleetContext } from "./member.ts";
import { chooseMembers, keepMembers, keptMembers, type Members, newestMembers } from "./members.ts";
import { memberLocation } from "./narrowed.ts";
import { inOneAnswer, MOST_PARTS } from "./parts.ts";
import { timeLimit } from "./time.ts";

/** How a fleet's job ended: the members of a run are its parts, and what sums them up is the job itself, once more. */
export type FleetOutcome =
  | { document: FleetDocument; duplicate: boolean; skipped?: undefined; next?: undefined }
  | {
      document?: undefined;
      duplicate: false;
      skipped?: undefined;
      next: LockedJob;
      parts: LockedJob[];
      items?: undefined;
    }
  | { document?: undefined; duplicate: boolean; skipped: string; next?: undefined };

/** How long a run waits, in milliseconds. */
export interface FleetTiming {
  /** Until it looks again whether all have ended, where nobody drives it: at first, and longer as time passes. */
  poll: number;
  /** Until those are lost of which nothing is heard, where nobody drives it, while no run is at them. */
  quiet: number;
}

const FLEET_TIMING: FleetTiming = { poll: FIRST_LOOK_MS, quiet: 300_000 };
const MINUTE_MS = 60_000;
const LOCKS_AT_ONCE = 16;

/** That a run was handed over. */
const askedSchema = z.object({
  schedule: z.string(),
  at: z.iso.datetime().transform((text) => new Date(text)),
});

/**
 * A fleet's schedule. The first time it chooses the clusters, once for all deliveries, and hands over a backup of each; then, as
 * `next`, it comes back until all have ended, hands over once more those that got lost, and in the end leaves the summary: one,
 * whoever comes. Who leaves it tells all that want to know, as does a job that fails for good before. A summary that is there already
 * does away with nothing: what became of the run is judged by the clusters' own locations each time.
 *
 * `loops`: somebody runs the parts and waits for them, else that is up to the jobs themselves.
 */
export async function runFleetJob(job: FleetJob, context: RunContext): Promise<FleetOutcome> {
  const { schedule } = job;
  let name = job.name ?? schedule;
  const named = (known: string) => {
    name = known;
  };
  try {
    return await goOn(job, context, named);
  } catch (error) {
    const { location } = context.bucket;
    if (!context.signal.aborted && !mayPass(error))
      await tell(failureDocument({ kind: "fleet", name, schedule, location }, error), context);
    throw error;
  }
}

async function goOn(job: FleetJob, context: RunContext, named: (name: string) => void): Promise<FleetOutcome> {
  const { config, bucket, signal, listen } = context;
  const schedule = config.fleet.schedules[job.schedule];
  if (!schedule)
    throw new LifeboatError("invalid", `the fleet has no schedule "${job.schedule}"`, {
      hint: `it has ${Object.keys(config.fleet.schedules).join(", ") || "none at all"}`,
    });
  await untilDue(job, signal);
  const slot = job.name === undefined ? slotOf(schedule, job.slot).toISOString() : undefined;
  const name = job.name ?? scheduledName(schedule.name, new Date(slot!));
  checkNewName("backup", name);
  named(name);
  const isFirst = job.members === undefined;
  const isThere = isFirst && (await isSummedUp(bucket, name, signal));
  if (!isThere && isFirst && slot !== undefined && (await isPaused(bucket, schedule, signal)))
    return { duplicate: false, skipped: `schedule "${schedule.name}" is paused` };

  const { log } = startRunLog({ fleet: name }, listen);
  const asked: Asked = { job, name, slot, schedule, log };
  const members = job.members
    ? await keptMembers(bucket, name, job.members, signal)
    : await chooseMembers(schedule, job, context, (problem) => log("warning", problem));
  if (!members) return askAgain(asked, context);
  if (isThere) {
    const ends = await endsOf(runOf(asked), members.clusters, context);
    if (members.clusters.every((cluster) => ends.has(cluster))) return sumUp({ ...asked, members }, ends, context);
  }
  const digest = job.members ?? (await keepMembers(bucket, name, members, signal));
  const { timeout } = config.fleet;
  const limit = timeLimit(timeout, schedule, members.at);
  const over = members.at.getTime() + limit.ms;
  const until = timeout === undefined ? undefined : new Date(over);
  const run = { ...asked, job: { ...job, members: digest }, members, over, until };
  const { loops = false, fleetTiming = FLEET_TIMING } = context;
  const { given = 0 } = job;
  if (Date.now() > over + (loops ? 0 : fleetTiming.poll)) {
    const ends = await endsOf(runOf(run), members.clusters, context);
    return sumUp(run, withLate(ends, { clusters: members.clusters, given, limit: limit.text }), context);
  }
  if (given < members.clusters.length) return handOver(run, given, context);
  return comeBack(run, await notedIn(bucket, name, signal), context);
}

/** A run of a fleet's schedule. */
interface Asked {
  job: FleetJob;
  name: string;
  slot?: string;
  schedule: FleetSchedule;
  log: Log;
}

/** The same once its clusters are chosen. */
interface Run extends Asked {
  members: Members;
  /** When it is over, in milliseconds since the epoch. */
  over: number;
  /** The same, where the configuration says so: what runs then is cut off. */
  until?: Date;
}

type RunContext = FleetContext & { loops?: boolean; fleetTiming?: FleetTiming };

/** A cloud could not be asked: the job comes back, since whom it chooses now is chosen for the whole run. */
function askAgain(asked: Asked, { fleetTiming }: RunContext): FleetOutcome {
  const tried = (asked.job.tried ?? 0) + 1;
  const at = Date.now() + (fleetTiming?.poll ?? ASK_AGAIN_MS);
  return { duplicate: false, parts: [], next: restOf(asked, { tried }, at) };
}

/**
 * Hands over the next clusters: as many as may be begun now, or, where somebody drives them, all with their times. Nothing that lies in
 * the fleet's folder keeps one from being backed up: of what has ended already a job of its own finds that.
 */
function handOver(
  run: Run,
  given: number,
  { config, loops = false, fleetTiming = FLEET_TIMING }: RunContext,
): FleetOutcome {
  const { members, log } = run;
  const now = Date.now();
  const { perMinute } = config.fleet;
  const left = members.clusters.slice(given, loops ? undefined : given + (perMinute ?? MOST_PARTS));
  const parts = inOneAnswer(
    left.map((cluster, at) => {
      const minute = perMinute === undefined ? 0 : Math.floor(at / perMinute);
      return partOf(run, cluster, minute && now + minute * MINUTE_MS);
    }),
  );
  const upTo = given + parts.length;
  log("info", "clusters are backed up", { clusters: parts.length, of: members.clusters.length });
  const wait = upTo === members.clusters.length ? fleetTiming.poll : MINUTE_MS;
  return { duplicate: false, parts, next: restOf(run, { given: upTo }, loops ? 0 : now + wait) };
}

/** All have been handed over: waits for those that are left, hands over once more what is lost, and in the end goes without them. */
async function comeBack(run: Run, noted: Noted, context: RunContext): Promise<FleetOutcome> {
  const { job, name, members, over, log } = run;
  const { loops = false, fleetTiming = FLEET_TIMING } = context;
  const now = Date.now();
  const looks = Math.min(now + untilNextLook(members.at.getTime(), now, fleetTiming.poll), over + fleetTiming.poll + 1);
  const heard = Math.max(Date.parse(job.again ?? members.at.toISOString()), noted.newest);
  const mayBeLost = loops || now - heard > fleetTiming.quiet;
  const waitsFor = async (clusters: string[], state: LockState["state"] = "held") =>
    clusters.length > 0 && (!mayBeLost || (await someAre(state, clusters, name, context)));
  const later = (): FleetOutcome => ({ duplicate: false, parts: [], next: restOf(run, {}, looks) });
  // Where nobody drives them, jobs that were handed over twice may wait for their turn as long as the run lasts.
  const waitsForTurn = async (clusters: string[]) =>
    !loops && job.again !== undefined && job.after === undefined && (await waitsFor(clusters, "free"));
  const left = members.clusters.filter((cluster) => !noted.ended.has(cluster));
  const unheard = left.filter((cluster) => !noted.tried.has(cluster));
  if ((await waitsFor(left)) || (await waitsForTurn(unheard))) return later();
  const ends = await endsOf(runOf(run), members.clusters, context);
  const lost = members.clusters.filter((cluster) => !ends.has(cluster));
  if (lost.length === 0) return sumUp(run, ends, context);
  if (left.length === 0 && (await waitsFor(lost))) return later();
  const { again, after = again === undefined ? "" : undefined } = job;
  const once = after === undefined ? [] : lost.filter((cluster) => cluster > after);
  if (once.length > 0) {
    log("warning", "nothing is heard of clusters: they are handed over again", { clusters: once.length });
    const parts = inOneAnswer(once.map((cluster) => partOf(run, cluster)));
    const change = {
      again: new Date(now).toISOString(),
      after: parts.length < once.length ? once[parts.length - 1] : undefined,
    };
    return { duplicate: false, parts, next: restOf(run, change, loops ? 0 : looks) };
  }
  if (await waitsForTurn(lost)) return later();
  const how = (cluster: string) => ({ message: noted.ended.has(cluster) ? NOT_THERE : NOT_A_WORD });
  return sumUp(run, withFailed(ends, lost, how), context);
}

const NOT_THERE = "its backup is noted as made, and is not in its location";
const NOT_A_WORD = "its run has ended without a word: it was killed, or could not be begun";

function runOf({ name, schedule }: Asked): { run: string; schedule: string } {
  return { run: name, schedule: schedule.name };
}

type Ends = ReadonlyMap<string, MemberEnd>;

/** What is known, and how those have failed of which nothing is. */
function withFailed(
  ends: Ends,
  clusters: string[],
  how: (cluster: string) => Pick<MemberEnd, "message" | "reason">,
): Ends {
  const failed = clusters.filter((cluster) => !ends.has(cluster));
  const endOf = (cluster: string): MemberEnd => ({ phase: "Failed", ...how(cluster) });
  return new Map([...ends, ...failed.map((cluster) => [cluster, endOf(cluster)] as const)]);
}

/** How all end when the time is over, of which so many were `given`. */
function withLate(ends: Ends, { clusters, given, limit }: { clusters: string[]; given: number; limit: string }): Ends {
  const begun = new Set(clusters.slice(0, given));
  return withFailed(ends, clusters, (cluster) => ({
    message: begun.has(cluster) ? `it has not ended within ${limit}` : `not begun before ${limit} was over`,
    reason: "timeout",
  }));
}

/** The backup of one cluster; `at`: not before, in milliseconds, where that is not at once. */
function partOf({ job, name, slot, schedule, until }: Run, cluster: string, at = 0): LockedJob {
  const notBefore = Math.min(at, until?.getTime() ?? at);
  return {
    ...{ kind: "backup", schedule: schedule.name, cluster, fleet: name, caller: job.caller },
    ...(slot === undefined ? { name } : { slot }),
    ...(until && { until: until.toISOString() }),
    ...(notBefore > 0 && { notBefore: new Date(notBefore).toISOString() }),
  };
}

/** The fleet's job, once more; `at` as of a part. */
function restOf({ job, name, slot }: Asked, change: Partial<FleetJob>, at: number): LockedJob {
  const { kind, schedule, caller, members, given, again, after } = job;
  return {
    ...{ kind, schedule, caller, members, given, again, after },
    ...(slot === undefined ? { name } : { slot }),
    ...change,
    ...(at > 0 && { notBefore: new Date(at).toISOString() }),
  };
}

/** So long after a run's time is over nobody is taken to sum it up any more, in milliseconds. */
const GRACE_MS = 60_000;

/**
 * What became of a run, or how far it is. One whose time is over, that nobody has summed up and nobody is at, has failed. Throws
 * `missing` where nothing is known of it.
 */
export async function readFleetRun(
  buckets: FleetBuckets,
  name: string,
  signal?: AbortSignal,
): Promise<FleetDocument | FleetRun> {
  checkName("backup", name);
  const { config, bucket } = buckets;
  const summary = await readSummary(bucket, name, signal);
  if (summary) return summary;
  const keys = fleetKeys(name);
  const about = { schemaVersion: 1, kind: "fleet", name, location: bucket.location } as const;
  const members = await newestMembers(bucket, name, signal);
  const begun = members ?? (await unlessMissing(readJson(bucket, keys.asked, askedSchema, signal)));
  if (!begun) throw new LifeboatError("missing", `there is no run "${name}" of the fleet in ${bucket.location}`);
  const { clusters = [], problems = [], warnings = [] } = members ?? {};
  const noted = await notedIn(bucket, name, signal);
  const limit = timeLimit(config.fleet.timeout, config.fleet.schedules[begun.schedule], begun.at);
  const over = begun.at.getTime() + limit.ms;
  const left = clusters.filter((cluster) => !noted.ended.has(cluster));
  const isOver = Date.now() > over + GRACE_MS;
  const isQuiet = Date.now() - noted.newest > FLEET_TIMING.quiet;
  if (isOver && isQuiet && !(await someAre("held", left, name, { ...buckets, signal }))) {
    const message = `${members ? "it has not ended" : "not begun"} within ${limit.text}, and nobody is at it any more`;
    const known = await endsOf({ run: name, schedule: begun.schedule }, clusters, { ...buckets, signal });
    const ends = withFailed(known, clusters, () => ({ message, reason: "timeout" }));
    const { location } = bucket;
    const run = { name, schedule: begun.schedule, location, began: begun.at, problems, warnings };
    const document = fleetDocument(run, ends, new Date(over));
    return members ? document : { ...document, errors: [{ message }] };
  }
  if (!members) return { ...about, schedule: begun.schedule, phase: "New" };
  const ended = noted.ended.size;
  return { ...about, schedule: begun.schedule, phase: "InProgress", clusters: clusters.length, ended };
}

/** Whether there is a summary of a run, be it one that can't be read. */
async function isSummedUp(bucket: Bucket, name: string, signal: AbortSignal): Promise<boolean> {
  return (await listFolder(bucket, fleetKeys(name).summary, signal)).size > 0;
}

function unlessCorrupt(error: unknown): undefined {
  if (!isLifeboatError(error, "corrupt")) throw error;
}

/** Whether the lock of a run stands so at one of these clusters. One whose location can't be read is not waited for. */
async function someAre(
  state: LockState["state"],
  clusters: string[],
  name: string,
  { config, openMember, signal, timing }: FleetBuckets & { signal?: AbortSignal; timing?: LockTiming },
): Promise<boolean> {
  const limit = pLimit(LOCKS_AT_ONCE);
  const isSo = async (cluster: string) => {
    const bucket = await openMember(memberLocation(config.location, cluster));
    return (await lockState({ bucket, kind: "backups", name }, { signal, timing })).state === state;
  };
  const found = await Promise.all(clusters.map((cluster) => limit(isSo, cluster).catch(() => false)));
  signal?.throwIfAborted();
  return found.includes(true);
}

async function sumUp(
  { name, schedule, members, log }: Pick<Run, "name" | "schedule" | "members" | "log">,
  ends: Ends,
  context: RunContext,
): Promise<FleetOutcome> {
  const { bucket, signal } = context;
  const { at: began, problems, warnings } = members;
  const run = { name, schedule: schedule.name, location: bucket.location, began, problems, warnings };
  const inOrder = new Map(members.clusters.map((cluster) => [cluster, ends.get(cluster)!]));
  const document = fleetDocument(run, inOrder, new Date());
  const { summary } = fleetKeys(name);
  if (!(await putJsonOnce(bucket, summary, document, signal))) {
    const there = await readSummary(bucket, name, signal).catch(unlessCorrupt);
    if (there?.phase === document.phase) return { document: there, duplicate: true };
    log("error", `${summary} was there before, and says something else`, { phase: there?.phase ?? "unreadable" });
  }
  for (const { message } of document.errors) log("error", message);
  for (const { message } of document.warnings) log("warning", message);
  const { clusters, good, failed } = document.counts;
  log(failed > 0 ? "error" : "info", "the fleet's run has ended", { phase: document.phase, clusters, good, failed });
  await tell(document, context);
  return { document, duplicate: false };
}
