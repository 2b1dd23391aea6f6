import { basename } from "node:path/posix";
import {
  type Backup,
  backupKeys,
  backupKeysOf,
  checkName,
  FINDINGS,
  listFolder,
  readBackup,
  recordIn,
} from "../catalog.ts";
import { isLifeboatError } from "../errors.ts";
import { lockState } from "../lock.ts";
import type { Bucket } from "../ports.ts";
import { checkArchive, checkFiles } from "./checks.ts";
import type { VerifyDocument, VerifyListDocument } from "./document.ts";
import { type Findings, startFindings } from "./findings.ts";
import { checkTrusted, sealOf, signedBy } from "./seal.ts";

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
  const found = startFindings();
  const record = await found.orDamage(metadata, () => readBackup(bucket, name, options.signal));
  return verifyFiles({ bucket, name, record, present, found }, options);
}

/** How many backups are verified, and what is told of each. */
export interface VerifyListOptions extends VerifyOptions {
  /** In place of all that there is, in their order. */
  names?: string[];
  /** Hears what was found of each backup, before the next one. */
  found?: (document: VerifyDocument) => Promise<void>;
  /** Whether what was found before `error` is all that is told, where it came while `signal` was aborted. */
  endsWith?: (error: unknown) => boolean;
}

/** Every backup of a location, or those that are named, and what lies there without being one, unless a run is at work on it. */
export async function verifyLocation(bucket: Bucket, options: VerifyListOptions = {}): Promise<VerifyListDocument> {
  const { location } = bucket;
  const names = options.names ?? (await backupFolders(bucket, options.signal));
  const backups: VerifyDocument[] = [];
  const orphans: VerifyListDocument["orphans"] = [];
  let left: string[] | undefined;
  for (const [at, name] of names.entries()) {
    try {
      const document = await verifyBackup(bucket, name, options);
      await options.found?.(document);
      backups.push(document);
    } catch (error) {
      if (backups.length > 0 && options.endsWith?.(error)) {
        left = names.slice(at);
        break;
      }
      if (!isLifeboatError(error) || !["missing", "invalid"].includes(error.kind)) throw error;
      const { folder } = backupKeys(name);
      const { state } = await lockState({ bucket, kind: "backups", name }, options);
      const isThere = (await listFolder(bucket, folder, options.signal)).size > 0;
      if (state !== "held" && isThere) orphans.push({ folder, reason: error.message });
    }
  }
  const ok = orphans.length === 0 && backups.every((backup) => backup.ok);
  return { schemaVersion: 1, kind: "verifyList", location, ok, backups, orphans, ...(left && { left }) };
}

/** The names of all folders of backups, of those too that hold no record. */
export async function backupFolders(bucket: Bucket, signal?: AbortSignal): Promise<string[]> {
  const names: string[] = [];
  for await (const { prefix } of bucket.list("backups/", { delimiter: "/", signal }))
    if (prefix !== undefined) names.push(basename(prefix));
  return names;
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
    findingCount: record && findingCount(record),
  };
}

function findingCount({ metadata: { annotations = {} } }: Backup): number | undefined {
  const count = Number(annotations[FINDINGS]);
  return Number.isInteger(count) ? count : undefined;
}
