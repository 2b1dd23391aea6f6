import { styleText } from "node:util";
import type { PlanDocument, PlanStep } from "../../../core/index.ts";
import { countText, fields, printable } from "../output.ts";
import { problemBlock } from "../problems.ts";

const MARKS: Record<PlanStep["action"], { mark: string; colour: "green" | "yellow" | "red" | "magenta" | "dim" }> = {
  create: { mark: "+", colour: "green" },
  update: { mark: "~", colour: "yellow" },
  recreate: { mark: "±", colour: "magenta" },
  prune: { mark: "-", colour: "red" },
  blocked: { mark: "!", colour: "red" },
  skip: { mark: " ", colour: "dim" },
};

/** Creates of one resource are told by these many names, unless `details` are asked for. */
const NAMES_SHOWN = 5;

/** A plan for people: what would change field by field, then what would be created; in colour on a terminal. */
export function planText(plan: PlanDocument, cluster: string, details = false): string {
  const { id, backup = "<none>", counts, steps, warnings, errors } = plan;
  const changes = steps.filter(({ action }) => !["create", "skip"].includes(action));
  return [
    `Plan ${id}: ${countsText(counts)}\n\n`,
    `${fields(
      [
        ["Backup", backup],
        ["Cluster", cluster],
      ],
      "  ",
    )}\n`,
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
  const blocked = new Set(steps.filter(({ action }) => action === "blocked").map(nameOf));
  return ({ resource = "", namespace = "", name = "" }) => !blocked.has(nameOf({ resource, namespace, name }));
}

function stepText(step: PlanStep): string {
  const { mark, colour } = MARKS[step.action];
  const why = step.reason?.replace(/^exists and differs(; |, and |$)/, "");
  const reason = why ? `  (${printable(why)})` : "";
  const lines = [`${styleText(colour, `  ${mark} ${printable(nameOf(step))}`)}${reason}`];
  for (const { path, from, to } of step.diff ?? []) {
    lines.push(`      ${printable(path)}`);
    if (from !== undefined) lines.push(styleText("red", `        - ${valueText(from)}`));
    if (to !== undefined) lines.push(styleText("green", `        + ${valueText(to)}`));
  }
  return `${lines.join("\n")}\n`;
}

function nameOf({ resource, namespace, name }: Pick<PlanStep, "resource" | "namespace" | "name">): string {
  return `${resource} ${namespace ? `${namespace}/` : ""}${name}`;
}

function valueText(value: unknown): string {
  return printable(typeof value === "string" ? JSON.stringify(value) : (JSON.stringify(value) ?? ""));
}

/** What is created, by resource, in the order in which it is. */
function created(steps: PlanStep[]): string {
  const resources = Map.groupBy(
    steps.filter(({ action }) => action === "create"),
    ({ resource }) => resource,
  );
  const lines = [...resources].map(([resource, created]) => {
    const names = created
      .slice(0, NAMES_SHOWN)
      .map(({ namespace, name }) => (namespace ? `${namespace}/${name}` : name));
    const more = created.length > NAMES_SHOWN ? `, … and ${countText(created.length - NAMES_SHOWN)} more` : "";
    const head = styleText("green", `  + ${printable(resource)} (${countText(created.length)})`);
    return `${head}: ${printable(names.join(", "))}${more}\n`;
  });
  return lines.length > 0 ? `\n${lines.join("")}` : "";
}

function listed(steps: PlanStep[], action: PlanStep["action"]): string {
  const lines = steps.filter((step) => step.action === action).map(stepText);
  return lines.length > 0 ? `\n${lines.join("")}` : "";
}
