import type { CommanderError } from "commander";

let afterword: string | undefined;

/** Has a failure of this command end with a line more, which says where its log lies. */
export function tellWhereLogLies(command: string): void {
  afterword = `log: ${command}\n`;
}

/**
 * Prints what stopped a command on stderr, as one line "error: …" and perhaps one "hint: …", and gives its exit code.
 * Only what is no LifeboatError is a fault of ours, and says so. LIFEBOAT_DEBUG=1 adds the stack.
 */
export async function fail(error: unknown): Promise<number> {
  const { ERROR_KINDS, isLifeboatError, messageOf } = await import("../../core/index.ts");
  const known = isLifeboatError(error);
  const hint = known ? error.hint : "this is a fault of lifeboat: please report it with what LIFEBOAT_DEBUG=1 prints";
  printFailure(known ? messageOf(error) : `unexpected: ${messageOf(error)}`, hint);
  if (process.env.LIFEBOAT_DEBUG === "1" && error instanceof Error) process.stderr.write(`${stackOf(error)}\n`);
  return known ? ERROR_KINDS[error.kind].exit : 1;
}

/**
 * The same for commander's usage errors; `command` is the one whose help to read. Help and version that were asked for
 * are no failure: exit code 0.
 */
export function usageFailure({ code, exitCode, message }: CommanderError, command: string): number {
  if (exitCode === 0) return 0;
  if (code !== "commander.help") {
    const [text = "", suggestion] = message.replace(/^error: /, "").split("\n");
    printFailure(text, suggestion?.replace(/^\(|\)$/g, "").replace(/^D/, "d") ?? `see: ${command} --help`);
  }
  return 2;
}

/** One "error:" line and, where there is one, a "hint:" line; then where the log lies, if that was told. */
export function printFailure(message: string, hint?: string): void {
  process.stderr.write(`error: ${oneLine(message)}\n${hint ? `hint: ${oneLine(hint)}\n` : ""}${afterword ?? ""}`);
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

function stackOf(error: Error): string {
  return error.cause instanceof Error ? `${error.stack}\ncaused by: ${stackOf(error.cause)}` : `${error.stack}`;
}
