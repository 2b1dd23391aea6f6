import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from "yaml";
import { LifeboatError, messageOf } from "../../errors.ts";
import { goGlob } from "../../globs.ts";
import { parseExact } from "../../kube/json.ts";
import { meant } from "../../nearest.ts";
import { type Fields, isFields } from "../../objects/fields.ts";
import { type LabelSelector, selectorText } from "../../select.ts";
import { type Operation, pointerSteps } from "./jsonpatch.ts";
import type { ModifierPatch, ModifierRule } from "./modifiers.ts";

/**
 * Reads resource modifiers (Velero's ConfigMap format, velero-format: 5.10). Throws `invalid`, with `source` (the file's name), line and path of
 * what is wrong. Beside what Velero refuses when a restore begins, it refuses what Velero finds out only with the first
 * object that it concerns: patterns, values and patch data that can't be read, rules without a patch.
 */
export async function readModifiers(text: string, source: string): Promise<ModifierRule[]> {
  // Only here, since it takes a tenth of a second to load.
  const { RE2JS } = await import("re2js");
  const lines = new LineCounter();
  const document = parseDocument(text, { ...GO_YAML, lineCounter: lines });
  const fail: Fail = (node, path, problem, hint) => {
    const offset = node?.range?.[0] ?? document.contents?.range?.[0] ?? 0;
    throw new LifeboatError(
      "invalid",
      `${source}, line ${lines.linePos(offset).line || 1}: ${path && `${path}: `}${problem}`,
      { hint },
    );
  };
  const broken = document.errors[0];
  if (broken) {
    const line = lines.linePos(broken.pos[0]).line;
    throw new LifeboatError("invalid", `${source}, line ${line}: it is no YAML: ${firstLine(broken.message)}`);
  }
  const top = fieldsOf({ node: document.contents, path: "", document, fail, regex: (text) => RE2JS.compile(text) }, [
    "version",
    "resourceModifierRules",
  ]);
  const version = textOf(top.version);
  if (version?.toLowerCase() !== "v1")
    fail(top.version?.node, "version", version === undefined ? "is missing; it is v1" : `is "${version}"; known is v1`);
  const rules = entriesOf(top.resourceModifierRules);
  if (rules.length === 0) fail(top.resourceModifierRules?.node, "resourceModifierRules", "has no rule");
  return rules.map((place) => {
    const line = lines.linePos(place.node?.range?.[0] ?? 0).line;
    return { ...ruleOf(place), name: `${source}, line ${line}` };
  });
}

/** YAML as Go's sigs.k8s.io/yaml reads it: 1.1 without dates and base 60. */
const GO_YAML = {
  version: "1.1",
  intAsBigInt: true,
  customTags: (tags: unknown[]) =>
    tags.filter((tag) => {
      const { tag: name, format } = tag as { tag: string; format?: string };
      return name !== "tag:yaml.org,2002:timestamp" && format !== "TIME";
    }),
} as Parameters<typeof parseDocument>[1] & object;

type Fail = (node: Node | null | undefined, path: string, problem: string, hint?: string) => never;

/** A value of the file and where it stands. */
interface Place {
  node: Node | null | undefined;
  path: string;
  document: Document;
  fail: Fail;
  regex: (text: string) => { test(name: string): boolean };
  /** Of a field of a mapping. */
  key?: Node;
}

const PATCHES = ["patches", "mergePatches", "strategicPatches"] as const;
const OPERATIONS = ["add", "remove", "replace", "move", "copy", "test"];

function ruleOf(place: Place): Omit<ModifierRule, "name"> {
  const rule = fieldsOf(place, ["conditions", ...PATCHES]);
  const patches = PATCHES.map((kind) => ({ kind, entries: entriesOf(rule[kind]) })).filter(
    ({ entries }) => entries.length,
  );
  const [patch, second] = patches;
  if (!patch) return place.fail(place.node, place.path, `has no patch: give ${PATCHES.join(", ")}`);
  if (second) place.fail(rule[second.kind]?.node, place.path, `has ${patch.kind} and ${second.kind}: give one of them`);
  return {
    ...conditionsOf(rule.conditions ?? { ...place, path: `${place.path}.conditions`, node: undefined }),
    patch: patchOf(patch),
  };
}

function patchOf({ kind, entries }: { kind: (typeof PATCHES)[number]; entries: Place[] }): ModifierPatch {
  if (kind === "patches") return { kind: "json", operations: entries.map(operationOf) };
  return { kind: kind === "mergePatches" ? "merge" : "strategic", patches: entries.map(patchDataOf) };
}

function conditionsOf(place: Place): Omit<ModifierRule, "name" | "patch"> {
  const fields = fieldsOf(place, ["groupResource", "resourceNameRegex", "namespaces", "labelSelector", "matches"]);
  const { groupResource, resourceNameRegex, namespaces, labelSelector, matches } = fields;
  const resource = textOf(groupResource);
  if (!groupResource || !resource)
    return place.fail(place.node, `${place.path}.groupResource`, 'is missing; write it like "deployments.apps"');
  const globs = entriesOf(namespaces).map((entry) => attempt(entry, () => goGlob(textOf(entry) ?? "")));
  return {
    resource: attempt(groupResource, () => goGlob(resource, ".")),
    namespaces: globs.length ? globs : undefined,
    object: textOf(resourceNameRegex) && attempt(resourceNameRegex!, () => place.regex(textOf(resourceNameRegex)!)),
    labels: labelSelector && selectorOf(labelSelector),
    matches: entriesOf(matches).map((match) => {
      const { path, value } = fieldsOf(match, ["path", "value"]);
      return { op: "test", path: pointerOf(path, match, "path"), value: jsonOf(value, match) };
    }),
  } as Omit<ModifierRule, "name" | "patch">;
}

function selectorOf(place: Place): LabelSelector | undefined {
  const { matchLabels, matchExpressions } = fieldsOf(place, ["matchLabels", "matchExpressions"]);
  const selector: LabelSelector = {
    matchLabels: Object.fromEntries(membersOf(matchLabels).map(([key, value]) => [key, textOf(value) ?? ""])),
    matchExpressions: entriesOf(matchExpressions).map((entry) => {
      const { key, operator, values } = fieldsOf(entry, ["key", "operator", "values"]);
      return {
        key: textOf(key) ?? entry.fail(entry.node, `${entry.path}.key`, "is missing"),
        operator: textOf(operator) as "In",
        values: entriesOf(values).map((value) => textOf(value) ?? ""),
      };
    }),
  };
  attempt(place, () => selectorText(selector));
  return selector;
}

function operationOf(place: Place): Operation {
  const { operation, path, from, value } = fieldsOf(place, ["operation", "path", "from", "value"]);
  const op = textOf(operation);
  if (!op || !OPERATIONS.includes(op)) {
    const told = op ? `is "${op}"; known are ${OPERATIONS.join(", ")}` : "is missing";
    return place.fail((operation ?? place).node, `${place.path}.operation`, told);
  }
  const target = pointerOf(path, place, "path");
  if (op === "move" || op === "copy") return { op, path: target, from: pointerOf(from, place, "from") };
  if (op === "remove") return { op, path: target };
  return { op: op as Operation["op"], path: target, value: jsonOf(value, place) };
}

function pointerOf(place: Place | undefined, holder: Place, field: string): string[] {
  const text = textOf(place);
  if (!place || !text) return holder.fail(holder.node, `${holder.path}.${field}`, "is missing");
  const pointer = jsonText(place, text);
  if (!pointer.startsWith("/")) place.fail(place.node, place.path, `is "${text}"; it begins with "/"`);
  return pointerSteps(pointer);
}

/**
 * The JSON that a `value` stands for (Velero's addQuotes): text in double quotes and what is no other JSON is a string; null,
 * booleans, numbers, objects and lists are themselves.
 */
function jsonOf(place: Place | undefined, holder: Place): unknown {
  const text = textOf(place) ?? "";
  const at = place ?? { ...holder, path: `${holder.path}.value` };
  if (text.length > 1 && text.startsWith('"') && text.endsWith('"')) return jsonText(at, text.slice(1, -1));
  if (!isBare(text)) return jsonText(at, text);
  try {
    return parseExact(text);
  } catch {
    return at.fail(at.node, at.path, "is no JSON", `for the string itself write '"…"', with both kinds of quotes`);
  }
}

const GO_FLOAT =
  /^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|0x([\da-f_]+\.?[\da-f_]*|\.[\da-f_]+)p[+-]?\d+|inf(inity)?|nan)$/i;

function isBare(text: string): boolean {
  if (text === "null" || /^(true|false)$/i.test(text) || /^[{[]/.test(text)) return true;
  return GO_FLOAT.test(text) && (/[xn]/i.test(text) || Number.isFinite(Number(text)));
}

/** Velero puts the text between double quotes as it is: a backslash begins an escape, a double quote ends the text. */
function jsonText(place: Place, text: string): string {
  try {
    const value = JSON.parse(`"${text}"`);
    if (typeof value === "string") return value;
  } catch {}
  return place.fail(place.node, place.path, "is no JSON string", 'write " as \\" and \\ as \\\\, line breaks as \\n');
}

function patchDataOf(place: Place): Fields {
  const { patchData } = fieldsOf(place, ["patchData"]);
  const text = textOf(patchData);
  if (!patchData || !text) return place.fail(place.node, `${place.path}.patchData`, "is missing");
  const document = parseDocument(text, GO_YAML);
  const broken = document.errors[0];
  if (broken) patchData.fail(patchData.node, patchData.path, `is no YAML: ${firstLine(broken.message)}`);
  const data = attempt(patchData, () => exact(document.toJS()));
  return isFields(data) ? data : patchData.fail(patchData.node, patchData.path, "is no mapping");
}

/** What YAML gives as JSON has it, integers of any size. */
function exact(value: unknown): unknown {
  if (typeof value === "bigint") return parseExact(String(value));
  if (Array.isArray(value)) return value.map(exact);
  if (typeof value === "number" && !Number.isFinite(value)) throw new LifeboatError("invalid", `${value} is no JSON`);
  if (!isFields(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, exact(one)]));
}

function fieldsOf<Name extends string>(place: Place, names: readonly Name[]): Partial<Record<Name, Place>> {
  const found: Partial<Record<Name, Place>> = {};
  for (const [key, value] of membersOf(place)) {
    const near = meant(key, [...names]);
    if (!names.includes(key as Name))
      place.fail(
        value.key,
        value.path,
        `unknown field${near ? `: did you mean ${near}?` : `, known are ${names.join(", ")}`}`,
      );
    found[key as Name] = value;
  }
  return found;
}

/** The members of a mapping; none where it isn't given. */
function membersOf(place: Place | undefined): [string, Place][] {
  const node = resolved(place);
  if (!place || isNothing(node)) return [];
  if (!isMap(node)) return place.fail(node, place.path, "should be a mapping");
  return (node.items as Pair<Node, Node | null>[]).map(({ key, value }) => {
    const name = String(isScalar(key) ? (key.source ?? key.value) : key);
    return [name, { ...place, node: value ?? key, key, path: place.path ? `${place.path}.${name}` : name }];
  });
}

/** The entries of a list; none where it isn't given. */
function entriesOf(place: Place | undefined): Place[] {
  const node = resolved(place);
  if (!place || isNothing(node)) return [];
  if (!isSeq(node)) return place.fail(node, place.path, "should be a list");
  return (node.items as Node[]).map((item, at) => ({ ...place, node: item, path: `${place.path}[${at}]` }));
}

/** A scalar as text, as Kubernetes' YAML takes numbers and booleans where text is wanted; undefined where it isn't given. */
function textOf(place: Place | undefined): string | undefined {
  const node = resolved(place);
  if (!place || isNothing(node)) return undefined;
  return isScalar(node) ? String(node.value) : place.fail(node, place.path, "should be text");
}

function resolved(place: Place | undefined): Node | null | undefined {
  const { node, document } = place ?? {};
  return node && "source" in node && !isScalar(node) && !isMap(node) && !isSeq(node) ? node.resolve(document!) : node;
}

function isNothing(node: Node | null | undefined): boolean {
  return !node || (isScalar(node) && node.value === null);
}

/** What `read` throws, with the place. */
function attempt<Result>({ node, path, fail }: Place, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    return fail(node, path, messageOf(error));
  }
}

function firstLine(message: string): string {
  return message.split("\n")[0]!.replace(/ at line \d+, column \d+:?$/, "");
}
