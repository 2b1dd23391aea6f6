import { CommanderError } from "commander";
import { keepHeapSmall } from "../memory.ts";
import { fail, usageFailure } from "./failure.ts";
import { closeOptionalValues } from "./options.ts";
import { flushOutput, toleratePipesClosed } from "./output.ts";
import { commandNamed, createProgram } from "./program.ts";
import { nextStage, obeySignals } from "./signals.ts";

keepHeapSmall();
toleratePipesClosed();
process.on("uncaughtException", (error) => process.exit(fail(error)));
obeySignals();
const signal = nextStage();

const program = createProgram(signal);
const args = process.argv.slice(2);
try {
  await program.parseAsync(closeOptionalValues(args, program), { from: "user" });
} catch (error) {
  process.exitCode =
    error instanceof CommanderError ? await usageFailure(error, commandNamed(program, args)) : fail(error, signal);
}
await flushOutput();
process.exit();
