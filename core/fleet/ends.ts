import pLimit from "p-limit";
import { readBackup } from "../catalog.ts";
import type { FleetConfig } from "../config.ts";
import { readBackupDocument } from "../documents.ts";
import { isLifeboatError, messageOf } from "../errors.ts";
import { fleetKeys } from "../layout.ts";
import { listObjects } from "../once.ts";
import type { Bucket } from "../ports.ts";
import { newestState, READS_AT_ONCE, say } from "../state.ts";
import { type MemberEnd, memberEndSchema } from "./document.ts";
import { memberLocation } from "./narrowed.ts";

/** Where a fleet's backups lie: its own bucket, and that of a location below it. */
export interface FleetBuckets {
  config: FleetConfig;
  bucket: Bucket;
  openMember: (location: string) => Promise<Bucket>;
}

/** As long as it may take to note how a run ended whose time is up. */
const NOTE_MS = 10_000;

/** In the row of how a cluster's backup ended (`fleetKeys`.ends): a row of failures after which it may be tried again. */
const TRIES = "tries";

const endFolder = (run: string, cluster: string) => `${fleetKeys(run).ends}${cluster}/`;
const triesFolder = (run: string, cluster: string) => `${endFolder(run, cluster)}${TRIES}/`;

/** Notes how the backup of a cluster ended, unless that is known: a job that is delivered again ends as the first time. */
export async function noteEnd(bucket: Bucket, run: string, cluster: string, end: MemberEnd): Promise<void> {
  const isKnown = (known: MemberEnd | undefined) => known?.phase === end.phase && known.message === end.message;
  await say(
    bucket,
    endFolder(run, cluster),
    memberEndSchema,
    (placed) => (isKnown(placed?.state) ? undefined : end),
    AbortSignal.timeout(NOTE_MS),
  );
}

/** Notes a failure that is not the end: the platform may try again. Each is noted, as what was last heard. */
export async function noteTry(bucket: Bucket, run: string, cluster: string, end: MemberEnd): Promise<void> {
  await say(bucket, triesFolder(run, cluster), memberEndSchema, () => end, AbortSignal.timeout(NOTE_MS));
}

/** Of which clusters it is noted that their backup has ended, or that a run failed; and when anything was last heard. */
export interface Noted {
  ended: Set<string>;
  tried: Set<string>;
  /** Milliseconds since the epoch, by the bucket's clock; 0 where nothing was. */
  newest: number;
}

export async function notedIn(bucket: Bucket, run: string, signal?: AbortSignal): Promise<Noted> {
  const { ends } = fleetKeys(run);
  const noted: Noted = { ended: new Set(), tried: new Set(), newest: 0 };
  for await (const { key, modified } of listObjects(bucket, ends, signal)) {
    const [cluster = "", file = ""] = key.slice(ends.length).split("/");
    (file === TRIES ? noted.tried : noted.ended).add(cluster);
    noted.newest = Math.max(noted.newest, modified.getTime());
  }
  return noted;
}

/**
 * How the backups of these clusters ended in a run, as far as that is known. What is in the cluster's own location counts, and of
 * a backup that isn't there no note says otherwise: who may write notes must not be able to do away with a backup. Throws the
 * signal's reason, and what the fleet's own bucket throws.
 */
export async function endsOf(
  run: string,
  clusters: readonly string[],
  buckets: FleetBuckets & { signal?: AbortSignal },
): Promise<Map<string, MemberEnd>> {
  const { bucket, signal } = buckets;
  return eachEnd(clusters, async (cluster) => {
    const stored = await storedEnd(run, cluster, buckets);
    if (stored && !("unread" in stored)) return stored;
    const noted =
      (await newestState(bucket, endFolder(run, cluster), memberEndSchema, signal)) ??
      (await newestState(bucket, triesFolder(run, cluster), memberEndSchema, signal));
    const end = noted && (noted.state ?? { phase: "Failed", message: "how it ended can't be read" });
    if (end?.phase === "Failed" || end?.phase === "Skipped") return end;
    return end && stored && { phase: "Failed", message: `its backup can't be read: ${stored.unread}` };
  });
}

/** Those of the clusters in whose location the backup of a run surely isn't. Throws the signal's reason. */
export async function withoutBackup(
  run: string,
  clusters: readonly string[],
  buckets: FleetBuckets & { signal?: AbortSignal },
): Promise<string[]> {
  const stored = await eachEnd(clusters, (cluster) => storedEnd(run, cluster, buckets));
  return clusters.filter((cluster) => !stored.has(cluster));
}

async function eachEnd<End>(
  clusters: readonly string[],
  endOf: (cluster: string) => Promise<End | undefined>,
): Promise<Map<string, End>> {
  const limit = pLimit(READS_AT_ONCE);
  const ends = await Promise.all(
    clusters.map((cluster) => limit(async () => [cluster, await endOf(cluster)] as const)),
  );
  return new Map(ends.flatMap(([cluster, end]) => (end === undefined ? [] : [[cluster, end]])));
}

/** How a backup ended by its record; undefined where there is none, or why that can't be read. */
async function storedEnd(
  run: string,
  cluster: string,
  { config, openMember, signal }: Pick<FleetBuckets, "config" | "openMember"> & { signal?: AbortSignal },
): Promise<MemberEnd | { unread: string } | undefined> {
  const unmarked = { pins: new Map(), verified: new Map() };
  try {
    const bucket = await openMember(memberLocation(config.location, cluster));
    const document = await readBackupDocument(bucket, await readBackup(bucket, run, signal), signal, unmarked);
    const { phase, name, items, bytes, durationMs, errors } = document;
    return { phase, name, items, bytes, durationMs, ...(errors[0] && { message: errors[0].message }) };
  } catch (error) {
    signal?.throwIfAborted();
    return isLifeboatError(error, "missing") ? undefined : { unread: messageOf(error) };
  }
}
