import { randomBytes } from "node:crypto";
import { pause } from "../../abort.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError, LifeboatError } from "../../errors.ts";
import { createObject, getObject, type Kind, type Place, patchObject, placeOf } from "../../kube/object.ts";
import { at } from "../../objects/fields.ts";
import { lastTold } from "../doing.ts";
import { orRemoved } from "../leftover.ts";
import type { Copied, VolumeCopy } from "../volume.ts";
import { awaitSnapshot } from "./awaiting.ts";
import type { SnapshotClass } from "./classes.ts";
import { storedSnapshot } from "./deletion.ts";
import { CONTENTS, contentNameOf, SNAPSHOT_API, SNAPSHOTS } from "./kinds.ts";
import { removeWholly } from "./removal.ts";
import type { CsiRun } from "./run.ts";
import { csiSnapshot, storedObjects } from "./stored.ts";

/**
 * Copies the volume of a bound claim by a snapshot of its CSI driver, as Velero does without data movement (velero-format:
 * 6.3): by a VolumeSnapshot in the claim's namespace. That and its content stand until the backup that names them is stored, so
 * that whoever dies before leaves no snapshot that nobody knows; then `settleSnapshots` takes them out of the cluster, and the
 * storage keeps the snapshot, whose handle is all that it takes to restore or delete it.
 */
export function copyByCsi(run: CsiRun, claim: KubernetesObject, chosen: SnapshotClass): VolumeCopy {
  const cut = Promise.withResolvers<void>();
  const { tell, doing } = lastTold();
  const done = copy({ ...run, tell }, claim, chosen, cut.resolve);
  done.catch(cut.reject);
  cut.promise.catch(() => {});
  return { fixed: cut.promise, done, doing };
}

async function copy(run: CsiRun, claim: KubernetesObject, chosen: SnapshotClass, cut: () => void): Promise<Copied> {
  const wanted = snapshotOf(run, claim, chosen);
  const place = { namespace: wanted.metadata.namespace, name: wanted.metadata.name };
  const discard = discarding(run, place);
  return asked(run, { kind: SNAPSHOTS, wanted, discard }, async () => {
    await cutSnapshot(run, { place, claim }, performance.now() + run.timeoutMs);
    cut();
    const taken = await readySnapshot(run, { place, claim }, performance.now() + run.readyTimeoutMs);
    return copiedOf({ ...taken, chosen }, discard);
  });
}

/** Of its copy it keeps no more than the place: it is kept until the run's end. */
function discarding(run: CsiRun, place: Place): Copied["discard"] {
  return (signal) => removeWholly(run, place, signal);
}

function snapshotOf({ labels }: CsiRun, { metadata }: KubernetesObject, { name }: SnapshotClass): KubernetesObject {
  return {
    apiVersion: SNAPSHOT_API,
    kind: SNAPSHOTS.kind,
    metadata: {
      namespace: metadata.namespace,
      name: generatedName(`velero-${metadata.name}`),
      labels: { ...metadata.labels, ...labels },
    },
    spec: { source: { persistentVolumeClaimName: metadata.name }, volumeSnapshotClassName: name },
  };
}

/** Asks for a snapshot, and goes on or takes back what was made of it. What may not be created is not there. */
export function asked<T>(
  { kube, signal }: CsiRun,
  { kind, wanted, discard }: { kind: Kind; wanted: KubernetesObject; discard: Copied["discard"] },
  take: (created: KubernetesObject) => Promise<T>,
): Promise<T> {
  let refused = false;
  const ask = async () => {
    const created = await createObject(kube, kind, wanted, signal).catch((error: unknown) => {
      refused = isLifeboatError(error, "denied");
      throw error;
    });
    return take(created);
  };
  const what = `the ${kind.kind} ${placeOf(wanted.metadata)}`;
  return orRemoved(ask, what, async (ending) => {
    if (!refused) await discard(ending);
  });
}

/** A name as the API server generates them: 63 characters, so that it can be a label's value as well. */
export function generatedName(stem: string): string {
  return `${stem.slice(0, 54).replace(/[-.]+$/, "")}-${randomBytes(4).toString("hex")}`;
}

/** A VolumeSnapshot, and the claim that it is of. */
export interface Member {
  place: Place;
  claim: KubernetesObject;
}

/** Waits until a snapshot is cut; its content then has the labels by which it is looked for, and its handle. */
export async function cutSnapshot(
  looking: CsiRun,
  { place, claim }: Pick<Member, "place"> & Partial<Member>,
  deadline: number,
): Promise<void> {
  const { kube, kinds, labels, signal } = looking;
  for (;;) {
    const snapshot = await awaitSnapshot(looking, { place, claim, stage: "cut", deadline }, signal);
    const name = contentNameOf(snapshot, kinds);
    const content = await patchObject(kube, kinds.content, { name }, { metadata: { labels } }, signal);
    if (at(content, "status", kinds.handle) !== undefined) return;
    if (performance.now() > deadline)
      throw new LifeboatError("timeout", `the ${kinds.content.kind} ${name} has no snapshot handle in time`);
    await pause(looking.pollMs, signal);
  }
}

/** A snapshot that can be used, with its content. */
export interface Taken {
  snapshot: KubernetesObject;
  content: KubernetesObject;
}

/** Waits until a VolumeSnapshot can be used. */
export async function readySnapshot(run: CsiRun, { place, claim }: Member, deadline: number): Promise<Taken> {
  const snapshot = await awaitSnapshot(run, { place, claim, stage: "ready", deadline }, run.signal);
  const content = await getObject(run.kube, CONTENTS, { name: contentNameOf(snapshot) }, run.signal);
  if (!content || !storedSnapshot(content))
    throw new LifeboatError("missing", `the content of the VolumeSnapshot ${placeOf(place)} was deleted`);
  return { snapshot, content };
}

/** What a backup keeps of a snapshot. */
export function copiedOf(taken: Taken & { chosen?: SnapshotClass }, discard: Copied["discard"]): Copied {
  return { csi: csiSnapshot(taken.snapshot, taken.content), objects: storedObjects(taken), discard };
}
