import type { Command } from "commander";
import { addAction, addHiddenShared, addShared } from "./options.ts";

/** `lifeboat fleet …`: the clusters of a configuration that has schedules of many. */
export function addFleet(program: Command, signal: AbortSignal): void {
  const fleet = addHiddenShared(
    program
      .command("fleet")
      .summary("tell how the clusters of a fleet stand")
      .description("Tells how the clusters stand that a configuration names and discovers.")
      .helpCommand(false),
  );

  const get = fleet
    .command("get")
    .summary("list the clusters: last good backup, the next one, problems")
    .description(
      "Lists the clusters of the configuration and those discovered in their clouds, with their newest good backup, how much is in " +
        "it, when the next one is due, and what somebody should see to. Each cluster's own location is read. " +
        "The exit code is 3 where a cluster has problems, or a cloud can't be asked.",
    )
    .addHelpText(
      "after",
      "\nExamples:\n  lifeboat fleet get\n  lifeboat fleet get -o json\n  lifeboat backup get --cluster prod-eu\n",
    );
  addShared(get, ["location", "config", "output"]);
  addAction(get, signal, async () => (await import("./fleet/get.ts")).getFleet);
}
