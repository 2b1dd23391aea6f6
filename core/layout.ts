/** Where Velero has its backups and restores, each in a folder of its name. */
export const BACKUPS = "backups/";
export const RESTORES = "restores/";

/** Where all lies that belongs to no backup or restore itself: a place that Velero allows (design: 6.2). */
export const OURS = "metadata/lifeboat/";
export const LOCKS = `${OURS}locks/`;
export const RUNS = `${OURS}runs/`;
export const PLANS = `${OURS}plans/`;
export const NOTES = `${OURS}notes/`;
export const PINS = `${OURS}pins/`;
export const VERIFIED = `${OURS}verified/`;
export const VERIFICATIONS = `${OURS}verifications/`;
export const TOLD = `${OURS}told/`;
export const REMOVALS = `${OURS}removals/`;
export const PIECES = `${OURS}pieces/`;
export const PROGRESS = `${OURS}progress/`;
export const SLICES = `${OURS}slices/`;
/** What checks of a location have stored to see whether they may, and were not allowed to delete (check/bucket.ts). */
export const PROBES = `${OURS}probes/`;
/** What belongs to a fleet itself: its runs (fleet/job.ts). Each of its clusters has a location of its own. */
export const FLEET = `${OURS}fleet/`;
const PAUSES = `${OURS}schedules/`;

/**
 * The objects of one backup, by Velero's names (velero-format: 1.2) plus ours. Where all of it is encrypted, each name but
 * the record's ends in `encrypted` (".age", ".2.age"), and the record has a name of its own, so that Velero doesn't list what it
 * can't read.
 */
export function backupKeys(name: string, encrypted = "") {
  const folder = `${BACKUPS}${name}/`;
  const key = (suffix: string) => `${folder}${name}${suffix}${encrypted}`;
  return {
    folder,
    /** Its existence is the commit: what has none is not a backup. */
    metadata: `${folder}${encrypted ? "lifeboat-backup.json" : "velero-backup.json"}`,
    tar: key(".tar.gz"),
    index: key("-index.json.gz"),
    log: key("-logs.gz"),
    results: key("-results.gz"),
    resourceList: key("-resource-list.json.gz"),
    volumeInfo: key("-volumeinfo.json.gz"),
    volumeSnapshots: key("-volumesnapshots.json.gz"),
    podVolumeBackups: key("-podvolumebackups.json.gz"),
    itemOperations: key("-itemoperations.json.gz"),
    /** Ours: what a restore would miss, a list (backup/lint.ts Finding). */
    findings: key("-findings.json.gz"),
  };
}

/** Whether the folder of a backup, listed, holds a record: the key of it. */
export function recordIn(present: { has(key: string): boolean }, name: string): string | undefined {
  return ["", ".age"].map((encrypted) => backupKeys(name, encrypted).metadata).find((key) => present.has(key));
}

/** The archive of Secrets alone, and its index, where only they are encrypted. */
export function secretsKeys(name: string, encrypted: string) {
  const key = (suffix: string) => `${backupKeys(name).folder}${name}-secrets${suffix}${encrypted}`;
  return { tar: key(".tar.gz"), index: key("-index.json.gz") };
}

/**
 * The objects of one restore, by Velero's names (velero-format: 1.3) plus our record, which is written last. A later
 * `attempt`, after a run that died while it wrote its report, has files of its own beside those it finds.
 */
export function restoreKeys(name: string, attempt = 1) {
  const folder = `${RESTORES}${name}/`;
  const own = attempt === 1 ? "" : `-${attempt}`;
  return {
    folder,
    record: `${folder}lifeboat-restore.json`,
    log: `${folder}restore-${name}-logs${own}.gz`,
    results: `${folder}restore-${name}-results${own}.gz`,
    resourceList: `${folder}restore-${name}-resource-list${own}.json.gz`,
    /** Ours: a line of JSON for each object (restore/report.ts ItemOutcome). */
    outcomes: `${folder}${name}-outcomes${own}.json.gz`,
    itemOperations: `${folder}restore-${name}-itemoperations${own}.json.gz`,
    volumeInfo: `${folder}${name}-volumeinfo${own}.json.gz`,
  };
}

/** Where a plan lies that a dry run made. */
export function planKey(id: string): string {
  return `${PLANS}${id}.json.gz`;
}

/** Where it is said whether a backup is pinned; a row of states (state.ts). */
export function pinFolder(backup: string): string {
  return `${PINS}${backup}/`;
}

/** Where it is said what verifications of a backup found; likewise. */
export function verifiedFolder(backup: string): string {
  return `${VERIFIED}${backup}/`;
}

/** Where it is said what verifications of the location found, by what those are called; likewise. */
export function verificationFolder(name: string): string {
  return `${VERIFICATIONS}${name}/`;
}

/** Where it is noted which copies of volumes are removed with a backup, for as long as that takes: `Copies` as JSON. */
export function removalKey(backup: string): string {
  return `${REMOVALS}${backup}/copies.json`;
}

/** Where a verification or retention that is cut into slices says how far it has come; a row of states. */
export function progressFolder(run: string): string {
  return `${PROGRESS}${run}/`;
}

/** Where a backup lies that is made in slices, until it is whole: its pieces, and a row of states (backup/slices.ts). */
export function pieceFolder(backup: string): string {
  return `${PIECES}${backup}/`;
}

/** Where the slices of a restore leave what the next ones go on with, until it is recorded: a row of states (restore/slices.ts). */
export function sliceFolder(restore: string): string {
  return `${SLICES}${restore}/`;
}

/** Where it is said whether a schedule is paused; likewise. */
export function pauseFolder(schedule: string): string {
  return `${PAUSES}${schedule}/`;
}

/** Where it lies what is known of one run of a fleet's schedule, which is called as the backups that it makes. */
export function fleetKeys(run: string) {
  const folder = `${FLEET}${run}/`;
  return {
    folder,
    /** That a clock has handed it over. */
    asked: `${folder}asked.json`,
    /** Below it, by their digests, which clusters it is of: one such list, or of each delivery of the clock's job one. */
    members: `${folder}members/`,
    /** Below it a row (once.ts) for each cluster: how its backup ended. */
    ends: `${folder}ends/`,
    /** What became of all of them; it is the last one. */
    summary: `${folder}summary.json`,
  };
}

/** What a run makes: one backup or one restore of a name, or the verification of a backup; by the kind of the job. */
export const RUN_KINDS = { backup: "backups", restore: "restores", verify: "verifications" } as const;
export type RunKind = (typeof RUN_KINDS)[keyof typeof RUN_KINDS];

/**
 * What is locked: the making of a backup or restore of a name, the reading of a shard, the making of the restic repository of a
 * namespace, or the retention or verification of the whole location.
 */
export type LockKind = RunKind | "shards" | "repositories" | "retention" | "verification";

/** Where the objects of a lock lie, for as long as they are wanted; nothing in them matters once the run has ended. */
export function lockFolder(kind: LockKind, name: string): string {
  return kind === "shards" ? `${PIECES}${name}/lock/` : `${LOCKS}${kind}/${name}/`;
}

/**
 * Where a request for a run lies, and where a run that failed before its commit leaves its log and result; the name
 * stays free for the next run. `run` is `<ISO time>-<uuid>`, so that keys are in the order of time.
 */
export function runKeys(kind: RunKind, name: string, run: string) {
  const folder = runFolder(kind, name);
  return { job: `${folder}${run}-job.json`, log: `${folder}${run}-logs.gz`, result: `${folder}${run}-result.json` };
}

/** Where the attempts of a restore note, before their first write, what they are about to do (restore/undo/notes.ts). */
export function noteFolder(restore: string): string {
  return `${NOTES}${restore}/`;
}

/** Where a restore from a schedule notes the backup that it found, for those that go on with it. */
export function restoreSourceKey(name: string): string {
  return `${runFolder("restores", name)}source`;
}

/** All that runs of that name left, and the requests for them. */
export function runFolder(kind: RunKind, name: string): string {
  return `${RUNS}${kind}/${name}/`;
}

/** The row that says of which failure of such jobs people were told last. `subject`: their schedule, or a job's own name. */
export function toldFolder(kind: string, subject: string): string {
  return `${TOLD}${kind}-${subject}/`;
}
