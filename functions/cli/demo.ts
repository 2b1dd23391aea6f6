import type { Command } from "commander";
import { addAction } from "./options.ts";

/** `lifeboat demo`. */
export function addDemo(program: Command, signal: AbortSignal): void {
  const demo = program
    .command("demo")
    .summary("back up and restore a sample shop, with no cluster at hand")
    .description(
      "Starts two small clusters in this process, one with a sample shop in it; backs it up into ./demo, restores it into the other one and compares the two.",
    )
    .addHelpText("after", "\nExamples:\n  lifeboat demo\n");
  addAction(demo, signal, async () => (await import("./demo/run.ts")).runDemo);
}
