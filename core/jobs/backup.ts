import { NEVER } from "../abort.ts";
import { type BackupRun, backup, backupSlice, type ShardRun } from "../backup/backup.ts";
import { backupShard } from "../backup/shards.ts";
import { type Backup, CLUSTER, readBackup, SCHEDULE_LABEL } from "../catalog.ts";
import { scheduleOf } from "../configured.ts";
import { askedSpec, backupDocument, readBackupDocument } from "../documents.ts";
import { LifeboatError } from "../errors.ts";
import { configuredSigner, expectedKeys } from "../integrity/keys.ts";
import { distrustOf } from "../integrity/seal.ts";
import type { BackupJob } from "../job.ts";
import { slotOf } from "../schedule/due.ts";
import { isPaused } from "../schedule/pause.ts";
import { scheduledName } from "../schedule/slots.ts";
import { counting } from "../usage.ts";
import { type ClusterRun, onCluster } from "./cluster.ts";
import type { JobContext, NamedContext, Outcome } from "./context.ts";
import { checkSame, checkSameSpec, committed, locked } from "./locked.ts";
import { nameOf } from "./name.ts";
import { runShardJob, shardJobs } from "./shards.ts";

/**
 * Where there is a deadline, a backup is made in slices: the rest of it is a job of the same name, which counts as the schedule's
 * slot as this one does.
 */
export async function runBackupJob(job: BackupJob, given: NamedContext): Promise<Outcome> {
  const { bucket, usage } = counting(given.bucket);
  const context = { ...given, bucket };
  const { config, secrets, signal } = context;
  const schedule = job.schedule === undefined ? undefined : scheduleOf(config, job.schedule);
  // Who names a backup and no slot wants it now; a clock's trigger does not.
  const slotted = schedule && (job.slot !== undefined || job.name === undefined);
  const made = slotted ? scheduledName(schedule.name, slotOf(schedule, job.slot)) : nameOf(job, "backup", context);
  const name = job.name ?? made;
  if (slotted && (await isPaused(bucket, schedule, signal)))
    return { duplicate: false, skipped: `schedule "${schedule.name}" is paused` };
  if (schedule && job.cluster !== undefined && job.cluster !== schedule.cluster)
    throw new LifeboatError("invalid", `schedule "${schedule.name}" is not of cluster "${job.cluster}"`);
  const cluster = job.cluster ?? schedule?.cluster;
  const found = async () => {
    const record = await committed(() => readBackup(bucket, name, signal));
    if (!record) return undefined;
    await checkSigned(record, context);
    checkSame("backup", name, "schedule", record.metadata.labels?.[SCHEDULE_LABEL], schedule?.name);
    checkSame("backup", name, "cluster", record.metadata.annotations?.[CLUSTER], cluster);
    checkSameSpec("backup", name, askedSpec(record), schedule ? undefined : (job.spec ?? {}));
    return readBackupDocument(bucket, record, signal);
  };
  const runOf = (run: ClusterRun): ShardRun => {
    const labels = schedule && { ...schedule.labels, [SCHEDULE_LABEL]: schedule.name };
    const signer = configuredSigner(config.signing, secrets);
    const { recipients } = config.encryption;
    return { ...run, name, labels, caller: job.caller, signer, recipients, say: context.say };
  };
  const { shard, shards = schedule?.shards } = job;
  const spread = given.spreads && shards !== undefined && shards > 1;
  const slice = given.slice ?? (spread || shard ? { ends: NEVER } : undefined);
  const rest = { ...job, name, slot: undefined, notBefore: undefined };
  if (shard && slice) {
    const work = onCluster(cluster, context, (run) => backupShard(runOf(run), shard, slice));
    return runShardJob({ ...rest, shard }, context, work);
  }
  const work = onCluster(cluster, context, async (run) => {
    const backupRun: BackupRun = { ...runOf(run), spec: job.spec ?? schedule?.template ?? {} };
    if (!spread && shards !== undefined && shards > 1)
      run.log.log("info", "one process reads it all: shards are of functions", { shards });
    const result = slice ? await backupSlice(backupRun, slice, spread ? shards : 1) : await backup(backupRun);
    if ("more" in result) {
      const { shards } = result;
      return shards ? { ...result, ...(await shardJobs(rest, { ...result, shards }, context)) } : result;
    }
    const { record, outcome } = result;
    return backupDocument(record, bucket.location, { ...outcome, durationMs: run.elapsed(), usage: { ...usage } });
  });
  return locked({ kind: "backup", name, found, next: rest }, context, work);
}

/** Throws `conflict` where keys are configured and none of them has signed the record: whoever may create objects can have left it. */
async function checkSigned(record: Backup, { bucket, config, secrets, signal }: JobContext): Promise<void> {
  const distrust = distrustOf(record, await expectedKeys(config.signing, secrets, signal));
  if (distrust === undefined) return;
  throw new LifeboatError(
    "conflict",
    `${distrust}: it lies in ${bucket.location} under the name of one that is to be made`,
    {
      hint: `find out who wrote it; "lifeboat backup delete ${record.metadata.name}" takes it away, and the same job then makes the backup`,
    },
  );
}
