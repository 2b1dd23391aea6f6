import { bytesText, type Reading } from "../../core/index.ts";
import type { SharedOptions } from "./options.ts";
import { say } from "./output.ts";
import { trustedKeysOf } from "./session.ts";

/** How the commands read backups: trusting whom the restores trust, and telling what takes long. */
export async function readingOf(options: SharedOptions, signal: AbortSignal): Promise<Reading> {
  return { trustedKeys: await trustedKeysOf(options, signal), signal, whole: tellWhole };
}

/** Tells that a backup is read whole, which takes its time. */
function tellWhole(name: string, bytes: number): void {
  say(`Backup ${name} has no index: its archive of ${bytesText(bytes)} is read whole`);
}
