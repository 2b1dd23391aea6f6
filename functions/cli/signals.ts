import { EXIT_CODES } from "../../core/errors.ts";

const stages: AbortController[] = [];

/** What the next SIGINT or SIGTERM aborts that no earlier stage has taken. */
export function nextStage(): AbortSignal {
  const stage = new AbortController();
  stages.push(stage);
  return stage.signal;
}

/** Lets each SIGINT or SIGTERM abort one stage, in their order; the one after the last ends the process at once. */
export function obeySignals(): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      const stage = stages.find((stage) => !stage.signal.aborted);
      if (!stage) process.exit(EXIT_CODES.cancelled);
      stage.abort(new Error(`cancelled by ${signal}`));
    });
  }
}
