import { basename } from "node:path/posix";
import { z } from "zod";
import { type Backup, backupKeys, backupKeysOf, checkName, listFolder, readBackup, recordIn } from "../catalog.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { lockState } from "../lock.ts";
import type { Bucket } from "../ports.ts";
import { checkArchive, checkFiles } from "./checks.ts";
import { damageSchema, type Findings, startFindings } from "./findings.ts";
import { checkTrusted, sealOf, signedBy } from "./seal.ts";

/** What a verification found: the same for the command line, HTTP and functions. */
export const verifySchema = z.object({
  schemaVersion: z.literal(1),
  kind: z.literal("verify"),
  name: z.string(),
  location: z.string(),
  ok: z.boolean().describe("nothing is damaged, of what was looked at"),
  damaged: z.array(damageSchema),
  unchecked: z.array(z.string()).describe("what was not looked at, and why"),
  files: z.number().describe("how many lie in the backup's folder"),
  items: z.number().describe("by its index; by its record where it has none"),
  segments: z
    .object({ total: z.number(), read: z.number() })
    .optional()
    .describe("of the archive: how many there are, and of how many the data was read"),
  signedBy: z.string().optional().describe("the public key that has signed it"),
});
export type VerifyDocument = z.infer<typeof verifySchema>;

/** What the verification of a whole location found. */
export interface VerifyListDocument {
  schemaVersion: 1;
  kind: "verifyList";
  location: string;
  /** Every backup is, and nothing lies there that is none. */
  ok: boolean;
  backups: VerifyDocument[];
  /** Folders without a record. */
  orphans: { folder: string; reason: string }[];
}

export interface VerifyOptions {
  /** The share of the archive's data to be read, 0 to 1: so many segments, chosen at random. None where not given. */
  read?: number;
  /** Where there are some, one of these public keys must have signed. */
  trustedKeys?: string[];
  signal?: AbortSignal;
  /** Items of which the data was read, of how many. */
  progress?: (items: number, total: number) => void;
}

/**
 * Looks for damage in a backup: that all its files are there and no others, that they are what the record says and agree
 * with each other, and as much of the archive's data as is asked for. Of Velero's backups, which have no digests, what can be
 * told without. Nothing is written. What is damaged doesn't throw; `missing` is thrown where there is no record, and
 * whatever keeps the bucket from being read.
 */
export async function verifyBackup(bucket: Bucket, name: string, options: VerifyOptions = {}): Promise<VerifyDocument> {
  checkName("backup", name);
  const { folder, metadata: usual } = backupKeys(name);
  const present = await listFolder(bucket, folder, options.signal);
  const metadata = recordIn(present, name) ?? usual;
  if (present.size > 0 && !present.has(metadata)) throw orphaned(bucket, name, present.size);
  const found = startFindings();
  const record = await found.orDamage(metadata, () => readBackup(bucket, name, options.signal));
  return verifyFiles({ bucket, name, record, present, found }, options);
}

/** Every backup of a location, and what lies there without being one, unless a run is at work on it. */
export async function verifyLocation(bucket: Bucket, options: VerifyOptions = {}): Promise<VerifyListDocument> {
  const { location } = bucket;
  const backups: VerifyDocument[] = [];
  const orphans: VerifyListDocument["orphans"] = [];
  for await (const { prefix: folder } of bucket.list("backups/", { delimiter: "/", signal: options.signal })) {
    if (folder === undefined) continue;
    const name = basename(folder);
    try {
      backups.push(await verifyBackup(bucket, name, options));
    } catch (error) {
      if (!isLifeboatError(error) || !["missing", "invalid"].includes(error.kind)) throw error;
      const { state } = await lockState({ bucket, kind: "backups", name }, options);
      if (state !== "held") orphans.push({ folder, reason: error.message });
    }
  }
  const ok = orphans.length === 0 && backups.every((backup) => backup.ok);
  return { schemaVersion: 1, kind: "verifyList", location, ok, backups, orphans };
}

/** A backup's files as they lie in a bucket, and its record, unless that is damaged. */
export interface Verified {
  bucket: Bucket;
  name: string;
  record: Backup | undefined;
  present: Map<string, number>;
  found?: Findings;
}

/** `verifyBackup` of files whose record has been read, which need not lie beside them. */
export async function verifyFiles(
  { bucket, name, record, present, found = startFindings() }: Verified,
  options: VerifyOptions = {},
): Promise<VerifyDocument> {
  const keys = record ? backupKeysOf(record) : { ...backupKeys(name), metadata: recordIn(present, name) ?? "" };
  const seal = record && (await found.orDamage(keys.metadata, () => sealOf(record)));
  if (record) await found.orDamage(keys.metadata, () => checkTrusted(record, options.trustedKeys));
  const checking = { bucket, keys, record, seal, present, found };
  await checkFiles(checking, options);
  const archive = await checkArchive(checking, options);
  const damaged = found.damaged();
  return {
    schemaVersion: 1,
    kind: "verify",
    name,
    location: bucket.location,
    ok: damaged.length === 0,
    damaged,
    unchecked: found.unchecked,
    files: present.size,
    items: record?.status?.progress?.totalItems ?? 0,
    ...archive,
    signedBy: record && signedBy(record),
  };
}

function orphaned(bucket: Bucket, name: string, size: number): LifeboatError {
  const { folder, metadata } = backupKeys(name);
  const holds = `${folder} holds ${size === 1 ? "1 file" : `${size} files`}, but no ${basename(metadata)}`;
  return new LifeboatError("missing", `there is no backup "${name}" in ${bucket.location}: ${holds}`, {
    hint: "its record was taken away, or a run was interrupted: run the backup again to finish it, or delete it",
  });
}
