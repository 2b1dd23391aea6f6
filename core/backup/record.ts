import type { IndexDigests } from "../archive/index.ts";
import {
  ASKED_SPEC,
  type Backup,
  CALLER,
  CLUSTER,
  ENCRYPTION,
  FINDINGS,
  MADE_IN,
  type OMITTED,
  RETAINED_UNTIL,
  SECRETS,
  SECRETS_INDEX_END,
  SERVER,
  VOLUME_COUNTS,
} from "../catalog.ts";
import { addDuration } from "../duration.ts";
import { RUN } from "../integrity/seal.ts";
import type { Discovery } from "../kube/discovery.ts";
import type { Problem } from "../report.ts";
import { timestamp } from "../timestamp.ts";
import { type VolumeRecord, volumeCounts } from "../volumes/record.ts";
import type { SecretsFacts } from "./encryption.ts";
import { retentionOf } from "./hold.ts";
import type { Finding } from "./lint.ts";
import type { Consistency } from "./photograph.ts";
import type { HookStatus } from "./podhooks.ts";
import type { BackupSpec } from "./scope.ts";
import type { Inventory } from "./sidefiles.ts";

/** First entry of ours in the archive: what the run knew when it began. */
export interface ArchiveHeader {
  schemaVersion: 1;
  /** The id of the run that wrote the archive. */
  run: string;
  /** The backup's; absent in archives of older versions. */
  name?: string;
  startTimestamp: string;
  resourceVersion: string;
  source: Discovery["version"];
  /** As it was asked for. */
  spec: BackupSpec;
  /** As it was carried out, which the record says; the same in archives of older versions. */
  settled?: BackupSpec;
  /** Of the Velero Backup, beside those that every one has. */
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  /** The cluster's name in the configuration, where it has one. */
  cluster?: string;
  /** The URL of its API server. */
  server?: string;
  /** Which cluster it is, by the UID of its Namespace kube-system, where that could be read. */
  clusterUid?: string;
  /** Who asked for it, where somebody did. */
  caller?: string;
  /** Its record was to be signed: then no run finishes it, and where its run has failed, its copies of volumes are gone. */
  signed?: boolean;
}

/** Last entry of ours in the archive: what the run had learned when the last object was in. */
export interface ArchiveOutcome {
  schemaVersion: 1;
  consistency: Consistency;
  items: number;
  bytes: number;
  /** Where Pods had hooks. */
  hooks?: HookStatus;
  /** Secrets that are in no archive, or encrypted in one of their own; absent where they are with all else. */
  secrets?: { suffix: typeof OMITTED; count: number } | SecretsFacts;
  /** Absent in a backup of single objects, which a restore keeps. */
  findings?: Finding[];
  /** Of the bound claims; absent where there are none, and in archives of older versions. */
  volumes?: VolumeRecord[];
  /** Volumes of Pods that are no claims, and were to be copied in vain; absent where there are none. */
  podVolumes?: number;
  warnings: Problem[];
  errors: Problem[];
}

/** SHA-256 by file name of what holds the Secrets, where they alone are encrypted. */
export function secretFiles({ secrets }: ArchiveOutcome): Record<string, string> {
  return secrets && "files" in secrets ? secrets.files : {};
}

/** An archive that is in the bucket, complete, with its index: all that the commit needs of it. */
export interface Archived {
  header: ArchiveHeader;
  outcome: ArchiveOutcome;
  inventory: Inventory;
  index: IndexDigests;
  /** Where all of it is encrypted: how the names end, and the SHA-256 of each file as it is stored, which grow as more are. */
  encrypted?: { suffix: string; digests: Record<string, string> };
  /** For a run that fails after all: takes away the copies of its volumes that nothing names (takeback.ts). Never throws. */
  takeBackCopies?: () => Promise<void>;
  /** Of one that was made in slices: the log of those before the last one, gzipped. */
  logBefore?: Buffer;
}

/**
 * The Velero Backup that `velero-backup.json` holds (velero-format: 3). It is made from what the archive says of
 * itself, so that a run that adopts the archive commits the same backup.
 */
export function backupRecord(
  name: string,
  { header, outcome, encrypted }: Pick<Archived, "header" | "outcome" | "encrypted">,
  { completedAt, location }: { completedAt: Date; location: string },
): Backup {
  const { source, startTimestamp, settled: spec = header.spec } = header;
  const { consistency, items, volumes, podVolumes, warnings, errors } = outcome;
  const retain = retentionOf(header);
  const { secrets } = outcome;
  return {
    apiVersion: "velero.io/v1",
    kind: "Backup",
    metadata: {
      name,
      namespace: "velero",
      labels: { ...header.labels, "velero.io/storage-location": "default" },
      annotations: {
        ...header.annotations,
        "velero.io/source-cluster-k8s-gitversion": source.gitVersion,
        "velero.io/source-cluster-k8s-major-version": source.major,
        "velero.io/source-cluster-k8s-minor-version": source.minor,
        "velero.io/resource-timeout": "10m0s",
        [RUN]: header.run,
        "lifeboat/consistency": consistency.grade,
        "lifeboat/resource-version": consistency.resourceVersion,
        "lifeboat/exceptions": JSON.stringify(consistency.exceptions),
        "lifeboat/bytes": String(outcome.bytes),
        [ASKED_SPEC]: JSON.stringify(header.spec),
        ...(encrypted && { [ENCRYPTION]: encrypted.suffix }),
        ...(secrets && { [SECRETS]: secrets.suffix, "lifeboat/secrets-count": String(secrets.count) }),
        ...(secrets && "indexEnd" in secrets && { [SECRETS_INDEX_END]: secrets.indexEnd }),
        ...(retain && { [RETAINED_UNTIL]: timestamp(retain.until) }),
        ...((volumes || podVolumes) && { [VOLUME_COUNTS]: JSON.stringify(volumeCounts(volumes, podVolumes)) }),
        ...(volumes && { [MADE_IN]: location }),
        ...(outcome.findings && { [FINDINGS]: String(outcome.findings.length) }),
        ...(header.cluster && { [CLUSTER]: header.cluster }),
        ...(header.server && { [SERVER]: header.server }),
        ...(header.caller && { [CALLER]: header.caller }),
      },
    },
    spec: {
      metadata: {},
      defaultVolumesToFsBackup: false,
      snapshotMoveData: false,
      csiSnapshotTimeout: "10m0s",
      itemOperationTimeout: "4h0m0s",
      ...spec,
      includedNamespaces: spec.includedNamespaces?.length ? spec.includedNamespaces : ["*"],
      ttl: spec.ttl ?? "0s",
      hooks: spec.hooks ?? {},
      storageLocation: "default",
    },
    status: {
      version: 1,
      formatVersion: "1.1.0",
      phase: errors.length > 0 ? "PartiallyFailed" : "Completed",
      startTimestamp,
      completionTimestamp: timestamp(completedAt),
      expiration: spec.ttl ? timestamp(addDuration(new Date(startTimestamp), spec.ttl)) : undefined,
      warnings: warnings.length || undefined,
      errors: errors.length || undefined,
      progress: { totalItems: items, itemsBackedUp: items },
      hookStatus: { ...outcome.hooks },
    },
  };
}
