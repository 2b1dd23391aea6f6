import { polled } from "../abort.ts";
import { ERROR_KINDS, isLifeboatError, LifeboatError } from "../errors.ts";
import type { DiskSnapshot, Disks, InZone } from "../ports.ts";
import type { DiskCloud } from "./disk.ts";
import { lastTold, type Tell } from "./doing.ts";
import { orRemoved } from "./leftover.ts";
import type { Copied, NativeSnapshot, VolumeCopy } from "./volume.ts";

const POLL_MS = 10_000;
/**
 * So long a backup waits for a snapshot to be complete, which the first one of a large disk isn't for hours: its point in time is fixed,
 * and the cloud goes on by itself. Velero doesn't wait at all.
 */
const WAIT_MS = 5 * 60_000;
/** With so many looks in a row that fail or find nothing, a snapshot is no longer waited for. */
const MOST_FAILURES = 5;

/** What a copy of a disk is asked for with: see `Disks.snapshot`. */
export interface DiskCopyOptions {
  name: string;
  tags: Record<string, string>;
  signal: AbortSignal;
  /** How long is waited between two looks at the snapshot. */
  pollMs?: number;
  /** How long it is waited for (`itemOperationTimeout`, at most 5 minutes); 5 minutes where not given. */
  waitMs?: number;
}

/**
 * Copies a disk by a snapshot of its cloud. It is done once the cloud says that the snapshot is complete, or, with a warning, when it
 * has been waited for long enough; where it fails, or the signal aborts, the snapshot is removed.
 */
export function copyDisk(disks: Disks, disk: InZone, options: DiskCopyOptions): VolumeCopy {
  const { name, tags, signal, pollMs = POLL_MS, waitMs = WAIT_MS } = options;
  const begun = disks.snapshot(disk, { name, tags, signal });
  const { tell, doing } = lastTold();
  const copied = async (): Promise<Copied> => {
    const { id, type, zone, iops } = await begun;
    const snapshot = { id, zone };
    const discard = (until: AbortSignal) => disks.removeSnapshot(snapshot, until);
    const waiting = { pollMs, until: performance.now() + Math.min(waitMs, WAIT_MS), signal, tell };
    const pending = await orRemoved(() => completed(disks, snapshot, waiting), `the snapshot ${id}`, discard);
    const warnings = pending === "" ? {} : { warnings: [pending] };
    const native = { snapshotHandle: id, volumeId: disk.id, volumeType: type, volumeAZ: zone, ...(iops && { iops }) };
    return { native, discard, ...warnings };
  };
  const copy = { fixed: begun.then(() => {}), done: copied(), doing };
  // Whoever waits for one of them only must not end by the other.
  for (const promise of [copy.fixed, copy.done]) promise.catch(() => {});
  return copy;
}

/** What a disk is made from a snapshot with: see `Disks.create`. */
export interface DiskRestoreOptions {
  name: string;
  zone: string;
  node?: string;
  tags: Record<string, string>;
  signal: AbortSignal;
}

/**
 * Makes a disk of a snapshot that a backup's record tells of, and gives its name. `missing`: the snapshot is gone; `busy`:
 * it isn't complete yet; `corrupt`: it failed.
 */
export async function restoreDisk(
  disks: Disks,
  info: Omit<NativeSnapshot, "volumeId">,
  { signal, ...wanted }: DiskRestoreOptions,
): Promise<string> {
  const { snapshotHandle, volumeType, volumeAZ, iops } = info;
  const found = await disks.read({ id: snapshotHandle, zone: volumeAZ }, signal);
  if (found?.state !== "completed") throw unusable(snapshotHandle, found);
  return disks.create(snapshotHandle, { ...wanted, type: volumeType, ...(iops && { iops }), signal });
}

/** Whose a recorded snapshot is, by the form of its name. */
export function cloudOf(snapshotHandle: string): DiskCloud {
  if (snapshotHandle.startsWith("snap-")) return "aws";
  return snapshotHandle.startsWith("/subscriptions/") ? "azure" : "gcp";
}

/**
 * A snapshot's name as Velero's plugins have it in a backup's record: on Google Cloud without its project, which they take
 * from their configuration.
 */
export function recordedHandle(snapshotHandle: string): string {
  return /^projects\/[^/]+\/global\/snapshots\/([^/]+)$/.exec(snapshotHandle)?.[1] ?? snapshotHandle;
}

/** The whole name of a recorded snapshot, by the disk that it is of, as far as its name tells the project. */
export function wholeHandle(recorded: string, volumeId: string): string {
  const project = /^projects\/[^/]+/.exec(volumeId)?.[0];
  return project && !recorded.includes("/") ? `${project}/global/snapshots/${recorded}` : recorded;
}

/**
 * Waits until a snapshot is complete: gives "", or what is to be told of one that isn't in time. A cloud may take some seconds to tell
 * of a new one: it is gone if it isn't found several times in a row.
 */
async function completed(
  disks: Disks,
  snapshot: InZone,
  { pollMs, until, signal, tell }: { pollMs: number; until: number; signal: AbortSignal; tell: Tell },
): Promise<string> {
  let failures = 0;
  const look = async (): Promise<string | undefined> => {
    const found = await disks.read(snapshot, signal).catch((error: unknown) => {
      if (isLifeboatError(error) && ERROR_KINDS[error.kind].retry) return error;
      throw error;
    });
    if (found && "state" in found) {
      failures = 0;
      if (found.state === "failed") throw unusable(snapshot.id, found);
      if (found.state === "completed") return "";
      tell({ what: "waits for its cloud to complete its snapshot", why: found.message });
      if (performance.now() < until) return undefined;
      const far = found.message ? `, ${found.message}` : "";
      return `the snapshot ${snapshot.id} is not complete yet${far}: the cloud goes on with it, and no disk can be made of it before`;
    }
    failures += 1;
    if (failures === MOST_FAILURES) throw found ?? unusable(snapshot.id, undefined);
    return undefined;
  };
  return polled(look, pollMs, signal);
}

function unusable(id: string, found: DiskSnapshot | undefined): LifeboatError {
  const said = found?.message ? `: ${found.message}` : "";
  if (!found) {
    return new LifeboatError("missing", `the snapshot ${id} is gone`, {
      hint: "somebody has deleted it, or these are the credentials of another account or project",
    });
  }
  if (found.state === "failed") return new LifeboatError("corrupt", `the snapshot ${id} has failed${said}`);
  return new LifeboatError("busy", `the snapshot ${id} is not complete yet${said}`, { hint: "try again later" });
}
