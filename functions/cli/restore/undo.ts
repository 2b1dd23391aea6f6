import { EXIT_CODES, findUndo, rehearseUndo, restoreDocument, runUndo, startRunLog } from "../../../core/index.ts";
import { pointingToLog } from "../failure.ts";
import type { Invocation } from "../options.ts";
import { printResult, say } from "../output.ts";
import { startProgress } from "../progress.ts";
import {
  COMMAND,
  clusterText,
  locationFlags,
  openBucket,
  openCluster,
  recipientsOf,
  signerOf,
  trustedKeysOf,
} from "../session.ts";
import { refuseUnderWay } from "../underway.ts";
import { askBeforeUndoing } from "./consent.ts";
import { restoreSummary } from "./create.ts";
import { planText } from "./plan.ts";

interface UndoOptions {
  yes?: boolean;
  dryRun?: boolean;
  details?: boolean;
}

/** `lifeboat restore undo NAME`: exit code 3 where it is PartiallyFailed, or where a dry run finds that it would be. */
export async function undoRestore({ args, options, signal }: Invocation<UndoOptions>): Promise<number> {
  const restore = args[0] as string;
  const kube = await openCluster(options, signal);
  const progress = startProgress("undoing", `reading what was there, and what ${kube.server} has`);
  try {
    const bucket = await openBucket(options);
    await refuseUnderWay(bucket, "restore", restore, signal);
    const undo = await findUndo(bucket, restore, signal);
    const { name } = undo;
    await refuseUnderWay(bucket, "restore", name, signal);
    const log = startRunLog({ restore: `velero/${name}` }, options.verbose ? progress.line : undefined);
    const logs = `${COMMAND} restore logs ${name}${locationFlags(options)}`;
    const startedAt = performance.now();
    const run = {
      trustedKeys: await trustedKeysOf(options, signal),
      signer: await signerOf(options),
      recipients: await recipientsOf(options),
      kube,
      bucket,
      log,
      signal,
      progress: (done: number, total: number) => progress.update({ done, total }),
    };
    if (options.dryRun) {
      const document = await pointingToLog(log, logs, () => rehearseUndo(run, undo));
      progress.end();
      await printResult(options.output, document, () =>
        planText(document, clusterText(kube, options), options.details),
      );
      return document.errors.length === 0 ? EXIT_CODES.ok : EXIT_CODES.partial;
    }
    const check = askBeforeUndoing(restore, options);
    const { record, result } = await pointingToLog(log, logs, () => runUndo({ ...run, check }, undo));
    progress.end();
    const durationMs = Math.round(performance.now() - startedAt);
    const document = restoreDocument(record, bucket.location, { durationMs, ...result.problems });
    await printResult(options.output, document, () => restoreSummary(document, clusterText(kube, options)));
    if (!options.output || options.output === "table") {
      say(`\nWhat became of each object:\n  ${COMMAND} restore describe ${name} --details${locationFlags(options)}`);
    }
    return document.phase === "Completed" ? EXIT_CODES.ok : EXIT_CODES.partial;
  } finally {
    progress.end();
    await kube.close();
  }
}
