import { isDeepStrictEqual } from "node:util";
import { digestingIndex, type IndexDigests } from "../archive/index.ts";
import { openArchive, readTar } from "../archive/reader.ts";
import { rebuildIndex } from "../archive/rebuild.ts";
import { HEADER_FILE, OUTCOME_FILE } from "../archive/writer.ts";
import { backupKeys } from "../catalog.ts";
import { LifeboatError } from "../errors.ts";
import { readClusterUid } from "../kube/clusteruid.ts";
import type { ObjectRetention } from "../ports.ts";
import type { BackupRun } from "./backup.ts";
import { retentionOf } from "./hold.ts";
import type { Archived, ArchiveHeader, ArchiveOutcome } from "./record.ts";
import { takeInventory } from "./sidefiles.ts";

/**
 * Takes over the archive that an interrupted run left: checks that it was made of the same cluster with the same options, and
 * writes its index where that is missing. Throws `conflict` where no run of ours wrote it, or the cluster, its name, the
 * options or the labels differ, `corrupt` where the archive is damaged.
 */
export async function adoptArchive(run: BackupRun, present: Map<string, number>): Promise<Archived> {
  const { bucket, name, signal } = run;
  const keys = backupKeys(name);
  const header = await readHeader(await bucket.get(keys.tar, { signal }));
  if (!header) {
    throw new LifeboatError("conflict", `${keys.tar} lies in the way: no run of Lifeboat wrote it`, {
      hint: "choose another name, or delete it",
    });
  }
  const difference = await differenceOf(header, run);
  if (difference) {
    throw new LifeboatError("conflict", `an unfinished backup "${name}" ${difference} lies in ${bucket.location}`, {
      hint: "run it again as it was to finish it, choose another name, or delete it",
    });
  }
  const { run: writtenBy, startTimestamp } = header;
  run.log.log("warning", `Adopted what the interrupted run ${writtenBy} wrote: the cluster as of ${startTimestamp}`);
  if (!present.has(keys.index)) await writeMissingIndex(run, retentionOf(header));
  const archive = await openArchive(bucket, keys, { signal });
  try {
    const outcome = await archive.file(OUTCOME_FILE);
    if (!outcome) throw new LifeboatError("corrupt", `${keys.tar} has no ${OUTCOME_FILE}`);
    return {
      header,
      outcome: JSON.parse(outcome.toString()) as ArchiveOutcome,
      inventory: await takeInventory(archive),
      index: await storedIndex(run),
    };
  } finally {
    await archive.close();
  }
}

/** What makes an archive another backup than the run's; undefined where nothing does. Who asked for it makes no difference. */
async function differenceOf(
  { spec, labels, cluster, clusterUid }: ArchiveHeader,
  run: BackupRun,
): Promise<string | undefined> {
  const asStored = (value: object = {}) => JSON.parse(JSON.stringify(value));
  if (clusterUid !== undefined && clusterUid !== (await readClusterUid(run.kube, run.signal)))
    return `of another cluster${cluster === undefined ? "" : `, "${cluster}",`}`;
  if (cluster !== run.cluster)
    return cluster === undefined ? "of a cluster without a name" : `of the cluster by another name, "${cluster}",`;
  if (!isDeepStrictEqual(spec, asStored(run.spec))) return "with other options";
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
