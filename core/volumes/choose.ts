import type { KubernetesObject } from "../archive/item.ts";
import { at, fieldsAt } from "../objects/fields.ts";
import type { BackupSpec } from "../specs.ts";
import { matchPolicy, type VolumePolicy, volumeType } from "./policies.ts";
import { isDevice, unfit, unmovable } from "./restic/unfit.ts";
import type { ClaimedVolume, Method, Mount } from "./volume.ts";

/** A claim as `choose` takes it: without a volume it is unbound, or its volume is gone. */
export type Claim = Omit<ClaimedVolume, "volume"> & Partial<Pick<ClaimedVolume, "volume">>;

/** What `choose` goes by. */
export interface Means {
  spec: Pick<BackupSpec, "snapshotVolumes" | "snapshotMoveData" | "defaultVolumesToFsBackup">;
  policies: VolumePolicy[];
  /** Whether the cluster can snapshot this driver's volumes by CSI. */
  csi: (driver: string) => boolean;
  /** Whether the platform can snapshot the disk that the volume is. */
  disks: (volume: KubernetesObject) => boolean;
  /** Undefined where files can be copied; else why they can't. */
  files: string | undefined;
  /** Why the cluster doesn't tell by which drivers it can snapshot; undefined where it does. */
  noClasses?: string;
}

/** Somebody asked for what can't be made: an error, or where Velero only warns of it too, a warning. */
type Level = "warning" | "error";

/** The data are copied. */
export interface Chosen {
  method: Method;
  /** The files are read from a CSI snapshot that goes afterwards, not from the claim (`snapshotMoveData`). */
  moved?: true;
  /** The VolumeSnapshotClass that a policy names. */
  snapshotClass?: string;
  /** The running Pod whose files are copied; without one, the claim's files are copied though none mounts it. */
  mount?: Mount;
  /** Somebody asked for just this, by the spec, a policy or a Pod's annotation; files are never copied unasked. */
  asked: boolean;
  /** Files were asked for, and this is why a snapshot is made in their place, which stays with its platform. */
  instead?: Obstacle;
}

interface Obstacle {
  reason: string;
  level: Level;
}

/** The data are not copied. */
export interface NotChosen {
  method: undefined;
  /** A clause with the claim as its "it": "volumePolicies.0 skips it". */
  reason: string;
  /** They should be, and a person is told. Undefined where the user chose so, and where there is nothing to copy. */
  level?: Level;
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
 * annotations or `defaultVolumesToFsBackup` say so; else by a snapshot, unless `snapshotVolumes` is false; where that would be one of
 * CSI and `snapshotMoveData` is true, by the files in it, which are copied wherever an unmounted claim's could be. Beyond Velero,
 * files that are wanted and that no running Pod mounts are copied where no snapshot can be made, and a snapshot is made of what
 * should be copied by files and can't be, rather than nothing: that is told as what was asked for and is lacking. What a failed pre-hook has not made ready is not copied.
 */
export function choose(one: Claim, means: Means): Choice {
  const choice = chooseWay(one, means);
  const { unprepared } = one;
  if (!choice.method || unprepared === undefined) return choice;
  return lacking("warning", `a pre-hook of Pod ${unprepared}, which uses it, failed, so they may not be at rest`);
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
    const { snapshotClass } = found.action.parameters ?? {};
    const level = unsnapshotted(volume, true);
    return (
      snapshotOf(whole, means, { asked: true, snapshotClass }) ??
      lacking(level, `${policy} wants a snapshot: ${noSnapshot(whole, means)}`)
    );
  }
  if (found) {
    const obstacle = noFiles(whole) ?? noMeans(means);
    if (!obstacle) return filesOf(user(one.mounts));
    return lacking(obstacle.level, `${policy} wants a copy of its files: ${obstacle.reason}`);
  }
  return byDefault(whole, means);
}

/** What is known of a volume of which no policy says how it is copied. */
interface Facts {
  one: ClaimedVolume;
  means: Means;
  /** No snapshots are wanted; or somebody asked for them. */
  off: boolean;
  asked: boolean;
  /** Somebody wants its files: these Pods, or nobody in particular. */
  wanted: boolean;
  wanting: Mount[];
  /** Why files that are wanted can't be copied; `never`: why no files of it can, whatever is set up. */
  instead?: Obstacle;
  never?: Obstacle;
  /** What comes of the snapshot that can be made, where one is wanted. */
  snapshot?: Choice;
  /** It is retained, and its data are not in the cluster's disks. */
  elsewhere?: (typeof ELSEWHERE)[string];
}

/** How a volume is copied of which no policy says it: by the first row whose condition holds. */
const DEFAULTS: { when: (facts: Facts) => unknown; choice: (facts: Facts) => Choice }[] = [
  {
    when: ({ wanted, instead }) => wanted && !instead,
    choice: ({ one, wanting }) => filesOf(user(wanting) ?? user(one.mounts)),
  },
  {
    when: ({ snapshot }) => snapshot,
    choice: ({ snapshot }) => snapshot!,
  },
  {
    when: ({ elsewhere, never, wanted }) => elsewhere && (never || !wanted),
    choice: ({ elsewhere, instead }) => {
      const { place, stays } = elsewhere!;
      const where = `its data stay where they are, ${place}`;
      return { ...(instead ? lacking(instead.level, `${instead.reason}: ${where}`) : left(where)), stays };
    },
  },
  {
    when: ({ instead, never, off }) => instead && (off || !never),
    choice: ({ instead }) => lacking(instead!.level, `its files should be copied: ${instead!.reason}`),
  },
  {
    when: ({ off }) => off,
    choice: () => left("snapshotVolumes is false, and no Pod opts in to a copy of its files"),
  },
  {
    when: () => true,
    choice: ({ one, means, asked, instead }) =>
      lacking(instead?.level === "error" ? "error" : unsnapshotted(one.volume, asked), noSnapshot(one, means)),
  },
];

function byDefault(one: ClaimedVolume, means: Means): Choice {
  const facts = factsOf(one, means);
  return DEFAULTS.find(({ when }) => when(facts))!.choice(facts);
}

function factsOf(one: ClaimedVolume, means: Means): Facts {
  const { volume, mounts } = one;
  const { snapshotVolumes, snapshotMoveData, defaultVolumesToFsBackup = false } = means.spec;
  const wanting = mounts.filter((mount) => (defaultVolumesToFsBackup ? !mount.optedOut : mount.optedIn));
  const wanted = wanting.length > 0 || (defaultVolumesToFsBackup && mounts.length === 0);
  const never = noFiles(one);
  const off = snapshotVolumes === false;
  const asked = snapshotVolumes === true || snapshotMoveData === true;
  const instead = wanted ? (never ?? noMeans(means)) : undefined;
  const retained = at(volume, "spec", "persistentVolumeReclaimPolicy") === "Retain";
  return {
    ...{ one, means, off, asked, wanted, wanting, never, instead },
    snapshot: off ? undefined : snapshotOf(one, means, { asked, instead }),
    elsewhere: retained ? ELSEWHERE[volumeType(fieldsAt(volume, "spec")) ?? ""] : undefined,
  };
}

/** As Velero: that a CSI driver has no class is an error, volumes that nothing could snapshot are passed over. */
function unsnapshotted(volume: KubernetesObject, asked: boolean): Level {
  return asked && driverOf(volume) ? "error" : "warning";
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
  if (name && at(claim, "status", "phase") !== "Pending") return lacking("warning", `its volume ${name} is gone`);
  return left("it is bound to no volume, so it has no data yet");
}

type Wish = Pick<Chosen, "snapshotClass" | "asked" | "instead">;

/** How a volume is snapshotted, or, by `snapshotMoveData`, its snapshot's files are copied; undefined where nothing snapshots it. */
function snapshotOf(one: ClaimedVolume, means: Means, { asked, snapshotClass, instead }: Wish): Choice | undefined {
  const { claim, volume, mounts } = one;
  const { csi, disks, spec } = means;
  const driver = driverOf(volume);
  const moves = spec.snapshotMoveData === true;
  const told = (found: Obstacle | undefined) => ({ asked, ...(found && { instead: found }) });
  if (!driver || !csi(driver))
    return disks(volume) ? { method: "NativeSnapshot", ...told(instead ?? (moves ? UNMOVED : undefined)) } : undefined;
  const ofClass = snapshotClass && { snapshotClass };
  if (!moves) return { method: "CSISnapshot", ...told(instead), ...ofClass };
  const obstacle = unmovable(claim, volume);
  if (obstacle) return lacking("error", `snapshotMoveData wants the files of its snapshot: ${obstacle}`);
  return { ...filesOf(user(mounts)), moved: true, ...ofClass };
}

/** As with Velero, whose data mover is for CSI snapshots too. */
const UNMOVED: Obstacle = {
  reason: "snapshotMoveData moves CSI snapshots alone, and the cluster has no VolumeSnapshotClass for it",
  level: "warning",
};

/** Why no snapshot can be made, and what to do. */
function noSnapshot(one: ClaimedVolume, { files, noClasses }: Means): string {
  const { volume } = one;
  const driver = driverOf(volume);
  const named = at(volume, "spec", "storageClassName");
  const ofClass = named ? ` (storage class ${named})` : "";
  const none = noClasses ?? `the cluster has no VolumeSnapshotClass for its driver ${driver}${ofClass}`;
  const why = driver
    ? `${none}, and no cloud to snapshot its disk by is at hand`
    : `volumes of type ${volumeType(fieldsAt(volume, "spec")) ?? "unknown"}${ofClass} can't be snapshotted from here`;
  const instead = "have its files copied: defaultVolumesToFsBackup, or a volume policy fs-backup";
  return `${why}; ${noFiles(one)?.reason ?? files ?? instead}`;
}

/** Why its files can't be copied, whatever is set up; undefined where they can. Of `hostPath` and of devices Velero only warns. */
function noFiles({ claim, volume, mounts }: ClaimedVolume): Obstacle | undefined {
  if (at(volume, "spec", "hostPath")) return { reason: "files of a hostPath volume are not copied", level: "warning" };
  const reason = unfit(claim, volume, user(mounts));
  return reason === undefined ? undefined : { reason, level: isDevice(volume) ? "warning" : "error" };
}

function noMeans({ files: reason }: Means): Obstacle | undefined {
  return reason === undefined ? undefined : { reason, level: "error" };
}

function driverOf(volume: KubernetesObject): string | undefined {
  return at(volume, "spec", "csi", "driver") as string | undefined;
}

function filesOf(mount?: Mount): Chosen {
  return { method: "PodVolumeBackup", asked: true, ...(mount && { mount }) };
}

function left(reason: string): NotChosen {
  return { method: undefined, reason };
}

function lacking(level: Level, reason: string): NotChosen {
  return { method: undefined, reason, level };
}
