import { z } from "zod";
import type { KubernetesObject } from "../archive/item.ts";
import { BACKUP_NAME, labelValue } from "../labels.ts";
import { at, fieldsAt } from "../objects/fields.ts";
import { bytesText } from "../report.ts";
import { recordedHandle, wholeHandle } from "./native.ts";
import type { CsiSnapshot, FileCopy, Method, NativeSnapshot } from "./volume.ts";

/** What became of the data of one claim in a backup. */
export interface VolumeRecord {
  /** The PersistentVolume's name. */
  volume: string;
  claim: { namespace: string; name: string; uid: string };
  /** How its data were copied; undefined where they were not, and `reason` says why. */
  method?: Method;
  reason?: string;
  /** Whether a restore lacks what it should have: somebody must know. */
  lacking?: boolean;
  /** Where they stay, for who restores there. */
  stays?: "server" | "node";
  /** RFC 3339. */
  startTimestamp?: string;
  completionTimestamp?: string;
  csi?: CsiSnapshot;
  native?: NativeSnapshot;
  files?: FileCopy;
}

/** Bound claims of a backup by how their data were copied; of those that were not, whether that lacks something. */
export interface VolumeCounts {
  csiSnapshots: number;
  nativeSnapshots: number;
  fileCopies: number;
  /** Bytes of the copied files. */
  fileBytes: number;
  leftOut: number;
  /** Whose data stay where they are, on a server or a node; absent in backups of older versions, which counted them as left out. */
  stays?: number;
  lacking: number;
  /** Volumes of Pods that are no claims, and were to be copied in vain; absent in backups of older versions. */
  podVolumes?: number;
}

const count = z.number().int().nonnegative();

/** Claims that a restore creates, by how their data come: `stays`, those that get the volume that they had; `lacking`, an empty one. */
export const restoredVolumesSchema = z.object({
  csiSnapshots: count,
  csiBytes: count.describe("of the CSI snapshots, as far as their driver tells"),
  nativeSnapshots: count,
  fileCopies: count,
  fileBytes: count,
  leftOut: count,
  stays: count,
  lacking: count,
  failed: count.describe("claims that are not there, since their data could not be brought back"),
});

export type RestoredVolumes = z.infer<typeof restoredVolumesSchema>;

/** What became of the data of claims, of a backup or of a restore, which alone counts `failed`, in a line; "" where there are none. */
export function volumesText(volumes: VolumeCounts & Partial<RestoredVolumes>): string {
  const {
    csiSnapshots,
    csiBytes,
    nativeSnapshots,
    fileCopies,
    fileBytes,
    leftOut,
    stays = 0,
    lacking,
    failed,
  } = volumes;
  const several = (count: number) => (count === 1 ? "" : "s");
  const parts: [number, string][] = [
    [csiSnapshots, `CSI snapshot${several(csiSnapshots)}${csiBytes ? ` (${bytesText(csiBytes)})` : ""}`],
    [nativeSnapshots, `disk snapshot${several(nativeSnapshots)}`],
    [fileCopies, `by restic (${bytesText(fileBytes)})`],
    [leftOut, "left out"],
    [stays, failed === undefined ? "left where they are" : `in the volume${several(stays)} that they had`],
    [lacking, "WITHOUT THEIR DATA"],
    [failed ?? 0, "NOT BROUGHT BACK"],
  ];
  const said = parts.filter(([count]) => count > 0);
  return said.map(([count, text]) => `${count.toLocaleString("en-US")} ${text}`).join(", ");
}

export function volumeCounts(records: VolumeRecord[] = [], podVolumes = 0): VolumeCounts {
  const count = (which: (record: VolumeRecord) => unknown) => records.filter(which).length;
  return {
    csiSnapshots: count(({ csi }) => csi),
    nativeSnapshots: count(({ native }) => native),
    fileCopies: count(({ files }) => files),
    fileBytes: records.reduce((sum, { files }) => sum + (files?.size ?? 0), 0),
    leftOut: count(({ method, lacking, stays }) => !method && !lacking && !stays),
    stays: count(({ stays }) => stays),
    lacking: count(({ lacking }) => lacking),
    podVolumes,
  };
}

/** What a backup's side files need of a PersistentVolume. */
export interface VolumeFacts {
  name: string;
  claim?: { namespace?: string; name?: string };
  reclaimPolicy: string;
  labels: Record<string, string> | null;
}

export function volumeFacts(volume: KubernetesObject): VolumeFacts {
  const claim = fieldsAt(volume, "spec", "claimRef");
  return {
    name: volume.metadata.name,
    claim: claim && { namespace: String(claim.namespace), name: String(claim.name) },
    reclaimPolicy: String(at(volume, "spec", "persistentVolumeReclaimPolicy") ?? ""),
    labels: volume.metadata.labels ?? null,
  };
}

/** Velero's BackupVolumeInfos (velero-format: 6.2): one for each volume that is stored or was copied. */
export function volumeInfos(volumes: VolumeFacts[], records: VolumeRecord[] = []): object[] {
  const byName = new Map(records.map((record) => [record.volume, record]));
  const stored = volumes.map((facts) => volumeInfo(facts, byName.get(facts.name)));
  const names = new Set(volumes.map(({ name }) => name));
  const others = records.filter(({ volume }) => !names.has(volume));
  return [
    ...stored,
    ...others.map((record) =>
      volumeInfo({ name: record.volume, claim: record.claim, reclaimPolicy: "", labels: null }, record),
    ),
  ];
}

function volumeInfo({ name, claim, reclaimPolicy, labels }: VolumeFacts, record: VolumeRecord | undefined): object {
  const { method, csi, native, files } = record ?? {};
  return {
    pvcName: claim?.name,
    pvcNamespace: claim?.namespace,
    pvName: name,
    backupMethod: method,
    snapshotDataMoved: false,
    preserveLocalSnapshot: method === "CSISnapshot",
    skipped: method === undefined,
    skippedReason: method === undefined ? `lifeboat: ${record?.reason ?? "no claim of the backup is bound to it"}` : "",
    startTimestamp: record?.startTimestamp,
    completionTimestamp: record?.completionTimestamp,
    result: method && "succeeded",
    csiSnapshotInfo: csi && {
      snapshotHandle: csi.snapshotHandle,
      size: csi.restoreSize,
      driver: csi.driver,
      vscName: csi.contentName,
      operationID: "",
      ReadyToUse: true,
      volumeGroupSnapshotHandle: csi.groupHandle,
    },
    nativeSnapshotInfo: native && {
      snapshotHandle: recordedHandle(native.snapshotHandle),
      // Ours: on Google Cloud it tells the project.
      volumeId: native.volumeId,
      volumeType: native.volumeType,
      volumeAZ: native.volumeAZ,
      iops: String(native.iops ?? 0),
      Phase: "Completed",
    },
    pvbInfo: files && {
      snapshotHandle: files.snapshotId,
      size: files.size,
      incrementalSize: files.added,
      uploaderType: "restic",
      volumeName: files.volumeName,
      podName: files.podName,
      podNamespace: files.namespace,
      nodeName: files.nodeName,
      Phase: "Completed",
      // Ours: to Velero, what it calls moved is in a kopia repository.
      cut: files.cut,
    },
    pvInfo: { reclaimPolicy, labels },
  };
}

/** Velero's RestoreVolumeInfo (velero-format: 6.2) of what was brought back, into this claim and volume of the target. */
export function restoreVolumeInfo(
  { csi, native, files }: StoredVolume,
  { claim, volume }: Pick<StoredVolume, "claim" | "volume">,
): object {
  return {
    pvcName: claim?.name,
    pvcNamespace: claim?.namespace,
    pvName: volume,
    restoreMethod: csi ? "CSISnapshot" : native ? "NativeSnapshot" : "PodVolumeRestore",
    snapshotDataMoved: false,
    csiSnapshotInfo: csi && {
      snapshotHandle: csi.snapshotHandle,
      size: csi.restoreSize,
      driver: csi.driver,
      vscName: csi.contentName,
    },
    nativeSnapshotInfo: native && { ...native, iops: String(native.iops ?? 0) },
    pvrInfo: files && {
      snapshotHandle: files.snapshotId,
      size: files.size,
      podName: "",
      podNamespace: claim?.namespace ?? "",
      uploaderType: "restic",
      volumeName: "",
    },
  };
}

/** Velero's list of native snapshots (velero-format: 6.1), for which Velero looks in the VolumeSnapshotLocation `default`. */
export function nativeSnapshots(backup: string, records: VolumeRecord[] = []): object[] {
  return records.flatMap(({ volume, native }) =>
    native
      ? [
          {
            spec: {
              backupName: backup,
              backupUID: "",
              location: "default",
              persistentVolumeName: volume,
              providerVolumeID: native.volumeId,
              volumeType: native.volumeType,
              volumeAZ: native.volumeAZ,
              volumeIOPS: native.iops,
            },
            status: { providerSnapshotID: recordedHandle(native.snapshotHandle), phase: "Completed" },
          },
        ]
      : [],
  );
}

/** Velero's PodVolumeBackups (velero-format: 6.4) of the copies of claims that a Pod mounted: it knows no others. */
export function podVolumeBackups(backup: string, records: VolumeRecord[] = []): object[] {
  return records.flatMap(({ claim, files, startTimestamp, completionTimestamp }) => {
    if (!files?.podName) return [];
    const { namespace, podName, podUid, volumeName, nodeName, snapshotId, size, added } = files;
    return [
      {
        apiVersion: "velero.io/v1",
        kind: "PodVolumeBackup",
        metadata: {
          name: `${backup.slice(0, 200)}-${snapshotId.slice(0, 8)}`,
          namespace: "velero",
          labels: { [BACKUP_NAME]: labelValue(backup), "velero.io/backup-uid": "", "velero.io/pvc-uid": claim.uid },
          annotations: { "velero.io/pvc-name": claim.name },
        },
        spec: {
          node: nodeName,
          pod: { kind: "Pod", namespace, name: podName, uid: podUid },
          volume: volumeName,
          backupStorageLocation: "default",
          repoIdentifier: "",
          uploaderType: "restic",
          tags: { backup, pod: podName, "pod-uid": podUid, ns: namespace, volume: volumeName, "pvc-uid": claim.uid },
        },
        status: {
          phase: "Completed",
          path: "",
          snapshotID: snapshotId,
          startTimestamp,
          completionTimestamp,
          progress: { totalBytes: size, bytesDone: size },
          incrementalBytes: added,
        },
      },
    ];
  });
}

const text = z.string().nullish();

const infoSchema = z.array(
  z.looseObject({
    pvcName: text,
    pvcNamespace: text,
    pvName: text,
    backupMethod: text,
    snapshotDataMoved: z.boolean().nullish(),
    skippedReason: text,
    csiSnapshotInfo: z
      .looseObject({
        ...{ snapshotHandle: text, size: z.number().nullish(), driver: text, vscName: text },
        volumeGroupSnapshotHandle: text,
      })
      .nullish(),
    nativeSnapshotInfo: z
      .looseObject({ snapshotHandle: text, volumeId: text, volumeType: text, volumeAZ: text, iops: text })
      .nullish(),
    pvInfo: z.looseObject({ reclaimPolicy: text, labels: z.record(z.string(), z.string()).nullish() }).nullish(),
    pvbInfo: z
      .looseObject({
        ...{ snapshotHandle: text, size: z.number().nullish(), uploaderType: text, podNamespace: text },
        cut: text,
      })
      .nullish(),
  }),
);

/** What a stored backup, ours or Velero's, says of the data of one volume. */
export interface StoredVolume {
  /** "" for a volume of a Pod that is no claim's. */
  volume: string;
  claim?: { namespace: string; name: string };
  csi?: { snapshotHandle: string; driver: string; contentName: string; restoreSize: number; groupHandle?: string };
  native?: { snapshotHandle: string; volumeType: string; volumeAZ: string; iops?: number };
  /** Of the PersistentVolume: what the new one is to have. */
  reclaimPolicy?: string;
  labels?: Record<string, string>;
  /** In the restic repository of this namespace. */
  files?: { namespace: string; snapshotId: string; size: number } & Pick<FileCopy, "cut">;
  /** Why there are no data, or none that can be had. */
  reason?: string;
}

/** Reads a backup's volume infos, or nothing out of `undefined`. Throws a ZodError or SyntaxError for what is none. */
export function readVolumeInfos(json: string | undefined): StoredVolume[] {
  const infos = infoSchema.parse(JSON.parse(json ?? "null") ?? []);
  return infos.map((info): StoredVolume => {
    const { pvcName, pvcNamespace, csiSnapshotInfo: csi, nativeSnapshotInfo: native, pvbInfo: files } = info;
    const about = {
      volume: info.pvName ?? "",
      ...(pvcName && { claim: { namespace: pvcNamespace ?? "", name: pvcName } }),
      ...(info.pvInfo?.reclaimPolicy && { reclaimPolicy: info.pvInfo.reclaimPolicy }),
      ...(info.pvInfo?.labels && { labels: info.pvInfo.labels }),
    };
    if (info.snapshotDataMoved)
      return { ...about, reason: "Velero's data mover has its data, in a kopia repository, which only Velero reads" };
    if (info.backupMethod === "CSISnapshot" && csi?.snapshotHandle) {
      const { snapshotHandle, driver, vscName, size, volumeGroupSnapshotHandle: group } = csi;
      const known = { snapshotHandle, driver: driver ?? "", contentName: vscName ?? "", restoreSize: size ?? 0 };
      return { ...about, csi: { ...known, ...(group && { groupHandle: group }) } };
    }
    if (info.backupMethod === "NativeSnapshot" && native?.snapshotHandle) {
      const { snapshotHandle, volumeId, volumeType, volumeAZ, iops } = native;
      const handle = volumeId ? wholeHandle(snapshotHandle, volumeId) : snapshotHandle;
      const known = { snapshotHandle: handle, volumeType: volumeType ?? "", volumeAZ: volumeAZ ?? "" };
      return { ...about, native: { ...known, ...(Number(iops) > 0 && { iops: Number(iops) }) } };
    }
    if (info.backupMethod === "PodVolumeBackup" && files?.snapshotHandle) {
      const { snapshotHandle, uploaderType, podNamespace, size, cut } = files;
      if (uploaderType !== "restic")
        return { ...about, reason: `${uploaderType || "another uploader"} has its data, which only Velero reads` };
      const known = { namespace: podNamespace ?? pvcNamespace ?? "", snapshotId: snapshotHandle, size: size ?? 0 };
      return { ...about, files: { ...known, ...(cut && { cut }) } };
    }
    return { ...about, reason: info.skippedReason?.replace(/^lifeboat: /, "") || "its data is not in the backup" };
  });
}
