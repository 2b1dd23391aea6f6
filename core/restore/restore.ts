import pLimit from "p-limit";
import { together } from "../abort.ts";
import type { IndexEntry } from "../archive/index.ts";
import type { Archive } from "../archive/reader.ts";
import type { Backup } from "../catalog.ts";
import type { Kube } from "../kube/client.ts";
import { type Discovery, discover } from "../kube/discovery.ts";
import { resourceKey } from "../kube/resource.ts";
import { RESTORE_NAME } from "../labels.ts";
import type { Log } from "../log.ts";
import { CLAIMS, SNAPSHOTS } from "../objects/resources.ts";
import { traced } from "../telemetry.ts";
import { csiRestore } from "../volumes/csi/restore.ts";
import type { VolumeMeans } from "../volumes/means.ts";
import type { StoredVolume } from "../volumes/record.ts";
import { type Conversions, findConversions } from "./apiversions.ts";
import { type CloneOptions, readClone } from "./clone/clone.ts";
import { checkMeans, isElsewhere, planData, type RestoreData, restoredVolumes, sourceUid } from "./data.ts";
import { finalizerWarnings } from "./finalizers.ts";
import { type FixContext, restoreLabels } from "./fixes.ts";
import { modifiersOf, withModifiers } from "./modifiers/modifiersource.ts";
import type { Policy } from "./plan/plan.ts";
import { isAlike, nothingSkimmed, type Skim, skimArchive } from "./plan/skim.ts";
import { type PlannedStep, planSteps } from "./plan/steps.ts";
import { ALIKE, type Extras, type ListedTarget, nothingListed, readTarget, type Target } from "./plan/target.ts";
import { findExtras, withheld } from "./prune/extras.ts";
import { type ItemOutcome, type RestoreReport, type RestoreResult, startReport } from "./report.ts";
import { type Selection, selection } from "./selection.ts";
import { type Served, servedBy } from "./served.ts";
import type { RestoreCut } from "./slices.ts";
import { checkSpec, type RestoreSpec } from "./spec.ts";
import { type Item, type RestoreSurvey, surveyArchive } from "./survey.ts";
import type { Note } from "./undo/notes.ts";
import { findRemains, type Undoing } from "./undo/remains.ts";
import { createdVolumes, findsVolume, freeVolumes } from "./volumes.ts";
import { writeCut } from "./write/cut.ts";
import { takeEarlier } from "./write/earlier.ts";
import { mayHaveExecHooks, readHooks } from "./write/hooks.ts";
import { PODS, type PostHooks, type PostHooksInput, postHooks } from "./write/posthooks.ts";
import { isChange } from "./write/sending.ts";
import { settleVolumes } from "./write/settled.ts";
import { type Statuses, statusesIn, statusesOf } from "./write/statuses.ts";
import { WAIT_MS } from "./write/waits.ts";
import { writeSteps } from "./write/writes.ts";

export type { ItemOutcome, RestoreResult } from "./report.ts";
export type { RestoreSpec } from "./spec.ts";

/** What a plan is made of. */
export interface PlanInput {
  kube: Kube;
  archive: Archive;
  /** The restore's. */
  name: string;
  backupName: string;
  spec: RestoreSpec;
  /** The backup's record; `prune` needs it. */
  backup?: Backup;
  /** The restore that this one undoes: the archive then is what was there before it. */
  undoing?: Undoing;
  signal: AbortSignal;
  log: Log;
  /** Items done, of how many. */
  progress?: (done: number, total: number) => void;
  /** How long to wait for definitions to be established and Namespaces to end; 10 minutes where not given. */
  waitMs?: number;
  /** What the backup's volume infos say, and by what their data can be had; nothing where not given. */
  volumes?: VolumeMeans & { stored: StoredVolume[] };
}

/** What a restore will do, and all that it knows for doing it. */
export interface RestorePlan {
  survey: RestoreSurvey;
  target: Target;
  discovery: Discovery;
  served: Served;
  fixing: FixContext;
  statuses: Statuses;
  /** Undefined where a restore is undone. */
  data: RestoreData | undefined;
  policy: Policy;
  steps: PlannedStep[];
  /** It is restored in one slice: data of volumes are brought, or commands wait for Pods. */
  whole: boolean;
  /** What concerns no single item. */
  errors: string[];
  warnings: string[];
}

/** How far planning has got: what can't be told again, since the target may be another by then. As JSON, see slices.ts. */
export interface PlanProgress {
  discovery?: Discovery;
  /** With its modifiers' text. */
  spec?: RestoreSpec;
  conversions?: Conversions;
  clone?: CloneOptions;
  listed?: ListedTarget;
  /** What is to be deleted. */
  found?: Awaited<ReturnType<Extras["found"]>>;
  skim?: Skim;
  /** Segments up to this one, without it, have been checked. */
  checked?: number;
  /** The plan was made. */
  made?: true;
}

/** Where planning may be cut: what earlier slices have got to, which it adds to, and whether this one is over. */
export interface PlanCut {
  progress: PlanProgress;
  over: () => boolean;
}

/**
 * Plans a restore: surveys the archive, lists what the target has, and decides on every item. Nothing is written. Throws
 * `corrupt` for a damaged archive, `unreachable` when the server is gone, the signal's reason when cancelled; and
 * `invalid` for a spec that contradicts itself, and where data of the backup can't be brought (`checkMeans`).
 */
export async function planRestore(input: PlanInput): Promise<RestorePlan> {
  return (await planSlice(input))!;
}

/**
 * As `planRestore`, until a slice is over: then undefined, and what has been got to is in its progress. Of the same progress the
 * same plan is made, whatever has become of the target.
 */
async function planSlice(input: PlanInput, cut?: PlanCut): Promise<RestorePlan | undefined> {
  const { kube, archive, spec, undoing, signal, log, waitMs = WAIT_MS } = input;
  const { progress, over } = cut ?? { progress: {} as PlanProgress, over: () => false };
  const { namespaceMapping = {}, existingResourcePolicy: policy = "none", preserveNodePorts = false } = spec;
  checkSpec(spec);
  const hooks = readHooks(spec.hooks);
  if (cut) progress.spec ??= await withModifiers(spec, kube, signal);
  const modifiers = await modifiersOf(progress.spec ?? spec, kube, signal);

  progress.discovery ??= await discover(kube, { signal });
  const { discovery } = progress;
  const selected = selection(spec, discovery.resources);
  const data = undoing ? undefined : dataOf(input, discovery);
  const naming = { namespaceMapping, volumeClones: data?.plan.clones };
  const survey = await surveyArchive(archive, selected, naming, discovery.resources, input.backup);
  progress.conversions ??= await findConversions(survey, discovery, { kube, signal });
  const { conversions } = progress;
  const served = servedBy(discovery, conversions);
  // What was there comes back as it was.
  progress.clone ??= undoing ? {} : await readClone(spec, { kube, served, survey, signal, log });
  const { clone } = progress;
  const extras = undoing
    ? await findRemains(undoing, survey, archive)
    : progress.found
      ? undefined
      : await extrasOf(input, { discovery, survey, selection: selected });
  if (!progress.listed) log("info", "Listing what the cluster has", { items: survey.items.length });
  const exact = undoing !== undefined;
  const statuses = undoing ? statusesIn(undoing.statuses) : statusesOf(spec, discovery.resources);
  const untied: FixContext = {
    ...clone,
    conversions,
    backupName: input.backupName,
    restoreName: input.name,
    ...naming,
    preserveNodePorts,
    exact,
    hooks,
    modifiers,
    keepsVolume: () => false,
  };
  // What may have exec hooks is looked at: they are not cut.
  const mayWait = ({ entry }: Item, live: Buffer) => cut && entry.resource === PODS && mayHaveExecHooks(live, hooks);
  const alike = (item: Item, live: Buffer) =>
    !exact && isAlike(item.entry, live, { fixing: untied, statuses }) && !mayWait(item, live);
  const known = { hooks, scaleTo: spec.scaleTo, snapshotSizes: data?.plan.snapshotSizes };
  const reading = { name: input.name, kube, served, survey, extras, exact, ...known, alike };
  progress.listed ??= nothingListed();
  const toList = { ...reading, signal, waitMs, log };
  // What is found beside the items is in no progress before all is listed.
  const target = await readTarget(toList, progress.listed, extras ? undefined : over);
  if (!target) return undefined;
  await extras?.settle?.({ kube, served, target, signal, waitMs });
  progress.found ??= await extras?.found({ kube, served, target, signal });
  const { found } = progress;

  const volumes = new Set<string>();
  const fixing: FixContext = {
    ...untied,
    keepsVolume: (volume, claim) =>
      !data?.plan.refilled.has(volume) && (volumes.has(volume) || findsVolume(target.volumes.get(volume), claim)),
  };
  const { selectingServices } = survey;
  const snapshots = undoing
    ? undefined
    : served.preferred(SNAPSHOTS) !== undefined || survey.definitions.has(SNAPSHOTS);
  const facts = { selectingServices, nodes: target.nodes, scaleTo: spec.scaleTo, snapshots, ...data?.plan };
  progress.skim ??= nothingSkimmed();
  const { skim } = progress;
  if (!(await skimArchive({ archive, survey, target, fixing, facts, statuses, signal, skim, over }))) return undefined;
  if (data) {
    data.placements = skim.placements;
    const source = survey.items.some(({ entry }) => entry.resource === CLAIMS) ? await sourceUid(archive) : undefined;
    data.elsewhere = (item, volume) => isElsewhere(item, volume, { source, target, onNodes: skim.onNodes });
  }
  const steps = planSteps({ survey, target, skim, served, fixing, data, policy });
  if (data) checkMeans(data.plan, steps);
  for (const volume of createdVolumes(steps)) volumes.add(volume);
  for (const volume of freeVolumes(steps, target, policy)) target.freed.add(volume);
  if (found) steps.push(...(exact ? found.steps : withheld(found.steps, steps)));
  if (steps.some(isWrite) && !(await checkUnread(archive, unread(survey, target), { progress, over })))
    return undefined;
  const finalizers = exact ? [] : finalizerWarnings(heldBy(skim.finalizers, steps), discovery, groupsOf(survey));
  const warnings = [
    ...(archive.remade
      ? [
          `${archive.remade} is missing: it was made again from the archive, and is what the backup's record vouches for`,
        ]
      : []),
    ...(exact ? [] : backupWarnings(input, survey)),
    ...survey.warnings,
    ...target.warnings,
    ...(found?.warnings ?? []),
    ...finalizers,
  ];
  const { errors } = survey;
  // Only those of items that are restored wait; what is asked for data of none isn't cut either.
  const brings = ({ item }: PlannedStep) => !["none", undefined].includes(data?.plan.of(item)?.how);
  const whole = skim.hooked || steps.some(brings);
  progress.made = true;
  return { survey, target, discovery, served, fixing, statuses, data, policy, steps, whole, errors, warnings };
}

/** How many segments are checked between two looks at whether a slice is over. */
const CHECKED_AT_ONCE = 16;

/** Checks the segments of what isn't read, from where that has got to; whether all are checked. */
async function checkUnread(
  archive: Archive,
  entries: Iterable<IndexEntry>,
  { progress, over }: PlanCut,
): Promise<boolean> {
  const segments = new Map<number, IndexEntry>();
  for (const entry of entries) if (entry.segment >= (progress.checked ?? 0)) segments.set(entry.segment, entry);
  const left = [...segments.values()].sort((a, b) => a.segment - b.segment);
  while (left.length > 0) {
    const some = left.splice(0, CHECKED_AT_ONCE);
    await archive.check(some);
    progress.checked = some.at(-1)!.segment + 1;
    if (left.length > 0 && over()) return false;
  }
  return true;
}

/** Copies of files that are brought back at a time. */
const FILLS_AT_ONCE = 4;

function dataOf({ kube, name, spec, volumes, signal }: PlanInput, { resources }: Discovery): RestoreData {
  const { stored, ...means } = volumes ?? { stored: [] };
  const snapshots = resources.some((resource) => resourceKey(resource) === SNAPSHOTS);
  const { namespaceMapping = {} } = spec;
  return {
    ...means,
    plan: planData(stored, { spec, means, snapshots, restoreName: name, namespaceMapping }),
    sparse: spec.uploaderConfig?.writeSparseFiles ?? false,
    zoneMapping: spec.zoneMapping ?? {},
    limit: pLimit(FILLS_AT_ONCE),
    brought: [],
    elsewhere: () => false,
    without: new Map(),
    placements: new Map(),
    lacking: new Set(),
    filling: new Set(),
    csi: csiRestore(kube, { restoreName: name, signal }),
  };
}

/** What wasn't read since the target has it. Nothing is written on the word of a backup with a damaged part. */
function* unread({ items }: RestoreSurvey, { digests }: Target): Generator<IndexEntry> {
  for (const [place, { entry }] of items.entries()) if (digests.get(place) === ALIKE) yield entry;
}

/** What the backup lacks, or all of it. */
function backupWarnings({ backup, backupName }: PlanInput, { items }: RestoreSurvey): string[] {
  return [
    ...(backup?.status?.phase === "PartiallyFailed"
      ? [
          `backup "${backupName}" is PartiallyFailed: what it lacks can't be restored; "backup describe ${backupName}" tells what`,
        ]
      : []),
    ...(items.length === 0 ? ["the backup holds nothing that the filters select: nothing is restored"] : []),
  ];
}

/** The objects that are created, by their finalizers. */
function heldBy(finalizers: Map<string, number[]>, steps: PlannedStep[]): Map<string, string[]> {
  const created = new Map(
    finalizers.size === 0
      ? []
      : steps.filter(({ action }) => action === "create").map((step) => [step.place, step.item]),
  );
  const held = [...finalizers].map(([finalizer, places]): [string, string[]] => [
    finalizer,
    places.flatMap((place) => {
      const item = created.get(place);
      return item ? [`${item.entry.resource} ${item.namespace ? `${item.namespace}/` : ""}${item.name}`] : [];
    }),
  ]);
  return new Map(held.filter(([, names]) => names.length > 0));
}

/** The API groups whose definitions are restored. */
function groupsOf({ definitions }: RestoreSurvey): string[] {
  return [...definitions].map((definition) => definition.slice(definition.indexOf(".") + 1));
}

async function extrasOf(
  { archive, backup, spec }: PlanInput,
  known: { discovery: Discovery; survey: RestoreSurvey; selection: Selection },
): Promise<Extras | undefined> {
  return spec.prune ? await findExtras({ archive, backup, spec, ...known }) : undefined;
}

export interface RestoreInput extends PlanInput, Pick<PostHooksInput, "withhold"> {
  /** Of the runs of this restore before this one, which were interrupted; none where not given. */
  notes?: Note[];
  /** Called once for each item, as it ends; `told`: an earlier slice has told of it. */
  outcome: (outcome: ItemOutcome, told: boolean) => void;
  /** Called with the plan, in each slice. */
  planned?: (planned: RestorePlan) => void;
  /** Called with the plan before anything is written; what it throws ends the restore. */
  check?: (planned: RestorePlan) => void | Promise<void>;
  /** Called after that, and waited for before the first write. "more": it has more to do in the next slice. */
  beforeWrites?: (planned: RestorePlan) => Promise<"more" | undefined>;
}

/**
 * Restores a backup: plans, then applies the plan rank by rank (design section 5). What happens to single objects is in
 * the result. Throws only where the result could not be trusted: what `planRestore` throws, before anything is written,
 * `unreachable` when the server is gone, the signal's reason when cancelled.
 */
export async function restore(input: RestoreInput): Promise<RestoreResult> {
  return (await restoreSlice(input))!;
}

/**
 * As `restore`, but for as long as a slice lasts: undefined where there is more to do then, and the next call with what the cut has
 * left goes on. `check` and `beforeWrites` are called until the first write.
 */
export async function restoreSlice(input: RestoreInput, slices?: RestoreCut): Promise<RestoreResult | undefined> {
  const { log, waitMs = WAIT_MS } = input;
  const wasMade = slices?.progress.made;
  const planned = await traced("lifeboat plan", {}, () => planSlice(input, slices));
  const cut = planned?.whole ? await slices?.forget() : slices;
  const leave = async () => {
    await cut?.leavePlan();
    return undefined;
  };
  if (!planned) return leave();
  input.planned?.(planned);
  const told = cut?.begun() ?? false;
  if (!told) {
    await input.check?.(planned);
    if (!wasMade && cut?.over()) return leave();
    if ((await traced("lifeboat keep", {}, async () => input.beforeWrites?.(planned))) === "more") return leave();
  }
  const { steps } = planned;
  let replays = told;
  const report = startReport({
    outcome: (outcome) => input.outcome(outcome, replays),
    progress: (done) => input.progress?.(done, steps.length),
  });
  for (const message of planned.errors) report.tell("errors", message);
  for (const message of planned.warnings) report.tell("warnings", message);
  for (const { item, notice, problems = [] } of steps) {
    if (notice) report.warn(item, notice);
    for (const message of problems) report.error(item, message);
  }
  reportUnchanged(steps, report);
  if (input.notes?.length) await takeEarlier(planned, { archive: input.archive, notes: input.notes, report });
  const written = cut && writeCut(cut, planned, report);
  replays = false;
  await cut?.begin();
  const writes = writesOf(steps).filter((step) => !written?.ended(step));
  log("info", "Restoring", { items: steps.length, writes: writes.length });
  const hooks = planned.fixing.exact ? undefined : hooksOf(planned, { ...input, waitMs, report });
  let finished = false;
  await traced("lifeboat write", { "lifeboat.writes": writes.length }, () =>
    together(input.signal, [
      async (signal) => {
        finished = await writeSteps(writes, {
          ...input,
          ...planned,
          signal,
          waitMs,
          report,
          hooks,
          cut: written,
          repeats: told,
        });
        hooks?.close();
      },
      async (signal) => hooks?.run(signal),
    ]),
  );
  const { data } = planned;
  if (!finished) {
    await cut!.leaveWritten();
    return undefined;
  }
  if (data) await traced("lifeboat volumes", {}, () => settleVolumes(data, { ...input, steps, waitMs, report }));
  const volumes = data && restoredVolumes(data, input.spec);
  return { ...report.result(), ...(volumes && { volumes }) };
}

/** The steps that need requests, in the order of their ranks. */
export function writesOf(steps: PlannedStep[]): PlannedStep[] {
  return steps.filter(isWrite).sort((a, b) => a.rank - b.rank);
}

function isWrite({ action }: PlannedStep): boolean {
  return action !== "skip" && action !== "blocked";
}

/** The exec hooks of a restore that undoes none. */
function hooksOf(
  { steps, target, fixing, policy }: RestorePlan,
  running: Pick<PostHooksInput, "kube" | "waitMs" | "log" | "withhold" | "report">,
): PostHooks {
  // Under recreate a change may become a new Pod, whose hooks are then its own.
  const keeps = (action: string) => action === "skip" || (isChange(action) && policy !== "recreate");
  const stay = steps.filter(
    ({ item, action, place }) =>
      item.entry.resource === PODS && keeps(action) && place !== undefined && target.digests.has(place),
  );
  return postHooks({
    ...running,
    rules: fixing.hooks ?? [],
    restoreLabel: restoreLabels(fixing)[RESTORE_NAME]!,
    existing: new Map(stay.map(({ item }) => [`${item.namespace}/${item.name}`, item])),
  });
}

/** Reports the steps that need no request. */
function reportUnchanged(steps: PlannedStep[], report: RestoreReport): void {
  for (const { item, action, reason, warning } of steps) {
    if (action === "skip") report.item(item, "skipped", reason, warning);
    else if (action === "blocked") report.item(item, "blocked", reason);
  }
}
