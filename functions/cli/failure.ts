import type { CommanderError } from "commander";
import { ERROR_KINDS, EXIT_CODES, isLifeboatError, messageOf } from "../../core/errors.ts";
import type { RunLog } from "../../core/index.ts";

/** What stopped a run that left its log, with the command that prints that log, and what it left half done. */
class StoppedRun extends Error {
  readonly logs: string;
  readonly unfinished: string;

  constructor(cause: unknown, logs: string, unfinished: string[]) {
    super(messageOf(cause), { cause });
    this.logs = logs;
    this.unfinished = unfinished.join("\n");
  }
}

/**
 * Does a run's work. Where it fails and the command `logs` prints the log of just this run, the failure will end with
 * a line that says so; after a conflict that command prints the log of the run that has the name.
 */
export async function pointingToLog<T>(log: RunLog, logs: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw log.left && !isLifeboatError(error, "conflict") ? new StoppedRun(error, logs, log.unfinished) : error;
  }
}

/**
 * Prints what stopped a command on stderr, as one line "error: …", perhaps some "hint: …" and one "log: …", and gives
 * its exit code. Only what is neither a LifeboatError nor the reason of `signal` is a fault of ours, and says so.
 * LIFEBOAT_DEBUG=1 adds the stack.
 */
export function fail(thrown: unknown, signal?: AbortSignal): number {
  const stopped = thrown instanceof StoppedRun ? thrown : undefined;
  const { logs, unfinished } = stopped ?? {};
  const error = stopped ? stopped.cause : thrown;
  if (signal?.aborted) {
    printFailure(messageOf(signal.reason), { hint: unfinished, logs });
    return EXIT_CODES.cancelled;
  }
  const known = isLifeboatError(error);
  const hint = known ? error.hint : "this is a fault of lifeboat: please report it with what LIFEBOAT_DEBUG=1 prints";
  const hints = [unfinished, hint].filter(Boolean).join("\n");
  printFailure(known ? messageOf(error) : `unexpected: ${messageOf(error)}`, { hint: hints, logs });
  if (process.env.LIFEBOAT_DEBUG === "1" && error instanceof Error) process.stderr.write(`${stackOf(error)}\n`);
  return known ? ERROR_KINDS[error.kind].exit : EXIT_CODES.failed;
}

/** The flag that may be meant by the one that gives consent to another command. */
const CONSENT: Record<string, string> = { "--yes": "--confirm", "--confirm": "--yes" };

/**
 * The same for commander's usage errors, of the command at `path` with these flags. Help and version that were asked for
 * are no failure: exit code 0. Which flag one with a value (`--flag=value`) is like, commander doesn't find.
 */
export async function usageFailure(
  { code, exitCode, message }: CommanderError,
  { path, flags }: { path: string; flags: string[] },
): Promise<number> {
  if (exitCode === 0) return EXIT_CODES.ok;
  if (code !== "commander.help") {
    const [said = "", suggestion] = message.replace(/^error: /, "").split("\n");
    const text = said.replace(/^(unknown option '--[^=']+)=.*'$/, "$1'");
    const flag = /^unknown option '(.+)'$/.exec(text)?.[1] ?? "";
    const consent = CONSENT[flag] ?? "";
    const near = flags.includes(consent) ? consent : said === text ? undefined : await flagMeant(flag, flags);
    const similar = near ? `did you mean ${near}?` : suggestion?.replace(/^\(|\)$/g, "").replace(/^D/, "d");
    printFailure(text, { hint: similar ?? `see: ${path} --help` });
  }
  return EXIT_CODES.invalid;
}

/** Loads the core, which no other usage error needs. */
async function flagMeant(flag: string, flags: string[]): Promise<string | undefined> {
  const { meant } = await import("../../core/index.ts");
  return meant(flag, flags);
}

/** One "error:" line, a "hint:" line for each line of a hint, and a "log:" line with the command that prints the log. */
export function printFailure(message: string, { hint, logs }: { hint?: string; logs?: string } = {}): void {
  const hints = (hint ?? "").split("\n").map((line) => ["hint", line] as const);
  const lines = [["error", message] as const, ...hints, ["log", logs] as const];
  process.stderr.write(lines.map(([name, text]) => (text ? `${name}: ${oneLine(text)}\n` : "")).join(""));
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

function stackOf(error: Error): string {
  return error.cause instanceof Error ? `${error.stack}\ncaused by: ${stackOf(error.cause)}` : `${error.stack}`;
}
