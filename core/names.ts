import { LifeboatError } from "./errors.ts";

/** The backup of what a restore was about to touch; of a later attempt, which found more to touch, the next number. */
export function backupBefore(restore: string, number: number): string {
  return `${restore}-before${number > 1 ? `-${number}` : ""}`;
}

/** The restore that a backup of such a name was made before; undefined for any other name. */
export function restoreAfter(backup: string): string | undefined {
  return /^(.+)-before(-\d+)?$/.exec(backup)?.[1];
}

/** The first undo of a restore, and those after one that was PartiallyFailed. */
export function undoName(restore: string, number: number): string {
  return `${restore}-undo${number > 1 ? `-${number}` : ""}`;
}

/** Throws `invalid` unless `name` can name a Backup or Restore object in Kubernetes (a DNS-1123 subdomain). */
export function checkName(kind: "backup" | "restore", name: string): void {
  if (name.length > 253 || !/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name)) {
    throw new LifeboatError("invalid", `"${name}" can't name a ${kind}`, {
      hint: "use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit, at most 253",
    });
  }
}

/** What file systems take beside what the names of a backup's or restore's files begin and end in; a restore leaves room for its undo's name. */
const LONGEST_NAMES = { backup: 231, restore: 210 };

/** Throws `invalid` unless a new backup or restore may have that name. */
export function checkNewName(kind: "backup" | "restore", name: string): void {
  checkName(kind, name);
  if (name.replace(/-undo$/, "").length <= LONGEST_NAMES[kind]) return;
  throw new LifeboatError("invalid", `the name has ${name.length} characters`, {
    hint: `file systems take ${LONGEST_NAMES[kind]} beside what the names of a ${kind}'s files end in`,
  });
}
