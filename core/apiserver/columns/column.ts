import type { KubernetesObject } from "../../archive/item.ts";
import { at, entriesOf, type Fields } from "../../objects/fields.ts";

/** A column of a resource's Table. */
export interface Column {
  name: string;
  /** "string" where it isn't said. */
  type?: string;
  format?: string;
  description?: string;
  /** Shown by `-o wide` alone; the number is a definition's priority. */
  wide?: boolean | number;
  /** `since`: how long ago a time was. */
  cell(object: KubernetesObject, since: (time: unknown) => string): unknown;
}

type Cell = Column["cell"];

/** A column; of a path ("spec.replicas") its text, and what else is given where there is nothing. */
export function column(
  name: string,
  value: string | Cell,
  otherwise: unknown = "",
  rest: Partial<Column> = {},
): Column {
  const cell = typeof value === "string" ? (object: KubernetesObject) => get(object, value) ?? otherwise : value;
  return { name, cell, ...rest };
}

/** A column of whole numbers; 0 where there is none. */
export function count(name: string, value: string | Cell): Column {
  return column(name, value, 0, { type: "integer" });
}

/** A column of yes or no. */
export function flag(name: string, value: string, otherwise = false): Column {
  return column(name, value, otherwise, { type: "boolean" });
}

/** The same column, for `-o wide`. */
export function wide(one: Column): Column {
  return { ...one, wide: true };
}

/** The value at a path of names; undefined where there is none. */
export function get(value: unknown, path: string): unknown {
  return at(value, ...path.split(".")) ?? undefined;
}

/** The text at a path; "" where there is none. */
export function text(value: unknown, path: string): string {
  return String(get(value, path) ?? "");
}

/** The number at a path; 0 where there is none. */
export function number(value: unknown, path: string): number {
  return Number(get(value, path) ?? 0);
}

/** The objects of the list at a path. */
export function entries(value: unknown, path: string): Fields[] {
  return entriesOf(value, ...path.split("."));
}

/** The values of the list at a path. */
export function values(value: unknown, path: string): unknown[] {
  const found = get(value, path);
  return Array.isArray(found) ? found : [];
}

/** How many entries the map at a path has. */
export function sizeOf(value: unknown, path: string): number {
  return Object.keys(get(value, path) ?? {}).length;
}

/** The first `most` of a list, and how many more there are. */
export function some(list: string[], most: number, count = list.length, separator = ","): string {
  const shown = list.slice(0, most).join(separator);
  return count > most ? `${shown} + ${count - most} more...` : shown;
}

export const NONE = "<none>";
export const UNSET = "<unset>";

export const NAME: Column = { name: "Name", format: "name", cell: ({ metadata }) => metadata.name };
export const AGE: Column = { name: "Age", cell: ({ metadata }, since) => since(metadata.creationTimestamp) };
export const createdAt: Column = { name: "Created At", cell: ({ metadata }) => metadata.creationTimestamp };

/** A map of labels as "a=b,c=d", by their names. */
export function labelsText(labels: unknown): string {
  const pairs = Object.entries((labels as Record<string, unknown>) ?? {}).map(([key, value]) => `${key}=${value}`);
  return pairs.sort().join(",") || NONE;
}

/** A label selector as kubectl takes it; "<none>" for one that selects all. */
export function selectorText(selector: unknown): string {
  const labels = Object.entries((get(selector, "matchLabels") as Record<string, string>) ?? {});
  const requirements = labels.map(([key, value]) => ({ key, text: `${key}=${value}` }));
  for (const expression of entries(selector, "matchExpressions")) {
    const key = text(expression, "key");
    const list = `(${values(expression, "values").map(String).sort().join(",")})`;
    const forms: Record<string, string> = { Exists: key, DoesNotExist: `!${key}`, NotIn: `${key} notin ${list}` };
    requirements.push({ key, text: forms[text(expression, "operator")] ?? `${key} in ${list}` });
  }
  requirements.sort((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)));
  return requirements.map((one) => one.text).join(",") || NONE;
}

/** The columns of a Pod template that `-o wide` adds: its containers and their images. */
export function containers(path: string): Column[] {
  const all = (field: string) => (object: unknown) =>
    entries(object, path)
      .map((container) => text(container, field))
      .join(",");
  return [wide(column("Containers", all("name"))), wide(column("Images", all("image")))];
}

/** Whether a condition has that status; undefined where there is no such condition. */
export function condition(object: unknown, type: string): Fields | undefined {
  return entries(object, "status.conditions").find((one) => one.type === type);
}
