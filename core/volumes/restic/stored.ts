import { LifeboatError } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { at, type Fields, isFields } from "../../objects/fields.ts";
import { forgetCommand, snapshotsCommand, UNLOCK } from "./commands.ts";
import { readAnswer } from "./output.ts";
import type { ResticSettings } from "./settings.ts";
import { runWork, type Work } from "./work.ts";

/** A copy in a repository. */
export interface StoredFiles {
  snapshotId: string;
  /** Whose it is; undefined where it was made by somebody else. */
  backup?: string;
  claim?: string;
  /** What restic said when it had made it. */
  summary: unknown;
}

/** Which repository is worked on. */
export interface RepositoryOf {
  /** Where the Job runs: any namespace that there is. */
  namespace: string;
  /** The source namespace, whose repository it is. */
  repository: string;
  signal: AbortSignal;
}

/** The copies in a repository, or those with a tag. Throws as `runRestic`. */
export async function storedFiles(
  kube: Kube,
  settings: ResticSettings,
  { namespace, repository, signal, tag }: RepositoryOf & { tag?: string },
): Promise<StoredFiles[]> {
  const what = `list the copies in the repository of ${repository}`;
  const { log = "" } = await runWork(workOn(kube, settings, { namespace, repository, signal }), what, [
    snapshotsCommand(tag),
  ]);
  const answer = readAnswer(log);
  if (Array.isArray(answer)) return answer.filter(isFields).map(storedOf);
  throw new LifeboatError("unreachable", `can't ${what}: what restic answered is lost`);
}

function storedOf(snapshot: Fields): StoredFiles {
  const tags = [at(snapshot, "tags") ?? []].flat().map(String);
  const named = (name: string) => {
    const tag = tags.find((tag) => tag.startsWith(`${name}=`));
    return tag && { [name]: tag.slice(name.length + 1) };
  };
  return {
    snapshotId: String(snapshot.id),
    ...named("backup"),
    ...named("claim"),
    summary: snapshot.summary,
  };
}

/** Copies that are to go. */
export interface FilesToForget extends RepositoryOf {
  snapshotIds: string[];
  /** Also delete what no other copy holds, which takes long and locks the repository; else a later call does it. */
  prune?: boolean;
}

/** Deletes copies from a repository. Those that are not there are gone already. */
export async function forgetFiles(
  kube: Kube,
  settings: ResticSettings,
  { namespace, repository, snapshotIds, prune = true, signal }: FilesToForget,
): Promise<void> {
  // Copies that were killed hold their locks for ever, and pruning needs the repository for itself.
  const commands = [...(prune ? [UNLOCK] : []), forgetCommand(snapshotIds, settings.timing, { prune })];
  const work = workOn(kube, settings, { namespace, repository, signal });
  await runWork(work, `delete copies from the repository of ${repository}`, commands);
}

function workOn(kube: Kube, settings: ResticSettings, of: RepositoryOf): Work {
  return { kube, settings, labels: {}, ...of };
}
