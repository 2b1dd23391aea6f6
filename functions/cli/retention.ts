import type { Command } from "commander";
import { addAction, addHiddenShared, addShared } from "./options.ts";

/** `lifeboat retention …`: what backups are deleted, and why. */
export function addRetention(program: Command, signal: AbortSignal): void {
  const retention = addHiddenShared(
    program
      .command("retention")
      .description("Deletes the backups that nothing keeps: by the rules of their schedules, or by their own ttl.")
      .summary("delete the backups that nothing keeps")
      .helpCommand(false),
  );

  const preview = retention
    .command("preview")
    .summary("show what would be deleted, and why")
    .description("Shows what `retention run` would delete now, and why. Nothing is written.")
    .option("--schedule <name>", "only the backups of this schedule")
    .option("--details", "what stays, too")
    .addHelpText(
      "after",
      "\nExamples:\n  lifeboat retention preview --config lifeboat.yaml\n  lifeboat retention preview --schedule hourly --details\n",
    );
  addShared(preview, ["cluster", "location", "config", "output"]);
  addAction(preview, signal, async () => (await import("./retention/preview.ts")).previewAll);

  const run = retention
    .command("run")
    .summary("delete it")
    .description(
      "Deletes what `retention preview` shows. Never the newest good backup of a schedule, nothing that is pinned or locked.",
    )
    .option("--schedule <name>", "only the backups of this schedule")
    .option("--yes", "do not ask")
    .addHelpText("after", "\nExamples:\n  lifeboat retention run\n  lifeboat retention run --yes -o json\n");
  addShared(run, ["cluster", "location", "config", "output", "verbose"]);
  addAction(run, signal, async () => (await import("./retention/run.ts")).runAll);
}
