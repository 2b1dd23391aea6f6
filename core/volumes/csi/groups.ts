import type { KubernetesObject } from "../../archive/item.ts";
import { expectOk, type Kube } from "../../kube/client.ts";
import { type Kind, listObjects } from "../../kube/object.ts";
import { at, entriesOf } from "../../objects/fields.ts";
import type { ClaimedVolume } from "../volume.ts";
import type { SnapshotKinds } from "./kinds.ts";

const GROUP = "groupsnapshot.storage.k8s.io";
const PREFIX = "groupsnapshot.storage.kubernetes.io";
/** Of which it is known how their objects are written; the best first. */
const VERSIONS = ["v1", "v1beta2", "v1beta1"];

/** Why there is no group snapshot where the API isn't served. */
export const NO_GROUPS = `the cluster serves none of ${VERSIONS.map((version) => `${GROUP}/${version}`).join(", ")}`;

/** The version in which a cluster serves group snapshots; undefined where it doesn't. Throws as `getObject`. */
export async function groupVersion(kube: Kube, signal: AbortSignal): Promise<string | undefined> {
  const response = await kube.request({ path: `/apis/${GROUP}`, signal });
  if (response.status === 404) return undefined;
  const { body } = expectOk(response, `tell what it serves at /apis/${GROUP}`);
  const served = entriesOf(JSON.parse(body.toString("utf8")), "versions").map(({ version }) => version);
  return VERSIONS.find((version) => served.includes(version));
}

function kindOf(version: string, kind: string): Kind {
  const singular = kind.toLowerCase();
  return { group: GROUP, version, name: singular.endsWith("s") ? `${singular}es` : `${singular}s`, kind };
}

/** The snapshots of groups, in one version of their API. */
export function groupKinds(version: string): SnapshotKinds {
  return {
    snapshot: kindOf(version, "VolumeGroupSnapshot"),
    content: kindOf(version, "VolumeGroupSnapshotContent"),
    bound: "boundVolumeGroupSnapshotContentName",
    generated: "groupsnapcontent",
    handle: "volumeGroupSnapshotHandle",
    finalizer: `${PREFIX}/volumegroupsnapshotcontent-bound-protection`,
    beingDeleted: `${PREFIX}/volumegroupsnapshot-being-deleted`,
  };
}

/** Group snapshots as a cluster serves them. */
export interface GroupApi {
  version: string;
  /** Its VolumeGroupSnapshotClasses. */
  classes: KubernetesObject[];
}

/** Undefined where a cluster doesn't serve group snapshots. Throws as `listPages`. */
export async function groupApi(kube: Kube, signal: AbortSignal): Promise<GroupApi | undefined> {
  const version = await groupVersion(kube, signal);
  if (!version) return undefined;
  const classes: KubernetesObject[] = [];
  for await (const one of listObjects(kube, kindOf(version, "VolumeGroupSnapshotClass"), { signal })) classes.push(one);
  return { version, classes };
}

/** Velero's label of claims that are copied at one moment, where a backup names no other. */
export const VOLUME_GROUP = "velero.io/volume-group";

/** Volumes that are to be copied at one moment, or why they can't be. */
export interface VolumeGroup {
  label: { key: string; value: string };
  volumes: ClaimedVolume[];
  /** Theirs; a reason in its place where they have several. */
  driver: string | { reason: string };
}

/**
 * The groups among volumes that are copied by CSI: claims of one namespace that share a value of the label
 * (`volumeGroupSnapshotLabelKey`), be it one alone. In no group are those without the label.
 */
export function volumeGroups(volumes: ClaimedVolume[], key: string): VolumeGroup[] {
  const groupOf = ({ claim }: ClaimedVolume) => claim.metadata.labels?.[key];
  const labelled = volumes.filter(groupOf);
  const together = Map.groupBy(labelled, (one) => `${one.claim.metadata.namespace}/${groupOf(one)}`);
  return [...together.values()].map((members) => {
    const drivers = [...new Set(members.map(({ volume }) => String(at(volume, "spec", "csi", "driver"))))];
    const label = { key, value: groupOf(members[0]!)! };
    const several = `the claims with ${key}=${label.value} have several CSI drivers: ${drivers.join(", ")}`;
    return {
      label,
      volumes: members,
      driver: drivers.length === 1 ? drivers[0]! : { reason: several },
    };
  });
}

const OF_CLAIM = "velero.io/csi-volume-group-snapshot-class";
const OF_BACKUP = "velero.io/csi-volumegroupsnapshot-class";

/**
 * Chooses the class of a group's snapshot as Velero does (velero pkg/backup/actions/csi/pvc_action.go): the first claim's
 * annotation, the backup's for this driver, else the driver's only class with the label of the value "true". A class that
 * is named and isn't there, or of another driver, is a reason as well: Velero would wait for its snapshot in vain.
 */
export function chooseGroupClass(
  {
    driver,
    claim,
    backupAnnotations = {},
  }: { driver: string; claim: KubernetesObject; backupAnnotations?: Record<string, string> },
  classes: KubernetesObject[],
): { name: string } | { reason: string } {
  const own = classes.filter((one) => at(one, "driver") === driver);
  const named = claim.metadata.annotations?.[OF_CLAIM] || backupAnnotations[`${OF_BACKUP}_${driver}`];
  if (named)
    return own.some(({ metadata }) => metadata.name === named)
      ? { name: named }
      : { reason: `the driver ${driver} has no VolumeGroupSnapshotClass "${named}", which an annotation names` };
  const labelled = own.filter(({ metadata }) => metadata.labels?.[OF_BACKUP] === "true");
  if (labelled.length === 1) return { name: labelled[0]!.metadata.name };
  const count = labelled.length === 0 ? "no VolumeGroupSnapshotClass" : `${labelled.length} VolumeGroupSnapshotClasses`;
  return { reason: `the driver ${driver} has ${count} with the label ${OF_BACKUP}=true` };
}
