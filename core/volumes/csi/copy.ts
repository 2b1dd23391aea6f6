import { randomBytes } from "node:crypto";
import { pause } from "../../abort.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError, LifeboatError, messageOf } from "../../errors.ts";
import { createObject, type Place, patchObject, placeOf } from "../../kube/object.ts";
import { at } from "../../objects/fields.ts";
import type { Copied, VolumeCopy } from "../volume.ts";
import { awaitSnapshot } from "./awaiting.ts";
import type { SnapshotClass } from "./classes.ts";
import { deleteByHandle, storedSnapshot } from "./deletion.ts";
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
  return copying(async (cut) => {
    const wanted = snapshotOf(run, claim, chosen);
    const place = { namespace: wanted.metadata.namespace, name: wanted.metadata.name };
    return orUndone(run, place, async () => {
      await createObject(run.kube, SNAPSHOTS, wanted, run.signal);
      return keepSnapshot(run, { place, claim, chosen, cut });
    });
  });
}

/** A copy whose maker calls `cut` once its point in time is fixed. */
export function copying(make: (cut: () => void) => Promise<Copied>): VolumeCopy {
  const cut = Promise.withResolvers<void>();
  const done = make(cut.resolve);
  done.catch(cut.reject);
  cut.promise.catch(() => {});
  return { fixed: cut.promise, done };
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

/** A VolumeSnapshot that stands for a copy. */
export interface Kept {
  place: Place;
  claim: KubernetesObject;
  chosen?: SnapshotClass;
  cut: () => void;
}

/** Waits until the snapshot can be used, lets the storage keep it, and takes its objects out of the cluster. */
export async function keepSnapshot(run: CsiRun, { place, claim, chosen, cut }: Kept): Promise<Copied> {
  const { signal } = run;
  const first = await cutContent(run, place, claim);
  cut();
  const deadline = performance.now() + run.readyTimeoutMs;
  const snapshot = await awaitSnapshot(run, { place, stage: "ready", deadline }, signal);
  const content = await retain(run, contentNameOf(snapshot), signal);
  const stored = content && storedSnapshot(content);
  if (!stored) throw new LifeboatError("missing", `the content of the VolumeSnapshot ${placeOf(place)} was deleted`);
  // From here on it is one step: whoever ends the run now would otherwise leave a snapshot of which nobody knows.
  const ending = AbortSignal.timeout(2 * run.removeMs);
  const left = await deletePair(run, snapshot, ending).then(() => undefined, messageOf);
  const discard = async (given: AbortSignal) => void (await deleteByHandle(run, stored, given));
  if (signal.aborted) {
    await discard(ending);
    signal.throwIfAborted();
  }
  const policy = at(first, "spec", "deletionPolicy");
  return {
    csi: csiSnapshot(snapshot, content),
    objects: storedObjects({ snapshot, content, policy, chosen }),
    ...(left && { warnings: [`the snapshot is taken, but ${left}`] }),
    discard,
  };
}

/** Waits until the snapshot is cut, and gives its content with the labels by which it is looked for. */
async function cutContent(run: CsiRun, place: Place, claim: KubernetesObject): Promise<KubernetesObject> {
  const { kube, labels, signal } = run;
  const deadline = performance.now() + run.timeoutMs;
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

/** Does it, or takes all away that was made of it; the error then says what is left. */
export async function orUndone<T>(run: CsiRun, place: Place, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    try {
      await removeWholly(run, place, AbortSignal.timeout(2 * run.removeMs));
    } catch (leaving) {
      const kind = isLifeboatError(error) ? error.kind : "unreachable";
      const hint = [error, leaving].map((one) => (isLifeboatError(one) && one.hint) || "").filter(Boolean);
      throw new LifeboatError(kind, `${messageOf(error)}; and it is not taken back: ${messageOf(leaving)}`, {
        cause: error,
        hint: hint.join("\n") || undefined,
      });
    }
    throw error;
  }
}
