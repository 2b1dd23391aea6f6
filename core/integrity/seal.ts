import { z } from "zod";
import { sha256 } from "../archive/gzip.ts";
import type { Backup } from "../catalog.ts";
import { LifeboatError } from "../errors.ts";
import type { Signer } from "../ports.ts";
import { signatureOf, signerOf } from "./keys.ts";

/** The annotation of a record that names the run which wrote the archive: every backup of Lifeboat has it. */
export const RUN = "lifeboat/run";

/** The SHA-256 of each file beside the record but the archive, as JSON by file name. */
const DIGESTS = "lifeboat/digests";
/** The SHA-256 of the index's end, which vouches for the index, and that for the archive (docs/format.md). */
const INDEX_END = "lifeboat/index-end";
/** The SHA-256 of the record's own bytes, with this annotation and the signature's empty. */
const DIGEST = "lifeboat/digest";
/** Of that digest, where the record is signed. */
const SIGNATURE = "lifeboat/signature";

/** What a record vouches for. */
export interface Seal {
  /** SHA-256 by file name: of what lies beside the record, but for the archive. */
  files: Record<string, string>;
  indexEnd: string;
}

const filesSchema = z.record(z.string(), z.string());

/** The record with its seal, signed where there is a signer, and its bytes as they are to be stored. */
export async function sealRecord(
  record: Backup,
  { files, indexEnd }: Seal,
  signer?: Signer,
): Promise<{ record: Backup; body: Buffer }> {
  const sorted = Object.fromEntries(Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1)));
  const empty = { [DIGEST]: "", ...(signer && { [SIGNATURE]: "" }) };
  const blank = annotated(record, { [DIGESTS]: JSON.stringify(sorted), [INDEX_END]: indexEnd, ...empty });
  const digest = sha256(bytesOf(blank));
  const signature = signer && { [SIGNATURE]: await signatureOf(digest, signer) };
  const sealed = annotated(blank, { [DIGEST]: digest, ...signature });
  return { record: sealed, body: bytesOf(sealed) };
}

/**
 * Holds the bytes of a record to the digest in it, and to its signature, whoever made that. Velero's records have
 * neither. Throws `corrupt` where the record was changed, and where one of Lifeboat has no digest either.
 */
export function checkSeal(body: Buffer, key: string): void {
  const record = JSON.parse(body.toString()) as Backup;
  const { annotations = {} } = record.metadata;
  const digest = annotations[DIGEST];
  if (digest === undefined && [RUN, DIGESTS, INDEX_END].every((name) => annotations[name] === undefined)) return;
  if (digest === undefined) throw damaged(key, "it has no digest of itself, as all of Lifeboat's have");
  const signature = annotations[SIGNATURE];
  const blank = annotated(record, { [DIGEST]: "", ...(signature !== undefined && { [SIGNATURE]: "" }) });
  // What isn't written as Lifeboat writes it was changed, though it may mean the same.
  if (!bytesOf(record).equals(body) || sha256(bytesOf(blank)) !== digest)
    throw damaged(key, "it differs from its digest");
  if (signature !== undefined && signerOf(signature, digest) === undefined)
    throw damaged(key, "its signature is not one of its digest");
}

/** Whose signature a record bears that `checkSeal` has passed, as a public key; undefined for one that isn't signed. */
export function signedBy({ metadata: { annotations = {} } }: Backup): string | undefined {
  return signerOf(annotations[SIGNATURE] ?? "", annotations[DIGEST] ?? "");
}

/** Why, where there are trusted keys, a record that `checkSeal` has passed isn't trusted: none of them has signed it. */
export function distrustOf(record: Backup, trustedKeys: string[]): string | undefined {
  const key = signedBy(record);
  if (trustedKeys.length === 0 || (key !== undefined && trustedKeys.includes(key))) return undefined;
  const reason = key === undefined ? "is not signed" : `is signed by ${key}, which is not a trusted key`;
  return `backup "${record.metadata.name}" ${reason}`;
}

/** Throws `corrupt` for what `distrustOf` finds. */
export function checkTrusted(record: Backup, trustedKeys: string[] = []): void {
  const distrust = distrustOf(record, trustedKeys);
  if (distrust === undefined) return;
  throw new LifeboatError("corrupt", distrust, {
    hint: "only what a key of signing.publicKeys, or --trusted-key, has signed is trusted here",
  });
}

/** What a record that `checkSeal` has passed vouches for; undefined for one of Velero. */
export function sealOf({ metadata: { name, annotations = {} } }: Backup): Seal | undefined {
  const indexEnd = annotations[INDEX_END];
  const digests = annotations[DIGESTS];
  if (indexEnd === undefined || digests === undefined) return undefined;
  try {
    return { files: filesSchema.parse(JSON.parse(digests)), indexEnd };
  } catch (cause) {
    throw new LifeboatError("corrupt", `the digests of backup "${name}" can't be read`, { cause });
  }
}

/** The same record always gives the same bytes, and those the same record. */
function bytesOf(record: Backup): Buffer {
  return Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`);
}

function annotated(record: Backup, annotations: Record<string, string>): Backup {
  const { metadata } = record;
  return { ...record, metadata: { ...metadata, annotations: { ...metadata.annotations, ...annotations } } };
}

function damaged(key: string, reason: string): LifeboatError {
  return new LifeboatError("corrupt", `${key} was changed after it was written: ${reason}`, {
    hint: "use another backup, or another copy of this one",
  });
}
