import { messageOf } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { throwIfGone } from "../../kube/gone.ts";
import { getObject, patchObject } from "../../kube/object.ts";
import { at } from "../../objects/fields.ts";
import { CLAIMS } from "../../objects/resources.ts";
import { someOf } from "../../report.ts";
import { releaseSnapshot, releaseSnapshots } from "../../volumes/csi/release.ts";
import { type RestoredSnapshot, restoredSnapshots } from "../../volumes/csi/restored.ts";
import { CLAIM, VOLUME } from "../../volumes/volume.ts";
import type { ItemData, RestoreData } from "../data.ts";
import type { PlannedStep } from "../plan/steps.ts";
import type { RestoreReport } from "../report.ts";
import type { Item } from "../survey.ts";

interface Settling {
  kube: Kube;
  steps: PlannedStep[];
  report: RestoreReport;
  waitMs: number;
  signal: AbortSignal;
}

/**
 * Ends what this restore has begun for claims that are made of CSI snapshots, this run or one before it: gives their new volumes what
 * the old ones had, once they are bound, and takes away the VolumeSnapshots, with those that no claim uses. A claim that waits for its
 * first Pod keeps its VolumeSnapshot, which is told.
 */
export async function settleVolumes({ plan, csi, limit }: RestoreData, settling: Settling): Promise<void> {
  const { kube, steps, report, waitMs, signal } = settling;
  const claims = new Map<string, { item: Item; data: ItemData }>();
  for (const { item } of steps) {
    const data = item.entry.resource === CLAIMS ? plan.of(item) : undefined;
    if (data?.how === "csi") claims.set(`${item.namespace}/${item.name}`, { item, data });
  }
  if (claims.size === 0) return;
  const found = await standing(csi, settling);
  const used = found.flatMap(({ snapshot, claim }) =>
    claim ? [{ claim: { namespace: snapshot.namespace, name: claim.metadata.name }, snapshot: snapshot.name }] : [],
  );
  const meant = ({ claim }: (typeof used)[number]) => claims.get(`${claim.namespace}/${claim.name}`);
  const warn = (one: (typeof used)[number], message: string) => {
    const { item } = meant(one) ?? {};
    if (item) report.warn(item, message);
    else report.tell("warnings", message);
  };
  const bound = async (one: (typeof used)[number]) => {
    const { data } = meant(one) ?? {};
    const lacks = data && (await inherit(kube, one.claim, data, signal));
    if (lacks) warn(one, lacks);
  };
  const needless = found.filter(({ claim }) => !claim);
  for (const left of await Promise.all(needless.map(({ snapshot }) => limit(() => releaseSnapshot(csi, snapshot)))))
    if (left) report.tell("warnings", left);
  const left = await releaseSnapshots(csi, used, { waitMs, bound });
  for (const one of left) if (!one.unused) warn(one, one.reason);
  const unused = left.filter((one) => one.unused).map(({ claim }) => `${claim.namespace}/${claim.name}`);
  if (unused.length > 0)
    report.tell("warnings", `claims keep their VolumeSnapshots until a first Pod uses them: ${someOf(unused)}`);
}

/** What this restore has in the target of snapshots; none where that can't be told, which is a warning. */
async function standing(
  { restoreName }: RestoreData["csi"],
  { kube, report, signal }: Settling,
): Promise<RestoredSnapshot[]> {
  try {
    return await restoredSnapshots(kube, { restoreName }, signal);
  } catch (error) {
    await throwIfGone(kube, error, signal);
    report.tell("warnings", `VolumeSnapshots of this restore may be left in the cluster: ${messageOf(error)}`);
    return [];
  }
}

/**
 * Gives the new volume of a claim what its old one had, its labels and its reclaim policy, as Velero does (velero-format: 5.8). Resolves
 * with what to warn of where that can't be done. Throws where the server is gone.
 */
export async function inherit(
  kube: Kube,
  place: { namespace: string; name: string },
  data: ItemData,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const claim = await getObject(kube, CLAIM, place, signal);
    const name = String(at(claim, "spec", "volumeName") ?? "");
    const volume = name ? await getObject(kube, VOLUME, { name }, signal) : undefined;
    if (!volume) return undefined;
    const labels = Object.entries(data.labels ?? {}).filter(([label]) => volume.metadata.labels?.[label] === undefined);
    const had = at(volume, "spec", "persistentVolumeReclaimPolicy");
    const policy = data.reclaimPolicy || had;
    if (labels.length === 0 && policy === had) return undefined;
    const patch = { metadata: { labels: Object.fromEntries(labels) }, spec: { persistentVolumeReclaimPolicy: policy } };
    await patchObject(kube, VOLUME, { name }, patch, signal);
    return undefined;
  } catch (error) {
    await throwIfGone(kube, error, signal);
    return `its volume has not got what the old one had, its labels and its reclaim policy: ${messageOf(error)}`;
  }
}
