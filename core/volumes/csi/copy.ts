import type { KubernetesObject } from "../../archive/item.ts";
import type { NamespacedName } from "../../kube/object.ts";
import type { Copied, Discard, VolumeCopy } from "../volume.ts";
import type { SnapshotClass } from "./classes.ts";
import { SNAPSHOT_API, SNAPSHOTS } from "./kinds.ts";
import { removeWholly } from "./removal.ts";
import type { CsiRun } from "./run.ts";
import { asked, copiedOf, cutSnapshot, generatedName, readySnapshot, underWay } from "./taking.ts";

/**
 * Copies the volume of a bound claim by a snapshot of its CSI driver, as Velero does without data movement (velero-format:
 * 6.3): by a VolumeSnapshot in the claim's namespace. That and its content stand until the backup that names them is stored, so
 * that whoever dies before leaves no snapshot that nobody knows; then `settleSnapshots` takes them out of the cluster, and the
 * storage keeps the snapshot, whose handle is all that it takes to restore or delete it.
 */
export function copyByCsi(run: CsiRun, claim: KubernetesObject, chosen: SnapshotClass): VolumeCopy {
  return underWay(run, (telling, cut) => copy(telling, claim, chosen, cut));
}

async function copy(run: CsiRun, claim: KubernetesObject, chosen: SnapshotClass, cut: () => void): Promise<Copied> {
  const wanted = snapshotOf(run, claim, chosen);
  const place = { namespace: wanted.metadata.namespace, name: wanted.metadata.name };
  const discard = discarding(run, place);
  return asked(run, { kind: SNAPSHOTS, wanted, discard }, async () => {
    await cutSnapshot(run, { place, claim }, performance.now() + run.timeoutMs);
    cut();
    const taken = await readySnapshot(run, { place, claim }, performance.now() + run.readyTimeoutMs);
    return copiedOf({ ...taken, chosen }, discard);
  });
}

/** Of its copy it keeps no more than the place: it is kept until the run's end. */
function discarding(run: CsiRun, place: NamespacedName): Discard {
  return (signal) => removeWholly(run, place, signal);
}

/** What asks for a snapshot of a claim. */
export function snapshotOf(
  { labels }: CsiRun,
  { metadata }: KubernetesObject,
  { name }: SnapshotClass,
): KubernetesObject {
  return {
    apiVersion: SNAPSHOT_API,
    kind: SNAPSHOTS.kind,
    metadata: {
      namespace: metadata.namespace,
      name: generatedName(`velero-${metadata.name}`),
      labels: { ...metadata.labels, ...labels },
    },
    spec: { source: { persistentVolumeClaimName: metadata.name }, volumeSnapshotClassName: name },
  };
}
