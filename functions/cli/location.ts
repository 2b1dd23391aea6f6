import type { Command } from "commander";
import { addAction, addHiddenShared, addShared } from "./options.ts";

/** `lifeboat location …`: where backups lie. */
export function addLocation(program: Command, signal: AbortSignal): void {
  const location = addHiddenShared(
    program
      .command("location")
      .description("Checks whether backups can be made, and found again.")
      .summary("check whether backups can be made")
      .helpCommand(false),
  );

  const check = location
    .command("check")
    .summary("ask cluster and bucket what a backup needs of them")
    .description(
      "Asks, before the first backup and when one fails: can the clusters be reached, are the credentials good and for how " +
        "long, may everything be listed and Secrets be read, may objects be created in the bucket and not be deleted, is the " +
        "clock right. One line for each question and, where something is wrong, what to do. Of all clusters of the " +
        "configuration, unless one is named. Nothing is changed, but for a probe of some bytes in the bucket.",
    )
    .addHelpText(
      "after",
      "\nExamples:\n  lifeboat location check --config lifeboat.yaml\n  lifeboat location check --context blue --location ./backups\n",
    );
  addShared(check, ["kubeconfig", "context", "cluster", "location", "config", "output"]);
  addAction(check, signal, async () => (await import("./location/check.ts")).checkLocation);
}
