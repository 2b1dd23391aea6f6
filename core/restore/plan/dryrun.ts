import { readRestorable } from "../../catalog.ts";
import { listFolder } from "../../contents.ts";
import { openBackup } from "../../integrity/open.ts";
import { restoreKeys } from "../../layout.ts";
import { checkNewName } from "../../names.ts";
import { leavingLog } from "../../runs.ts";
import { timestamp } from "../../timestamp.ts";
import { withModifiers } from "../modifiers/modifiersource.ts";
import { planRestore, type RestorePlan } from "../restore.ts";
import { alreadyExists, openingOf, type RestoreRun, type RestoreSource, volumesOf } from "../run.ts";
import { checkSpec } from "../spec.ts";
import {
  basisOf,
  checkNoPlan,
  liveState,
  orderedSteps,
  type PlanDocument,
  planDocument,
  storePlan,
} from "./plandocument.ts";
import { type Rehearsed, rehearse } from "./rehearsal.ts";
import type { PlannedStep } from "./steps.ts";

/**
 * Tells what a restore would do, by planning and rehearsing it, and stores that as the plan `name`. Nothing is written to the
 * cluster. Throws as `runRestore`; `conflict` where there is a plan or restore of that name.
 */
export async function runDryRun(run: Omit<RestoreRun, "plan" | "caller">): Promise<PlanDocument> {
  const { bucket, spec, signal } = run;
  checkNewName("restore", run.name);
  checkSpec(spec);
  await checkNoPlan(bucket, run.name, signal);
  const backup = await readRestorable(bucket, spec.backupName, signal);
  const open = () => openBackup(bucket, backup, openingOf(run));
  const self = { ...run, spec: await withModifiers(spec, run.kube, signal) };
  const { document, planned } = await rehearseRestore(self, { backup, open });
  const live = orderedSteps(planned).map((step) => liveState(step, planned));
  await storePlan(bucket, { document, basis: basisOf(planned, backup), live }, signal);
  return document;
}

/** Plans and rehearses the restore of what `source` opens. Nothing is stored. Throws as `runRestore`. */
export async function rehearseRestore(
  run: Omit<RestoreRun, "plan" | "caller">,
  { open, ...source }: RestoreSource,
): Promise<{ document: PlanDocument; planned: RestorePlan }> {
  const { bucket, name, spec, signal, log } = run;
  if ((await listFolder(bucket, restoreKeys(name).folder, signal)).has(restoreKeys(name).record))
    throw alreadyExists(bucket, name);
  return leavingLog({ kind: "restore", ...run }, async () => {
    const lookedAt = timestamp(new Date());
    const archive = await open();
    try {
      // Namespaces that are going away aren't waited for: what needs them is told as blocked.
      const volumes = await volumesOf(run, source);
      const input = { ...run, ...source, volumes, archive, backupName: spec.backupName, log: log.log, waitMs: 0 };
      const planned = await planRestore(input);
      const became = new Map<PlannedStep, Rehearsed>();
      await rehearse(input, planned, (step, rehearsed) => {
        became.set(step, rehearsed);
        run.progress?.(became.size, planned.steps.length);
      });
      const document = planDocument(planned, became, {
        id: name,
        ...(spec.backupName && { backup: spec.backupName }),
        location: bucket.location,
        ...(run.cluster && { cluster: run.cluster }),
        timestamp: lookedAt,
        spec: { ...spec, backupName: spec.backupName || undefined },
      });
      return { document, planned };
    } finally {
      await archive.close();
    }
  });
}
