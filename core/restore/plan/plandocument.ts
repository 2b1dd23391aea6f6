import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { z } from "zod";
import type { Backup } from "../../catalog.ts";
import { listFolder, readObject } from "../../contents.ts";
import { isLifeboatError, LifeboatError } from "../../errors.ts";
import { planKey } from "../../layout.ts";
import { checkName } from "../../names.ts";
import { putOnce } from "../../once.ts";
import type { Bucket } from "../../ports.ts";
import type { Problem } from "../../report.ts";
import { type RestoreSpec, restoreSpecSchema } from "../../specs.ts";
import { restoredVolumesSchema } from "../../volumes/record.ts";
import { restoredVolumes } from "../data.ts";
import type { RestorePlan } from "../restore.ts";
import { isChange } from "../write/sending.ts";
import type { PlanAction, Rehearsed } from "./rehearsal.ts";
import { type DataSource, SOURCES } from "./sources.ts";
import type { PlannedStep } from "./steps.ts";
import { plannedOn } from "./unchanged.ts";

const actions = ["create", "update", "recreate", "prune", "skip", "blocked"] as const satisfies PlanAction[];

const stepSchema = z.object({
  /** A group-resource string. */
  resource: z.string(),
  /** In the target; "" for cluster-scoped objects. */
  namespace: z.string(),
  name: z.string(),
  action: z.enum(actions),
  reason: z.string().optional(),
  data: z
    .enum(Object.keys(SOURCES) as DataSource[])
    .optional()
    .describe("of a claim or volume that is created: how its data come"),
  diff: z.array(z.object({ path: z.string(), from: z.unknown().optional(), to: z.unknown().optional() })).optional(),
});

const problemSchema = z.object({
  resource: z.string().optional(),
  namespace: z.string().optional(),
  name: z.string().optional(),
  message: z.string(),
});

/** A plan as a document. */
export const planSchema = z.object({
  schemaVersion: z.literal(1),
  kind: z.literal("plan"),
  id: z.string(),
  /** None for the undo of a restore that only created. */
  backup: z.string().optional(),
  location: z.string(),
  /** The cluster's name in the configuration, where it has one. */
  cluster: z.string().optional(),
  /** When the cluster was looked at. */
  timestamp: z.string(),
  counts: z.object({
    create: z.number(),
    update: z.number(),
    recreate: z.number(),
    prune: z.number(),
    skip: z.number(),
    blocked: z.number(),
  }),
  /** What would become of the data of the claims that are created; absent where there are none. */
  volumes: restoredVolumesSchema.optional(),
  steps: z.array(stepSchema),
  spec: z.record(z.string(), z.unknown()),
  warnings: z.array(problemSchema),
  errors: z.array(problemSchema),
});

/** What a restore would do: the same for the command line, HTTP and functions (design: contract 6.1). */
export type PlanDocument = z.infer<typeof planSchema>;
export type PlanStep = z.infer<typeof stepSchema>;

/** What a plan was made against; where one differs, the plan is out of date. */
export interface PlanBasis {
  /** The UID of the target's namespace kube-system: which cluster it is. */
  clusterUid: string;
  /** The backup's start: another backup of the same name has another. */
  backupStart: string;
}

const storedSchema = z.object({
  document: planSchema,
  basis: z.object({ clusterUid: z.string(), backupStart: z.string() }),
  /** Of the steps, in their order: the state (unchanged.ts) of the live object that is changed or deleted, in base64; "" without one. */
  live: z.array(z.string()),
});

/** A plan as it is kept, with what tells whether it still holds. */
export type StoredPlan = z.infer<typeof storedSchema>;

/** The steps of a plan as it tells them: in the order in which they would be done. */
export function orderedSteps({ steps }: RestorePlan): PlannedStep[] {
  return steps.toSorted((a, b) => a.rank - b.rank);
}

/** The document of a plan and of what its rehearsal showed, by step. */
export function planDocument(
  planned: RestorePlan,
  became: Map<PlannedStep, Rehearsed>,
  about: Pick<PlanDocument, "id" | "backup" | "location" | "cluster" | "timestamp" | "spec">,
): PlanDocument {
  const counts: PlanDocument["counts"] = { create: 0, update: 0, recreate: 0, prune: 0, skip: 0, blocked: 0 };
  const warnings: Problem[] = planned.warnings.map((message) => ({ message }));
  const errors: Problem[] = planned.errors.map((message) => ({ message }));
  const steps = orderedSteps(planned).map((step): PlanStep => {
    const { entry, namespace, name } = step.item;
    const { action, reason, data, warning, diff } = became.get(step) ?? unrehearsed(step);
    const about = { resource: entry.resource, namespace, name };
    counts[action]++;
    for (const message of step.problems ?? []) errors.push({ ...about, message });
    if (step.notice) warnings.push({ ...about, message: step.notice });
    if (action === "blocked") errors.push({ ...about, message: reason ?? action });
    else if (warning) warnings.push({ ...about, message: reason ?? action });
    return { ...about, action, ...(reason && { reason }), ...(data && { data }), ...(diff && { diff }) };
  });
  const volumes = planned.data && restoredVolumes(planned.data, about.spec);
  return { schemaVersion: 1, kind: "plan", ...about, counts, ...(volumes && { volumes }), steps, warnings, errors };
}

/** What the rehearsal has nothing to say of. */
function unrehearsed({ action, reason, warning }: PlannedStep): Rehearsed {
  return { action: isChange(action) ? "update" : action === "status" ? "skip" : action, reason, warning };
}

/** The state of a step's live object, as plans keep it. */
export function liveState(step: PlannedStep, { target }: RestorePlan): string {
  return Buffer.from(plannedOn(step, target)?.state ?? "", "latin1").toString("base64");
}

/** What a plan of a backup is made against. */
export function basisOf({ target }: RestorePlan, { status }: Backup): PlanBasis {
  return { clusterUid: target.clusterUid, backupStart: status?.startTimestamp ?? "" };
}

/** Stores a plan, once. */
export async function storePlan(bucket: Bucket, plan: StoredPlan, signal: AbortSignal): Promise<void> {
  const body = await promisify(gzip)(JSON.stringify(plan));
  if (await putOnce(bucket, planKey(plan.document.id), body, signal)) return;
  throw planExists(bucket, plan.document.id);
}

/** Throws `conflict` where there is a plan of that name: somebody may have looked at it, and mean just that one by its name. */
export async function checkNoPlan(bucket: Bucket, id: string, signal?: AbortSignal): Promise<void> {
  if (await hasPlan(bucket, id, signal)) throw planExists(bucket, id);
}

export async function hasPlan(bucket: Bucket, id: string, signal?: AbortSignal): Promise<boolean> {
  return (await listFolder(bucket, planKey(id), signal)).size > 0;
}

function planExists(bucket: Bucket, id: string): LifeboatError {
  return new LifeboatError("conflict", `plan "${id}" already exists in ${bucket.location}, and stays as it is`, {
    hint: "plan anew under another name, or under none: then one is made up",
  });
}

/** Reads a plan. Throws `missing`, and `corrupt` for what is none. */
export async function readPlan(bucket: Bucket, id: string, signal?: AbortSignal): Promise<StoredPlan> {
  checkName("restore", id);
  const key = planKey(id);
  let body: Buffer;
  try {
    body = await readObject(bucket, key, signal);
  } catch (error) {
    if (!isLifeboatError(error, "missing")) throw error;
    throw new LifeboatError("missing", `there is no plan "${id}" in ${bucket.location}`, {
      hint: error.hint ?? 'make one with "lifeboat restore create --dry-run"',
      cause: error,
    });
  }
  try {
    return storedSchema.parse(JSON.parse((await promisify(gunzip)(body)).toString()));
  } catch (cause) {
    throw new LifeboatError("corrupt", `${key} does not hold what its name says`, { cause });
  }
}

/** The spec that a plan is of. */
export function specOf({ document }: StoredPlan): RestoreSpec {
  return { ...restoreSpecSchema.parse(document.spec), backupName: document.backup ?? "" };
}

const MOST_TOLD = 5;

/**
 * Makes a plan that was made anew do what the stored one says. Throws `conflict` where it can't: another cluster or backup, an
 * object that was changed, appeared or went away since, a claim or volume whose data would come otherwise (`sources`). What the plan wanted to create or change and is so already does no
 * harm: so a restore that was interrupted goes on with its plan.
 */
export function holdToPlan(
  stored: StoredPlan,
  planned: RestorePlan,
  { basis, sources }: { basis: PlanBasis; sources: ReadonlyMap<PlannedStep, DataSource> },
): void {
  const { id } = stored.document;
  if (!basis.clusterUid) {
    throw new LifeboatError("denied", "the namespace kube-system can't be read: which cluster this is can't be told", {
      hint: "a plan is applied only to the cluster that it was made for",
    });
  }
  const outOfDate = (why: string) =>
    new LifeboatError("conflict", `plan "${id}" is out of date: ${why}`, {
      hint: "nothing was written: look at a new plan, made with --dry-run",
    });
  if (stored.basis.clusterUid !== basis.clusterUid) throw outOfDate("it was made for another cluster");
  if (stored.basis.backupStart !== basis.backupStart) throw outOfDate("its backup was replaced by another one");
  const before = new Map(stored.document.steps.map((step, at) => [keyOf(step), { step, live: stored.live[at] ?? "" }]));
  const changes: string[] = [];
  for (const step of planned.steps) {
    const { entry, namespace, name } = step.item;
    const key = keyOf({ resource: entry.resource, namespace, name });
    const known = before.get(key);
    before.delete(key);
    const change =
      changeOf(known, step, liveState(step, planned)) ?? (known && otherData(known.step, step, sources.get(step)));
    if (change) changes.push(`${key} ${change}`);
    else if (known && !writes(known.step)) Object.assign(step, pickOutcome(known.step));
  }
  for (const [key, { step }] of before)
    if (writes(step) && step.action !== "prune") changes.push(`${key} is not there any more`);
  if (changes.length === 0) return;
  const more = changes.length > MOST_TOLD ? ` and ${changes.length - MOST_TOLD} more` : "";
  throw outOfDate(`${changes.slice(0, MOST_TOLD).join(", ")}${more}`);
}

function writes({ action }: { action: string }): boolean {
  return !["skip", "blocked", "status"].includes(action);
}

/** The rehearsal showed that the server would refuse it: so it is left. */
function pickOutcome({ action, reason }: PlanStep): Pick<PlannedStep, "reason"> & { action: PlanStep["action"] } {
  return { action, reason };
}

function changeOf(
  known: { step: PlanStep; live: string } | undefined,
  now: PlannedStep,
  live: string,
): string | undefined {
  if (!known) return writes(now) ? "is new" : undefined;
  const { step } = known;
  if (!writes(now)) {
    // It is there already, or what makes it is: an earlier run with this plan may have got so far.
    if (!writes(step) || (now.action === "skip" && !now.warning)) return undefined;
    return now.action === "blocked" ? `is blocked now: ${now.reason}` : `would be skipped now: ${now.reason}`;
  }
  if (now.action === "create") {
    const wasMissing = known.live === "" && step.action !== "skip";
    return wasMissing || step.action === "recreate" ? undefined : "was deleted";
  }
  return live === known.live ? undefined : step.action === "create" ? "appeared" : "was changed";
}

function otherData(then: PlanStep, now: PlannedStep, source: DataSource | undefined): string | undefined {
  if (then.action !== "create" || now.action !== "create" || then.data === source) return undefined;
  const text = (from: DataSource | undefined) => (from ? SOURCES[from] : "without data");
  return `would come ${text(source)} now, not ${text(then.data)}`;
}

function keyOf({ resource, namespace, name }: Pick<PlanStep, "resource" | "namespace" | "name">): string {
  return `${resource} ${namespace ? `${namespace}/` : ""}${name}`;
}
