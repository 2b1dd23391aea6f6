import { CLUSTER, newestBackup, PLAN, readRestore } from "../catalog.ts";
import { readObject } from "../contents.ts";
import { readRestoreDocument, restoreDocument } from "../documents.ts";
import { configuredSigner, readTrustedKeys } from "../integrity/keys.ts";
import type { RestoreJob } from "../job.ts";
import { restoreSourceKey } from "../layout.ts";
import { putOnce } from "../once.ts";
import { runDryRun } from "../restore/plan/dryrun.ts";
import { readPlan, specOf } from "../restore/plan/plandocument.ts";
import { runRestoreSlice } from "../restore/run.ts";
import type { RestoreSpec } from "../restore/spec.ts";
import { settleRequest } from "../runs.ts";
import { onCluster } from "./cluster.ts";
import type { JobContext, NamedContext, Outcome } from "./context.ts";
import { checkSame, checkSameSpec, committed, type LockedRun, locked } from "./locked.ts";
import { nameOf } from "./name.ts";

/** Makes a restore, or the plan of one. */
export async function runRestoreJob(job: RestoreJob, context: NamedContext): Promise<Outcome> {
  const { bucket, signal } = context;
  const { scheduleName = "", backupName, ...filters } = job.spec ?? {};
  const name = nameOf(job, job.plan ?? backupName ?? scheduleName, context);
  if (job.dryRun) return runDryRunJob(job, name, context);
  const found = async () => {
    const record = await committed(() => readRestore(bucket, name, signal));
    if (!record) return undefined;
    checkSame("restore", name, "backup", record.spec.backupName, backupName);
    checkSame("restore", name, "cluster", record.metadata.annotations?.[CLUSTER], job.cluster);
    checkSame("restore", name, "plan", record.metadata.annotations?.[PLAN], job.plan);
    const { backupName: _, ...there } = record.spec;
    checkSameSpec("restore", name, there, job.spec && filters);
    return readRestoreDocument(bucket, record, signal);
  };
  const work = onCluster(job.cluster, context, async (run) => {
    const plan = job.plan === undefined ? undefined : await readPlan(bucket, job.plan, signal);
    const source = async () => backupName ?? (await pinned(run, name, scheduleName));
    const spec: RestoreSpec = plan ? specOf(plan) : { ...filters, backupName: await source() };
    const { caller } = job;
    const end = await runRestoreSlice({ ...run, ...(await signing(context)), name, spec, plan, caller }, context.slice);
    if ("more" in end) return end;
    const { record, result } = end;
    return restoreDocument(record, bucket.location, { ...result.problems, durationMs: run.elapsed() });
  });
  return locked({ kind: "restore", name, found, next: { ...job, name, notBefore: undefined } }, context, work);
}

async function runDryRunJob(job: RestoreJob, name: string, context: NamedContext): Promise<Outcome> {
  const { bucket, signal } = context;
  const { scheduleName = "", backupName, ...filters } = job.spec ?? {};
  const found = () => committed(async () => (await readPlan(bucket, name, signal)).document);
  const work = onCluster(job.cluster, context, async (run) => {
    const source = backupName ?? (await pinned(run, name, scheduleName));
    const spec = { ...filters, backupName: source };
    const plan = await runDryRun({ ...run, ...(await signing(context)), name, spec });
    await settleRequest(bucket, { kind: "restore", name });
    return plan;
  });
  return locked({ kind: "restore", name, found }, context, work);
}

/** Whose signatures a restore trusts, what signs what it keeps, and to whom that is encrypted. */
async function signing({ config, secrets, signal }: JobContext) {
  const trustedKeys = await readTrustedKeys(secrets, config.signing.publicKeys, signal);
  const { recipients } = config.encryption;
  return { trustedKeys, recipients, signer: configuredSigner(config.signing, secrets) };
}

/** The newest backup of a schedule as of the first run of this restore: one that is run again restores the same. */
async function pinned({ bucket, signal }: LockedRun, name: string, schedule: string): Promise<string> {
  const source = restoreSourceKey(name);
  const newest = (await newestBackup(bucket, schedule, { signal })).metadata.name;
  if (await putOnce(bucket, source, Buffer.from(newest), signal)) return newest;
  return (await readObject(bucket, source, signal)).toString();
}
