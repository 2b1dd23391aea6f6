import { createInterface } from "node:readline/promises";
import { LifeboatError } from "../../core/index.ts";
import { say } from "./output.ts";

/**
 * Whether a person at the terminal says yes to `question`. Throws `invalid` where there is no terminal to ask on: `wanted`
 * says what needs consent, `flag` how to give it beforehand.
 */
export async function consents(
  { question, wanted, flag }: { question: string; wanted: string; flag: string },
  signal: AbortSignal,
): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new LifeboatError("invalid", `${wanted} needs your consent, and there is no terminal to ask on`, {
      hint: `add ${flag}`,
    });
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  terminal.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  try {
    const answer = await terminal.question(`${question} [y/N] `, { signal });
    return /^y(es)?$/i.test(answer.trim());
  } catch (error) {
    say("");
    throw error;
  } finally {
    terminal.close();
  }
}
