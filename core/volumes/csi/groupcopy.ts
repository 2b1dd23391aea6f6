import { pause } from "../../abort.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { LifeboatError } from "../../errors.ts";
import { listObjects, type NamespacedName, patchObject, placeOf } from "../../kube/object.ts";
import { resourceApiVersion } from "../../kube/resource.ts";
import { at } from "../../objects/fields.ts";
import { CLAIM, type ClaimedVolume, type Copied, type Discard, type VolumeCopy } from "../volume.ts";
import { chooseGroupClass, groupApi, groupKinds, NO_GROUPS, type VolumeGroup, volumeGroups } from "./groups.ts";
import { SNAPSHOTS, type SnapshotKinds } from "./kinds.ts";
import { membersOf, removeGroup } from "./removal.ts";
import { type CsiRun, lookingAt } from "./run.ts";
import { asked, copiedOf, cutSnapshot, generatedName, readySnapshot, type SnapshotMember, underWay } from "./taking.ts";

/** Claims of one namespace and one driver that are copied at one moment. */
export interface ClaimGroup {
  claims: KubernetesObject[];
  /** The label that they share (`volumeGroupSnapshotLabelKey`), and its value. */
  label: { key: string; value: string };
  /** The VolumeGroupSnapshotClass. */
  className: string;
  /** Of the API (`groupApi`). */
  version: string;
}

/**
 * Of volumes that are to be copied by CSI, those of one group together, once the first of them is asked for: what is given has the
 * copy of one, and undefined for one that is in no group. `key`: the label. What keeps a group from being copied is thrown for each
 * of its volumes.
 */
export function groupCopies(
  run: CsiRun,
  volumes: ClaimedVolume[],
  { key, backupAnnotations }: { key: string; backupAnnotations?: Record<string, string> },
): (one: ClaimedVolume) => Promise<VolumeCopy> | undefined {
  const begun = new Map<VolumeGroup, Promise<VolumeCopy[]>>();
  const groups = new Map(volumeGroups(volumes, key).flatMap((group) => group.volumes.map((one) => [one, group])));
  let serving: ReturnType<typeof groupApi> | undefined;

  async function begin(group: VolumeGroup): Promise<VolumeCopy[]> {
    const { driver, label } = group;
    const refused = (reason: string) =>
      new LifeboatError("invalid", `it is of the group ${label.key}=${label.value}, and ${reason}`);
    if (typeof driver !== "string") throw refused(driver.reason);
    serving ??= groupApi(run.kube, run.signal);
    const api = await serving;
    if (!api) throw refused(NO_GROUPS);
    const claims = group.volumes.map(({ claim }) => claim);
    const chosen = chooseGroupClass({ driver, claim: claims[0]!, backupAnnotations }, api.classes);
    if ("reason" in chosen) throw refused(chosen.reason);
    return copyGroupByCsi(run, { claims, label, className: chosen.name, version: api.version });
  }

  return (one) => {
    const group = groups.get(one);
    if (!group) return undefined;
    const copies = begun.get(group) ?? begin(group);
    begun.set(group, copies);
    return copies.then((all) => all[group.volumes.indexOf(one)]!);
  };
}

/**
 * Copies the volumes of claims at one moment, by a VolumeGroupSnapshot, as Velero does; a copy for each, in their order. They
 * succeed or fail together, and so they are discarded and deleted: drivers know no other way.
 */
export function copyGroupByCsi(run: CsiRun, group: ClaimGroup): VolumeCopy[] {
  const { done: all, ...copy } = underWay(run, (telling, cut) => copyGroup(telling, group, cut));
  return group.claims.map((_, index) => {
    const done = all.then((copies) => copies[index]!);
    done.catch(() => {});
    return { ...copy, done };
  });
}

async function copyGroup(run: CsiRun, group: ClaimGroup, cut: () => void): Promise<Copied[]> {
  const { kube } = run;
  const kinds = groupKinds(group.version);
  const groups: CsiRun = { ...run, ...lookingAt(kube, run.labels, run, kinds) };
  await throwIfOthers(run, group);
  const wanted = groupSnapshotOf(run, group, kinds);
  const place = { namespace: wanted.metadata.namespace, name: wanted.metadata.name };
  const discard = discarding(run, groups, place);
  return asked(run, { kind: kinds.snapshot, wanted, discard }, async (created) => {
    const deadline = performance.now() + run.timeoutMs;
    await cutSnapshot(groups, { place }, deadline);
    const members = await labelledMembers(run, created, group, deadline);
    await Promise.all(members.map((member) => cutSnapshot(run, member, deadline)));
    cut();
    const readyBy = performance.now() + run.readyTimeoutMs;
    const taken = await Promise.all(members.map((member) => readySnapshot(run, member, readyBy)));
    return taken.map((one) => copiedOf({ ...one, snapshot: alone(one.snapshot) }, discard));
  });
}

/** For all members alike, and once. Of their copies it keeps no more than the place: it is kept until the run's end. */
function discarding(run: CsiRun, groups: CsiRun, place: NamespacedName): Discard {
  let discarded: Promise<void> | undefined;
  return (signal) => {
    discarded ??= removeGroup(run, groups, place, signal);
    return discarded;
  };
}

/** A group's selector takes all claims that have the label: those of which no copy is wanted must not have it. */
async function throwIfOthers({ kube, signal }: CsiRun, { claims, label }: ClaimGroup): Promise<void> {
  const wanted = new Set(claims.map(({ metadata }) => metadata.uid));
  const selected = { namespace: claims[0]!.metadata.namespace, labelSelector: `${label.key}=${label.value}`, signal };
  for await (const { metadata } of listObjects(kube, CLAIM, selected))
    if (!wanted.has(metadata.uid))
      throw new LifeboatError(
        "invalid",
        `the claim ${placeOf(metadata)} belongs to the group ${label.key}=${label.value} too, but no snapshot of it is to be made`,
        { hint: "take the label from it, or let it be backed up by a snapshot as well" },
      );
}

function groupSnapshotOf(
  { labels }: CsiRun,
  { claims, label, className }: ClaimGroup,
  { snapshot }: SnapshotKinds,
): KubernetesObject {
  return {
    apiVersion: resourceApiVersion(snapshot),
    kind: snapshot.kind,
    metadata: {
      namespace: claims[0]!.metadata.namespace,
      name: generatedName(`velero-${label.value.toLowerCase().replace(/[^a-z0-9.-]/g, "-")}`),
      labels: { ...labels, [label.key]: label.value },
    },
    spec: {
      volumeGroupSnapshotClassName: className,
      source: { selector: { matchLabels: { [label.key]: label.value } } },
    },
  };
}

/** Waits until each claim of a group has its VolumeSnapshot, and labels them so that they are found. */
async function labelledMembers(
  run: CsiRun,
  created: KubernetesObject,
  { claims }: ClaimGroup,
  deadline: number,
): Promise<SnapshotMember[]> {
  const { kube, labels, signal } = run;
  for (;;) {
    const found = new Map((await membersOf(kube, created, signal)).map((one) => [claimOf(one), one.metadata]));
    const missing = claims.find(({ metadata }) => !found.has(metadata.name));
    if (!missing) {
      const members = claims.map((claim) => ({ claim, place: found.get(claim.metadata.name)! }));
      for (const member of members) await patchObject(kube, SNAPSHOTS, member.place, { metadata: { labels } }, signal);
      return members;
    }
    if (performance.now() > deadline)
      throw new LifeboatError(
        "timeout",
        `the VolumeGroupSnapshot ${placeOf(created.metadata)} has no snapshot of the claim ${placeOf(missing.metadata)} in time`,
      );
    await pause(run.pollMs, signal);
  }
}

function claimOf(snapshot: KubernetesObject): unknown {
  return at(snapshot, "spec", "source", "persistentVolumeClaimName");
}

const IN_GROUP = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection";

/** A member as it is stored: nobody will know its group's object. */
function alone(snapshot: KubernetesObject): KubernetesObject {
  const { ownerReferences: _, finalizers = [], ...metadata } = snapshot.metadata;
  return { ...snapshot, metadata: { ...metadata, finalizers: finalizers.filter((one) => one !== IN_GROUP) } };
}
