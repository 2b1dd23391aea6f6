import type { KubernetesObject } from "../archive/item.ts";
import type { Kind } from "../kube/object.ts";
import { CLAIMS, VOLUMES } from "../objects/resources.ts";
import type { Doing } from "./doing.ts";

/** How the data of a volume were copied, in Velero's words (velero-format: 6.2); PodVolumeBackup is a copy of files by restic. */
export type Method = "CSISnapshot" | "NativeSnapshot" | "PodVolumeBackup";

/** A bound claim and its volume, as the LISTs of a backup found them. */
export interface ClaimedVolume {
  claim: KubernetesObject;
  volume: KubernetesObject;
  /** The Pods that mount the claim, running ones first. */
  mounts: Mount[];
  /** A Pod that uses it and was not made ready, since a pre-hook of it failed. */
  unprepared?: string;
}

/** A Pod's use of a claim. */
export interface Mount {
  pod: { name: string; uid: string };
  /** Its phase is Running. */
  running: boolean;
  /** "" where it has none yet. */
  nodeName: string;
  /** The name of the volume in the Pod's spec. */
  volumeName: string;
  /** The Pod's annotation backup.velero.io/backup-volumes names it, or its …-excludes does. */
  optedIn?: boolean;
  optedOut?: boolean;
}

/** A copy of one volume's data under way. */
export interface VolumeCopy {
  /** Resolves once its point in time is fixed: whoever was told to wait may write again. Rejects as `done` does. */
  fixed: Promise<void>;
  /**
   * Resolves once the copy is whole; what then stands of it in the cluster stays until the backup is stored (`releaseCopies`).
   * Rejects with a LifeboatError that says why there is none; then nothing is left at all, or the message says what.
   */
  done: Promise<Copied>;
  /** What it does at the moment; undefined until it does something that may take long. */
  doing: () => Doing | undefined;
}

/** What a copy is known by, for the backup's record. */
export interface Copied {
  csi?: CsiSnapshot;
  native?: NativeSnapshot;
  files?: FileCopy;
  /** What Velero stores along with the claim, as it is to be stored: VolumeSnapshots, their contents and classes. */
  objects?: KubernetesObject[];
  /** What the copy lacks, and what else a person should know of it. */
  warnings?: string[];
  /** Absent for copies of files: those of a repository are taken away together (`Copiers.forget`). */
  discard?: Discard;
}

/** Takes a copy away again: for a run that fails after all. */
export type Discard = (signal: AbortSignal) => Promise<void>;

/** A snapshot that a CSI driver made. */
export interface CsiSnapshot {
  driver: string;
  /** The driver's name of it: all that it takes to restore or delete it. */
  snapshotHandle: string;
  /** Bytes that a claim must ask for to be made of it; 0 where the driver doesn't tell. */
  restoreSize: number;
  /** The names that its objects had in the cluster. */
  snapshotName: string;
  contentName: string;
  /** Of the group it was taken with. */
  groupHandle?: string;
}

/** A snapshot of a disk that the cloud made. */
export interface NativeSnapshot {
  /** The cloud's name of it. */
  snapshotHandle: string;
  /** The cloud's name of the disk. */
  volumeId: string;
  /** "gp3", "Premium_LRS", on Google Cloud the URL of a type: as Velero hands it to the cloud again. */
  volumeType: string;
  /** The zone, several joined with "__". */
  volumeAZ: string;
  iops?: number;
}

/** A copy of a volume's files in a restic repository. */
export interface FileCopy {
  /** restic's id of the snapshot. */
  snapshotId: string;
  /** Whose repository it is in: `restic/<namespace>` below the location. */
  namespace: string;
  /** Bytes and number of its files, and bytes that were stored for it. */
  size: number;
  files: number;
  added: number;
  /** RFC 3339: when the CSI snapshot was cut that they were read from; absent where they were read while they were used. */
  cut?: string;
  /** What Velero's PodVolumeBackup says of the Pod that mounted it; "" where none did. */
  podName: string;
  podUid: string;
  nodeName: string;
  volumeName: string;
}

export const CLAIM: Kind = { group: "", version: "v1", name: CLAIMS, kind: "PersistentVolumeClaim" };
export const VOLUME: Kind = { group: "", version: "v1", name: VOLUMES, kind: "PersistentVolume" };
export const POD: Kind = { group: "", version: "v1", name: "pods", kind: "Pod" };
