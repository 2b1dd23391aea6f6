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
import { findConversions } from "./apiversions.ts";
import { readClone } from "./clone/clone.ts";
import { checkMeans, isElsewhere, planData, type RestoreData, restoredVolumes, sourceUid } from "./data.ts";
import { finalizerWarnings } from "./finalizers.ts";
import { type FixContext, restoreLabels } from "./fixes.ts";
import { modifiersOf } from "./modifiers/modifiersource.ts";
import type { Policy } from "./plan/plan.ts";
import { isAlike, skimArchive } from "./plan/skim.ts";
import { type PlannedStep, planSteps } from "./plan/steps.ts";
import { ALIKE, type Extras, readTarget, type Target } from "./plan/target.ts";
import { findExtras, withheld } from "./prune/extras.ts";
import { type ItemOutcome, type Report, type RestoreResult, startReport } from "./report.ts";
import { type Selection, selection } from "./selection.ts";
import { type Served, servedBy } from "./served.ts";
import { checkSpec, type RestoreSpec } from "./spec.ts";
import { type Item, type Survey, surveyArchive } from "./survey.ts";
import type { Note } from "./undo/notes.ts";
import { findRemains, type Undoing } from "./undo/remains.ts";
import { createdVolumes, findsVolume, freeVolumes } from "./volumes.ts";
import { takeEarlier } from "./write/earlier.ts";
import { readHooks } from "./write/hooks.ts";
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
export interface Planned {
  survey: Survey;
  target: Target;
  discovery: Discovery;
  served: Served;
  fixing: FixContext;
  statuses: Statuses;
  /** Undefined where a restore is undone. */
  data: RestoreData | undefined;
  policy: Policy;
  steps: PlannedStep[];
  /** What concerns no single item. */
  errors: string[];
  warnings: string[];
}

/**
 * Plans a restore: surveys the archive, lists what the target has, and decides on every item. Nothing is written. Throws
 * `corrupt` for a damaged archive, `unreachable` when the server is gone, the signal's reason when cancelled; and
 * `invalid` for a spec that contradicts itself, and where data of the backup can't be brought (`checkMeans`).
 */
export async function planRestore(input: PlanInput): Promise<Planned> {
  const { kube, archive, spec, undoing, signal, log, waitMs = WAIT_MS } = input;
  const { namespaceMapping = {}, existingResourcePolicy: policy = "none", preserveNodePorts = false } = spec;
  checkSpec(spec);
  const hooks = readHooks(spec.hooks);
  const modifiers = await modifiersOf(spec, kube, signal);

  const discovery = await discover(kube, { signal });
  const selected = selection(spec, discovery.resources);
  const data = undoing ? undefined : dataOf(input, discovery);
  const naming = { namespaceMapping, volumeClones: data?.plan.clones };
  const survey = await surveyArchive(archive, selected, naming, discovery.resources, input.backup);
  const conversions = await findConversions(survey, discovery, { kube, signal });
  const served = servedBy(discovery, conversions);
  // What was there comes back as it was.
  const clone = undoing ? {} : await readClone(spec, { kube, served, survey, signal, log });
  const extras = undoing
    ? await findRemains(undoing, survey, archive)
    : await extrasOf(input, { discovery, survey, selection: selected });
  log("info", "Listing what the cluster has", { items: survey.items.length });
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
  const alike = ({ entry }: Item, live: Buffer) => !exact && isAlike(entry, live, { fixing: untied, statuses });
  const known = { hooks, scaleTo: spec.scaleTo, snapshotSizes: data?.plan.snapshotSizes };
  const reading = { name: input.name, kube, served, survey, extras, exact, ...known, alike };
  const target = await readTarget({ ...reading, signal, waitMs, log });
  await extras?.settle?.({ kube, served, target, signal, waitMs });

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
  const skim = await skimArchive({ archive, survey, target, fixing, facts, statuses, signal });
  if (data) {
    data.placements = skim.placements;
    const source = survey.items.some(({ entry }) => entry.resource === CLAIMS) ? await sourceUid(archive) : undefined;
    data.elsewhere = (item, volume) => isElsewhere(item, volume, { source, target, onNodes: skim.onNodes });
  }
  const steps = planSteps({ survey, target, skim, served, fixing, data, policy });
  if (data) checkMeans(data.plan, steps);
  for (const volume of createdVolumes(steps)) volumes.add(volume);
  for (const volume of freeVolumes(steps, target, policy)) target.freed.add(volume);
  const found = await extras?.found({ kube, served, target, signal });
  if (found) steps.push(...(exact ? found.steps : withheld(found.steps, steps)));
  if (steps.some(isWrite)) await archive.check(unread(survey, target));
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
  return { survey, target, discovery, served, fixing, statuses, data, policy, steps, errors, warnings };
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
function* unread({ items }: Survey, { digests }: Target): Generator<IndexEntry> {
  for (const [place, { entry }] of items.entries()) if (digests.get(place) === ALIKE) yield entry;
}

/** What the backup lacks, or all of it. */
function backupWarnings({ backup, backupName }: PlanInput, { items }: Survey): string[] {
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
function groupsOf({ definitions }: Survey): string[] {
  return [...definitions].map((definition) => definition.slice(definition.indexOf(".") + 1));
}

async function extrasOf(
  { archive, backup, spec }: PlanInput,
  known: { discovery: Discovery; survey: Survey; selection: Selection },
): Promise<Extras | undefined> {
  return spec.prune ? await findExtras({ archive, backup, spec, ...known }) : undefined;
}

export interface RestoreInput extends PlanInput, Pick<PostHooksInput, "withhold"> {
  /** Of the runs of this restore before this one, which were interrupted; none where not given. */
  notes?: Note[];
  /** Called once for each item, as it ends. */
  outcome: (outcome: ItemOutcome) => void;
  /** Called with the plan before anything is written; what it throws ends the restore. */
  check?: (planned: Planned) => void | Promise<void>;
  /** Called after that, and waited for before the first write. */
  beforeWrites?: (planned: Planned) => Promise<void>;
}

/**
 * Restores a backup: plans, then applies the plan rank by rank (design section 5). What happens to single objects is in
 * the result. Throws only where the result could not be trusted: what `planRestore` throws, before anything is written,
 * `unreachable` when the server is gone, the signal's reason when cancelled.
 */
export async function restore(input: RestoreInput): Promise<RestoreResult> {
  const { log, waitMs = WAIT_MS } = input;
  const planned = await traced("lifeboat plan", {}, () => planRestore(input));
  await input.check?.(planned);
  await traced("lifeboat keep", {}, async () => input.beforeWrites?.(planned));
  const { steps } = planned;
  const report = startReport({ outcome: input.outcome, progress: (done) => input.progress?.(done, steps.length) });
  for (const message of planned.errors) report.tell("errors", message);
  for (const message of planned.warnings) report.tell("warnings", message);
  for (const { item, notice, problems = [] } of steps) {
    if (notice) report.warn(item, notice);
    for (const message of problems) report.error(item, message);
  }
  reportUnchanged(steps, report);
  if (input.notes?.length) await takeEarlier(planned, { archive: input.archive, notes: input.notes, report });
  const writes = writesOf(steps);
  log("info", "Restoring", { items: steps.length, writes: writes.length });
  const hooks = planned.fixing.exact ? undefined : hooksOf(planned, { ...input, waitMs, report });
  await traced("lifeboat write", { "lifeboat.writes": writes.length }, () =>
    together(input.signal, [
      async (signal) => {
        await writeSteps(writes, { ...input, ...planned, signal, waitMs, report, hooks });
        hooks?.close();
      },
      async (signal) => hooks?.run(signal),
    ]),
  );
  const { data } = planned;
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
  { steps, target, fixing, policy }: Planned,
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
function reportUnchanged(steps: PlannedStep[], report: Report): void {
  for (const { item, action, reason, warning } of steps) {
    if (action === "skip") report.item(item, "skipped", reason, warning);
    else if (action === "blocked") report.item(item, "blocked", reason);
  }
}
