import type { ResticTiming } from "./settings.ts";

/** Where the claim is mounted. restic keeps paths as they are, so it is the same for ever: it finds a copy's parent by it. */
export const DATA = "/data";

/** Makes the repository. */
export const INIT = ["init", "--json"];

/** Takes away the locks of Jobs that were killed: restic itself minds them for ever, though their makers are gone for 30 minutes. */
export const UNLOCK = ["unlock"];

type LockTiming = Pick<ResticTiming, "lock">;

const waiting = ({ lock }: LockTiming) => ["--retry-lock", `${Math.ceil(lock / 1000)}s`];

/** Copies the claim; `host` tells whose earlier copies hold what need not be read again. */
export function backupCommand(host: string, tags: string[], timing: LockTiming): string[] {
  return ["backup", "--json", ...waiting(timing), "--host", host, ...tags.flatMap((tag) => ["--tag", tag]), DATA];
}

/**
 * Brings a copy back into the claim. Not by `ID:/data`, which leaves the root of the volume with the owner and mode it has: the
 * root is itself a part of the copy. With `sparse` zeros become holes.
 */
export function restoreCommand(snapshotId: string, timing: LockTiming, { sparse }: { sparse: boolean }): string[] {
  const flags = ["--json", ...waiting(timing), "--target", "/", "--include", DATA, ...(sparse ? ["--sparse"] : [])];
  return ["restore", snapshotId, ...flags];
}

/** Lets copies go, and leaves what only they hold to a later call of the other. Needs the repository for itself. */
export function forgetCommand(snapshotIds: string[], timing: LockTiming): string[] {
  return ["forget", ...waiting(timing), ...snapshotIds];
}

/** Lets all copies of backups go, and what only they hold. Needs the repository for itself. */
export function forgetBackupsCommand(backups: string[], timing: LockTiming): string[] {
  const tags = backups.flatMap((backup) => ["--tag", backupTag(backup)]);
  return ["forget", ...waiting(timing), "--prune", "--unsafe-allow-remove-all", ...tags];
}

/** The tag of all copies of a backup. */
export function backupTag(backup: string): string {
  return `backup=${backup}`;
}

/** The copies, or those with a tag. It needs no lock: what is deleted meanwhile is gone either way. */
export function snapshotsCommand(tag?: string): string[] {
  return ["snapshots", "--json", "--no-lock", ...(tag === undefined ? [] : ["--tag", tag])];
}
