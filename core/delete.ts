import { backupKeys, checkName, listFolder, RETAINED_UNTIL, readBackup, recordIn, runFolder } from "./catalog.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import { lockState, removeLock, takeLock } from "./lock.ts";
import type { Bucket } from "./ports.ts";

/** Throws `denied` for a backup that its bucket holds: some buckets would only hide it (S3 with object lock). */
async function checkNotRetained(bucket: Bucket, name: string, signal: AbortSignal): Promise<void> {
  const record = await readBackup(bucket, name, signal).catch((error) => {
    if (!isLifeboatError(error, "missing") && !isLifeboatError(error, "corrupt")) throw error;
  });
  const until = record?.metadata.annotations?.[RETAINED_UNTIL];
  if (until === undefined || new Date(until) <= new Date()) return;
  throw new LifeboatError("denied", `backup "${name}" is retained until ${until}`, {
    hint: "it was made with retainFor: its bucket holds it till then",
  });
}

/**
 * Deletes a backup, or what an interrupted run left under its name: the record first, so that it is at no moment
 * listed and incomplete, then the archive, so that a new run does not adopt it, then the rest. It holds the lock
 * meanwhile, so that no job commits what is being deleted. Gives the number of objects that were deleted.
 * Throws `missing` where nothing lies under that name, `busy` where a job works on it, `denied` where it is retained.
 */
export async function deleteBackup(
  bucket: Bucket,
  name: string,
  signal: AbortSignal = new AbortController().signal,
): Promise<number> {
  checkName("backup", name);
  const keys = backupKeys(name);
  const lie = async () =>
    new Map([
      ...(await listFolder(bucket, keys.folder, signal)),
      ...(await listFolder(bucket, runFolder("backups", name), signal)),
      ...(await listFolder(bucket, runFolder("verifications", name), signal)),
    ]);
  const scope = { bucket, kind: "backups", name } as const;
  if ((await lie()).size === 0 && (await lockState(scope, { signal })).state !== "held") {
    throw new LifeboatError("missing", `there is no backup "${name}" in ${bucket.location}`, {
      hint: '"lifeboat backup get" lists what there is',
    });
  }
  const lock = await takeLock(scope, { settled: async () => false, signal, wait: false });
  if (typeof lock === "string") {
    throw new LifeboatError("busy", `a run works on backup "${name}"`, { hint: "try again when it has ended" });
  }
  await using _ = lock;
  await checkNotRetained(bucket, name, signal);
  const present = await lie();
  const record = recordIn(present, name);
  const archives = [...present.keys()].filter((key) => key.startsWith(keys.tar));
  const first = [...(record ? [record] : []), ...archives];
  const rest = [...present.keys()].filter((key) => !first.includes(key));
  for (const key of [...first, ...rest]) await bucket.delete(key, { signal });
  await removeLock(scope, signal);
  return present.size;
}
