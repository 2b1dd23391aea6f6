import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { type Api, ApiError, type KubeObject } from "./api.ts";
import { makeCertificate } from "./certs.ts";
import type { Cluster } from "./cluster.ts";
import { type ContainerSpec, type Running, runContainer } from "./container.ts";
import { poll } from "./process.ts";

/** What goes wrong with Pods that come to the node from now on: they never start, their image can't be pulled, or they are evicted while they run. */
export type KubeletTrouble = "idle" | "pull" | "evict";

/** A stand-in for the kubelet of one node, which runs Pods' containers as processes of this machine. */
export interface Kubelet extends AsyncDisposable {
  node: string;
  trouble: KubeletTrouble | undefined;
  /** The Pods that came so far, as they were when they came. */
  pods: KubeObject[];
  /** Whether a container of the Pod of this name runs. */
  isRunning(pod: string): boolean;
  /** The logs of all containers so far. */
  logs(): Promise<string>;
  /** The node is gone: its containers end, and nothing is heard of it any more. */
  die(): Promise<void>;
}

export interface KubeletOptions {
  /** The executables that images stand for, by their names without a version. */
  images: Readonly<Record<string, string>>;
  node?: string;
  /** Only Pods that tolerate it come to the node. */
  tainted?: boolean;
  /** What is put into every container, as a cluster's admission may. */
  env?: Readonly<Record<string, string>>;
  /** The storage of a CSI driver (`startCsiDriver`), whose volumes' handles are names in it. */
  storage?: string;
  /** Folders of this machine that are mounted in every container, read-only, at their own paths. */
  folders?: readonly string[];
}

interface PodSpec {
  nodeName?: string;
  initContainers?: Container[];
  containers: Container[];
  volumes?: Volume[];
}

interface Container {
  name: string;
  image: string;
  args?: string[];
  env?: { name: string; value?: string; valueFrom?: { secretKeyRef: { name: string; key: string } } }[];
  volumeMounts?: { name: string; mountPath: string; readOnly?: boolean }[];
  securityContext?: { runAsUser?: number; readOnlyRootFilesystem?: boolean; capabilities?: { add?: string[] } };
}

interface Volume {
  name: string;
  emptyDir?: object;
  persistentVolumeClaim?: { claimName: string };
  secret?: { secretName: string; items?: { key: string; path: string }[] };
}

/** A Pod of the node. */
interface Worked {
  pod: KubeObject;
  running?: Running;
  statuses: Map<string, object>;
  ending: boolean;
}

/**
 * Registers a node in a cluster without kwok (`nodes: 0`) and runs what is scheduled there: init containers one after the other,
 * then the others, with their Secrets, emptyDirs and claims whose volumes are folders (as their CSI handles say), each in its own root.
 */
export async function startKubelet(cluster: Cluster, options: KubeletOptions): Promise<Kubelet> {
  const { node = "worker", tainted = false, images, env = {}, folders = [], storage = "" } = options;
  const storedAt = (handle: string) => resolve(storage, "volumes", handle);
  const { api } = cluster;
  const dir = join(cluster.dir, `kubelet-${node}`);
  await mkdir(dir, { recursive: true });
  const worked = new Map<string, Worked>();
  const logPath = (pod: string, container: string) => join(dir, pod, container, "log");
  const server = await startLogs(cluster.dir, node, logPath);
  const kubelet: Pick<Kubelet, "trouble" | "pods"> = { trouble: undefined, pods: [] };
  let dead = false;

  await api.request("POST", "/api/v1/nodes", {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: node, labels: { "kubernetes.io/hostname": node, "kubernetes.io/os": "linux" } },
    ...(tainted && { spec: { taints: [{ key: "rig.example.com/tainted", effect: "NoSchedule" }] } }),
  });
  const beat = async () => {
    const now = new Date().toISOString();
    const ready = { type: "Ready", status: "True", reason: "KubeletReady", message: "", lastHeartbeatTime: now };
    const resources = { cpu: "64", memory: "256Gi", pods: "250" };
    await api.request("PATCH", `/api/v1/nodes/${node}/status`, {
      status: {
        capacity: resources,
        allocatable: resources,
        conditions: [ready],
        addresses: [{ type: "InternalIP", address: "127.0.0.1" }],
        daemonEndpoints: { kubeletEndpoint: { Port: server.port } },
      },
    });
  };
  await beat();

  const report = async ({ pod, statuses }: Worked, status: object) => {
    const { initContainers = [], containers } = pod.spec as unknown as PodSpec;
    const of = (list: Container[]) =>
      list.map(({ name, image }) => ({
        name,
        image,
        imageID: image,
        ready: false,
        restartCount: 0,
        state: { waiting: { reason: "PodInitializing" } },
        ...statuses.get(name),
      }));
    const path = `/api/v1/namespaces/${pod.metadata.namespace}/pods/${pod.metadata.name}/status`;
    const containerStatuses = { initContainerStatuses: of(initContainers), containerStatuses: of(containers) };
    if (!dead) await ignoring(404, api.request("PATCH", path, { status: { ...containerStatuses, ...status } }));
  };

  const runOne = async (work: Worked, container: Container): Promise<number> => {
    const { pod, statuses } = work;
    const name = pod.metadata.name;
    const folder = join(dir, name, container.name);
    await mkdir(folder, { recursive: true });
    const wait = async (reason: string, message: string) => {
      statuses.set(container.name, { state: { waiting: { reason, message } } });
      await report(work, { phase: "Pending" });
      await untilEnding(work, 100);
    };
    const executable = images[container.image.replace(/:[^/]*$/, "")];
    while (!work.ending && (kubelet.trouble === "pull" || !executable))
      await wait("ImagePullBackOff", `Back-off pulling image "${container.image}"`);
    while (!work.ending && kubelet.trouble === "idle") await wait("ContainerCreating", "");
    let spec: ContainerSpec | undefined;
    while (!work.ending && !spec) {
      const needs = { api, dir: join(dir, name), storedAt };
      spec = await specOf(needs, pod, container, executable ?? "").catch(() => undefined);
      if (!spec) await wait("CreateContainerConfigError", "secret not found");
    }
    if (!spec || work.ending) return 137;
    const shared = folders.map((path) => ({ path, source: path, readOnly: true }));
    const started = new Date().toISOString();
    work.running = await runContainer(
      { ...spec, env: { ...env, ...spec.env }, mounts: [...spec.mounts, ...shared] },
      folder,
      logPath(name, container.name),
    );
    if (work.ending) work.running.kill();
    statuses.set(container.name, { ready: true, started: true, state: { running: { startedAt: started } } });
    await report(work, { phase: "Running" });
    if (kubelet.trouble === "evict") {
      work.running.kill();
      await work.running.ended;
      return -1;
    }
    const exitCode = await work.running.ended;
    const log = await readFile(logPath(name, container.name), "utf8");
    statuses.set(container.name, {
      state: {
        terminated: {
          exitCode,
          reason: exitCode ? "Error" : "Completed",
          startedAt: started,
          finishedAt: new Date().toISOString(),
          ...(exitCode && { message: log.slice(-2048) }),
        },
      },
    });
    return exitCode;
  };

  const runPod = async (work: Worked): Promise<void> => {
    const { initContainers = [], containers } = work.pod.spec as unknown as PodSpec;
    let code = 0;
    for (const container of [...initContainers, ...containers]) {
      code = await runOne(work, container);
      if (code !== 0) break;
    }
    if (code === -1) {
      const message = "The node was low on resource: ephemeral-storage.";
      await report(work, { phase: "Failed", reason: "Evicted", message });
    } else if (!dead) await report(work, { phase: code === 0 ? "Succeeded" : "Failed" });
    if (work.ending && !dead) await remove(work);
  };

  const remove = ({ pod: { metadata } }: Worked) =>
    ignoring(
      404,
      api.request("DELETE", `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`, {
        gracePeriodSeconds: 0,
      }),
    );

  const stopBeats = poll(beat, 1000);
  const stopLooking = poll(async () => {
    const path = `/api/v1/pods?resourceVersion=0&fieldSelector=spec.nodeName%3D${node}`;
    const { items } = await api.request<{ items: KubeObject[] }>("GET", path);
    for (const pod of items) {
      const uid = String(pod.metadata.uid);
      const known = worked.get(uid);
      if (!known) {
        const work: Worked = { pod, statuses: new Map(), ending: false };
        worked.set(uid, work);
        kubelet.pods.push(pod);
        const running = runPod(work).catch((error) => console.error(error));
        tasks.add(running);
      } else if (pod.metadata.deletionTimestamp && !known.ending) {
        known.ending = true;
        known.running?.kill();
        if (!known.running || ended(pod)) await remove(known);
      }
    }
  }, 100);
  const tasks = new Set<Promise<void>>();

  const die = async () => {
    dead = true;
    await Promise.all([stopBeats(), stopLooking()]);
    for (const work of worked.values()) {
      work.ending = true;
      work.running?.kill(true);
    }
    await server.stop();
    await Promise.all(tasks);
  };
  return Object.assign(kubelet, {
    node,
    isRunning: (name: string) =>
      [...worked.values()].some(({ pod, running }) => pod.metadata.name === name && !!running),
    logs: async () => {
      const texts = kubelet.pods.flatMap(({ metadata, spec }) => {
        const { initContainers = [], containers } = spec as unknown as PodSpec;
        return [...initContainers, ...containers].map(({ name }) =>
          readFile(logPath(metadata.name, name), "utf8").catch(() => ""),
        );
      });
      return (await Promise.all(texts)).join("");
    },
    die,
    [Symbol.asyncDispose]: die,
  });
}

function ended(pod: KubeObject): boolean {
  return ["Succeeded", "Failed"].includes(String((pod.status as { phase?: string }).phase));
}

async function untilEnding(work: Worked, ms: number): Promise<void> {
  if (!work.ending) await new Promise((resolve) => setTimeout(resolve, ms));
}

interface Needs {
  api: Api;
  /** The Pod's. */
  dir: string;
  /** The folder that is the volume of this handle. */
  storedAt: (handle: string) => string;
}

/** What the container needs of the cluster; rejects where that isn't there yet. */
async function specOf(needs: Needs, pod: KubeObject, container: Container, entrypoint: string): Promise<ContainerSpec> {
  const { namespace = "" } = pod.metadata;
  const { volumes = [] } = pod.spec as unknown as PodSpec;
  const { runAsUser = 0, readOnlyRootFilesystem = false, capabilities } = container.securityContext ?? {};
  const env: Record<string, string> = {};
  for (const { name, value, valueFrom } of container.env ?? []) {
    if (valueFrom)
      env[name] =
        (await secretData(needs.api, namespace, valueFrom.secretKeyRef.name))[valueFrom.secretKeyRef.key] ?? "";
    else env[name] = value ?? "";
  }
  const mounts: ContainerSpec["mounts"][number][] = [];
  for (const { name, mountPath, readOnly = false } of container.volumeMounts ?? []) {
    const volume = volumes.find((one) => one.name === name);
    if (!volume) throw new Error(`rig: the Pod has no volume ${name}`);
    mounts.push({ path: mountPath, readOnly, source: await folderOf(needs, namespace, volume) });
  }
  return {
    host: pod.metadata.name,
    entrypoint,
    args: container.args ?? [],
    env,
    mounts,
    user: runAsUser,
    readOnlyRoot: readOnlyRootFilesystem,
    capabilities: capabilities?.add ?? [],
  };
}

async function folderOf({ api, dir, storedAt }: Needs, namespace: string, volume: Volume): Promise<string> {
  const folder = join(dir, "volumes", volume.name);
  if (volume.persistentVolumeClaim) {
    const { claimName } = volume.persistentVolumeClaim;
    const claim = await api.request("GET", `/api/v1/namespaces/${namespace}/persistentvolumeclaims/${claimName}`);
    const { volumeName } = claim.spec as { volumeName: string };
    const { spec } = await api.request("GET", `/api/v1/persistentvolumes/${volumeName}`);
    return storedAt((spec as { csi: { volumeHandle: string } }).csi.volumeHandle);
  }
  await mkdir(folder, { recursive: true, mode: 0o777 });
  await chmod(folder, 0o777);
  if (volume.secret) {
    const data = await secretData(api, namespace, volume.secret.secretName);
    for (const { key, path } of volume.secret.items ?? Object.keys(data).map((key) => ({ key, path: key })))
      await writeFile(join(folder, path), data[key] ?? "");
  }
  return folder;
}

async function secretData(api: Api, namespace: string, name: string): Promise<Record<string, string>> {
  const { data = {} } = await api.request("GET", `/api/v1/namespaces/${namespace}/secrets/${name}`);
  const decode = (value: string) => Buffer.from(value, "base64").toString("utf8");
  return Object.fromEntries(Object.entries(data as Record<string, string>).map(([key, value]) => [key, decode(value)]));
}

/** Where the API server asks for logs: GET /containerLogs/NAMESPACE/POD/CONTAINER?tailLines=N. */
async function startLogs(dir: string, node: string, logPath: (pod: string, container: string) => string) {
  const { cert, key } = await makeCertificate(dir, `kubelet-${node}`, { commonName: node, server: true });
  const server = createServer({ cert, key }, async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "https://kubelet");
    const [, kind, , pod = "", container = ""] = pathname.split("/");
    const text =
      kind === "containerLogs" ? await readFile(logPath(pod, container), "utf8").catch(() => undefined) : undefined;
    if (text === undefined) return response.writeHead(404).end();
    const lines = text.split(/(?<=\n)/);
    const tail = searchParams.get("tailLines");
    response.writeHead(200, { "content-type": "text/plain" }).end(lines.slice(tail ? -Number(tail) : 0).join(""));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function ignoring(status: number, request: Promise<unknown>): Promise<void> {
  await request.catch((error) => {
    if (!(error instanceof ApiError) || error.status !== status) throw error;
  });
}
