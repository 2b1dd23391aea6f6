import { LifeboatError } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { listObjects } from "../../kube/object.ts";
import { labelsFor, labelValue, MANAGED, RESTORE_NAME, selectorOf } from "../../labels.ts";
import { at, entriesOf } from "../../objects/fields.ts";
import { JOBS, removeJob } from "./removal.ts";
import type { ResticSettings } from "./settings.ts";

/**
 * Takes away the Jobs that a run of a restore has left, which died while they filled a claim: they would write on, and keep the claim from
 * being deleted for as long. Throws `busy` for one that doesn't go.
 */
export async function endFills(
  kube: Kube,
  { timing }: Pick<ResticSettings, "timing">,
  {
    claim,
    restoreName,
    signal,
  }: { claim: { namespace: string; name: string }; restoreName: string; signal: AbortSignal },
): Promise<void> {
  const { namespace, name } = claim;
  const labelSelector = selectorOf({ [RESTORE_NAME]: labelValue(restoreName), ...MANAGED });
  for await (const job of listObjects(kube, JOBS, { namespace, labelSelector, signal })) {
    const volumes = entriesOf(job, "spec", "template", "spec", "volumes");
    if (!volumes.some((volume) => at(volume, "persistentVolumeClaim", "claimName") === name)) continue;
    const left = await removeJob(kube, { namespace, name: job.metadata.name }, { timing });
    if (left.length) throw new LifeboatError("busy", `an earlier run still fills it: ${left.join(", ")}`);
  }
}

/** Takes away the Jobs that a run of a backup has left, which died while they copied files. Gives what is left of them, in words. */
export async function endCopies(
  kube: Kube,
  { timing, location }: Pick<ResticSettings, "timing" | "location">,
  backupName: string,
  signal: AbortSignal,
): Promise<string[]> {
  const labels = { ...labelsFor({ backupName, location }), ...MANAGED };
  const jobs = await Array.fromAsync(listObjects(kube, JOBS, { labelSelector: selectorOf(labels), signal }));
  const left = jobs.map(({ metadata: { namespace = "", name } }) => removeJob(kube, { namespace, name }, { timing }));
  return (await Promise.all(left)).flat();
}
