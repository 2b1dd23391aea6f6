import { hash } from "node:crypto";
import { z } from "zod";
import type { FleetSchedule } from "../config.ts";
import { readJson, readObject } from "../contents.ts";
import { LifeboatError } from "../errors.ts";
import type { FleetJob } from "../job.ts";
import { fleetKeys } from "../layout.ts";
import { listObjects, putOnce } from "../once.ts";
import type { Bucket } from "../ports.ts";
import { asksAgain, fleetClusters, notFound } from "./discovery.ts";
import type { FleetContext } from "./member.ts";
import { chosenNames } from "./settings.ts";

const membersSchema = z.object({
  schedule: z.string(),
  /** When they were chosen. */
  at: z.iso.datetime().transform((text) => new Date(text)),
  clusters: z.array(z.string()),
  /** What kept others from being found. */
  problems: z.array(z.string()),
  warnings: z.array(z.string()),
});
/** The clusters that a run of a fleet's schedule is of. */
export type Members = z.infer<typeof membersSchema>;

/**
 * The clusters that a schedule chooses now. Undefined where a cloud that can't be asked should be asked again before; `warn` hears
 * why. Throws the signal's reason.
 */
export async function chooseMembers(
  schedule: FleetSchedule,
  { tried = 0 }: Pick<FleetJob, "tried">,
  { config, clusters: clouds, signal }: Pick<FleetContext, "config" | "clusters" | "signal">,
  warn: (problem: string) => void,
): Promise<Members | undefined> {
  const found = await fleetClusters(config, clouds, signal);
  if (asksAgain(found, tried)) {
    found.problems.forEach(warn);
    return undefined;
  }
  const clusters = chosenNames(schedule.clusters, found.clusters);
  const problems = [...found.problems, ...notFound(schedule, found)];
  return { schedule: schedule.name, at: new Date(), clusters, problems, warnings: found.warnings };
}

/**
 * Stores the members of a run under their digest, which is what the run's jobs know them by: jobs come by the platform's own ways, and
 * what else lies in the bucket chooses no clusters. Gives the digest, in hex.
 */
export async function keepMembers(bucket: Bucket, run: string, members: Members, signal: AbortSignal): Promise<string> {
  const body = Buffer.from(`${JSON.stringify({ schemaVersion: 1, ...members })}\n`);
  const digest = hash("sha256", body, "hex");
  await putOnce(bucket, keyOf(run, digest), body, signal);
  return digest;
}

/** The members of that digest. Throws `corrupt` where they are others, and what the bucket throws. */
export async function keptMembers(bucket: Bucket, run: string, digest: string, signal: AbortSignal): Promise<Members> {
  const key = keyOf(run, digest);
  const body = await readObject(bucket, key, signal);
  if (hash("sha256", body, "hex") === digest) return membersSchema.parse(JSON.parse(body.toString()));
  throw new LifeboatError("corrupt", `${key} in ${bucket.location} is not what the run has stored there`, {
    key,
    hint: "find out who writes there, take it away, and run the schedule again",
  });
}

/** Those that were stored last for a run, for who looks at it; undefined where there are none. Throws as `readJson`. */
export async function newestMembers(bucket: Bucket, run: string, signal?: AbortSignal): Promise<Members | undefined> {
  const stored = await Array.fromAsync(listObjects(bucket, fleetKeys(run).members, signal));
  const newest = stored.sort((a, b) => a.modified.getTime() - b.modified.getTime()).at(-1);
  return newest && readJson(bucket, newest.key, membersSchema, signal);
}

const keyOf = (run: string, digest: string) => `${fleetKeys(run).members}${digest}.json`;
