import {
  type FilterSpec,
  isLifeboatError,
  LifeboatError,
  nameFilter,
  nameTime,
  parseDuration,
  parseSelector,
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
  checkNamespaces(options);
  const both = options.includeResources?.find((name) => options.excludeResources?.includes(name));
  if (both) {
    throw new LifeboatError("invalid", `"${both}" is both in --include-resources and in --exclude-resources`, {
      hint: "leave it out of one of them",
    });
  }
  return withoutUndefined({
    includedNamespaces: options.includeNamespaces,
    excludedNamespaces: options.excludeNamespaces,
    includedResources: options.includeResources,
    excludedResources: options.excludeResources,
    includeClusterResources: booleanOf(options.includeClusterResources),
    labelSelector: readFlag("--selector", options.selector, parseSelector),
  });
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
  if (text === undefined || !/^\d{4}-/.test(text)) return durationFlag("--retain-until", text);
  return readFlag("--retain-until", text, () => {
    const seconds = Math.ceil((Date.parse(text) - now.getTime()) / 1000);
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

/** Velero's rules for namespaces speak of the spec's fields: here they are flags. */
function checkNamespaces({ includeNamespaces, excludeNamespaces }: FilterOptions): void {
  try {
    nameFilter(includeNamespaces, excludeNamespaces);
  } catch (error) {
    if (!isLifeboatError(error)) throw error;
    const inFlags = (text: string) => text.replace(/\b(in|ex)cludedNamespaces\b/g, "--$1clude-namespaces");
    throw new LifeboatError(error.kind, inFlags(error.message), {
      hint: inFlags(error.hint ?? "leave it out of one of them"),
    });
  }
}

/** What `read` makes of a flag's text; its errors name the flag. */
export function readFlag<T>(flag: string, text: string | undefined, read: (text: string) => T): T | undefined {
  if (text === undefined) return undefined;
  try {
    return read(text);
  } catch (error) {
    if (!isLifeboatError(error)) throw error;
    throw new LifeboatError(error.kind, `${flag}: ${error.message}`, { hint: error.hint });
  }
}

function flagOf(option: string): string {
  return `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
