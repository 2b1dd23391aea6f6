import type { LimitFunction } from "p-limit";
import { abortedAfter, abortedBy } from "../abort.ts";
import type { KubernetesObject } from "../archive/item.ts";
import { isLifeboatError, LifeboatError, messageOf } from "../errors.ts";
import { getObject, type Kind, type NamespacedName, placeOf } from "../kube/object.ts";
import { at } from "../objects/fields.ts";
import { timestamp } from "../timestamp.ts";
import { awaitSnapshot } from "./csi/awaiting.ts";
import type { SnapshotClass } from "./csi/classes.ts";
import { cloneOf, markVolume, removeClone } from "./csi/clone.ts";
import { snapshotOf } from "./csi/copy.ts";
import { SNAPSHOTS } from "./csi/kinds.ts";
import { removeWholly } from "./csi/removal.ts";
import type { CsiRun } from "./csi/run.ts";
import { asked, cutSnapshot, underWay } from "./csi/taking.ts";
import { ITS_TURN } from "./doing.ts";
import { newestWarning } from "./events.ts";
import { LeftoverError } from "./leftover.ts";
import { CLAIM, type ClaimedVolume, type Copied, type VolumeCopy } from "./volume.ts";

/** What moving the data of a claim takes. */
export interface Moving {
  run: CsiRun;
  source: Pick<ClaimedVolume, "claim" | "volume">;
  chosen: SnapshotClass;
  /** Copies the files of the claim of this name, of the same namespace. */
  copyFiles: (clone: string) => VolumeCopy;
  /** How many are copied at a time. */
  limit: LimitFunction;
}

/**
 * Copies a claim's files as they were at one moment (Velero's `snapshotMoveData`): from a claim that is made of a CSI snapshot, both of
 * which then go, in the storage too, however it ends. The point in time is fixed once the snapshot is cut.
 */
export function moveData(moving: Moving): VolumeCopy {
  let files: VolumeCopy | undefined;
  const copyFiles = (clone: string) => {
    files = moving.copyFiles(clone);
    return files;
  };
  const copy = underWay(moving.run, (run, cut) => move({ ...moving, copyFiles, run }, cut));
  return { ...copy, doing: () => files?.doing() ?? copy.doing() };
}

async function move({ run, source, chosen, copyFiles, limit }: Moving, cut: () => void): Promise<Copied> {
  const { signal } = run;
  const { claim } = source;
  const wanted = snapshotOf(run, claim, chosen);
  const place = { namespace: wanted.metadata.namespace, name: wanted.metadata.name };
  const remove = (late: AbortSignal) => removeWholly(run, place, late);
  return thenRemoved(run, { kind: SNAPSHOTS, wanted, remove, endedMs: 2.5 * run.removeMs }, async () => {
    await cutSnapshot(run, { place, claim }, performance.now() + run.timeoutMs);
    cut();
    const deadline = performance.now() + run.readyTimeoutMs;
    const snapshot = await awaitSnapshot(run, { place, claim, stage: "ready", deadline }, signal);
    run.tell?.(ITS_TURN);
    const copied = await limit(() => throughClone({ run, source, copyFiles }, snapshot));
    const moment = timestamp(new Date(String(at(snapshot, "status", "creationTime"))));
    return { ...copied, files: copied.files && { ...copied.files, cut: moment } };
  });
}

/** Copies the files of a snapshot, by a claim that is made of it. */
async function throughClone(
  { run, source, copyFiles }: Pick<Moving, "run" | "source" | "copyFiles">,
  snapshot: KubernetesObject,
): Promise<Copied> {
  const { signal, removeMs } = run;
  signal.throwIfAborted();
  const clone = cloneOf(run, source, snapshot);
  const place = { namespace: clone.metadata.namespace, name: clone.metadata.name };
  // Its volume may have to be detached from a node first.
  const remove = (late: AbortSignal) => removeClone({ ...run, removeMs: 2 * removeMs }, place, late);
  return thenRemoved(run, { kind: CLAIM, wanted: clone, remove, endedMs: 2 * removeMs }, async () => {
    const over = new AbortController();
    const marking = markVolume(run, place, AbortSignal.any([signal, over.signal]));
    try {
      return await copyFiles(place.name).done;
    } catch (error) {
      signal.throwIfAborted();
      throw await withReason(run, place, error);
    } finally {
      over.abort();
      await marking;
    }
  });
}

/** The error of a copy that may have failed since its clone got no volume, which then stands in it. */
async function withReason({ kube, signal }: CsiRun, place: NamespacedName, error: unknown): Promise<unknown> {
  if (!isLifeboatError(error) || error instanceof LeftoverError) return error;
  const clone = await getObject(kube, CLAIM, place, signal).catch(() => undefined);
  if (!clone || at(clone, "status", "phase") === "Bound") return error;
  const { namespace = "", uid = "" } = clone.metadata;
  const why = await newestWarning(kube, { namespace, uid }, signal).catch(() => undefined);
  const unbound = `the claim that was made of its snapshot got no volume${why ? `: ${why.slice(0, 500)}` : ""}`;
  const { kind, message, hint, cause } = error;
  return new LifeboatError(kind, `${message}; ${unbound}`, { hint, cause });
}

/** What a copy is made by, and how it is taken away. */
interface Passing {
  kind: Kind;
  wanted: KubernetesObject;
  remove: (late: AbortSignal) => Promise<void>;
  /** When that must be over, after the run's end: the Job goes first, then the claim, then the snapshot. */
  endedMs: number;
}

/** Makes a copy by means of what is created for it, and removed however it ends; what is left after all is told. */
async function thenRemoved(
  run: CsiRun,
  { kind, wanted, remove, endedMs }: Passing,
  make: () => Promise<Copied>,
): Promise<Copied> {
  using ended = abortedAfter(run.signal, endedMs);
  const discard = async (given: AbortSignal) => {
    using late = abortedBy([given, ended.signal]);
    await remove(late.signal).catch((error: unknown) => {
      if (!late.signal.aborted) throw error;
      throw new LifeboatError("timeout", `the ${kind.kind} ${placeOf(wanted.metadata)} is not seen to be gone in time`);
    });
  };
  const copied = await asked(run, { kind, wanted, discard }, make);
  const left = await discard(AbortSignal.timeout(3 * run.removeMs)).then(() => undefined, messageOf);
  return left === undefined
    ? copied
    : { ...copied, warnings: [...(copied.warnings ?? []), `its files are copied, but ${left}`] };
}
