import { canonical, entriesOf, type Fields, isFields } from "./fields.ts";

/** One field that a change gives another value; `from` or `to` is missing where the field is. */
export interface FieldChange {
  /** As kubectl and people write it: `spec.template.spec.containers[web].image`, `metadata.labels["app.kubernetes.io/name"]`. */
  path: string;
  from?: unknown;
  to?: unknown;
}

/** Of a Secret only these fields' values are shown: annotations may hold the data again (kubectl's last-applied). */
const OPEN_OF_SECRETS = /^(apiVersion|kind|type|immutable)$|^metadata\.(?!annotations\b)/;

/** Stands in place of values that nobody should see. */
export const HIDDEN = "(hidden)";

/**
 * The fields in which two objects differ, in the order of their names. Entries of lists are known by their `name`, or
 * another key that all of them have and none shares, so that one added entry is one change; other lists by position, once
 * what they begin and end with alike is left aside. `resource` is a group-resource string: of Secrets the values are hidden.
 */
export function fieldChanges(from: Fields, to: Fields, resource: string): FieldChange[] {
  const changes = differences("", from, to);
  if (resource !== "secrets") return changes;
  return changes.map((change) => (OPEN_OF_SECRETS.test(change.path) ? change : masked(change)));
}

/** A Secret with the values hidden that nobody should see; what there is of them is told by their keys. */
export function withoutValues(secret: Fields): Fields {
  return hidden("", secret) as Fields;
}

function hidden(path: string, value: unknown): unknown {
  if (OPEN_OF_SECRETS.test(path)) return value;
  if (!isFields(value)) return HIDDEN;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, hidden(below(path, key), inner)]));
}

function masked(change: FieldChange): FieldChange {
  const { path } = change;
  return { path, ...("from" in change && { from: HIDDEN }), ...("to" in change && { to: HIDDEN }) };
}

function differences(path: string, from: unknown, to: unknown): FieldChange[] {
  if (from === undefined || from === null) return to === undefined || to === null ? [] : [{ path, to }];
  if (to === undefined || to === null) return [{ path, from }];
  if (isFields(from) && isFields(to)) return fieldDifferences(path, from, to);
  if (Array.isArray(from) && Array.isArray(to)) return listDifferences(path, from, to);
  return canonical(from) === canonical(to) ? [] : [{ path, from, to }];
}

function fieldDifferences(path: string, from: Fields, to: Fields): FieldChange[] {
  const keys = [...new Set([...Object.keys(from), ...Object.keys(to)])].sort();
  return keys.flatMap((key) => differences(below(path, key), from[key], to[key]));
}

function below(path: string, key: string): string {
  if (!/^[A-Za-z_$][\w-]*$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path ? `${path}.${key}` : key;
}

/** What entries of Kubernetes' lists are known by, in this order. */
const KEYS = ["name", "key", "type", "containerPort", "port", "mountPath", "ip", "host", "uid"];

function listDifferences(path: string, from: unknown[], to: unknown[]): FieldChange[] {
  const key = KEYS.find((candidate) => isKey(candidate, from) && isKey(candidate, to));
  if (key === undefined) return positionDifferences(path, from, to);
  const [old, wanted] = [byKey(key, from), byKey(key, to)];
  const changes = [...new Set([...old.keys(), ...wanted.keys()])].flatMap((name) =>
    differences(`${path}[${name}]`, old.get(name), wanted.get(name)),
  );
  if (changes.length > 0) return changes;
  const moved = [...old.keys()].join() !== [...wanted.keys()].join();
  return moved ? [{ path, from: [...old.keys()], to: [...wanted.keys()] }] : [];
}

function isKey(key: string, list: unknown[]): boolean {
  const values = list.map((entry) => (isFields(entry) ? entry[key] : undefined));
  return (
    values.every((value) => typeof value === "string" || typeof value === "number") &&
    new Set(values).size === values.length
  );
}

function byKey(key: string, list: unknown[]): Map<string, Fields> {
  return new Map(entriesOf(list).map((entry) => [String(entry[key]), entry]));
}

function positionDifferences(path: string, from: unknown[], to: unknown[]): FieldChange[] {
  const same = (a: unknown, b: unknown) => canonical(a ?? null) === canonical(b ?? null);
  let start = 0;
  while (start < Math.min(from.length, to.length) && same(from[start], to[start])) start++;
  let end = 0;
  while (end < Math.min(from.length, to.length) - start && same(from[from.length - 1 - end], to[to.length - 1 - end]))
    end++;
  const [old, wanted] = [from.slice(start, from.length - end), to.slice(start, to.length - end)];
  return Array.from({ length: Math.max(old.length, wanted.length) }, (_, at) => at).flatMap((at) =>
    differences(`${path}[${start + at}]`, old[at], wanted[at]),
  );
}
