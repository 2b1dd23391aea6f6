import type { FleetConfig } from "../config.ts";
import type { Bucket } from "../ports.ts";
import { isPaused } from "../schedule/pause.ts";
import type { ScheduleDocument } from "../schedule/standing.ts";

/** The schedules that are paused for the whole fleet, by what its own bucket says. Throws as `isPaused`. */
export async function fleetPauses(config: FleetConfig, bucket: Bucket, signal?: AbortSignal): Promise<Set<string>> {
  const paused = await Promise.all(
    Object.values(config.fleet.schedules).map(async (schedule) =>
      (await isPaused(bucket, schedule, signal)) ? [schedule.name] : [],
    ),
  );
  return new Set(paused.flat());
}

/** How a cluster's schedule stands: not on its own where it is paused for the whole fleet. */
export function underFleet(document: ScheduleDocument, pauses: ReadonlySet<string>): ScheduleDocument {
  if (!pauses.has(document.name)) return document;
  return { ...document, paused: true, fleetPaused: true, overdue: false, next: undefined, missed: [] };
}
