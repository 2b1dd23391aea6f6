import { styleText } from "node:util";
import type { PlanStep } from "../../core/index.ts";
import { countText, printable } from "./output.ts";

/** How a kind of change is shown. */
export interface Mark {
  mark: string;
  colour: "green" | "yellow" | "red" | "magenta" | "dim";
}

/** An object that something becomes of, or became. */
type Named = Pick<PlanStep, "resource" | "namespace" | "name">;

/** Objects of one resource are told by this many names. */
const NAMES_SHOWN = 5;

/** "deployments.apps shop/web" */
export function objectName({ resource, namespace, name }: Named): string {
  return `${resource} ${namespace ? `${namespace}/` : ""}${name}`;
}

/** One object on a line, with a reason behind it, and below it its fields as they were and as they are. */
export function changeText({ mark, colour }: Mark, object: Named & Pick<PlanStep, "diff">, reason?: string): string {
  const why = reason ? `  (${printable(reason)})` : "";
  return `${styleText(colour, `  ${mark} ${printable(objectName(object))}`)}${why}\n${fieldsText(object.diff)}`;
}

/** Fields as they were and as they are, one below the other. */
export function fieldsText(diff: PlanStep["diff"]): string {
  const lines = (diff ?? []).flatMap(({ path, from, to }) => [
    `      ${printable(path)}`,
    ...(from === undefined ? [] : [styleText("red", `        - ${valueText(from)}`)]),
    ...(to === undefined ? [] : [styleText("green", `        + ${valueText(to)}`)]),
  ]);
  return lines.map((line) => `${line}\n`).join("");
}

/** Objects that the same becomes of, a line for each resource with some of their names. */
export function groupedText({ mark, colour }: Mark, objects: Named[]): string {
  const lines = [...Map.groupBy(objects, ({ resource }) => resource)].map(([resource, some]) => {
    const names = some.slice(0, NAMES_SHOWN).map(({ namespace, name }) => (namespace ? `${namespace}/${name}` : name));
    const more = some.length > NAMES_SHOWN ? `, … and ${countText(some.length - NAMES_SHOWN)} more` : "";
    const head = styleText(colour, `  ${mark} ${printable(resource)} (${countText(some.length)})`);
    return `${head}: ${printable(names.join(", "))}${more}\n`;
  });
  return lines.join("");
}

function valueText(value: unknown): string {
  return printable(JSON.stringify(value) ?? "");
}
