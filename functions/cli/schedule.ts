import { type Command, Option } from "commander";
import { addAction, addHiddenShared, addShared } from "./options.ts";

/** `lifeboat schedule …`: the schedules of the configuration. */
export function addSchedule(program: Command, signal: AbortSignal): void {
  const schedule = addHiddenShared(
    program
      .command("schedule")
      .description("Lists, pauses, runs and renders the schedules of the configuration.")
      .summary("list, pause, run and render the schedules of the configuration")
      .helpCommand(false),
  );

  const get = schedule
    .command("get")
    .summary("list schedules, or show one")
    .description(
      "Lists the schedules: their last backup, or what failed since, their next, and how many slots since have none. " +
        "A slot that failed counts as missed at once, another one after 15 minutes: it may be under way. " +
        "Of a fleet the exit code is 3 where a cloud can't be asked for clusters.",
    )
    .argument("[name]", "only this schedule")
    .addHelpText(
      "after",
      "\nExamples:\n  lifeboat schedule get --config lifeboat.yaml\n  lifeboat schedule get hourly -o json\n",
    );
  addShared(get, ["cluster", "location", "config", "output"]);
  addAction(get, signal, async () => (await import("./schedule/get.ts")).getSchedules);

  const next = schedule
    .command("next")
    .summary("tell when schedules are due")
    .description("Tells when schedules are due next, in their time zone and in UTC.")
    .argument("[name]", "only this schedule")
    .option("--count <number>", "how many times of each (default: 5)")
    .addHelpText("after", "\nExamples:\n  lifeboat schedule next\n  lifeboat schedule next hourly --count 24\n");
  addShared(next, ["config", "output"]);
  addAction(next, signal, async () => (await import("./schedule/next.ts")).nextSlots);

  const render = schedule
    .command("render")
    .summary("write the schedules for a cloud's clock")
    .description(
      "Prints the schedules as a cloud's own clock takes them, as Terraform's variables: EventBridge Scheduler (aws), " +
        "Cloud Scheduler (gcp), timers of Azure Functions (azure).",
    )
    .addOption(new Option("--target <cloud>", "whose clock").choices(["aws", "gcp", "azure"]).makeOptionMandatory())
    .addHelpText("after", "\nExamples:\n  lifeboat schedule render --target aws > lifeboat.auto.tfvars.json\n");
  addShared(render, ["cluster", "config"]);
  addAction(render, signal, async () => (await import("./schedule/render.ts")).printRendered);

  const run = schedule
    .command("run")
    .summary("make a schedule's backup now")
    .description("Makes a backup of a schedule now, paused or not, named by this second.")
    .argument("<name>", "the schedule's name")
    .argument("[backup]", "go on with this one, which was interrupted")
    .addHelpText(
      "after",
      "\nExamples:\n  lifeboat schedule run hourly\n  lifeboat schedule run hourly hourly-20261127205648\n",
    );
  addShared(run, ["cluster", "location", "config", "output", "verbose"]);
  addAction(run, signal, async () => (await import("./schedule/run.ts")).runSchedule);

  for (const [verb, what] of [
    ["pause", "Makes no more backups of schedules until they are unpaused."],
    ["unpause", "Lets schedules go on that are paused, in the configuration or by the command."],
  ] as const) {
    const command = schedule
      .command(verb)
      .summary(`${verb} schedules`)
      .description(`${what} It is kept in the location, so that it holds for every function that runs them.`)
      .argument("<names...>", "the schedules' names")
      .addHelpText("after", `\nExamples:\n  lifeboat schedule ${verb} hourly\n`);
    addShared(command, ["cluster", "location", "config"]);
    addAction(command, signal, async () => (await import("./schedule/pause.ts"))[`${verb}Schedules`]);
  }
}
