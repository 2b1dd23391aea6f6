import { NEVER } from "../../abort.ts";
import { isLifeboatError, LifeboatError } from "../../errors.ts";
import { createObject } from "../../kube/object.ts";
import { LeftoverError } from "../leftover.ts";
import { INCOMPLETE } from "./failure.ts";
import { type Began, follow, logOf, type ResticRun } from "./follow.ts";
import { jobObject, type ResticJob, secretObject } from "./job.ts";
import { readLog } from "./log.ts";
import { type Output, readOutput } from "./output.ts";
import { JOBS, removeJob, SECRETS } from "./removal.ts";

/** What a Job that has done its work said. */
export interface ResticEnd {
  /** Its last container's log; undefined where that could not be read. */
  log: string | undefined;
  output: Output;
  /** Some of the files could not be read. */
  incomplete: boolean;
  /** What of it is left in the cluster after all. */
  left: string[];
}

/** Files that a warning names. */
export const MOST_NAMED = 5;

/** The warning of what is `left` after work that was done. */
export const leftWarning = (left: string) => `still in the cluster: ${left}`;

/** What the cluster's own deadline is later than ours. */
const SLACK_SECONDS = 60;

/**
 * Runs a Job: makes it, follows its Pod, and takes it away with its Pod and Secret, however it ends. Resolves with what restic
 * said where it has succeeded, or has read all but some files. Throws a LifeboatError that names what went wrong, each within
 * its time of `timing`, or the signal's reason; what is left then nevertheless is in its message. No secret is in any of it.
 */
export async function runRestic(run: ResticRun): Promise<ResticEnd> {
  const { kube, job, timing, signal } = run;
  const whole: ResticJob = { ...job, deadline: Math.ceil(timing.total / 1000) + SLACK_SECONDS };
  const began: Began = { at: performance.now(), gone: false };
  let end: Omit<ResticEnd, "left">;
  signal.throwIfAborted();
  try {
    await create(run, whole, began);
    const code = await follow(run, began);
    const log = await readLog(logOf(run, began));
    end = { log, output: readOutput(log ?? ""), incomplete: code === INCOMPLETE };
  } catch (error) {
    // What may not be made is not there.
    const refused = began.uid === undefined && isLifeboatError(error, "denied");
    const left = refused ? [] : await removeJob(kube, job, { timing, force: began.gone });
    throw left.length > 0 ? new LeftoverError(error, leftWarning(left.join(", "))) : error;
  }
  return { ...end, left: await removeJob(kube, job, { timing }) };
}

/** Why a Secret was not taken, without the server's words: those of a webhook may quote what is in it. */
function unquoted({ kind }: LifeboatError, { namespace, name }: ResticJob): LifeboatError {
  return new LifeboatError(kind, `the API server did not take the Secret ${namespace}/${name} of the Job (${kind})`, {
    hint: "its answer is not shown, since it may quote the Secret: kubectl create secret there, with other values, tells why",
  });
}

/**
 * Makes the Job, then the Secret that goes with it: whatever happens to us now, the cluster takes both away. No signal of the
 * run ends it: a request that was given up could still make a Job, after it was deleted.
 */
async function create({ kube }: ResticRun, job: ResticJob, began: Began): Promise<void> {
  const { metadata } = await createObject(kube, JOBS, jobObject(job), NEVER);
  began.uid = metadata.uid;
  await createObject(kube, SECRETS, secretObject(job, metadata.uid ?? ""), NEVER).catch((error: unknown) => {
    throw isLifeboatError(error) ? unquoted(error, job) : error;
  });
}
