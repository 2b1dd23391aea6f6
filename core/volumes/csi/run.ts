import type { KubernetesObject } from "../../archive/item.ts";
import type { Kube } from "../../kube/client.ts";
import { type PolledObjects, polledObjects } from "../../kube/polled.ts";
import { type BackupIn, EXCLUDE_LABEL, LOCATION, labelsFor, selectorOf, VOLUME_COPY } from "../../labels.ts";
import type { Tell } from "../doing.ts";
import { OF_VOLUMES, type SnapshotKinds } from "./kinds.ts";

/** The snapshots and contents with some labels, which are waited for by two LISTs a second however many they are. */
export interface Looking {
  kube: Kube;
  kinds: SnapshotKinds;
  /** They are found by these. */
  labels: Record<string, string>;
  snapshots: PolledObjects;
  contents: PolledObjects;
  /** How long an object may take to be gone once it is deleted. */
  removeMs: number;
  pollMs: number;
  tell?: Tell;
}

/** How long what may take, in milliseconds. */
export interface Patience {
  /** Until the driver has cut a snapshot (`csiSnapshotTimeout`), or knows one by its handle; 10 minutes where not given. */
  timeoutMs?: number;
  /** Until the snapshot can be used (`itemOperationTimeout`); 4 hours where not given. */
  readyTimeoutMs?: number;
  /** How long a driver may fail on end, since its controller tries again; 2 minutes where not given. */
  errorMs?: number;
  /** Until deleted objects are gone; 1 minute where not given. */
  removeMs?: number;
  /** The pause between two LISTs; 1 s where not given. */
  pollMs?: number;
}

const PATIENCE: Required<Patience> = {
  timeoutMs: 600_000,
  readyTimeoutMs: 4 * 3_600_000,
  errorMs: 120_000,
  removeMs: 60_000,
  pollMs: 1000,
};

/** The CSI snapshots of one backup under way. */
export interface CsiRun extends Looking, Required<Patience> {
  signal: AbortSignal;
}

/** What the CSI snapshots of one backup have in common: those that are taken, and those that are deleted with it. */
export function csiRun(kube: Kube, { signal, ...options }: BackupIn & { signal: AbortSignal } & Patience): CsiRun {
  return { ...lookingAt(kube, csiLabels(options), options), ...patienceOf(options), signal };
}

/** The labels of all that stands in a cluster of the CSI snapshots of a backup. */
export function csiLabels(of: BackupIn): Record<string, string> {
  return { ...labelsFor(of), [EXCLUDE_LABEL]: "true", [VOLUME_COPY]: "csi" };
}

/** Selects what stands of one backup, or of all that are ours. */
export function csiSelector(of: BackupIn | undefined): string {
  return selectorOf(of ? csiLabels(of) : { [VOLUME_COPY]: "csi" });
}

export function patienceOf(given: Patience): Required<Patience> {
  const said = Object.entries(given).filter(([name, value]) => name in PATIENCE && value !== undefined);
  return { ...PATIENCE, ...Object.fromEntries(said) };
}

/** What carries all of `labels`. */
export function lookingAt(
  kube: Kube,
  labels: Record<string, string>,
  patience: Patience,
  kinds: SnapshotKinds = OF_VOLUMES,
): Looking {
  const { removeMs, pollMs } = patienceOf(patience);
  const labelSelector = selectorOf(labels);
  const [snapshots, contents] = [kinds.snapshot, kinds.content].map((kind) =>
    polledObjects(kube, kind, { labelSelector, pollMs }),
  );
  return { kube, kinds, labels, snapshots: snapshots!, contents: contents!, removeMs, pollMs };
}

/** The object as it is stored: without what keeps it out of other backups and tells that it is left over. */
export function asStored(object: KubernetesObject): KubernetesObject {
  const labels = { ...object.metadata.labels };
  for (const label of [EXCLUDE_LABEL, VOLUME_COPY, LOCATION]) delete labels[label];
  return { ...object, metadata: { ...object.metadata, labels } };
}
