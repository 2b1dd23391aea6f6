import { bytesText, say } from "./output.ts";

/** Tells that a backup is read whole, which takes its time. */
export function tellWhole(name: string, bytes: number): void {
  say(`Backup ${name} has no index: its archive of ${bytesText(bytes)} is read whole`);
}
