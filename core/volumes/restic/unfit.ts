import type { KubernetesObject } from "../../archive/item.ts";
import { at } from "../../objects/fields.ts";
import type { Mount } from "../volume.ts";

/** Why the files of a bound claim can't be copied; undefined where they can. `mount`: the Pod that uses it, if one does. */
export function unfit(claim: KubernetesObject, volume: KubernetesObject, mount?: Mount): string | undefined {
  if (isDevice(volume)) return "it is a block device, which has no files (volumeMode: Block)";
  if (mount && accessModesOf(claim, volume).includes("ReadWriteOncePod")) {
    return `no second Pod may mount it beside ${mount.pod.name} (accessModes: ReadWriteOncePod)`;
  }
  return undefined;
}

/** Whether a volume is a device, not a file system. */
export function isDevice(volume: KubernetesObject): boolean {
  return at(volume, "spec", "volumeMode") === "Block";
}

/** The node that alone can mount the claim beside the Pod which uses it; undefined where any may. */
export function pinnedTo(claim: KubernetesObject, volume: KubernetesObject, mount?: Mount): string | undefined {
  const shared = accessModesOf(claim, volume).some((mode) => mode === "ReadWriteMany" || mode === "ReadOnlyMany");
  return shared || !mount?.running || !mount.nodeName ? undefined : mount.nodeName;
}

/** A claim is used in the way it asks for, whatever else its volume could do. */
function accessModesOf(claim: KubernetesObject, volume: KubernetesObject): string[] {
  return [at(claim, "spec", "accessModes") ?? at(volume, "spec", "accessModes") ?? []].flat().map(String);
}
