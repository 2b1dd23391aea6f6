import { randomBytes } from "node:crypto";
import { pause } from "../../abort.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError, LifeboatError, messageOf } from "../../errors.ts";
import { createObject, type Place, patchObject, placeOf } from "../../kube/object.ts";
import { at } from "../../objects/fields.ts";
import { lastTold } from "../doing.ts";
import { LeftoverError } from "../leftover.ts";
import type { Copied, VolumeCopy } from "../volume.ts";
import { awaitSnapshot } from "./awaiting.ts";
import type { SnapshotClass } from "./classes.ts";
import { deleteByHandle, type StoredSnapshot, storedSnapshot } from "./deletion.ts";
import { CONTENTS, contentNameOf, SNAPSHOT_API, SNAPSHOTS } from "./kinds.ts";
import { deletePair, removeWholly, retain } from "./removal.ts";
import type { CsiRun } from "./run.ts";
import { csiSnapshot, storedObjects } from "./stored.ts";

/**
 * Copies the volume of a bound claim by a snapshot of its CSI driver, as Velero does without data movement (velero-format:
 * 6.3): by a VolumeSnapshot in the claim's namespace, which goes with its content once the snapshot can be used. The storage
 * keeps the snapshot; its handle is all that it takes to restore or delete it.
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
  const create = () => createObject(run.kube, SNAPSHOTS, wanted, run.signal);
  const takeBack = (signal: AbortSignal) => removeWholly(run, place, signal);
  return orTakenBack(run, { what: `the VolumeSnapshot ${placeOf(place)}`, create, takeBack }, async () => {
    const first = await cutContent(run, { place, claim }, performance.now() + run.timeoutMs);
    cut();
    const taken = {
      ...(await readySnapshot(run, { place, claim }, performance.now() + run.readyTimeoutMs)),
      first,
      chosen,
    };
    const discard = discarding(run, taken.stored);
    const warning = await released(run, discard, (signal) => deletePair(run, taken.snapshot, signal));
    return copiedOf(taken, discard, warning);
  });
}

/** Of its copy it keeps no more than the handle: it is kept until the run's end. */
function discarding(run: CsiRun, stored: StoredSnapshot): Copied["discard"] {
  return async (signal) => void (await deleteByHandle(run, stored, signal));
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

/** A name as the API server generates them: 63 characters, so that it can be a label's value as well. */
export function generatedName(stem: string): string {
  return `${stem.slice(0, 54).replace(/[-.]+$/, "")}-${randomBytes(4).toString("hex")}`;
}

/** A VolumeSnapshot, and the claim that it is of. */
export interface Member {
  place: Place;
  claim: KubernetesObject;
}

/** Waits until a VolumeSnapshot is cut, and gives its content, which then has the labels by which it is looked for. */
export async function cutContent(run: CsiRun, { place, claim }: Member, deadline: number): Promise<KubernetesObject> {
  const { kube, labels, signal } = run;
  for (;;) {
    const snapshot = await awaitSnapshot(run, { place, claim, stage: "cut", deadline }, signal);
    const name = contentNameOf(snapshot);
    const content = await patchObject(kube, CONTENTS, { name }, { metadata: { labels } }, signal);
    if (content && storedSnapshot(content)) return content;
    if (performance.now() > deadline)
      throw new LifeboatError("timeout", `the VolumeSnapshotContent ${name} has no snapshot handle in time`);
    await pause(run.pollMs, signal);
  }
}

/** A snapshot that can be used, and that the storage keeps. */
export interface Taken {
  snapshot: KubernetesObject;
  content: KubernetesObject;
  stored: StoredSnapshot;
}

/** Waits until a VolumeSnapshot can be used, and lets the storage keep its snapshot. */
export async function readySnapshot(run: CsiRun, { place, claim }: Member, deadline: number): Promise<Taken> {
  const snapshot = await awaitSnapshot(run, { place, claim, stage: "ready", deadline }, run.signal);
  const content = await retain(run, contentNameOf(snapshot), run.signal);
  const stored = content && storedSnapshot(content);
  if (!stored) throw new LifeboatError("missing", `the content of the VolumeSnapshot ${placeOf(place)} was deleted`);
  return { snapshot, content, stored };
}

/**
 * Takes the objects of a copy out of the cluster that is whole. That isn't ended with the run, or a snapshot would be left of which
 * nobody knows; it is discarded afterwards. Gives what could not be taken out, for a warning.
 */
export async function released(
  { signal, removeMs }: CsiRun,
  discard: (signal: AbortSignal) => Promise<void>,
  release: (signal: AbortSignal) => Promise<void>,
): Promise<string | undefined> {
  const ending = AbortSignal.timeout(2 * removeMs);
  const left = await release(ending).then(() => undefined, messageOf);
  if (signal.aborted) await discard(ending);
  signal.throwIfAborted();
  return left && `the snapshot is taken, but ${left}`;
}

/** What a backup keeps of a snapshot; `first` is its content as it was before it was to stay. */
export function copiedOf(
  { snapshot, content, first, chosen }: Taken & { first: KubernetesObject; chosen?: SnapshotClass },
  discard: Copied["discard"],
  warning: string | undefined,
): Copied {
  const policy = at(first, "spec", "deletionPolicy");
  return {
    csi: csiSnapshot(snapshot, content),
    objects: storedObjects({ snapshot, content, policy, chosen }),
    ...(warning && { warnings: [warning] }),
    discard,
  };
}

/** Creates it and goes on, or takes back what was made; the error then says what is left. What may not be created is not there. */
export async function orTakenBack<Created, T>(
  { removeMs }: CsiRun,
  {
    what,
    create,
    takeBack,
  }: { what: string; create: () => Promise<Created>; takeBack: (signal: AbortSignal) => Promise<void> },
  make: (created: Created) => Promise<T>,
): Promise<T> {
  let created: Created | undefined;
  try {
    created = await create();
    return await make(created);
  } catch (error) {
    if (!created && isLifeboatError(error, "denied")) throw error;
    try {
      await takeBack(AbortSignal.timeout(2 * removeMs));
    } catch (leaving) {
      const left = isLifeboatError(leaving) ? leaving.message : `${what} may be left: ${messageOf(leaving)}`;
      const hint = isLifeboatError(leaving) ? leaving.hint : undefined;
      throw new LeftoverError(error, `and it is not taken back: ${left}`, { left, hint });
    }
    throw error;
  }
}
