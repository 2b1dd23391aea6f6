import type { KubernetesObject } from "../archive/item.ts";
import type { Archive } from "../archive/reader.ts";
import { type backupKeys, writeSideFile } from "../catalog.ts";
import { parseExact } from "../kube/json.ts";
import type { Bucket } from "../ports.ts";
import { type Problem, toVeleroResult } from "../report.ts";

/** Why a volume of a backup has no data in it (Velero's `skippedReason`). */
const NO_DATA = "lifeboat: volume data is not backed up";

/**
 * Writes the side files that Velero's CLI and restores read (velero-format: 1.2), each made from the archive alone, so
 * that a run that adopts the archive writes the same ones. Those already there stay.
 */
export async function writeSideFiles(
  bucket: Bucket,
  keys: ReturnType<typeof backupKeys>,
  archive: Archive,
  report: { log: string; warnings: Problem[]; errors: Problem[] },
  signal: AbortSignal,
): Promise<void> {
  const results = { errors: toVeleroResult(report.errors), warnings: toVeleroResult(report.warnings) };
  await Promise.all([
    writeSideFile(bucket, keys.resourceList, resourceList(archive), signal),
    writeSideFile(bucket, keys.volumeInfo, `${JSON.stringify(await volumeInfos(archive))}\n`, signal),
    writeSideFile(bucket, keys.results, `${JSON.stringify(results)}\n`, signal),
    writeSideFile(bucket, keys.itemOperations, "[]\n", signal),
    writeSideFile(bucket, keys.podVolumeBackups, "[]\n", signal),
    writeSideFile(bucket, keys.volumeSnapshots, "[]\n", signal),
  ]);
  await writeSideFile(bucket, keys.log, report.log, signal);
}

/**
 * Velero's resource list: "apps/v1/Deployment" to sorted "namespace/name" or "name". The archive holds a resource's
 * items together, so no more than one resource's names are in memory.
 */
async function* resourceList(archive: Archive): AsyncGenerator<string> {
  let kind = "";
  let names: string[] = [];
  let opening = "{";
  const flush = function* () {
    if (names.length === 0) return;
    yield `${opening}${JSON.stringify(kind)}:${JSON.stringify(names.sort())}`;
    opening = ",";
    names = [];
  };
  for await (const entry of archive.entries()) {
    const next = `${entry.apiVersion}/${entry.kind}`;
    if (next !== kind) yield* flush();
    kind = next;
    names.push(entry.namespace ? `${entry.namespace}/${entry.name}` : entry.name);
  }
  yield* flush();
  yield opening === "{" ? "{}\n" : "}\n";
}

interface VolumeInfo {
  pvcName?: string;
  pvcNamespace?: string;
  pvName: string;
  snapshotDataMoved: boolean;
  preserveLocalSnapshot: boolean;
  skipped: boolean;
  skippedReason: string;
  pvInfo: { reclaimPolicy: string; labels: Record<string, string> | null };
}

interface PersistentVolume extends KubernetesObject {
  spec: { persistentVolumeReclaimPolicy?: string; claimRef?: { namespace?: string; name?: string } };
}

/** Velero's BackupVolumeInfo (velero-format: 6.2) of every PersistentVolume. */
async function volumeInfos(archive: Archive): Promise<VolumeInfo[]> {
  const infos: VolumeInfo[] = [];
  const volumes = archive.read(archive.entries((id) => id.resource === "persistentvolumes"));
  for await (const { body } of volumes) {
    const { metadata, spec } = parseExact(body) as PersistentVolume;
    infos.push({
      pvcName: spec.claimRef?.name,
      pvcNamespace: spec.claimRef?.namespace,
      pvName: metadata.name,
      snapshotDataMoved: false,
      preserveLocalSnapshot: false,
      skipped: true,
      skippedReason: NO_DATA,
      pvInfo: { reclaimPolicy: spec.persistentVolumeReclaimPolicy ?? "", labels: metadata.labels ?? null },
    });
  }
  return infos;
}
