import { pause } from "../../abort.ts";
import type { Archive } from "../../archive/reader.ts";
import { discover } from "../../kube/discovery.ts";
import type { Log } from "../../log.ts";
import { DEFINITIONS } from "../../objects/resources.ts";
import type { PlannedStep } from "../plan/steps.ts";
import { WITHHELD } from "../prune/extras.ts";
import type { RestoreReport } from "../report.ts";
import { type Served, servedBy } from "../served.ts";
import type { Item } from "../survey.ts";
import { adopts } from "./adoptions.ts";
import { type Applied, applyStep } from "./apply.ts";
import { noticingBackends } from "./backends.ts";
import { isToBeServed, type WriteCut } from "./cut.ts";
import { adaptivePace, type Pace, pacedKube } from "./pace.ts";
import { PODS, type PostHooks } from "./posthooks.ts";
import { nonePostponed, type Postponed, tryAgain } from "./postponed.ts";
import type { Applying } from "./sending.ts";
import { definitionsServed } from "./waits.ts";

/**
 * How long children that an owner's controller is to adopt stand before the owner is created. Controllers watch the two
 * apart: one that saw the owner first would make the children once more. Longer than a watch of a busy server lags.
 */
const ADOPTABLE_MS = 500;

interface Writing extends Applying {
  archive: Archive;
  report: RestoreReport;
  /** None where a restore is undone. */
  hooks?: PostHooks;
  /** Of writes that may be left to a next slice. */
  cut?: WriteCut;
  log: Log;
}

/** How long to wait before what waits for a backend is tried again: longer each time that nothing got through. */
const AGAIN_MS = { first: 500, most: 10_000 };

/** How long a slice rests, at most, before it looks whether it is over. */
const LOOK_MS = 250;

/** The writes of one restore under way. */
interface Run extends Writing {
  pace: Pace;
  failure: AbortController;
  postponed: Postponed;
  /** When what is postponed is tried again, and how long after that the next time. */
  again: { at: number; wait: number };
  /** What is refused now since a backend isn't up has failed. */
  timeIsUp: boolean;
  /** Definitions that were written, and whose resources may not be served yet. */
  unawaited: Item[];
  /** When an object of a resource was created last. */
  createdAt: Map<string, number>;
  /** Steps that were begun. */
  begun: number;
}

/**
 * Applies the steps, which come in the order of their ranks: rank after rank, many of one rank at a time, as many as
 * the server can do with. Custom resources wait until definitions written before are served. What is refused since a
 * backend isn't up (backends.ts) is tried again between the ranks, and after the last one for `waitMs`; it then fails.
 * Gives whether all have ended: else the rest is left to the next slice, after one step at least. Throws what `applyStep` throws,
 * when all that was under way has ended.
 */
export async function writeSteps(steps: PlannedStep[], writing: Writing): Promise<boolean> {
  const { cut } = writing;
  const pace = adaptivePace();
  const failure = new AbortController();
  const run: Run = {
    ...writing,
    kube: pacedKube(noticingBackends(writing.kube), pace),
    signal: AbortSignal.any([writing.signal, failure.signal]),
    pace,
    failure,
    postponed: nonePostponed(writing.survey),
    again: { at: 0, wait: AGAIN_MS.first },
    timeIsUp: false,
    unawaited: cut?.unawaited ?? [],
    createdAt: new Map(cut?.createdAt),
    begun: 0,
  };
  try {
    if (cut?.someAwaited)
      run.served = servedBy(await discover(run.kube, { signal: run.signal }), run.fixing.conversions);
    for (const wave of waves(steps.filter(({ action }) => action !== "prune"))) {
      await write(run, wave);
      if (isOver(run)) return false;
      if (run.postponed.size() && performance.now() >= run.again.at) await again(run);
    }
    await awaitBackends(run);
    if (isOver(run)) return false;
    await awaitDefinitions(run, () => true);
    await prune(
      run,
      steps.filter(({ action }) => action === "prune"),
    );
    return !isOver(run);
  } finally {
    await pace.idle();
  }
}

/** Whether the rest is left to the next slice; what has failed already is told in this one. */
function isOver({ cut, begun, timeIsUp }: Run): boolean {
  return cut !== undefined && begun > 0 && !timeIsUp && cut.over();
}

/** Applies steps, rank after rank; resolves when all of them have ended, or are postponed, or the slice is over. */
async function write(run: Run, steps: PlannedStep[]): Promise<void> {
  const { pace, signal, failure } = run;
  for (const wave of waves(steps)) {
    if (isOver(run)) return;
    const resources = new Set(wave.map(({ item }) => item.entry.resource));
    await awaitDefinitions(run, ({ name }) => resources.has(name));
    await awaitAdoptable(run, resources);
    for await (const { step, body } of bodies(run.archive, wave)) {
      await pace.room();
      signal.throwIfAborted();
      if (isOver(run)) break;
      run.begun++;
      await run.cut?.keep();
      pace.run(() => applyOne(run, step, body)).catch((error) => failure.abort(error));
    }
    await pace.idle();
    signal.throwIfAborted();
  }
}

async function applyOne(run: Run, step: PlannedStep, body: Buffer): Promise<void> {
  const { postponed } = run;
  const held = postponed.holds(step, body);
  if (held !== undefined) return postponed.add(step, body, held);
  const applied = await applyStep(step, body, run);
  if (applied.awaits === undefined || run.timeIsUp) end(run, step, applied);
  else postponed.add(step, body, applied.awaits, applied);
}

/** Tells how a step ended whoever has to know. */
function end(run: Run, step: PlannedStep, applied: Applied): void {
  const { survey, target, report, hooks, cut } = run;
  const { action, reason, warning, uid, made } = applied;
  const { item, place } = step;
  const { resource } = item.entry;
  run.postponed.end(step);
  if (uid && place !== undefined && survey.owns(place)) target.uids.set(place, uid);
  report.item(item, action, reason, warning);
  if (made && resource === PODS) hooks?.created(item, made());
  if (action === "created") run.createdAt.set(resource, performance.now());
  if (isToBeServed(step, action)) run.unawaited.push(item);
  cut?.end(step, applied);
}

/** Waits until the resources of written definitions are served, of those that are needed. */
async function awaitDefinitions(run: Run, needed: (definition: Item) => boolean): Promise<void> {
  const awaited = run.unawaited.filter(needed);
  run.unawaited = run.unawaited.filter((definition) => !awaited.includes(definition));
  run.served = await servedAfter(awaited, run);
}

/** Waits until what objects of these resources are to adopt has stood long enough. */
async function awaitAdoptable({ createdAt, signal }: Run, owners: Set<string>): Promise<void> {
  const children = [...createdAt].filter(([child]) => [...owners].some((owner) => adopts(owner, child)));
  const latest = Math.max(...children.map(([, at]) => at));
  const wait = latest + ADOPTABLE_MS - performance.now();
  if (wait > 0) await pause(wait, signal);
}

/** Tries again what waits for backends. */
async function again(run: Run): Promise<void> {
  const { kube, signal, fixing, postponed } = run;
  const before = postponed.size();
  if (postponed.free().some(({ item }) => !run.served.find(item)))
    run.served = servedBy(await discover(kube, { signal }), fixing.conversions);
  await tryAgain(postponed, (steps) => write(run, steps));
  const wait = postponed.size() < before ? AGAIN_MS.first : Math.min(AGAIN_MS.most, run.again.wait * 1.5);
  run.again = { at: performance.now() + wait, wait };
}

/** Tries what waits for backends until nothing does, or time is up. */
async function awaitBackends(run: Run): Promise<void> {
  const { postponed, log, signal, waitMs } = run;
  if (isOver(run)) return;
  const since = postponed.size() && run.cut ? run.cut.waits() : performance.now();
  const deadline = since + waitMs;
  if (postponed.size()) log("warning", `Waiting for ${postponed.backends().join(", ")}`, { objects: postponed.size() });
  while (postponed.size() && performance.now() < deadline) {
    const wait = Math.max(0, Math.min(run.again.at, deadline) - performance.now());
    await pause(run.cut ? Math.min(wait, LOOK_MS) : wait, signal);
    if (performance.now() >= Math.min(run.again.at, deadline)) await again(run);
    if (isOver(run)) return;
  }
  await giveUp(run);
}

/** What still waits ends as it was refused, what comes after it as it can. */
async function giveUp(run: Run): Promise<void> {
  const { postponed, waitMs } = run;
  run.timeIsUp = true;
  while (postponed.size()) {
    const left = postponed.free();
    for (const step of left) {
      const { backend, tried } = postponed.of(step)!;
      const reason = `${backend} was not up within ${Math.ceil(waitMs / 1000)} s: ${tried?.reason}`;
      if (tried) end(run, step, { ...tried, reason });
    }
    await write(
      run,
      left.filter((step) => postponed.of(step)),
    );
  }
}

/** Last of all, and only where nothing is missing that might be meant to replace it; an undo has no such reserve. */
async function prune(run: Run, steps: PlannedStep[]): Promise<void> {
  if (run.fixing.exact || run.cut?.prunes || run.report.lacking() === 0) return await write(run, steps);
  for (const { item } of steps) run.report.item(item, "blocked", WITHHELD);
}

/** The steps of one rank after the other; they come in the order of their ranks. */
export function* waves(steps: PlannedStep[]): Generator<PlannedStep[]> {
  for (let start = 0; start < steps.length; ) {
    let end = start;
    while (steps[end]?.rank === steps[start]!.rank) end++;
    yield steps.slice(start, end);
    start = end;
  }
}

/** The steps of a wave with their items' bodies: first the blank Namespaces', then the archive's in its order. */
export async function* bodies(
  archive: Archive,
  steps: PlannedStep[],
): AsyncGenerator<{ step: PlannedStep; body: Buffer }> {
  const stored = steps.filter(({ place }) => place !== undefined).values();
  for (const step of steps) if (step.place === undefined) yield { step, body: blankBody(step) };
  const entries = steps.filter(({ place }) => place !== undefined).map(({ item }) => item.entry);
  for await (const { body } of archive.read(entries)) yield { step: stored.next().value!, body };
}

function blankBody({ item }: PlannedStep): Buffer {
  return Buffer.from(JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: item.name } }));
}

/** What is served once definitions are written: discovery is asked anew until their resources are in it. */
async function servedAfter(
  written: Item[],
  { served, report, log, fixing, cut, ...waiting }: Writing,
): Promise<Served> {
  const definitions = served.preferred(DEFINITIONS);
  if (!written.length || !definitions) return served;
  log("info", "Waiting for definitions to be established", { definitions: written.length });
  const names = written.map(({ name }) => name);
  const { unready, discovery } = await definitionsServed(waiting, definitions, names);
  for (const item of written) {
    const problem = unready.get(item.name);
    if (problem) report.error(item, problem);
    cut?.awaited(item, problem);
  }
  return servedBy(discovery, fixing.conversions);
}
