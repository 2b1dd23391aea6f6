import { randomUUID } from "node:crypto";
import { z } from "zod";
import { sha256 } from "../archive/gzip.ts";
import { type Backup, backupKeysOf, FINDINGS, readBackup } from "../catalog.ts";
import { folderNames, listFolder } from "../contents.ts";
import { isLifeboatError } from "../errors.ts";
import { BACKUPS, backupKeys, recordIn } from "../layout.ts";
import { lockState } from "../lock.ts";
import { checkName } from "../names.ts";
import type { Bucket } from "../ports.ts";
import { type RunProgress, UNCUT } from "../progress.ts";
import { checkArchive, checkFiles } from "./checks.ts";
import { type VerifyDocument, type VerifyListDocument, verifySchema } from "./document.ts";
import { type Findings, findingsSchema, startFindings } from "./findings.ts";
import { checkTrusted, sealOf, signedBy } from "./seal.ts";

export interface VerifyOptions {
  /** The share of the archive's data to be read, 0 to 1: so many segments, chosen at random. None where not given. */
  read?: number;
  /** What the choice depends on; a random one where not given. */
  seed?: string;
  /** Where there are some, one of these public keys must have signed. */
  trustedKeys?: string[];
  signal?: AbortSignal;
  /** Items of which the data was read, of how many. */
  progress?: (items: number, total: number) => void;
}

/** How far the verification of one backup has come, and what it has found. */
export const verifyStateSchema = z.object({
  /** The digest of its record: of another one nothing is known. */
  record: z.string(),
  position: z.object({ seed: z.string(), file: z.string().optional(), agreed: z.boolean(), segment: z.number() }),
  findings: findingsSchema,
});
export type VerifyState = z.infer<typeof verifyStateSchema>;

/** What cuts a verification into slices. */
type Slicing<State> = Pick<RunProgress<State>, "before" | "goOn">;

/**
 * Looks for damage in a backup: that all its files are there and no others, that they are what the record says and agree
 * with each other, and as much of the archive's data as is asked for. Of Velero's backups, which have no digests, what can be
 * told without. Nothing is written. What is damaged doesn't throw; `missing` is thrown where there is no record, and
 * whatever keeps the bucket from being read.
 */
export async function verifyBackup(bucket: Bucket, name: string, options: VerifyOptions = {}): Promise<VerifyDocument> {
  return (await verifySlice(bucket, name, options, UNCUT))!;
}

/** As `verifyBackup`, from where the slice before this one has ended; undefined where there is no time for all. */
export async function verifySlice(
  bucket: Bucket,
  name: string,
  options: VerifyOptions,
  slicing: Slicing<VerifyState>,
): Promise<VerifyDocument | undefined> {
  checkName("backup", name);
  const { folder, metadata: usual } = backupKeys(name);
  const present = await listFolder(bucket, folder, options.signal);
  const metadata = recordIn(present, name) ?? usual;
  const found = startFindings();
  const record = await found.orDamage(metadata, () => readBackup(bucket, name, options.signal));
  return verifyFilesSlice({ bucket, name, record, present, found }, options, slicing);
}

/** How far the verification of many backups has come. */
export const verifyListStateSchema = z.object({
  names: z.array(z.string()),
  /** So many of them have been looked at. */
  done: z.number(),
  backups: z.array(verifySchema),
  orphans: z.array(z.object({ folder: z.string(), reason: z.string() })),
  /** Of the next one. */
  current: verifyStateSchema.optional(),
});
export type VerifyListState = z.infer<typeof verifyListStateSchema>;

/** How many backups are verified, and what is told of each. */
export interface VerifyListOptions extends VerifyOptions {
  /** In place of all that there is, in their order. */
  names?: string[];
  /** Hears what was found of each backup, before the next one. */
  found?: (document: VerifyDocument) => Promise<void>;
}

/** Every backup of a location, or those that are named, and what lies there without being one, unless a run is at work on it. */
export async function verifyLocation(bucket: Bucket, options: VerifyListOptions = {}): Promise<VerifyListDocument> {
  return (await verifyLocationSlice(bucket, options, UNCUT))!;
}

/** As `verifyLocation`, from where the slice before this one has ended; undefined where there is no time for all. */
export async function verifyLocationSlice(
  bucket: Bucket,
  options: VerifyListOptions,
  { before, goOn }: Slicing<VerifyListState>,
): Promise<VerifyListDocument | undefined> {
  const { location } = bucket;
  const names = before?.names ?? options.names ?? (await folderNames(bucket, BACKUPS, { signal: options.signal }));
  const backups = [...(before?.backups ?? [])];
  const orphans = [...(before?.orphans ?? [])];
  let current = before?.current;
  for (let done = before?.done ?? 0; done < names.length; done++) {
    const name = names[done]!;
    const slicing: Slicing<VerifyState> = {
      before: current,
      goOn: (state) => goOn(() => ({ names, done, backups, orphans, current: state() })),
    };
    try {
      const document = await verifySlice(bucket, name, options, slicing);
      if (!document) return undefined;
      await options.found?.(document);
      backups.push(document);
    } catch (error) {
      if (!isLifeboatError(error) || !["missing", "invalid"].includes(error.kind)) throw error;
      const { folder } = backupKeys(name);
      const { state } = await lockState({ bucket, kind: "backups", name }, options);
      const isThere = (await listFolder(bucket, folder, options.signal)).size > 0;
      if (state !== "held" && isThere) orphans.push({ folder, reason: error.message });
    }
    current = undefined;
    if (!(await goOn(() => ({ names, done: done + 1, backups, orphans })))) return undefined;
  }
  const ok = orphans.length === 0 && backups.every((backup) => backup.ok);
  return { schemaVersion: 1, kind: "verifyList", location, ok, backups, orphans };
}

/** A backup's files as they lie in a bucket, and its record, unless that is damaged. */
export interface StoredBackup {
  bucket: Bucket;
  name: string;
  record: Backup | undefined;
  present: Map<string, number>;
  found?: Findings;
}

/** `verifyBackup` of files whose record has been read, which need not lie beside them. */
export async function verifyFiles(verified: StoredBackup, options: VerifyOptions = {}): Promise<VerifyDocument> {
  return (await verifyFilesSlice(verified, options, UNCUT))!;
}

async function verifyFilesSlice(
  { bucket, name, record, present, found: early = startFindings() }: StoredBackup,
  options: VerifyOptions,
  { before, goOn }: Slicing<VerifyState>,
): Promise<VerifyDocument | undefined> {
  const { seed = randomUUID() } = options;
  const digest = sha256(Buffer.from(JSON.stringify(record ?? "")));
  const known = before?.record === digest ? before : undefined;
  const found = known ? startFindings(known.findings) : early;
  const position = known ? { ...known.position } : { seed, agreed: false, segment: 0 };
  const keys = record ? backupKeysOf(record) : { ...backupKeys(name), metadata: recordIn(present, name) ?? "" };
  const seal = record && (await found.orDamage(keys.metadata, () => sealOf(record)));
  if (record) await found.orDamage(keys.metadata, () => checkTrusted(record, options.trustedKeys));
  const state = () => ({ record: digest, position: { ...position }, findings: found.state() });
  const checking = { bucket, keys, record, seal, present, found, position, goOn: () => goOn(state) };
  if (!(await checkFiles(checking, options))) return undefined;
  const archive = await checkArchive(checking, options);
  if (archive === "cut") return undefined;
  const damaged = found.damaged();
  return {
    schemaVersion: 1,
    kind: "verify",
    name,
    location: bucket.location,
    ok: damaged.length === 0,
    damaged,
    unchecked: found.unchecked(),
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
