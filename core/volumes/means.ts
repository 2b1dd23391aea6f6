import type { Platform } from "../ports.ts";
import type { CachedSecrets } from "../secrets.ts";
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
