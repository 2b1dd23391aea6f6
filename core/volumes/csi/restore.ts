import { sha256 } from "../../archive/gzip.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError, LifeboatError } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { createObject, getObject, type Kind, type NamespacedName } from "../../kube/object.ts";
import { EXCLUDE_LABEL, labelValue, RESTORE_NAME, VOLUME_COPY } from "../../labels.ts";
import { at } from "../../objects/fields.ts";
import { awaitSnapshot } from "./awaiting.ts";
import { type SnapshotClass, snapshotClasses } from "./classes.ts";
import { CONTENTS, SNAPSHOT_API, SNAPSHOTS } from "./kinds.ts";
import { deletePair } from "./removal.ts";
import { CSI_RESTORE } from "./restored.ts";
import { type Looking, lookingAt, type Patience, patienceOf } from "./run.ts";
import type { ClaimSource } from "./stored.ts";

/** The CSI snapshots that a restore makes volumes of. */
export interface CsiRestore extends Looking, Required<Patience> {
  restoreName: string;
  signal: AbortSignal;
  /** The target's; asked for once. */
  classes: () => Promise<SnapshotClass[] | undefined>;
}

/** What the claims of one restore have in common that are made of snapshots. */
export function csiRestore(kube: Kube, options: { restoreName: string; signal: AbortSignal } & Patience): CsiRestore {
  const labels = {
    [RESTORE_NAME]: labelValue(options.restoreName),
    [EXCLUDE_LABEL]: "true",
    [VOLUME_COPY]: CSI_RESTORE,
  };
  let asked: Promise<SnapshotClass[] | undefined> | undefined;
  const classes = () => {
    asked ??= snapshotClasses(kube, options.signal);
    return asked;
  };
  return { ...lookingAt(kube, labels, options), ...options, ...patienceOf(options), classes };
}

/** A snapshot in the storage, as a backup knows it. */
export interface SnapshotSource {
  driver: string;
  snapshotHandle: string;
  /** The name of its VolumeSnapshot in the backup. */
  snapshotName: string;
  /** Bytes. */
  restoreSize?: number;
}

/** The name that a snapshot has in the target, of the VolumeSnapshot and its content: the same in each run of a restore. */
export function restoredName(restoreName: string, namespace: string, snapshotName: string): string {
  return sha256(Buffer.from(`${restoreName}/${namespace}/${snapshotName}`));
}

/**
 * Makes a snapshot of the storage known in the target, in the namespace of the claim that is made of it, and waits until it
 * can be used: by a content for its handle and a VolumeSnapshot bound to that, as Velero does (velero-format: 6.3). What an
 * earlier run of this restore made is found. Throws `invalid` where the target knows neither snapshots nor the driver, `unreachable` with the driver's
 * error, `timeout`, and what the API server answers; of what it made nothing is then left, unless `signal` aborted.
 */
export async function snapshotForClaim(
  restoring: CsiRestore,
  { claim, from }: { claim: NamespacedName & { namespace: string }; from: SnapshotSource },
): Promise<ClaimSource> {
  const { kube, restoreName, signal } = restoring;
  const { namespace } = claim;
  const chosen = await classInTarget(restoring, from.driver);
  const name = restoredName(restoreName, namespace, from.snapshotName);
  const { snapshot, content } = restoredObjects({ name, namespace }, { labels: restoring.labels, from, chosen });
  try {
    const known = await madeOrFound(kube, CONTENTS, content, signal);
    if (at(known, "spec", "source", "snapshotHandle") !== from.snapshotHandle)
      throw new LifeboatError("conflict", `the VolumeSnapshotContent ${name} is there already, of another snapshot`, {
        hint: "delete it, and restore again",
      });
    const made = await madeOrFound(kube, SNAPSHOTS, snapshot, signal);
    const deadline = performance.now() + restoring.timeoutMs;
    try {
      await awaitSnapshot(restoring, { place: { namespace, name }, stage: "ready", deadline }, signal);
    } catch (error) {
      if (!signal.aborted) await deletePair(restoring, made, signal);
      throw error;
    }
  } catch (error) {
    if (!isLifeboatError(error) || signal.aborted) throw error;
    const what = `the snapshot ${from.snapshotHandle} of the CSI driver ${from.driver} can't be restored`;
    throw new LifeboatError(error.kind, `${what}: ${error.message}`, { hint: error.hint, cause: error });
  }
  const dataSource = { apiGroup: SNAPSHOTS.group, kind: SNAPSHOTS.kind, name };
  return { dataSource, ...(from.restoreSize !== undefined && { restoreSize: from.restoreSize }) };
}

const DRIVERS: Kind = { group: "storage.k8s.io", version: "v1", name: "csidrivers", kind: "CSIDriver" };

/** A class of the driver: some need the secrets that it names. None is needed where the driver is there. */
async function classInTarget({ kube, classes, signal }: CsiRestore, driver: string): Promise<string | undefined> {
  const known = await classes();
  if (!known)
    throw new LifeboatError(
      "invalid",
      `the target doesn't serve ${SNAPSHOT_API}, so a CSI snapshot can't be restored`,
      {
        hint: "install the snapshot controller and its CRDs (kubernetes-csi/external-snapshotter)",
      },
    );
  const own = known.find((one) => one.driver === driver);
  if (!own && !(await getObject(kube, DRIVERS, { name: driver }, signal)))
    throw new LifeboatError(
      "invalid",
      `the target has no CSI driver ${driver}, whose snapshots can't be restored without`,
      {
        hint: "install it, or restore without the volumes' data (restorePVs: false)",
      },
    );
  return own?.name;
}

function restoredObjects(
  { name, namespace }: { name: string; namespace: string },
  { labels, from, chosen }: { labels: Record<string, string>; from: SnapshotSource; chosen: string | undefined },
): { snapshot: KubernetesObject; content: KubernetesObject } {
  const reference = { apiVersion: SNAPSHOT_API, kind: SNAPSHOTS.kind, namespace, name };
  const { driver, snapshotHandle } = from;
  return {
    content: {
      apiVersion: SNAPSHOT_API,
      kind: CONTENTS.kind,
      metadata: { name, labels },
      spec: {
        deletionPolicy: "Retain",
        driver,
        source: { snapshotHandle },
        ...(chosen && { volumeSnapshotClassName: chosen }),
        volumeSnapshotRef: reference,
      },
    },
    snapshot: {
      apiVersion: SNAPSHOT_API,
      kind: SNAPSHOTS.kind,
      metadata: { namespace, name, labels },
      spec: { source: { volumeSnapshotContentName: name } },
    },
  };
}

async function madeOrFound(
  kube: Kube,
  kind: Kind,
  object: KubernetesObject,
  signal: AbortSignal,
): Promise<KubernetesObject> {
  try {
    return await createObject(kube, kind, object, signal);
  } catch (error) {
    const found = isLifeboatError(error, "conflict") && (await getObject(kube, kind, object.metadata, signal));
    if (!found) throw error;
    return found;
  }
}
