import { openArchive } from "../archive/reader.ts";
import { backupKeys, checkName, listFolder, type Restore, readBackup, restoreKeys, writeSideFile } from "../catalog.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import type { RunLog } from "../log.ts";
import type { Bucket } from "../ports.ts";
import { leavingLog } from "../runs.ts";
import { timestamp } from "../timestamp.ts";
import { type ItemOutcome, type RestoreResult, type RestoreSpec, restore } from "./restore.ts";

/** One run of a restore. */
export interface RestoreRun {
  kube: Kube;
  bucket: Bucket;
  name: string;
  spec: RestoreSpec;
  log: RunLog;
  progress?: (done: number, total: number) => void;
  signal: AbortSignal;
}

/** Phases of a backup that may be restored, as in Velero. */
const RESTORABLE = ["Completed", "PartiallyFailed"];

/** Our outcomes in the words of Velero's restore resource list, "v1/Pod" to "namespace/name(created)" (velero-format: 1.3). */
const VELERO_ACTION = {
  created: "created",
  updated: "updated",
  skipped: "skipped",
  blocked: "failed",
  failed: "failed",
} as const;

/**
 * Restores a backup into the cluster and stores the report under `restores/<name>/`, its record last.
 *
 * Throws `missing` for an unknown backup, `conflict` where a restore of that name is recorded, `corrupt` for a damaged
 * archive before anything is written to the cluster, and whatever stopped the run. What happens to single objects does
 * not throw: it is in the result, and the phase is PartiallyFailed.
 */
export async function runRestore(run: RestoreRun): Promise<{ record: Restore; result: RestoreResult }> {
  const { bucket, name, spec, signal } = run;
  checkName("restore", name);
  const record = await readBackup(bucket, spec.backupName, signal);
  const phase = record.status?.phase ?? "";
  if (!RESTORABLE.includes(phase)) {
    throw new LifeboatError(
      "invalid",
      `backup "${spec.backupName}" is ${phase || "in no phase"}: only ${RESTORABLE.join(" or ")} ones can be restored`,
    );
  }
  const keys = restoreKeys(name);
  if ((await listFolder(bucket, keys.folder, signal)).has(keys.record)) throw alreadyExists(bucket, name);

  return leavingLog({ kind: "restore", ...run }, async () => {
    const startedAt = new Date();
    const list: Record<string, string[]> = {};
    const heard = (outcome: ItemOutcome) => {
      const { apiVersion, kind, action, reason } = outcome;
      const key = `${apiVersion}/${kind}`;
      list[key] ??= [];
      list[key].push(`${objectName(outcome)}(${VELERO_ACTION[action]})`);
      if (action !== "created" || reason) {
        const level = action === "failed" || action === "blocked" ? "error" : "info";
        run.log.log(level, `${outcome.resource} ${objectName(outcome)}: ${action}${reason ? `: ${reason}` : ""}`);
      }
    };
    const archive = await openArchive(bucket, backupKeys(spec.backupName), { signal });
    try {
      const result = await restore({
        ...run,
        archive,
        backupName: spec.backupName,
        log: run.log.log,
        outcome: heard,
      });
      const stored = restoreRecord(name, spec, startedAt, result);
      run.log.log("info", "Restore ends", { phase: result.phase, ...result.counts });
      await storeReport(run, stored, result, list);
      return { record: stored, result };
    } finally {
      await archive.close();
    }
  });
}

async function storeReport(
  run: RestoreRun,
  record: Restore,
  result: RestoreResult,
  list: Record<string, string[]>,
): Promise<void> {
  const { bucket, name, signal } = run;
  const keys = restoreKeys(name);
  for (const names of Object.values(list)) names.sort();
  const results = { errors: result.errors, warnings: result.warnings };
  await Promise.all([
    writeSideFile(bucket, keys.resourceList, `${JSON.stringify(list)}\n`, signal),
    writeSideFile(bucket, keys.results, `${JSON.stringify(results)}\n`, signal),
    writeSideFile(bucket, keys.itemOperations, "[]\n", signal),
    writeSideFile(bucket, keys.volumeInfo, "[]\n", signal),
    writeSideFile(bucket, keys.log, run.log.gzipped(), signal),
  ]);
  try {
    await bucket.put(keys.record, Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`), { ifAbsent: true, signal });
  } catch (error) {
    throw isLifeboatError(error, "conflict") ? alreadyExists(bucket, name) : error;
  }
}

function objectName({ namespace, name }: ItemOutcome): string {
  return namespace ? `${namespace}/${name}` : name;
}

function restoreRecord(name: string, spec: RestoreSpec, startedAt: Date, result: RestoreResult): Restore {
  const total = Object.values(result.counts).reduce((sum, count) => sum + count, 0);
  return {
    apiVersion: "velero.io/v1",
    kind: "Restore",
    metadata: { name, namespace: "velero", annotations: { "lifeboat/counts": JSON.stringify(result.counts) } },
    spec: { ...spec },
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

function alreadyExists(bucket: Bucket, name: string): LifeboatError {
  return new LifeboatError("conflict", `restore "${name}" already exists in ${bucket.location}`, {
    hint: "choose another name",
  });
}
