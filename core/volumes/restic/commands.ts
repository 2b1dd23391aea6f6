/** Where the claim is mounted. restic keeps paths as they are, so it is the same for ever: it finds a copy's parent by it. */
export const DATA = "/data";

/** How long restic waits for another's lock; less than the time without progress after which it is given up. */
const WAIT_FOR_LOCK = ["--retry-lock", "5m"];

/** Makes the repository. */
export const INIT = ["init", "--json"];

/** Takes away the locks of Jobs that were killed: restic itself minds them for ever, though their makers are gone for 30 minutes. */
export const UNLOCK = ["unlock"];

/** Copies the claim; `host` tells whose earlier copies hold what need not be read again. */
export function backupCommand(host: string, tags: string[]): string[] {
  return ["backup", "--json", ...WAIT_FOR_LOCK, "--host", host, ...tags.flatMap((tag) => ["--tag", tag]), DATA];
}

/**
 * Brings a copy back into the claim. Not by `ID:/data`, which leaves the root of the volume with the owner and mode it has: the
 * root is itself a part of the copy.
 */
export function restoreCommand(snapshotId: string, { sparse = true } = {}): string[] {
  const flags = ["--json", ...WAIT_FOR_LOCK, "--target", "/", "--include", DATA, ...(sparse ? ["--sparse"] : [])];
  return ["restore", snapshotId, ...flags];
}

/** Lets copies go; with `prune` also what only they hold, which needs the repository for itself. */
export function forgetCommand(snapshotIds: string[], { prune }: { prune: boolean }): string[] {
  return ["forget", ...WAIT_FOR_LOCK, ...(prune ? ["--prune"] : []), ...snapshotIds];
}

/** The copies with a tag, or all. */
export function snapshotsCommand(tag?: string): string[] {
  return ["snapshots", "--json", "--no-lock", ...(tag === undefined ? [] : ["--tag", tag])];
}
