import type { Archive } from "../archive/reader.ts";
import type { Kube } from "../kube/client.ts";
import { discover } from "../kube/discovery.ts";
import type { Log } from "../log.ts";
import { type Applying, applyStep } from "./apply.ts";
import type { FixContext } from "./fixes.ts";
import { adaptivePace } from "./pace.ts";
import { type ItemOutcome, type Report, type RestoreResult, startReport } from "./report.ts";
import { DEFINITIONS, selection } from "./selection.ts";
import { type Served, servedBy } from "./served.ts";
import { checkSpec, type RestoreSpec } from "./spec.ts";
import { type PlannedStep, planSteps } from "./steps.ts";
import { surveyArchive } from "./survey.ts";
import { readTarget } from "./target.ts";
import { createdVolumes, findsVolume, freeVolumes } from "./volumes.ts";
import { definitionsServed, WAIT_MS } from "./waits.ts";

export type { ItemOutcome, RestoreResult } from "./report.ts";
export type { RestoreSpec } from "./spec.ts";

export interface RestoreInput {
  kube: Kube;
  archive: Archive;
  /** The restore's. */
  name: string;
  backupName: string;
  spec: RestoreSpec;
  signal: AbortSignal;
  log: Log;
  /** Items done, of how many. */
  progress?: (done: number, total: number) => void;
  /** Called once for each item, as it ends. */
  outcome: (outcome: ItemOutcome) => void;
  /** How long to wait for definitions to be established and Namespaces to end; 10 minutes where not given. */
  waitMs?: number;
}

/**
 * Restores a backup: surveys the archive, lists what the target has, plans every item, then applies the plan rank by
 * rank (design section 5). What happens to single objects is in the result. Throws only where the result could not be
 * trusted: `corrupt` for a damaged archive (before anything is written), `unreachable` when the server is gone, the
 * signal's reason when cancelled; and `invalid` for a spec that contradicts itself.
 */
export async function restore(input: RestoreInput): Promise<RestoreResult> {
  const { kube, archive, spec, signal, log, waitMs = WAIT_MS } = input;
  const { namespaceMapping = {}, existingResourcePolicy: policy = "none", preserveNodePorts = false } = spec;
  checkSpec(spec);

  const discovery = await discover(kube, { signal });
  const served = servedBy(discovery);
  const survey = await surveyArchive(archive, selection(spec, discovery.resources), namespaceMapping);
  log("info", "Listing what the cluster has", { items: survey.items.length });
  const target = await readTarget({ kube, served, survey, signal, waitMs, log });

  const volumes = new Set<string>();
  const fixing: FixContext = {
    backupName: input.backupName,
    restoreName: input.name,
    namespaceMapping,
    preserveNodePorts,
    keepsVolume: (volume, claim) => volumes.has(volume) || findsVolume(target.volumes.get(volume), claim),
  };
  const steps = await planSteps({ archive, survey, target, served, fixing, policy, signal });
  for (const volume of createdVolumes(steps)) volumes.add(volume);
  for (const volume of freeVolumes(steps, target.volumes, policy)) target.freed.add(volume);

  const report = startReport({ outcome: input.outcome, progress: (done) => input.progress?.(done, steps.length) });
  const writes = reportUnchanged(steps, report);
  log("info", "Restoring", { items: steps.length, writes: writes.length });
  await applySteps(writes, { ...input, waitMs, kube, served, survey, target, fixing, policy, report });
  return report.result();
}

/** Reports the steps that need no request; the others, in the order of their ranks. */
function reportUnchanged(steps: PlannedStep[], report: Report): PlannedStep[] {
  const writes: PlannedStep[] = [];
  for (const step of steps) {
    const { item, action, reason, warning } = step;
    if (action === "skip") report.item(item, "skipped", reason, warning);
    else if (action === "blocked") report.item(item, "blocked", reason);
    else writes.push(step);
  }
  return writes.sort((a, b) => a.rank - b.rank);
}

type Writing = Applying & Pick<RestoreInput, "archive" | "log"> & { report: Report };

/** Applies the steps, rank after rank, many of one rank at a time. Once definitions are written, discovery starts anew. */
async function applySteps(steps: PlannedStep[], writing: Writing): Promise<void> {
  const pace = adaptivePace();
  const failure = new AbortController();
  const signal = AbortSignal.any([writing.signal, failure.signal]);
  const kube: Kube = {
    ...writing.kube,
    async request(request) {
      const response = await writing.kube.request(request);
      pace.heard(response);
      return response;
    },
  };
  let applying: Writing = { ...writing, kube, signal };

  try {
    for (let start = 0; start < steps.length; ) {
      const next = steps.findIndex(({ rank }) => rank > steps[start]!.rank);
      const wave = steps.slice(start, next < 0 ? steps.length : next);
      for await (const { step, body } of bodies(writing.archive, wave)) {
        await pace.room();
        signal.throwIfAborted();
        pace.run(() => applyOne(step, body, applying)).catch((error) => failure.abort(error));
      }
      await pace.idle();
      signal.throwIfAborted();
      applying = { ...applying, served: await servedAfter(wave, applying) };
      start += wave.length;
    }
  } finally {
    await pace.idle();
  }
}

async function applyOne(step: PlannedStep, body: Buffer, applying: Writing): Promise<void> {
  const { item, place } = step;
  const { action, reason, warning, uid } = await applyStep(step, body, applying);
  if (uid && place !== undefined && applying.survey.owns(place)) applying.target.uids.set(place, uid);
  applying.report.item(item, action, reason, warning);
}

/** The steps with their items' bodies: first the blank Namespaces', then the archive's in its order. */
async function* bodies(archive: Archive, steps: PlannedStep[]): AsyncGenerator<{ step: PlannedStep; body: Buffer }> {
  const stored = steps.filter(({ place }) => place !== undefined).values();
  for (const step of steps) if (step.place === undefined) yield { step, body: blankBody(step) };
  const entries = steps.filter(({ place }) => place !== undefined).map(({ item }) => item.entry);
  for await (const { body } of archive.read(entries)) yield { step: stored.next().value!, body };
}

function blankBody({ item }: PlannedStep): Buffer {
  return Buffer.from(JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: item.name } }));
}

/** What is served once a wave is applied: after definitions, discovery is asked anew until their resources are in it. */
async function servedAfter(wave: PlannedStep[], { served, report, log, ...waiting }: Writing): Promise<Served> {
  const written = wave.filter(({ item }) => item.entry.resource === DEFINITIONS);
  const definitions = served.preferred(DEFINITIONS);
  if (!written.length || !definitions) return served;
  log("info", "Waiting for definitions to be established", { definitions: written.length });
  const names = written.map(({ item }) => item.name);
  const { unready, discovery } = await definitionsServed(waiting, definitions, names);
  for (const { item } of written) if (unready.has(item.name)) report.error(item, unready.get(item.name)!);
  return servedBy(discovery);
}
