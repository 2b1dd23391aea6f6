import { z } from "zod";
import { meant } from "./nearest.ts";
import { someOf } from "./report.ts";

/** One value of the configuration that an environment variable gives. */
export interface Setting {
  variable: string;
  path: string[];
  value: unknown;
}

/** A value of a schema: its name in upper snake case, and where it lies. */
interface Place {
  name: string;
  path: string[];
  /** How the text of a variable is read; absent where no text gives it. */
  read?: (text: string) => unknown;
}

/** One that a variable can give. */
type Leaf = Required<Place>;

const PREFIX = "LIFEBOAT_";

/**
 * What the environment says of the configuration that `schema` describes. A variable is LIFEBOAT_ and the path of a
 * value in upper snake case; the name of an entry stands in it with "_" for "-": LIFEBOAT_SCHEDULES_EU_HOURLY_TIME_ZONE
 * is `schedules.eu-hourly.timeZone`. Lists are written "a,b", mappings of texts "a=1,b=2". An empty variable is as
 * none. `unknown`: a line for each variable that can't be meant for anything else, or comes near to one of the schema's, and names
 * nothing of it, or what no variable can give.
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
    const places = isEntries ? placesIn(inner.valueType, "", []) : placesIn(inner, "", [field]);
    const stem = `${PREFIX}${upperSnake(field)}`;
    for (const [variable, text] of Object.entries(env).sort()) {
      const below = isEntries || isGroup;
      if (!text || !((below && variable.startsWith(`${stem}_`)) || (!isEntries && variable === stem))) continue;
      const rest = variable.slice(stem.length + 1);
      const found = isEntries ? entryPlace(rest, field, places) : placeOf(rest, places);
      if (found?.read) settings.push({ variable, path: found.path, value: found.read(text) });
      else if (found) unknown.push(noText(variable, found, places));
      else unknown.push(`${variable} names nothing of the configuration${suggestion(variable, stem, places, isGroup)}`);
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
    .flatMap(({ stem, inner }) => placesIn(inner, stem, []).filter(isLeaf));
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

function isLeaf(place: Place): place is Leaf {
  return place.read !== undefined;
}

/** What is called that, or holds it where nothing of what it holds has a name here. */
function placeOf(words: string, places: Place[]): Place | undefined {
  const isHeld = ({ name }: Place) => words.startsWith(`${name}_`) && namesIn(name, places).length === 0;
  return places.find(({ name }) => name === words) ?? places.find((place) => !isLeaf(place) && isHeld(place));
}

/** The names of what a variable can give in a mapping of that name, without the mapping's. */
function namesIn(name: string, places: Place[]): string[] {
  const stem = name && `${name}_`;
  return places
    .filter((place) => isLeaf(place) && place.name.startsWith(stem))
    .map((leaf) => leaf.name.slice(stem.length));
}

/** What to write in place of a variable that is called as one that no text gives. */
function noText(variable: string, { name, path }: Place, places: Place[]): string {
  const variables = namesIn(name, places).map((rest) => `${variable}_${rest}`);
  const todo =
    variables.length > 0 ? `give what is in it: ${someOf(variables, 3)}` : "only the configuration's file can say it";
  return `${variable}: ${path.join(".")} is no text: ${todo}`;
}

/** The place that "EU_HOURLY_TIME_ZONE" ends in, the longest one, under the entry that the rest names. */
function entryPlace(words: string, field: string, places: Place[]): Place | undefined {
  const ending = places
    .filter(({ name }) => words.endsWith(`_${name}`) && words.length > name.length + 1)
    .sort((a, b) => b.name.length - a.name.length)[0];
  if (!ending) return undefined;
  const entry = words
    .slice(0, -ending.name.length - 1)
    .toLowerCase()
    .replaceAll("_", "-");
  return { ...ending, path: [field, entry, ...ending.path] };
}

function suggestion(variable: string, stem: string, places: Place[], isGroup: boolean): string {
  const names = places.filter(isLeaf).map(({ name }) => name);
  const words = variable.slice(stem.length + 1).split("_");
  for (let cut = isGroup ? 0 : 1; cut < words.length; cut++) {
    const near = meant(words.slice(cut).join("_"), names);
    if (near) return `: did you mean ${[stem, ...words.slice(0, cut), near].join("_")}?`;
  }
  return `: it would be ${stem}_${isGroup ? "" : "<NAME>_"}${names[0]} or the like`;
}

/** Every value of a schema. */
function placesIn(schema: z.core.$ZodType, name: string, path: string[]): Place[] {
  const inner = unwrapped(schema);
  const leaf = (read?: Place["read"]) => [{ name, path, read }];
  if (inner instanceof z.ZodObject) {
    const fields = Object.entries(inner.shape).flatMap(([key, value]) =>
      placesIn(value, name ? `${name}_${upperSnake(key)}` : upperSnake(key), [...path, key]),
    );
    return path.length > 0 ? [...leaf(), ...fields] : fields;
  }
  if (inner instanceof z.ZodUnion || inner instanceof z.ZodDiscriminatedUnion) {
    const all = inner.options.flatMap((option) => placesIn(option as z.core.$ZodType, name, path));
    const known = all.filter((one) => isLeaf(one) || !all.some((other) => isLeaf(other) && other.name === one.name));
    return [...new Map(known.map((one) => [one.name, one])).values()];
  }
  if (inner instanceof z.ZodArray && unwrapped(inner.element) instanceof z.ZodString) return leaf(listOf);
  if (inner instanceof z.ZodRecord && unwrapped(inner.valueType) instanceof z.ZodString) return leaf(pairsOf);
  if (inner instanceof z.ZodString || inner instanceof z.ZodEnum) return leaf((text) => text);
  if (inner instanceof z.ZodBoolean) return leaf((text) => ({ true: true, false: false })[text] ?? text);
  if (inner instanceof z.ZodNumber)
    return leaf((text) => (text.trim() && !Number.isNaN(Number(text)) ? Number(text) : text));
  return leaf();
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
