import type { Context } from "hono";
import { readLog } from "../catalog.ts";
import type { CheckDocument } from "../check/document.ts";
import type { Config } from "../config.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { LONGEST_CALLER } from "../job.ts";
import { RUN_KINDS } from "../layout.ts";
import type { Bucket, Jobs } from "../ports.ts";
import { checkJob, type NamedJob, submitJob } from "../requests.ts";
import type { RemovalMeans } from "../volumes/remover.ts";
import type { FleetDeps } from "./fleet.ts";
import { textPage } from "./pages.ts";

/** What the API is made over. */
export interface ApiDeps {
  config: Config;
  bucket: Bucket;
  jobs: Jobs;
  version: string;
  /** Asks whether backups can be made, of all clusters or of one. */
  check: (cluster: string | undefined, signal: AbortSignal) => Promise<CheckDocument>;
  /** By what copies of volumes are removed with their backup; closed after each use. Without it backups that have some are not deleted. */
  removal?: () => RemovalMeans & AsyncDisposable;
  /** Gives the public keys that are trusted; all is where it isn't given, or gives none. */
  trustedKeys?: () => Promise<string[]>;
  /** What every request but /healthz must bear; where there is none, the platform authenticates. */
  token?: string;
  /** Where it is the API of a whole fleet. */
  fleet?: FleetDeps;
  /** The configuration with another cluster of the same fleet to restore into, by default its own. Throws as `fleetCluster`. */
  into?: (cluster?: string) => Promise<Config>;
  /** A line about each unexpected error. */
  log?: (line: string) => void;
}

/** What comes with a request, beside it. */
export type Env = { Bindings: { caller?: string } };

/** Who the platform says is asking. */
export function callerOf(context: Context<Env>): string | undefined {
  return context.env.caller?.slice(0, LONGEST_CALLER);
}

/** Checks a job, records it and hands it over: 202. */
export async function submit(context: Context<Env>, deps: ApiDeps, job: NamedJob, warnings: string[] = []) {
  const document = await submitJob(await checkJob(job, deps), deps);
  const body = { ...document, warnings: warnings.map((message) => ({ message })) };
  return context.json(body, 202, { location: resultOf(job) });
}

function resultOf(job: NamedJob): string {
  if (job.kind === "verify") return `/v1/backups/${job.name}/verify`;
  return `/v1/${job.kind === "restore" && job.dryRun ? "plans" : RUN_KINDS[job.kind]}/${job.name}`;
}

/** A page of a run's log: 200, with a Link to the next one. */
export async function sendLog(
  context: Context<Env>,
  bucket: Bucket,
  kind: "backups" | "restores",
  name: string,
  token?: string,
) {
  const page = textPage(await readLog(bucket, kind, name, context.req.raw.signal), offsetOf(token));
  const next = tokenOf(page.next);
  const link = next && { link: `</v1/${kind}/${name}/logs?continue=${next}>; rel="next"` };
  return context.text(page.text, 200, { ...link });
}

/** What is committed under a name, else how its run stands. Throws what `read` throws where there is neither. */
export async function committedOr<Committed, Run>(
  read: () => Promise<Committed>,
  readRun: () => Promise<Run | undefined>,
): Promise<Committed | Run> {
  try {
    return await read();
  } catch (error) {
    if (!isLifeboatError(error, "missing")) throw error;
    const run = await readRun();
    if (!run) throw error;
    // It may have ended since.
    return await read().catch(() => run);
  }
}

/** A position as `continue` bears it. */
export function tokenOf(position: string | undefined): string | undefined {
  return position === undefined ? undefined : Buffer.from(position).toString("base64url");
}

/** The position that `continue` bears. Throws `invalid`. */
export function positionOf(token: string | undefined): string | undefined {
  const position = token === undefined ? undefined : Buffer.from(token, "base64url").toString();
  if (tokenOf(position) === token) return position;
  throw new LifeboatError("invalid", "continue is not what a page before gave", { hint: "begin without it" });
}

/** The position of an entry or a byte, 0 where there is no token. Throws `invalid`. */
export function offsetOf(token: string | undefined): number {
  const position = positionOf(token) ?? "0";
  if (/^\d{1,15}$/.test(position)) return Number(position);
  throw new LifeboatError("invalid", "continue is not what a page before gave", { hint: "begin without it" });
}
