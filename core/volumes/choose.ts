import type { KubernetesObject } from "../archive/item.ts";
import { at, fieldsAt } from "../objects/fields.ts";
import type { BackupSpec } from "../specs.ts";
import { matchPolicy, type VolumePolicy, volumeType } from "./policies.ts";
import { unfit } from "./restic/unfit.ts";
import type { ClaimedVolume, Method, Mount } from "./volume.ts";

/** A claim as `choose` takes it: without a volume it is unbound, or its volume is gone. */
export type Claim = Omit<ClaimedVolume, "volume"> & Partial<Pick<ClaimedVolume, "volume">>;

/** What `choose` goes by. */
export interface Means {
  spec: Pick<BackupSpec, "snapshotVolumes" | "defaultVolumesToFsBackup">;
  policies: VolumePolicy[];
  /** Whether the cluster can snapshot this driver's volumes by CSI. */
  csi: (driver: string) => boolean;
  /** Whether the platform can snapshot the disk that the volume is. */
  disks: (volume: KubernetesObject) => boolean;
  /** Undefined where files can be copied; else why they can't. */
  files: string | undefined;
}

/** The data are copied. */
export interface Chosen {
  method: Method;
  /** The VolumeSnapshotClass that a policy names. */
  snapshotClass?: string;
  /** The running Pod whose files are copied; without one, the claim's files are copied though none mounts it. */
  mount?: Mount;
  /** Files were wanted, and this is why a snapshot is made in their place, which stays with its platform: for a warning. */
  instead?: string;
}

/** The data are not copied. */
export interface NotChosen {
  method: undefined;
  /** A clause with the claim as its "it": "volumePolicies.0 skips it". */
  reason: string;
  /** They should be, and a person is needed. False where the user chose so, and where there is nothing to copy. */
  lacking: boolean;
  /** Where they stay: a restore finds what a server has; what a node has, only one into the same cluster. */
  stays?: "server" | "node";
}

export type Choice = Chosen | NotChosen;

/** Sources whose data are elsewhere than in the cluster's disks, so that a volume that is retained finds them again. */
const ELSEWHERE: Partial<Record<string, { place: string; stays: "server" | "node" }>> = {
  nfs: { place: "on the NFS server", stays: "server" },
  hostPath: { place: "on the node", stays: "node" },
  local: { place: "on the node", stays: "node" },
};

/**
 * How a claim's data are copied, in Velero's order (velero-format: 6.0): as a volume policy says; else by files where a Pod's
 * annotations or `defaultVolumesToFsBackup` say so; else by a snapshot, unless `snapshotVolumes` is false. Beyond Velero,
 * files that are wanted and that no running Pod mounts are copied where no snapshot can be made, and a snapshot is made of what
 * should be copied by files and can't be, rather than nothing. What a failed pre-hook has not made ready is not copied.
 */
export function choose(one: Claim, means: Means): Choice {
  const choice = chooseWay(one, means);
  const { unprepared } = one;
  if (!choice.method || unprepared === undefined) return choice;
  return lacking(`a pre-hook of Pod ${unprepared}, which uses it, failed, so they may not be at rest`);
}

function chooseWay(one: Claim, means: Means): Choice {
  const { claim, volume } = one;
  const found = matchPolicy(means.policies, { claim, volume });
  const policy = `volumePolicies.${found?.place}`;
  if (found?.action.type === "skip") return left(`${policy} skips it`);
  if (found?.action.type === "custom") return left(`${policy} leaves it to something else ("custom")`);
  if (!volume || isUnbound(claim)) return unbound(claim);
  const whole = { ...one, volume };
  if (found?.action.type === "snapshot") {
    const method = snapshotMethod(volume, means);
    const { snapshotClass } = found.action.parameters ?? {};
    if (!method) return lacking(`${policy} wants a snapshot: ${noSnapshot(whole, means)}`);
    return { method, ...(method === "CSISnapshot" && snapshotClass && { snapshotClass }) };
  }
  if (found) {
    const obstacle = noFiles(whole) ?? means.files;
    return obstacle ? lacking(`${policy} wants a copy of its files: ${obstacle}`) : filesOf(user(one.mounts));
  }
  return byDefault(whole, means);
}

function byDefault(one: ClaimedVolume, means: Means): Choice {
  const { volume, mounts } = one;
  const { snapshotVolumes, defaultVolumesToFsBackup = false } = means.spec;
  const wanting = mounts.filter((mount) => (defaultVolumesToFsBackup ? !mount.optedOut : mount.optedIn));
  const wanted = wanting.length > 0 || (defaultVolumesToFsBackup && mounts.length === 0);
  const never = noFiles(one);
  const obstacle = never ?? means.files;
  if (wanted && !obstacle) return filesOf(user(wanting) ?? user(mounts));
  const method = snapshotVolumes === false ? undefined : snapshotMethod(volume, means);
  if (method) return { method, ...(wanted && obstacle && { instead: obstacle }) };
  const elsewhere = ELSEWHERE[volumeType(fieldsAt(volume, "spec")) ?? ""];
  if (elsewhere && (never || !wanted) && at(volume, "spec", "persistentVolumeReclaimPolicy") === "Retain")
    return { ...left(`its data stay where they are, ${elsewhere.place}`), stays: elsewhere.stays };
  if (wanted && (snapshotVolumes === false || !never)) return lacking(`its files should be copied: ${obstacle}`);
  if (snapshotVolumes === false) return left("snapshotVolumes is false, and no Pod opts in to a copy of its files");
  return lacking(noSnapshot(one, means));
}

/** The Pod whose copy of the claim is read: one that runs. */
function user(mounts: Mount[]): Mount | undefined {
  return mounts.find(({ running }) => running);
}

/** Whatever volume a claim names, its data are in it only while the claim is bound; Lost is one whose volume was deleted. */
function isUnbound(claim: KubernetesObject): boolean {
  const phase = at(claim, "status", "phase");
  return phase === "Pending" || phase === "Lost";
}

function unbound(claim: KubernetesObject): NotChosen {
  const name = at(claim, "spec", "volumeName");
  if (name && at(claim, "status", "phase") !== "Pending") return lacking(`its volume ${name} is gone`);
  return left("it is bound to no volume, so it has no data yet");
}

function snapshotMethod(volume: KubernetesObject, { csi, disks }: Means): Method | undefined {
  const driver = driverOf(volume);
  if (driver && csi(driver)) return "CSISnapshot";
  return disks(volume) ? "NativeSnapshot" : undefined;
}

/** Why no snapshot can be made, and what to do. */
function noSnapshot(one: ClaimedVolume, { files }: Means): string {
  const { volume } = one;
  const driver = driverOf(volume);
  const named = at(volume, "spec", "storageClassName");
  const ofClass = named ? ` (storage class ${named})` : "";
  const why = driver
    ? `the cluster has no VolumeSnapshotClass for its driver ${driver}${ofClass}, and no cloud to snapshot its disk by is at hand`
    : `volumes of type ${volumeType(fieldsAt(volume, "spec")) ?? "unknown"}${ofClass} can't be snapshotted from here`;
  const instead = "have its files copied: defaultVolumesToFsBackup, or a volume policy fs-backup";
  return `${why}; ${noFiles(one) ?? files ?? instead}`;
}

/** Why its files can't be copied, whatever is set up; undefined where they can. Those of `hostPath` are not, as with Velero. */
function noFiles({ claim, volume, mounts }: ClaimedVolume): string | undefined {
  if (at(volume, "spec", "hostPath")) return "files of a hostPath volume are not copied";
  return unfit(claim, volume, user(mounts));
}

function driverOf(volume: KubernetesObject): string | undefined {
  return at(volume, "spec", "csi", "driver") as string | undefined;
}

function filesOf(mount?: Mount): Chosen {
  return { method: "PodVolumeBackup", ...(mount && { mount }) };
}

function left(reason: string): NotChosen {
  return { method: undefined, reason, lacking: false };
}

function lacking(reason: string): NotChosen {
  return { method: undefined, reason, lacking: true };
}
