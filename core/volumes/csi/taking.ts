import { randomBytes } from "node:crypto";
import { NEVER, pause } from "../../abort.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError, LifeboatError } from "../../errors.ts";
import { createObject, getObject, type Kind, type NamespacedName, patchObject, placeOf } from "../../kube/object.ts";
import { at } from "../../objects/fields.ts";
import { lastTold } from "../doing.ts";
import { orRemoved } from "../leftover.ts";
import type { Copied, Discard, VolumeCopy } from "../volume.ts";
import { awaitSnapshot } from "./awaiting.ts";
import type { SnapshotClass } from "./classes.ts";
import { storedSnapshot } from "./deletion.ts";
import { CONTENTS, contentNameOf } from "./kinds.ts";
import type { CsiRun } from "./run.ts";
import { csiSnapshot, storedObjects } from "./stored.ts";

/** What is taken from now on, of one volume or of a group: its point in time is fixed once `take` calls `cut`. */
export function underWay<T>(
  run: CsiRun,
  take: (run: CsiRun, cut: () => void) => Promise<T>,
): Omit<VolumeCopy, "done"> & { done: Promise<T> } {
  const { promise: fixed, resolve, reject } = Promise.withResolvers<void>();
  const { tell, doing } = lastTold();
  const done = take({ ...run, tell }, resolve);
  done.catch(reject);
  fixed.catch(() => {});
  return { fixed, done, doing };
}

/**
 * Creates what a copy is made by, and goes on or takes back what was made of it. What may not be created is not there. No signal of the run
 * ends the request: one that was given up could still be carried out, after all was taken back.
 */
export async function asked<T>(
  { kube, signal }: CsiRun,
  { kind, wanted, discard }: { kind: Kind; wanted: KubernetesObject; discard: Discard },
  take: (created: KubernetesObject) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  let refused = false;
  const ask = async () => {
    const created = await createObject(kube, kind, wanted, NEVER).catch((error: unknown) => {
      refused = isLifeboatError(error, "denied");
      throw error;
    });
    signal.throwIfAborted();
    return take(created);
  };
  const what = `the ${kind.kind} ${placeOf(wanted.metadata)}`;
  return await orRemoved(ask, what, async (ending) => {
    if (!refused) await discard(ending);
  });
}

/** A name as the API server generates them: 63 characters, so that it can be a label's value as well. */
export function generatedName(stem: string): string {
  return `${stem.slice(0, 54).replace(/[-.]+$/, "")}-${randomBytes(4).toString("hex")}`;
}

/** A VolumeSnapshot, and the claim that it is of. */
export interface SnapshotMember {
  place: NamespacedName;
  claim: KubernetesObject;
}

/** Waits until a snapshot is cut; its content then has the labels by which it is looked for, and its handle. */
export async function cutSnapshot(
  looking: CsiRun,
  { place, claim }: Pick<SnapshotMember, "place"> & Partial<SnapshotMember>,
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
export async function readySnapshot(run: CsiRun, { place, claim }: SnapshotMember, deadline: number): Promise<Taken> {
  const snapshot = await awaitSnapshot(run, { place, claim, stage: "ready", deadline }, run.signal);
  const content = await getObject(run.kube, CONTENTS, { name: contentNameOf(snapshot) }, run.signal);
  if (!content || !storedSnapshot(content))
    throw new LifeboatError("missing", `the content of the VolumeSnapshot ${placeOf(place)} was deleted`);
  return { snapshot, content };
}

/** What a backup keeps of a snapshot. */
export function copiedOf(taken: Taken & { chosen?: SnapshotClass }, discard: Discard): Copied {
  return { csi: csiSnapshot(taken.snapshot, taken.content), objects: storedObjects(taken), discard };
}
