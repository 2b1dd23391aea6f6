import { join } from "node:path";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { connect, type Kube } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import {
  RESTIC_IMAGE,
  RESTIC_TIMING,
  type ResticSettings,
  repositorySecrets,
} from "../../core/volumes/restic/settings.ts";
import type { KubeObject } from "../rig/api.ts";
import { binary } from "../rig/binaries.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { type Kubelet, type KubeletOptions, startKubelet } from "../rig/kubelet.ts";
import { until } from "../rig/process.ts";
import { FOLDERS, type Provisioner, startProvisioner } from "../rig/provisioner.ts";
import { type RigPart, requireOrSkip } from "../rig/require.ts";

export const SHOP = "shop";
const RIGHTS = join(import.meta.dirname, "../../infra/kubernetes/restic.yaml");
/** The image of Pods that run and do nothing, for `args` in seconds. */
export const SLEEP = "rig.example.com/sleep";
const IMAGES = async () => ({ [RESTIC_IMAGE.replace(/:[^/]*$/, "")]: await binary("restic"), [SLEEP]: "/bin/sleep" });

/** As `requireOrSkip` of what these clusters need, and of `parts`. */
export function resticSkip(parts: readonly RigPart[]): string | false {
  return requireOrSkip("rig", [...WITH_CONTROLLERS, "restic", "containers", ...parts]);
}

/** A cluster whose Pods are run on this machine, and whose claims are folders of it. */
export interface FolderCluster extends AsyncDisposable {
  cluster: Cluster;
  /** With the rights that users are told to give, and no others. */
  kube: Kube;
  kubelet: Kubelet;
  /** Another node, for Pods that tolerate all. */
  addNode(node: string): Promise<Kubelet>;
  /** A new claim of the namespace `shop`, bound to a folder. */
  claim(name: string): Promise<{ claim: KubernetesObject; volume: KubernetesObject; folder: string }>;
  /** The folder that is a bound claim's volume. */
  folder: Provisioner["folder"];
  /** The Jobs, Pods and Secrets of the namespace `shop`, or of another; all, or those with a label. */
  left(labelSelector?: string, namespace?: string): Promise<string[]>;
}

export async function folderCluster(
  options: Pick<KubeletOptions, "env" | "folders" | "storage"> & { controllerFlags?: string[] } = {},
): Promise<FolderCluster> {
  const stack = new AsyncDisposableStack();
  try {
    const { controllerFlags, ...pods } = options;
    const cluster = stack.use(await startCluster({ controllers: true, nodes: 0, controllerFlags }));
    const { api } = cluster;
    const images = await IMAGES();
    const kubelet = stack.use(await startKubelet(cluster, { ...pods, images }));
    const provisioner: Provisioner = stack.use(await startProvisioner(api, join(cluster.dir, "volumes")));
    await cluster.kubectl(["apply", "-f", RIGHTS]);
    const kube = connect(readKubeconfig(await cluster.user("lifeboat", ["lifeboat:restic"])));
    stack.defer(() => kube.close());
    await api.request("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: SHOP } });
    await until("the ServiceAccount", () => api.request("GET", `/api/v1/namespaces/${SHOP}/serviceaccounts/default`));
    const owned = stack.move();
    return {
      cluster,
      kube,
      kubelet,
      addNode: async (node) => owned.use(await startKubelet(cluster, { ...pods, images, node, tainted: true })),
      async claim(name) {
        const path = `/api/v1/namespaces/${SHOP}/persistentvolumeclaims`;
        await api.request("POST", path, claimOf(name));
        const claim = await until(`the claim ${name}`, async () => {
          const found = await api.request("GET", `${path}/${name}`);
          return (found.status as { phase?: string }).phase === "Bound" && found;
        });
        const { volumeName } = claim.spec as { volumeName: string };
        const volume = await api.request("GET", `/api/v1/persistentvolumes/${volumeName}`);
        return { claim, volume, folder: await provisioner.folder(SHOP, name) };
      },
      folder: provisioner.folder,
      async left(labelSelector = "", namespace = SHOP) {
        const places = [`/apis/batch/v1/namespaces/${namespace}/jobs`];
        for (const kind of ["pods", "secrets"]) places.push(`/api/v1/namespaces/${namespace}/${kind}`);
        const paths = places.map((path) => `${path}?${new URLSearchParams({ labelSelector })}`);
        const lists = await Promise.all(paths.map((path) => api.request<{ items: KubeObject[] }>("GET", path)));
        return lists.flatMap(({ items }, at) => items.map(({ metadata }) => `${paths[at]}/${metadata.name}`));
      },
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** A claim of folders, or of another class. */
export function claimOf(name: string, storageClassName = FOLDERS): object {
  const resources = { requests: { storage: "1Gi" } };
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name },
    spec: { accessModes: ["ReadWriteOnce"], storageClassName, resources },
  };
}

/** Settings with short times, for a location and its secrets. */
export function settingsFor(location: string, password: string, credentials: string, timing = {}): ResticSettings {
  return {
    image: RESTIC_IMAGE,
    location,
    secrets: async () => repositorySecrets(password, credentials),
    timing: { ...RESTIC_TIMING, start: 60_000, poll: 200, ...timing },
  };
}
