import { isDeepStrictEqual } from "node:util";
import { parseExact } from "../../kube/json.ts";
import { type Fields, isFields } from "../../objects/fields.ts";

/** One operation of a JSON patch (RFC 6902). Paths are split and unescaped; `value` is JSON's. */
export interface Operation {
  op: "add" | "remove" | "replace" | "move" | "copy" | "test";
  path: string[];
  from?: string[];
  value?: unknown;
}

/** Why a patch couldn't be applied: a value is another one than tested, a place is missing. */
export interface PatchFault {
  kind: "test" | "missing";
  message: string;
}

/** The steps of a JSON pointer (RFC 6901), which begins with "/". */
export function pointerSteps(pointer: string): string[] {
  return pointer
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/**
 * Applies the operations to a copy of the document: all of them, or none where one fails. As in evanphx/json-patch, which Velero
 * and kubectl use: negative indices count from the end, a test of what is missing holds for null, and a test below
 * something missing is no failed test but a missing place.
 */
export function patched(
  document: Fields,
  operations: Operation[],
): { document: Fields; fault?: undefined } | { fault: PatchFault } {
  const copy = copyOf(document);
  for (const operation of operations) {
    const fault = apply(copy, operation);
    if (fault) return { fault };
  }
  return { document: copy };
}

/** A copy that shares nothing; numbers stay exact. */
export function copyOf<Value>(value: Value): Value {
  return parseExact(JSON.stringify(value)) as Value;
}

type Holder = Fields | unknown[];

function apply(document: Fields, { op, path, from = [], value }: Operation): PatchFault | undefined {
  const moved = op === "move" || op === "copy" ? from : undefined;
  const source = moved && read(document, moved);
  if (moved && source === undefined) return missing(op, moved);
  if (op === "move") remove(document, from);
  if (op === "remove") return remove(document, path) ? undefined : missing(op, path);
  if (op === "test") return test(document, path, value);
  if (op === "replace" && read(document, path) === undefined) return missing(op, path);
  const holder = holderOf(document, path);
  const done = holder && put(holder, path.at(-1)!, copyOf(moved ? source : value), op !== "replace");
  return done ? undefined : missing(op, path);
}

function test(document: Fields, path: string[], value: unknown): PatchFault | undefined {
  const holder = holderOf(document, path);
  if (!holder || (Array.isArray(holder) && read(document, path) === undefined)) return missing("test", path);
  const found = read(document, path) ?? null;
  return isDeepStrictEqual(found, value)
    ? undefined
    : { kind: "test", message: `test ${pointer(path)}: it is another` };
}

/** The value at the path; undefined where there is none. */
function read(document: unknown, path: string[]): unknown {
  return path.reduce<unknown>((inner, step) => {
    if (Array.isArray(inner)) return inner[indexOf(step, inner.length)];
    return isFields(inner) && Object.hasOwn(inner, step) ? inner[step] : undefined;
  }, document);
}

/** What holds the path's last step: an object or a list. */
function holderOf(document: Fields, path: string[]): Holder | undefined {
  const holder = read(document, path.slice(0, -1));
  return Array.isArray(holder) || isFields(holder) ? holder : undefined;
}

function remove(document: Fields, path: string[]): boolean {
  const holder = holderOf(document, path);
  if (!holder || read(document, path) === undefined) return false;
  const step = path.at(-1)!;
  if (Array.isArray(holder)) holder.splice(indexOf(step, holder.length), 1);
  else delete holder[step];
  return true;
}

/** Sets a field or an entry; `insert`: an entry comes before the one that stands there, "-" at the end. */
function put(holder: Holder, step: string, value: unknown, insert: boolean): boolean {
  if (!Array.isArray(holder)) holder[step] = value;
  else {
    const index = insert && step === "-" ? holder.length : indexOf(step, holder.length + (insert ? 1 : 0));
    if (!(index >= 0 && index <= holder.length)) return false;
    holder.splice(index, insert ? 0 : 1, value);
  }
  return true;
}

/** The index that a step means in a list of that length; -1 for none. */
function indexOf(step: string, length: number): number {
  if (!/^[+-]?\d+$/.test(step)) return -1;
  const index = Number(step);
  const counted = index < 0 ? index + length : index;
  return counted >= 0 && counted < length ? counted : -1;
}

function missing(op: string, path: string[]): PatchFault {
  return { kind: "missing", message: `${op} ${pointer(path)}: there is no such place` };
}

function pointer(path: string[]): string {
  return path.map((step) => `/${step.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}
