import type { Usage } from "../../core/index.ts";

/** What a process took. Seconds; 10^6 bytes. */
interface Taken {
  seconds: number;
  /** Of all its threads, and of its main one alone. */
  cpuSeconds: number;
  mainSeconds: number;
  peakMB: number;
}

/** A whole backup that was made in one go. */
export interface BackupRecord extends Taken {
  items: number;
  /** Of the objects as JSON. */
  bytes: number;
  usage: Usage;
}

/** What a function made that had time for all of it: as the functions do, it holds its archive back and stores it in pieces. */
export interface FunctionRecord extends Taken {
  items: number;
}

/** A slice of a backup; of the last one there is no number of items. */
export interface SliceRecord extends Taken {
  items?: number;
}

/** What `bench/fleet/record.ts` has measured in one run, on one machine. */
export interface Recording {
  machine: string;
  /** Pages of a LIST of a real API server, asked for one after the other: of how many objects, how many bytes, and how long they took. */
  pages: { objects: number; bytes: number; ms: number[] };
  /** A real S3 server: a put of 1 KiB, and what each MiB of a large object takes beyond that. */
  bucket: { smallMs: number[]; putMsPerMiB: number; getMsPerMiB: number };
  /** Of clusters of several sizes, in the embedded API server: by the command line, and by a function. */
  backups: BackupRecord[];
  functions: FunctionRecord[];
  /** Of the real API server. */
  real: BackupRecord;
  /** The largest of `backups` again, in slices. */
  slices: SliceRecord[];
  /** From the process' start of the function's code to the first answer. */
  coldStartMs: { aws: number; gcp: number; azure: number };
}
