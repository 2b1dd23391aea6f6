import type { KubernetesObject } from "../../archive/item.ts";
import { at, entriesOf } from "../../objects/fields.ts";
import type { Mount } from "../volume.ts";
import type { Placement } from "./job.ts";

/** Why the files of a bound claim can't be copied; undefined where they can. `mount`: the Pod that uses it, if one does. */
export function unfit(claim: KubernetesObject, volume: KubernetesObject, mount?: Mount): string | undefined {
  if (isDevice(volume)) return DEVICE;
  if (mount && accessModesOf(claim, volume).includes("ReadWriteOncePod")) {
    return `no second Pod may mount it beside ${mount.pod.name} (accessModes: ReadWriteOncePod)`;
  }
  return undefined;
}

/** Why a claim can't be made of its snapshot and its files read; undefined where it can. */
export function unmovable(claim: KubernetesObject, volume: KubernetesObject): string | undefined {
  if (isDevice(volume)) return DEVICE;
  if (!at(claim, "spec", "storageClassName"))
    return "it has no storage class, by which a claim could be made of its snapshot";
  return undefined;
}

const DEVICE = "it is a block device, which has no files (volumeMode: Block)";

/** Whether a volume is a device, not a file system. */
export function isDevice(volume: KubernetesObject): boolean {
  return at(volume, "spec", "volumeMode") === "Block";
}

/** The node that alone can mount the claim beside the Pod which uses it; undefined where any may. */
export function pinnedTo(claim: KubernetesObject, volume: KubernetesObject, mount?: Mount): string | undefined {
  const shared = accessModesOf(claim, volume).some((mode) => mode === "ReadWriteMany" || mode === "ReadOnlyMany");
  return shared || !mount?.running || !mount.nodeName ? undefined : mount.nodeName;
}

/** Where a volume that is made of a volume's snapshot is best used: some storage, of nodes' own disks, makes it there alone. */
export function near(volume: KubernetesObject): Placement {
  const terms = entriesOf(volume, "spec", "nodeAffinity", "required", "nodeSelectorTerms");
  if (terms.length === 0) return {};
  const preferred = terms.map((preference) => ({ weight: 100, preference }));
  return { affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred } } };
}

/** A claim is used in the way it asks for, whatever else its volume could do. */
function accessModesOf(claim: KubernetesObject, volume: KubernetesObject): string[] {
  return [at(claim, "spec", "accessModes") ?? at(volume, "spec", "accessModes") ?? []].flat().map(String);
}
