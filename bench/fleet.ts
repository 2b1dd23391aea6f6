import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { isLifeboatError, LifeboatError, messageOf } from "../core/errors.ts";
import type { Target } from "./cost.ts";
import { cpusOf, instancesOf, LIMITS, REVISION, SIZES, secondPrice } from "./fleet/limits.ts";
import type { Recording } from "./fleet/recording.ts";
import {
  breaks,
  dollarsOfMonth,
  dollarsOfRun,
  GIVEN_UP_SECONDS,
  modelOf,
  type Outcome,
  RETRY_SECONDS,
  type Scenario,
  simulate,
  sliceSeconds,
} from "./fleet/simulate.ts";

/**
 * Replays the backups of a fleet against what `bench/fleet/record.ts` has measured and the platforms' limits, and says what a run
 * takes, what it costs, and which limit is met first where the fleet or its clusters grow. The tables are those of docs/scale.md.
 */
export const TARGETS: Target[] = ["aws", "gcp", "azure"];

export const recorded = (): Recording =>
  JSON.parse(readFileSync(join(import.meta.dirname, "fleet/recording.json"), "utf8"));

/** The memory of a function as the modules make it. */
const MEMORY_MB: Record<Target, number> = { aws: 1769, gcp: 2048, azure: 2048 };
/** As many clusters at a time as an account allows that has asked for nothing more. */
const MOST: Record<Target, number> = {
  aws: instancesOf("aws", MEMORY_MB.aws),
  gcp: LIMITS.gcp.parts.value,
  azure: instancesOf("azure", MEMORY_MB.azure),
};

/** 1,000 clusters of 100,000 objects, every hour; 2 in 100 don't answer, 2 take ten times as long to. */
export const fleetOf = (target: Target, change: Partial<Scenario> = {}): Scenario => ({
  ...{ target, clusters: 1000, objects: 100_000, concurrency: 10, memoryMB: MEMORY_MB[target], shards: 1 },
  ...{ credentials: "cloud", dead: 0.02, slow: 0.02, slowness: 10, roundTripMs: 2 },
  ...{ intervalSeconds: 3600, kept: 47, seed: 1, ...change },
});

const row = (...cells: (string | number)[]) => `| ${cells.join(" | ")} |`;
const table = (head: string[], rows: (string | number)[][]) =>
  [row(...head), row(...head.map(() => "---")), ...rows.map((cells) => row(...cells))].join("\n");
const number = (value: number, digits = 0) =>
  value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });
const time = (seconds: number) =>
  seconds < 100
    ? `${number(seconds, 1)} s`
    : seconds < 7200
      ? `${number(seconds / 60, 1)} min`
      : `${number(seconds / 3600, 1)} h`;
const NAMES: Record<Target, string> = { aws: "AWS", gcp: "Google Cloud", azure: "Azure" };

/** What one run takes on each platform, with so many clusters at a time. */
export function runTable(recording: Recording, outcomes = runs(recording)): string {
  const head = [
    "",
    "at a time",
    "a run",
    "good / not",
    "invocations",
    "cold",
    "refused, and tried again",
    "requests to the bucket",
    "a run, US $",
    "a month, US $",
  ];
  const rows = outcomes.map((outcome) => {
    const { scenario, wallSeconds, good, failed, invocations, coldStarts, refused, puts, gets, lists } = outcome;
    const bad = Object.values(failed).reduce((sum, some) => sum + some, 0);
    return [
      NAMES[scenario.target],
      outcome.mostInstances,
      time(wallSeconds),
      `${good} / ${bad}`,
      number(invocations),
      number(coldStarts),
      Object.entries(refused)
        .map(([what, count]) => `${what} ${number(count)}`)
        .join(", ") || "-",
      number(puts + gets + lists),
      number(dollarsOfRun(outcome), 2),
      number(dollarsOfMonth(outcome)),
    ];
  });
  return table(head, rows);
}

export function runs(recording: Recording): Outcome[] {
  return TARGETS.flatMap((target) =>
    [10, 50, MOST[target]]
      .filter((concurrency, at, all) => concurrency <= MOST[target] && all.indexOf(concurrency) === at)
      .map((concurrency) => simulate(fleetOf(target, { concurrency }), recording)),
  );
}

/** What of the bill is what, of the run as it is set by default. */
export function billOfRunTable(recording: Recording): string {
  const rows = TARGETS.map((target) => {
    const outcome = simulate(fleetOf(target), recording);
    const { compute, invocations, engine, writes, reads } = outcome.dollars;
    const runs = (730 * 3600) / outcome.scenario.intervalSeconds;
    const kept = dollarsOfMonth(outcome) - runs * dollarsOfRun(outcome);
    return [
      NAMES[target],
      ...[compute, invocations, engine, writes, reads].map((some) => number(runs * some, 0)),
      number(kept),
      number(dollarsOfMonth(outcome)),
    ];
  });
  return table(["a month, US $", "compute", "invocations", "engine", "writes", "reads", "storage", "together"], rows);
}

const MOST_DOUBLINGS = 12;

/** The last size that is well and the first that is not, doubling it; with what was met. */
export function firstLimit(
  scenario: Scenario,
  what: "clusters" | "objects",
  recording: Recording,
): { well: number; broken?: number; met: string[] } {
  let well = 0;
  for (let size = scenario[what], doublings = 0; doublings <= MOST_DOUBLINGS; size *= 2, doublings++) {
    const met = breaks(simulate({ ...scenario, [what]: size }, recording));
    if (met.length > 0) return { well, broken: size, met };
    well = size;
  }
  return { well, met: [] };
}

/** Of each platform: what is met first where there are more clusters, and where they are larger. */
export function limitTable(recording: Recording): string {
  const rows = TARGETS.flatMap((target) => {
    const few = fleetOf(target, { clusters: 10, dead: 0, slow: 0 });
    const cases: ["clusters" | "objects", Scenario, string][] = [
      ["clusters", fleetOf(target), "of 100,000 objects"],
      ["clusters", fleetOf(target, { concurrency: MOST[target] }), "of 100,000 objects"],
      ["objects", few, "in each of 10 clusters"],
    ];
    return cases.map(([what, scenario, of]) => {
      const { well, broken, met } = firstLimit(scenario, what, recording);
      const size = broken === undefined ? "-" : number(broken);
      return [
        ...[NAMES[target], scenario.concurrency, `${number(well)} ${what} ${of}`, size],
        met.join("; ") || `nothing is met up to ${MOST_DOUBLINGS} doublings`,
      ];
    });
  });
  return table(["", "at a time", "well with", "not with", "since"], rows);
}

/** What one backup of a cluster takes and costs by the size of its function; the cheapest of each cluster in bold. */
export function sizeTable(recording: Recording): string {
  const clusters = [1_000, 10_000, 100_000, 500_000];
  const head = ["", "MB", "vCPU", ...clusters.map((objects) => `${number(objects)} objects`)];
  const rows = TARGETS.flatMap((target) => {
    const backup = (memoryMB: number, objects: number) => {
      const change = { clusters: 1, dead: 0, slow: 0, concurrency: 1, memoryMB, objects };
      const outcome = simulate(fleetOf(target, change), recording);
      const seconds = outcome.backupSeconds;
      const isWell = outcome.good === 1 && outcome.peakMB <= memoryMB;
      return { alone: seconds * secondPrice(target, memoryMB), seconds, isWell };
    };
    const all = SIZES[target].map(([memoryMB, cpus]) => ({
      ...{ memoryMB, cpus },
      made: clusters.map((objects) => backup(memoryMB, objects)),
    }));
    return all.map(({ memoryMB, cpus, made }) => [
      NAMES[target],
      memoryMB,
      number(cpus, 2),
      ...made.map(({ alone, seconds, isWell }, at) => {
        if (!isWell) return "-";
        const least = Math.min(...all.flatMap(({ made }) => (made[at]!.isWell ? [made[at]!.alone] : [])));
        const text = `${time(seconds)}, ${number(1000 * alone, 3)}`;
        return alone === least ? `**${text}**` : text;
      }),
    ]);
  });
  return table(head, rows);
}

/** One large cluster, read by one worker and in shards. */
export function shardTable(recording: Recording): string {
  const sizes = [500_000, 2_000_000, 8_000_000];
  const head = ["shards", ...sizes.map((objects) => `${number(objects)} objects`)];
  const rows = [1, 2, 4, 8, 16].map((shards) => [
    shards,
    ...sizes.map((objects) => {
      const change = { clusters: 1, dead: 0, slow: 0, concurrency: 20, objects, shards };
      const outcome = simulate(fleetOf("aws", change), recording);
      const { wallSeconds, readingSeconds, slices } = outcome;
      const met = breaks(outcome);
      return met.length === 0
        ? `${time(wallSeconds)}, read in ${time(readingSeconds)}, ${slices} slices, ${number(dollarsOfRun(outcome), 3)} US $`
        : met.join("; ");
    }),
  ]);
  return table(head, rows);
}

/** Up to how many objects a cluster is read while its API server has the first revision for sure: beyond, a backup's grade may be lower. */
export function photographTable(recording: Recording): string {
  const rows = [1, 2, 4, 8].map((shards) => {
    const change = { clusters: 1, dead: 0, slow: 0, concurrency: 20, shards };
    const reads = (objects: number) => simulate(fleetOf("aws", { ...change, objects }), recording).readingSeconds;
    let well = 100_000;
    while (reads(2 * well) <= REVISION.value) well *= 2;
    return [shards, `${number(well)} in ${time(reads(well))}`, `${number(2 * well)} in ${time(reads(2 * well))}`];
  });
  return table(["shards", "a photograph for sure", "no longer for sure"], rows);
}

/** What is reckoned with, each in its place in the arithmetic. */
export function modelTable(recording: Recording): string {
  const model = modelOf(recording);
  const mean = (all: number[]) => all.reduce((sum, one) => sum + one, 0) / all.length;
  return table(
    ["", "", "from"],
    [
      [
        "CPU of a backup beside its objects, of each slice more",
        `${number(model.startCpu, 2)} s, ${number(model.sliceCpu, 2)} s`,
        "backups of several sizes as functions make them, and one in slices",
      ],
      ["CPU of an object, all threads", `${number(1e6 * model.objectCpu, 1)} µs`, "the same"],
      ["CPU of an object, main thread", `${number(1e6 * model.objectMain, 1)} µs`, "the same"],
      ["bytes stored of an object", `${number(model.objectBytes)} B`, "the same"],
      [
        "memory",
        `${number(model.peak.start)} MB and ${number(1e6 * model.peak.each)} MB for each million objects`,
        "the same",
      ],
      [`a page of ${model.page.objects} objects`, `${number(1000 * mean(model.page.seconds), 1)} ms`, "kube-apiserver"],
      ["a small object stored", `${number(1000 * mean(model.put.seconds), 1)} ms`, "an S3 server"],
      [
        "a MiB stored, a MiB read",
        `${number(1000 * 2 ** 20 * model.put.perByte, 1)} ms, ${number(1000 * 2 ** 20 * model.getPerByte, 1)} ms`,
        "the same",
      ],
      ...TARGETS.map((target) => [
        `cold start of the function on ${NAMES[target]}`,
        `${number(recording.coldStartMs[target])} ms`,
        "bench/coldstart.ts",
      ]),
    ],
  );
}

/** All limits that are reckoned with. */
export function platformTable(): string {
  const rows = TARGETS.flatMap((target) =>
    Object.values(LIMITS[target]).map((limit: { what: string; value: number; unit: string; source?: string }) => [
      target,
      limit.what,
      `${number(limit.value)}${limit.unit.startsWith("/") ? limit.unit : ` ${limit.unit}`}`.trim(),
      limit.source ? `<${limit.source}>` : "as it is set, or taken for lack of a number",
    ]),
  );
  return table(["", "limit", "", "source"], [...new Map(rows.map((cells) => [cells.join(), cells])).values()]);
}

/** Of a run: what it is reckoned from, line by line. What comes out is near to what is simulated, which has more in it. */
export function arithmetic(target: Target, recording: Recording): string[] {
  const scenario = fleetOf(target);
  const { objects, memoryMB, clusters, concurrency, dead, slow, slowness, roundTripMs } = scenario;
  const model = modelOf(recording);
  const cpus = cpusOf(target, memoryMB);
  const pages = Math.ceil(objects / model.page.objects);
  const mean = (all: number[]) => all.reduce((sum, one) => sum + one, 0) / all.length;
  const server = mean(model.page.seconds) + roundTripMs / 1000;
  const work = model.page.objects * Math.max(model.objectCpu / cpus, model.objectMain / Math.min(1, cpus));
  const page = mean(model.page.seconds.map((one) => Math.max(work, one + roundTripMs / 1000)));
  const mib = (objects * model.objectBytes) / 2 ** 20;
  const storing =
    mib * 2 ** 20 * (2 * model.put.perByte + model.getPerByte) + model.usage.puts * mean(model.put.seconds);
  const start = model.startCpu / Math.min(1, cpus);
  const one = start + pages * page + storing;
  const lost = 3 * GIVEN_UP_SECONDS + RETRY_SECONDS * (1 + 2) * (target === "aws" ? 0.5 : 1);
  const ofSlow = start + pages * slowness * server + storing;
  const places =
    clusters * ((1 - dead - slow) * one + slow * ofSlow + dead * (target === "azure" ? 3 * GIVEN_UP_SECONDS : lost));
  const ms = (seconds: number) => `${number(1000 * seconds, 1)} ms`;
  const price = secondPrice(target, memoryMB);
  const paid = clusters * ((1 - dead - slow) * one + slow * ofSlow + dead * 3 * GIVEN_UP_SECONDS);
  return [
    `${number(objects)} objects are ${number(pages)} pages. Each takes ${ms(work)} of CPU or, if that is more, what the API server and the way take, ${ms(server)} in the mean: ${ms(page)}`,
    `a backup: ${number(start, 1)} s + ${number(pages)} × ${ms(page)} + ${number(storing, 1)} s for ${number(mib, 1)} MiB, in pieces and joined = ${number(one, 1)} s, of the ${number(sliceSeconds(target).read)} s of a slice`,
    `a dead cluster: 3 × ${GIVEN_UP_SECONDS} s, and the waits between = ${number(lost)} s${target === "azure" ? ", the waits in the queue" : ", all of them in its place"}; a slow one ${number(ofSlow, 1)} s`,
    `a run: ${number(clusters * (1 - dead - slow))} × ${number(one, 1)} s + ${number(clusters * slow)} × ${number(ofSlow, 1)} s + ${number(clusters * dead)} × ${number(target === "azure" ? 3 * GIVEN_UP_SECONDS : lost)} s = ${number(places)} s, in ${concurrency} places ${time(places / concurrency)}`,
    `its compute: ${number(paid)} s × ${price.toPrecision(3)} US $ = ${number(paid * price, 2)} US $`,
  ];
}

/** The flags that are numbers, each with what it is of a scenario. */
const NUMBERS = {
  ...{ clusters: "clusters", objects: "objects", concurrency: "concurrency", "per-minute": "perMinute" },
  ...{ "memory-mb": "memoryMB", shards: "shards", instances: "instances", interval: "intervalSeconds", seed: "seed" },
} as const satisfies Record<string, keyof Scenario>;

const USAGE = `usage: node bench/fleet.ts [--recording FILE] [--target ${TARGETS.join("|")} ${Object.keys(NUMBERS)
  .map((flag) => `[--${flag} N]`)
  .join(" ")}]`;

const refused = (message: string) => new LifeboatError("invalid", message);

/** What is to be simulated; without a scenario, all tables. Throws `invalid`. */
function readFlags(args: string[]): { recording: Recording; scenario?: Scenario } {
  const text = { type: "string" } as const;
  const numbers = Object.keys(NUMBERS) as (keyof typeof NUMBERS)[];
  const options = { recording: text, target: text, ...Object.fromEntries(numbers.map((flag) => [flag, text])) };
  let values: Partial<Record<"recording" | "target" | keyof typeof NUMBERS, string>>;
  try {
    ({ values } = parseArgs({ args, options }));
  } catch (error) {
    throw refused(messageOf(error));
  }
  const recording = values.recording === undefined ? recorded() : readRecording(values.recording);
  const given = numbers.flatMap((flag) => (values[flag] === undefined ? [] : [[flag, values[flag]] as const]));
  const target = TARGETS.find((one) => one === values.target);
  if (values.target !== undefined && !target)
    throw refused(`--target is ${TARGETS.join(", ").replace(/, (?=\w+$)/, " or ")}, not ${values.target}`);
  if (!target) {
    if (given[0]) throw refused(`--${given[0][0]} goes with --target`);
    return { recording };
  }
  const change = given.map(([flag, value]) => {
    if (!/^[1-9]\d*$/.test(value)) throw refused(`--${flag} is a whole number from 1, not ${value}`);
    return [NUMBERS[flag], Number(value)];
  });
  return { recording, scenario: fleetOf(target, Object.fromEntries(change)) };
}

function readRecording(file: string): Recording {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw refused(`--recording ${file} can't be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  try {
    const recording = JSON.parse(text) as Recording;
    modelOf(recording);
    return recording;
  } catch {
    throw refused(`--recording ${file} was not made by bench/fleet/record.ts`);
  }
}

/** Prints what the flags ask for; gives the exit code. */
function main(args: string[]): number {
  const print = (text: string) => process.stdout.write(`${text}\n`);
  let flags: ReturnType<typeof readFlags>;
  try {
    flags = readFlags(args);
  } catch (error) {
    if (!isLifeboatError(error, "invalid")) throw error;
    process.stderr.write(`${error.message}\n${USAGE}\n`);
    return 2;
  }
  const { recording, scenario } = flags;
  if (scenario) {
    const outcome = simulate(scenario, recording);
    const told = { ...outcome, breaks: breaks(outcome), dollarsOfMonth: dollarsOfMonth(outcome) };
    print(JSON.stringify(told, undefined, 2));
    return 0;
  }
  const parts: [string, string][] = [
    ["What is reckoned with", modelTable(recording)],
    ["A run", runTable(recording)],
    ["The bill", billOfRunTable(recording)],
    ["Where it breaks first", limitTable(recording)],
    ["Sizes of functions", sizeTable(recording)],
    ["Shards, on AWS", shardTable(recording)],
    ["Photographs", photographTable(recording)],
    ["Limits", platformTable()],
    ["Arithmetic", TARGETS.map((target) => `${NAMES[target]}: ${arithmetic(target, recording).join("; ")}`).join("\n")],
  ];
  for (const [title, text] of parts) print(`${title}\n\n${text}\n`);
  return 0;
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
