import { isLifeboatError } from "../../errors.ts";
import { UNLOCK } from "./commands.ts";
import type { ResticRun } from "./follow.ts";
import { newJobName } from "./job.ts";
import { repositoryAt } from "./repository.ts";
import { type ResticEnd, runRestic } from "./run.ts";
import type { ResticSettings } from "./settings.ts";

/** What the Jobs for one volume or repository have in common. */
export interface Work extends Pick<ResticRun, "kube" | "signal" | "tell" | "tolerates"> {
  settings: ResticSettings;
  /** Where the Jobs run. */
  namespace: string;
  /** The source namespace, whose repository it is about. */
  repository: string;
  labels: Record<string, string>;
}

/** The claim that a Job mounts, and where. */
type Mounted = Pick<ResticRun["job"], "claim" | "node" | "placement">;

/** Runs restic's commands in a Job, as `runRestic`. Reads the secrets for it. */
export async function runWork(
  work: Work,
  what: string,
  commands: string[][],
  mounted: Mounted = {},
): Promise<ResticEnd> {
  const { kube, settings, namespace, labels, signal, tell, tolerates } = work;
  const { image, serviceAccount, location, env, timing } = settings;
  const job = {
    name: newJobName(),
    namespace,
    labels,
    image,
    ...(serviceAccount && { serviceAccount }),
    repository: repositoryAt(location, work.repository, env),
    secrets: await settings.secrets(signal),
    commands,
    ...mounted,
  };
  return runRestic({ kube, job, what, timing, signal, tell, tolerates });
}

/**
 * Runs one command, as `runWork`. Where the repository is locked for longer than restic waits, its locks may be of the dead: then once
 * more, without those.
 */
export async function runUnlocking(work: Work, what: string, { command, ...mounted }: Mounted & { command: string[] }) {
  try {
    return await runWork(work, what, [command], mounted);
  } catch (error) {
    if (!isLifeboatError(error, "busy")) throw error;
    return runWork(work, what, [UNLOCK, command], mounted);
  }
}
