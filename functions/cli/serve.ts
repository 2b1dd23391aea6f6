import type { Command } from "commander";
import { addAction, addShared } from "./options.ts";

/** `lifeboat serve` */
export function addServe(program: Command, signal: AbortSignal): void {
  const serve = program
    .command("serve")
    .summary("serve the HTTP API and run the schedules, in this process")
    .description(
      "Serves the HTTP API and runs the configuration's schedules in this process, until it gets SIGTERM or SIGINT. " +
        "What runs then is finished; a second signal stops it.",
    )
    .option("--listen <address>", "HOST:PORT; beyond this machine only with a token", "127.0.0.1:8080")
    .option("--token-file <file>", "holds what requests must bear (default: $LIFEBOAT_TOKEN)")
    .addHelpText(
      "after",
      `
Examples:
  lifeboat serve --config lifeboat.yaml
  curl -X POST http://127.0.0.1:8080/v1/backups

  lifeboat serve --listen 0.0.0.0:8080 --token-file ./token
  curl -H "Authorization: Bearer $(cat ./token)" http://127.0.0.1:8080/openapi.json
`,
    );
  addShared(serve, ["cluster", "location", "config"]);
  addAction(serve, signal, async () => (await import("./serve/run.ts")).serve);
}
