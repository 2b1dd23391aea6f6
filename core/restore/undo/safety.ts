import type { IndexEntry } from "../../archive/index.ts";
import { type ItemId, itemPath, type KubernetesObject } from "../../archive/item.ts";
import { readHeader } from "../../backup/adopt.ts";
import { backup, backupSlice } from "../../backup/backup.ts";
import { backupResources } from "../../backup/scope.ts";
import { type Backup, BEFORE_RESTORE_LABEL, readBackup } from "../../catalog.ts";
import { LifeboatError } from "../../errors.ts";
import { openBackup } from "../../integrity/open.ts";
import type { Kube } from "../../kube/client.ts";
import { parseExact } from "../../kube/json.ts";
import { labelValue, RESTORE_NAME } from "../../labels.ts";
import { backupKeys } from "../../layout.ts";
import type { RunLog } from "../../log.ts";
import { startRunLog } from "../../log.ts";
import { backupBefore } from "../../names.ts";
import { CLAIMS } from "../../objects/resources.ts";
import type { Bucket, Signer } from "../../ports.ts";
import { problemLine } from "../../report.ts";
import type { Slice } from "../../slices.ts";
import { timestamp } from "../../timestamp.ts";
import type { PlannedStep } from "../plan/steps.ts";
import { plannedOn, stateOf } from "../plan/unchanged.ts";
import type { RestorePlan } from "../restore.ts";
import { neverDeleted } from "../write/deletions.ts";
import { isChange } from "../write/sending.ts";
import { addName, hasName, listOwners, listRelatives, nameOf, type ObjectNames, ownersOf, takenAlong } from "./kin.ts";
import { backupsBefore, joinNames, readNotes, storeNote } from "./notes.ts";

/** The restore that is about to write. */
interface Keeping {
  kube: Kube;
  bucket: Bucket;
  name: string;
  spec: { backupName: string };
  cluster?: string;
  caller?: string;
  trustedKeys?: string[];
  signer?: () => Promise<Signer>;
  recipients?: string[];
  log: RunLog;
  signal: AbortSignal;
}

/**
 * Before a restore's first write: stores what it is about to touch, as a backup, and notes what it is about to create,
 * so that it can be undone wherever it ends. A restore that only creates makes no backup, one that writes nothing no note.
 *
 * A restore that was interrupted is run again under its name. What counts is the state before its first attempt: each
 * attempt stores only what no earlier one did, or what others have changed since one did, and nothing that an earlier one made
 * or changed (it noted that it would, and the object carries the restore's label). What an attempt had stored, but not committed, when it died is committed first;
 * it had not touched anything yet.
 *
 * With a `slice`, "more" where that is over before the backup is made: the next call for the same plan goes on with it. Throws where
 * not all of it could be stored: then nothing has been written to the cluster.
 */
export async function keepBefore(run: Keeping, planned: RestorePlan, slice?: Slice): Promise<"more" | undefined> {
  const { bucket, name, signal } = run;
  const creates = namesOf(planned.steps.filter(({ action }) => action === "create"));
  const without = namesOf(planned.steps.filter((step) => comesWithout(step, planned)));
  const touched = namesOf(planned.steps.filter(touches));
  if (creates.size + touched.size === 0) return undefined;
  const startTimestamp = timestamp(new Date());

  const { clusterUid } = planned.target;
  const notes = await readNotes(bucket, name, signal);
  if (notes.some((note) => note.clusterUid !== clusterUid)) {
    throw new LifeboatError("conflict", `a restore "${name}" was begun into another cluster, and interrupted`, {
      hint: "choose another name",
    });
  }
  const earlier = await backupsBefore(bucket, name, signal);
  for (const { name: before, committed } of earlier) {
    if (!committed) await adopt(run, before);
    await readBefore(bucket, before, name, signal);
  }
  const kin = await kinOfDeleted(run, planned);
  const names = await notHeld(run, planned, joinNames([touched, kin]), earlier);
  const backups = earlier.map(({ name: before }) => before);
  if (names.size) {
    const before = backupBefore(name, backups.length + 1);
    const made = joinNames(notes.flatMap((note) => [note.creates, note.touches]));
    if ((await store(run, before, { names, made, slice })) === "more") return "more";
    backups.push(before);
  }
  const statuses = namesOf(planned.steps.filter((step) => touches(step) && step.status));
  await storeNote(
    bucket,
    name,
    {
      ...{ clusterUid, startTimestamp, ...(planned.data && { backup: run.spec.backupName }), backups },
      ...{ creates, without, touches: touched, statuses, kin },
    },
    signal,
  );
  return undefined;
}

/** The record of a backup that was made before a restore's first write. Throws `conflict` where another one has its name. */
export async function readBefore(
  bucket: Bucket,
  before: string,
  restore: string,
  signal?: AbortSignal,
): Promise<Backup> {
  const record = await readBackup(bucket, before, signal);
  if (record.metadata.labels?.[BEFORE_RESTORE_LABEL] === labelValue(restore)) return record;
  throw new LifeboatError("conflict", `backup "${before}" is not what was there before restore "${restore}"`, {
    hint: "give the restore another name",
  });
}

/** Whether a step creates a claim that brings no data of the backup along. */
function comesWithout({ action, item }: PlannedStep, { data }: RestorePlan): boolean {
  if (action !== "create" || item.entry.resource !== CLAIMS) return false;
  return !["csi", "files"].includes(data?.plan.of(item)?.how ?? "none");
}

/** Whether a step changes or deletes what exists. */
export function touches({ action }: PlannedStep): boolean {
  return isChange(action) || action === "prune";
}

/**
 * What goes with the objects that are pruned, and who owns those that are deleted: which of the updates become a delete and
 * a create, under the policy "recreate", only shows then, and what such an object owns stays.
 */
async function kinOfDeleted(
  { kube, log, signal }: Keeping,
  { steps, policy, discovery }: RestorePlan,
): Promise<ObjectNames> {
  const looking = { kube, resources: backupResources(discovery), log: log.log, signal };
  const pruned = namesOf(steps.filter(({ action }) => action === "prune"));
  const mayGo = ({ action, item }: PlannedStep) =>
    policy === "recreate" && action === "update" && neverDeleted(item.entry.resource) === undefined;
  const deleted = joinNames([pruned, namesOf(steps.filter(mayGo))]);
  const relatives = await (pruned.size ? listRelatives : listOwners)(looking, deleted);
  return joinNames([takenAlong(relatives, pruned), ownersOf(relatives, deleted)]);
}

/** Those of `names` that no earlier backup holds as they were when this attempt planned on them. */
async function notHeld(
  { bucket, signal }: Keeping,
  { steps, target }: RestorePlan,
  names: ObjectNames,
  earlier: { name: string }[],
): Promise<ObjectNames> {
  const left = joinNames([names]);
  if (earlier.length === 0) return left;
  const stepOf = new Map(steps.filter(touches).map((step) => [itemPath(idOf(step)), step]));
  const isHeld = (entry: IndexEntry, body: Buffer) => {
    const step = stepOf.get(itemPath(entry));
    const kept = parseExact(body) as KubernetesObject;
    return !step || stateOf(kept, entry.resource, target) === plannedOn(step, target)?.state;
  };
  for (const { name } of earlier) {
    const archive = await openBackup(bucket, await readBackup(bucket, name, signal), { signal });
    try {
      const entries = archive.entries((id) => hasName(names, id));
      for await (const { entry, body } of archive.read(entries))
        if (isHeld(entry, body)) left.get(entry.resource)?.delete(nameOf(entry));
    } finally {
      await archive.close();
    }
  }
  return new Map([...left].filter(([, some]) => some.size > 0));
}

async function store(
  run: Keeping,
  name: string,
  { names, made, slice }: { names: ObjectNames; made: ObjectNames; slice: Slice | undefined },
): Promise<"more" | undefined> {
  const ours = labelValue(run.name);
  const unless = (id: ItemId, { metadata }: KubernetesObject) =>
    hasName(made, id) && metadata.labels?.[RESTORE_NAME] === ours;
  const spec = { includedResources: [...names.keys()].sort() };
  const kept = { ...backupRun(run, name), spec, only: { names, unless } };
  const stored = slice ? await backupSlice(kept, slice) : await backup(kept);
  if ("more" in stored) return "more";
  const { outcome } = stored;
  const [problem] = outcome.errors;
  run.log.log("info", `Kept what is about to be touched as backup ${name}`, { items: outcome.items });
  if (run.trustedKeys?.length && !run.signer)
    run.log.log("warning", `Backup ${name} is not signed, so an undo that trusts only keys will refuse it`);
  if (!problem) return undefined;
  throw new LifeboatError(
    "unreachable",
    `what the restore is about to touch can't all be kept: ${problemLine(problem)}`,
    { hint: "nothing was restored: try again, or leave it out by a filter" },
  );
}

/** Commits the backup that an interrupted attempt had stored; where it holds that attempt's errors, so it did not touch anything. */
async function adopt(run: Keeping, name: string): Promise<void> {
  const { bucket, signal } = run;
  const header = await readHeader(await bucket.get(backupKeys(name).tar, { signal }));
  await backup({ ...backupRun(run, name), spec: header?.spec ?? {} });
}

function backupRun(run: Keeping, name: string) {
  const { kube, bucket, name: restore, cluster, caller, signer, recipients, signal } = run;
  return {
    ...{ kube, bucket, name, cluster, caller, signer, recipients, signal },
    labels: { [BEFORE_RESTORE_LABEL]: labelValue(restore) },
    log: startRunLog({ backup: `velero/${name}` }),
  };
}

function namesOf(steps: PlannedStep[]): ObjectNames {
  const names: ObjectNames = new Map();
  for (const step of steps) addName(names, idOf(step));
  return names;
}

function idOf({ item: { entry, namespace, name } }: PlannedStep): ItemId {
  return { resource: entry.resource, namespace, name };
}
