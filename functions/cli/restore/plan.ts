import type { PlanDocument, PlanStep } from "../../../core/index.ts";
import { volumesField } from "../backup/describe.ts";
import { changeText, groupedText, type Mark, objectName } from "../changes.ts";
import { countText, fields } from "../output.ts";
import { problemBlock } from "../problems.ts";

const MARKS: Record<PlanStep["action"], Mark> = {
  create: { mark: "+", colour: "green" },
  update: { mark: "~", colour: "yellow" },
  recreate: { mark: "±", colour: "magenta" },
  prune: { mark: "-", colour: "red" },
  blocked: { mark: "!", colour: "red" },
  skip: { mark: " ", colour: "dim" },
};

/** A plan for people: what would change field by field, then what would be created; in colour on a terminal. */
export function planText(plan: PlanDocument, cluster: string, details = false): string {
  const { id, backup = "<none>", counts, steps, warnings, errors } = plan;
  const changes = steps.filter(({ action }) => !["create", "skip"].includes(action));
  return [
    `Plan ${id}: ${countsText(counts)}\n\n`,
    `${fields([["Backup", backup], ["Cluster", cluster], ...volumesField(plan)], "  ")}\n`,
    changes.length > 0 ? `\n${changes.map(stepText).join("")}` : "",
    details ? listed(steps, "create") + listed(steps, "skip") : created(steps),
    counts.skip > 0 && !details ? `\n  ${countText(counts.skip)} skipped: --details tells why\n` : "",
    problemBlock("Errors", errors.filter(notAmong(steps))),
    problemBlock("Warnings", warnings),
  ].join("");
}

/** "12 to create, 1 to update": what a plan would do. */
function countsText(counts: PlanDocument["counts"]): string {
  const { skip: _, ...acts } = counts;
  const parts = Object.entries(acts).filter(([, count]) => count > 0);
  const text = ([action, count]: [string, number]) =>
    action === "blocked" ? `${countText(count)} blocked` : `${countText(count)} to ${action}`;
  return parts.map(text).join(", ") || "nothing to do";
}

/** What is blocked stands among the steps with its reason. */
function notAmong(steps: PlanStep[]): (problem: PlanDocument["errors"][number]) => boolean {
  const blocked = new Set(steps.filter(({ action }) => action === "blocked").map(objectName));
  return ({ resource = "", namespace = "", name = "" }) => !blocked.has(objectName({ resource, namespace, name }));
}

function stepText(step: PlanStep): string {
  return changeText(MARKS[step.action], step, step.reason?.replace(/^exists and differs(; |, and |$)/, ""));
}

/** What is created, by resource, in the order in which it is. */
function created(steps: PlanStep[]): string {
  const text = groupedText(
    MARKS.create,
    steps.filter(({ action }) => action === "create"),
  );
  return text && `\n${text}`;
}

function listed(steps: PlanStep[], action: PlanStep["action"]): string {
  const lines = steps.filter((step) => step.action === action).map(stepText);
  return lines.length > 0 ? `\n${lines.join("")}` : "";
}
