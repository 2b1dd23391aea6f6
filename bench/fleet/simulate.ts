import { PIECE_BYTES, PIECE_MS } from "../../core/backup/slices.ts";
import { FIRST_LOOK_MS, untilNextLook } from "../../core/comeback.ts";
import { MOST_PARTS } from "../../core/fleet/parts.ts";
import { BACKUP_RESERVE_MS, BACKUP_RESERVE_SHARE, SLICE_END_MS, SLICE_END_SHARE } from "../../core/jobs/deadline.ts";
import { MOST_TIMES } from "../../core/jobs/shards.ts";
import { TOTAL_MS } from "../../core/kube/retry.ts";
import { READS_AT_ONCE } from "../../core/state.ts";
import { PRICES, type Target } from "../cost.ts";
import {
  enter,
  gate,
  leave,
  type Process,
  type Rate,
  type Running,
  random,
  rate,
  startSimulation,
  take,
} from "./kernel.ts";
import { CLOUD_BURST, cpusOf, ENGINE_PRICES, instancesOf, LIMITS, PROVISIONING, secondPrice } from "./limits.ts";
import type { Recording } from "./recording.ts";

/** A fleet, and how it is backed up. */
export interface Scenario {
  target: Target;
  clusters: number;
  /** Of each cluster. */
  objects: number;
  /** As many clusters at a time; on Azure as many instances. */
  concurrency: number;
  perMinute?: number;
  memoryMB: number;
  /** In how many each cluster is read. */
  shards: number;
  /** As many instances of the function as the account has, where that is not the usual quota. */
  instances?: number;
  /** Whether clusters are reached by the cloud's own API, or by kubeconfigs in its store of secrets. */
  credentials: "cloud" | "secrets";
  /** Of all clusters, those that don't answer, and those that take `slowness` times as long to. */
  dead: number;
  slow: number;
  slowness: number;
  /** To a cluster and back. */
  roundTripMs: number;
  /** From one run to the next. */
  intervalSeconds: number;
  /** Backups of each cluster that retention keeps. */
  kept: number;
  seed: number;
}

/** What one run of a fleet came to. Seconds, US dollars. */
export interface Outcome {
  scenario: Scenario;
  wallSeconds: number;
  good: number;
  /** By reason. */
  failed: Record<string, number>;
  /** Clusters at once, and instances of the function. */
  mostClusters: number;
  mostInstances: number;
  invocations: number;
  coldStarts: number;
  slices: number;
  /** The longest that one cluster took that is not slow, from its first list to its last. */
  readingSeconds: number;
  /** Of one instance. */
  peakMB: number;
  /** Of instances, all that is paid for; of backups alone, without the fleet's own job. */
  instanceSeconds: number;
  backupSeconds: number;
  transitions: number;
  /** Of one execution of an engine, and bytes that it was handed at once. */
  mostHistory: number;
  mostPayload: number;
  puts: number;
  gets: number;
  lists: number;
  storedBytes: number;
  /** Of those: what stays once the run has ended. */
  keptBytes: number;
  /** Asked for a cluster's endpoint or secret. */
  credentialCalls: number;
  /** By what limit a request was refused, and tried again. */
  refused: Record<string, number>;
  dollars: { compute: number; invocations: number; engine: number; writes: number; reads: number };
}

const PIECE_SECONDS = PIECE_MS / 1000;
/** How long a cluster is asked that does not answer. */
export const GIVEN_UP_SECONDS = TOTAL_MS / 1000;
/** Of the engines, as infra/ sets them: a job that failed is tried again, and so is one for which there is no instance. */
const RETRIES = 2;
export const RETRY_SECONDS = 60;
const THROTTLED = { seconds: 2, most: 300, attempts: 12 };
/** Any call of a cloud's API. */
const CALL_SECONDS = 0.05;
/** A job as JSON, in what a fleet's run hands over. */
const PART_BYTES = 190;
/** An instance that did nothing for so long is gone. */
const IDLE_SECONDS = 300;
/** Steps of an engine: of a job that is done in one go, of each further slice, of a part around its job, of a run of parts. */
const STEPS: Record<Target, Record<"job" | "slice" | "part" | "run", number>> = {
  aws: { job: 5, slice: 4, part: 2, run: 5 },
  gcp: { job: 6, slice: 5, part: 1, run: 5 },
  azure: { job: 3, slice: 3, part: 0, run: 0 },
};
/** Of Step Functions, in an execution's history for each of its steps. */
const EVENTS = 3;
const MIB = 2 ** 20;

type Ended = "looked" | "done" | "more" | "dead" | "throttled" | "no time";

/** What a recording says of the product, in seconds and bytes for one of each. */
export function modelOf({ backups, functions, slices, pages, bucket }: Recording) {
  const line = (of: (one: (typeof functions)[number]) => number) =>
    straight(functions.map((one) => [one.items, of(one)]));
  const cpu = line(({ cpuSeconds }) => cpuSeconds);
  const sliced = slices.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0) - functions.at(-1)!.cpuSeconds;
  return {
    /** Of CPU, beside the objects: to load what it takes, and to look at the cluster. */
    startCpu: cpu.start,
    /** Of CPU, for each slice more: that, and to store and to read what is known. */
    sliceCpu: Math.max(cpu.start, sliced / Math.max(1, slices.length - 1)),
    /** Of CPU of all threads, and of the main one. */
    objectCpu: cpu.each,
    objectMain: line(({ mainSeconds }) => mainSeconds).each,
    objectBytes: straight(backups.map(({ items, usage }) => [items, usage.storedBytes])).each,
    peak: line(({ peakMB }) => peakMB),
    page: { objects: pages.objects, seconds: pages.ms.map((ms) => ms / 1000) },
    put: { seconds: bucket.smallMs.map((ms) => ms / 1000), perByte: bucket.putMsPerMiB / 1000 / MIB },
    getPerByte: bucket.getMsPerMiB / 1000 / MIB,
    /** Of a backup that is not cut: what it asks of its bucket. */
    usage: backups.at(-1)!.usage,
  };
}

/** The straight line through points, by least squares; it neither begins nor rises below nothing. */
function straight(points: [x: number, y: number][]): { start: number; each: number } {
  const mean = (at: 0 | 1) => points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const spread = points.reduce((sum, [one]) => sum + (one - x) ** 2, 0);
  const each = Math.max(0, points.reduce((sum, [a, b]) => sum + (a - x) * (b - y), 0) / spread);
  return { start: Math.max(0, y - each * x), each };
}

/** How long a run of a fleet waits that nobody drives, so many seconds after its begin, until it looks again. */
export const lookSeconds = (since: number): number => untilNextLook(0, 1000 * since, FIRST_LOOK_MS) / 1000;

/** How long a slice works, and until when what it ends with has to be done, from its begin on. */
export function sliceSeconds(target: Target): { read: number; whole: number } {
  const limit = LIMITS[target].duration.value;
  const whole = limit - Math.min(BACKUP_RESERVE_MS / 1000, limit * BACKUP_RESERVE_SHARE);
  return { read: whole - Math.min(SLICE_END_MS / 1000, whole * SLICE_END_SHARE), whole };
}

/** Replays one run of a fleet. The same scenario and recording give the same outcome. */
export function simulate(scenario: Scenario, recording: Recording): Outcome {
  const { target, clusters, objects, memoryMB, shards, seed, credentials } = scenario;
  const limits = LIMITS[target];
  const model = modelOf(recording);
  const simulation = startSimulation();
  const slice = sliceSeconds(target);
  const cpus = cpusOf(target, memoryMB);
  /** How long work takes that needs so much CPU in all, and of its main thread. */
  const worked = (all: number, main: number) => Math.max(all / cpus, main / Math.min(1, cpus));

  const { instances: quota = instancesOf(target, memoryMB) } = scenario;
  const instances = gate(target === "azure" ? Math.min(scenario.concurrency, quota) : quota);
  const atOnce = gate(
    target === "azure" ? Number.POSITIVE_INFINITY : Math.min(scenario.concurrency, limits.parts.value),
  );
  const perSecond = (value: number, burst = value) => rate(burst, value);
  const rates = {
    scaling: perSecond(limits.scaling.value, 10 * limits.scaling.value),
    transitions: perSecond(limits.transitions.value),
    begins: perSecond(limits.begins.value),
    writes: perSecond(limits.writes.value),
    credentials:
      credentials === "cloud" ? perSecond(limits.cloud.value, CLOUD_BURST[target]) : perSecond(limits.secrets.value),
  };
  const idle: number[] = [];
  const outcome: Outcome = {
    ...{ scenario, wallSeconds: 0, good: 0, failed: {}, mostClusters: 0, mostInstances: 0, invocations: 0 },
    ...{
      coldStarts: 0,
      slices: 0,
      readingSeconds: 0,
      peakMB: 0,
      instanceSeconds: 0,
      backupSeconds: 0,
      transitions: 0,
      mostHistory: 0,
    },
    ...{ mostPayload: 0, puts: 0, gets: 0, lists: 0, storedBytes: 0, keptBytes: 0, credentialCalls: 0, refused: {} },
    dollars: { compute: 0, invocations: 0, engine: 0, writes: 0, reads: 0 },
  };
  const drawn = (values: number[], draw: () => number) => values[Math.floor(draw() * values.length)]!;

  /** Waits until a rate has room, as SDKs and engines do: again and again, a little longer each time. */
  function* allowed(of: Rate, draw: () => number): Process {
    for (let wait = 0.1; !take(of, simulation.now); wait = Math.min(20, wait * 2)) yield { seconds: wait * draw() };
  }

  function* stored(bytes: number, draw: () => number, objectsStored = 1): Process {
    yield* allowed(rates.writes, draw);
    outcome.puts += objectsStored + Math.floor(bytes / (8 * MIB));
    outcome.storedBytes += bytes;
    yield { seconds: objectsStored * drawn(model.put.seconds, draw) + bytes * model.put.perByte };
  }

  function* steps(count: number, draw: () => number): Process {
    outcome.transitions += count;
    for (let left = count; left > 0; left--) yield* allowed(rates.transitions, draw);
  }

  /** One invocation: it may be refused, begins cold or warm, and is paid for until it ends. */
  function* invoke(body: () => Process<Ended>, draw: () => number): Process<Ended> {
    if (target === "azure") yield { room: instances };
    else if (!enter(instances)) return "throttled";
    let startup = 0;
    while (idle.length > 0 && simulation.now - idle[0]! > IDLE_SECONDS) idle.shift();
    if (idle.pop() === undefined) {
      if (!take(rates.scaling, simulation.now)) {
        leave(instances);
        return "throttled";
      }
      outcome.coldStarts += 1;
      startup = PROVISIONING[target] + recording.coldStartMs[target] / 1000 / Math.min(1, cpus);
      yield { seconds: startup * (0.8 + 0.4 * draw()) };
    }
    const begun = simulation.now;
    outcome.invocations += 1;
    const ended = yield* body();
    outcome.instanceSeconds += simulation.now - begun + startup;
    if (ended !== "looked") outcome.backupSeconds += simulation.now - begun + startup;
    idle.push(simulation.now);
    leave(instances);
    return ended;
  }

  /** A job as its engine runs it: again where there was no instance, or where it failed and that may help. */
  function* tried(body: () => Process<Ended>, draw: () => number): Process<Ended> {
    for (let failures = 0, refusals = 0; ; ) {
      const ended = yield* invoke(body, draw);
      if (ended === "done" || ended === "more" || ended === "looked") return ended;
      if (ended === "throttled" && target === "aws") {
        count(outcome.refused, "instances");
        if (++refusals > THROTTLED.attempts) return ended;
        yield { seconds: Math.min(THROTTLED.most, THROTTLED.seconds * 2 ** (refusals - 1)) * draw() };
        continue;
      }
      if (ended === "throttled") count(outcome.refused, "instances");
      if (++failures > RETRIES) return ended;
      yield { seconds: RETRY_SECONDS * 2 ** (failures - 1) * (target === "aws" ? draw() : 1) };
    }
  }

  /** What of a cluster is known in its bucket. */
  interface Reading {
    objects: number;
    left: number;
    pieces: number;
    began?: number;
    done: boolean;
  }

  /** One slice of the reading of a cluster, or of a shard; `finish` where it makes the archive too. */
  function* readSlice(reading: Reading, about: Member, finish: boolean): Process<Ended> {
    const { pageDraw, draw, isDead, slowness } = about;
    const begun = simulation.now;
    const took = () => simulation.now - begun;
    outcome.slices += 1;
    outcome.credentialCalls += 1;
    yield* allowed(rates.credentials, draw);
    const startCpu = reading.began === undefined ? model.startCpu : model.sliceCpu;
    yield { seconds: CALL_SECONDS + worked(startCpu, startCpu) };
    if (isDead) {
      yield { seconds: GIVEN_UP_SECONDS };
      return "dead";
    }
    outcome.gets += 1;
    outcome.lists += model.usage.lists;
    reading.began ??= simulation.now;
    outcome.peakMB = Math.max(outcome.peakMB, model.peak.start + model.peak.each * reading.objects);
    const pageWork = worked(model.page.objects * model.objectCpu, model.page.objects * model.objectMain);
    const pageSeconds = model.page.seconds.map((one) =>
      Math.max(pageWork, slowness * one + scenario.roundTripMs / 1000),
    );
    const most = Math.max(1, Math.floor(PIECE_BYTES / (model.page.objects * model.objectBytes)));
    const pages = () => Math.ceil(reading.left / model.page.objects);
    while (reading.left > 0) {
      const count = Math.min(most, pages());
      let seconds = 0;
      let read = 0;
      for (; read < count && seconds < PIECE_SECONDS && took() + seconds < slice.read; read++)
        seconds += drawn(pageSeconds, pageDraw);
      yield { seconds };
      const now = Math.min(reading.left, read * model.page.objects);
      reading.left -= now;
      const isOver = took() >= slice.read;
      if (reading.left === 0 && !isOver && reading.pieces === 0 && finish) break;
      if (read === 0) return "no time";
      reading.pieces += 1;
      yield* stored(now * model.objectBytes, draw, 2);
      if (isOver) return "more";
    }
    if (slowness === 1) outcome.readingSeconds = Math.max(outcome.readingSeconds, simulation.now - reading.began);
    if (!finish) return "done";
    const bytes = reading.objects * model.objectBytes;
    // core/backup/slices.ts: what follows the reading gets most of a slice.
    if (reading.pieces > 0 && took() > slice.read / 2) return "more";
    if (reading.pieces > 0) {
      outcome.gets += 2 * reading.pieces;
      yield { seconds: bytes * model.getPerByte };
    }
    yield* stored(bytes, draw, model.usage.puts);
    return took() > slice.whole ? "no time" : "done";
  }

  interface Member {
    draw: () => number;
    pageDraw: () => number;
    isDead: boolean;
    slowness: number;
  }

  /** All slices of a job, as its engine does one after the other. */
  function* sliced(reading: Reading, about: Member, finish: boolean): Process<Ended> {
    if (target !== "gcp") yield* allowed(rates.begins, about.draw);
    yield* steps(STEPS[target].job, about.draw);
    for (let history = STEPS[target].job; ; history += STEPS[target].slice) {
      if (target === "aws") outcome.mostHistory = Math.max(outcome.mostHistory, history * EVENTS);
      const ended = yield* tried(() => readSlice(reading, about, finish), about.draw);
      if (ended !== "more") return ended;
      yield* steps(STEPS[target].slice, about.draw);
    }
  }

  function* backedUp(number: number): Process {
    const draw = random(seed * 7919 + number * 2 + 1);
    const kind = random(seed * 104_729 + number)();
    const isDead = kind < scenario.dead;
    const slowness = !isDead && kind < scenario.dead + scenario.slow ? scenario.slowness : 1;
    const about: Member = { draw, pageDraw: random(seed * 7919 + number * 2), isDead, slowness };
    const reading: Reading = { objects, left: objects, pieces: 0, done: false };
    if (shards > 1 && !isDead) {
      const began = simulation.now;
      const each = Math.ceil(objects / shards);
      const readings = Array.from({ length: shards }, (_, at): Reading => {
        const own = Math.max(0, Math.min(each, objects - at * each));
        return { objects: own, left: own, pieces: 0, done: false };
      });
      for (let times = 0; times < MOST_TIMES && readings.some(({ done }) => !done); times++) {
        yield* steps(STEPS[target].run, draw);
        const running = readings.flatMap((one, at) =>
          one.done
            ? []
            : simulation.start(
                (function* shard(): Process {
                  const own = { ...about, pageDraw: random(seed * 15_485_863 + number * 64 + at) };
                  one.done = (yield* sliced(one, own, false)) === "done";
                })(),
              ),
        );
        yield { ended: running };
      }
      const isRead = readings.every(({ done }) => done);
      if (!isRead) {
        count(outcome.failed, "throttled");
        return;
      }
      reading.left = 0;
      reading.pieces = readings.reduce((sum, { pieces }) => sum + pieces, 0);
      reading.began = began;
    }
    const ended = yield* sliced(reading, about, true);
    if (ended === "done") outcome.good += 1;
    else count(outcome.failed, ended);
    yield* stored(500, draw, 1);
  }

  /** The fleet's own job, as core/fleet/job.ts: it hands over members until all are given, and sums up when all have ended. */
  function* fleetRun(): Process {
    const draw = random(seed);
    const driven = target !== "azure";
    const pace = scenario.perMinute ?? Number.POSITIVE_INFINITY;
    const most = Math.min(MOST_PARTS, driven ? MOST_PARTS : pace);
    const running: Running[] = [];
    const looksAt = (seconds: number) =>
      function* look(): Process<Ended> {
        outcome.lists += Math.ceil((running.length + 1) / 1000);
        outcome.gets += 2;
        yield { seconds: worked(model.startCpu, model.startCpu) + seconds };
        return "looked";
      };
    for (let given = 0; given < clusters; ) {
      const upTo = Math.min(clusters, given + most);
      const begun = simulation.now;
      const handOver = driven ? 0 : (upTo - given) * drawn(model.put.seconds, draw);
      // Clusters are found page by page, when the run begins.
      yield* tried(looksAt((given === 0 ? (clusters / 100) * 0.1 : 0) + handOver), draw);
      outcome.mostPayload = Math.max(outcome.mostPayload, driven ? (upTo - given) * PART_BYTES : PART_BYTES);
      yield* steps(STEPS[target].job + STEPS[target].run, draw);
      const first = given;
      const batch = Array.from({ length: upTo - given }, (_, at) =>
        simulation.start(
          (function* part(): Process {
            if (driven) yield { room: atOnce };
            const notBefore = pace === Number.POSITIVE_INFINITY ? 0 : Math.floor(at / pace) * 60;
            yield { seconds: begun + notBefore - simulation.now };
            yield* steps(STEPS[target].part, draw);
            yield* backedUp(first + at);
            if (driven) leave(atOnce);
          })(),
        ),
      );
      running.push(...batch);
      given = upTo;
      if (driven) yield { ended: batch };
      else if (given < clusters) yield { seconds: 60 };
    }
    // Where nobody drives, the run looks itself from time to time whether all have ended.
    while (running.some(({ ended }) => !ended)) {
      yield* tried(looksAt(0), draw);
      yield* steps(STEPS[target].job, draw);
      yield { seconds: lookSeconds(simulation.now) };
    }
    outcome.gets += clusters;
    yield* tried(looksAt((clusters / READS_AT_ONCE) * drawn(model.put.seconds, draw)), draw);
    yield* stored(clusters * 200, draw, 1);
  }

  simulation.start(fleetRun());
  simulation.run();
  outcome.wallSeconds = simulation.now;
  outcome.mostInstances = instances.most;
  outcome.mostClusters = target === "azure" ? instances.most : atOnce.most;
  // A fleet's run is one execution of Google's workflow, parts and all.
  if (target === "gcp") outcome.mostHistory = outcome.transitions;
  outcome.keptBytes = outcome.good * objects * model.objectBytes;
  for (const [what, { refused }] of Object.entries(rates)) if (refused > 0) outcome.refused[what] = refused;
  const prices = PRICES[target];
  outcome.dollars = {
    compute: outcome.instanceSeconds * secondPrice(target, memoryMB),
    invocations: outcome.invocations * prices.invocations.price,
    engine: outcome.transitions * ENGINE_PRICES[target].price,
    writes: (outcome.puts + outcome.lists) * prices.writes.price,
    reads: outcome.gets * prices.reads.price,
  };
  return outcome;
}

function count(counts: Record<string, number>, what: string): void {
  counts[what] = (counts[what] ?? 0) + 1;
}

export const dollarsOfRun = ({ dollars }: Outcome): number =>
  Object.values(dollars).reduce((sum, some) => sum + some, 0);

/** A month of such runs, with what is kept of them. */
export function dollarsOfMonth(outcome: Outcome): number {
  const { target, intervalSeconds, kept, clusters, credentials } = outcome.scenario;
  const prices: Partial<Record<"secrets", { price: number }>> & (typeof PRICES)[Target] = PRICES[target];
  const runs = (730 * 3600) / intervalSeconds;
  const storage = (outcome.keptBytes * kept) / 2 ** 30;
  const secrets = credentials === "secrets" ? clusters * (prices.secrets?.price ?? 0) : 0;
  return runs * dollarsOfRun(outcome) + storage * prices.storage.price + secrets;
}

/** The limits that a run has met, each with its numbers; none where it is as it should be. */
export function breaks(outcome: Outcome): string[] {
  const { scenario, failed, wallSeconds, mostPayload, mostHistory, peakMB } = outcome;
  const limits = LIMITS[scenario.target];
  const met: string[] = [];
  const over = (is: boolean, what: string) => is && met.push(what);
  over(peakMB > scenario.memoryMB, `memory: a worker takes ${Math.round(peakMB)} of ${scenario.memoryMB} MB`);
  over(
    "no time" in failed,
    `duration: what follows the reading takes longer than an invocation (${limits.duration.value} s)`,
  );
  over(
    "throttled" in failed,
    `instances: ${failed.throttled} clusters found none of ${scenario.instances ?? instancesOf(scenario.target, scenario.memoryMB)}, however often`,
  );
  over(
    mostPayload > limits.payload.value,
    `payload: ${mostPayload} of ${limits.payload.value} bytes (${limits.payload.what})`,
  );
  over(mostHistory > limits.history.value, `history: ${mostHistory} of ${limits.history.value} ${limits.history.what}`);
  over(
    wallSeconds > scenario.intervalSeconds,
    `time: a run takes ${Math.round(wallSeconds)} s, and the next one begins after ${scenario.intervalSeconds}`,
  );
  return met;
}
