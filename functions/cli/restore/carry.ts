import {
  type Bucket,
  EXIT_CODES,
  type Kube,
  type PlanDocument,
  type RestoreDocument,
  type RestoreEnd,
  type RestoreRun,
  restoreDocument,
} from "../../../core/index.ts";
import { volumesField } from "../backup/describe.ts";
import type { Invocation, SharedOptions } from "../options.ts";
import { countText, durationText, fields, phaseText, plural, printResult, say } from "../output.ts";
import { problemBlock } from "../problems.ts";
import { inSession, underLock } from "../running.ts";
import { COMMAND, clusterText, locationFlags, recipientsOf, signerOf, trustedKeysOf, volumesOf } from "../session.ts";
import { countsText } from "./counts.ts";
import { planText } from "./plan.ts";

const PROBLEMS_SHOWN = 10;

/** A restore, or the undo of one, as a command asks for it. */
export interface Asked {
  /** The locks that it needs, its own name first. */
  names: string[];
  /** Where nothing is to be written: tells what would be. */
  rehearse: (run: Run) => Promise<PlanDocument>;
  carryOut: (run: Run) => Promise<RestoreEnd>;
  /** How to have a plan carried out, where that goes. */
  next?: (plan: PlanDocument) => string;
}

type Run = Omit<RestoreRun, "name" | "spec" | "plan" | "check">;

/** Restores or undoes what `ask` finds in the location: exit code 3 where it is, or would be, PartiallyFailed. */
export function carry(
  { options, signal }: Invocation<{ dryRun?: boolean; details?: boolean }>,
  told: [string, (kube: Kube) => string],
  ask: (bucket: Bucket) => Promise<Asked>,
): Promise<number> {
  return inSession({ options, signal }, options.dryRun ? ["planning", told[1]] : told, async (session) => {
    const { kube, bucket, progress } = session;
    const { names, rehearse, carryOut, next } = await ask(bucket);
    const keys = {
      trustedKeys: await trustedKeysOf(options, signal),
      signer: await signerOf(options),
      recipients: await recipientsOf(options),
    };
    const volumes = await volumesOf(options, bucket);
    const update = (done: number, total: number) => progress.update({ done, total });
    const run = <T>(work: (run: Run) => Promise<T>) =>
      underLock({ kind: "restore", names, options, signal }, session, (running) =>
        work({ ...keys, kube, bucket, volumes, ...running, progress: update }),
      );
    const cluster = clusterText(kube, options);
    if (options.dryRun) {
      const { result: plan } = await run(rehearse);
      await printResult(options.output, plan, () => planText(plan, cluster, options.details));
      const { skip: _, blocked: __, ...acts } = plan.counts;
      const empty = Object.values(acts).every((count) => count === 0);
      if (next && !empty && isForPeople(options)) say(next(plan));
      return plan.errors.length === 0 ? EXIT_CODES.ok : EXIT_CODES.partial;
    }
    const { result: end, durationMs } = await run(carryOut);
    const document = restoreDocument(end.record, bucket.location, { durationMs, ...end.result.problems });
    await printResult(options.output, document, () => restoreSummary(document, cluster));
    if (isForPeople(options))
      say(
        `\nWhat became of each object:\n  ${COMMAND} restore describe ${names[0]} --details${locationFlags(options)}`,
      );
    return document.phase === "Completed" ? EXIT_CODES.ok : EXIT_CODES.partial;
  });
}

function isForPeople({ output }: SharedOptions): boolean {
  return !output || output === "table";
}

/** How the run went, for people. */
export function restoreSummary(
  { name, backup = "<none>", phase, counts, volumes, durationMs = 0, warnings, errors }: RestoreDocument,
  cluster: string,
): string {
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const rate = durationMs > 1000 ? `, ${countText(Math.round(total / (durationMs / 1000)))} objects/s` : "";
  return [
    `Restore ${name}: ${phaseText(phase)}\n\n`,
    `${fields(
      [
        ["Backup", backup],
        ["Cluster", cluster],
        ["Objects", countsText(counts)],
        ...volumesField({ volumes }),
        ["Duration", `${durationText(durationMs)}${rate}`],
        [
          "Problems",
          errors.length + warnings.length
            ? `${plural(errors.length, "error")}, ${plural(warnings.length, "warning")}`
            : "none",
        ],
      ],
      "  ",
    )}\n`,
    problemBlock("Errors", errors, PROBLEMS_SHOWN),
    problemBlock("Warnings", warnings, PROBLEMS_SHOWN),
  ].join("");
}
