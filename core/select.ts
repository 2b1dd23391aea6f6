import { z } from "zod";
import { LifeboatError } from "./errors.ts";
import { strictFields } from "./fields.ts";
import { goGlob } from "./globs.ts";
import { type Resource, resourceKey } from "./kube/resource.ts";

/** Kubernetes' metav1.LabelSelector: all of its requirements must hold. */
export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: LabelRequirement[];
}

export interface LabelRequirement {
  key: string;
  operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  values?: string[];
}

export const labelSelectorSchema = strictFields({
  matchLabels: z.record(z.string(), z.string()).optional(),
  matchExpressions: z
    .array(
      strictFields({
        key: z.string(),
        operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]),
        values: z.array(z.string()).optional(),
      }),
    )
    .optional(),
}) satisfies z.ZodType<LabelSelector>;

/** Which fields of the spec a filter comes from, for messages: "Namespaces" stands for includedNamespaces and excludedNamespaces. */
type FilterSubject = "Namespaces" | "Resources" | "ClusterScopedResources" | "NamespaceScopedResources";

/** Whether the filter takes everything that isn't excluded: no includes, or "*". */
export function includesAll(includes: string[] | undefined): boolean {
  return !includes?.length || includes.includes("*");
}

/**
 * Velero's filter of namespaces: a name passes where an include matches it (none, or "*": all do) and no exclude does.
 * Patterns are names or globs with `*`, `?` and `[a-c]`. Throws `invalid` by Velero's rules: "*" only alone and only in
 * includes, nothing in both lists, none of `| ( ) ! { } ,` or `**`, brackets closed and not empty, and the rest of a
 * pattern could be a namespace's name.
 */
export function nameFilter(includes: string[] | undefined, excludes: string[] | undefined): (name: string) => boolean {
  checkLists(includes, excludes, "Namespaces");
  for (const pattern of [...(includes ?? []), ...(excludes ?? [])]) checkNamespacePattern(pattern);
  return globFilter(includes, excludes);
}

/**
 * Velero's filter of resources. Includes and excludes name them as kubectl does: plural, singular or kind in any case, or
 * short name, with or without the group or its beginning ("deploy", "deployments.apps", "certificates.cert-manager").
 * Of several groups that serve a name without a group the core one wins, then the first of `resources`. Globs match the
 * group-resource string ("*.cert-manager.io"); a name that `resources` doesn't have is taken as that string. The
 * answer takes a resource or such a string. Throws as `checkLists`.
 */
export function resourceFilter(
  includes: string[] | undefined,
  excludes: string[] | undefined,
  resources: Pick<Resource, "group" | "name" | "kind" | "singular" | "shortNames">[],
  subject: Exclude<FilterSubject, "Namespaces"> = "Resources",
): (resource: string | Pick<Resource, "group" | "name">) => boolean {
  checkLists(includes, excludes, subject);
  const resolve = (name: string) => resolveResource(name, resources);
  const passes = globFilter(includes?.map(resolve), excludes?.map(resolve));
  return (resource) => passes(typeof resource === "string" ? resource : resourceKey(resource));
}

/** The resource that a user's name of one stands for (see `resourceFilter`); undefined where none of these is meant. */
export function findResource<One extends NamedResource>(name: string, resources: One[]): One | undefined {
  const key = resolveResource(name, resources);
  return resources.find((resource) => resourceKey(resource) === key);
}

type NamedResource = Pick<Resource, "group" | "name" | "kind" | "singular" | "shortNames">;

/** The group-resource string a user's name of a resource stands for (see `resourceFilter`); the name itself where there is none. */
export function resolveResource(name: string, resources: NamedResource[]): string {
  if (isGlob(name)) return name;
  const [short = "", ...rest] = name.split(".");
  const lower = short.toLowerCase();
  const group = rest.join(".").toLowerCase();
  const named = resources.filter(
    (resource) =>
      ([resource.name, resource.singular, resource.kind.toLowerCase()].includes(lower) ||
        resource.shortNames.includes(short)) &&
      resource.group.startsWith(group),
  );
  const found = named.find((resource) => resource.group === group) ?? named[0];
  return found ? resourceKey(found) : name;
}

/**
 * Parses a label selector as kubectl takes it: `app=web,tier!=db,env in (a,b),zone notin (c),canary,!legacy`. Throws
 * `invalid` for anything else, `>` and `<` among it: a LabelSelector can't say them.
 */
export function parseSelector(text: string): LabelSelector {
  const terms = text.split(/,(?![^(]*\))/).map((term) => term.trim());
  if (terms.length === 1 && terms[0] === "") return {};
  const selector: { matchLabels: Record<string, string>; matchExpressions: LabelRequirement[] } = {
    matchLabels: {},
    matchExpressions: [],
  };
  for (const term of terms) {
    const requirement = parseTerm(term, text);
    const { key, operator, values } = requirement;
    if (operator === "In" && values?.length === 1 && !(key in selector.matchLabels) && !/\bin\s*\(/.test(term)) {
      selector.matchLabels[key] = values[0]!;
    } else {
      selector.matchExpressions.push(requirement);
    }
  }
  return {
    ...(Object.keys(selector.matchLabels).length ? { matchLabels: selector.matchLabels } : {}),
    ...(selector.matchExpressions.length ? { matchExpressions: selector.matchExpressions } : {}),
  };
}

/** The selector as the API server's `labelSelector` parameter takes it; "" selects all. Throws `invalid` for a broken one. */
export function selectorText(selector: LabelSelector): string {
  return requirements(selector)
    .map(({ key, operator, values = [] }) => {
      if (operator === "Exists") return key;
      if (operator === "DoesNotExist") return `!${key}`;
      return `${key} ${operator === "In" ? "in" : "notin"} (${values.join(",")})`;
    })
    .join(",");
}

/** Whether labels satisfy the selector. As in Kubernetes, NotIn also holds where the label is absent. Throws `invalid` for a broken selector. */
export function matchesSelector(selector: LabelSelector, labels: Record<string, string> = {}): boolean {
  return requirements(selector).every(({ key, operator, values = [] }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    if (operator === "Exists") return value !== undefined;
    if (operator === "DoesNotExist") return value === undefined;
    return (value !== undefined && values.includes(value)) === (operator === "In");
  });
}

/** Whether it requires nothing. */
export function isEmptySelector(selector: LabelSelector): boolean {
  return requirements(selector).length === 0;
}

/** Throws `invalid` where both kinds of selectors are given, be it an empty list (Velero, 4.1 and 5.1). */
export function checkOneSelector(one: LabelSelector | undefined, several: LabelSelector[] | undefined): void {
  if (one && several) throw invalid("labelSelector and orLabelSelectors can't be given together");
}

/** One object as users name it. */
export interface NamedItem {
  /** "" for a cluster-scoped one. */
  namespace: string;
  /** As a user names it: "deploy", "deployments.apps". */
  resource: string;
  name: string;
}

/** Reads "namespace/resource/name" or, of a cluster-scoped object, "resource/name". Throws `invalid`. */
export function parseItem(text: string): NamedItem {
  const parts = text.split("/");
  const [namespace, resource, name] = parts.length === 2 ? ["", ...parts] : parts;
  if (parts.length <= 3 && resource && name && (parts.length === 2 || namespace))
    return { namespace: namespace!, resource, name };
  throw invalid(
    `"${text}" names no object`,
    "write it like shop/deployments.apps/web, a cluster-scoped one like clusterroles/admin",
  );
}

function requirements(selector: LabelSelector): LabelRequirement[] {
  const expressions = selector.matchExpressions ?? [];
  for (const { key, operator, values } of expressions) {
    const wants = { In: true, NotIn: true, Exists: false, DoesNotExist: false }[operator];
    if (wants === undefined)
      throw invalid(
        `labelSelector: unknown operator "${operator}" for ${key}`,
        "use In, NotIn, Exists or DoesNotExist",
      );
    if (wants !== !!values?.length)
      throw invalid(`labelSelector: ${operator} for ${key} ${wants ? "needs" : "takes no"} values`);
  }
  const equalities = Object.entries(selector.matchLabels ?? {});
  return [
    ...equalities.map(([key, value]): LabelRequirement => ({ key, operator: "In", values: [value] })),
    ...expressions,
  ];
}

const KEY = "((?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)";
const VALUE = "([A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?|)";
const TERMS: { pattern: RegExp; operator: LabelRequirement["operator"] }[] = [
  { pattern: new RegExp(`^${KEY}$`), operator: "Exists" },
  { pattern: new RegExp(`^!\\s*${KEY}$`), operator: "DoesNotExist" },
  { pattern: new RegExp(`^${KEY}\\s*==?\\s*${VALUE}$`), operator: "In" },
  { pattern: new RegExp(`^${KEY}\\s*!=\\s*${VALUE}$`), operator: "NotIn" },
  { pattern: new RegExp(`^${KEY}\\s+in\\s*\\(([^()]*)\\)$`), operator: "In" },
  { pattern: new RegExp(`^${KEY}\\s+notin\\s*\\(([^()]*)\\)$`), operator: "NotIn" },
];
const ONE_VALUE = new RegExp(`^${VALUE}$`);

function parseTerm(term: string, text: string): LabelRequirement {
  for (const { pattern, operator } of TERMS) {
    const [, key, list] = pattern.exec(term) ?? [];
    if (!key) continue;
    if (list === undefined) return { key, operator };
    const values = list.split(",").map((value) => value.trim());
    if (values.every((value) => ONE_VALUE.test(value))) return { key, operator, values };
  }
  throw invalid(
    `label selector "${text}": can't understand "${term}"`,
    "write it like app=web,tier!=db,env in (a,b),!legacy",
  );
}

function globFilter(includes: string[] | undefined, excludes: string[] | undefined): (name: string) => boolean {
  const included = includesAll(includes) ? () => true : anyGlob(includes ?? []);
  const excluded = anyGlob(excludes ?? []);
  return (name) => included(name) && !excluded(name);
}

/** Whether a text is one of these names or matches one of these globs, as Velero's library has them. Throws `invalid` for a broken one. */
export function anyGlob(patterns: string[]): (name: string) => boolean {
  const names = new Set(patterns.filter((pattern) => !isGlob(pattern)));
  const globs = patterns.filter(isGlob).map((pattern) => goGlob(pattern));
  return (name) => names.has(name) || globs.some((glob) => glob.test(name));
}

/** Whether a pattern of a filter is more than a name. */
export function isGlob(pattern: string): boolean {
  return /[*?[{]/.test(pattern);
}

/**
 * Throws `invalid` for what Velero's validation refuses of a pair of lists, as they are written: "*" beside others, "*" in
 * excludes (in the newer filters of the two scopes it may stand there, alone and with nothing included), and a name in both.
 */
export function checkLists(includes: string[] = [], excludes: string[] = [], subject: FilterSubject): void {
  const [included, excluded] = [`included${subject}`, `excluded${subject}`];
  if (includes.includes("*") && includes.length > 1)
    throw invalid(`${included}: "*" stands for all and must be the only entry`);
  if (excludes.includes("*")) {
    const mayExcludeAll = subject === "ClusterScopedResources" || subject === "NamespaceScopedResources";
    if (!mayExcludeAll)
      throw invalid(
        `${excluded}: "*" would exclude everything`,
        `name what to leave out, or what to keep in ${included}`,
      );
    if (excludes.length > 1 || includes.length)
      throw invalid(`${excluded}: "*" must be the only entry, with nothing in ${included}`);
  }
  const both = includes.find((name) => excludes.includes(name));
  if (both !== undefined) throw invalid(`"${both}" is both in ${included} and in ${excluded}`);
}

/** Throws `invalid` for a pattern of namespaces that Velero refuses; `loosely`, not because it could be no namespace's name. */
export function checkNamespacePattern(pattern: string, { loosely = false } = {}): void {
  if (pattern === "*") return;
  const rules: [boolean, string][] = [
    [/[|()!{},]/.test(pattern), "holds one of | ( ) ! { } ,"],
    [pattern.includes("**"), "holds **"],
    [/[[\]]/.test(pattern.replace(/\[[^\]]+\]/g, "")), "has brackets that are empty or not closed"],
    [
      !loosely && !/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(pattern.replace(/[[\]*?]/g, "x")),
      "can't be a namespace's name",
    ],
  ];
  const broken = rules.find(([fails]) => fails);
  if (broken)
    throw invalid(
      `namespace pattern "${pattern}" ${broken[1]}`,
      "use names, * for any text, ? for one character, [a-c] for one of these",
    );
}

function invalid(message: string, hint?: string): LifeboatError {
  return new LifeboatError("invalid", message, { hint });
}
