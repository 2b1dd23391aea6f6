import { z } from "zod";
import { meant } from "./nearest.ts";

/** One value of the configuration that an environment variable gives. */
export interface Setting {
  variable: string;
  path: string[];
  value: unknown;
}

/** What of a schema a variable can give: its name in upper snake case, where it lies, how its text is read. */
interface Leaf {
  name: string;
  path: string[];
  read: (text: string) => unknown;
}

const PREFIX = "LIFEBOAT_";

/**
 * What the environment says of the configuration that `schema` describes. A variable is LIFEBOAT_ and the path of a
 * value in upper snake case; the name of an entry stands in it with "_" for "-": LIFEBOAT_SCHEDULES_EU_HOURLY_TIME_ZONE
 * is `schedules.eu-hourly.timeZone`. Lists are written "a,b", mappings of texts "a=1,b=2". An empty variable is as
 * none. `unknown`: a line for each variable that can't be meant for anything else, or comes near to one of the schema's, and names
 * nothing of it.
 */
export function readEnvironment(
  schema: z.ZodObject,
  env: Record<string, string | undefined>,
): { settings: Setting[]; unknown: string[] } {
  const settings: Setting[] = [];
  const unknown: string[] = [];
  for (const [field, fieldSchema] of Object.entries(schema.shape)) {
    const inner = unwrapped(fieldSchema);
    const isEntries = inner instanceof z.ZodRecord;
    const isGroup = inner instanceof z.ZodObject;
    const leaves = isEntries ? leavesOf(inner.valueType, "", []) : leavesOf(inner, "", [field]);
    const stem = `${PREFIX}${upperSnake(field)}`;
    for (const [variable, text] of Object.entries(env).sort()) {
      if (!text || !(isEntries || isGroup ? variable.startsWith(`${stem}_`) : variable === stem)) continue;
      const rest = variable.slice(stem.length + 1);
      const found = isEntries ? entryLeaf(rest, field, leaves) : leaves.find(({ name }) => name === rest);
      if (found) settings.push({ variable, path: found.path, value: found.read(text) });
      else unknown.push(`${variable} names nothing of the configuration${suggestion(variable, stem, leaves, isGroup)}`);
    }
  }
  return { settings, unknown: [...unknown, ...mistyped(schema, env)] };
}

/**
 * A line for each variable that comes near to one of the configuration, or to LIFEBOAT_CONFIG, by its whole name, or by the word
 * that the names of entries follow. All others may be somebody else's.
 */
function mistyped(schema: z.ZodObject, env: Record<string, string | undefined>): string[] {
  const fields = Object.entries(schema.shape).map(([field, value]) => ({
    stem: upperSnake(field),
    inner: unwrapped(value),
  }));
  const entries = fields.filter(({ inner }) => inner instanceof z.ZodRecord).map(({ stem }) => stem);
  const groups = fields.filter(({ inner }) => inner instanceof z.ZodObject).map(({ stem }) => stem);
  const others = fields
    .filter(({ stem }) => !entries.includes(stem))
    .flatMap(({ stem, inner }) => leavesOf(inner, stem, []));
  const singles = ["CONFIG", ...others.map(({ name }) => name)];
  return Object.keys(env)
    .sort()
    .flatMap((variable) => {
      const name = variable.slice(PREFIX.length);
      const isKnown = singles.includes(name) || [...entries, ...groups].some((stem) => name.startsWith(`${stem}_`));
      if (!env[variable] || !variable.startsWith(PREFIX) || isKnown) return [];
      const [word = "", ...rest] = name.split("_");
      const entry = meant(word, entries);
      const near = entry ? [entry, ...(rest.length ? rest : ["<NAME>_…"])].join("_") : meant(name, singles);
      return near ? [`${variable} names nothing of the configuration: did you mean ${PREFIX}${near}?`] : [];
    });
}

/** The leaf that "EU_HOURLY_TIME_ZONE" ends in, the longest one, under the entry that the rest names. */
function entryLeaf(words: string, field: string, leaves: Leaf[]): Leaf | undefined {
  const ending = leaves
    .filter(({ name }) => words.endsWith(`_${name}`) && words.length > name.length + 1)
    .sort((a, b) => b.name.length - a.name.length)[0];
  if (!ending) return undefined;
  const entry = words
    .slice(0, -ending.name.length - 1)
    .toLowerCase()
    .replaceAll("_", "-");
  return { ...ending, path: [field, entry, ...ending.path] };
}

function suggestion(variable: string, stem: string, leaves: Leaf[], isGroup: boolean): string {
  const names = leaves.map(({ name }) => name);
  const words = variable.slice(stem.length + 1).split("_");
  for (let cut = isGroup ? 0 : 1; cut < words.length; cut++) {
    const near = meant(words.slice(cut).join("_"), names);
    if (near) return `: did you mean ${[stem, ...words.slice(0, cut), near].join("_")}?`;
  }
  return `: it would be ${stem}_${isGroup ? "" : "<NAME>_"}${names[0]} or the like`;
}

/** Every value below a schema that one text can give. */
function leavesOf(schema: z.core.$ZodType, name: string, path: string[]): Leaf[] {
  const inner = unwrapped(schema);
  const leaf = (read: Leaf["read"]) => [{ name, path, read }];
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape).flatMap(([key, value]) =>
      leavesOf(value, name ? `${name}_${upperSnake(key)}` : upperSnake(key), [...path, key]),
    );
  }
  if (inner instanceof z.ZodUnion || inner instanceof z.ZodDiscriminatedUnion) {
    const all = inner.options.flatMap((option) => leavesOf(option as z.core.$ZodType, name, path));
    return [...new Map(all.map((one) => [one.name, one])).values()];
  }
  if (inner instanceof z.ZodArray && unwrapped(inner.element) instanceof z.ZodString) return leaf(listOf);
  if (inner instanceof z.ZodRecord && unwrapped(inner.valueType) instanceof z.ZodString) return leaf(pairsOf);
  if (inner instanceof z.ZodString || inner instanceof z.ZodEnum) return leaf((text) => text);
  if (inner instanceof z.ZodBoolean) return leaf((text) => ({ true: true, false: false })[text] ?? text);
  if (inner instanceof z.ZodNumber)
    return leaf((text) => (text.trim() && !Number.isNaN(Number(text)) ? Number(text) : text));
  return [];
}

/** The schema that says what a text is to be, out of what only wraps it. */
function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) return unwrapped(schema.def.innerType);
  if (schema instanceof z.ZodPipe) return unwrapped(schema.def.in);
  return schema;
}

function listOf(text: string): string[] {
  return text.split(",").map((part) => part.trim());
}

function pairsOf(text: string): unknown {
  const pairs = listOf(text).map((pair) => /^([^=]+)=(.*)$/s.exec(pair));
  return pairs.every((pair) => pair !== null) ? Object.fromEntries(pairs.map(([, key, value]) => [key, value])) : text;
}

function upperSnake(field: string): string {
  return field.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}
