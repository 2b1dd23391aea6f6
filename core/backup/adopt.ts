import { isDeepStrictEqual } from "node:util";
import { digestingIndex, type IndexDigests } from "../archive/index.ts";
import { openArchive, readTar } from "../archive/reader.ts";
import { rebuildIndex } from "../archive/rebuild.ts";
import { HEADER_FILE, OUTCOME_FILE } from "../archive/writer.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { digestOf } from "../integrity/checks.ts";
import { readClusterUid } from "../kube/clusteruid.ts";
import { backupKeys } from "../layout.ts";
import type { Bucket, ObjectRetention } from "../ports.ts";
import type { BackupRun, ShardRun } from "./backup.ts";
import { retentionOf } from "./hold.ts";
import { type Archived, type ArchiveHeader, type ArchiveOutcome, secretFiles } from "./record.ts";
import { takeInventory } from "./sidefiles.ts";

/**
 * Takes over the archive that an interrupted run left: checks that it was made of the same cluster with the same options, and
 * reads it whole: it is held to the digests of its index, or that is made of it where it is missing. Throws `conflict` where no
 * run of ours wrote it, or the cluster, its name, the options or the labels differ, `corrupt` where it is damaged.
 */
export async function adoptArchive(run: BackupRun, present: Map<string, number>): Promise<Archived> {
  try {
    return await takeOver(run, present);
  } catch (error) {
    if (!isLifeboatError(error, "corrupt")) throw error;
    const { message, key } = error;
    const what = `an unfinished backup "${run.name}" in ${run.bucket.location} can't be finished`;
    throw new LifeboatError("corrupt", `${what}: ${message}`, { key, hint: leftoverHint(run.name), cause: error });
  }
}

/** Another run has stored its archive first. */
export function takenMeanwhile(bucket: Bucket, name: string, cause: unknown): LifeboatError {
  return new LifeboatError(
    "conflict",
    `another run of backup "${name}" has stored its archive in ${bucket.location} meanwhile`,
    {
      hint: "that run's backup counts; give runs that may meet names of their own",
      cause,
    },
  );
}

/** What to do about what an interrupted run left and no run finishes. */
export function leftoverHint(name: string): string {
  return `choose another name, or delete it: "lifeboat backup delete ${name}"`;
}

async function takeOver(run: BackupRun, present: Map<string, number>): Promise<Archived> {
  const { bucket, name, signal } = run;
  const keys = backupKeys(name);
  const header = await readHeader(await bucket.get(keys.tar, { signal }));
  if (!header) {
    throw new LifeboatError("conflict", `${keys.tar} lies in the way: no run of Lifeboat wrote it`, {
      hint: leftoverHint(name),
    });
  }
  const difference = header.signed ? "that was to be signed" : await differenceOf(header, run);
  if (difference) {
    throw new LifeboatError("conflict", `an unfinished backup "${name}" ${difference} lies in ${bucket.location}`, {
      hint: header.signed ? leftoverHint(name) : `run it again as it was to finish it, ${leftoverHint(name)}`,
    });
  }
  const { run: writtenBy, startTimestamp } = header;
  run.log.log("warning", `Adopted what the interrupted run ${writtenBy} wrote: the cluster as of ${startTimestamp}`);
  if (!present.has(keys.index)) await writeMissingIndex(run, retentionOf(header));
  const archive = await openArchive(bucket, keys, { signal });
  try {
    if (present.has(keys.index))
      for await (const { reason } of archive.verify()) throw new LifeboatError("corrupt", reason, { key: keys.tar });
    const file = await archive.file(OUTCOME_FILE);
    if (!file) throw new LifeboatError("corrupt", `${keys.tar} has no ${OUTCOME_FILE}`);
    const outcome = JSON.parse(file.toString()) as ArchiveOutcome;
    await checkSecrets(run, outcome);
    return {
      header,
      outcome,
      inventory: await takeInventory(archive),
      index: await storedIndex(run),
    };
  } finally {
    await archive.close();
  }
}

/**
 * What makes an archive another backup than the run's; undefined where nothing does. Who asked for it makes no difference, nor, where
 * the run has none, what its spec is.
 */
export async function differenceOf(
  { name, spec, labels, cluster, clusterUid }: ArchiveHeader,
  run: ShardRun,
): Promise<string | undefined> {
  const asStored = (value: object = {}) => JSON.parse(JSON.stringify(value));
  if (name !== undefined && name !== run.name) return `of another name, "${name}",`;
  if (clusterUid !== undefined && clusterUid !== (await readClusterUid(run.kube, run.signal)))
    return `of another cluster${cluster === undefined ? "" : `, "${cluster}",`}`;
  if (cluster !== run.cluster)
    return cluster === undefined ? "of a cluster without a name" : `of the cluster by another name, "${cluster}",`;
  if (run.spec && !isDeepStrictEqual(spec, asStored(run.spec))) return "with other options";
  return isDeepStrictEqual(labels ?? {}, asStored(run.labels)) ? undefined : "with other labels";
}

/** What the archive says of itself, which stands before its items; undefined where it says nothing. */
export async function readHeader(tar: AsyncIterable<Buffer>): Promise<ArchiveHeader | undefined> {
  for await (const { path, body } of readTar(tar)) {
    if (path === HEADER_FILE) return JSON.parse(body.toString()) as ArchiveHeader;
    if (!path.startsWith("metadata/")) return undefined;
  }
  return undefined;
}

/** What the archive says of how it went, which stands after its items; undefined where it says nothing. */
export async function readOutcome(tar: AsyncIterable<Buffer>): Promise<ArchiveOutcome | undefined> {
  for await (const { path, body } of readTar(tar))
    if (path === OUTCOME_FILE) return JSON.parse(body.toString()) as ArchiveOutcome;
  return undefined;
}

/** That what holds the Secrets, where they alone are encrypted, is what the archive says. */
async function checkSecrets({ bucket, name, signal }: BackupRun, outcome: ArchiveOutcome): Promise<void> {
  for (const [file, digest] of Object.entries(secretFiles(outcome))) {
    const key = backupKeys(name).folder + file;
    if ((await digestOf(bucket, key, signal)) !== digest)
      throw new LifeboatError("corrupt", `${key} differs from its digest`, { key });
  }
}

async function storedIndex({ bucket, name, signal }: BackupRun): Promise<IndexDigests> {
  const { bytes, digests } = digestingIndex(await bucket.get(backupKeys(name).index, { signal }));
  for await (const _ of bytes);
  return digests();
}

async function writeMissingIndex(
  { bucket, name, signal }: BackupRun,
  retain: ObjectRetention | undefined,
): Promise<void> {
  const keys = backupKeys(name);
  const { index, finished } = rebuildIndex(await bucket.get(keys.tar, { signal }));
  try {
    await Promise.all([bucket.put(keys.index, index, { ifAbsent: true, retain, signal }), finished]);
  } catch (error) {
    await index[Symbol.asyncIterator]().return?.();
    throw error;
  }
}
