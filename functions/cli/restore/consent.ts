import { LifeboatError, type RestorePlan, someOf } from "../../../core/index.ts";
import { plural } from "../output.ts";

/** Throws `invalid`, before anything is written, where a restore would delete what nobody said yes to. */
export function askBeforePruning({ yes }: { yes?: boolean }): (planned: RestorePlan) => void {
  return ({ steps }) => {
    const names = namesOf(steps.filter(({ action }) => action === "prune"));
    if (yes || names.length === 0) return;
    throw unasked(`${plural(names.length, "object")} would be deleted: ${someOf(names)}`);
  };
}

/** As `askBeforePruning`, for an undo, which is asked for whatever it does. */
export function askBeforeUndoing(restore: string, { yes }: { yes?: boolean }): (planned: RestorePlan) => void {
  return ({ steps }) => {
    const deleted = namesOf(steps.filter(({ action }) => action === "prune"));
    const given = namesOf(steps.filter(({ action }) => !["prune", "skip", "blocked"].includes(action)));
    if (yes || deleted.length + given.length === 0) return;
    const parts = [
      ...(deleted.length ? [`${plural(deleted.length, "object")} would be deleted: ${someOf(deleted)}`] : []),
      ...(given.length ? [`${plural(given.length, "object")} would be made what they were: ${someOf(given)}`] : []),
    ];
    throw unasked(`undoing restore "${restore}", ${parts.join("; ")}`);
  };
}

function unasked(message: string): LifeboatError {
  return new LifeboatError("invalid", message, { hint: "--dry-run shows all of it; with --yes it is done" });
}

function namesOf(steps: RestorePlan["steps"]): string[] {
  return steps.map(
    ({ item: { entry, namespace, name } }) => `${entry.resource} ${namespace && `${namespace}/`}${name}`,
  );
}
