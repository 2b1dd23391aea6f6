import { readFile } from "node:fs/promises";
import {
  type BackupSpec,
  checkBackupFilters,
  checkLabels,
  checkPolicies,
  type FilterSpec,
  isLifeboatError,
  type LabelSelector,
  LifeboatError,
  nameFilter,
  nameTime,
  parseDuration,
  parseSelector,
  readPolicies,
} from "../../core/index.ts";

/** The flags that `backup create` and `restore create` both have, as commander gives them. */
export interface FilterOptions {
  includeNamespaces?: string[];
  excludeNamespaces?: string[];
  includeResources?: string[];
  excludeResources?: string[];
  includeClusterResources?: "true" | "false";
  selector?: string;
}

/** Checks the filter flags as far as that goes without a cluster. Throws `invalid`, naming the flag. */
export function filterSpec(options: FilterOptions): FilterSpec {
  for (const flag of ["includeNamespaces", "excludeNamespaces", "includeResources", "excludeResources"] as const) {
    if (options[flag]?.some((name) => name === "")) {
      throw new LifeboatError("invalid", `${flagOf(flag)} holds an empty name`, {
        hint: "separate names by single commas: a,b",
      });
    }
  }
  if (options.selector === "") {
    throw new LifeboatError("invalid", "--selector is empty", { hint: "leave it out to select everything" });
  }
  const lists = {
    includedNamespaces: options.includeNamespaces,
    excludedNamespaces: options.excludeNamespaces,
    includedResources: options.includeResources,
    excludedResources: options.excludeResources,
  };
  inFlags(() => {
    nameFilter(lists.includedNamespaces, lists.excludedNamespaces);
    checkBackupFilters(lists);
  });
  return withoutUndefined({
    ...lists,
    includeClusterResources: booleanOf(options.includeClusterResources),
    labelSelector: readFlag("--selector", options.selector, parseSelector),
  });
}

/** The flags that `backup create` has beside those. */
export interface BackupFilterOptions extends FilterOptions {
  includeClusterScopedResources?: string[];
  excludeClusterScopedResources?: string[];
  includeNamespaceScopedResources?: string[];
  excludeNamespaceScopedResources?: string[];
  orSelector?: string;
  orderedResources?: string;
  resourcePoliciesFile?: string;
  resourcePoliciesConfigmap?: string;
}

/** Checks the filter flags of a backup as far as that goes without a cluster. Throws `invalid`, naming the flag. */
export async function backupFilterSpec(options: BackupFilterOptions): Promise<BackupSpec> {
  const { resourcePoliciesFile: file, resourcePoliciesConfigmap: configmap } = options;
  const rules = await readTextFlag("--resource-policies-file", file, { "--resource-policies-configmap": configmap });
  const spec: BackupSpec = withoutUndefined({
    ...filterSpec(options),
    includedClusterScopedResources: options.includeClusterScopedResources,
    excludedClusterScopedResources: options.excludeClusterScopedResources,
    includedNamespaceScopedResources: options.includeNamespaceScopedResources,
    excludedNamespaceScopedResources: options.excludeNamespaceScopedResources,
    orLabelSelectors: readSelectors(options.orSelector),
    orderedResources: readMappings("--ordered-resources", "=", options.orderedResources?.split(";")),
    resourcePolicyRules: rules,
    resourcePolicy: configMapFlag(configmap),
  });
  if (spec.labelSelector && spec.orLabelSelectors)
    throw new LifeboatError("invalid", "give one of --selector and --or-selector");
  const policies = rules === undefined ? undefined : readPolicies(rules, file);
  inFlags(() => {
    checkBackupFilters(spec);
    if (policies) checkPolicies(spec, policies);
  });
  return spec;
}

/** Checks a duration flag and gives its text back. Throws `invalid`, naming the flag. */
export function durationFlag(flag: string, text: string | undefined): string | undefined {
  return readFlag(flag, text, (duration) => {
    if (parseDuration(duration) > 0) return duration;
    throw new LifeboatError("invalid", `"${duration}" is no time at all`, {
      hint: 'write it as Go does: "720h", "1h30m"',
    });
  });
}

/** `--retain-until`, a day, a time or a duration from now, as a duration. */
export function retainFlag(text: string | undefined, now = new Date()): string | undefined {
  if (text === undefined) return undefined;
  if (/^[-+\d.hmsuµn]*[hmsn]$/.test(text)) return durationFlag("--retain-until", text);
  return readFlag("--retain-until", text, () => {
    const time = /^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN;
    const seconds = Math.ceil((time - now.getTime()) / 1000);
    if (seconds > 0) return `${seconds}s`;
    throw new LifeboatError("invalid", `"${text}" is ${Number.isNaN(seconds) ? "no time" : "over"}`, {
      hint: 'write a day to come, "2030-01-31", a time, "2030-01-31T12:00:00Z", or a duration, "720h"',
    });
  });
}

/** "true" or "false" of a flag as a boolean. */
export function booleanOf(value: "true" | "false" | undefined): boolean | undefined {
  return value === undefined ? undefined : value === "true";
}

/** `fields` without those that are undefined, so that the spec stored says only what was asked for. */
export function withoutUndefined<Fields extends object>(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Fields;
}

/** Names for runs that were given none: `prefix-YYYYMMDDhhmmss`, in UTC. */
export function timestampedName(prefix: string, now = new Date()): string {
  return `${prefix}-${nameTime(now)}`;
}

/** The rules of filters speak of the spec's fields: here they are flags. */
function inFlags(check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!isLifeboatError(error)) throw error;
    const translated = (text: string) =>
      text
        .replace(/\b(in|ex)cluded([A-Z]\w+)\b/g, (_, which: string, what: string) => flagOf(`${which}clude${what}`))
        .replaceAll("includeClusterResources", "--include-cluster-resources");
    throw new LifeboatError(error.kind, translated(error.message), {
      hint: translated(error.hint ?? "leave it out of one of them"),
    });
  }
}

/** `app=web or app=api`, as Velero's `--or-selector`. Throws `invalid`. */
export function readSelectors(text: string | undefined): LabelSelector[] | undefined {
  return text?.split(/\s+or\s+/).map((selector) => readFlag("--or-selector", selector, parseSelector)!);
}

/** Pairs of a flag as a mapping. Throws `invalid`, with an example of how they are written. */
export function readMappings(
  flag: string,
  between: string,
  pairs: string[] | undefined,
): Record<string, string> | undefined {
  if (!pairs) return undefined;
  const mapping: Record<string, string> = {};
  for (const pair of pairs) {
    const [from = "", to = "", ...rest] = pair.split(between);
    const fault =
      !from || !to || rest.length > 0
        ? `"${pair}" is not a pair`
        : Object.hasOwn(mapping, from)
          ? `"${from}" stands there twice`
          : undefined;
    if (fault) throw new LifeboatError("invalid", `${flag}: ${fault}`, { hint: `write it like ${EXAMPLES[flag]}` });
    mapping[from] = to;
  }
  return mapping;
}

/** `--labels` as Kubernetes takes them. Throws `invalid`. */
export function labelsFlag(pairs: string[] | undefined): Record<string, string> | undefined {
  return readFlag("--labels", readMappings("--labels", "=", pairs), (labels) => {
    checkLabels(labels);
    return labels;
  });
}

const EXAMPLES: Record<string, string> = {
  "--ordered-resources": "'pods=shop/a,shop/b;configmaps=shop/c'",
  "--labels": "--labels team=web,tier=front",
  "--annotations": "--annotations example.com/ticket=OPS-1",
  "--namespace-mappings": "shop:shop-copy,db:db-copy",
  "--zone-mapping": "eu-west-1a=eu-west-1b",
  "--map-domain": "shop.example=green.example",
  "--map-registry": "registry.example=mirror.example/blue,docker.io=hub.example",
  "--map-storage-class": "gp2=premium",
  "--map-ingress-class": "nginx=traefik",
};

/** The text of the file that a flag names. Throws `invalid` where `other`, a flag in its place, is given too. */
export async function readTextFlag(
  flag: string,
  file: string | undefined,
  other: Record<string, string | undefined>,
): Promise<string | undefined> {
  if (file === undefined) return undefined;
  const [also] = Object.keys(other).filter((name) => other[name] !== undefined);
  if (also) throw new LifeboatError("invalid", `give one of ${flag} and ${also}`);
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new LifeboatError("invalid", `${flag}: can't read ${file}`, { cause });
  }
}

/** A ConfigMap that a flag names, as specs name it. */
export function configMapFlag(name: string | undefined): { kind: string; name: string } | undefined {
  return name === undefined ? undefined : { kind: "configmap", name };
}

/** What `read` makes of a flag's text; its errors name the flag. */
export function readFlag<Given, T>(flag: string, given: Given | undefined, read: (given: Given) => T): T | undefined {
  if (given === undefined) return undefined;
  try {
    return read(given);
  } catch (error) {
    if (!isLifeboatError(error)) throw error;
    throw new LifeboatError(error.kind, `${flag}: ${error.message}`, { hint: error.hint });
  }
}

function flagOf(option: string): string {
  return `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
