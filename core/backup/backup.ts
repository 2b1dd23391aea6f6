import { basename } from "node:path/posix";
import { type Backup, backupKeys, checkNewName, listFolder } from "../catalog.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { sealRecord } from "../integrity/seal.ts";
import type { Kube } from "../kube/client.ts";
import type { RunLog } from "../log.ts";
import type { Bucket, Signer } from "../ports.ts";
import { leavingLog } from "../runs.ts";
import { traced } from "../telemetry.ts";
import { adoptArchive } from "./adopt.ts";
import { captureCluster, surveyCluster } from "./capture.ts";
import type { Picked, Progress } from "./collect.ts";
import { holding, retentionOf } from "./hold.ts";
import { type Archived, type ArchiveOutcome, backupRecord } from "./record.ts";
import type { BackupSpec } from "./scope.ts";
import { writeSideFiles } from "./sidefiles.ts";

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
  /** For the record: the cluster's name in the configuration, where it has one, and who asked, where somebody did. */
  cluster?: string;
  caller?: string;
  /** Gives what signs the record, where it is to be signed; asked before anything is written. */
  signer?: () => Promise<Signer>;
  log: RunLog;
  progress?: (progress: Progress) => void;
  signal: AbortSignal;
}

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
 * is adopted instead of made again.
 *
 * Throws `conflict` where a backup of that name exists, `invalid` for contradictory filters, and whatever stopped the
 * run; then nothing is listed, and once the cluster had answered, the run's log lies where `readLog` finds it.
 * Problems with single resources do not throw: they are in the outcome, and the phase is PartiallyFailed.
 */
export async function backup(run: BackupRun): Promise<BackupResult> {
  const { bucket, name, signal } = run;
  checkNewName("backup", name);
  const keys = backupKeys(name);
  const present = await listFolder(bucket, keys.folder, signal);
  if (present.has(keys.metadata)) throw alreadyExists(bucket, name);
  const adopted = present.has(keys.tar);
  if (!adopted && present.size > 0) {
    throw new LifeboatError("conflict", `remains of a deleted backup "${name}" lie in ${bucket.location}`, {
      hint: "its deletion was interrupted: delete it again, or choose another name",
    });
  }
  const signer = await run.signer?.();
  const survey = adopted ? undefined : await traced("lifeboat survey", {}, () => surveyCluster(run));
  return leavingLog({ kind: "backup", ...run }, async () => {
    const archived = await traced("lifeboat capture", { "lifeboat.adopted": adopted }, () =>
      survey ? captureCluster(run, survey) : adoptArchive(run, present),
    );
    return { ...(await traced("lifeboat commit", {}, () => commit(run, archived, signer))), adopted };
  });
}

async function commit(
  { name, log, signal, ...run }: BackupRun,
  { header, outcome, inventory, index }: Archived,
  signer: Signer | undefined,
): Promise<Omit<BackupResult, "adopted">> {
  const bucket = holding(run.bucket, retentionOf(header));
  const keys = backupKeys(name);
  const unsealed = backupRecord(name, header, outcome, new Date());
  log.log("info", "Backup ends", { phase: unsealed.status?.phase ?? "" });
  const files = await writeSideFiles(bucket, keys, inventory, { ...outcome, log: log.gzipped() }, signal);
  files[basename(keys.index)] = index.whole;
  const { record, body } = await sealRecord(unsealed, { files, indexEnd: index.end }, signer);
  try {
    await bucket.put(keys.metadata, body, { ifAbsent: true, signal });
  } catch (error) {
    throw isLifeboatError(error, "conflict") ? alreadyExists(bucket, name, error) : error;
  }
  return { record, outcome };
}

function alreadyExists(bucket: Bucket, name: string, cause?: unknown): LifeboatError {
  return new LifeboatError("conflict", `backup "${name}" already exists in ${bucket.location}`, {
    hint: "a backup is never overwritten: choose another name, or delete it first",
    cause,
  });
}
