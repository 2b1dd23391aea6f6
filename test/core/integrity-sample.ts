import { buffer } from "node:stream/consumers";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { type BackupRun, backup } from "../../core/backup/backup.ts";
import { listFolder } from "../../core/contents.ts";
import { connect } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { noise } from "./archive-sample.ts";

export const signal = new AbortController().signal;

/** Backs up a cluster that holds `objects`, and what every cluster has, into a bucket. */
export async function backedUp(
  objects: KubernetesObject[],
  name = "b",
  bucket = memoryBucket(),
  more: Partial<BackupRun> = {},
): Promise<Bucket> {
  const server = await startApiServer({ objects });
  try {
    await backupOf(server, { bucket, name, ...more });
  } finally {
    await server.stop();
  }
  return bucket;
}

export async function backupOf(server: ApiServer, run: Pick<BackupRun, "bucket" | "name"> & Partial<BackupRun>) {
  const kube = connect(readKubeconfig(server.kubeconfig));
  try {
    return await backup({ kube, spec: {}, log: startRunLog({}), signal, ...run });
  } finally {
    await kube.close();
  }
}

/** A namespace with so many ConfigMaps that compress badly, the same for the same seed. */
export function settings(count: number, seed = 0, size = 3000): KubernetesObject[] {
  const namespace = `shop-${seed}`;
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    ...Array.from({ length: count }, (_, i) => ({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: `settings-${i}`, namespace },
      data: { text: noise(size, seed * 1000 + i) },
    })),
  ];
}

/** All that lies below a prefix, by its key. */
export async function filesIn(bucket: Bucket, prefix = ""): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const key of (await listFolder(bucket, prefix)).keys()) files.set(key, await buffer(await bucket.get(key)));
  return files;
}

/** A bucket that holds these files. */
export async function bucketWith(files: Iterable<[string, Buffer]>): Promise<Bucket> {
  const bucket = memoryBucket();
  for (const [key, body] of files) await bucket.put(key, body);
  return bucket;
}
