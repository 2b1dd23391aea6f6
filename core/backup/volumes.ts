import pLimit from "p-limit";
import type { ItemId, KubernetesObject } from "../archive/item.ts";
import { isLifeboatError, messageOf } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import { throwIfGone } from "../kube/gone.ts";
import { parseExact } from "../kube/json.ts";
import { placeOf } from "../kube/object.ts";
import { type Resource, resourceApiVersion, resourceKey } from "../kube/resource.ts";
import type { Log } from "../log.ts";
import { at } from "../objects/fields.ts";
import { SNAPSHOT_CLASSES } from "../objects/resources.ts";
import { type Problem, someOf } from "../report.ts";
import { timestamp } from "../timestamp.ts";
import { type Choice, type Claim, choose, type Means, type NotChosen } from "../volumes/choose.ts";
import type { Copiers, ToCopy } from "../volumes/copiers.ts";
import { withSnapshot } from "../volumes/csi/stored.ts";
import { type Doing, ITS_TURN } from "../volumes/doing.ts";
import { LeftoverError } from "../volumes/leftover.ts";
import type { VolumePolicy } from "../volumes/policies.ts";
import type { VolumeRecord } from "../volumes/record.ts";
import { causeOf } from "../volumes/rights.ts";
import type { Copied, Method } from "../volumes/volume.ts";
import {
  claimOf,
  type HeldObject,
  type SeenState,
  type SeenVolumes,
  see,
  seeAllPods,
  seenState,
  seenVolumes,
  seePod,
  seeUnprepared,
  volumeNamed,
} from "./claims.ts";
import type { Lint } from "./lint.ts";
import type { BackupSpec } from "./scope.ts";
import { type Told, type VolumeProblems, volumeProblems } from "./volumeproblems.ts";
import { type AwaitedCopy, watchCopies } from "./waits.ts";

/** An object that is stored. */
export interface StoredObject extends HeldObject {
  object: KubernetesObject;
}

/** The volumes of one backup. */
export interface BackupVolumes {
  /** Takes account of an object that is about to be stored. True for a claim that has a volume, which is stored when its data have been copied. */
  holdsBack(stored: HeldObject): boolean;
  /** Takes account of a Pod that is not stored, since a pre-hook of it failed: its claims are not copied. */
  leavesOut(id: ItemId, pod: Buffer): void;
  /**
   * Copies the data of the claims that were held back, calls `fixed` once all copies' points in time are, and gives what is
   * then to be stored: the claims, and what restores of their copies need. What can't be copied is told, not thrown.
   */
  copy(fixed: () => Promise<void>): Promise<Iterable<StoredObject>>;
  /** What became of each claim's data, once they have been copied; in the order of the claims. */
  records: VolumeRecord[];
  /** How many volumes of Pods that are no claims were to be copied, in vain. */
  podVolumes(): number;
  /** How many claims are held back. */
  holds(): number;
  /** How many copies there are. */
  count(): number;
  /** Takes all copies away again: for a run that fails after all. Never throws. */
  discard(): Promise<void>;
  /** What it took account of, for another to go on from. */
  state(): VolumesState;
}

/** As JSON. */
export interface VolumesState extends SeenState {
  podVolumes: number;
  told: Told[];
}

interface VolumesRun {
  kube: Kube;
  /** The backup's. */
  name: string;
  resources: Resource[];
  spec: BackupSpec;
  policies: VolumePolicy[];
  /** Asked once, and only where a claim has a volume. */
  copiers: (signal: AbortSignal) => Promise<Copiers>;
  /** Told of what a restore will miss. */
  lint: Lint;
  log: Log;
  report: (level: "warning" | "error", problem: Problem) => void;
  /** How many copies have no point in time yet, of how many. */
  progress: (left: number, total: number) => void;
  /** Hears what somebody who waits should know. */
  say: (line: string, level?: "info" | "warning") => void;
  /** What another took account of, of which this is the rest. */
  from?: VolumesState;
  signal: AbortSignal;
}

/** A run, with what it has seen and made so far. */
interface Copying extends VolumesRun {
  /** The run's signal, which also ends with the first copy that ends the run. */
  signal: AbortSignal;
  failing: AbortController;
  seen: SeenVolumes;
  problems: VolumeProblems;
  records: VolumeRecord[];
  /** What is not whole yet. */
  awaited: Set<AwaitedCopy>;
  copies: Whole[];
  /** Once they have been asked for. */
  opened?: Copiers;
  /** What copies that failed have left, or that could not be taken back. */
  left: string[];
}

/** A copy that is whole. */
interface Whole extends Pick<Copied, "files" | "discard"> {
  /** The claim's, "namespace/name". */
  name: string;
  method: Method;
}

/** A claim, and what becomes of its data: they are copied if that says how. */
interface Decided {
  held: HeldObject;
  record: VolumeRecord;
  copying?: ToCopy;
}

/** Claims that are decided on at a time: each may take a request. */
const DECIDED_AT_ONCE = 50;

/** Copies of a kind that are under way at a time: until their point in time is fixed, and of files until their end. */
const AT_ONCE: Record<Method, number> = { CSISnapshot: 50, NativeSnapshot: 10, PodVolumeBackup: 4 };

const BEGINNING: Doing = { what: "waits for its copy to begin" };

/** How long a run that failed takes its copies away. */
const DISCARD_MS = 60_000;
const DISCARDS_AT_ONCE = 50;

export function backupVolumes(run: VolumesRun): BackupVolumes {
  const failing = new AbortController();
  const signal = AbortSignal.any([run.signal, failing.signal]);
  const seen = seenVolumes(run.from);
  const problems = volumeProblems(run.report, run.from?.told);
  const copying: Copying = {
    ...run,
    signal,
    failing,
    seen,
    problems,
    records: [],
    awaited: new Set(),
    copies: [],
    left: [],
  };
  let podVolumes = run.from?.podVolumes ?? 0;
  return {
    records: copying.records,
    holdsBack(stored) {
      for (const { volumeName, level, reason } of seePod(seen, stored, run.policies)) {
        podVolumes++;
        problems.podVolume(level, stored.id, volumeName, reason);
      }
      return see(seen, stored);
    },
    leavesOut: (id, pod) => seeUnprepared(seen, id, pod),
    copy: (fixed) => copyHeld(copying, fixed),
    podVolumes: () => podVolumes,
    count: () => copying.copies.length,
    discard: () => discardAll(copying),
    holds: () => seen.held.length,
    state: () => ({ ...seenState(seen), podVolumes, told: problems.told() }),
  };
}

async function copyHeld(run: Copying, fixed: () => Promise<void>): Promise<Iterable<StoredObject>> {
  const { held } = run.seen;
  if (held.length === 0) {
    run.problems.report();
    await fixed();
    return [];
  }
  const copiers = await run.copiers(run.signal);
  run.opened = copiers;
  const decided = await pLimit(DECIDED_AT_ONCE).map(held, (one) => decide(run, one, copiers.means));
  run.records.push(...decided.map(({ record }) => record));
  run.problems.report();
  const total = decided.filter(({ copying }) => copying).length;
  using _ = watchCopies(run.awaited, total, run.say);
  const takingBack = () => sayTakingBack(run);
  run.signal.addEventListener("abort", takingBack);
  const settling = settleAll(run, decided, startMaking(copiers, decided));
  await settling.fixed;
  await fixed().catch((error: unknown) => run.failing.abort(error));
  // Also when the run ends: each copy that is under way takes itself back first.
  const made = await settling.made;
  run.signal.removeEventListener("abort", takingBack);
  run.problems.report();
  run.signal.throwIfAborted();
  if (run.left.length > 0) run.report("warning", { message: leftText(run.left) });
  return toStore(run.name, decided, made);
}

/** Decides whether and how the data of one claim are copied. */
async function decide(run: Copying, held: HeldObject, means: Means): Promise<Decided> {
  const { namespace, name } = held.id;
  const claim = claimOf(held);
  const volume = String(at(claim, "spec", "volumeName"));
  const decided: Decided = { held, record: { volume, claim: { namespace, name, uid: claim.metadata.uid ?? "" } } };
  try {
    const { one, choice } = await choiceOf(run, held.id, claim, means);
    if (choice.method) return { ...decided, copying: { one: { ...one, volume: one.volume! }, choice } };
    leave(run, decided, choice);
  } catch (error) {
    await lack(run, decided, error);
  }
  return decided;
}

/** The choice for a claim. The Pods of its namespace are looked into where files are to be copied, and no Pod is known to mount it. */
async function choiceOf(
  { seen, kube, signal }: Copying,
  { namespace, name }: ItemId,
  claim: KubernetesObject,
  means: Means,
): Promise<{ one: Claim; choice: Choice }> {
  const place = `${namespace}/${name}`;
  const volume = await volumeNamed(seen, String(at(claim, "spec", "volumeName")), kube, signal);
  const now = (): Claim => {
    return { claim, volume, mounts: seen.mounts.get(place) ?? [], unprepared: seen.unprepared.get(place) };
  };
  let one = now();
  let choice = choose(one, means);
  if (choice.method === "PodVolumeBackup" && one.mounts.length === 0) {
    await seeAllPods(seen, namespace, kube, signal);
    one = now();
    choice = choose(one, means);
  }
  return { one, choice };
}

/** The data of a claim are not copied, as was chosen: tells what of it somebody must know. */
function leave(run: Copying, { record, held: { id } }: Decided, { reason, level, stays }: NotChosen): void {
  Object.assign(record, { reason, ...(stays ? { stays } : level && { lacking: true }) });
  if (level) run.problems.claim(level, id, withoutData(reason));
  if (level || stays === "node") find(run, id, reason);
}

/** The data of a claim are not in the backup, though they should be. Throws what ends the run. */
async function lack(run: Copying, { record, copying, held: { id } }: Decided, error: unknown): Promise<void> {
  const { spec, signal } = run;
  if (error instanceof LeftoverError) run.left.push(`of claim ${id.namespace}/${id.name} ${error.left}`);
  signal.throwIfAborted();
  await throwIfGone(run.kube, error, signal);
  const { snapshotVolumes, snapshotMoveData, defaultVolumesToFsBackup } = spec;
  const { method, asked = snapshotVolumes || snapshotMoveData || defaultVolumesToFsBackup } = copying?.choice ?? {};
  const reason = causeOf(error, { method, one: copying?.one });
  Object.assign(record, { reason, lacking: true });
  find(run, id, reason);
  run.problems.claim(isLifeboatError(error, "denied") && !asked ? "warning" : "error", id, withoutData(reason));
}

const withoutData = (reason: string) => `its data are not in the backup: ${reason}`;

function find({ lint }: Copying, id: ItemId, reason: string): void {
  lint.tell({ ...id, rule: "claim-without-data", message: withoutData(reason) });
}

/** What copies begin by, in their turn. */
interface Making {
  start: ReturnType<Copiers["starter"]>;
  limits: Record<Method, ReturnType<typeof pLimit>>;
}

function startMaking(copiers: Copiers, decided: Decided[]): Making {
  const entries = Object.entries(AT_ONCE).map(([method, most]) => [method, pLimit(most)]);
  const limits: Making["limits"] = Object.fromEntries(entries);
  const copying = decided.flatMap((one) => one.copying ?? []);
  return { start: copiers.starter(copying, limits.PodVolumeBackup), limits };
}

/**
 * Begins all copies. `fixed` resolves once the last one's point in time is, `made` once each is whole or has failed: with what is to
 * be stored beside each claim. What ends the run aborts its signal, and rejects neither.
 */
function settleAll(
  run: Copying,
  decided: Decided[],
  making: Making,
): { fixed: Promise<void>; made: Promise<HeldObject[][]> } {
  const pending = new Set(decided);
  const { promise: fixed, resolve } = Promise.withResolvers<void>();
  const isFixed = (one: Decided) => {
    if (pending.delete(one)) run.progress(pending.size, decided.length);
    if (pending.size === 0) resolve();
  };
  const made = decided.map((one) =>
    settle(run, one, making, () => isFixed(one)).catch((error: unknown) => {
      run.failing.abort(error);
      return [];
    }),
  );
  return { fixed, made: Promise.all(made) };
}

/** Copies the data of one claim, where that was decided. Gives what is to be stored beside it. */
async function settle(run: Copying, decided: Decided, making: Making, fixed: () => void): Promise<HeldObject[]> {
  const { record, copying, held } = decided;
  const { id } = held;
  try {
    if (!copying) return [];
    const { method, instead } = copying.choice;
    record.startTimestamp = timestamp(new Date());
    const copied = await make(run, copying, making, fixed);
    const { csi, native, files, objects = [], warnings = [], discard } = copied;
    run.copies.push({ name: `${id.namespace}/${id.name}`, method, files, discard });
    Object.assign(record, { method, csi, native, files, completionTimestamp: timestamp(new Date()) });
    if (instead)
      run.problems.claim(instead.level, id, `a snapshot was made, not a copy of its files: ${instead.reason}`);
    for (const message of warnings) run.problems.claim("warning", id, message);
    run.log("info", `Copied the data of claim ${id.namespace}/${id.name}`, { method });
    return objects.flatMap((object) => asHeld(object, run.resources)).filter((one) => isNew(run.seen, one));
  } catch (error) {
    await lack(run, decided, error);
    return [];
  } finally {
    fixed();
  }
}

/** Makes one copy in its turn; `fixed` is called once its point in time is. */
async function make(
  { awaited, signal }: Copying,
  copying: ToCopy,
  { start, limits }: Making,
  fixed: () => void,
): Promise<Copied> {
  const { method, moved } = copying.choice;
  const waiting: AwaitedCopy = { name: placeOf(copying.one.claim.metadata), doing: () => ITS_TURN };
  awaited.add(waiting);
  try {
    const { done } = await limits[moved ? "CSISnapshot" : method](async () => {
      signal.throwIfAborted();
      Object.assign(waiting, { method, doing: () => BEGINNING });
      const copy = await start(copying);
      waiting.doing = () => copy.doing() ?? BEGINNING;
      copy.done.catch(() => {});
      await copy.fixed.catch(() => copy.done);
      fixed();
      return { done: copy.done };
    });
    return await done;
  } finally {
    awaited.delete(waiting);
  }
}

/** An object that was made for a copy, of a resource that the cluster serves. */
function asHeld(object: KubernetesObject, resources: Resource[]): HeldObject[] {
  const { apiVersion, kind, metadata } = object;
  const resource = resources.find((one) => one.kind === kind && resourceApiVersion(one) === apiVersion);
  if (!resource) return [];
  const id = { resource: resourceKey(resource), namespace: metadata.namespace ?? "", name: metadata.name };
  return [{ id, resource, body: Buffer.from(JSON.stringify(object)) }];
}

/** Whether it isn't stored yet: copies share their VolumeSnapshotClasses. */
function isNew({ classes }: SeenVolumes, { id }: HeldObject): boolean {
  if (id.resource !== SNAPSHOT_CLASSES) return true;
  if (classes.has(id.name)) return false;
  classes.add(id.name);
  return true;
}

/** The claims as they are stored, each before what was made for its copy; parsed one at a time. */
function* toStore(backup: string, decided: Decided[], made: HeldObject[][]): Generator<StoredObject> {
  for (const [place, { held, record }] of decided.entries()) {
    const claim = parseExact(held.body) as KubernetesObject;
    if (!record.csi) yield { ...held, object: claim };
    else {
      const object = withSnapshot(claim, record.csi, backup);
      yield { ...held, object, body: Buffer.from(JSON.stringify(object)) };
    }
    for (const one of made[place]!) yield { ...one, object: parseExact(one.body) as KubernetesObject };
  }
}

/** Says which copies are taken back, those that are whole and those under way: at once, for it takes its time. */
function sayTakingBack({ awaited, copies, say }: Copying): void {
  const going = [...copies, ...[...awaited].filter(({ method }) => method)];
  if (going.length === 0) return;
  const files = going.filter(({ method }) => method === "PodVolumeBackup").length;
  const snapshots = going.length - files;
  const parts = [
    ...(snapshots > 0 ? [`${snapshots} snapshot${snapshots > 1 ? "s" : ""}`] : []),
    ...(files > 0 ? [`${files} ${files > 1 ? "copies" : "copy"} of files`] : []),
  ];
  const names = someOf(going.map(({ name }) => name).sort());
  say(`taking back ${parts.join(" and ")} (${names}): at most three minutes`);
}

/** Takes all copies away again. */
async function discardAll(run: Copying): Promise<void> {
  const { copies, left, say, signal } = run;
  if (!signal.aborted) sayTakingBack(run);
  const late = AbortSignal.timeout(DISCARD_MS);
  const forgetting = forgetAll(run, late);
  await pLimit(DISCARDS_AT_ONCE).map(copies, ({ name, discard }) =>
    discard?.(late).catch((error: unknown) => {
      left.push(`of claim ${name} ${error instanceof LeftoverError ? error.left : messageOf(error)}`);
    }),
  );
  const kept = await forgetting;
  if (left.length > 0) say(leftText(left), "warning");
  if (kept.length > 0) {
    const until = "where they go with the next backup of this name that has copies there";
    say(`left in restic's repositories, ${until}: ${kept.sort().join("; ")}`, "warning");
  }
}

/** Takes all copies of files away again, those of one repository at once. Gives what stays, in words. */
async function forgetAll({ copies, opened }: Copying, signal: AbortSignal): Promise<string[]> {
  const kept: string[] = [];
  const files = copies.flatMap(({ name, files }) => (files ? [{ name, ...files }] : []));
  const byNamespace = [...Map.groupBy(files, ({ namespace }) => namespace)];
  await pLimit(DISCARDS_AT_ONCE).map(byNamespace, async ([namespace, some]) => {
    const ids = some.map(({ snapshotId }) => snapshotId);
    await opened?.forget(namespace, ids, signal).catch((error: unknown) => {
      kept.push(`the files of ${someOf(some.map(({ name }) => name).sort())}: ${messageOf(error)}`);
    });
  });
  return kept;
}

/** All of it, by name: nothing else tells of it. */
function leftText(left: string[]): string {
  return `left over, which "lifeboat location check" finds: ${[...left].sort().join("; ")}`;
}
