import { basename } from "node:path/posix";
import type { Backup } from "../catalog.ts";
import { listFolder } from "../contents.ts";
import { ENCRYPTED, type EncryptingBucket, encrypting } from "../encryption/buckets.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { sealRecord } from "../integrity/seal.ts";
import type { Kube } from "../kube/client.ts";
import { backupKeys, pieceFolder, recordIn } from "../layout.ts";
import type { RunLog } from "../log.ts";
import { checkNewName } from "../names.ts";
import type { Bucket, Signer } from "../ports.ts";
import { leavingLog } from "../runs.ts";
import { removeSlices, type Slice } from "../slices.ts";
import { traced } from "../telemetry.ts";
import { checkMoving, type VolumeMeans } from "../volumes/means.ts";
import { adoptArchive, leftoverHint } from "./adopt.ts";
import { captureCluster, surveyCluster } from "./capture.ts";
import type { BackupProgress } from "./collect.ts";
import { encryptionOf } from "./encryption.ts";
import { holding, retentionOf } from "./hold.ts";
import type { Picked } from "./participants.ts";
import { type Archived, type ArchiveOutcome, backupRecord, secretFiles } from "./record.ts";
import { releaseCopies } from "./release.ts";
import type { BackupSpec } from "./scope.ts";
import { gatherShards } from "./shards.ts";
import { writeSideFiles } from "./sidefiles.ts";
import { type BackupMore, continueSlices, readSlices } from "./slices.ts";

/** One run of a backup. */
export interface BackupRun {
  kube: Kube;
  bucket: Bucket;
  name: string;
  spec: BackupSpec;
  /** Only these objects: the spec then only says in the record what they are of. */
  only?: Picked;
  /** Of the Velero Backup, beside those that every one has. */
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  /** For the record: the cluster's name in the configuration, where it has one, and who asked, where somebody did. */
  cluster?: string;
  caller?: string;
  /** Public keys of age: all of the backup is encrypted to them, or, where its spec says so, its Secrets. */
  recipients?: string[];
  /** By what volumes' data can be copied, beside the cluster itself. */
  volumes?: VolumeMeans;
  /** Gives what signs the record, where it is to be signed; asked before anything is written. */
  signer?: () => Promise<Signer>;
  log: RunLog;
  /** Takes the lock of the name, where that isn't held already: once the cluster has answered, before anything is written. */
  lock?: () => Promise<void>;
  progress?: (progress: BackupProgress) => void;
  /** Hears what somebody who waits should know, as the log does: what copies of volumes wait for, what is taken back. */
  say?: (line: string) => void;
  signal: AbortSignal;
}

/** A run that reads a shard: without a spec it is of the one that the backup was begun with. */
export type ShardRun = Omit<BackupRun, "spec"> & Partial<Pick<BackupRun, "spec">>;

/** What a run committed: the record, and what the archive says of itself. */
export interface BackupResult {
  record: Backup;
  outcome: ArchiveOutcome;
  /** Whether the archive was written by an earlier, interrupted run. */
  adopted: boolean;
}

/**
 * Makes one backup: the archive and its index first, then the side files, then, as the commit, `velero-backup.json`.
 * Every object is created once and none is overwritten. An archive that an interrupted run left under the same name
 * is adopted instead of made again, unless the record is to be signed: then only one that signed states of slices give again.
 *
 * Throws `conflict` where a backup of that name exists, or an archive that may not be adopted, `invalid` for contradictory filters and for a spec that can't be carried out with these means, and whatever stopped the
 * run; then nothing is listed, and once the cluster had answered, the run's log lies where `readLog` finds it.
 * Problems with single resources do not throw: they are in the outcome, and the phase is PartiallyFailed.
 */
export async function backup(run: BackupRun): Promise<BackupResult> {
  return (await makeBackup(run)) as BackupResult;
}

/**
 * As `backup`, but for as long as its slice lasts: where there is more to do then, the next call for the same backup goes on. The
 * backup is the same as one that isn't cut, but in where its segments end. One with hooks, or that is encrypted, isn't cut. With
 * `shards` it is read in at most so many, where that can be: the first call then ends at once, and `backupShard` is to be called
 * for each, at the same time, until it is read.
 */
export function backupSlice(run: BackupRun, slice: Slice, shards?: number): Promise<BackupResult | BackupMore> {
  return makeBackup(run, slice, shards);
}

async function makeBackup(run: BackupRun, slice?: Slice, shards?: number): Promise<BackupResult | BackupMore> {
  const { bucket, name, signal } = run;
  checkNewName("backup", name);
  checkMoving(run.spec, run.volumes?.files);
  const keys = backupKeys(name);
  const present = await listFolder(bucket, keys.folder, signal);
  if (recordIn(present, name)) throw alreadyExists(bucket, name);
  const encryption = encryptionOf(run, present.keys());
  const signer = await run.signer?.();
  const sliced = slice && !encryption ? await readSlices(run, signer) : undefined;
  // An archive is signed where it is what the signed states give; a log, which is no part of it, only by the run that wrote it.
  const isMadeAgain = run.signer !== undefined && !present.has(keys.log);
  const continued = present.has(keys.tar) && !isMadeAgain ? undefined : sliced;
  const adopted = present.has(keys.tar) && !continued && encryption?.what !== "all";
  const open = [...present.keys()].filter((key) => !key.endsWith(ENCRYPTED));
  if (!adopted && !continued && open.length > 0) {
    throw new LifeboatError("conflict", `remains of a deleted backup "${name}" lie in ${bucket.location}`, {
      hint: "its deletion was interrupted: delete it again, or choose another name",
    });
  }
  // Whoever can write into the bucket can have left it, and its digests would agree.
  if (adopted && run.signer) {
    throw new LifeboatError(
      "conflict",
      `an unfinished backup "${name}" lies in ${bucket.location}: it can't be finished and signed, for nothing proves who wrote it`,
      { hint: leftoverHint(name) },
    );
  }
  const survey = adopted || continued ? undefined : await traced("lifeboat survey", {}, () => surveyCluster(run));
  return leavingLog({ kind: "backup", ...run }, async () => {
    await run.lock?.();
    const archived = await traced("lifeboat capture", { "lifeboat.adopted": adopted }, () => {
      if (continued) return goOn(run, slice!, continued, signer);
      return survey ? captureCluster(run, survey, encryption, slice, shards) : adoptArchive(run, present);
    });
    if ("more" in archived) return archived;
    const committing = traced("lifeboat commit", {}, () => commit(run, archived, signer));
    const committed = await committing.catch(async (error: unknown) => {
      await archived.takeBackCopies?.();
      throw error;
    });
    // What can't be removed goes with retention.
    if (slice) await removeSlices({ bucket, folder: pieceFolder(name), signal }).catch(() => {});
    await releaseCopies({ ...run, log: run.log.log }, archived.outcome.volumes);
    return { ...committed, adopted };
  });
}

async function goOn(
  run: BackupRun,
  slice: Slice,
  { number, state }: NonNullable<Awaited<ReturnType<typeof readSlices>>>,
  signer: Signer | undefined,
): Promise<Archived | BackupMore> {
  const begun = Date.now();
  const before = "plan" in state ? await gatherShards(run, { number, state }, signer) : { number, state };
  return "more" in before ? before : continueSlices(run, slice, before, begun);
}

async function commit(
  { name, log, signal, recipients = [], ...run }: BackupRun,
  archived: Archived,
  signer: Signer | undefined,
): Promise<Omit<BackupResult, "adopted">> {
  const { header, outcome, inventory, index, encrypted, logBefore = Buffer.alloc(0) } = archived;
  const bucket = holding(run.bucket, retentionOf(header));
  const files = encrypted ? encrypting(bucket, recipients) : bucket;
  const keys = backupKeys(name, encrypted?.suffix);
  const unsealed = backupRecord(name, archived, { completedAt: new Date(), location: bucket.location });
  log.log("info", "Backup ends", { phase: unsealed.status?.phase ?? "" });
  const written = await writeSideFiles(
    files,
    keys,
    inventory,
    { ...outcome, log: Buffer.concat([logBefore, log.gzipped()]) },
    signal,
  );
  const digests = { ...written, [basename(keys.index)]: index.whole, ...secretFiles(outcome) };
  const stored = encrypted ? { ...encrypted.digests, ...(files as EncryptingBucket).digests } : digests;
  const { record, body } = await sealRecord(unsealed, { files: stored, indexEnd: index.end }, signer);
  // Another run may have taken over our lock and be deleting the name: it looks for our record once the archive is gone
  // (delete.ts), and we for the archive once the record is there, so that one of us sees the other.
  const isWhole = async () => (await listFolder(bucket, keys.folder, signal)).has(keys.tar);
  if (!(await isWhole())) throw deletedMeanwhile(bucket, name);
  try {
    await bucket.put(keys.metadata, body, { ifAbsent: true, signal });
  } catch (error) {
    throw isLifeboatError(error, "conflict") ? alreadyExists(bucket, name, error) : error;
  }
  if (!(await isWhole())) {
    await bucket.delete(keys.metadata, { signal }).catch(() => {});
    throw deletedMeanwhile(bucket, name);
  }
  return { record, outcome };
}

function deletedMeanwhile(bucket: Bucket, name: string): LifeboatError {
  return new LifeboatError(
    "conflict",
    `the archive of backup "${name}" was deleted from ${bucket.location} meanwhile`,
    {
      hint: `delete what is left of it, "lifeboat backup delete ${name}", and make it anew`,
    },
  );
}

function alreadyExists(bucket: Bucket, name: string, cause?: unknown): LifeboatError {
  return new LifeboatError("conflict", `backup "${name}" already exists in ${bucket.location}`, {
    hint: "a backup is never overwritten: choose another name, or delete it first",
    cause,
  });
}
