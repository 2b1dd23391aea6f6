/** An object of unknown shape, as it comes out of JSON. */
export type Fields = Record<string, unknown>;

/** Whether a value out of JSON is an object: neither null nor an array nor an exact number (`JSON.rawJSON`). */
export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isRawJson(value);
}

/**
 * What is wrong with what should be the metadata of an object of Kubernetes, as far as others rely on it; undefined for
 * a sound one. API servers give no others; archives that were written by hand may hold anything.
 */
export function flawOf(metadata: unknown): string | undefined {
  if (typeof at(metadata, "name") !== "string") return "its JSON has no metadata.name";
  const odd = (field: string, check: (value: unknown) => boolean) => {
    const found = at(metadata, field) ?? undefined;
    return found !== undefined && !check(found);
  };
  const map = ["labels", "annotations"].find((field) => odd(field, isFields));
  if (map) return `its metadata.${map} are no map`;
  return odd("ownerReferences", (found) => Array.isArray(found) && found.every(isFields))
    ? "its metadata.ownerReferences are no list of objects"
    : undefined;
}

/** The value at the path; undefined where a step is missing. */
export function at(value: unknown, ...path: string[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => (isFields(inner) && Object.hasOwn(inner, key) ? inner[key] : undefined),
    value,
  );
}

/** The object at the path; undefined where there is none. */
export function fieldsAt(value: unknown, ...path: string[]): Fields | undefined {
  const found = at(value, ...path);
  return isFields(found) ? found : undefined;
}

/** The objects of the list at the path; empty where there is none. */
export function entriesOf(value: unknown, ...path: string[]): Fields[] {
  const found = at(value, ...path);
  return Array.isArray(found) ? found.filter(isFields) : [];
}

/** Removes keys from the object at the path, and the object itself where that empties it. */
export function drop(value: unknown, path: string[], keys: string[] | ((key: string) => boolean)): void {
  const holder = fieldsAt(value, ...path);
  if (!holder) return;
  const doomed = Array.isArray(keys)
    ? keys.filter((key) => Object.hasOwn(holder, key))
    : Object.keys(holder).filter(keys);
  if (doomed.length === 0) return;
  for (const key of doomed) delete holder[key];
  if (path.length && Object.keys(holder).length === 0) delete fieldsAt(value, ...path.slice(0, -1))![path.at(-1)!];
}

/** JSON with sorted keys and without nulls: two objects that say the same have the same text. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (!isFields(value)) return JSON.stringify(value);
  const keys = Object.keys(value)
    .filter((key) => value[key] !== null && value[key] !== undefined)
    .sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join()}}`;
}

/**
 * JSON as Go writes it: `<`, `>`, `&` and the two line separators escaped. Controllers compare a ControllerRevision's
 * data byte by byte with what they would write; unescaped, every Pod of the set would be replaced.
 */
export function goJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function isRawJson(value: object): boolean {
  return (JSON as unknown as { isRawJSON(value: unknown): boolean }).isRawJSON(value);
}
