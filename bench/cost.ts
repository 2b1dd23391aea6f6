import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { Usage } from "../core/index.ts";

/** What a backup's run tells of itself: `lifeboat backup create -o json`, or the answer of a function that made one. */
export interface Measured {
  durationMs: number;
  usage: Usage;
}

/** A month of one cluster. */
export interface Month {
  /** Backups that are made. */
  runs: number;
  /** Backups that retention keeps. */
  kept: number;
  /** Days that the bucket keeps, and charges for, what was deleted. */
  deletedDays: number;
  /** Of the function. */
  memoryMB: number;
  /** Secrets of the platform's store: kubeconfigs, keys. */
  secrets: number;
}

/** One line of the bill. `price` is for one of `unit`, in US dollars. */
export interface Line {
  what: string;
  amount: number;
  unit: string;
  price: number;
}

/** What is charged for, in US dollars for one of `unit`; `source` is the vendor's own page. */
interface Price {
  unit: string;
  price: number;
  source: string;
}

type What =
  | "compute"
  | "invocations"
  | "writes"
  | "reads"
  | "storage"
  | "clock"
  | "transitions"
  | "secrets"
  | "alarms"
  | "no good backup";

const LAMBDA = "https://aws.amazon.com/lambda/pricing/";
const S3 = "https://aws.amazon.com/s3/pricing/";
const CLOUD_RUN = "https://cloud.google.com/run/pricing";
const CLOUD_STORAGE = "https://cloud.google.com/storage/pricing";
const FUNCTIONS = "https://azure.microsoft.com/pricing/details/functions/";
const BLOBS = "https://azure.microsoft.com/pricing/details/storage/blobs/";
const MONITOR = "https://azure.microsoft.com/pricing/details/monitor/";

/** List prices of one region (us-east-1, us-central1, East US), without free tiers and discounts, as noted in November 2026. */
export const PRICES = {
  aws: {
    compute: { unit: "GB-second, arm64", price: 0.0000133334, source: LAMBDA },
    invocations: { unit: "invocation", price: 0.0000002, source: LAMBDA },
    writes: { unit: "PUT or LIST", price: 0.000005, source: S3 },
    reads: { unit: "GET", price: 0.0000004, source: S3 },
    storage: { unit: "GB-month, Standard", price: 0.023, source: S3 },
    clock: {
      unit: "call of EventBridge Scheduler",
      price: 0.000001,
      source: "https://aws.amazon.com/eventbridge/pricing/",
    },
    transitions: {
      unit: "state transition of Step Functions, Standard",
      price: 0.000025,
      source: "https://aws.amazon.com/step-functions/pricing/",
    },
    secrets: { unit: "secret-month", price: 0.4, source: "https://aws.amazon.com/secrets-manager/pricing/" },
    alarms: { unit: "alarm-month", price: 0.1, source: "https://aws.amazon.com/cloudwatch/pricing/" },
  },
  gcp: {
    compute: { unit: "second of 1 vCPU and 2 GiB", price: 0.000024 + 2 * 0.0000025, source: CLOUD_RUN },
    invocations: { unit: "request", price: 0.0000004, source: CLOUD_RUN },
    writes: { unit: "operation of class A", price: 0.000005, source: CLOUD_STORAGE },
    reads: { unit: "operation of class B", price: 0.0000004, source: CLOUD_STORAGE },
    storage: { unit: "GB-month, Standard", price: 0.02, source: CLOUD_STORAGE },
    clock: { unit: "job-month of Cloud Scheduler", price: 0.1, source: "https://cloud.google.com/scheduler/pricing" },
    secrets: { unit: "version-month", price: 0.06, source: "https://cloud.google.com/secret-manager/pricing" },
  },
  azure: {
    compute: { unit: "GB-second, Flex Consumption", price: 0.000026, source: FUNCTIONS },
    invocations: { unit: "execution", price: 0.0000004, source: FUNCTIONS },
    writes: { unit: "write or list, ZRS", price: 0.00000625, source: BLOBS },
    reads: { unit: "read, ZRS", price: 0.0000004, source: BLOBS },
    storage: { unit: "GB-month, hot, ZRS", price: 0.026, source: BLOBS },
    alarms: { unit: "month of a log search rule, every 5 minutes", price: 1.5, source: MONITOR },
    "no good backup": { unit: "month of a log search rule, every 15 minutes", price: 0.5, source: MONITOR },
  },
} as const satisfies Record<string, Partial<Record<What, Price>>>;

export type Target = keyof typeof PRICES;

/** Of the function, as the Terraform modules make it. */
const MEMORY_MB: Record<Target, number> = { aws: 1769, gcp: 2048, azure: 2048 };

/** An hourly schedule with `{ keepLast: 24, daily: 7, weekly: 4, monthly: 12 }`, in a bucket that keeps what was deleted for 30 days. */
export const hourly = (target: Target): Month => ({
  runs: 730,
  kept: 47,
  deletedDays: 30,
  memoryMB: MEMORY_MB[target],
  secrets: 1,
});

/** What is charged for beside the run itself, in seconds: the process starts, and the log is handed over. */
const START_SECONDS = 1;
/** Objects larger than this go in parts, each of which is a write. */
const PART_BYTES = 8 * 2 ** 20;
const GB = 2 ** 30;
/** The module's. AWS: of three functions, the dead letters, and one schedule. Azure: of three functions and their dead letters. */
const ALARMS = { aws: 8, gcp: 0, azure: 6 };
/** Of one schedule that is not due more often than once an hour. */
const NO_GOOD_BACKUP = 1;
/** Of backup and of retention. On Azure each looks, in about a second, for what is due. */
const CLOCKS = 2;
/** Of the state machine for a job that one run does. */
export const TRANSITIONS = 5;
/** Azure's clock looks whenever a backup may be due, and every 15 minutes (`core/schedule/render.ts`). */
const LOOKS_AGAIN = 4 * 730;

/** The bill of a month in which every backup is like the measured one. */
export function monthlyCost(target: Target, { durationMs, usage }: Measured, month: Month): Line[] {
  const { runs, kept, deletedDays, memoryMB, secrets } = month;
  const { puts, gets, lists, storedBytes } = usage;
  const ticks = target === "azure" ? CLOCKS * (runs + LOOKS_AGAIN) : 0;
  const seconds = runs * (durationMs / 1000 + START_SECONDS) + ticks * START_SECONDS;
  const amounts: Record<What, number> = {
    compute: target === "gcp" ? seconds : (seconds * memoryMB) / 1024,
    invocations: runs + ticks,
    writes: runs * (puts + lists + Math.floor(storedBytes / PART_BYTES)),
    reads: runs * gets,
    storage: (storedBytes / GB) * (kept + (runs * deletedDays) / 30),
    clock: target === "aws" ? runs : CLOCKS,
    transitions: runs * TRANSITIONS,
    secrets,
    alarms: ALARMS[target],
    "no good backup": NO_GOOD_BACKUP,
  };
  const prices: Partial<Record<What, Price>> = PRICES[target];
  return Object.entries(prices).map(([what, { unit, price }]) => ({
    what,
    amount: amounts[what as What],
    unit,
    price,
  }));
}

export const dollarsOf = (lines: Line[]): number => lines.reduce((sum, { amount, price }) => sum + amount * price, 0);

const row = (...cells: string[]) => `| ${cells.join(" | ")} |`;

/** The bill as a table in Markdown. */
export function billTable(lines: Line[]): string {
  const rows = lines.map(({ what, amount, unit, price }) =>
    row(what, amount.toLocaleString("en", { maximumSignificantDigits: 3 }), unit, (amount * price).toFixed(4)),
  );
  return [
    "| | amount | of | US $ |",
    "|---|---|---|---|",
    ...rows,
    row("**together**", "", "", dollarsOf(lines).toFixed(2)),
  ].join("\n");
}

/** All prices as a table in Markdown. */
export function priceTable(): string {
  const rows = Object.entries(PRICES).flatMap(([target, prices]) =>
    Object.entries(prices).map(([what, { unit, price, source }]) =>
      row(target, what, unit, price.toFixed(10).replace(/\.?0+$/, ""), `<${source}>`),
    ),
  );
  return ["| | | one | US $ | list price of |", "|---|---|---|---|---|", ...rows].join("\n");
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      target: { type: "string", default: "aws" },
      runs: { type: "string" },
      kept: { type: "string" },
      "deleted-days": { type: "string" },
      "memory-mb": { type: "string" },
      secrets: { type: "string" },
      prices: { type: "boolean", default: false },
    },
  });
  const target = values.target as Target;
  const [file] = positionals;
  if (!(target in PRICES)) throw new Error(`--target is one of ${Object.keys(PRICES).join(", ")}, not ${target}`);
  if (values.prices) console.log(priceTable());
  else {
    const measured = JSON.parse(readFileSync(file === "-" || file === undefined ? 0 : file, "utf8")) as Measured;
    if (!measured.usage)
      throw new Error(
        "this document has no `usage`: take that of the run itself, lifeboat backup create -o json, or a function's answer",
      );
    const number = (given: string | undefined, usual: number) => {
      const value = given === undefined ? usual : Number(given);
      if (value >= 0) return value;
      throw new Error(`${given} is no number`);
    };
    const usual = hourly(target);
    const month: Month = {
      runs: number(values.runs, usual.runs),
      kept: number(values.kept, usual.kept),
      deletedDays: number(values["deleted-days"], usual.deletedDays),
      memoryMB: number(values["memory-mb"], usual.memoryMB),
      secrets: number(values.secrets, usual.secrets),
    };
    console.log(billTable(monthlyCost(target, measured, month)));
  }
}
