import { CommanderError } from "commander";
import { EXIT_CODES } from "../../core/errors.ts";
import { fail, usageFailure } from "./failure.ts";
import { settleYoungGeneration } from "./memory.ts";
import { closeOptionalValues } from "./options.ts";
import { flushOutput, toleratePipesClosed } from "./output.ts";
import { commandNamed, createProgram } from "./program.ts";

settleYoungGeneration();
toleratePipesClosed();
process.on("uncaughtException", (error) => process.exit(fail(error)));
const controller = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (controller.signal.aborted) process.exit(EXIT_CODES.cancelled);
    controller.abort(new Error(`cancelled by ${signal}`));
  });
}

const program = createProgram(controller.signal);
const args = process.argv.slice(2);
try {
  await program.parseAsync(closeOptionalValues(args, program), { from: "user" });
} catch (error) {
  process.exitCode =
    error instanceof CommanderError ? usageFailure(error, commandNamed(program, args)) : fail(error, controller.signal);
}
await flushOutput();
process.exit();
