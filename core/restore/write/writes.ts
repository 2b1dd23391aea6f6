import { pause } from "../../abort.ts";
import type { Archive } from "../../archive/reader.ts";
import { discover } from "../../kube/discovery.ts";
import type { Log } from "../../log.ts";
import type { PlannedStep } from "../plan/steps.ts";
import { WITHHELD } from "../prune/extras.ts";
import type { Report } from "../report.ts";
import { DEFINITIONS } from "../selection.ts";
import { type Served, servedBy } from "../served.ts";
import type { Item } from "../survey.ts";
import { adopts } from "./adoptions.ts";
import { type Applied, applyStep } from "./apply.ts";
import { noticingBackends } from "./backends.ts";
import { adaptivePace, pacedKube } from "./pace.ts";
import { PODS, type PostHooks } from "./posthooks.ts";
import { nonePostponed, tryAgain } from "./postponed.ts";
import type { Applying } from "./sending.ts";
import { definitionsServed } from "./waits.ts";

/**
 * How long children that an owner's controller is to adopt stand before the owner is created. Controllers watch the two
 * apart: one that saw the owner first would make the children once more. Longer than a watch of a busy server lags.
 */
const ADOPTABLE_MS = 500;

interface Writing extends Applying {
  archive: Archive;
  report: Report;
  /** None where a restore is undone. */
  hooks?: PostHooks;
  log: Log;
}

/** How long to wait before what waits for a backend is tried again: longer each time that nothing got through. */
const AGAIN_MS = { first: 500, most: 10_000 };

/**
 * Applies the steps, which come in the order of their ranks: rank after rank, many of one rank at a time, as many as
 * the server can do with. Custom resources wait until definitions written before are served. What is refused since a
 * backend isn't up (backends.ts) is tried again between the ranks, and after the last one for `waitMs`; it then fails.
 * Throws what `applyStep` throws, when all that was under way has ended.
 */
export async function writeSteps(steps: PlannedStep[], writing: Writing): Promise<void> {
  const { report, hooks, survey, target, log } = writing;
  const pace = adaptivePace();
  const failure = new AbortController();
  const signal = AbortSignal.any([writing.signal, failure.signal]);
  const kube = pacedKube(noticingBackends(writing.kube), pace);
  let applying: Writing = { ...writing, kube, signal };
  let unawaited: Item[] = [];
  const awaitDefinitions = async (needed: (definition: Item) => boolean) => {
    const awaited = unawaited.filter(needed);
    unawaited = unawaited.filter((definition) => !awaited.includes(definition));
    applying = { ...applying, served: await servedAfter(awaited, applying) };
  };
  const writtenAt = new Map<string, number>();
  const awaitAdoptable = async (owners: Set<string>) => {
    const children = [...writtenAt].filter(([child]) => [...owners].some((owner) => adopts(owner, child)));
    const latest = Math.max(...children.map(([, at]) => at));
    const wait = latest + ADOPTABLE_MS - performance.now();
    if (wait > 0) await pause(wait, signal);
  };
  const postponed = nonePostponed(survey);
  let timeIsUp = false;
  const end = (step: PlannedStep, { action, reason, warning, uid, made }: Applied) => {
    const { item, place } = step;
    postponed.end(step);
    if (uid && place !== undefined && survey.owns(place)) target.uids.set(place, uid);
    report.item(item, action, reason, warning);
    if (made && item.entry.resource === PODS) hooks?.created(item, made());
    if (action === "created") writtenAt.set(item.entry.resource, performance.now());
    const stays = !["failed", "blocked", "pruned"].includes(action) && step.action !== "prune";
    if (item.entry.resource === DEFINITIONS && stays) unawaited.push(item);
  };
  const applyOne = async (step: PlannedStep, body: Buffer) => {
    const held = postponed.holds(step, body);
    if (held !== undefined) return postponed.add(step, body, held);
    const applied = await applyStep(step, body, applying);
    if (applied.awaits === undefined || timeIsUp) end(step, applied);
    else postponed.add(step, body, applied.awaits, applied);
  };
  const write = async (some: PlannedStep[]) => {
    for (const wave of waves(some)) {
      const resources = new Set(wave.map(({ item }) => item.entry.resource));
      await awaitDefinitions(({ name }) => resources.has(name));
      await awaitAdoptable(resources);
      for await (const { step, body } of bodies(writing.archive, wave)) {
        await pace.room();
        signal.throwIfAborted();
        pace.run(() => applyOne(step, body)).catch((error) => failure.abort(error));
      }
      await pace.idle();
      signal.throwIfAborted();
    }
  };

  let next = 0;
  let wait = AGAIN_MS.first;
  const again = async () => {
    const before = postponed.size();
    if (postponed.free().some(({ item }) => !applying.served.find(item)))
      applying = { ...applying, served: servedBy(await discover(kube, { signal }), applying.fixing.conversions) };
    await tryAgain(postponed, write);
    wait = postponed.size() < before ? AGAIN_MS.first : Math.min(AGAIN_MS.most, wait * 1.5);
    next = performance.now() + wait;
  };
  /** What still waits ends as it was refused, what comes after it as it can. */
  const giveUp = async () => {
    timeIsUp = true;
    while (postponed.size()) {
      const left = postponed.free();
      for (const step of left) {
        const { backend, tried } = postponed.of(step)!;
        const reason = `${backend} was not up within ${Math.ceil(writing.waitMs / 1000)} s: ${tried?.reason}`;
        if (tried) end(step, { ...tried, reason });
      }
      await write(left.filter((step) => postponed.of(step)));
    }
  };

  /** Last of all, and only where nothing is missing that might be meant to replace it; an undo has no such reserve. */
  const prune = async (some: PlannedStep[]) => {
    if (applying.fixing.exact || report.lacking() === 0) return await write(some);
    for (const { item } of some) report.item(item, "blocked", WITHHELD);
  };

  try {
    for (const wave of waves(steps.filter(({ action }) => action !== "prune"))) {
      await write(wave);
      if (postponed.size() && performance.now() >= next) await again();
    }
    const deadline = performance.now() + writing.waitMs;
    if (postponed.size())
      log("warning", `Waiting for ${postponed.backends().join(", ")}`, { objects: postponed.size() });
    while (postponed.size() && performance.now() < deadline) {
      await pause(Math.max(0, Math.min(next, deadline) - performance.now()), signal);
      await again();
    }
    await giveUp();
    await awaitDefinitions(() => true);
    await prune(steps.filter(({ action }) => action === "prune"));
  } finally {
    await pace.idle();
  }
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
async function servedAfter(written: Item[], { served, report, log, fixing, ...waiting }: Writing): Promise<Served> {
  const definitions = served.preferred(DEFINITIONS);
  if (!written.length || !definitions) return served;
  log("info", "Waiting for definitions to be established", { definitions: written.length });
  const names = written.map(({ name }) => name);
  const { unready, discovery } = await definitionsServed(waiting, definitions, names);
  for (const item of written) if (unready.has(item.name)) report.error(item, unready.get(item.name)!);
  return servedBy(discovery, fixing.conversions);
}
