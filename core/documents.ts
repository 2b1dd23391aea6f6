import type { Finding } from "./backup/lint.ts";
import type { Consistency } from "./backup/photograph.ts";
import {
  ASKED_SPEC,
  type Backup,
  backupKeysOf,
  CALLER,
  CLUSTER,
  encryptedPart,
  FINDINGS,
  RETAINED_UNTIL,
  type Restore,
  restoreKeysOf,
  SCHEDULE_LABEL,
  SERVER,
  UNDOES,
  VOLUME_COUNTS,
} from "./catalog.ts";
import { readSideFile } from "./contents.ts";
import { LifeboatError } from "./errors.ts";
import { signedBy } from "./integrity/seal.ts";
import { readAllVerified, readVerified, type Verified } from "./integrity/verified.ts";
import { type Pin, readPin, readPins } from "./pins.ts";
import type { Bucket } from "./ports.ts";
import type { Problem, VeleroResult } from "./report.ts";
import type { RestoreResult } from "./restore/report.ts";
import type { Usage } from "./usage.ts";
import type { RestoredVolumes, VolumeCounts } from "./volumes/record.ts";

/** What one backup is and how it went: the same for the command line, HTTP and functions. */
export interface BackupDocument {
  schemaVersion: 1;
  kind: "backup";
  name: string;
  phase: string;
  /** The URL of the location it lies in. */
  location: string;
  /** Absent for a backup of Velero, which doesn't know. */
  consistency?: Consistency;
  items: number;
  /** Of the objects' JSON; absent for a backup of Velero. */
  bytes?: number;
  /** What a restore into an empty cluster would miss (`readFindings`); absent where nobody has looked. */
  findingCount?: number;
  /** What became of the data of its bound claims; absent where it has none, and for a backup of Velero. */
  volumes?: VolumeCounts;
  /** How many hooks were run, or should have been; absent where there were none. */
  hooks?: { attempted: number; failed: number };
  durationMs?: number;
  /** What the run asked of its bucket: on the command line all of it, of a job until the backup was there. Only the run itself tells it. */
  usage?: Usage;
  startTimestamp?: string;
  completionTimestamp?: string;
  /** When it expires; absent where it never does by itself. */
  expiration?: string;
  /** Until when its bucket holds it against deletion; absent where it was not asked to. */
  retainedUntil?: string;
  /** That it must not be deleted, and, where it was said, since when, by whom and why. */
  pinned?: Pin;
  /** When a job last verified it, and what is known since; absent where none has. */
  verified?: Verified;
  /** The schedule that made it. */
  schedule?: string;
  /** The cluster's name in the configuration of who made it. */
  cluster?: string;
  /** The URL of the cluster's API server; absent for a backup of Velero, which doesn't know. */
  server?: string;
  /** What of it is encrypted; absent where nothing is. */
  encryption?: "all" | "secrets";
  /** The public key that has signed it; absent where none has. */
  signedBy?: string;
  /** Who asked for it, where somebody did. */
  caller?: string;
  /** The cluster's version. */
  kubernetesVersion?: string;
  formatVersion?: string;
  /** Velero's BackupSpec. */
  spec: Record<string, unknown>;
  warnings: Problem[];
  errors: Problem[];
}

/** What one restore is and how it went. */
export interface RestoreDocument {
  schemaVersion: 1;
  kind: "restore";
  name: string;
  /** None for the undo of a restore that only created. */
  backup?: string;
  phase: string;
  location: string;
  counts: RestoreCounts;
  /** What became of the data of the claims that it created; absent where there are none. */
  volumes?: RestoredVolumes;
  /** The restore that it undid, where it is an undo. */
  undoes?: string;
  durationMs?: number;
  startTimestamp?: string;
  completionTimestamp?: string;
  /** The cluster's name in the configuration of who made it. */
  cluster?: string;
  /** Who asked for it, where somebody did. */
  caller?: string;
  /** Velero's RestoreSpec. */
  spec: Record<string, unknown>;
  warnings: Problem[];
  errors: Problem[];
}

/** Objects by what became of them. */
export type RestoreCounts = RestoreResult["counts"];

const NO_COUNTS: RestoreCounts = {
  created: 0,
  updated: 0,
  recreated: 0,
  pruned: 0,
  skipped: 0,
  blocked: 0,
  failed: 0,
};

/** The spec of a backup as it was asked for; undefined where the record doesn't tell it, as Velero's don't. */
export function askedSpec({ metadata }: Backup): object | undefined {
  return parseOr<object | undefined>(metadata.annotations?.[ASKED_SPEC], undefined);
}

/** What a run or its `-results.gz` says beside the record. */
export interface RunReport {
  warnings: Problem[];
  errors: Problem[];
}

/** The document of a backup's record. `durationMs` is what was measured, or, of one in slices, where it was not, what its timestamps say. */
export function backupDocument(
  record: Backup,
  location: string,
  report: RunReport & { durationMs?: number; usage?: Usage; pin?: Pin; verified?: Verified },
): BackupDocument {
  const { metadata, spec = {}, status = {} } = record;
  const annotations = metadata.annotations ?? {};
  const bytes = Number(annotations["lifeboat/bytes"]);
  return {
    schemaVersion: 1,
    kind: "backup",
    name: metadata.name,
    phase: status.phase ?? "",
    location,
    consistency: consistencyOf(annotations),
    items: status.progress?.itemsBackedUp ?? 0,
    bytes: Number.isFinite(bytes) ? bytes : undefined,
    findingCount: annotations[FINDINGS] === undefined ? undefined : Number(annotations[FINDINGS]),
    volumes: parseOr<VolumeCounts | undefined>(annotations[VOLUME_COUNTS], undefined),
    hooks: hookCounts(status.hookStatus),
    durationMs: durationOf(status, report.durationMs),
    usage: report.usage,
    startTimestamp: status.startTimestamp,
    completionTimestamp: status.completionTimestamp,
    expiration: status.expiration,
    retainedUntil: annotations[RETAINED_UNTIL],
    pinned: report.pin,
    verified: report.verified,
    schedule: metadata.labels?.[SCHEDULE_LABEL],
    cluster: annotations[CLUSTER],
    server: annotations[SERVER],
    encryption: encryptedPart(record),
    signedBy: signedBy(record),
    caller: annotations[CALLER],
    kubernetesVersion: annotations["velero.io/source-cluster-k8s-gitversion"],
    formatVersion: status.formatVersion,
    spec,
    warnings: report.warnings,
    errors: report.errors,
  };
}

/** The document of a restore's record; as `backupDocument`. */
export function restoreDocument(
  record: Restore,
  location: string,
  report: RunReport & { durationMs?: number },
): RestoreDocument {
  const { metadata, spec, status } = record;
  const counts = parseOr<Partial<RestoreCounts>>(metadata.annotations?.["lifeboat/counts"], {});
  return {
    schemaVersion: 1,
    kind: "restore",
    name: metadata.name,
    backup: spec.backupName,
    phase: status.phase ?? "",
    location,
    counts: { ...NO_COUNTS, ...counts },
    volumes: parseOr<RestoredVolumes | undefined>(metadata.annotations?.[VOLUME_COUNTS], undefined),
    undoes: metadata.annotations?.[UNDOES],
    durationMs: durationOf(status, report.durationMs),
    startTimestamp: status.startTimestamp,
    completionTimestamp: status.completionTimestamp,
    cluster: metadata.annotations?.[CLUSTER],
    caller: metadata.annotations?.[CALLER],
    spec,
    warnings: report.warnings,
    errors: report.errors,
  };
}

/** What was said of the backups of a location since they were made, by their names. */
export interface Marks {
  pins: ReadonlyMap<string, Pin>;
  verified: ReadonlyMap<string, Verified>;
}

/** The marks of all backups: for who reads many. */
export async function readMarks(bucket: Bucket, signal?: AbortSignal): Promise<Marks> {
  const [pins, verified] = await Promise.all([readPins(bucket, signal), readAllVerified(bucket, signal)]);
  return { pins, verified };
}

/**
 * The document of a backup in the bucket, its problems from `-results.gz`, which is read only where there are some.
 * `marks`: those of the location, where they have been read already.
 */
export async function readBackupDocument(
  bucket: Bucket,
  record: Backup,
  signal?: AbortSignal,
  marks?: Marks,
): Promise<BackupDocument> {
  const { name } = record.metadata;
  const report = await readReport(bucket, backupKeysOf(record).results, record.status ?? {}, signal);
  const pin = marks ? marks.pins.get(name) : await readPin(bucket, name, signal);
  const verified = marks ? marks.verified.get(name) : await readVerified(bucket, name, signal);
  return backupDocument(record, bucket.location, { ...report, pin, verified });
}

/** The document of a restore in the bucket; as `readBackupDocument`. */
export async function readRestoreDocument(
  bucket: Bucket,
  record: Restore,
  signal?: AbortSignal,
): Promise<RestoreDocument> {
  const report = await readReport(bucket, restoreKeysOf(record).results, record.status, signal);
  return restoreDocument(record, bucket.location, report);
}

/** Velero's resource list of a backup or restore: "apps/v1/Deployment" to "namespace/name"; undefined where there is none. */
export async function readResourceList(
  bucket: Bucket,
  key: string,
  signal?: AbortSignal,
): Promise<Record<string, string[]> | undefined> {
  const text = await readSideFile(bucket, key, signal);
  return text === undefined ? undefined : (parseSideFile(text, key) as Record<string, string[]>);
}

/** What a restore of the backup would miss; undefined where nobody has looked, as in a backup of Velero. */
export async function readFindings(
  bucket: Bucket,
  record: Backup,
  signal?: AbortSignal,
): Promise<Finding[] | undefined> {
  if (record.metadata.annotations?.[FINDINGS] === undefined) return undefined;
  const key = backupKeysOf(record).findings;
  const findings = parseOr<unknown>(await readSideFile(bucket, key, signal), undefined);
  if (Array.isArray(findings)) return findings as Finding[];
  throw new LifeboatError("corrupt", `${key} is missing, or does not hold what its name says`);
}

async function readReport(
  bucket: Bucket,
  key: string,
  counts: { warnings?: number; errors?: number },
  signal?: AbortSignal,
): Promise<RunReport> {
  if (!counts.warnings && !counts.errors) return { warnings: [], errors: [] };
  const text = await readSideFile(bucket, key, signal);
  if (text !== undefined) {
    const { warnings, errors } = parseSideFile(text, key) as { warnings?: VeleroResult; errors?: VeleroResult };
    return { warnings: problemsOf(warnings), errors: problemsOf(errors) };
  }
  const untold = (count: number, word: string): Problem[] =>
    count ? [{ message: `${count} ${word}, which ${key} would tell: it is missing` }] : [];
  return { warnings: untold(counts.warnings ?? 0, "warnings"), errors: untold(counts.errors ?? 0, "errors") };
}

function problemsOf({ velero, cluster, namespaces }: VeleroResult = {}): Problem[] {
  const lines = (messages: string[] | undefined, namespace?: string): Problem[] =>
    (messages ?? []).map((message) => ({ ...(namespace === undefined ? {} : { namespace }), message: message.trim() }));
  return [
    ...lines(velero),
    ...lines(cluster, ""),
    ...Object.entries(namespaces ?? {}).flatMap(([namespace, messages]) => lines(messages, namespace)),
  ];
}

function consistencyOf(annotations: Record<string, string>): Consistency | undefined {
  const grade = annotations["lifeboat/consistency"];
  if (grade !== "exact" && grade !== "mixed") return undefined;
  return {
    grade,
    resourceVersion: annotations["lifeboat/resource-version"] ?? "",
    exceptions: parseOr(annotations["lifeboat/exceptions"], []),
  };
}

function hookCounts(status: NonNullable<Backup["status"]>["hookStatus"] = {}): BackupDocument["hooks"] {
  const { hooksAttempted: attempted = 0, hooksFailed: failed = 0 } = status;
  return attempted > 0 ? { attempted, failed } : undefined;
}

/** Timestamps are of whole seconds: what was measured differs by no more, unless that was the last slice alone. */
const ROUNDED_MS = 2_000;

function durationOf(
  { startTimestamp = "", completionTimestamp = "" }: { startTimestamp?: string; completionTimestamp?: string },
  measured?: number,
): number | undefined {
  const between = Date.parse(completionTimestamp) - Date.parse(startTimestamp);
  if (Number.isNaN(between)) return measured;
  return measured === undefined || between > measured + ROUNDED_MS ? between : measured;
}

function parseSideFile(text: string, key: string): object {
  const value = parseOr<unknown>(text, undefined);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new LifeboatError("corrupt", `${key} does not hold what its name says`);
}

function parseOr<T>(json: string | undefined, otherwise: T): T {
  if (json === undefined) return otherwise;
  try {
    return JSON.parse(json) as T;
  } catch {
    return otherwise;
  }
}
