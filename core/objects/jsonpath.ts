import { at, isFields } from "./fields.ts";

/** From the values found so far to those one step on. */
type Step = (values: unknown[]) => unknown[];

const STEP =
  /\.\.(?<deep>[\w-]+)|\.?(?<name>(?:\\.|[^.[\]\\\s*])+)|(?<all>\.\*|\[\*\])|\[\s*(?:'(?<single>[^']*)'|"(?<double>[^"]*)"|(?<index>-?\d+)|\?\((?<filter>.*?)\))\s*\]|\.(?=\[)/gy;
const FILTER = /^\s*@((?:\.[^\s=!<>]+|\[[^\]]*\])+)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?)\s*)?$/;

/**
 * A JSONPath as kubectl and printer columns write it (`.status.conditions[?(@.type=="Ready")].status`), made a function
 * that finds all its values: names, `['names']`, indexes, `*`, `..name` and filters that compare one path with one literal.
 * What can't be read finds nothing, as a column of the API server with such a path is empty.
 */
export function parseJsonPath(path: string): (value: unknown) => unknown[] {
  const steps: Step[] = [];
  const text = path.trim().replace(/^\$/, "");
  let end = 0;
  for (const step of text.matchAll(STEP)) {
    steps.push(stepOf(step.groups ?? {}));
    end += step[0].length;
  }
  if (end < text.length) return () => [];
  return (value) => steps.reduce((values, step) => step(values), [value]);
}

function stepOf({ deep, name, all, single, double, index, filter }: Record<string, string | undefined>): Step {
  if (deep !== undefined) return (values) => values.flatMap((value) => below(value)).flatMap(named(deep));
  if (all !== undefined) return (values) => values.flatMap(children);
  if (filter !== undefined) return filtered(filter);
  if (index !== undefined) return (values) => values.flatMap((value) => present(list(value).at(Number(index))));
  const key = (name ?? single ?? double)?.replace(/\\(.)/g, "$1");
  return key === undefined ? (values) => values : (values) => values.flatMap(named(key));
}

function filtered(text: string): Step {
  const [, path, operator, literal] = FILTER.exec(text) ?? [];
  if (path === undefined) return () => [];
  const find = parseJsonPath(path);
  const wanted = literal?.replace(/^(['"])(.*)\1$/, "$2");
  const holds = (value: unknown) => {
    const [found] = find(value);
    if (operator === undefined) return found !== undefined;
    return found !== undefined && compares(found, operator, wanted!);
  };
  return (values) => values.flatMap(list).filter(holds);
}

function compares(found: unknown, operator: string, wanted: string): boolean {
  if (operator === "==") return String(found) === wanted;
  if (operator === "!=") return String(found) !== wanted;
  const difference = Number(found) - Number(wanted);
  if (operator === "<=") return difference <= 0;
  if (operator === ">=") return difference >= 0;
  return operator === "<" ? difference < 0 : difference > 0;
}

const named = (key: string) => (value: unknown) => present(at(value, key));

function present(value: unknown): unknown[] {
  return value === undefined ? [] : [value];
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function children(value: unknown): unknown[] {
  return isFields(value) ? Object.values(value) : list(value);
}

function below(value: unknown): unknown[] {
  return [value, ...children(value).flatMap(below)];
}
