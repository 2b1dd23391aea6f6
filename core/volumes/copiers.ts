import { randomUUID } from "node:crypto";
import type { LimitFunction } from "p-limit";
import type { KubernetesObject } from "../archive/item.ts";
import { parseDuration } from "../duration.ts";
import { LifeboatError } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import { throwIfGone } from "../kube/gone.ts";
import { LOCATION } from "../labels.ts";
import type { Log } from "../log.ts";
import { at } from "../objects/fields.ts";
import type { Bucket, Disks } from "../ports.ts";
import type { BackupSpec } from "../specs.ts";
import type { Chosen, Means } from "./choose.ts";
import { chooseClass, type SnapshotClass, snapshotClasses } from "./csi/classes.ts";
import { copyByCsi } from "./csi/copy.ts";
import { groupCopies } from "./csi/groupcopy.ts";
import { VOLUME_GROUP } from "./csi/groups.ts";
import { csiRun } from "./csi/run.ts";
import { type DiskCloud, diskOf } from "./disk.ts";
import { noFiles, type VolumeMeans } from "./means.ts";
import { moveData } from "./moved.ts";
import { copyDisk } from "./native.ts";
import type { VolumePolicy } from "./policies.ts";
import { copyFiles } from "./restic/copy.ts";
import { bucketRepositories } from "./restic/repositories.ts";
import type { ResticSettings } from "./restic/settings.ts";
import { forgetFiles } from "./restic/stored.ts";
import { unfit } from "./restic/unfit.ts";
import { causeOf } from "./rights.ts";
import type { ClaimedVolume, Method, VolumeCopy } from "./volume.ts";

/** The backup whose volumes are copied. */
export interface CopyingRun {
  kube: Kube;
  bucket: Bucket;
  /** The backup's. */
  name: string;
  spec: BackupSpec;
  policies: VolumePolicy[];
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  volumes?: VolumeMeans;
  log: Log;
  signal: AbortSignal;
}

/** What copies the data of a backup's volumes. */
export interface Copiers {
  /** What there is to choose from. */
  means: Means;
  /**
   * Takes all that is to be copied, and gives what begins the copy of one; the volumes of a group are copied as one. `files`: how many
   * Jobs there are at a time for what is moved.
   */
  starter(chosen: ToCopy[], files: LimitFunction): (one: ToCopy) => Promise<VolumeCopy>;
  /** Takes copies of a namespace's files away again, by one Job: each needs the repository for itself. */
  forget(namespace: string, snapshotIds: string[], signal: AbortSignal): Promise<void>;
}

/** A volume, and how it is to be copied. */
export interface ToCopy {
  one: ClaimedVolume;
  choice: Chosen;
}

/** Looks what the cluster and the platform offer. Throws only what ends the run. */
export async function openCopiers(run: CopyingRun): Promise<Copiers> {
  const { kube, bucket, name, spec, volumes: { disks = {}, files } = {}, signal } = run;
  const { classes, noClasses } = await classesOf(run);
  const waitMs = spec.itemOperationTimeout ? parseDuration(spec.itemOperationTimeout) : undefined;
  const csi = csiRun(kube, {
    ...{ backupName: name, location: bucket.location },
    ...(spec.csiSnapshotTimeout && { timeoutMs: parseDuration(spec.csiSnapshotTimeout) }),
    ...(waitMs !== undefined && { readyTimeoutMs: waitMs }),
    signal,
  });
  const copying = files && within(files, waitMs);
  const repositories = bucketRepositories(bucket);
  const opened = new Map<DiskCloud, Promise<Disks>>();
  const request = randomUUID();

  const classFor = ({ claim, volume }: Pick<ClaimedVolume, "claim" | "volume">, { snapshotClass }: Chosen) => {
    const driver = String(at(volume, "spec", "csi", "driver"));
    const wish = { driver, claim, policyClass: snapshotClass, backupAnnotations: run.annotations };
    const choice = chooseClass(wish, classes);
    if ("reason" in choice) throw new LifeboatError("invalid", choice.reason);
    return choice;
  };

  const byDisk = async ({ volume }: ClaimedVolume) => {
    const { cloud, ...disk } = diskOf(volume)!;
    const opening = opened.get(cloud) ?? disks[cloud]!();
    opened.set(cloud, opening);
    const pv = volume.metadata.name;
    // Backups of one name may lie in several locations: without theirs, nobody could tell whose an orphan is.
    const tags = { ...run.labels, "velero.io/backup": name, "velero.io/pv": pv, [LOCATION]: bucket.location };
    return copyDisk(await opening, disk, { name: `${pv}-${request}`, tags, signal, waitMs });
  };

  const byFiles = ({ claim, volume }: ClaimedVolume, { mount }: Chosen) => {
    const reason = unfit(claim, volume, mount);
    if (reason) throw new LifeboatError("invalid", `its files can't be copied: ${reason}`);
    return copyFiles(kube, copying!, { claim, volume, mount, backupName: name, repositories, signal });
  };

  const alone = ({ claim, volume }: ClaimedVolume, choice: Chosen) => {
    const { chosen, passedOver } = classFor({ claim, volume }, choice);
    return warning(copyByCsi(csi, claim, chosen), passedOver);
  };

  const groupLabel = spec.volumeGroupSnapshotLabelKey || VOLUME_GROUP;

  const moved = ({ claim, volume }: ClaimedVolume, choice: Chosen, limit: LimitFunction) => {
    const source = { claim, volume };
    const { chosen, passedOver } = classFor(source, choice);
    const { mount } = choice;
    const copy = (clone: string) =>
      copyFiles(kube, copying!, { ...source, mount, clone, backupName: name, repositories, signal });
    const group = claim.metadata.labels?.[groupLabel];
    const ungrouped = group
      ? [`its snapshot was cut alone, not with its group ${groupLabel}=${group}: data of groups are not moved together`]
      : [];
    return warning(moveData({ run: csi, source, chosen, copyFiles: copy, limit }), [...passedOver, ...ungrouped]);
  };

  type By = Record<Method, (one: ClaimedVolume, choice: Chosen) => VolumeCopy | Promise<VolumeCopy>>;
  const starter: Copiers["starter"] = (chosen, limit) => {
    const byCsi = chosen.flatMap(({ one, choice }) => (choice.method === "CSISnapshot" ? [one] : []));
    const inGroup = groupCopies(csi, byCsi, { key: groupLabel, backupAnnotations: run.annotations });
    const by: By = {
      CSISnapshot: (one, choice) => inGroup(one) ?? alone(one, choice),
      NativeSnapshot: byDisk,
      PodVolumeBackup: (one, choice) => (choice.moved ? moved(one, choice, limit) : byFiles(one, choice)),
    };
    return async ({ one, choice }) => by[choice.method](one, choice);
  };
  return {
    means: {
      spec,
      policies: run.policies,
      csi: (driver) => classes.some((one) => one.driver === driver),
      disks: (volume: KubernetesObject) => hasDisk(disks, volume),
      files: noFiles(files),
      noClasses,
    },
    starter,
    forget: (namespace, snapshotIds, signal) =>
      forgetFiles(kube, files!, { namespace, repository: namespace, snapshotIds, signal }),
  };
}

/** The cluster's VolumeSnapshotClasses; none where it has no snapshots, or doesn't tell, with the reason. */
async function classesOf({
  kube,
  spec,
  policies,
  signal,
}: CopyingRun): Promise<{ classes: SnapshotClass[]; noClasses?: string }> {
  if (spec.snapshotVolumes === false && policies.length === 0) return { classes: [] };
  try {
    return { classes: (await snapshotClasses(kube, signal)) ?? [] };
  } catch (error) {
    await throwIfGone(kube, error, signal);
    return { classes: [], noClasses: `no volume is snapshotted by CSI: ${causeOf(error)}` };
  }
}

/** The settings by which a copy takes no longer than they say, nor than `limitMs`. */
function within({ timing, ...settings }: ResticSettings, limitMs = timing.total): ResticSettings {
  return { ...settings, timing: { ...timing, total: Math.min(timing.total, limitMs) } };
}

/** The copy, with more warnings. */
function warning(copy: VolumeCopy, more: string[]): VolumeCopy {
  const warned = copy.done.then((copied) => ({ ...copied, warnings: [...more, ...(copied.warnings ?? [])] }));
  warned.catch(() => {});
  return { ...copy, done: warned };
}

function hasDisk(disks: NonNullable<VolumeMeans["disks"]>, volume: KubernetesObject): boolean {
  const disk = diskOf(volume);
  return disk !== undefined && disks[disk.cloud] !== undefined;
}
