import { styleText } from "node:util";
import {
  type Check,
  type CheckDocument,
  type Checked,
  type CheckedCluster,
  check,
  configuredClusters,
  ERROR_KINDS,
  EXIT_CODES,
  fleetsClusters,
  isFleet,
  isLifeboatError,
  openBucket,
  openSecrets,
} from "../../../core/index.ts";
import { configSource, fleetConfig } from "../config.ts";
import type { Invocation, SharedOptions } from "../options.ts";
import { plural, printable, printResult, say } from "../output.ts";
import { terminal } from "../platform.ts";
import { startProgress } from "../progress.ts";
import { openCluster } from "../session.ts";

/** `lifeboat location check`: the exit code is that of the first question that failed. */
export async function checkLocation({ options, signal }: Invocation): Promise<number> {
  const progress = startProgress("checking", options.cluster ?? options.location ?? "");
  let document: CheckDocument;
  try {
    document = await check(() => checkedBy(options, signal), { signal });
  } finally {
    progress.end();
  }
  await printResult(options.output, document, () => tableOf(document));
  say(summary(document));
  const failed = document.checks.find(({ state }) => state === "failed");
  if (!failed) return EXIT_CODES.ok;
  return failed.error ? ERROR_KINDS[failed.error].exit : EXIT_CODES.failed;
}

async function checkedBy(options: SharedOptions, signal: AbortSignal): Promise<Checked> {
  const config = await fleetConfig(options);
  const secrets = openSecrets(terminal);
  const sources = { secrets, clusters: terminal.clusters };
  const named = options.kubeconfig !== undefined || options.context !== undefined;
  return {
    ...{ config, secrets, source: await configSource(options) },
    openBucket: (location) => openBucket(terminal, location),
    disks: terminal.disks,
    ...(!named && isFleet(config)
      ? await fleetsClusters(config, sources, signal)
      : {
          clusters:
            named || Object.keys(config.clusters).length === 0
              ? await kubeconfigCluster(options, named)
              : configuredClusters(config, { name: options.cluster, ...sources }),
        }),
  };
}

/** The cluster of the kubeconfig; none where nobody has named one and there is none. */
async function kubeconfigCluster(options: SharedOptions, named: boolean): Promise<CheckedCluster[]> {
  const from = `kubeconfig ${options.kubeconfig ?? process.env.KUBECONFIG ?? "~/.kube/config"}`;
  const open = (signal: AbortSignal) => openCluster(options, signal);
  try {
    const kube = await open(new AbortController().signal);
    await kube.close();
    return [{ name: kube.context, from, open, specs: [] }];
  } catch (error) {
    if (!isLifeboatError(error)) throw error;
    const told = named || options.cluster !== undefined || process.env.KUBECONFIG;
    return told ? [{ name: options.cluster ?? options.context ?? "kubeconfig", from, open, specs: [] }] : [];
  }
}

const STATES = {
  ok: ["ok", "green"],
  note: ["note", "cyan"],
  warning: ["warning", "yellow"],
  failed: ["failed", "red"],
  notAsked: ["-", "gray"],
} as const;

/** Of the columns of states and of questions. */
const WIDTHS = [7, 12] as const;

/** Subjects one below the other; of each what was not asked is one line, and a subject of which nothing was is none. */
function tableOf({ checks, location }: CheckDocument): string {
  const headingOf = ({ subject, name = subject === "location" ? location : undefined }: Check) =>
    name === undefined ? subject : `${subject} ${printable(name)}`;
  const blocks = [...Map.groupBy(checks, headingOf)].flatMap(([heading, checks]) => {
    const shown = checks.filter(({ state, todo }) => state !== "notAsked" || todo);
    return shown.length > 0 ? [[styleText("bold", heading), ...shown.flatMap(linesOf), ...notAskedLine(checks)]] : [];
  });
  return blocks.map((lines) => `${lines.join("\n")}\n`).join("\n");
}

/** A question's line, and what to do, unless the one before has just said so. */
function linesOf({ question, state, message, todo }: Check, at: number, all: Check[]): string[] {
  const [word, colour] = STATES[state];
  const line = row(styleText(colour, word.padEnd(WIDTHS[0])), question, printable(message));
  if (!todo || todo === all[at - 1]?.todo) return [line];
  const below = todo.split("\n").map((one, at) => `${at === 0 ? "→" : " "} ${printable(one)}`);
  return [line, ...below.map((text) => row(" ".repeat(WIDTHS[0]), "", text))];
}

/** Those of a subject that were not asked, by the reason. */
function notAskedLine(checks: Check[]): string[] {
  const left = checks.filter(({ state, todo }) => state === "notAsked" && !todo);
  if (left.length === 0) return [];
  const reasons = [...Map.groupBy(left, ({ message }) => message)];
  const told = reasons.map(([reason, some]) => `${some.map(({ question }) => question).join(", ")} (${reason})`);
  return [row(styleText("gray", "-".padEnd(WIDTHS[0])), "not asked", styleText("gray", printable(told.join(", "))))];
}

function row(state: string, question: string, text: string): string {
  return `  ${state}  ${question.padEnd(WIDTHS[1])}  ${text}`;
}

/** "Nothing failed, 2 notes", "1 failed, 1 warning". */
function summary({ checks }: CheckDocument): string {
  const count = (wanted: Check["state"]) => checks.filter(({ state }) => state === wanted).length;
  const others = [
    ...(count("warning") ? [plural(count("warning"), "warning")] : []),
    ...(count("note") ? [plural(count("note"), "note")] : []),
  ].join(", ");
  const verdict = count("failed") ? `${count("failed")} failed` : "Nothing failed";
  return others ? `${verdict}, ${others}` : verdict;
}
