import { randomUUID } from "node:crypto";
import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError, LifeboatError } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { BACKUP_NAME, labelValue } from "../../labels.ts";
import { at } from "../../objects/fields.ts";
import type { Copied, Mount, VolumeCopy } from "../volume.ts";
import { backupCommand, forgetCommand, INIT, restoreCommand, snapshotsCommand, UNLOCK } from "./commands.ts";
import { lacksOnlyAttributes } from "./failure.ts";
import type { Placement } from "./job.ts";
import { count, type Progress, readAnswer } from "./output.ts";
import type { Repositories } from "./repositories.ts";
import { repositoryAt } from "./repository.ts";
import { type ResticEnd, type ResticRun, runRestic } from "./run.ts";
import type { ResticSettings } from "./settings.ts";
import { pinnedTo } from "./unfit.ts";

/** A bound claim whose files are to be copied. */
export interface FilesToCopy {
  /** The claim, which must not be `unfit`, and its volume. */
  claim: KubernetesObject;
  volume: KubernetesObject;
  /** The Pod that uses it, if one does. */
  mount?: Mount;
  /** The claim that is read in its place, of the same namespace: one that was made from a snapshot of it. */
  clone?: string;
  backupName: string;
  /** The copy's tags in the repository, beside those that tell the backup, the claim and its volume. */
  tags?: string[];
  repositories: Repositories;
  signal: AbortSignal;
  progress?: (progress: Progress) => void;
}

/**
 * Copies a claim's files by a Job into the repository of its namespace, which is made where there is none. Only what the
 * repository doesn't hold is stored, and of files that are as they were in the claim's last copy nothing is read. Files are read one
 * after the other while others write them: the point in time is only fixed once all is done. Files that can't be read are warnings.
 */
export function copyFiles(kube: Kube, settings: ResticSettings, input: FilesToCopy): VolumeCopy {
  const done = copy(kube, settings, input);
  const fixed = done.then(() => {});
  // Whoever awaits `done` alone learns of a failure too.
  fixed.catch(() => {});
  return { done, fixed };
}

async function copy(kube: Kube, settings: ResticSettings, input: FilesToCopy): Promise<Copied> {
  const { claim, volume, mount, clone, backupName, repositories, signal, progress } = input;
  const { namespace = "", name, uid = "" } = claim.metadata;
  const work: Work = {
    kube,
    settings,
    namespace,
    repository: namespace,
    labels: { [BACKUP_NAME]: labelValue(backupName) },
    signal,
  };
  const init = async (signal: AbortSignal) =>
    void (await runWork({ ...work, signal }, `make the repository of ${namespace}`, [INIT]));
  await repositories.ensure(namespace, init, signal);

  const run = `run=${randomUUID()}`;
  const tags = [`backup=${backupName}`, `claim=${name}`, `volume=${volume.metadata.name}`, ...(input.tags ?? []), run];
  const end = await runUnlocking({ ...work, progress }, `copy the files of ${namespace}/${name}`, {
    command: backupCommand(`${name}.${uid}`, tags, settings.timing),
    claim: { name: clone ?? name, use: "read" },
    node: clone === undefined ? pinnedTo(claim, volume, mount) : undefined,
  });
  const summary = end.output.summary ?? (await findSummary(work, run));
  const snapshotId = String(at(summary, "snapshot_id") ?? "");
  if (!snapshotId) {
    throw new LifeboatError(
      "unreachable",
      `can't copy the files of ${namespace}/${name}: restic has not said what it made`,
    );
  }
  return {
    files: {
      snapshotId,
      namespace,
      size: count(summary, "total_bytes_processed"),
      files: count(summary, "total_files_processed"),
      added: count(summary, "data_added_packed"),
      podName: mount?.pod.name ?? "",
      podUid: mount?.pod.uid ?? "",
      nodeName: mount?.nodeName ?? "",
      volumeName: mount?.volumeName ?? "",
    },
    warnings: [...unread(end), ...end.left.map(leftWarning)],
    discard: (signal) =>
      forgetFiles(kube, settings, {
        namespace,
        repository: namespace,
        snapshotIds: [snapshotId],
        prune: false,
        signal,
      }),
  };
}

/** What restic could not read, which is in no copy. */
function unread({ incomplete, output: { problems } }: ResticEnd): string[] {
  if (!incomplete) return [];
  const some = problems.slice(0, MOST_NAMED).join("; ");
  return [
    `files that could not be read are not in the copy${some && `: ${some}`}${problems.length > MOST_NAMED ? " …" : ""}`,
  ];
}

const MOST_NAMED = 5;
const leftWarning = (left: string) => `still in the cluster: ${left}`;

/** The summary of a copy whose Job's log is lost: the repository keeps it with the copy. */
async function findSummary(work: Work, tag: string): Promise<unknown> {
  const { log = "" } = await runWork(work, `look for a copy in the repository of ${work.namespace}`, [
    snapshotsCommand(tag),
  ]);
  const found = readAnswer(log);
  const snapshot = Array.isArray(found) ? found[0] : undefined;
  const summary = at(snapshot, "summary");
  return summary && { ...summary, snapshot_id: at(snapshot, "id") };
}

/** A claim that is to get its files back. */
export interface ClaimToFill {
  /** It exists, is new, and no Pod uses it. */
  claim: { namespace: string; name: string };
  /** The copy: its id, and the source namespace, whose repository it is in. */
  from: { namespace: string; snapshotId: string };
  restoreName: string;
  /** Where the Pods that will use the claim may run: a volume that is made for its first Pod is made there. */
  placement?: Placement;
  /** Zeros become holes; on by default. */
  sparse?: boolean;
  signal: AbortSignal;
  progress?: (progress: Progress) => void;
}

/**
 * Brings a copy's files back into a claim, with their owners, modes, times and links. Resolves with how much it was; `warnings` tell of
 * what files have that the volume doesn't take, such as extended attributes. Throws where a file's content is missing.
 */
export async function fillClaim(
  kube: Kube,
  settings: ResticSettings,
  { claim, from, restoreName, placement, sparse, signal, progress }: ClaimToFill,
): Promise<{ size: number; files: number; warnings: string[] }> {
  const work: Work = {
    kube,
    settings,
    namespace: claim.namespace,
    repository: from.namespace,
    labels: { "velero.io/restore-name": labelValue(restoreName) },
    signal,
    progress,
    tolerates: lacksOnlyAttributes,
  };
  const end = await runUnlocking(work, `restore the files of ${claim.namespace}/${claim.name}`, {
    command: restoreCommand(from.snapshotId, settings.timing, { sparse }),
    claim: { name: claim.name, use: "write" },
    placement,
  });
  const { summary } = end.output;
  return {
    size: count(summary, "total_bytes"),
    files: count(summary, "total_files"),
    warnings: [...end.output.problems.slice(0, MOST_NAMED), ...end.left.map(leftWarning)],
  };
}

/** Copies that are to go. */
export interface FilesToForget {
  /** Where the Job runs: any namespace that there is. */
  namespace: string;
  /** The source namespace, whose repository they are in. */
  repository: string;
  snapshotIds: string[];
  /** Also delete what no other copy holds, which takes long and locks the repository; else a later call does it. */
  prune?: boolean;
  signal: AbortSignal;
}

/** Deletes copies from a repository. Those that are not there are gone already. */
export async function forgetFiles(
  kube: Kube,
  settings: ResticSettings,
  { namespace, repository, snapshotIds, prune = true, signal }: FilesToForget,
): Promise<void> {
  const work: Work = { kube, settings, namespace, repository, labels: {}, signal };
  // Copies that were killed hold their locks for ever, and pruning needs the repository for itself.
  const commands = [...(prune ? [UNLOCK] : []), forgetCommand(snapshotIds, settings.timing, { prune })];
  await runWork(work, `delete copies from the repository of ${repository}`, commands);
}

/** What the Jobs of one volume have in common. */
interface Work extends Pick<ResticRun, "kube" | "signal" | "progress" | "tolerates"> {
  settings: ResticSettings;
  namespace: string;
  /** The source namespace. */
  repository: string;
  labels: Record<string, string>;
}

type Mounted = Pick<ResticRun["job"], "claim" | "node" | "placement">;

async function runWork(work: Work, what: string, commands: string[][], mounted: Mounted = {}): Promise<ResticEnd> {
  const { kube, settings, namespace, labels, signal, progress, tolerates } = work;
  const { image, serviceAccount, location, env, timing } = settings;
  const job = {
    name: `lifeboat-${randomUUID()}`,
    namespace,
    labels,
    image,
    ...(serviceAccount && { serviceAccount }),
    repository: repositoryAt(location, work.repository, env),
    secrets: await settings.secrets(signal),
    commands,
    ...mounted,
  };
  return runRestic({ kube, job, what, timing, signal, progress, tolerates });
}

/** Where the repository is locked for longer than anybody works on it, its locks may be of the dead: then once more, without those. */
async function runUnlocking(work: Work, what: string, { command, ...mounted }: Mounted & { command: string[] }) {
  try {
    return await runWork(work, what, [command], mounted);
  } catch (error) {
    if (!isLifeboatError(error, "busy")) throw error;
    return runWork(work, what, [UNLOCK, command], mounted);
  }
}
