import { createInterface } from "node:readline/promises";
import { deleteBackup, ERROR_KINDS, isLifeboatError, LifeboatError } from "../../../core/index.ts";
import { printFailure } from "../failure.ts";
import type { Invocation } from "../options.ts";
import { plural, print, say } from "../output.ts";
import { openBucket } from "../session.ts";

/** `lifeboat backup delete NAME...`: goes on past those that can't be deleted, and ends with the last one's exit code. */
export async function deleteBackups({ args, options, signal }: Invocation<{ confirm?: boolean }>): Promise<number> {
  const names = [...new Set(args[0] as string[])];
  const bucket = await openBucket(options);
  if (!options.confirm && !(await isConfirmed(names, bucket.location, signal))) {
    say("Nothing was deleted.");
    return 0;
  }
  let code = 0;
  for (const name of names) {
    try {
      await deleteBackup(bucket, name, signal);
      print(`Deleted backup ${name}`);
    } catch (error) {
      if (!isLifeboatError(error)) throw error;
      printFailure(error.message, error);
      code = ERROR_KINDS[error.kind].exit;
    }
  }
  return code;
}

async function isConfirmed(names: string[], location: string, signal: AbortSignal): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new LifeboatError(
      "invalid",
      `deleting ${plural(names.length, "backup")} needs your consent, and there is no terminal to ask on`,
      {
        hint: "add --confirm",
      },
    );
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  terminal.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  try {
    const answer = await terminal.question(`Delete ${names.join(", ")} from ${location} for good? [y/N] `, { signal });
    return /^y(es)?$/i.test(answer.trim());
  } catch (error) {
    say("");
    throw error;
  } finally {
    terminal.close();
  }
}
