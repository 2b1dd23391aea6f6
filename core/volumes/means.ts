import { isLifeboatError, LifeboatError } from "../errors.ts";
import type { Platform } from "../ports.ts";
import type { CachedSecrets } from "../secrets.ts";
import type { BackupSpec } from "../specs.ts";
import { repositoryAt } from "./restic/repository.ts";
import { type ResticConfig, type ResticSettings, resticSettings } from "./restic/settings.ts";

/** By what volumes' data can be copied and brought back, beside the cluster itself. */
export interface VolumeMeans {
  /** The clouds whose disks can be snapshotted. */
  disks?: Platform["disks"];
  /** With what files are copied; absent where the configuration doesn't say. */
  files?: ResticSettings;
}

/** The means of a deployment: its platform's disks, and restic where `volumes.restic` of the configuration says how. */
export function volumeMeans(
  { restic }: { restic?: ResticConfig },
  { location, secrets, disks }: { location: string; secrets: CachedSecrets; disks: Platform["disks"] },
): VolumeMeans {
  return { disks, ...(restic && { files: resticSettings(restic, { location, secrets }) }) };
}

/** The location that restic is to copy files to; absent where it isn't configured. */
type Files = Pick<ResticSettings, "location" | "env"> | undefined;

/** Why no files can be copied; undefined where they can. */
export function noFiles(files: Files): string | undefined {
  if (!files) return "the configuration has no volumes.restic, by which files are copied";
  try {
    repositoryAt(files.location, "default", files.env);
    return undefined;
  } catch (error) {
    if (isLifeboatError(error)) return error.message;
    throw error;
  }
}

/** Throws `invalid` for a spec by which data are moved, where no files can be copied. */
export function checkMoving({ snapshotMoveData }: Pick<BackupSpec, "snapshotMoveData">, files: Files): void {
  const reason = snapshotMoveData ? noFiles(files) : undefined;
  if (reason)
    throw new LifeboatError("invalid", `snapshotMoveData copies the files of snapshots: ${reason}`, {
      hint: "set up volumes.restic, with a location that Pods reach; or leave snapshotMoveData out, and snapshots stay in their storage",
    });
}
