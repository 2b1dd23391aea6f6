import type { Archive } from "../archive/reader.ts";
import type { Kube } from "../kube/client.ts";
import { discover } from "../kube/discovery.ts";
import type { Log } from "../log.ts";
import type { FixContext } from "./fixes.ts";
import { type ItemOutcome, type Report, type RestoreResult, startReport } from "./report.ts";
import { selection } from "./selection.ts";
import { servedBy } from "./served.ts";
import { checkSpec, type RestoreSpec } from "./spec.ts";
import { type PlannedStep, planSteps } from "./steps.ts";
import { surveyArchive } from "./survey.ts";
import { readTarget } from "./target.ts";
import { createdVolumes, findsVolume, freeVolumes } from "./volumes.ts";
import { WAIT_MS } from "./waits.ts";
import { writeSteps } from "./writes.ts";

export type { ItemOutcome, RestoreResult } from "./report.ts";
export type { RestoreSpec } from "./spec.ts";

export interface RestoreInput {
  kube: Kube;
  archive: Archive;
  /** The restore's. */
  name: string;
  backupName: string;
  spec: RestoreSpec;
  signal: AbortSignal;
  log: Log;
  /** Items done, of how many. */
  progress?: (done: number, total: number) => void;
  /** Called once for each item, as it ends. */
  outcome: (outcome: ItemOutcome) => void;
  /** How long to wait for definitions to be established and Namespaces to end; 10 minutes where not given. */
  waitMs?: number;
}

/**
 * Restores a backup: surveys the archive, lists what the target has, plans every item, then applies the plan rank by
 * rank (design section 5). What happens to single objects is in the result. Throws only where the result could not be
 * trusted: `corrupt` for a damaged archive (before anything is written), `unreachable` when the server is gone, the
 * signal's reason when cancelled; and `invalid` for a spec that contradicts itself.
 */
export async function restore(input: RestoreInput): Promise<RestoreResult> {
  const { kube, archive, spec, signal, log, waitMs = WAIT_MS } = input;
  const { namespaceMapping = {}, existingResourcePolicy: policy = "none", preserveNodePorts = false } = spec;
  checkSpec(spec);

  const discovery = await discover(kube, { signal });
  const served = servedBy(discovery);
  const survey = await surveyArchive(archive, selection(spec, discovery.resources), namespaceMapping);
  log("info", "Listing what the cluster has", { items: survey.items.length });
  const target = await readTarget({ kube, served, survey, signal, waitMs, log });

  const volumes = new Set<string>();
  const fixing: FixContext = {
    backupName: input.backupName,
    restoreName: input.name,
    namespaceMapping,
    preserveNodePorts,
    keepsVolume: (volume, claim) => volumes.has(volume) || findsVolume(target.volumes.get(volume), claim),
  };
  const steps = await planSteps({ archive, survey, target, served, fixing, policy, signal });
  for (const volume of createdVolumes(steps)) volumes.add(volume);
  for (const volume of freeVolumes(steps, target.volumes, policy)) target.freed.add(volume);

  const report = startReport({ outcome: input.outcome, progress: (done) => input.progress?.(done, steps.length) });
  for (const message of survey.errors) report.tell("errors", message);
  for (const message of [...survey.warnings, ...target.warnings]) report.tell("warnings", message);
  const writes = reportUnchanged(steps, report);
  log("info", "Restoring", { items: steps.length, writes: writes.length });
  await writeSteps(writes, { ...input, waitMs, kube, served, survey, target, fixing, policy, report });
  return report.result();
}

/** Reports the steps that need no request; the others, in the order of their ranks. */
function reportUnchanged(steps: PlannedStep[], report: Report): PlannedStep[] {
  const writes: PlannedStep[] = [];
  for (const step of steps) {
    const { item, action, reason, warning } = step;
    if (action === "skip") report.item(item, "skipped", reason, warning);
    else if (action === "blocked") report.item(item, "blocked", reason);
    else writes.push(step);
  }
  return writes.sort((a, b) => a.rank - b.rank);
}
