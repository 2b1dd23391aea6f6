import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Api, KubeObject } from "./api.ts";
import { poll } from "./process.ts";

/** The StorageClasses of volumes that are folders of this machine; those of the second are made where a first Pod is to run. */
export const FOLDERS = "folders";
export const LATE_FOLDERS = "folders-late";

const DRIVER = "folders.rig.example.com";
const SELECTED_NODE = "volume.kubernetes.io/selected-node";

/** A stand-in for a storage provisioner: each claim of its classes gets a volume that is a folder below `dir`. */
export interface Provisioner extends AsyncDisposable {
  /** The folder of a bound claim's volume. */
  folder(namespace: string, claim: string): Promise<string>;
}

/** Makes the classes and binds their claims from now on. The volumes are of a CSI driver that makes no snapshots; their handles are the folders. */
export async function startProvisioner(api: Api, dir: string): Promise<Provisioner> {
  for (const [name, volumeBindingMode] of [
    [FOLDERS, "Immediate"],
    [LATE_FOLDERS, "WaitForFirstConsumer"],
  ]) {
    const object = { metadata: { name }, provisioner: DRIVER, volumeBindingMode };
    await api.request("POST", "/apis/storage.k8s.io/v1/storageclasses", object);
  }
  const driver = { metadata: { name: DRIVER }, spec: { attachRequired: false } };
  await api.request("POST", "/apis/storage.k8s.io/v1/csidrivers", driver);
  const made = new Set<string>();
  const stop = poll(async () => {
    const claims = await api.request<{ items: KubeObject[] }>(
      "GET",
      "/api/v1/persistentvolumeclaims?resourceVersion=0",
    );
    for (const { metadata, spec } of claims.items) {
      const { storageClassName, volumeName, accessModes, resources, volumeMode } = spec as ClaimSpec;
      const { [SELECTED_NODE]: node } = (metadata.annotations ?? {}) as Record<string, string>;
      if (storageClassName !== FOLDERS && !(storageClassName === LATE_FOLDERS && node)) continue;
      if (volumeName || made.has(String(metadata.uid))) continue;
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
          csi: { driver: DRIVER, volumeHandle: path },
          ...(node && { nodeAffinity: { required: { nodeSelectorTerms: [onNode(node)] } } }),
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

function onNode(node: string): object {
  return { matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: [node] }] };
}

interface ClaimSpec {
  storageClassName?: string;
  volumeName?: string;
  volumeMode?: string;
  accessModes: string[];
  resources: { requests: Record<string, string> };
}
