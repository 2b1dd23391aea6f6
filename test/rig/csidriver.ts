import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { type Api, ApiError, type KubeObject } from "./api.ts";
import type { Cluster } from "./cluster.ts";
import { until } from "./process.ts";

const execute = promisify(execFile);

export const DRIVER = "disk.csi.example.com";
/** Its StorageClasses, of which the second waits for a Pod, and the third keeps volumes; and its VolumeSnapshotClass. */
export const DISK = "disk";
export const LATE_DISK = "disk-late";
export const KEPT_DISK = "disk-kept";
export const DISK_SNAPSHOTS = "disk-snapshots";
/** Its volumes are a multiple of this, whatever is asked for. */
export const EXTENT = 2 ** 30;

/** What the driver does about the snapshot of a claim, or about one that it is asked for by handle. */
export interface Behaviour {
  /** It takes so many looks after it is cut until it is ready. */
  slow?: number;
  /** So many attempts fail, with this error. */
  failures?: number;
  error?: string;
  /** It doesn't answer. */
  silent?: boolean;
  /** It makes no volume of the snapshot, for this reason. */
  barren?: string;
}

/** A CSI driver with all that stands around one, on one cluster. */
export interface CsiDriver extends AsyncDisposable {
  /** By the name of a claim or a snapshot's handle. May be changed at any time. */
  behaviours: Map<string, Behaviour>;
  /** The folder that is a claim's volume, once it has one. */
  folder(namespace: string, claim: string): Promise<string>;
  /** The handles of the snapshots that the storage holds, whichever cluster made them. */
  stored(): Promise<string[]>;
  /** The handles of its volumes, likewise. */
  volumes(): Promise<string[]>;
}

/** One look at all that the driver and its controllers watch. */
export interface Look {
  claims: Map<string, Live>;
  volumes: Map<string, Live>;
  pods: Live[];
  snapshots: Map<string, Live>;
  contents: Map<string, Live>;
}

/** An object of any of the kinds that the driver knows; of `spec`, what its kind has. */
export interface Live extends KubeObject {
  metadata: KubeObject["metadata"] & {
    uid: string;
    resourceVersion: string;
    deletionTimestamp?: string;
    finalizers?: string[];
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  spec: {
    storageClassName: string;
    volumeName: string;
    volumeMode: string;
    accessModes: string[];
    resources: { requests: { storage: string } };
    dataSource?: { name: string };
    volumes?: { persistentVolumeClaim?: { claimName: string } }[];
    csi?: { driver: string; volumeHandle: string };
    claimRef?: { name: string; uid?: string };
    persistentVolumeReclaimPolicy: string;
    capacity: { storage: string };
    driver: string;
    deletionPolicy: string;
    source: Source;
    volumeSnapshotClassName: string;
    volumeSnapshotRef: { namespace: string; name: string; uid?: string };
  };
  status?: Status;
}

interface Source {
  persistentVolumeClaimName?: string;
  volumeSnapshotContentName?: string;
  volumeHandle?: string;
  snapshotHandle?: string;
}

/** What is read of statuses. */
export interface Status {
  phase?: string;
  boundVolumeSnapshotContentName?: string;
  snapshotHandle?: string | null;
  volumeGroupSnapshotHandle?: string | null;
  volumeGroupSnapshotName?: string;
  creationTime?: number | string;
  restoreSize?: number | string;
  readyToUse?: boolean | null;
  error?: { message: string; time: string } | null;
}

/** A driver at work. */
export interface Driver {
  api: Api;
  storage: string;
  behaviours: Map<string, Behaviour>;
  attempts: Map<string, number>;
  looks: Map<string, number>;
  /** The version of group snapshots; "" where the cluster knows none. */
  groups: string;
}

const SNAPSHOT_GROUP = "snapshot.storage.k8s.io";
const API = `/apis/${SNAPSHOT_GROUP}/v1`;
const PREFIX = "snapshot.storage.kubernetes.io";
/** By which the snapshot controller holds what is in use. */
export const FINALIZERS = {
  source: `${PREFIX}/volumesnapshot-as-source-protection`,
  bound: `${PREFIX}/volumesnapshot-bound-protection`,
  content: `${PREFIX}/volumesnapshotcontent-bound-protection`,
  claim: `${PREFIX}/pvc-as-source-protection`,
  group: `${PREFIX}/volumesnapshot-in-group-protection`,
};
const BEING_CREATED = `${PREFIX}/volumesnapshot-being-created`;
const BEING_DELETED = `${PREFIX}/volumesnapshot-being-deleted`;
/** Of a content that its group's controller made: the driver has cut its snapshot already. */
export const GROUP_MEMBER = "groupsnapshot.storage.kubernetes.io/volumeGroupSnapshotHandle";
const LOOK_MS = 40;

/**
 * Plays what a CSI driver with snapshots is in a cluster, by the rules of the real ones: external-provisioner, the snapshot controller
 * and csi-snapshotter, with their finalizers, annotations and errors; and, in a cluster without controllers, what binds claims to
 * volumes. `storage` is the storage: a folder for each volume and snapshot, which clusters may share. The cluster knows snapshots
 * already (`installSnapshots`). `also` is what it does besides at each look.
 */
export async function startCsiDriver(
  { api }: Cluster,
  storage: string,
  also: (driver: Driver, look: Look) => Promise<void> = async () => {},
): Promise<CsiDriver> {
  for (const part of ["volumes", "snapshots"]) await mkdir(join(storage, part), { recursive: true });
  for (const [path, object] of announced()) await api.request("POST", path, object);
  const driver: Driver = { api, storage, behaviours: new Map(), attempts: new Map(), looks: new Map(), groups: "" };
  let running = true;
  const loop = (async () => {
    for (; running; await sleep(LOOK_MS)) {
      try {
        await also(driver, await lookOnce(driver));
      } catch (error) {
        if (running && !(error instanceof ApiError)) throw error;
      }
    }
  })();
  return {
    behaviours: driver.behaviours,
    async folder(namespace, claim) {
      const volume = await until(`the volume of ${claim}`, async () => {
        const { spec, status } = await api.request<Live>(
          "GET",
          `/api/v1/namespaces/${namespace}/persistentvolumeclaims/${claim}`,
        );
        return status?.phase === "Bound" && api.request<Live>("GET", `/api/v1/persistentvolumes/${spec.volumeName}`);
      });
      return join(storage, "volumes", volume.spec.csi?.volumeHandle ?? "");
    },
    stored: () => readdir(join(storage, "snapshots")),
    volumes: () => readdir(join(storage, "volumes")),
    async [Symbol.asyncDispose]() {
      running = false;
      await loop;
    },
  };
}

function announced(): [path: string, object: object][] {
  const storageClass = (name: string, volumeBindingMode: string, reclaimPolicy = "Delete"): [string, object] => [
    "/apis/storage.k8s.io/v1/storageclasses",
    { metadata: { name }, provisioner: DRIVER, volumeBindingMode, reclaimPolicy },
  ];
  return [
    ["/apis/storage.k8s.io/v1/csidrivers", { metadata: { name: DRIVER }, spec: { attachRequired: false } }],
    storageClass(DISK, "Immediate"),
    storageClass(LATE_DISK, "WaitForFirstConsumer"),
    storageClass(KEPT_DISK, "Immediate", "Retain"),
    [
      `${API}/volumesnapshotclasses`,
      {
        apiVersion: `${SNAPSHOT_GROUP}/v1`,
        kind: "VolumeSnapshotClass",
        metadata: { name: DISK_SNAPSHOTS },
        driver: DRIVER,
        deletionPolicy: "Delete",
      },
    ],
  ];
}

async function lookOnce(driver: Driver): Promise<Look> {
  const list = async (path: string) => {
    const { items } = await driver.api.request<{ items: Live[] }>("GET", path);
    return new Map(items.map((item) => [keyOf(item.metadata), item]));
  };
  const look: Look = {
    claims: await list("/api/v1/persistentvolumeclaims"),
    volumes: await list("/api/v1/persistentvolumes"),
    pods: [...(await list("/api/v1/pods")).values()],
    snapshots: await list(`${API}/volumesnapshots`),
    contents: await list(`${API}/volumesnapshotcontents`),
  };
  const each = async (
    objects: Map<string, Live>,
    sync: (driver: Driver, look: Look, object: Live) => Promise<void>,
  ) => {
    for (const object of objects.values()) await sync(driver, look, object).catch(ignoreRaces);
  };
  await each(look.claims, syncClaim);
  await each(look.volumes, syncVolume);
  await each(look.snapshots, syncSnapshot);
  await each(look.contents, syncContent);
  return look;
}

/** What has changed since the look is seen at the next one. */
export function ignoreRaces(error: unknown): void {
  if (!(error instanceof ApiError && [404, 409, 422].includes(error.status))) throw error;
}

/** external-provisioner, and the controllers of claims and volumes. */
async function syncClaim(driver: Driver, look: Look, claim: Live): Promise<void> {
  const { api } = driver;
  const { metadata, spec, status } = claim;
  const path = `/api/v1/namespaces/${metadata.namespace}/persistentvolumeclaims/${metadata.name}`;
  const used = look.pods.some(
    (pod) =>
      pod.metadata.namespace === metadata.namespace &&
      (pod.spec.volumes ?? []).some((volume) => volume.persistentVolumeClaim?.claimName === metadata.name),
  );
  if (metadata.deletionTimestamp)
    return used ? undefined : setFinalizers(api, path, claim, without(claim, "kubernetes.io/pvc-protection"));
  if (status?.phase === "Bound" || ![DISK, LATE_DISK, KEPT_DISK].includes(spec.storageClassName)) return;
  if (spec.storageClassName === LATE_DISK && !used) return;
  const asked = bytesOf(spec.resources.requests.storage);
  const handle = `vol-${metadata.uid}`;
  const folder = join(driver.storage, "volumes", handle);
  if (spec.dataSource) {
    const snapshot = look.snapshots.get(`${metadata.namespace}/${spec.dataSource.name}`);
    const content = look.contents.get(snapshot?.status?.boundVolumeSnapshotContentName ?? "");
    if (!snapshot?.status?.readyToUse || !content?.status || asked < Number(content.status.restoreSize)) return;
    const { barren } = behaviourFor(driver, look, content.spec.source, content.status.snapshotHandle);
    if (barren !== undefined) return provisioningFailed(driver, claim, barren);
    await copy(join(snapshotFolder(driver, content.status.snapshotHandle ?? ""), "data"), folder);
  } else {
    await mkdir(folder, { recursive: true });
  }
  const volume = `pvc-${metadata.uid}`;
  const capacity = { storage: String(Math.ceil(asked / EXTENT) * EXTENT) };
  if (!look.volumes.has(volume))
    await api.request("POST", "/api/v1/persistentvolumes", {
      metadata: { name: volume, annotations: { "pv.kubernetes.io/provisioned-by": DRIVER } },
      spec: {
        capacity,
        accessModes: spec.accessModes,
        persistentVolumeReclaimPolicy: spec.storageClassName === KEPT_DISK ? "Retain" : "Delete",
        storageClassName: spec.storageClassName,
        volumeMode: spec.volumeMode,
        csi: { driver: DRIVER, volumeHandle: handle },
        claimRef: {
          apiVersion: "v1",
          kind: "PersistentVolumeClaim",
          namespace: metadata.namespace,
          name: metadata.name,
          uid: metadata.uid,
        },
      },
    });
  await api.request("PATCH", path, {
    metadata: { annotations: { "pv.kubernetes.io/bind-completed": "yes" } },
    spec: { volumeName: volume },
  });
  await api.request("PATCH", `${path}/status`, { status: { phase: "Bound", capacity, accessModes: spec.accessModes } });
  await api.request("PATCH", `/api/v1/persistentvolumes/${volume}/status`, { status: { phase: "Bound" } });
}

async function provisioningFailed(driver: Driver, { metadata }: Live, message: string): Promise<void> {
  const key = `${metadata.uid} provisioning`;
  if (driver.attempts.has(key)) return;
  driver.attempts.set(key, 1);
  const { namespace, name, uid } = metadata;
  await driver.api.request("POST", `/api/v1/namespaces/${namespace}/events`, {
    metadata: { name: `${name}.failed` },
    involvedObject: { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace, name, uid },
    ...{ type: "Warning", reason: "ProvisioningFailed", message: `failed to provision volume: ${message}` },
  });
}

/** external-provisioner and the controllers of volumes, as far as volumes go with their claims. */
async function syncVolume({ api, storage }: Driver, look: Look, volume: Live): Promise<void> {
  const { metadata, spec } = volume;
  const { csi, claimRef, persistentVolumeReclaimPolicy: policy } = spec;
  if (csi?.driver !== DRIVER || policy !== "Delete" || !claimRef?.uid) return;
  if ([...look.claims.values()].some((claim) => claim.metadata.uid === claimRef.uid)) return;
  const path = `/api/v1/persistentvolumes/${metadata.name}`;
  await rm(join(storage, "volumes", csi.volumeHandle), { recursive: true, force: true });
  await api.request("DELETE", path);
  await setFinalizers(api, path, await api.request<Live>("GET", path), []);
}

/** Members of a group stay as long as that does. */
async function inGroup({ api, groups }: Driver, namespace: string | undefined, name: string): Promise<boolean> {
  const path = `/apis/groupsnapshot.storage.k8s.io/${groups}/namespaces/${namespace}/volumegroupsnapshots/${name}`;
  try {
    await api.request("GET", path);
    return true;
  } catch (error) {
    ignoreRaces(error);
    return false;
  }
}

/** The snapshot controller, as far as it concerns VolumeSnapshots. */
async function syncSnapshot(driver: Driver, look: Look, snapshot: Live): Promise<void> {
  const { api } = driver;
  const { metadata, spec, status } = snapshot;
  const path = `${API}/namespaces/${metadata.namespace}/volumesnapshots/${metadata.name}`;
  const source = spec.source.persistentVolumeClaimName;
  const content = look.contents.get(
    status?.boundVolumeSnapshotContentName ?? spec.source.volumeSnapshotContentName ?? `snapcontent-${metadata.uid}`,
  );
  const claim = look.claims.get(`${metadata.namespace}/${source}`);
  if (claim && (metadata.deletionTimestamp || status?.readyToUse)) await protect(api, look, claim, false, snapshot);
  if (metadata.deletionTimestamp) return deleteSnapshot(driver, look, snapshot, content);
  const finalizers = [FINALIZERS.source, ...(content?.spec.deletionPolicy === "Delete" ? [FINALIZERS.bound] : [])];
  const missing = finalizers.filter((one) => !metadata.finalizers?.includes(one));
  if (missing.length > 0) await setFinalizers(api, path, snapshot, [...(metadata.finalizers ?? []), ...missing]);
  const fail = (message: string) => api.request("PATCH", `${path}/status`, { status: failure(message) });
  if (content) {
    const { uid, namespace, name } = content.spec.volumeSnapshotRef;
    if (`${namespace}/${name}` !== keyOf(metadata) || (uid && uid !== metadata.uid))
      return void (await fail(`VolumeSnapshotContent [${content.metadata.name}] is bound to a different snapshot`));
    if (!uid)
      await api.request("PATCH", contentPath(content), {
        spec: { volumeSnapshotRef: { ...content.spec.volumeSnapshotRef, uid: metadata.uid } },
      });
    await patchStatus(api, path, status, statusFrom(content));
  } else if (!source) await fail("VolumeSnapshotContent is missing");
  else if (!claim || claim.metadata.deletionTimestamp)
    await fail(
      "Failed to create snapshot content with error snapshot controller failed to update: cannot get claim from snapshot",
    );
  else {
    await protect(api, look, claim, true, snapshot);
    await createContent(api, look, snapshot, claim);
  }
}

async function deleteSnapshot(driver: Driver, look: Look, snapshot: Live, content: Live | undefined): Promise<void> {
  const { api } = driver;
  const { metadata } = snapshot;
  const path = `${API}/namespaces/${metadata.namespace}/volumesnapshots/${metadata.name}`;
  const own = content?.spec.volumeSnapshotRef.uid === metadata.uid ? content : undefined;
  const waiting = [...look.claims.values()].some(
    ({ metadata: { namespace }, spec, status }) =>
      namespace === metadata.namespace && spec.dataSource?.name === metadata.name && status?.phase === "Pending",
  );
  if (own && waiting) return;
  const group = snapshot.status?.volumeGroupSnapshotName;
  if (group && (await inGroup(driver, metadata.namespace, group))) return;
  const deletes = own?.spec.deletionPolicy === "Delete";
  if (own && !own.metadata.annotations?.[BEING_DELETED])
    await api.request("PATCH", contentPath(own), { metadata: { annotations: { [BEING_DELETED]: "yes" } } });
  if (own && deletes && !own.metadata.deletionTimestamp) await api.request("DELETE", contentPath(own));
  await setFinalizers(
    api,
    path,
    snapshot,
    without(snapshot, FINALIZERS.source, FINALIZERS.group, ...(deletes ? [] : [FINALIZERS.bound])),
  );
}

async function createContent(api: Api, look: Look, { metadata, spec }: Live, claim: Live): Promise<void> {
  const volume = look.volumes.get(claim.spec.volumeName);
  await api.request("POST", `${API}/volumesnapshotcontents`, {
    apiVersion: `${SNAPSHOT_GROUP}/v1`,
    kind: "VolumeSnapshotContent",
    metadata: { name: `snapcontent-${metadata.uid}` },
    spec: {
      deletionPolicy: "Delete",
      driver: DRIVER,
      source: { volumeHandle: volume?.spec.csi?.volumeHandle },
      sourceVolumeMode: claim.spec.volumeMode,
      volumeSnapshotClassName: spec.volumeSnapshotClassName,
      volumeSnapshotRef: {
        apiVersion: `${SNAPSHOT_GROUP}/v1`,
        kind: "VolumeSnapshot",
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
      },
    },
  });
}

/** csi-snapshotter, and the snapshot controller as far as it concerns contents. */
async function syncContent(driver: Driver, look: Look, content: Live): Promise<void> {
  const { api } = driver;
  const { metadata, spec, status } = content;
  const path = contentPath(content);
  const { uid } = spec.volumeSnapshotRef;
  if (uid && !metadata.deletionTimestamp && !metadata.finalizers?.includes(FINALIZERS.content))
    return setFinalizers(api, path, content, [...(metadata.finalizers ?? []), FINALIZERS.content]);
  const handle = spec.source.snapshotHandle ?? status?.snapshotHandle;
  const behaviour = behaviourFor(driver, look, spec.source, handle);
  const { [BEING_CREATED]: creating, [BEING_DELETED]: deleting } = metadata.annotations ?? {};
  const goes = metadata.deletionTimestamp && ((spec.source.snapshotHandle && !uid) || (!creating && deleting));
  if (metadata.annotations?.[GROUP_MEMBER] && !handle) return;
  if (spec.source.volumeHandle && !handle && !goes && !creating)
    return void (await api.request("PATCH", path, { metadata: { annotations: { [BEING_CREATED]: "yes" } } }));
  if (behaviour.silent) return;
  if (goes) {
    if (spec.deletionPolicy === "Delete" && status?.snapshotHandle && !status.volumeGroupSnapshotHandle) {
      await rm(snapshotFolder(driver, status.snapshotHandle), { recursive: true, force: true });
      await api.request("PATCH", `${path}/status`, { status: { snapshotHandle: null, readyToUse: null } });
    }
    return setFinalizers(api, path, await api.request<Live>("GET", path), without(content, FINALIZERS.content));
  }
  if (status?.readyToUse && !creating) return;
  const attempts = driver.attempts.get(metadata.name) ?? 0;
  if (!status?.snapshotHandle && attempts < (behaviour.failures ?? 0)) {
    driver.attempts.set(metadata.name, attempts + 1);
    const message = `Failed to create snapshot: ${behaviour.error ?? "the storage is full"}`;
    await api.request("PATCH", `${path}/status`, { status: failure(message) });
    return void (await api.request("PATCH", path, { metadata: { annotations: { [BEING_CREATED]: null } } }));
  }
  const facts = handle
    ? await knownSnapshot(driver, handle)
    : await cutVolume(driver, look, { name: metadata.name, volumeHandle: spec.source.volumeHandle });
  if (!facts) {
    const message = `Failed to check and update snapshot content: can not find snapshot for snapshotID ${handle}`;
    return void (await api.request("PATCH", `${path}/status`, { status: failure(message) }));
  }
  const looks = (driver.looks.get(metadata.name) ?? 0) + 1;
  driver.looks.set(metadata.name, looks);
  const readyToUse = looks > (behaviour.slow ?? 0);
  await patchStatus(api, path, status, { ...facts, readyToUse, error: null });
  if (creating) await api.request("PATCH", path, { metadata: { annotations: { [BEING_CREATED]: null } } });
}

/** As disks are copied: with links, owners, times and holes. */
async function copy(from: string, to: string): Promise<void> {
  await execute("cp", ["-a", "-T", from, to]);
}

export function behaviourFor(
  { behaviours }: Driver,
  look: Look,
  source: Source,
  handle: string | null | undefined,
): Behaviour {
  const volume = [...look.volumes.values()].find(({ spec }) => spec.csi?.volumeHandle === source.volumeHandle);
  return behaviours.get(volume?.spec.claimRef?.name ?? "") ?? behaviours.get(handle ?? "") ?? {};
}

/** Cuts a snapshot of a volume, once for each name. */
export async function cutVolume(
  driver: Driver,
  look: Look,
  { name, volumeHandle = "", group }: { name: string; volumeHandle: string | undefined; group?: string },
): Promise<Status> {
  const handle = `snap-${createHash("sha256").update(name).digest("hex").slice(0, 12)}`;
  const known = await knownSnapshot(driver, handle);
  if (known) return known;
  const volume = [...look.volumes.values()].find((one) => one.spec.csi?.volumeHandle === volumeHandle);
  const folder = snapshotFolder(driver, handle);
  await mkdir(folder, { recursive: true });
  await copy(join(driver.storage, "volumes", volumeHandle), join(folder, "data"));
  const facts = {
    snapshotHandle: handle,
    ...(group && { volumeGroupSnapshotHandle: group }),
    creationTime: Date.now() * 1e6,
    restoreSize: bytesOf(volume?.spec.capacity.storage ?? "0"),
  };
  await writeFile(join(folder, "facts.json"), JSON.stringify(facts));
  return facts;
}

/** What the storage knows of a snapshot. */
export async function knownSnapshot(driver: Driver, handle: string): Promise<Status | undefined> {
  const text = await readFile(join(snapshotFolder(driver, handle), "facts.json"), "utf8").catch(() => undefined);
  return text && JSON.parse(text);
}

/** Holds a claim while a snapshot of it is made, or lets it go where no other one is. */
async function protect(api: Api, look: Look, claim: Live, held: boolean, snapshot: Live): Promise<void> {
  const { namespace, name, finalizers = [] } = claim.metadata;
  const others = [...look.snapshots.values()].some(
    (one) =>
      one.metadata.uid !== snapshot.metadata.uid &&
      one.metadata.namespace === namespace &&
      one.spec.source.persistentVolumeClaimName === name &&
      !one.status?.readyToUse,
  );
  if (finalizers.includes(FINALIZERS.claim) === (held || others)) return;
  const wanted = held ? [...finalizers, FINALIZERS.claim] : without(claim, FINALIZERS.claim);
  await setFinalizers(api, `/api/v1/namespaces/${namespace}/persistentvolumeclaims/${name}`, claim, wanted);
}

/** A VolumeSnapshot's status, of its content's. */
function statusFrom({ metadata, status = {} }: Live): Status {
  const { creationTime, restoreSize, readyToUse, error } = status;
  return {
    boundVolumeSnapshotContentName: metadata.name,
    readyToUse: readyToUse ?? false,
    error: error ?? null,
    ...(creationTime && { creationTime: new Date(Number(creationTime) / 1e6).toISOString() }),
    ...(restoreSize && { restoreSize: `${Number(restoreSize) / 2 ** 20}Mi` }),
  };
}

export function failure(message: string): Status {
  return { readyToUse: false, error: { message, time: new Date().toISOString() } };
}

export async function patchStatus(api: Api, path: string, old: Status = {}, status: Status): Promise<void> {
  const known = new Map<string, unknown>(Object.entries(old));
  const changed = Object.entries(status).some(
    ([key, value]) => JSON.stringify(known.get(key) ?? null) !== JSON.stringify(value),
  );
  if (changed) await api.request("PATCH", `${path}/status`, { status });
}

export async function setFinalizers(
  api: Api,
  path: string,
  { metadata }: Pick<Live, "metadata">,
  finalizers: string[],
): Promise<void> {
  if (finalizers.length === (metadata.finalizers ?? []).length) return;
  await api.request("PATCH", path, { metadata: { resourceVersion: metadata.resourceVersion, finalizers } });
}

export function without({ metadata }: Pick<Live, "metadata">, ...gone: string[]): string[] {
  return (metadata.finalizers ?? []).filter((one) => !gone.includes(one));
}

function keyOf({ namespace, name }: KubeObject["metadata"]): string {
  return namespace ? `${namespace}/${name}` : name;
}

function contentPath({ metadata }: Live): string {
  return `${API}/volumesnapshotcontents/${metadata.name}`;
}

export function snapshotFolder({ storage }: Driver, handle: string): string {
  return join(storage, "snapshots", handle);
}

function bytesOf(quantity: string): number {
  const [, value, unit = ""] = /^(\d+)(\w*)$/.exec(quantity) ?? [];
  return Number(value) * ({ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 }[unit] ?? 1);
}
