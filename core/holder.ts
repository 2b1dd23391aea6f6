import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** The process that holds a lock, as far as another one can find out whether it still runs. */
export interface Holder {
  /** The machine's name, for people. */
  host: string;
  pid: number;
  /** What no two machines, boots of one, or containers on it have in common: outside of it the process id says nothing. */
  machine: string;
  /** When the process began, in ticks since the boot: of two processes with one id, which. */
  began: string;
}

/**
 * This process, for locks: of Linux, from /proc. Undefined where that isn't there, or shows other processes than those this
 * one has its id among: what holds a lock without a name is waited for until the lock is no longer valid.
 */
export function thisProcess(): Holder | undefined {
  const machine = thisMachine();
  const self = read("/proc/self/stat");
  if (machine === undefined || self === undefined || Number.parseInt(self, 10) !== process.pid) return undefined;
  return { host: hostname(), pid: process.pid, machine, began: statOf(self).began };
}

/**
 * Whether a holder has certainly ended: it ran on this machine, since its last boot and in this container, and no such process
 * is there any more. False wherever that can't be known.
 */
export function isGone(holder: Holder | undefined): boolean {
  if (!holder || holder.host !== hostname() || holder.machine !== thisMachine()) return false;
  if (!isThere(holder.pid)) return true;
  // Where /proc hides the processes of others there is nothing to be read, and whatever has the id may be the holder.
  const text = read(`/proc/${holder.pid}/stat`);
  if (text === undefined) return !isThere(holder.pid);
  const { state, began } = statOf(text);
  return began !== holder.began || state === "Z" || state === "X";
}

/** The boot of this machine, and whose process ids these are: containers on one machine have their own. */
function thisMachine(): string | undefined {
  const boot = read("/proc/sys/kernel/random/boot_id")?.trim();
  if (!boot) return undefined;
  try {
    return `${boot} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return undefined;
  }
}

/** Of proc(5)'s stat the 3rd and the 22nd field: the 2nd, the program's name, may hold blanks and brackets. */
function statOf(text: string): { state: string; began: string } {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", began: fields[19] ?? "" };
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
