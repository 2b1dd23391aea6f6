import { createHash, hash } from "node:crypto";
import { parseItemPath } from "../archive/item.ts";
import { type Archive, isSegmented, openArchive, readTar } from "../archive/reader.ts";
import { readFacts } from "../archive/rebuild.ts";
import { bucketSource } from "../archive/source.ts";
import { OUTCOME_FILE } from "../archive/writer.ts";
import { type Backup, ENCRYPTION, RESTORABLE, SECRETS } from "../catalog.ts";
import { readSideFile } from "../contents.ts";
import { backupDocument, readBackupDocument, readResourceList } from "../documents.ts";
import { ENCRYPTED, storedIn } from "../encryption/buckets.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import type { backupKeys } from "../layout.ts";
import type { Bucket } from "../ports.ts";
import type { Findings } from "./findings.ts";
import type { Seal } from "./seal.ts";

/** How far a verification has come. */
export interface Position {
  /** What the sample is chosen by. */
  seed: string;
  /** The key of the last file that was looked at. */
  file?: string;
  /** Whether the index was held to the other files. */
  agreed: boolean;
  /** Of the archive: the first one of which the data was not looked at. */
  segment: number;
}

/** A backup that is looked at. Without a `seal` its record is damaged, or Velero's. */
export interface Checking {
  /** From where on, and then how far that has come. */
  position: Position;
  /** Hears of each step that is done, and tells whether there is time for another. */
  goOn: () => Promise<boolean>;
  bucket: Bucket;
  keys: ReturnType<typeof backupKeys>;
  record: Backup | undefined;
  seal: Seal | undefined;
  /** What lies in its folder. */
  present: Map<string, number>;
  found: Findings;
}

/** What its archive says of how it went, as far as other files say it too. */
interface Outcome {
  /** Secrets that are in no archive, or, with their bytes, in one of their own. */
  secrets?: { count: number; bytes?: number };
  warnings: unknown[];
  errors: unknown[];
}

interface Reading {
  read?: number;
  signal?: AbortSignal;
  progress?: (items: number, total: number) => void;
}

/** Files that Velero no longer writes. */
const OLD_ENDINGS = ["volumesnapshots", "volumesnapshotcontents", "volumesnapshotclasses"].map(
  (what) => `-csi-${what}.json.gz`,
);

/**
 * The files: that those are there which belong there, and that they are what the record says; of Velero's, that they can be read. Gives
 * whether all were looked at: false where there is no time.
 */
export async function checkFiles(checking: Checking, { signal, read = 0 }: Reading): Promise<boolean> {
  const { keys, record, seal, present, found } = checking;
  if (seal) return checkSealed(checking, seal, { signal, read });
  if (!record) return true;
  found.skip("whether anything was changed: it is not a backup of Lifeboat, and has no digests");
  const phase = record.status?.phase ?? "";
  if (!present.has(keys.tar) && RESTORABLE.includes(phase)) found.damage(keys.tar, "it is missing");
  const stem = keys.tar.slice(0, -".tar.gz".length);
  const known = [...Object.values(keys), ...OLD_ENDINGS.map((ending) => stem + ending)];
  return eachFile(checking, async (key) => {
    if (key === keys.metadata || key === keys.tar || key === keys.index) return;
    if (!known.includes(key)) found.skip(`${key}: Velero is not known to write it`);
    else await found.orDamage(key, () => checkReadable(checking, key, signal));
  });
}

/** Looks at each file from the position on: false where there is no time for all. */
async function eachFile({ present, position, goOn }: Checking, look: (key: string) => Promise<void>): Promise<boolean> {
  const keys = [...present.keys()];
  for (const key of keys.slice(keys.indexOf(position.file ?? "") + 1)) {
    await look(key);
    position.file = key;
    if (!(await goOn())) return false;
  }
  return true;
}

async function checkSealed(checking: Checking, seal: Seal, { signal, read = 0 }: Reading): Promise<boolean> {
  const { bucket, keys, record, present, found } = checking;
  const { [ENCRYPTION]: whole, [SECRETS]: secrets } = record?.metadata.annotations ?? {};
  const digests = new Map(Object.entries(seal.files).map(([name, digest]) => [keys.folder + name, digest]));
  for (const key of [keys.tar, ...digests.keys()]) if (!present.has(key)) found.damage(key, "it is missing");
  return eachFile(checking, async (key) => {
    const digest = digests.get(key);
    // The index vouches for an archive that isn't encrypted; one that is has a digest of its own.
    if (key === keys.metadata || (key === keys.tar && (digest === undefined || read === 0))) return;
    if (digest === undefined && (whole ?? secrets) && key.endsWith(ENCRYPTED))
      found.skip(`${key}: a run that died left it, and nobody needs it`);
    else if (digest === undefined) found.damage(key, "it does not belong there: the record doesn't know of it");
    else if ((await digestOf(bucket, key, signal)) !== digest) found.damage(key, "it differs from its digest");
  });
}

/** The SHA-256 of an object's bytes, as they are stored. */
export async function digestOf(bucket: Bucket, key: string, signal?: AbortSignal): Promise<string> {
  const digest = createHash("sha256");
  for await (const chunk of await storedIn(bucket).get(key, { signal })) digest.update(chunk);
  return digest.digest("hex");
}

async function checkReadable({ bucket, keys }: Checking, key: string, signal?: AbortSignal): Promise<void> {
  const text = (await readSideFile(bucket, key, signal)) ?? "";
  try {
    if (key !== keys.log) JSON.parse(text);
  } catch (cause) {
    throw new LifeboatError("corrupt", `${key} is not JSON`, { cause });
  }
}

/** What an archive says of itself. */
export interface ArchiveFacts {
  items: number;
  segments: { total: number; read: number };
}

/**
 * The archive: its size, that it tells of the same as the other files, and as much of its data as is asked for; "cut" where there is no
 * time for all.
 */
export async function checkArchive(checking: Checking, reading: Reading): Promise<ArchiveFacts | "cut" | undefined> {
  const { bucket, keys, record, seal, present, found } = checking;
  const opened = () => readable(checking, () => bucketSource(bucket, keys.tar, reading.signal));
  const tar = await found.orDamage(keys.tar, opened);
  if (!tar) return undefined;
  const isOurs = present.has(keys.index) || (await isSegmented(tar));
  if (record && !seal && !isOurs) {
    await checkForeign(checking, reading);
    return undefined;
  }
  if (record && !seal) found.damage(keys.metadata, "it has lost its digests, which an archive of Lifeboat goes with");
  if (present.has(keys.index) && !found.isDamaged(keys.index)) return checkIndexed(checking, reading);
  found.skip("the archive, which can't be checked without its index");
  return undefined;
}

/** What an identity gives that reads what is encrypted; undefined, and told, where there is none. */
async function readable<T>({ found }: Checking, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!isLifeboatError(error, "denied")) throw error;
    found.skip(`what is in the archive: ${error.message}`);
    return undefined;
  }
}

async function checkIndexed(checking: Checking, reading: Reading): Promise<ArchiveFacts | "cut" | undefined> {
  const { bucket, keys, seal, found, position, goOn } = checking;
  const { read = 0, progress, signal } = reading;
  const opened = openArchive(bucket, keys, { signal, indexEnd: seal?.indexEnd });
  const archive = await opened.catch((error: unknown) => {
    if (isLifeboatError(error, "corrupt")) {
      found.damage(error.key === keys.tar ? keys.tar : keys.index, error.message);
    } else if (isLifeboatError(error, "invalid")) {
      found.skip(error.message);
    } else throw error;
  });
  if (!archive) return undefined;
  try {
    const { items, segments } = archive.totals;
    if (!position.agreed) {
      await found.orDamage(keys.index, () => checkAgreement(checking, archive, signal));
      position.agreed = true;
      if (!(await goOn())) return "cut";
    }
    const chosen = sampleOf(segments, read, position.seed);
    if (chosen.size < segments) found.skip(`the data of ${segments - chosen.size} of ${segments} segments`);
    if (chosen.size > 0 && !found.isDamaged(keys.index)) {
      let done = 0;
      let cut = false;
      const from = position.segment;
      const only = (segment: number) => segment >= from && chosen.has(segment);
      const passed = async (count: number, segment: number) => {
        done += count;
        progress?.(done, Math.ceil(items * read));
        position.segment = segment + 1;
        cut = !(await goOn());
        return !cut;
      };
      for await (const { path, reason } of archive.verify({ only, passed })) found.damage(keys.tar, reason, path);
      if (cut) return "cut";
    }
    return { items, segments: { total: segments, read: chosen.size } };
  } finally {
    await archive.close();
  }
}

/** A share of the numbers below `total`, chosen at random: the same for the same seed. */
function sampleOf(total: number, share: number, seed: string): Set<number> {
  const drawn = [...Array(total).keys()].map((number) => ({ number, lot: hash("sha256", `${seed} ${number}`) }));
  if (share < 1) drawn.sort((a, b) => (a.lot < b.lot ? -1 : 1));
  return new Set(drawn.slice(0, Math.ceil(total * share)).map(({ number }) => number));
}

/** That record, resource list, results, index and what the archive says of itself tell of the same. */
async function checkAgreement(checking: Checking, archive: Archive, signal?: AbortSignal): Promise<void> {
  const { bucket, keys, record, found } = checking;
  const compare = (key: string, what: string, mine: unknown, other: string, its: unknown) => {
    if (mine !== its) found.damage(key, `it tells of ${mine} ${what}, ${other} of ${its}`);
  };

  const kinds: Record<string, number> = {};
  for await (const { apiVersion, kind } of archive.entries()) {
    const type = `${apiVersion}/${kind}`;
    kinds[type] = (kinds[type] ?? 0) + 1;
  }
  const outcome = await found.orDamage(keys.tar, async () => {
    const file = await archive.file(OUTCOME_FILE);
    if (!file) throw new LifeboatError("corrupt", `it has no ${OUTCOME_FILE}`);
    return JSON.parse(file.toString()) as Outcome;
  });
  const { secrets } = outcome ?? {};
  const apart = secrets?.bytes === undefined ? { count: 0, bytes: 0 } : { bytes: secrets.bytes, count: secrets.count };
  if (apart.count) kinds["v1/Secret"] = apart.count;
  const list = found.isDamaged(keys.resourceList)
    ? undefined
    : await found.orDamage(keys.resourceList, () => readResourceList(bucket, keys.resourceList, signal));
  for (const type of list ? new Set([...Object.keys(kinds), ...Object.keys(list)]) : [])
    compare(keys.resourceList, type, list?.[type]?.length ?? 0, "the index", kinds[type] ?? 0);

  if (!record || found.isDamaged(keys.metadata)) return;
  const told = backupDocument(record, bucket.location, { warnings: [], errors: [] });
  const { warnings = 0, errors = 0 } = record.status ?? {};
  compare(keys.metadata, "items", told.items, "the index", archive.totals.items + apart.count);
  compare(keys.metadata, "bytes", told.bytes, "the index", archive.totals.bytes + apart.bytes);
  if (outcome) {
    compare(keys.metadata, "warnings", warnings, "the archive", outcome.warnings.length);
    compare(keys.metadata, "errors", errors, "the archive", outcome.errors.length);
  }
  if (found.isDamaged(keys.results)) return;
  const results = await found.orDamage(keys.results, () => readBackupDocument(bucket, record, signal));
  if (!results) return;
  compare(keys.results, "warnings", results.warnings.length, "the record", warnings);
  compare(keys.results, "errors", results.errors.length, "the record", errors);
}

/** An archive of Velero: all of it or nothing, for it has no parts. */
async function checkForeign({ bucket, keys, record, found }: Checking, reading: Reading): Promise<void> {
  const { read = 0, progress, signal } = reading;
  if (read === 0) return found.skip("the data of the archive");
  let items = 0;
  await found.orDamage(keys.tar, async () => {
    for await (const { path, body } of readTar(await bucket.get(keys.tar, { signal }))) {
      const id = parseItemPath(path);
      if (id) readFacts(path, body);
      if (id && id.version === undefined) progress?.(++items, record?.status?.progress?.totalItems ?? items);
    }
  });
}
