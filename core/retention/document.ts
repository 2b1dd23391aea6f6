import { z } from "zod";
import type { Config } from "../config.ts";
import type { CopiesFate } from "../copies.ts";
import type { Holder } from "../holder.ts";
import { ALL } from "../job.ts";
import type { Bucket } from "../ports.ts";
import type { Problem } from "../report.ts";
import { timestamp } from "../timestamp.ts";
import type { RemovalMeans } from "../volumes/remover.ts";
import type { BackupFacts } from "./judge.ts";

/** One thing that retention has judged. */
export interface RetentionRow {
  /**
   * `unfinished`: what an interrupted run or deletion left of a backup; `run`: the requests, logs and locks of runs of a
   * name, and how far one had come that was cut into slices; `pin`: what was said of a backup that is gone; `verification`: what was found of one that is gone, or before; `told`:
   * of which failure people were told; `probe`: what a check of the location stored.
   */
  kind: "backup" | "restore" | "unfinished" | "run" | "plan" | "pin" | "verification" | "told" | "probe";
  name: string;
  action: "keep" | "delete";
  reason: string;
  /** Of a backup, as its record tells. */
  schedule?: string;
  phase?: string;
  startTimestamp?: string;
  /** What lies under its name in the bucket. */
  objects: number;
  bytes: number;
  /** Copies of its volumes, which go with it; absent where there are none. */
  volumeCopies?: number;
}

export const rowSchema: z.ZodType<RetentionRow> = z.object({
  kind: z.enum(["backup", "restore", "unfinished", "run", "plan", "pin", "verification", "told", "probe"]),
  ...{ name: z.string(), action: z.enum(["keep", "delete"]), reason: z.string() },
  ...{ schedule: z.string().optional(), phase: z.string().optional(), startTimestamp: z.string().optional() },
  ...{ objects: z.number(), bytes: z.number() },
  volumeCopies: z.number().optional().describe("snapshots and copies of files of its volumes, which go with it"),
});

/** A row, and how it is carried out. */
export interface Judged {
  row: RetentionRow;
  /** Of a backup: what decided. */
  facts?: BackupFacts;
  /** Of a backup, and of what is left of one: with what becomes of copies of volumes. */
  remove: (signal: AbortSignal, how?: CopiesFate) => Promise<unknown>;
}

/** What retention would do, or has done: the same for the command line and functions. */
export interface RetentionDocument {
  schemaVersion: 1;
  kind: "retention";
  /** `retentionName` */
  name: string;
  /** Nothing was deleted. */
  dryRun: boolean;
  /** PartiallyFailed: what should have gone is still there, say for want of a right; `errors` tell. */
  phase: "Completed" | "PartiallyFailed";
  location: string;
  /** The schedule whose backups alone were looked at. */
  schedule?: string;
  /** The time by which ages were judged. */
  timestamp: string;
  counts: { keep: number; delete: number };
  /** What goes takes so much of the bucket. */
  freedBytes: number;
  rows: RetentionRow[];
  warnings: Problem[];
  errors: Problem[];
}

export interface RetentionScope {
  bucket: Bucket;
  config: Pick<Config, "schedules" | "restoreTTL">;
  /** Only the backups of this schedule, and nothing else. */
  schedule?: string;
  now: Date;
  /** The public keys that are trusted: where there are some, what none of them has signed stands for no other backup. */
  trustedKeys?: string[];
  /** By what copies of volumes are removed; without it backups that have some stay. Asked once some are to go. */
  volumes?: () => Promise<RemovalMeans>;
  /** Who takes the locks of what is deleted. */
  by?: Holder;
  signal: AbortSignal;
}

/** How a run of retention is called: by the schedule whose backups alone it looks at, if there is one. */
export function retentionName(schedule: string | undefined): string {
  return schedule ?? ALL;
}

/** The document of what was judged, and perhaps done. */
export function retentionDocument(
  { bucket, schedule, now }: RetentionScope,
  { dryRun, rows, warnings = [], errors = [] }: Pick<RetentionDocument, "dryRun" | "rows"> & Partial<RetentionDocument>,
): RetentionDocument {
  const going = rows.filter(({ action }) => action === "delete");
  return {
    ...{
      schemaVersion: 1,
      kind: "retention",
      name: retentionName(schedule),
      dryRun,
      phase: errors.length ? "PartiallyFailed" : "Completed",
    },
    ...{ location: bucket.location, schedule, timestamp: timestamp(now) },
    counts: { keep: rows.length - going.length, delete: going.length },
    freedBytes: going.reduce((sum, { bytes }) => sum + bytes, 0),
    rows,
    warnings,
    errors,
  };
}
