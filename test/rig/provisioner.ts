import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Api, KubeObject } from "./api.ts";
import { poll } from "./process.ts";

/** The StorageClass of volumes that are folders of this machine. */
export const FOLDERS = "folders";

/** A stand-in for a storage provisioner: each claim of its class gets a volume that is a folder below `dir`. */
export interface Provisioner extends AsyncDisposable {
  /** The folder of a bound claim's volume. */
  folder(namespace: string, claim: string): Promise<string>;
}

/** Makes the class and binds its claims from now on. */
export async function startProvisioner(api: Api, dir: string): Promise<Provisioner> {
  await api.request("POST", "/apis/storage.k8s.io/v1/storageclasses", {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: { name: FOLDERS },
    provisioner: "rig.example.com/folders",
    volumeBindingMode: "Immediate",
  });
  const made = new Set<string>();
  const stop = poll(async () => {
    const claims = await api.request<{ items: KubeObject[] }>("GET", "/api/v1/persistentvolumeclaims");
    for (const { metadata, spec } of claims.items) {
      const { storageClassName, volumeName, accessModes, resources, volumeMode } = spec as ClaimSpec;
      if (storageClassName !== FOLDERS || volumeName || made.has(String(metadata.uid))) continue;
      made.add(String(metadata.uid));
      const name = `pvc-${metadata.uid}`;
      const path = join(dir, name);
      await mkdir(path, { recursive: true });
      await api.request("POST", "/api/v1/persistentvolumes", {
        apiVersion: "v1",
        kind: "PersistentVolume",
        metadata: { name },
        spec: {
          capacity: resources.requests,
          accessModes,
          volumeMode,
          storageClassName,
          persistentVolumeReclaimPolicy: "Retain",
          hostPath: { path },
          claimRef: { ...metadata, kind: "PersistentVolumeClaim", apiVersion: "v1" },
        },
      });
    }
  }, 100);
  return {
    folder: async (namespace, claim) => {
      const path = `/api/v1/namespaces/${namespace}/persistentvolumeclaims/${claim}`;
      const { spec } = await api.request<KubeObject & { spec: ClaimSpec }>("GET", path);
      return join(dir, spec.volumeName ?? "not-bound");
    },
    [Symbol.asyncDispose]: stop,
  };
}

interface ClaimSpec {
  storageClassName?: string;
  volumeName?: string;
  volumeMode?: string;
  accessModes: string[];
  resources: { requests: Record<string, string> };
}
