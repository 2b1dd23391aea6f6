import { messageOf } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { throwIfGone } from "../../kube/gone.ts";
import { getObject, patchObject } from "../../kube/object.ts";
import { at } from "../../objects/fields.ts";
import { CLAIMS } from "../../objects/resources.ts";
import { someOf } from "../../report.ts";
import { releaseSnapshots } from "../../volumes/csi/release.ts";
import { CLAIM, VOLUME } from "../../volumes/volume.ts";
import type { ItemData, RestoreData } from "../data.ts";
import type { Report } from "../report.ts";
import type { Item } from "../survey.ts";

interface Settling {
  kube: Kube;
  report: Report;
  waitMs: number;
  signal: AbortSignal;
}

/**
 * Ends what was begun for claims: takes away the VolumeSnapshots they were made of, once they are bound, and gives their new volumes
 * the labels and the reclaim policy of the old ones. A claim that waits for its first Pod keeps its VolumeSnapshot, which is told.
 */
export async function settleVolumes({ brought, csi }: RestoreData, settling: Settling): Promise<void> {
  const { kube, report, waitMs, signal } = settling;
  const claims = brought.filter(({ item }) => item.entry.resource === CLAIMS);
  const made = claims.flatMap(({ item, snapshot }) =>
    snapshot ? [{ item, claim: { namespace: item.namespace, name: item.name }, snapshot }] : [],
  );
  if (made.length > 0) {
    const left = new Map((await releaseSnapshots(csi, made, { waitMs })).map((one) => [one.snapshot, one]));
    for (const { item, snapshot } of made) {
      const still = left.get(snapshot);
      if (still && !still.unused) report.warn(item, still.reason);
    }
    const unused = [...left.values()]
      .filter((one) => one.unused)
      .map(({ claim }) => `${claim.namespace}/${claim.name}`);
    if (unused.length > 0)
      report.tell("warnings", `claims keep their VolumeSnapshots until a first Pod uses them: ${someOf(unused)}`);
  }
  for (const { item, data } of claims) {
    try {
      await inherit(kube, item, data, signal);
    } catch (error) {
      await throwIfGone(kube, error, signal);
      report.warn(
        item,
        `its volume has not got what the old one had, its labels and its reclaim policy: ${messageOf(error)}`,
      );
    }
  }
}

/** Gives the new volume of a claim what its old one had, as Velero does (velero-format: 5.8). */
async function inherit(kube: Kube, item: Item, data: ItemData, signal: AbortSignal): Promise<void> {
  const claim = await getObject(kube, CLAIM, { namespace: item.namespace, name: item.name }, signal);
  const name = String(at(claim, "spec", "volumeName") ?? "");
  const volume = name ? await getObject(kube, VOLUME, { name }, signal) : undefined;
  if (!volume) return;
  const labels = Object.entries(data.labels ?? {}).filter(([label]) => volume.metadata.labels?.[label] === undefined);
  const had = at(volume, "spec", "persistentVolumeReclaimPolicy");
  const policy = data.reclaimPolicy || had;
  if (labels.length === 0 && policy === had) return;
  const patch = { metadata: { labels: Object.fromEntries(labels) }, spec: { persistentVolumeReclaimPolicy: policy } };
  await patchObject(kube, VOLUME, { name }, patch, signal);
}
