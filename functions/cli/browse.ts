import type { Command } from "commander";
import { addAction, addShared } from "./options.ts";

/** `lifeboat browse NAME` */
export function addBrowse(program: Command, signal: AbortSignal): void {
  const browse = program
    .command("browse")
    .summary("look into a backup with kubectl or k9s")
    .description(
      "Serves a backup as a read-only Kubernetes API server, for this machine alone and whoever can read its kubeconfig, until Ctrl-C. With a command, until that has ended; the exit code is the command's.",
    )
    .argument("<name>", "the backup's name")
    .argument("[command...]", "after --: a command to run with KUBECONFIG set")
    .option("--port <port>", "listen at this port of 127.0.0.1 (default: any that is free)")
    .option("--kubeconfig-out <file>", "write the kubeconfig there, where no file may be yet; it is deleted at the end")
    .addHelpText(
      "after",
      `
Examples:
  lifeboat browse full
  lifeboat browse full -- kubectl get pods -A
  lifeboat browse full -- k9s --readonly
`,
    );
  addShared(browse, ["cluster", "location", "identity", "trustedKey"]);
  addAction(browse, signal, async () => (await import("./browse/run.ts")).browse);
}
