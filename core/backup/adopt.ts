import { isDeepStrictEqual } from "node:util";
import { type Archive, openArchive } from "../archive/reader.ts";
import { rebuildIndex } from "../archive/rebuild.ts";
import { backupKeys } from "../catalog.ts";
import { LifeboatError } from "../errors.ts";
import type { BackupRun } from "./backup.ts";
import { type Archived, type ArchiveHeader, type ArchiveOutcome, HEADER_FILE, OUTCOME_FILE } from "./record.ts";
import { takeInventory } from "./sidefiles.ts";

/**
 * Takes over the archive that an interrupted run left: writes its index where that is missing, and checks that it was
 * made with the same options. Throws `conflict` where the options differ or no run of ours wrote it, `corrupt` where
 * the archive is damaged.
 */
export async function adoptArchive(run: BackupRun, present: Map<string, number>): Promise<Archived> {
  const { bucket, name, spec, signal } = run;
  const keys = backupKeys(name);
  if (!present.has(keys.index)) {
    const { index, finished } = rebuildIndex(await bucket.get(keys.tar, { signal }));
    await Promise.all([bucket.put(keys.index, index, { ifAbsent: true, signal }), finished]);
  }
  const archive = await openArchive(bucket, keys, { signal });
  try {
    const header = await ownFile<ArchiveHeader>(archive, HEADER_FILE, keys.tar);
    const outcome = await ownFile<ArchiveOutcome>(archive, OUTCOME_FILE, keys.tar);
    if (!isDeepStrictEqual(header.spec, JSON.parse(JSON.stringify(spec)))) {
      throw new LifeboatError(
        "conflict",
        `an unfinished backup "${name}" with other options lies in ${bucket.location}`,
        { hint: "run it again with the same options to finish it, choose another name, or delete it" },
      );
    }
    const { run: writtenBy, startTimestamp } = header;
    run.log.log("warning", `Adopted what the interrupted run ${writtenBy} wrote: the cluster as of ${startTimestamp}`);
    return { header, outcome, inventory: await takeInventory(archive) };
  } finally {
    await archive.close();
  }
}

async function ownFile<T>(archive: Archive, path: string, tar: string): Promise<T> {
  const body = await archive.file(path);
  if (body) return JSON.parse(body.toString()) as T;
  throw new LifeboatError("conflict", `${tar} lies in the way: it has no ${path}, so no run of Lifeboat wrote it`, {
    hint: "choose another name, or delete it",
  });
}
