import pLimit from "p-limit";
import { z } from "zod";
import { FIRST_LOOK_MS, untilNextLook } from "../comeback.ts";
import type { FleetConfig, FleetSchedule } from "../config.ts";
import { LifeboatError } from "../errors.ts";
import type { FleetJob, LockedJob } from "../job.ts";
import { untilDue } from "../jobs/deadline.ts";
import { fleetKeys } from "../layout.ts";
import { lockState } from "../lock.ts";
import { type Log, startRunLog } from "../log.ts";
import { checkName, checkNewName } from "../names.ts";
import { listObjects, putJsonOnce } from "../once.ts";
import type { Bucket } from "../ports.ts";
import { slotOf } from "../schedule/due.ts";
import { isPaused } from "../schedule/pause.ts";
import { scheduledName } from "../schedule/slots.ts";
import { newestState, newestStates } from "../state.ts";
import { tell } from "../tell.ts";
import { ASK_AGAIN_MS, asksAgain, fleetClusters } from "./discovery.ts";
import {
  type FleetDocument,
  type FleetRun,
  fleetDocument,
  type MemberEnd,
  memberEndSchema,
  readJson,
  readSummary,
} from "./document.ts";
import { type FleetContext, TRIES, triesFolder } from "./member.ts";
import { memberLocation, narrowed } from "./narrow.ts";
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
/** More jobs are not handed over at once: answers of functions, and what engines keep of them, are limited (some 256 KiB). */
export const MOST_PARTS = 500;
const LOCKS_AT_ONCE = 16;

/** What is noted of a run that is handed over. */
const askedSchema = z.object({
  schedule: z.string(),
  at: z.iso.datetime().transform((text) => new Date(text)),
});
const membersSchema = askedSchema.extend({ clusters: z.array(z.string()), problems: z.array(z.string()) });
type Members = z.infer<typeof membersSchema>;

/**
 * A fleet's schedule. The first time it chooses the clusters, once for all deliveries, and hands over a backup of each; then, as
 * `next`, it comes back until all have ended, hands over once more those that got lost, and in the end leaves the summary: one,
 * whoever comes. Who leaves it tells all that want to know.
 *
 * `loops`: somebody runs the parts and waits for them, else that is up to the jobs themselves.
 */
export async function runFleetJob(job: FleetJob, context: RunContext): Promise<FleetOutcome> {
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
  const before = await readSummary(bucket, name, signal);
  if (before) return { document: before, duplicate: true };
  if (slot !== undefined && job.given === undefined && (await isPaused(bucket, schedule, signal)))
    return { duplicate: false, skipped: `schedule "${schedule.name}" is paused` };

  const { log } = startRunLog({ fleet: name }, listen);
  const asked: Asked = { job, name, slot, schedule, log };
  const members = await membersOf(asked, context);
  if (!members) return askAgain(asked, context);
  const ended = await endedIn(bucket, name, signal);
  const left = members.clusters.filter((cluster) => !ended.clusters.has(cluster));
  const { timeout } = config.fleet;
  const limit = timeLimit(timeout, schedule, members.at);
  const over = members.at.getTime() + limit.ms;
  const until = timeout === undefined ? undefined : new Date(over);
  const run = { ...asked, members, ended, left, until };
  if (left.length === 0) return sumUp(run, [], context);
  const given = job.given ?? 0;
  const { loops = false, fleetTiming = FLEET_TIMING } = context;
  if (Date.now() > over + (loops ? 0 : fleetTiming.poll)) return sumUp(run, lateIn(run, limit.text), context);
  return given < members.clusters.length ? handOver(run, given, context) : comeBack(run, context);
}

/** A run of a fleet's schedule. */
interface Asked {
  job: FleetJob;
  name: string;
  slot?: string;
  schedule: FleetSchedule;
  log: Log;
}

/** The same as a job finds it; `left`: the clusters that have not ended for good. */
interface Run extends Asked {
  members: Members;
  ended: Ended;
  left: string[];
  /** When it is over, where the configuration says so: what runs then is cut off. */
  until?: Date;
}

type RunContext = FleetContext & { loops?: boolean; fleetTiming?: FleetTiming };

/** A cloud could not be asked: the job comes back, since whom it chooses now is chosen for the whole run. */
function askAgain(asked: Asked, { fleetTiming }: RunContext): FleetOutcome {
  const tried = (asked.job.tried ?? 0) + 1;
  const at = Date.now() + (fleetTiming?.poll ?? ASK_AGAIN_MS);
  return { duplicate: false, parts: [], next: restOf(asked, { tried }, at) };
}

/** Hands over the next clusters: as many as may be begun now, or, where somebody drives them, all with their times. */
function handOver(
  run: Run,
  given: number,
  { config, loops = false, fleetTiming = FLEET_TIMING }: RunContext,
): FleetOutcome {
  const { members, ended, log } = run;
  const now = Date.now();
  const { perMinute } = config.fleet;
  const most = loops ? MOST_PARTS : Math.min(perMinute ?? MOST_PARTS, MOST_PARTS);
  const upTo = Math.min(members.clusters.length, given + most);
  const parts = members.clusters.slice(given, upTo).flatMap((cluster, at) => {
    const minute = perMinute === undefined ? 0 : Math.floor(at / perMinute);
    return ended.clusters.has(cluster) ? [] : [partOf(run, cluster, minute && now + minute * MINUTE_MS)];
  });
  log("info", "clusters are backed up", { clusters: parts.length, of: members.clusters.length });
  const wait = upTo === members.clusters.length ? fleetTiming.poll : MINUTE_MS;
  return { duplicate: false, parts, next: restOf(run, { given: upTo }, loops ? 0 : now + wait) };
}

/** All have been handed over: waits for those that are left, hands over once more what is lost, and in the end goes without them. */
async function comeBack(run: Run, context: RunContext): Promise<FleetOutcome> {
  const { job, name, members, ended, left, log } = run;
  const { loops = false, fleetTiming = FLEET_TIMING } = context;
  const now = Date.now();
  const looks = now + untilNextLook(members.at.getTime(), now, fleetTiming.poll);
  const heard = Math.max(Date.parse(job.again ?? members.at.toISOString()), ended.newest);
  const mayBeLost = loops || now - heard > fleetTiming.quiet;
  if (!mayBeLost || (await someAreHeld(left, name, context)))
    return { duplicate: false, parts: [], next: restOf(run, {}, looks) };
  const lost = left.filter((cluster) => !ended.tried.has(cluster));
  if (lost.length === 0) return sumUp(run, [], context);
  if (job.again !== undefined) {
    const message = "its run has ended without a word: it was killed, or could not be begun";
    const without = lost.map((cluster): Lost => [cluster, { phase: "Failed", message }]);
    return sumUp(run, without, context);
  }
  log("warning", "nothing is heard of clusters: they are handed over again", { clusters: lost.length });
  const parts = lost.map((cluster) => partOf(run, cluster));
  const again = new Date(now).toISOString();
  return { duplicate: false, parts, next: restOf(run, { again }, loops ? 0 : looks) };
}

type Lost = [cluster: string, end: MemberEnd];

/** How those end that have not when the time is over. */
function lateIn({ job, members, left }: Run, limit: string): Lost[] {
  const begun = new Set(members.clusters.slice(0, job.given ?? 0));
  return left.map((cluster) => {
    const message = begun.has(cluster) ? `it has not ended within ${limit}` : `not begun before ${limit} was over`;
    return [cluster, { phase: "Failed", message, reason: "timeout" }];
  });
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
  const { kind, schedule, caller, given, again } = job;
  return {
    ...{ kind, schedule, caller, given, again },
    ...(slot === undefined ? { name } : { slot }),
    ...change,
    ...(at > 0 && { notBefore: new Date(at).toISOString() }),
  };
}

/** So long after a run's time is over nobody is taken to sum it up any more, in milliseconds. */
const GRACE_MS = 60_000;

/**
 * What became of a run, or how far it is. One whose time is over and that nobody has summed up has failed. Throws `missing` where
 * nothing is known of it.
 */
export async function readFleetRun(
  { fleet }: Pick<FleetConfig, "fleet">,
  bucket: Bucket,
  name: string,
  signal?: AbortSignal,
): Promise<FleetDocument | FleetRun> {
  checkName("backup", name);
  const summary = await readSummary(bucket, name, signal);
  if (summary) return summary;
  const keys = fleetKeys(name);
  const about = { schemaVersion: 1, kind: "fleet", name, location: bucket.location } as const;
  const members = await readJson(bucket, keys.members, membersSchema, signal);
  const asked = members ? undefined : await readJson(bucket, keys.asked, askedSchema, signal);
  const begun = members ?? asked;
  if (begun) {
    const limit = timeLimit(fleet.timeout, fleet.schedules[begun.schedule], begun.at);
    const over = begun.at.getTime() + limit.ms;
    if (Date.now() > over + GRACE_MS) {
      const message = `${members ? "it has not ended" : "not begun"} within ${limit.text}, and nobody is at it any more`;
      const end: MemberEnd = { phase: "Failed", message, reason: "timeout" };
      const lost = new Map(members?.clusters.map((cluster) => [cluster, end]));
      const run = { clusters: [], problems: [], ...begun };
      const { tried } = await endedIn(bucket, name, signal);
      const document = await documentOf(bucket, { name, run, tried, at: new Date(over) }, lost, signal);
      return members ? document : { ...document, errors: [{ message }] };
    }
  }
  if (asked) return { ...about, schedule: asked.schedule, phase: "New" };
  if (!members) throw new LifeboatError("missing", `there is no run "${name}" of the fleet in ${bucket.location}`);
  const { clusters } = await endedIn(bucket, name, signal);
  const ended = clusters.size;
  return { ...about, schedule: members.schedule, phase: "InProgress", clusters: members.clusters.length, ended };
}

/**
 * The clusters of a run: those that its schedule chooses when they are first asked for. Undefined where a cloud should be asked
 * again before. Throws what the bucket throws.
 */
async function membersOf({ job, name, schedule, log }: Asked, context: FleetContext): Promise<Members | undefined> {
  const { config, bucket, clusters: clouds, signal } = context;
  const key = fleetKeys(name).members;
  const known = await readJson(bucket, key, membersSchema, signal);
  if (known) return known;
  const found = await fleetClusters(config, clouds, signal);
  const { clusters, problems } = found;
  if (asksAgain(found, job.tried ?? 0)) {
    for (const problem of problems) log("warning", problem);
    return undefined;
  }
  const chosen = [...clusters].filter(([name, cluster]) =>
    Object.hasOwn(narrowed(config, name, cluster).schedules, schedule.name),
  );
  const at = new Date();
  const members = { schedule: schedule.name, clusters: chosen.map(([name]) => name), problems };
  const content = { schemaVersion: 1, at: at.toISOString(), ...members };
  if (await putJsonOnce(bucket, key, content, signal)) return { at, ...members };
  return (await readJson(bucket, key, membersSchema, signal)) ?? { at, ...members };
}

/**
 * The clusters whose backup has ended for good; those of which a run has failed that may be tried again; and when anything was
 * last heard.
 */
interface Ended {
  clusters: Set<string>;
  tried: Set<string>;
  newest: number;
}

async function endedIn(bucket: Bucket, run: string, signal?: AbortSignal): Promise<Ended> {
  const { ends } = fleetKeys(run);
  const ended: Ended = { clusters: new Set(), tried: new Set(), newest: 0 };
  for await (const { key, modified } of listObjects(bucket, ends, signal)) {
    const [cluster = "", file = ""] = key.slice(ends.length).split("/");
    (file === TRIES ? ended.tried : ended.clusters).add(cluster);
    ended.newest = Math.max(ended.newest, modified.getTime());
  }
  return ended;
}

/** Whether a run is at one of these clusters. One whose location can't be read is not waited for. */
async function someAreHeld(clusters: string[], name: string, { config, openMember, signal, timing }: FleetContext) {
  const limit = pLimit(LOCKS_AT_ONCE);
  const isHeld = async (cluster: string) => {
    const bucket = await openMember(memberLocation(config.location, cluster));
    return (await lockState({ bucket, kind: "backups", name }, { signal, timing })).state === "held";
  };
  const held = await Promise.all(clusters.map((cluster) => limit(isHeld, cluster).catch(() => false)));
  signal.throwIfAborted();
  return held.includes(true);
}

/** A run as it has ended at a time, in which nothing more is heard of the clusters that are `lost`. */
async function documentOf(
  bucket: Bucket,
  { name, run, tried, at }: { name: string; run: Members; tried: Set<string>; at: Date },
  lost: ReadonlyMap<string, MemberEnd>,
  signal?: AbortSignal,
): Promise<FleetDocument> {
  const states = await newestStates(bucket, fleetKeys(name).ends, memberEndSchema, signal);
  const limit = pLimit(LOCKS_AT_ONCE);
  const addTry = async (cluster: string) => {
    const state = await newestState(bucket, triesFolder(name, cluster), memberEndSchema, signal);
    if (state) states.set(cluster, state);
  };
  await Promise.all([...tried].filter((one) => !states.has(one)).map((one) => limit(addTry, one)));
  const unread: MemberEnd = { phase: "Failed", message: "how it ended can't be read" };
  const ends = new Map(
    run.clusters.map((cluster) => [cluster, states.get(cluster)?.state ?? lost.get(cluster) ?? unread]),
  );
  const { schedule, problems } = run;
  return fleetDocument({ name, schedule, location: bucket.location, began: run.at, problems }, ends, at);
}

async function sumUp(
  { name, schedule, members, ended, log }: Run,
  lost: Lost[],
  context: RunContext,
): Promise<FleetOutcome> {
  const { bucket, signal } = context;
  const run = { ...members, schedule: schedule.name };
  const document = await documentOf(bucket, { name, run, tried: ended.tried, at: new Date() }, new Map(lost), signal);
  if (!(await putJsonOnce(bucket, fleetKeys(name).summary, document, signal)))
    return { document: (await readSummary(bucket, name, signal)) ?? document, duplicate: true };
  for (const { message } of document.errors) log("error", message);
  for (const { message } of document.warnings) log("warning", message);
  const { clusters, good, failed } = document.counts;
  log(failed > 0 ? "error" : "info", "the fleet's run has ended", { phase: document.phase, clusters, good, failed });
  await tell(document, context);
  return { document, duplicate: false };
}
