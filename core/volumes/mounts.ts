import type { KubernetesObject } from "../archive/item.ts";
import { at, entriesOf, type Fields } from "../objects/fields.ts";
import { matchPolicy, type VolumePolicy, volumeType } from "./policies.ts";
import type { Mount } from "./volume.ts";

/** Annotations of Pods that name volumes of theirs, "a,b" (velero-format: 6.0). */
export const OPT_IN = "backup.velero.io/backup-volumes";
const OPT_OUT = "backup.velero.io/backup-volumes-excludes";

/**
 * The claims of a Pod's namespace that a container or init container mounts as files, or that its annotation names, with the Pod's
 * use of each. What no container mounts, the Pod holds on no node.
 */
export function mountsOf(pod: KubernetesObject): { claim: string; mount: Mount }[] {
  const mounted = new Set(
    [...entriesOf(pod, "spec", "initContainers"), ...entriesOf(pod, "spec", "containers")].flatMap((container) =>
      entriesOf(container, "volumeMounts").map(({ name }) => name),
    ),
  );
  const { name, uid = "" } = pod.metadata;
  const [optedIn, optedOut] = [namesIn(pod, OPT_IN), namesIn(pod, OPT_OUT)];
  return entriesOf(pod, "spec", "volumes").flatMap((volume) => {
    const claim = claimOf(pod, volume);
    const volumeName = String(volume.name);
    if (!claim || !(mounted.has(volumeName) || optedIn.has(volumeName))) return [];
    const mount: Mount = {
      pod: { name, uid },
      running: isRunning(pod) && mounted.has(volumeName),
      nodeName: String(at(pod, "spec", "nodeName") ?? ""),
      volumeName,
      ...(optedIn.has(volumeName) && { optedIn: true }),
      ...(optedOut.has(volumeName) && { optedOut: true }),
    };
    return [{ claim, mount }];
  });
}

/** The claims of a Pod's namespace that it uses, as files or as devices. */
export function claimsOf(pod: KubernetesObject): string[] {
  return entriesOf(pod, "spec", "volumes").flatMap((volume) => claimOf(pod, volume) ?? []);
}

/** A volume of a Pod's own that should have been copied by files, and why it is not. */
export interface PodVolume {
  volumeName: string;
  /** A clause with the volume as its "it". */
  reason: string;
  /** Of what Velero would have copied, an error. */
  level: "warning" | "error";
}

/**
 * Why a volume that is no claim is not copied, by its source. What stores objects is stored as objects. Of `hostPath` and of names that
 * are no volumes Velero only warns, too; what a server has, it would copy from there.
 */
const REASONS: Record<string, Pick<PodVolume, "reason" | "level"> | undefined> = {
  emptyDir: {
    reason: "it lives and dies with its Pod, and only a claim's files can be copied from outside: use a claim",
    level: "error",
  },
  hostPath: {
    reason: "it is a folder of the node, and only a claim's files can be copied from outside: use a claim",
    level: "warning",
  },
  nfs: { reason: "its data stay where they are, on the NFS server", level: "warning" },
  secret: undefined,
  configMap: undefined,
  projected: undefined,
  downwardAPI: undefined,
};
const OTHERS = { reason: "only a claim's files can be copied from outside", level: "error" } as const;
const UNKNOWN = { reason: `${OPT_IN} names it, but the Pod has no such volume`, level: "warning" } as const;

/**
 * The volumes of a running Pod that somebody wants to have copied, by name in its annotation or by a volume policy, and that
 * can't be since they are no claims; and names in the annotation that are no volumes of it.
 */
export function podVolumes(pod: KubernetesObject, policies: VolumePolicy[]): PodVolume[] {
  if (!isRunning(pod)) return [];
  const optedIn = namesIn(pod, OPT_IN);
  const volumes = entriesOf(pod, "spec", "volumes");
  const known = new Set(volumes.map(({ name }) => String(name)));
  const own = volumes.flatMap((podVolume) => {
    const volumeName = String(podVolume.name);
    const type = volumeType(podVolume) ?? "";
    const why = Object.hasOwn(REASONS, type) ? REASONS[type] : OTHERS;
    if (claimOf(pod, podVolume) || !why) return [];
    const action = matchPolicy(policies, { podVolume })?.action.type;
    const wanted = action ? action === "fs-backup" : optedIn.has(volumeName);
    return wanted ? [{ volumeName, ...why }] : [];
  });
  const unknown = [...optedIn].filter((name) => !known.has(name));
  return [...own, ...unknown.map((volumeName) => ({ volumeName, ...UNKNOWN }))];
}

/** The name of the claim that an entry of a Pod's volumes is: a generic ephemeral volume is one too, named by the Pod. */
function claimOf({ metadata: { name } }: KubernetesObject, volume: Fields): string | undefined {
  if (at(volume, "ephemeral")) return `${name}-${volume.name}`;
  const claim = at(volume, "persistentVolumeClaim", "claimName");
  return typeof claim === "string" && claim ? claim : undefined;
}

function isRunning(pod: KubernetesObject): boolean {
  return at(pod, "status", "phase") === "Running";
}

function namesIn({ metadata: { annotations } }: KubernetesObject, key: string): Set<string> {
  const names = (annotations?.[key] ?? "").split(",").map((name) => name.trim());
  return new Set(names.filter((name) => name !== ""));
}
