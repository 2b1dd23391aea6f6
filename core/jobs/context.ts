import type { Config } from "../config.ts";
import type { BackupDocument, RestoreDocument } from "../documents.ts";
import type { Holder } from "../holder.ts";
import type { VerifyDocument, VerifyListDocument } from "../integrity/document.ts";
import type { LockedJob } from "../job.ts";
import type { LockTiming } from "../lock.ts";
import type { Listen } from "../log.ts";
import type { Bucket, Platform } from "../ports.ts";
import type { PlanDocument } from "../restore/plan/plandocument.ts";
import type { RetentionDocument } from "../retention/document.ts";
import type { CachedSecrets } from "../secrets.ts";
import type { Slice } from "../slices.ts";

/** What jobs leave. */
export type Result =
  | BackupDocument
  | RestoreDocument
  | PlanDocument
  | VerifyDocument
  | VerifyListDocument
  | RetentionDocument;

/** How a job ended that did not fail. */
export type Outcome =
  | { document: Result; duplicate: boolean; skipped?: undefined; next?: undefined }
  /** There is more to do: jobs of their own, if any, and then the one that does the rest; and how many items are done. */
  | { document?: undefined; duplicate: false; skipped?: undefined; next: LockedJob; items: number; parts?: LockedJob[] }
  /** A shard of a backup is read: so many items are done. */
  | { document?: undefined; duplicate: false; skipped?: undefined; next?: undefined; items: number }
  /** Nothing was done, and why: another run is at it, the schedule is paused, somebody called it off. */
  | { document?: undefined; duplicate: boolean; skipped: string; next?: undefined };

/** What a job is run with. */
export interface JobContext {
  config: Config;
  bucket: Bucket;
  secrets: CachedSecrets;
  clusters: Platform["clusters"];
  disks?: Platform["disks"];
  /** What is the same for every delivery of one trigger. */
  delivery?: string;
  /** When the platform will stop us. */
  deadline?: Date;
  /** Whether jobs that a job leaves are run by others, at the same time. */
  spreads?: boolean;
  /** Somebody runs what a job leaves to its end, and then `next`; else that is up to the jobs themselves. */
  loops?: boolean;
  signal: AbortSignal;
  /** Each line of the run's log as it is written. */
  listen?: Listen;
  /** Of a backup: hears what somebody who waits should know, as its log does. */
  say?: (line: string) => void;
  /** Hears that somebody could not be told of the job's end (tell.ts). */
  warn?: (message: string) => void;
  /** Who takes the lock, where a process can be told to have ended. */
  by?: Holder;
  timing?: LockTiming;
}

/** With what hears the job's name, once it is known; and when it is time to leave the rest of a job to the next run. */
export type NamedContext = JobContext & { named: (name: string) => void; slice?: Slice };
