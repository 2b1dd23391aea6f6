import { randomUUID } from "node:crypto";
import type { KubernetesObject } from "../../archive/item.ts";
import { LifeboatError } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { labelsFor } from "../../labels.ts";
import { at } from "../../objects/fields.ts";
import { lastTold, type Tell } from "../doing.ts";
import type { Copied, Mount, VolumeCopy } from "../volume.ts";
import { backupCommand, backupTag, INIT } from "./commands.ts";
import { count } from "./output.ts";
import type { Repositories } from "./repositories.ts";
import { repositoryAt } from "./repository.ts";
import { leftWarning, MOST_NAMED, type ResticEnd } from "./run.ts";
import type { ResticSettings } from "./settings.ts";
import { type RepositoryOf, type StoredFiles, storedFiles } from "./stored.ts";
import { near, pinnedTo } from "./unfit.ts";
import { runUnlocking, runWork, type Work } from "./work.ts";

/** A bound claim whose files are to be copied. */
export interface FilesToCopy {
  /** The claim, which must not be `unfit` where there is no `clone`, and its volume. */
  claim: KubernetesObject;
  volume: KubernetesObject;
  /** The Pod that uses it, if one does. */
  mount?: Mount;
  /** The claim that is read in its place, of the same namespace: one that was made from a snapshot of it. */
  clone?: string;
  backupName: string;
  repositories: Repositories;
  signal: AbortSignal;
}

/**
 * Copies a claim's files by a Job into the repository of its namespace, which is made where there is none. Only what the
 * repository doesn't hold is stored, and of files that are as they were in the claim's last copy nothing is read. Files are read one
 * after the other while others write them: the point in time is only fixed once all is done. Files that can't be read are warnings.
 * Rejects as `runRestic` and the bucket do, and with `invalid` for a location that Pods can't reach.
 */
export function copyFiles(kube: Kube, settings: ResticSettings, input: FilesToCopy): VolumeCopy {
  const { tell, doing } = lastTold();
  const done = copy(kube, settings, input, tell);
  const fixed = done.then(() => {});
  // Whoever awaits `done` alone learns of a failure too.
  fixed.catch(() => {});
  return { done, fixed, doing };
}

async function copy(kube: Kube, settings: ResticSettings, input: FilesToCopy, tell: Tell): Promise<Copied> {
  const { claim, volume, mount, clone, backupName, repositories, signal } = input;
  const { namespace = "", name, uid = "" } = claim.metadata;
  const work: Work = {
    kube,
    settings,
    namespace,
    repository: namespace,
    labels: labelsFor({ backupName, location: settings.location }),
    signal,
  };
  // Before anything is stored there for nothing.
  repositoryAt(settings.location, namespace, settings.env);
  tell({ what: `waits for the restic repository of ${namespace}` });
  const init = async (signal: AbortSignal) =>
    void (await runWork({ ...work, signal, tell }, `make the repository of ${namespace}`, [INIT]));
  await repositories.ensure(namespace, init, signal);

  const run = `run=${randomUUID()}`;
  const tags = [backupTag(backupName), `claim=${name}`, `volume=${volume.metadata.name}`, run];
  const end = await runUnlocking({ ...work, tell }, "copy its files", {
    command: backupCommand(`${name}.${uid}`, tags, settings.timing),
    claim: { name: clone ?? name, use: "read" },
    ...(clone === undefined ? { node: pinnedTo(claim, volume, mount) } : { placement: near(volume) }),
  });
  const { snapshotId, summary } =
    madeBy(end) ?? (await find(kube, settings, { namespace, repository: namespace, signal, tag: run }));
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

function madeBy({ output: { summary } }: ResticEnd): Pick<StoredFiles, "snapshotId" | "summary"> | undefined {
  const snapshotId = at(summary, "snapshot_id");
  return typeof snapshotId === "string" ? { snapshotId, summary } : undefined;
}

/** A copy of which its Job's log is lost: the repository tells of it by its tag. */
async function find(kube: Kube, settings: ResticSettings, of: RepositoryOf & { tag: string }): Promise<StoredFiles> {
  const [stored] = await storedFiles(kube, settings, of);
  if (stored) return stored;
  throw new LifeboatError(
    "corrupt",
    `restic has copied files of ${of.repository}, and its repository doesn't hold them`,
  );
}
