import { z } from "zod";
import { ALL } from "../job.ts";
import { VERIFIED, verificationFolder, verifiedFolder } from "../layout.ts";
import type { Bucket } from "../ports.ts";
import { newestState, newestStates, type Placed, say } from "../state.ts";
import { timestamp } from "../timestamp.ts";
import { type VerifyDocument, type VerifyListDocument, verifyListSchema, verifySchema } from "./document.ts";
import { damageText } from "./findings.ts";

/** When a backup was last verified, and whether it is good, as far as verifications have looked. */
export interface Verified {
  /** RFC 3339. */
  at: string;
  ok: boolean;
  /** What is damaged, and when that was found: one that reads less since, and finds nothing, does not take it back. */
  damage?: { at: string; reason: string };
}

const damageSchema = z.object({ at: z.string(), reason: z.string() });
export const verifiedSchema: z.ZodType<Verified> = z.object({
  at: z.string(),
  ok: z.boolean(),
  damage: damageSchema.optional(),
});

const backupStateSchema = z.object({
  at: z.string(),
  document: verifySchema,
  damage: damageSchema.optional(),
  /** The one before had found damage, or had failed. */
  recovered: z.boolean(),
});
type BackupState = z.infer<typeof backupStateSchema>;

const locationStateSchema = z.object({
  at: z.string(),
  slot: z.string().optional(),
  /** Absent where the run failed. */
  document: verifyListSchema.optional(),
  recovered: z.boolean(),
});
type LocationState = z.infer<typeof locationStateSchema>;

/** What is known of a backup from verifications; undefined where none has ended. */
export async function readVerified(
  bucket: Bucket,
  backup: string,
  signal?: AbortSignal,
): Promise<Verified | undefined> {
  return verifiedOf(await lastVerification(bucket, backup, signal));
}

/** What is known of all backups of the location, by their names. */
export async function readAllVerified(bucket: Bucket, signal?: AbortSignal): Promise<Map<string, Verified>> {
  const placed = await newestStates(bucket, VERIFIED, backupStateSchema, signal);
  return new Map(
    [...placed].flatMap(([name, { state }]) => {
      const verified = verifiedOf(state);
      return verified ? [[name, verified]] : [];
    }),
  );
}

/** The newest verification of a backup that has ended; undefined where there is none, or it can't be read. */
export async function lastVerification(
  bucket: Bucket,
  backup: string,
  signal?: AbortSignal,
): Promise<BackupState | undefined> {
  return (await newestState(bucket, verifiedFolder(backup), backupStateSchema, signal))?.state;
}

/** Says what a verification has found that read the share `read` of the archive's data, 0 to 1. */
export function noteVerification(
  bucket: Bucket,
  document: VerifyDocument,
  read: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const at = timestamp(new Date());
  const found = document.ok ? undefined : { at, reason: damageText(document.damaged) };
  const next = ({ state: before }: Partial<Placed<BackupState>> = {}): BackupState => {
    const damage = found ?? (read < 1 ? before?.damage : undefined);
    return { at, document, damage, recovered: before?.damage !== undefined && !damage };
  };
  return say(bucket, verifiedFolder(document.name), backupStateSchema, next, signal);
}

/** The newest verification of the location; undefined where there is none, or it can't be read. */
export async function lastLocationVerification(
  bucket: Bucket,
  signal?: AbortSignal,
): Promise<LocationState | undefined> {
  return (await newestState(bucket, verificationFolder(ALL), locationStateSchema, signal))?.state;
}

/** Says what a verification of the location has found; without a document, that it failed. */
export function noteLocationVerification(
  bucket: Bucket,
  { document, slot }: { document?: VerifyListDocument; slot?: string },
  signal?: AbortSignal,
): Promise<boolean> {
  const at = timestamp(new Date());
  const next = ({ state: before }: Partial<Placed<LocationState>> = {}): LocationState => {
    const recovered = before !== undefined && !before.document?.ok && document?.ok === true;
    return { at, slot, document, recovered };
  };
  return say(bucket, verificationFolder(ALL), locationStateSchema, next, signal);
}

function verifiedOf(state: BackupState | undefined): Verified | undefined {
  return state && { at: state.at, ok: state.damage === undefined, damage: state.damage };
}
