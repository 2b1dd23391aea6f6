import { LifeboatError } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { at, type Fields, isFields } from "../../objects/fields.ts";
import { forgetBackupsCommand, forgetCommand, snapshotsCommand, UNLOCK } from "./commands.ts";
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

/**
 * Deletes copies from a repository, those that are not there being gone already. What only they hold stays until `forgetBackups`:
 * finding it takes long.
 */
export async function forgetFiles(
  kube: Kube,
  settings: ResticSettings,
  { snapshotIds, ...of }: RepositoryOf & { snapshotIds: string[] },
): Promise<void> {
  await forget(kube, settings, of, [forgetCommand(snapshotIds, settings.timing)]);
}

/** Deletes all copies of backups from a repository, those too that no record names since their run was killed, and what only they hold. */
export async function forgetBackups(
  kube: Kube,
  settings: ResticSettings,
  { backups, ...of }: RepositoryOf & { backups: string[] },
): Promise<void> {
  // Copies that were killed hold their locks for ever.
  await forget(kube, settings, of, [UNLOCK, forgetBackupsCommand(backups, settings.timing)]);
}

async function forget(kube: Kube, settings: ResticSettings, of: RepositoryOf, commands: string[][]): Promise<void> {
  await runWork(workOn(kube, settings, of), `delete copies from the repository of ${of.repository}`, commands);
}

function workOn(kube: Kube, settings: ResticSettings, of: RepositoryOf): Work {
  return { kube, settings, labels: {}, ...of };
}
