/** All that functions/ may import of the core. */

export { orAborted, pause, polled } from "./abort.ts";
export { problemResponse } from "./api/problem.ts";
export { type ApiServer, startApiServer } from "./apiserver/server.ts";
export type { KubernetesObject } from "./archive/item.ts";
export { type BackupRun, backup } from "./backup/backup.ts";
export type { Finding } from "./backup/lint.ts";
export type { Consistency } from "./backup/photograph.ts";
export { readPolicies } from "./backup/policies.ts";
export type { BackupSpec } from "./backup/scope.ts";
export { type Browsing, browseBackup } from "./browse/browse.ts";
export { abortable, checkKey, checkRange, compareKeys, partsOf } from "./bucket.ts";
export {
  type Backup,
  backupKeysOf,
  type CatalogRow,
  listBackups,
  listRestores,
  newestBackup,
  RESTORABLE,
  type Restore,
  readBackup,
  readLog,
  readRestorable,
  readRestore,
  restoreKeysOf,
  rowProblem,
} from "./catalog.ts";
export { type Checked, check, configuredClusters, fleetsClusters } from "./check/check.ts";
export type { CheckedCluster } from "./check/cluster.ts";
export type { Check, CheckDocument } from "./check/document.ts";
export { openCluster } from "./cluster.ts";
export { type Config, type FleetConfig, parseConfig, type Schedule } from "./config.ts";
export { anyScheduleOf, clusterOf, everySchedule, scheduleOf } from "./configured.ts";
export { listFolder } from "./contents.ts";
export type { CopyWish } from "./copies.ts";
export { deleteBackup } from "./delete.ts";
export { deliver } from "./delivery.ts";
export { openBucket } from "./deployment.ts";
export {
  type BackupDocument,
  backupDocument,
  type RestoreCounts,
  type RestoreDocument,
  readBackupDocument,
  readFindings,
  readMarks,
  readResourceList,
  readRestoreDocument,
  restoreDocument,
} from "./documents.ts";
export { parseDuration } from "./duration.ts";
export { encrypterFor } from "./encryption/age.ts";
export { unlockedBy } from "./encryption/configured.ts";
export {
  ERROR_KINDS,
  type ErrorKind,
  EXIT_CODES,
  isLifeboatError,
  LifeboatError,
  mayPass,
  messageOf,
  unlessMissing,
} from "./errors.ts";
export { type FleetDocument, readSummary } from "./fleet/document.ts";
export { drive } from "./fleet/engine.ts";
export { readFleetRun } from "./fleet/job.ts";
export { isFleet, memberLocation, narrowedTo } from "./fleet/narrowed.ts";
export { fleetPauses, underFleet } from "./fleet/pause.ts";
export { ofOneCluster } from "./fleet/root.ts";
export {
  type ClusterDocument,
  type ClusterListDocument,
  type FleetReading,
  fleetScheduleDocuments,
  fleetStanding,
  lastSlot,
} from "./fleet/standing.ts";
export { type Holder, thisProcess } from "./holder.ts";
export { htmlPage } from "./html.ts";
export { copyBackup } from "./integrity/copy.ts";
export type { VerifyDocument, VerifyListDocument } from "./integrity/document.ts";
export { damageLines } from "./integrity/findings.ts";
export { configuredSigner, readTrustedKeys } from "./integrity/keys.ts";
export type { Verified } from "./integrity/verified.ts";
export { type VerifyOptions, verifyBackup, verifyLocation } from "./integrity/verify.ts";
export { readStoredVolumes } from "./integrity/volumes.ts";
export { type Job, readShare } from "./job.ts";
export { runJob } from "./jobs/run.ts";
export { connect, type Kube } from "./kube/client.ts";
export { AKS_SERVER_ID, AWS_REGION, awsDomains, EKS_NAME, ROLE_ARN } from "./kube/clouds.ts";
export { discover } from "./kube/discovery.ts";
export { parseExact } from "./kube/json.ts";
export { readKubeconfig } from "./kube/kubeconfig.ts";
export { listPages } from "./kube/list.ts";
export type { Resource } from "./kube/resource.ts";
export { checkLabels, EXCLUDE_LABEL } from "./labels.ts";
export { restoreKeys } from "./layout.ts";
export { secretText } from "./localsecrets.ts";
export { parseLocation, readLocation, samePlace } from "./location.ts";
export { checkNotHeld, claimLock, type LockClaim, restoresUnderWay } from "./lock.ts";
export { type Listen, type LogLevel, logLine, type RunLog, startRunLog } from "./log.ts";
export { isLoopback } from "./loopback.ts";
export { memoryJobs } from "./memoryjobs.ts";
export { checkNewName } from "./names.ts";
export { meant } from "./nearest.ts";
export { type Meaning, NETWORK_CODES } from "./netcodes.ts";
export { MOST_REASON, pinBackup, pinText, unpinBackup } from "./pins.ts";
export type {
  AksReference,
  Bucket,
  DiskSnapshot,
  Disks,
  EksReference,
  GkeReference,
  InZone,
  Jobs,
  Listed,
  ManagedClusters,
  ObjectRetention,
  Platform,
  Secrets,
} from "./ports.ts";
export { type DiffDocument, type DiffState, diff } from "./reading/diff.ts";
export { type HistoryDocument, history, type ObjectEvent } from "./reading/history.ts";
export type { Reading } from "./reading/open.ts";
export { MOST_FOUND, type SearchDocument, search } from "./reading/search.ts";
export { showItem } from "./reading/show.ts";
export { openedOnce } from "./removal.ts";
export { bytesText, type Problem, problemLine, someOf } from "./report.ts";
export { abandonJob } from "./requests.ts";
export { type ActivationDocument, activateRestore } from "./restore/clone/activate.ts";
export { type Drill, drillBackup } from "./restore/drill.ts";
export { readModifiers } from "./restore/modifiers/modifierfile.ts";
export { groupOutcomes, groupProblems, readOutcomes, reportPage } from "./restore/outcomes.ts";
export { runDryRun } from "./restore/plan/dryrun.ts";
export { type PlanDocument, type PlanStep, readPlan, specOf } from "./restore/plan/plandocument.ts";
export type { RestorePlan } from "./restore/restore.ts";
export { type RestoreEnd, type RestoreRun, runRestore } from "./restore/run.ts";
export type { RestoreSpec } from "./restore/spec.ts";
export { findUndo, rehearseUndo, runUndo } from "./restore/undo/undo.ts";
export type { RetentionDocument, RetentionRow } from "./retention/document.ts";
export { previewRetention } from "./retention/retention.ts";
export { readClock } from "./schedule/cron.ts";
export { readPause, setPaused } from "./schedule/pause.ts";
export { type ClockCloud, renderSchedules } from "./schedule/render.ts";
export { hasCome, missedSlots, nameTime, readScheduledName, scheduledName } from "./schedule/slots.ts";
export { type ScheduleDocument, scheduleDocument } from "./schedule/standing.ts";
export { type CachedSecrets, openSecrets } from "./secrets.ts";
export { type LabelSelector, nameFilter, parseSelector, selectorText } from "./select.ts";
export { createService, readClockKinds, type Service } from "./service.ts";
export { checkBackupFilters, checkPolicies, type FilterSpec } from "./specs.ts";
export { counting, type Usage } from "./usage.ts";
export type { JobStatus } from "./verdict.ts";
export { copiesText } from "./volumes/copies.ts";
export { isRefusal, orRemoved } from "./volumes/leftover.ts";
export { type VolumeMeans, volumeMeans } from "./volumes/means.ts";
export { cloudName, matching } from "./volumes/names.ts";
export { type RestoredVolumes, type StoredVolume, type VolumeCounts, volumesText } from "./volumes/record.ts";
export type { RemovalMeans } from "./volumes/remover.ts";
export { NAME_TAG, nameTag, tagsFor, throughputFor, throughputTag } from "./volumes/tags.ts";
export { regionOfZone, ZONES } from "./volumes/zone.ts";
