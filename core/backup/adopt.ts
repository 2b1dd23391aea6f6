import { isDeepStrictEqual } from "node:util";
import { openArchive } from "../archive/reader.ts";
import { rebuildIndex } from "../archive/rebuild.ts";
import { backupKeys } from "../catalog.ts";
import { LifeboatError } from "../errors.ts";
import type { BackupRun } from "./backup.ts";
import { type ArchiveHeader, HEADER_FILE } from "./record.ts";

/**
 * Takes over the archive that an interrupted run left: checks that it was made with the same options, and writes its
 * index where that is missing. Throws `conflict` where the options differ, `corrupt` where the archive is damaged.
 */
export async function adoptArchive(run: BackupRun, present: Map<string, number>): Promise<void> {
  const { bucket, name, spec, signal } = run;
  const keys = backupKeys(name);
  if (!present.has(keys.index)) {
    const { index, finished } = rebuildIndex(await bucket.get(keys.tar, { signal }));
    await Promise.all([bucket.put(keys.index, index, { ifAbsent: true, signal }), finished]);
  }
  const archive = await openArchive(bucket, keys, { signal });
  try {
    const body = await archive.file(HEADER_FILE);
    const header = body && (JSON.parse(body.toString()) as ArchiveHeader);
    if (header && !isDeepStrictEqual(header.spec, JSON.parse(JSON.stringify(spec)))) {
      throw new LifeboatError(
        "conflict",
        `an unfinished backup "${name}" with other options lies in ${bucket.location}`,
        {
          hint: "run it again with the same options to finish it, choose another name, or delete it",
        },
      );
    }
    run.log.log(
      "warning",
      `Adopted the archive of the interrupted run ${header?.run}: it holds the cluster as of ${header?.startTimestamp}`,
    );
  } finally {
    await archive.close();
  }
}
