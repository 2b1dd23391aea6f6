import pLimit from "p-limit";
import { z } from "zod";
import { rowProblem } from "../catalog.ts";
import type { Config, FleetConfig, FleetSchedule, Schedule } from "../config.ts";
import { dictionary } from "../configured.ts";
import { messageOf, unlessMissing } from "../errors.ts";
import { readTrustedKeys } from "../integrity/keys.ts";
import { FLEET } from "../layout.ts";
import type { Bucket, Platform } from "../ports.ts";
import { readClock } from "../schedule/cron.ts";
import { isPaused } from "../schedule/pause.ts";
import { readScheduledName } from "../schedule/slots.ts";
import { expectation, type ScheduleDocument, scheduleDocument, slotFolders } from "../schedule/standing.ts";
import { timestamp } from "../timestamp.ts";
import { fleetClusters, notFound } from "./discovery.ts";
import { type FleetDocument, type FleetRun, fleetDocumentSchema, readSummary } from "./document.ts";
import type { FleetBuckets } from "./ends.ts";
import { readFleetRun } from "./job.ts";
import { memberLocation, narrowed } from "./narrowed.ts";
import { fleetPauses, underFleet } from "./pause.ts";
import { choiceText } from "./settings.ts";
import { storedClusters } from "./stored.ts";

/** How one cluster of a fleet stands. */
export const clusterDocumentSchema = z.object({
  name: z.string(),
  location: z.string(),
  labels: z.record(z.string(), z.string()).optional(),
  schedules: z.array(z.string()),
  /** Its newest backup that is Completed, trusted and not known to be damaged. */
  lastGood: z.object({ name: z.string(), schedule: z.string(), startTimestamp: z.string().optional() }).optional(),
  ageSeconds: z.number().optional(),
  /** Of that backup. */
  items: z.number().optional(),
  bytes: z.number().optional(),
  /** The next slot of any of its schedules. */
  next: z.string().optional(),
  overdue: z.boolean(),
  /** Its backups lie there, but it is not of the fleet any more, or was not found as a cloud could not be asked. */
  gone: z.boolean().optional(),
  /** What somebody should see to. */
  problems: z.array(z.string()),
});
export type ClusterDocument = z.infer<typeof clusterDocumentSchema>;

const newestRunSchema = fleetDocumentSchema.pick({
  ...{ name: true, schedule: true, phase: true, startTimestamp: true, counts: true },
});

/** How the clusters of a fleet stand; `problems`: what kept others from being found, and which runs can't be read. */
export const clusterListSchema = z.object({
  schemaVersion: z.literal(1),
  kind: z.literal("clusterList"),
  location: z.string(),
  clusters: z.array(clusterDocumentSchema),
  /** Of each schedule the newest that has been summed up. */
  runs: z.array(newestRunSchema),
  /** Of so many the location can't be read. */
  unread: z.number(),
  problems: z.array(z.string()),
});
export type ClusterListDocument = z.infer<typeof clusterListSchema>;

const LOCATIONS_AT_ONCE = 32;
/** A location that doesn't answer for so long is told as one that can't be read. */
const PATIENCE_MS = 30_000;
/** So many of the newest runs are looked at for one that has been summed up, or for a good one. */
const MOST_RUNS = 50;

/** What reading a fleet takes. */
export interface FleetReading extends FleetBuckets {
  clouds: Platform["clusters"];
  signal: AbortSignal;
}

/**
 * How each cluster of the fleet stands, by what lies in its own location, read anew. One whose location can't be read is told as
 * that. Throws what the fleet's own bucket and `readTrustedKeys` throw.
 */
export async function fleetStanding(reading: FleetReading, now = new Date()): Promise<ClusterListDocument> {
  const { config, bucket, signal } = reading;
  const [{ members, problems }, newest, pauses] = await Promise.all([
    readMembers(reading, now),
    Promise.all(
      Object.keys(config.fleet.schedules).map((name) =>
        newestRun(bucket, { schedule: name, now, signal }, (run) => readFleetRun(reading, run, signal)),
      ),
    ),
    fleetPauses(config, bucket, signal),
  ]);
  const runs = newest.flatMap(({ run }) => run ?? []);
  const clusters = members.map(({ found, unread, ...about }): ClusterDocument => {
    if (unread !== undefined) return { ...about, overdue: false, problems: [`its location can't be read: ${unread}`] };
    if (about.gone) {
      const { lastGood, ageSeconds, items, bytes } = clusterStanding(found, now);
      return { ...about, lastGood, ageSeconds, items, bytes, overdue: false, problems: [] };
    }
    const schedules = found.map((schedule) => underFleet(schedule, pauses));
    return { ...about, ...clusterStanding(schedules, now), problems: problemsOf(about.name, schedules, runs) };
  });
  return {
    ...{ schemaVersion: 1, kind: "clusterList", location: bucket.location },
    clusters,
    runs: runs.map((run) => newestRunSchema.parse(run)),
    unread: members.filter(({ unread }) => unread !== undefined).length,
    problems: [...problems, ...newest.flatMap(({ problems }) => problems)],
  };
}

/** How the schedules of one cluster stand by what lies in its own location, or why that can't be read. */
interface Member extends Pick<ClusterDocument, "name" | "location" | "labels" | "schedules" | "gone"> {
  found: ScheduleDocument[];
  unread?: string;
}

/** Reads the location of each cluster. One that can't be read is told as that. */
async function readMembers(
  { config, bucket, clouds, secrets, openMember, signal }: FleetReading,
  now: Date,
): Promise<{ members: Member[]; problems: string[] }> {
  const [found, trustedKeys] = await Promise.all([
    fleetClusters(config, clouds, signal),
    readTrustedKeys(secrets, config.signing.publicKeys, signal),
  ]);
  const { clusters } = found;
  const stored = await storedClusters(bucket, clusters, signal);
  const limit = pLimit(LOCATIONS_AT_ONCE);
  const read = async (name: string): Promise<Member> => {
    const cluster = clusters.get(name);
    const own = cluster ? narrowed(config, name, cluster) : withEverySchedule(config, name);
    const { labels } = cluster ?? {};
    const standing = cluster ? { schedules: Object.keys(own.schedules) } : { schedules: [], gone: true };
    const about = { name, location: own.location, ...(labels && { labels }), ...standing };
    const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
    try {
      const bucket = await openMember(own.location);
      return {
        ...about,
        location: bucket.location,
        found: await schedulesOf(own, bucket, now, { trustedKeys, signal: patience }),
      };
    } catch (error) {
      signal.throwIfAborted();
      const unread = patience.aborted ? `it does not answer for ${PATIENCE_MS / 1000} s` : messageOf(error);
      return { ...about, found: [], unread };
    }
  };
  const members = await Promise.all([...clusters.keys(), ...stored].sort().map((name) => limit(read, name)));
  const unfound = Object.values(config.fleet.schedules).flatMap((schedule) => notFound(schedule, found));
  return { members, problems: [...found.problems, ...unfound] };
}

/** Of a cluster whose folder alone is known: as if all schedules chose it. */
function withEverySchedule({ fleet, ...config }: FleetConfig, name: string): Config {
  const schedules = Object.values(fleet.schedules).map(
    ({ clusters: _, ...schedule }) => [schedule.name, { ...schedule, cluster: name }] as const,
  );
  return { ...config, location: memberLocation(config.location, name), schedules: dictionary(schedules) };
}

function schedulesOf(
  { schedules }: Config,
  bucket: Bucket,
  now: Date,
  trust: { trustedKeys: string[]; signal: AbortSignal },
): Promise<ScheduleDocument[]> {
  return Promise.all(Object.values(schedules).map((schedule) => scheduleDocument(bucket, schedule, now, trust)));
}

function clusterStanding(
  schedules: ScheduleDocument[],
  now: Date,
): Omit<ClusterDocument, "name" | "location" | "schedules" | "problems"> {
  const good = schedules.flatMap(({ name: schedule, lastGood }) => (lastGood ? [{ schedule, ...lastGood }] : []));
  const startOf = ({ startTimestamp = "" }: (typeof good)[number]) => Date.parse(startTimestamp) || 0;
  const newest = good.sort((a, b) => startOf(a) - startOf(b)).at(-1);
  const next = schedules.flatMap(({ next }) => next ?? []).sort()[0];
  const { name = "", schedule = "", startTimestamp, items, bytes } = newest ?? {};
  return {
    ...(newest && { lastGood: { name, schedule, startTimestamp }, items, bytes }),
    ...(startTimestamp && { ageSeconds: Math.round((now.getTime() - Date.parse(startTimestamp)) / 1000) }),
    ...(next && { next }),
    overdue: schedules.some(({ overdue }) => overdue),
  };
}

/** In words: of each schedule what failed last, what is damaged or late; and what the fleet's newest run knows of it alone. */
function problemsOf(cluster: string, schedules: ScheduleDocument[], runs: FleetDocument[]): string[] {
  if (schedules.length === 0) return ["no schedule chooses it"];
  return schedules.flatMap(
    ({ name, lastBackup, lastGood, lastFailure, lastVerified, overdue, paused, fleetPaused }) => {
      const run = runs.find((run) => run.schedule === name);
      const end = run?.clusters.find((end) => end.cluster === cluster);
      const isNews =
        end?.message !== undefined && run!.name > (lastBackup?.name ?? "") && lastFailure?.name !== run!.name;
      return [
        ...(lastFailure ? [`${lastFailure.name}: ${lastFailure.message}`] : []),
        ...(isNews ? [`${run!.name}: ${end.message}`] : []),
        ...(lastBackup && lastBackup.phase !== "Completed" ? [`${lastBackup.name} is ${lastBackup.phase}`] : []),
        ...(lastBackup?.distrust ? [lastBackup.distrust] : []),
        ...(lastVerified?.ok === false ? [`${lastVerified.name} is damaged`] : []),
        ...(overdue ? [`${name}: its last good backup is too old`] : []),
        ...(lastGood || lastFailure || isNews ? [] : [`${name}: it has no good backup`]),
        ...(paused ? [`${name} is paused${fleetPaused ? " (whole fleet)" : ""}`] : []),
      ];
    },
  );
}

/** The newest run of a schedule that has ended, as `read` tells of one by its name; `problems`: which newer ones can't be read. */
async function newestRun(
  bucket: Bucket,
  range: Parameters<typeof slotFolders>[2],
  read: (name: string) => Promise<FleetDocument | FleetRun | undefined>,
): Promise<{ run?: FleetDocument; slot?: Date; problems: string[] }> {
  const runs = await slotFolders(bucket, FLEET, range);
  const problems: string[] = [];
  for (const { name, slot } of runs.reverse().slice(0, MOST_RUNS)) {
    try {
      const run = await unlessMissing(read(name));
      if (run && "counts" in run) return { run, slot, problems };
    } catch (error) {
      problems.push(`run ${name}: ${rowProblem(error)}`);
    }
  }
  return { problems };
}

/** The slot of a schedule's newest backup, be it of one cluster or of a fleet; undefined where there is none. */
export async function lastSlot(
  bucket: Bucket,
  schedule: Schedule | FleetSchedule,
  now: Date,
  signal?: AbortSignal,
): Promise<Date | undefined> {
  if ("clusters" in schedule) {
    const range = { schedule: schedule.name, now, signal };
    return (await newestRun(bucket, range, (run) => readSummary(bucket, run, signal))).slot;
  }
  const { lastBackup } = await scheduleDocument(bucket, schedule, now, { signal });
  return readScheduledName(lastBackup?.name ?? "")?.slot;
}

/**
 * How these schedules of a fleet stand, by the summaries of their runs and by what lies in each cluster's own location. Throws
 * what the fleet's own bucket, `readPause` and `readTrustedKeys` throw.
 */
export async function fleetScheduleDocuments(
  reading: FleetReading,
  schedules: FleetSchedule[],
  now: Date,
): Promise<ScheduleDocument[]> {
  const { bucket, signal } = reading;
  const { members, problems: unfound } = await readMembers(reading, now);
  return Promise.all(
    schedules.map(async (schedule): Promise<ScheduleDocument> => {
      const { name } = schedule;
      const clock = readClock(schedule);
      const [paused, { run: last, problems: unread }] = await Promise.all([
        isPaused(bucket, schedule, signal),
        newestRun(bucket, { schedule: name, now, signal }, (run) => readFleetRun(reading, run, signal)),
      ]);
      const problems = [...unfound, ...unread];
      const chosen = members
        .filter(({ schedules }) => schedules.includes(name))
        .map((member) => ({ cluster: member.name, own: member.found.find((found) => found.name === name) }));
      const goods = chosen.flatMap(({ own }) => own?.lastGood ?? []);
      const good = goods.sort((a, b) => (a.startTimestamp ?? "").localeCompare(b.startTimestamp ?? ""))[0];
      const lastBackup = last && {
        ...{ name: last.name, phase: last.phase, startTimestamp: last.startTimestamp },
        ...{ items: last.items, bytes: last.bytes },
      };
      const next = paused ? undefined : clock.next(now);
      return {
        ...{ schemaVersion: 1, kind: "schedule", name, schedule: schedule.schedule, timeZone: clock.timeZone },
        ...{ cluster: choiceText(schedule.clusters), location: bucket.location, paused, missed: [] },
        pausedClusters: chosen.flatMap(({ cluster, own }) => (own?.paused ? [cluster] : [])),
        ...{ lastBackup, lastGood: good },
        withoutGood: chosen.flatMap(({ cluster, own }) => (own?.lastGood ? [] : [cluster])),
        ...expectation(clock, now, paused, good && readScheduledName(good.name)?.slot),
        next: next && timestamp(next),
        ...(problems.length > 0 && { problems }),
      };
    }),
  );
}
