import type { Problem } from "../report.ts";
import type { RestoredVolumes } from "../volumes/record.ts";
import type { Item } from "./survey.ts";

/** What became of one item. */
export interface ItemOutcome {
  /** A group-resource string. */
  resource: string;
  apiVersion: string;
  kind: string;
  /** In the target; "" for cluster-scoped objects. */
  namespace: string;
  name: string;
  action: "created" | "updated" | "recreated" | "pruned" | "skipped" | "blocked" | "failed";
  /** Why it was not created, or what is missing of it. */
  reason?: string;
  /** The reason needs a person. */
  warning?: true;
}

/** How a restore ended. */
export interface RestoreResult {
  /** PartiallyFailed where there is an error; warnings don't change it (Velero's phases). */
  phase: "Completed" | "PartiallyFailed";
  counts: Record<"created" | "updated" | "recreated" | "pruned" | "skipped" | "blocked" | "failed", number>;
  /** What became of the data of the claims that it created; absent where there are none. */
  volumes?: RestoredVolumes;
  /** What is blocked or failed is an error. */
  problems: { warnings: Problem[]; errors: Problem[] };
}

export interface RestoreReport {
  /** Tells of an item's end; `warning` says that the reason is worth the user's attention. */
  item(item: Item, action: ItemOutcome["action"], reason?: string, warning?: boolean): void;
  /** Tells of something that concerns no single item. */
  tell(level: "warnings" | "errors", message: string): void;
  /** Tells of a warning about an item, beside how it ends. */
  warn(item: Item, message: string): void;
  /** Tells of an error about an item that has ended already. */
  error(item: Item, message: string): void;
  /** How many items of the backup could not be restored. */
  lacking(): number;
  result(): RestoreResult;
}

export function startReport(listen: {
  outcome: (outcome: ItemOutcome) => void;
  progress: (done: number) => void;
}): RestoreReport {
  const counts = { created: 0, updated: 0, recreated: 0, pruned: 0, skipped: 0, blocked: 0, failed: 0 };
  const problems: RestoreResult["problems"] = { warnings: [], errors: [] };
  let done = 0;
  return {
    item({ entry, namespace, name }, action, reason, warning = false) {
      const { resource, apiVersion, kind } = entry;
      counts[action]++;
      const why = { ...(reason && { reason }), ...(warning && { warning }) };
      listen.outcome({ resource, apiVersion, kind, namespace, name, action, ...why });
      const problem = { resource, namespace, name, message: reason ?? action };
      if (action === "failed" || action === "blocked") problems.errors.push(problem);
      else if (warning) problems.warnings.push(problem);
      listen.progress(++done);
    },
    tell: (level, message) => problems[level].push({ message }),
    warn({ entry, namespace, name }, message) {
      problems.warnings.push({ resource: entry.resource, namespace, name, message });
    },
    error({ entry, namespace, name }, message) {
      problems.errors.push({ resource: entry.resource, namespace, name, message });
    },
    lacking: () => counts.failed + counts.blocked,
    result: () => ({
      phase: problems.errors.length ? "PartiallyFailed" : "Completed",
      counts,
      problems,
    }),
  };
}
