import { z } from "zod";
import { readJson } from "../contents.ts";
import { unlessMissing } from "../errors.ts";
import { fleetKeys } from "../layout.ts";
import type { Bucket } from "../ports.ts";

/** How the backup of one cluster ended, in a run of the fleet. */
export const memberEndSchema = z.object({
  /** As of the backup; "Skipped" where it was not to be made. */
  phase: z.string(),
  /** The backup's name. */
  name: z.string().optional(),
  items: z.number().optional(),
  bytes: z.number().optional(),
  durationMs: z.number().optional(),
  /** Why it is not Completed, and of which kind that error is. */
  message: z.string().optional(),
  reason: z.string().optional(),
});
export type MemberEnd = z.infer<typeof memberEndSchema>;

const problems = z.array(z.object({ message: z.string() }));

/** What became of one run of a fleet's schedule: the same for the command line, HTTP, notifications and functions. */
export const fleetDocumentSchema = z.object({
  schemaVersion: z.literal(1),
  kind: z.literal("fleet"),
  /** As the backups are called. */
  name: z.string(),
  schedule: z.string(),
  /** Failed: no cluster has a good backup; PartiallyFailed: some have. */
  phase: z.enum(["Completed", "PartiallyFailed", "Failed"]),
  location: z.string(),
  startTimestamp: z.string(),
  completionTimestamp: z.string(),
  durationMs: z.number(),
  counts: z.object({ clusters: z.number(), good: z.number(), skipped: z.number(), failed: z.number() }),
  /** Of all backups. */
  items: z.number(),
  bytes: z.number(),
  clusters: z.array(memberEndSchema.extend({ cluster: z.string() })),
  warnings: problems,
  errors: problems,
});
export type FleetDocument = z.infer<typeof fleetDocumentSchema>;

/** A run that has not been summed up: New, or InProgress, with as many clusters as have ended. */
export const fleetRunSchema = fleetDocumentSchema
  .pick({ schemaVersion: true, kind: true, name: true, schedule: true, location: true })
  .extend({ phase: z.enum(["New", "InProgress"]), clusters: z.number().optional(), ended: z.number().optional() });
export type FleetRun = z.infer<typeof fleetRunSchema>;

/** The summary of a run; undefined while there is none. Throws `corrupt` for one that can't be read. */
export function readSummary(bucket: Bucket, run: string, signal?: AbortSignal): Promise<FleetDocument | undefined> {
  return unlessMissing(readJson(bucket, fleetKeys(run).summary, fleetDocumentSchema, signal));
}

interface Run {
  name: string;
  schedule: string;
  location: string;
  began: Date;
  /** What kept clusters from being found, or may have. */
  problems: string[];
  warnings: string[];
}

/** What became of a run: each of its clusters has an end. */
export function fleetDocument(run: Run, ends: ReadonlyMap<string, MemberEnd>, now: Date): FleetDocument {
  const clusters = [...ends].map(([cluster, end]) => ({ cluster, ...end }));
  const sum = (value: (end: MemberEnd) => number | undefined) =>
    clusters.reduce((total, end) => total + (value(end) ?? 0), 0);
  const count = (wanted: (phase: string) => boolean) => clusters.filter(({ phase }) => wanted(phase)).length;
  const good = count((phase) => phase === "Completed");
  const skipped = count((phase) => phase === "Skipped");
  const failed = clusters.filter(({ phase }) => phase !== "Completed" && phase !== "Skipped");
  const none = clusters.length === 0 ? [`schedule "${run.schedule}" chooses no cluster`] : [];
  const errors = [
    ...none,
    ...run.problems,
    ...failed.map(({ cluster, phase, message = phase }) => `${cluster}: ${message}`),
  ];
  const others = clusters.flatMap(({ cluster, phase, message = "" }) =>
    phase === "Skipped" ? [`${cluster}: ${message}`] : [],
  );
  return {
    ...{ schemaVersion: 1, kind: "fleet", name: run.name, schedule: run.schedule, location: run.location },
    phase: errors.length === 0 ? "Completed" : good + skipped > 0 ? "PartiallyFailed" : "Failed",
    startTimestamp: run.began.toISOString(),
    completionTimestamp: now.toISOString(),
    durationMs: now.getTime() - run.began.getTime(),
    counts: { clusters: clusters.length, good, skipped, failed: failed.length },
    items: sum(({ items }) => items),
    bytes: sum(({ bytes }) => bytes),
    clusters,
    warnings: [...run.warnings, ...others].map((message) => ({ message })),
    errors: errors.map((message) => ({ message })),
  };
}
