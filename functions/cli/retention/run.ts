import { EXIT_CODES, LifeboatError, type RetentionDocument, runJob } from "../../../core/index.ts";
import { loadConfig } from "../config.ts";
import { consents } from "../consent.ts";
import type { Invocation } from "../options.ts";
import { plural, printResult, say } from "../output.ts";
import { problemBlock } from "../problems.ts";
import { startProgress } from "../progress.ts";
import { jobContext } from "../running.ts";
import { openBucket } from "../session.ts";
import { previewOf, rowsTable, summary } from "./preview.ts";

/** `lifeboat retention run [--schedule NAME] [--yes]`: exit code 3 where something that should have gone is still there. */
export async function runAll(
  invocation: Invocation<{ schedule?: string; yes?: boolean; verbose?: boolean }>,
): Promise<number> {
  const { options, signal } = invocation;
  if (!options.yes && !(await isWanted(invocation))) return EXIT_CODES.ok;
  const config = await loadConfig(options);
  const bucket = await openBucket({ ...options, location: config.location });
  const progress = startProgress("deleting", bucket.location);
  try {
    const outcome = await runJob(
      { kind: "retention", schedule: options.schedule },
      jobContext({ config, bucket, progress, verbose: options.verbose, signal }),
    );
    progress.end();
    if (!outcome.document) throw new LifeboatError("busy", outcome.skipped ?? "there was no time for all of it");
    const document = outcome.document as RetentionDocument;
    const { errors, warnings, phase } = document;
    await printResult(options.output, document, () =>
      [rowsTable(document), problemBlock("Errors", errors), problemBlock("Warnings", warnings)].join(""),
    );
    say(summary(document, "deleted"));
    return phase === "Completed" ? EXIT_CODES.ok : EXIT_CODES.partial;
  } finally {
    progress.end();
  }
}

/** Shows what would be deleted, where something would, and asks. */
async function isWanted(invocation: Invocation<{ schedule?: string }>): Promise<boolean> {
  const document = await previewOf(invocation);
  const { counts, location } = document;
  if (counts.delete === 0) return true;
  say(rowsTable(document));
  say(summary(document, "would be deleted"));
  const what = plural(counts.delete, "thing");
  const asked = { question: `Delete them from ${location} for good?`, wanted: `deleting ${what}`, flag: "--yes" };
  if (await consents(asked, invocation.signal)) return true;
  say("Nothing was deleted.");
  return false;
}
