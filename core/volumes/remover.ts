import pLimit from "p-limit";
import { isLifeboatError, LifeboatError, messageOf } from "../errors.ts";
import { expectOk, type Kube } from "../kube/client.ts";
import { listPages } from "../kube/list.ts";
import { at } from "../objects/fields.ts";
import type { Disks } from "../ports.ts";
import { type Copies, copiesText, copyCount } from "./copies.ts";
import { deleteSnapshots } from "./csi/deletion.ts";
import { SNAPSHOT_API } from "./csi/kinds.ts";
import { csiRun, type Patience } from "./csi/run.ts";
import type { VolumeMeans } from "./means.ts";
import { cloudOf } from "./native.ts";
import { forgetBackups } from "./restic/stored.ts";

/** By what copies of volumes are removed. */
export interface RemovalMeans extends VolumeMeans {
  /**
   * A client of the cluster that a backup is of, which stays the giver's to close. Throws where it isn't known or can't be had.
   */
  cluster(of: Pick<Copies, "backup" | "cluster" | "server">, signal: AbortSignal): Promise<Kube>;
  csi?: Patience;
}

/** Backups whose copies of files in one repository are to go. */
export interface Forgetting {
  /** The namespace that the repository is of. */
  repository: string;
  backups: string[];
  kube: Kube;
}

/** Copies of a backup's volumes, and all that it takes to remove them. */
export interface OpenedCopies {
  /** Removes the snapshots of the storage; what is gone already is no failure. Throws a CopiesError once all were tried. */
  removeSnapshots(signal: AbortSignal): Promise<void>;
  /** What is left for `forget`. */
  files: Forgetting[];
}

/** A copy of a volume that can't be removed: what is lacking is not its backup's bucket, however it is called. */
export class CopiesError extends LifeboatError {}

/** What to do where copies can't be removed. */
export const KEEP_HINT =
  "--keep-volume-data (in HTTP keepVolumeData=true) deletes the backup alone, and leaves them in their storage";

const AT_ONCE = 8;

/**
 * Opens all that removing the copies takes, so that what can't be done is known before anything is deleted: the cluster answers,
 * and serves VolumeSnapshots where some are to go; the clouds' disks can be asked; restic is configured. `location` is that of
 * the backup. Throws a CopiesError that says what is lacking.
 */
export async function openCopies(
  copies: Copies,
  means: RemovalMeans,
  { location, signal }: { location: string; signal: AbortSignal },
): Promise<OpenedCopies> {
  try {
    const { csi, files } = copies;
    const kube = csi.length + files.length > 0 ? await means.cluster(copies, signal) : undefined;
    if (kube && csi.length > 0) await checkSnapshots(kube, signal);
    if (files.length > 0 && !means.files)
      throw new LifeboatError(
        "invalid",
        "the configuration has no volumes.restic, by which copies of files are made and deleted",
      );
    if (kube && files.length > 0) await namespaceFor(kube, files[0]!.namespace, signal);
    const natives = await openDisks(copies, means, signal);
    const repositories = new Set(files.map(({ namespace }) => namespace));
    return {
      removeSnapshots: (signal) => removeSnapshots(copies, { kube, means, location, natives }, signal),
      files: [...repositories].map((repository) => ({ repository, backups: [copies.backup], kube: kube! })),
    };
  } catch (error) {
    signal.throwIfAborted();
    throw asCopiesError(error, `${copiesText(copyCount(copies))} of backup "${copies.backup}" can't be removed`);
  }
}

function asCopiesError(error: unknown, what: string): unknown {
  if (!isLifeboatError(error)) return error;
  const hint = [error.hint, KEEP_HINT].filter(Boolean).join("\n");
  return new CopiesError(error.kind, `${what}: ${error.message}`, { hint, cause: error });
}

async function checkSnapshots(kube: Kube, signal: AbortSignal): Promise<void> {
  const response = await kube.request({ path: `/apis/${SNAPSHOT_API}`, signal });
  if (response.status === 404) {
    throw new LifeboatError("missing", `${kube.server} serves no VolumeSnapshots, by which CSI drivers delete theirs`, {
      hint: "name another cluster in which the driver runs: --cluster or --kubeconfig",
    });
  }
  expectOk(response, "tell whether VolumeSnapshots are served");
}

interface Native {
  id: string;
  zone: string;
  disks: Disks;
}

/** Opens the disks of the clouds, and asks each whether the backup's first snapshot there is one of that backup. */
async function openDisks(
  { native, backup }: Copies,
  { disks = {} }: RemovalMeans,
  signal: AbortSignal,
): Promise<Native[]> {
  const opened = new Map<string, Disks>();
  for (const one of native) {
    const cloud = cloudOf(one.id);
    if (opened.has(cloud)) continue;
    const open = disks[cloud];
    if (!open)
      throw new LifeboatError(
        "invalid",
        `the snapshot ${one.id} is ${cloud}'s, whose disks can't be reached from here`,
      );
    const those = await open();
    await checkTag(await those.read(one, signal), backup);
    opened.set(cloud, those);
  }
  return native.map((one) => ({ ...one, disks: opened.get(cloudOf(one.id))! }));
}

/** Whoever can write into the bucket could have the snapshots of others deleted by what he writes there. */
function checkTag(found: Awaited<ReturnType<Disks["read"]>>, backup: string): void {
  const tag = found?.tags["velero.io/backup"];
  if (!found || tag === backup) return;
  throw new LifeboatError(
    "conflict",
    `the snapshot ${found.id} is not tagged as of this backup: velero.io/backup is ${tag ?? "missing"}`,
    {
      hint: "see what it is, and delete it by hand",
    },
  );
}

async function removeSnapshots(
  { backup, csi }: Copies,
  {
    kube,
    means,
    location,
    natives,
  }: { kube: Kube | undefined; means: RemovalMeans; location: string; natives: Native[] },
  signal: AbortSignal,
): Promise<void> {
  const limit = pLimit(AT_ONCE);
  const run = kube && csiRun(kube, { ...means.csi, backupName: backup, location, signal });
  const undeleted = run ? await deleteSnapshots(run, csi, signal) : [];
  const removing = natives.map(({ disks, ...one }) =>
    limit(async () => {
      checkTag(await disks.read(one, signal), backup);
      await disks.removeSnapshot(one, signal);
    }),
  );
  const ended = await Promise.allSettled(removing);
  signal.throwIfAborted();
  const failures: unknown[] = [
    ...undeleted.map(({ error }) => error),
    ...ended.flatMap((one) => (one.status === "rejected" ? [one.reason] : [])),
  ];
  const [first] = failures;
  if (first === undefined) return;
  if (!isLifeboatError(first)) throw first;
  const of = copiesText(csi.length + natives.length);
  throw new CopiesError(
    first.kind,
    `${failures.length} of ${of} of backup "${backup}" could not be removed: ${messageOf(first)}`,
    { hint: [first.hint, AGAIN, KEEP_HINT].filter(Boolean).join("\n"), cause: first },
  );
}

const AGAIN = "delete the backup again: that goes on where this one ended";

/** Where the Job runs that works on a repository, and, where that is another namespace, why. */
async function namespaceFor(
  kube: Kube,
  repository: string,
  signal: AbortSignal,
): Promise<{ namespace: string; reason?: string }> {
  let state = "is gone";
  // By a LIST: whoever backs up may list, and needs no more of namespaces.
  for await (const { items } of listPages(kube, NAMESPACES, { fieldSelector: `metadata.name=${repository}`, signal }))
    for (const item of items) {
      if (at(JSON.parse(item.toString("utf8")), "status", "phase") !== "Terminating") return { namespace: repository };
      state = "is being deleted";
    }
  const reason = `namespace ${repository} ${state}, so the Job that deletes its copies of files runs in ${OTHER}`;
  return { namespace: OTHER, reason };
}

/** The namespace that every cluster has. */
const OTHER = "default";
const NAMESPACES = { group: "", version: "v1", name: "namespaces", kind: "Namespace" };

/** Removes all copies of files that a repository has of backups, by one Job. Throws a CopiesError. */
export async function forget(
  { repository, backups, kube }: Forgetting,
  { files }: Pick<RemovalMeans, "files">,
  { tell, signal }: { tell?: (message: string) => void; signal: AbortSignal },
): Promise<void> {
  try {
    if (!files) throw new LifeboatError("invalid", "the configuration has no volumes.restic");
    const { namespace, reason } = await namespaceFor(kube, repository, signal);
    if (reason) tell?.(reason);
    await forgetBackups(kube, files, { namespace, repository, backups, signal });
  } catch (error) {
    signal.throwIfAborted();
    throw asCopiesError(error, `the copies of files in the repository of ${repository} can't be removed`);
  }
}
