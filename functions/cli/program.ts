import { Command } from "commander";
import { EXIT_CODES } from "../../core/errors.ts";
import manifest from "../../package.json" with { type: "json" };
import { addBackup } from "./backup.ts";
import { addBrowse } from "./browse.ts";
import { addCompletion } from "./completion.ts";
import { addDemo } from "./demo.ts";
import { addFleet } from "./fleet.ts";
import { addLocation } from "./location.ts";
import { addHiddenShared } from "./options.ts";
import { addRestore } from "./restore.ts";
import { addRetention } from "./retention.ts";
import { addSchedule } from "./schedule.ts";
import { addServe } from "./serve.ts";

const EXAMPLES = `
Examples:
  # Back up the cluster of the current kubeconfig context into a directory
  lifeboat backup create --location ./backups

  # Restore it into another cluster
  lifeboat restore create --from-backup backup-20260821010000 --context other

  # See it work, with no cluster at hand
  lifeboat demo

Environment:
  LIFEBOAT_LOCATION   the default of --location
  LIFEBOAT_CONFIG     the default of --config
  KUBECONFIG          the default of --kubeconfig; one file or more (a:b)
  NO_COLOR            no colours
  LIFEBOAT_DEBUG=1    errors with their stack

Relative paths in a configuration file begin at its folder, those in flags and
variables at the working directory.

Exit codes:
${Object.entries(EXIT_CODES)
  .map(([meaning, code]) => `  ${String(code).padEnd(3)}  ${meaning}\n`)
  .join("")}`;

/** How a sub-command stands in its parent's help: with its arguments, without "[options]". */
function subcommandTerm(command: Command): string {
  const terms = command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  return [command.name(), ...terms].join(" ");
}

/** The command that `args` name, as far as they name one, "lifeboat backup create", and its flags. */
export function commandNamed(program: Command, args: string[]): { path: string; flags: string[] } {
  let command = program;
  const names = [program.name()];
  for (const arg of args) {
    const next = command.commands.find((child) => child.name() === arg);
    if (!next) continue;
    command = next;
    names.push(arg);
  }
  return { path: names.join(" "), flags: command.options.flatMap(({ long }) => long ?? []) };
}

/** The whole command line as a commander tree; `signal` calls off what its actions run. */
export function createProgram(signal: AbortSignal): Command {
  const program = new Command("lifeboat")
    .description("Backs up whole Kubernetes clusters from outside, in Velero's format, and restores them.")
    .version(manifest.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand(false)
    .enablePositionalOptions()
    .exitOverride()
    .configureHelp({ subcommandTerm, optionDescription: ({ description }) => description, minWidthToWrap: 30 })
    .configureOutput({ outputError: () => {} })
    .addHelpText("after", EXAMPLES);
  addHiddenShared(program);
  addBackup(program, signal);
  addBrowse(program, signal);
  addRestore(program, signal);
  addSchedule(program, signal);
  addFleet(program, signal);
  addRetention(program, signal);
  addLocation(program, signal);
  addServe(program, signal);
  addDemo(program, signal);
  addCompletion(program, signal);
  return program;
}
