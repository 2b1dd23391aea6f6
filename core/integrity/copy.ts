import { createHash } from "node:crypto";
import { type Backup, backupKeysOf, readRestorable } from "../catalog.ts";
import { listFolder, readObject } from "../contents.ts";
import { storedIn, unlocked } from "../encryption/buckets.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import type { Holder } from "../holder.ts";
import { recordIn } from "../layout.ts";
import { claimLock, type LockTiming } from "../lock.ts";
import { putOnce } from "../once.ts";
import type { Bucket } from "../ports.ts";
import { digestOf } from "./checks.ts";
import { type Damage, damageText } from "./findings.ts";
import { checkTrusted, sealOf } from "./seal.ts";
import { type VerifyOptions, verifyFiles } from "./verify.ts";

/** What was copied: the same for all who ask for it. */
export interface CopyDocument {
  schemaVersion: 1;
  kind: "copy";
  name: string;
  /** The locations' URLs. */
  from: string;
  to: string;
  files: number;
  bytes: number;
}

/** Two locations, of the same kind or not. */
export interface Copying extends Omit<VerifyOptions, "read"> {
  from: Bucket;
  to: Bucket;
  signal: AbortSignal;
  /** Who takes the lock there. */
  by?: Holder;
  timing?: LockTiming;
}

/**
 * Copies a backup, of Lifeboat or of Velero, byte for byte: what belongs to it, each object created once, then, when all that
 * has arrived was read and is what it should be, the record, so that no half copy is ever listed. Run again after an
 * interruption it goes on; where what has arrived is damaged it takes away what it has stored, where it may. What is encrypted is
 * copied as it is.
 *
 * Throws `missing` for an unknown backup, `invalid` for one that can't be restored, `corrupt` for one that is damaged, isn't
 * trusted, or arrives as something else, `conflict` where the backup, or something else under its name, is there already,
 * and `busy` where a run works on it there.
 */
export async function copyBackup(name: string, copying: Copying): Promise<CopyDocument> {
  const { by, timing, trustedKeys } = copying;
  const [from, to] = [storedIn(copying.from), storedIn(copying.to)];
  if (from.location === to.location)
    throw new LifeboatError("invalid", `the copy would lie where the backup lies: ${to.location}`);
  const record = await readRestorable(from, name, copying.signal);
  checkTrusted(record, trustedKeys);
  const files = await filesOf(record, from, copying.signal);
  const { damaged } = await verifyFiles(
    { bucket: withoutIdentity(from), name, record, present: files },
    { signal: copying.signal },
  );
  if (damaged[0]) throw isDamaged(`backup "${name}" is not copied`, damaged);
  if (recordIn(await listFolder(to, backupKeysOf(record).folder, copying.signal), name)) throw alreadyThere(name, to);

  const scope = { bucket: to, kind: "backups", name } as const;
  await using lock = await claimLock(scope, { signal: copying.signal, by, timing });
  await lock.take();
  return copyFiles(record, files, { ...copying, from, to, signal: AbortSignal.any([copying.signal, lock.signal]) });
}

async function copyFiles(record: Backup, files: Map<string, number>, copying: Copying): Promise<CopyDocument> {
  const { to, signal } = copying;
  const { name } = record.metadata;
  const { folder } = backupKeysOf(record);
  const there = await listFolder(to, folder, signal);
  const stranger = [...there].find(([key, size]) => files.get(key) !== size);
  if (stranger)
    throw new LifeboatError(
      "conflict",
      `${stranger[0]}, which is in the way in ${to.location}, is not of this backup`,
      {
        hint: `another run of that name was interrupted there: copy to elsewhere, or delete what it left: ${deletion(name, to)}`,
      },
    );
  const stored: string[] = [];
  try {
    return await copyInto(record, { files, there, stored }, copying);
  } catch (error) {
    if (!isLifeboatError(error, "corrupt")) throw error;
    const left = (await withdraw(stored, copying)) || there.size > 0;
    const rest = left
      ? `what an earlier copy or this one left there is deleted by: ${deletion(name, to)}`
      : "nothing of it is left there";
    throw new LifeboatError("corrupt", error.message, {
      hint: `"lifeboat backup verify ${name} --read-data" tells whether the original is damaged itself; ${rest}`,
      cause: error,
    });
  }
}

/** Deletes what this copy has stored, the last first; true where not all of it could be. */
async function withdraw(stored: string[], { to, signal }: Copying): Promise<boolean> {
  try {
    for (const key of stored.toReversed()) await to.delete(key, { signal });
    return false;
  } catch {
    return true;
  }
}

function deletion(name: string, { location }: Bucket): string {
  return `lifeboat backup delete ${name} --location '${location}' --confirm`;
}

interface Arriving {
  files: Map<string, number>;
  /** What lies there already. */
  there: Map<string, number>;
  /** Hears of the keys that this copy has stored. */
  stored: string[];
}

async function copyInto(record: Backup, { files, there, stored }: Arriving, copying: Copying): Promise<CopyDocument> {
  const { from, to, signal } = copying;
  const { name } = record.metadata;
  const { metadata } = backupKeysOf(record);
  const digests = new Map<string, string>();
  for (const key of files.keys())
    digests.set(key, there.has(key) ? await digestOf(from, key, signal) : await transfer(key, copying, stored));
  await checkArrival(record, digests, copying);

  const body = await readObject(from, metadata, signal);
  if (!(await putOnce(to, metadata, body, signal))) throw alreadyThere(name, to);
  stored.push(metadata);
  if (!(await readObject(to, metadata, signal)).equals(body))
    throw isDamaged(`the copy of backup "${name}"`, [{ key: metadata, reason: "it arrived as something else" }]);
  const sizes = [...files.values(), body.length];
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  return {
    ...{ schemaVersion: 1, kind: "copy", name },
    from: from.location,
    to: to.location,
    files: sizes.length,
    bytes,
  };
}

/** What belongs to a backup beside its record, and the sizes: what that vouches for, of Velero's all that is there. */
async function filesOf(record: Backup, from: Bucket, signal: AbortSignal): Promise<Map<string, number>> {
  const keys = backupKeysOf(record);
  const files = await listFolder(from, keys.folder, signal);
  files.delete(keys.metadata);
  const seal = sealOf(record);
  if (!seal) return files;
  const belongs = new Set([keys.tar, ...Object.keys(seal.files).map((file) => keys.folder + file)]);
  return new Map([...files].filter(([key]) => belongs.has(key)));
}

/** Gives the SHA-256 of what was read. Another copy, which has stored the object meanwhile, is no hindrance. */
async function transfer(key: string, { from, to, signal }: Copying, stored: string[]): Promise<string> {
  const digest = createHash("sha256");
  async function* hashing(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of bytes) {
      digest.update(chunk);
      yield chunk;
    }
  }
  try {
    await to.put(key, hashing(await from.get(key, { signal })), { ifAbsent: true, signal });
  } catch (error) {
    if (!isLifeboatError(error, "conflict")) throw error;
    return digestOf(from, key, signal);
  }
  stored.push(key);
  return digest.digest("hex");
}

/** Reads what has arrived, and holds it to what the record says; of Velero's, which says nothing, to what was sent. */
async function checkArrival(record: Backup, digests: Map<string, string>, copying: Copying): Promise<void> {
  const { to, progress, signal } = copying;
  const { name } = record.metadata;
  const what = `the copy of backup "${name}"`;
  if (!sealOf(record)) {
    for (const [key, digest] of digests)
      if ((await digestOf(to, key, signal)) !== digest)
        throw isDamaged(what, [{ key, reason: "it arrived as something else" }]);
    return;
  }
  const present = await listFolder(to, backupKeysOf(record).folder, signal);
  const files = { bucket: withoutIdentity(to), name, record, present };
  const { damaged } = await verifyFiles(files, { read: 1, progress, signal });
  if (damaged[0]) throw isDamaged(what, damaged);
}

/** What is encrypted is held to its digests as it is stored. */
function withoutIdentity(bucket: Bucket): Bucket {
  return unlocked(bucket, async () => []);
}

function isDamaged(what: string, damaged: Damage[]): LifeboatError {
  return new LifeboatError("corrupt", `${what}: it is damaged: ${damageText(damaged)}`, {
    hint: "copy another backup, or from another copy of this one",
  });
}

function alreadyThere(name: string, { location }: Bucket): LifeboatError {
  return new LifeboatError("conflict", `backup "${name}" already exists in ${location}`, {
    hint: "nothing is overwritten: delete it first, or copy to elsewhere",
  });
}
