import pLimit from "p-limit";
import { readBackup } from "../catalog.ts";
import type { FleetConfig } from "../config.ts";
import { readBackupDocument } from "../documents.ts";
import { mayPass, messageOf, unlessMissing } from "../errors.ts";
import { expectedKeys } from "../integrity/keys.ts";
import { distrustOf } from "../integrity/seal.ts";
import { fleetKeys } from "../layout.ts";
import { listObjects } from "../once.ts";
import type { Bucket } from "../ports.ts";
import { isPaused } from "../schedule/pause.ts";
import type { CachedSecrets } from "../secrets.ts";
import { newestState, READS_AT_ONCE, say } from "../state.ts";
import { type MemberEnd, memberEndSchema } from "./document.ts";
import { memberLocation } from "./narrowed.ts";

/** Where a fleet's backups lie: its own bucket, and that of a location below it. */
export interface FleetBuckets {
  config: FleetConfig;
  bucket: Bucket;
  /** Where the keys are by which backups are to be signed. */
  secrets: CachedSecrets;
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
 * How the backups of these clusters ended in a run of a schedule, as far as that is known. What is in the cluster's own location counts:
 * of a backup that isn't there no note says that it is, or needn't be. Who may write notes must not be able to do away with a backup.
 * Throws the signal's reason, and what the fleet's own bucket throws.
 */
export async function endsOf(
  { run, schedule }: { run: string; schedule: string },
  clusters: readonly string[],
  buckets: FleetBuckets & { signal?: AbortSignal },
): Promise<Map<string, MemberEnd>> {
  const { config, bucket, secrets, openMember, signal } = buckets;
  const limit = pLimit(READS_AT_ONCE);
  let expected: Promise<string[]> | undefined;
  const keys = () => {
    expected ??= expectedKeys(config.signing, secrets, signal);
    return expected;
  };
  const configured = config.fleet.schedules[schedule];
  const isLeftOut = async (cluster: string) =>
    configured !== undefined &&
    (await isPaused(await openMember(memberLocation(config.location, cluster)), configured, signal));
  const endOf = async (cluster: string): Promise<MemberEnd | undefined> => {
    let failure: unknown;
    const stored = await storedEnd(run, cluster, { ...buckets, keys }).catch((error: unknown) => {
      signal?.throwIfAborted();
      failure = error;
    });
    if (stored) return stored;
    const noted = await newestState(bucket, endFolder(run, cluster), memberEndSchema, signal);
    if (noted?.state?.phase === "Skipped" && (await isLeftOut(cluster))) return noted.state;
    if (noted?.state?.phase === "Failed") return noted.state;
    const tried = await newestState(bucket, triesFolder(run, cluster), memberEndSchema, signal);
    if (tried?.state?.phase === "Failed") return tried.state;
    if (noted && failure !== undefined && !mayPass(failure))
      return { phase: "Failed", message: `its backup can't be read: ${messageOf(failure)}` };
  };
  const ends = await Promise.all(
    clusters.map((cluster) => limit(async () => [cluster, await endOf(cluster)] as const)),
  );
  return new Map(ends.flatMap(([cluster, end]) => (end ? [[cluster, end]] : [])));
}

/** How a backup ended by its record; undefined where there is none. One that none of the `keys` has signed has failed. */
async function storedEnd(
  run: string,
  cluster: string,
  {
    config,
    keys,
    openMember,
    signal,
  }: Pick<FleetBuckets, "config" | "openMember"> & { keys: () => Promise<string[]>; signal?: AbortSignal },
): Promise<MemberEnd | undefined> {
  const unmarked = { pins: new Map(), verified: new Map() };
  const bucket = await openMember(memberLocation(config.location, cluster));
  const record = await unlessMissing(readBackup(bucket, run, signal));
  if (!record) return undefined;
  const distrust = distrustOf(record, await keys());
  if (distrust !== undefined) return { phase: "Failed", message: distrust };
  const document = await readBackupDocument(bucket, record, signal, unmarked);
  const { phase, name, items, bytes, durationMs, errors } = document;
  return { phase, name, items, bytes, durationMs, ...(errors[0] && { message: errors[0].message }) };
}
