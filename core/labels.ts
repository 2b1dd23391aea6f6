import { createHash } from "node:crypto";
import { z } from "zod";
import { LifeboatError } from "./errors.ts";
import { fieldProblems, problemText } from "./fields.ts";
import { placeDigest } from "./location.ts";

const key = z
  .string()
  .regex(
    /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$/,
    "is not a key that Kubernetes takes for a label",
  );
const value = z
  .string()
  .regex(/^([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?$/, "is not a value that Kubernetes takes for a label");

/** Labels as Kubernetes takes them. */
export const labelsSchema = z.record(key, value);

/** Whether Kubernetes takes this for a label's key. */
export function isLabelKey(text: string): boolean {
  return key.safeParse(text).success;
}

/** Throws `invalid` for labels that Kubernetes doesn't take. */
export function checkLabels(labels: Record<string, string>): void {
  const { error } = labelsSchema.safeParse(labels);
  if (error) throw new LifeboatError("invalid", fieldProblems(error).map(problemText).join("; "));
}

/** What carries this label with the value "true" is in no backup; on a Namespace, nothing in it is. */
export const EXCLUDE_LABEL = "velero.io/exclude-from-backup";

/** The label that tells which backup an object was made for, or restored from. */
export const BACKUP_NAME = "velero.io/backup-name";

/** The label that tells which restore made or changed an object last. */
export const RESTORE_NAME = "velero.io/restore-name";

/** A name as a label's value: at most 63 characters, else its first 57 and 6 of its SHA-256 (Velero label.GetValidName). */
export function labelValue(name: string): string {
  return name.length <= 63 ? name : name.slice(0, 57) + createHash("sha256").update(name).digest("hex").slice(0, 6);
}

/** Where the backup is stored that something was made for: of an object its `placeDigest`, as a tag of a disk's snapshot itself. */
export const LOCATION = "lifeboat/location";

/** A backup, and where it is stored: several installations may back up one cluster, each with a backup of that name. */
export interface BackupIn {
  backupName: string;
  location: string;
}

/** The labels of what is made in a cluster for a backup, by which nobody takes it for another one's. */
export function labelsFor({ backupName, location }: BackupIn): Record<string, string> {
  return { [BACKUP_NAME]: labelValue(backupName), [LOCATION]: placeDigest(location) };
}

/** The label of Jobs of restic, and of what belongs to them. */
export const MANAGED = { "app.kubernetes.io/managed-by": "lifeboat" };

/** Selects what carries all of these labels. */
export function selectorOf(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map((pair) => pair.join("="))
    .join();
}

/**
 * The label of what stands in a cluster only while a volume is copied ("csi") or restored ("csi-restore"); it bears the exclude
 * label too.
 */
export const VOLUME_COPY = "lifeboat/volume-copy";
