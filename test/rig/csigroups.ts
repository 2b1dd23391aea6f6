import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import type { KubeObject } from "./api.ts";
import {
  behaviourFor,
  cutVolume,
  DRIVER,
  type Driver,
  FINALIZERS,
  failure,
  GROUP_MEMBER,
  ignoreRaces,
  knownSnapshot,
  type Live,
  type Look,
  patchStatus,
  type Status,
  setFinalizers,
  snapshotFolder,
  without,
} from "./csidriver.ts";

/** The driver's VolumeGroupSnapshotClass. */
export const DISK_GROUPS = "disk-groups";

const PREFIX = "groupsnapshot.storage.kubernetes.io";
const BOUND = `${PREFIX}/volumegroupsnapshot-bound-protection`;
const CONTENT = `${PREFIX}/volumegroupsnapshotcontent-bound-protection`;
const BEING_DELETED = `${PREFIX}/volumegroupsnapshot-being-deleted`;
const SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1";

/** A VolumeGroupSnapshot or its content. */
interface Group extends KubeObject {
  metadata: Live["metadata"];
  spec: {
    driver: string;
    deletionPolicy: string;
    volumeGroupSnapshotClassName: string;
    volumeGroupSnapshotRef: { namespace: string; name: string; uid?: string };
    source: {
      selector: { matchLabels: Record<string, string> };
      volumeHandles?: string[];
      groupSnapshotHandles?: { volumeGroupSnapshotHandle: string; volumeSnapshotHandles: string[] };
    };
  };
  status?: {
    boundVolumeGroupSnapshotContentName?: string;
    volumeGroupSnapshotHandle?: string | null;
    volumeSnapshotInfoList?: { snapshotHandle: string; volumeHandle: string }[];
    creationTime?: string;
    readyToUse?: boolean;
    error?: Status["error"];
  };
}

/** What a driver does besides that takes snapshots of groups as well (`startCsiDriver`), in this version of their API. */
export function groupSnapshots(version: string): (driver: Driver, look: Look) => Promise<void> {
  let announced = false;
  const root = `/apis/groupsnapshot.storage.k8s.io/${version}`;
  return async (driver, look) => {
    const { api } = driver;
    driver.groups = version;
    if (!announced)
      await api.request("POST", `${root}/volumegroupsnapshotclasses`, {
        apiVersion: `groupsnapshot.storage.k8s.io/${version}`,
        kind: "VolumeGroupSnapshotClass",
        metadata: { name: DISK_GROUPS, labels: { "velero.io/csi-volumegroupsnapshot-class": "true" } },
        driver: DRIVER,
        deletionPolicy: "Delete",
      });
    announced = true;
    const list = async (kind: string) => (await api.request<{ items: Group[] }>("GET", `${root}/${kind}`)).items;
    const [groups, contents] = [await list("volumegroupsnapshots"), await list("volumegroupsnapshotcontents")];
    const at = { driver, look, root, contents };
    for (const group of groups) await syncGroup(at, group).catch(ignoreRaces);
    for (const content of contents) await syncContent(at, content).catch(ignoreRaces);
  };
}

interface At {
  driver: Driver;
  look: Look;
  root: string;
  contents: Group[];
}

/** The snapshot controller. */
async function syncGroup({ driver, look, root, contents }: At, group: Group): Promise<void> {
  const { api } = driver;
  const { metadata, spec, status } = group;
  const { namespace, name, uid } = metadata;
  const path = `${root}/namespaces/${namespace}/volumegroupsnapshots/${name}`;
  const contentName = status?.boundVolumeGroupSnapshotContentName ?? `groupsnapcontent-${uid}`;
  const content = contents.find((one) => one.metadata.name === contentName);
  const contentPath = `${root}/volumegroupsnapshotcontents/${contentName}`;
  if (metadata.deletionTimestamp) {
    const deletes = content?.spec.deletionPolicy === "Delete";
    if (content && !content.metadata.annotations?.[BEING_DELETED])
      await api.request("PATCH", contentPath, { metadata: { annotations: { [BEING_DELETED]: "yes" } } });
    if (deletes && !content.metadata.deletionTimestamp) await api.request("DELETE", contentPath);
    return deletes ? undefined : setFinalizers(api, path, group, without(group, BOUND));
  }
  if (!content) {
    const wanted = Object.entries(spec.source.selector.matchLabels);
    const claims = [...look.claims.values()].filter(
      (claim) =>
        claim.metadata.namespace === namespace &&
        wanted.every(([key, value]) => claim.metadata.labels?.[key] === value),
    );
    return void (await api.request("POST", `${root}/volumegroupsnapshotcontents`, {
      apiVersion: group.apiVersion,
      kind: "VolumeGroupSnapshotContent",
      metadata: { name: contentName, finalizers: [CONTENT] },
      spec: {
        deletionPolicy: "Delete",
        driver: DRIVER,
        volumeGroupSnapshotClassName: spec.volumeGroupSnapshotClassName,
        volumeGroupSnapshotRef: { apiVersion: group.apiVersion, kind: "VolumeGroupSnapshot", namespace, name, uid },
        source: {
          volumeHandles: claims.map((claim) => look.volumes.get(claim.spec.volumeName)?.spec.csi?.volumeHandle),
        },
      },
    }));
  }
  if (!metadata.finalizers?.includes(BOUND))
    await setFinalizers(api, path, group, [...(metadata.finalizers ?? []), BOUND]);
  for (const info of content.status?.volumeSnapshotInfoList ?? [])
    await makeMember({ driver, look }, group, content, info);
  const { creationTime, readyToUse = false, error = null } = content.status ?? {};
  await patchStatus(api, path, status as Status, {
    ...{ boundVolumeGroupSnapshotContentName: contentName, readyToUse, error },
    ...(creationTime && { creationTime }),
  });
}

async function makeMember(
  { driver, look }: Pick<At, "driver" | "look">,
  { apiVersion, metadata: { namespace, name, uid } }: Group,
  content: Group,
  { snapshotHandle, volumeHandle }: { snapshotHandle: string; volumeHandle: string },
): Promise<void> {
  const { api } = driver;
  const id = createHash("sha256")
    .update(uid + volumeHandle)
    .digest("hex");
  const [member, memberContent] = [`snapshot-${id}`, `snapcontent-${id}`];
  if (look.snapshots.has(`${namespace}/${member}`)) return;
  const volume = [...look.volumes.values()].find(({ spec }) => spec.csi?.volumeHandle === volumeHandle);
  const snapshot = await api.request<Live>("POST", `${SNAPSHOTS}/namespaces/${namespace}/volumesnapshots`, {
    apiVersion: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshot",
    metadata: {
      name: member,
      finalizers: [FINALIZERS.group],
      ownerReferences: [{ apiVersion, kind: "VolumeGroupSnapshot", name, uid }],
    },
    spec: { source: { persistentVolumeClaimName: volume?.spec.claimRef?.name } },
  });
  const group = content.status?.volumeGroupSnapshotHandle;
  await api.request("POST", `${SNAPSHOTS}/volumesnapshotcontents`, {
    apiVersion: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshotContent",
    metadata: { name: memberContent, annotations: { [GROUP_MEMBER]: group } },
    spec: {
      deletionPolicy: content.spec.deletionPolicy,
      driver: DRIVER,
      source: { volumeHandle },
      volumeSnapshotRef: { kind: "VolumeSnapshot", namespace, name: member, uid: snapshot.metadata.uid },
    },
  });
  await api.request("PATCH", `${SNAPSHOTS}/namespaces/${namespace}/volumesnapshots/${member}/status`, {
    status: { boundVolumeSnapshotContentName: memberContent, volumeGroupSnapshotName: name },
  });
  await api.request("PATCH", `${SNAPSHOTS}/volumesnapshotcontents/${memberContent}/status`, {
    status: { snapshotHandle, volumeGroupSnapshotHandle: group },
  });
}

/** csi-snapshotter. */
async function syncContent({ driver, look, root }: At, content: Group): Promise<void> {
  const { api } = driver;
  const { metadata, spec, status } = content;
  const path = `${root}/volumegroupsnapshotcontents/${metadata.name}`;
  const { groupSnapshotHandles, volumeHandles = [] } = spec.source;
  const behaviours = volumeHandles.map((volumeHandle) => behaviourFor(driver, look, { volumeHandle }, undefined));
  if (behaviours.some(({ silent }) => silent)) return;
  const { annotations = {} } = metadata;
  const unbound = groupSnapshotHandles && !spec.volumeGroupSnapshotRef.uid;
  if (metadata.deletionTimestamp && (unbound || annotations[BEING_DELETED])) {
    const members = status?.volumeSnapshotInfoList?.map(({ snapshotHandle }) => snapshotHandle);
    if (spec.deletionPolicy === "Delete" && status?.volumeGroupSnapshotHandle)
      for (const handle of groupSnapshotHandles?.volumeSnapshotHandles ?? members ?? [])
        await rm(snapshotFolder(driver, handle), { recursive: true, force: true });
    return setFinalizers(api, path, content, without(content, CONTENT));
  }
  if (status?.readyToUse) return;
  const broken = behaviours.find(({ failures = 0 }) => failures > 0);
  if (broken)
    return void (await api.request("PATCH", `${path}/status`, {
      status: failure(`Failed to create group snapshot: ${broken.error}`),
    }));
  const group = groupSnapshotHandles?.volumeGroupSnapshotHandle ?? `group-${metadata.uid}`;
  const facts = groupSnapshotHandles
    ? await Promise.all(groupSnapshotHandles.volumeSnapshotHandles.map((handle) => knownSnapshot(driver, handle)))
    : await Promise.all(
        volumeHandles.map((volumeHandle) =>
          cutVolume(driver, look, { name: metadata.name + volumeHandle, volumeHandle, group }),
        ),
      );
  if (facts.some((one) => one?.volumeGroupSnapshotHandle !== group))
    return void (await api.request("PATCH", `${path}/status`, {
      status: failure(`can not find snapshot group ${group}`),
    }));
  await api.request("PATCH", `${path}/status`, {
    status: {
      volumeGroupSnapshotHandle: group,
      creationTime: new Date(Number(facts[0]?.creationTime) / 1e6).toISOString(),
      readyToUse: true,
      error: null,
      ...(volumeHandles.length > 0 && {
        volumeSnapshotInfoList: facts.map((one, index) => ({
          snapshotHandle: one?.snapshotHandle,
          volumeHandle: volumeHandles[index],
          readyToUse: true,
        })),
      }),
    },
  });
}
