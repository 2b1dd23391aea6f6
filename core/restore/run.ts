import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { Archive } from "../archive/reader.ts";
import {
  ATTEMPT,
  type Backup,
  CALLER,
  CLUSTER,
  encryptedPart,
  PLAN,
  type Restore,
  readRestorable,
  UNDOES,
  VOLUME_COUNTS,
} from "../catalog.ts";
import { listFolder, writeSideFile } from "../contents.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { gzipText } from "../gziptext.ts";
import { type Opening, openBackup } from "../integrity/open.ts";
import { readStoredVolumes } from "../integrity/volumes.ts";
import type { Kube } from "../kube/client.ts";
import { restoreKeys, sliceFolder } from "../layout.ts";
import type { RunLog } from "../log.ts";
import { checkNewName, undoName } from "../names.ts";
import { VOLUMES } from "../objects/resources.ts";
import { putOnce } from "../once.ts";
import type { Bucket, Signer } from "../ports.ts";
import { someOf, toVeleroResult } from "../report.ts";
import { leavingLog } from "../runs.ts";
import { resourceFilter } from "../select.ts";
import { type More, removeSlices, type Slice } from "../slices.ts";
import { timestamp } from "../timestamp.ts";
import type { VolumeMeans } from "../volumes/means.ts";
import { restoreVolumeInfo } from "../volumes/record.ts";
import type { RestoreData } from "./data.ts";
import { targetNamespace } from "./fixes.ts";
import { basisOf, holdToPlan, type StoredPlan } from "./plan/plandocument.ts";
import { plannedSources } from "./plan/sources.ts";
import {
  type ItemOutcome,
  type PlanInput,
  type RestoreInput,
  type RestorePlan,
  type RestoreResult,
  type RestoreSpec,
  restoreSlice,
} from "./restore.ts";
import { mayBeCut, openCut } from "./slices.ts";
import { checkSpec } from "./spec.ts";
import { type Note, readNotes } from "./undo/notes.ts";
import type { Undoing } from "./undo/remains.ts";
import { keepBefore } from "./undo/safety.ts";

const gzipBuffer = promisify(gzip);

/** One run of a restore. */
export interface RestoreRun {
  kube: Kube;
  bucket: Bucket;
  name: string;
  spec: RestoreSpec;
  /** For the record: the cluster's name in the configuration, where it has one, and who asked, where somebody did. */
  cluster?: string;
  caller?: string;
  /** Exactly this plan is applied; the spec is the plan's. */
  plan?: StoredPlan;
  /** Where there are some, only what one of these public keys has signed is restored. */
  trustedKeys?: string[];
  /** Gives what signs the backup of what is about to be touched. */
  signer?: () => Promise<Signer>;
  /** By what volumes' data can be brought back, beside the cluster itself. */
  volumes?: VolumeMeans;
  /** To whom what the restore keeps for its undo is encrypted; to nobody where not given. */
  recipients?: string[];
  log: RunLog;
  /** Takes the lock of the name, where that isn't held already: once the plan is made, before anything is written. */
  lock?: () => Promise<void>;
  progress?: (done: number, total: number) => void;
  /** Called with the plan before anything is written; what it throws ends the restore. */
  check?: (planned: RestorePlan) => void;
  signal: AbortSignal;
}

/**
 * Our outcomes in the words of Velero's restore resource list, "v1/Pod" to "namespace/name(created)" (velero-format: 1.3).
 * It lists what was restored: what was pruned is not in it.
 */
const VELERO_ACTION: Record<ItemOutcome["action"], string | undefined> = {
  created: "created",
  updated: "updated",
  recreated: "created",
  skipped: "skipped",
  blocked: "failed",
  failed: "failed",
  pruned: undefined,
};

/**
 * Restores a backup into the cluster and stores the report under `restores/<name>/`, its record last.
 *
 * Throws `missing` for an unknown backup, `conflict` where a restore of that name is recorded, `corrupt` for a damaged
 * archive before anything is written to the cluster, and whatever stopped the run. What happens to single objects does
 * not throw: it is in the result, and the phase is PartiallyFailed.
 */
export async function runRestore(run: RestoreRun): Promise<RestoreEnd> {
  return (await runRestoreSlice(run)) as RestoreEnd;
}

/**
 * As `runRestore`, but for as long as its slice lasts: where there is more to do then, the next call for the same restore goes on.
 * The restore is the same as one that isn't cut. One that brings data of volumes or runs commands in Pods isn't cut once it writes,
 * one of an encrypted backup, or that keeps what it touches encrypted, isn't at all; nor one that trusts keys and has none to sign with.
 */
export async function runRestoreSlice(run: RestoreRun, slice?: Slice): Promise<RestoreEnd | More> {
  const { bucket, spec, signal } = run;
  checkNewName("restore", run.name);
  checkSpec(spec);
  const backup = await readRestorable(bucket, spec.backupName, signal);
  return recordSlice(run, { backup, open: () => openBackup(bucket, backup, openingOf(run)) }, slice);
}

/** How the backup of a restore is opened: with its Secrets, unless the filters leave them out. */
export function openingOf({ spec, trustedKeys, signal }: Pick<RestoreRun, "spec" | "trustedKeys" | "signal">): Opening {
  const takesSecrets = resourceFilter(spec.includedResources, spec.excludedResources, [])("secrets");
  return { trustedKeys, signal, secrets: takesSecrets ? "needed" : "if readable" };
}

/** A restore's record, and how it went. */
export interface RestoreEnd {
  record: Restore;
  result: RestoreResult;
}

/** What is restored: a backup, or what was there before the restore that is undone. */
export interface RestoreSource {
  open: () => Promise<Archive>;
  backup?: Backup;
  undoing?: Undoing;
}

/** Restores what `source` opens, and records it; as `runRestore`, which see. */
export async function recordRestore(run: RestoreRun, source: RestoreSource): Promise<RestoreEnd> {
  return (await recordSlice(run, source)) as RestoreEnd;
}

async function recordSlice(
  run: RestoreRun,
  { open, ...source }: RestoreSource,
  slice?: Slice,
): Promise<RestoreEnd | More> {
  const { bucket, name, spec, plan, signal } = run;
  const { backup } = source;
  checkNewName("restore", name);
  const keys = restoreKeys(name);
  if ((await listFolder(bucket, keys.folder, signal)).has(keys.record)) throw alreadyExists(bucket, name);
  if (!source.undoing) await checkNotUndone(bucket, name, signal);
  const notes = source.undoing ? [] : await readNotes(bucket, name, signal);
  checkSameBackup(name, spec, notes);

  return leavingLog({ kind: "restore", ...run }, async () => {
    const cut = slice && backup && mayBeCut(run, backup) ? await openCut(run, backup, slice) : undefined;
    const startedAt = cut?.startedAt ?? new Date();
    const list: Record<string, string[]> = {};
    const outcomes = gzipText();
    const heard = (outcome: ItemOutcome, told: boolean) => {
      const { apiVersion, kind, action, reason } = outcome;
      outcomes.add(`${JSON.stringify(outcome)}\n`);
      const key = `${apiVersion}/${kind}`;
      list[key] ??= [];
      if (VELERO_ACTION[action]) list[key].push(`${objectName(outcome)}(${VELERO_ACTION[action]})`);
      if (!told && (action !== "created" || reason)) {
        const level = action === "failed" || action === "blocked" ? "error" : "info";
        run.log.log(level, `${outcome.resource} ${objectName(outcome)}: ${action}${reason ? `: ${reason}` : ""}`);
      }
    };
    const archive = await open();
    let data: RestoreData | undefined;
    const input: RestoreInput = {
      ...run,
      ...source,
      archive,
      notes,
      volumes: await volumesOf(run, source),
      backupName: spec.backupName,
      log: run.log.log,
      withhold: Boolean(run.recipients?.length) || (backup && encryptedPart(backup) !== undefined),
      outcome: heard,
      planned: (planned) => {
        ({ data } = planned);
      },
      check: async (planned) => {
        if (plan && backup) {
          const sources = await plannedSources(planned, archive);
          holdToPlan(plan, planned, { basis: basisOf(planned, backup), sources });
        }
        run.check?.(planned);
      },
      beforeWrites: async (planned) => {
        await run.lock?.();
        return keepBefore(run, planned, planned.whole ? undefined : slice);
      },
    };
    try {
      const result = await restoreSlice(input, cut);
      if (!result) return { more: true, items: cut!.items() };
      run.log.log("info", "Restore ends", { phase: result.phase, ...result.counts });
      const files = {
        list,
        outcomes: outcomes.gzipped(),
        volumes: (data?.brought ?? []).map((one) => volumeInfo(one, spec)),
        logBefore: cut?.logBefore,
      };
      const record = await storeReport({ ...run, ...source }, startedAt, result, files);
      // It is recorded: what can't be removed goes with retention.
      await removeSlices({ bucket, folder: sliceFolder(name), signal }).catch(() => {});
      return { record, result };
    } catch (error) {
      const filling = [...(data?.filling ?? [])];
      if (filling.length > 0)
        run.log.unfinished.push(
          `half-filled claims are left: ${someOf(filling)}: run the restore again under its name, which fills them anew, or delete them`,
        );
      throw error;
    } finally {
      await archive.close();
    }
  });
}

/** What the backup has of its volumes' data; undefined where a restore is undone. */
export async function volumesOf(
  { bucket, volumes, signal }: Pick<RestoreRun, "bucket" | "volumes" | "signal">,
  { backup, undoing }: Pick<RestoreSource, "backup" | "undoing">,
): Promise<PlanInput["volumes"]> {
  if (!backup || undoing) return undefined;
  return { ...volumes, stored: await readStoredVolumes(bucket, backup, signal) };
}

function volumeInfo({ item, data }: RestoreData["brought"][number], { namespaceMapping = {} }: RestoreSpec): object {
  const { volume, claim } = data;
  const namespace = targetNamespace(claim?.namespace ?? "", { namespaceMapping });
  const target = {
    claim: claim && { ...claim, namespace },
    volume: item.entry.resource === VOLUMES ? item.name : volume,
  };
  return restoreVolumeInfo(data, target);
}

async function storeReport(
  run: RestoreRun & Pick<RestoreSource, "undoing">,
  startedAt: Date,
  result: RestoreResult,
  files: { list: Record<string, string[]>; outcomes: Buffer; volumes: object[]; logBefore?: Buffer },
): Promise<Restore> {
  const { list, outcomes, volumes, logBefore = Buffer.alloc(0) } = files;
  const { bucket, name, signal } = run;
  for (const names of Object.values(list)) names.sort();
  const attempt = await claimAttempt(run, result);
  const keys = restoreKeys(name, attempt);
  await Promise.all([
    writeSideFile(bucket, keys.resourceList, `${JSON.stringify(list)}\n`, signal),
    writeSideFile(bucket, keys.outcomes, outcomes, signal),
    writeSideFile(bucket, keys.itemOperations, "[]\n", signal),
    writeSideFile(bucket, keys.volumeInfo, `${JSON.stringify(volumes)}\n`, signal),
    writeSideFile(bucket, keys.log, Buffer.concat([logBefore, run.log.gzipped()]), signal),
  ]);
  const record = restoreRecord(run, startedAt, result, attempt);
  try {
    await bucket.put(keys.record, Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`), { ifAbsent: true, signal });
  } catch (error) {
    throw isLifeboatError(error, "conflict") ? alreadyExists(bucket, name) : error;
  }
  return record;
}

/**
 * Writes the results under the first number that no other run has; its other files are then ours alone, so that a
 * record never stands beside the report of another run, and nothing is overwritten.
 */
async function claimAttempt({ bucket, name, signal }: RestoreRun, { problems }: RestoreResult): Promise<number> {
  const results = { errors: toVeleroResult(problems.errors), warnings: toVeleroResult(problems.warnings) };
  const body = await gzipBuffer(`${JSON.stringify(results)}\n`);
  for (let attempt = 1; ; attempt++) {
    if (await putOnce(bucket, restoreKeys(name, attempt).results, body, signal)) return attempt;
  }
}

function objectName({ namespace, name }: ItemOutcome): string {
  return namespace ? `${namespace}/${name}` : name;
}

function restoreRecord(
  { name, spec, cluster, caller, plan, undoing }: RestoreRun & Pick<RestoreSource, "undoing">,
  startedAt: Date,
  result: RestoreResult,
  attempt: number,
): Restore {
  const total = Object.values(result.counts).reduce((sum, count) => sum + count, 0);
  return {
    apiVersion: "velero.io/v1",
    kind: "Restore",
    metadata: {
      name,
      namespace: "velero",
      annotations: {
        "lifeboat/counts": JSON.stringify(result.counts),
        ...(result.volumes && { [VOLUME_COUNTS]: JSON.stringify(result.volumes) }),
        ...(cluster && { [CLUSTER]: cluster }),
        ...(caller && { [CALLER]: caller }),
        ...(plan && { [PLAN]: plan.document.id }),
        ...(undoing && { [UNDOES]: undoing.restore }),
        ...(attempt > 1 && { [ATTEMPT]: String(attempt) }),
      },
    },
    spec: { ...spec, backupName: spec.backupName || undefined },
    status: {
      phase: result.phase,
      startTimestamp: timestamp(startedAt),
      completionTimestamp: timestamp(new Date()),
      warnings: result.problems.warnings.length,
      errors: result.problems.errors.length,
      progress: { totalItems: total, itemsRestored: total },
    },
  };
}

/** Throws `conflict` for a restore that was interrupted and then undone: done again under its name, it could not be undone again. */
async function checkNotUndone(bucket: Bucket, name: string, signal: AbortSignal): Promise<void> {
  const undo = restoreKeys(undoName(name, 1));
  if (!(await listFolder(bucket, undo.folder, signal)).has(undo.record)) return;
  throw new LifeboatError("conflict", `restore "${name}" has been undone`, { hint: "choose another name" });
}

/** Throws `conflict` where a restore of that name was begun of another backup: what it made would pass for this one's. */
function checkSameBackup(name: string, { backupName }: RestoreSpec, notes: Note[]): void {
  const other = notes.find(({ backup = backupName }) => backup !== backupName)?.backup;
  if (other === undefined) return;
  throw new LifeboatError("conflict", `restore "${name}" was begun from backup "${other}", and interrupted`, {
    hint: `choose another name, or finish it with --from-backup ${other}, or undo it`,
  });
}

/** A restore of that name is recorded. */
export function alreadyExists(bucket: Bucket, name: string): LifeboatError {
  return new LifeboatError("conflict", `restore "${name}" already exists in ${bucket.location}`, {
    hint: "choose another name",
  });
}
