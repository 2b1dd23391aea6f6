import { parseDuration } from "./duration.ts";
import { isLifeboatError } from "./errors.ts";
import type { Kube } from "./kube/client.ts";
import type { Log } from "./log.ts";
import { type LabelSelector, matchesSelector, nameFilter } from "./select.ts";

/** What Velero's hooks of a backup and of a restore have in common (velero-format: 4.8, 5.9). */

/** A command that is run in a container of a Pod. */
export interface Hook {
  /** As the spec names it, or `FROM_ANNOTATION`. */
  name: string;
  container: string;
  /** The program and its arguments; no shell. */
  command: string[];
  /** What its failure does to what follows. */
  onError: "Continue" | "Fail";
  /** Undefined stands for the 30 s of Velero. */
  timeoutMs: number | undefined;
}

export const FROM_ANNOTATION = "<from-annotation>";

/** Velero's default of a hook's own time. */
const TIMEOUT_MS = 30_000;

/** Which Pods an entry of `spec.hooks.resources` is for. Throws `invalid` for namespaces or selectors that can't be. */
export function hookSelector(entry: {
  includedNamespaces?: string[];
  excludedNamespaces?: string[];
  labelSelector?: LabelSelector;
}): (namespace: string, labels: Record<string, string>) => boolean {
  const { labelSelector } = entry;
  const inNamespace = nameFilter(entry.includedNamespaces, entry.excludedNamespaces);
  if (labelSelector) matchesSelector(labelSelector);
  return (namespace, labels) => inNamespace(namespace) && (!labelSelector || matchesSelector(labelSelector, labels));
}

/** A hook's annotations, whose keys begin with `prefix`. What of them is not understood, and disregarded, is in `warnings`. */
export function hookAnnotations(annotations: Record<string, string> | undefined, prefix: string) {
  const warnings: string[] = [];
  const text = (key: string) => annotations?.[prefix + key] || undefined;
  const odd = (key: string) => void warnings.push(`its annotation ${prefix}${key} is not understood, and disregarded`);
  return {
    warnings,
    /** Undefined where it isn't there, or is empty. */
    text,
    /** Undefined for all but these. */
    oneOf<Value>(key: string, values: ReadonlyMap<string, Value>): Value | undefined {
      const given = text(key);
      if (given !== undefined && !values.has(given)) odd(key);
      return values.get(given ?? "");
    },
    /** In milliseconds; undefined for anything that is no duration. */
    duration(key: string): number | undefined {
      try {
        return hookDuration(text(key));
      } catch (error) {
        if (!isLifeboatError(error)) throw error;
        return odd(key);
      }
    },
  };
}

/** A Go duration in milliseconds; undefined for none, and for zero, with which Velero says the same. */
export function hookDuration(duration: string | undefined): number | undefined {
  return (duration && parseDuration(duration)) || undefined;
}

/** A JSON list of texts, or else the whole text as the one word: no shell splits it (Velero parseStringToCommand). */
export function parseCommand(text: string): string[] {
  if (!text.startsWith("[")) return [text];
  try {
    const words: unknown = JSON.parse(text);
    return Array.isArray(words) && words.every((word) => typeof word === "string") ? words : [text];
  } catch {
    return [text];
  }
}

/** What a report says of a hook that failed. */
export function hookFailure({ name, container }: { name: string; container?: string }, why: string): string {
  return `hook ${name}${container ? ` in container ${container}` : ""}: ${why}`;
}

/**
 * Runs a hook, and logs what it wrote; with `withhold`, only how much: a log is stored and shown in clear, where what is read is
 * to be encrypted. Resolves with why it failed; undefined where it didn't. Throws what `kube.exec` throws:
 * then nobody knows how it ended.
 */
export async function runHook(
  kube: Kube,
  { name, container, command, timeoutMs = TIMEOUT_MS }: Hook,
  at: { namespace: string; pod: string; log: Log; withhold?: boolean; signal?: AbortSignal },
): Promise<string | undefined> {
  if (command.length === 0) return "not run: its command is empty";
  const { namespace, pod, log, withhold, signal } = at;
  const about = { pod: `${namespace}/${pod}`, container, hook: name };
  log("info", "Running a hook", about);
  const { exitCode, stdout, stderr } = await kube.exec({ namespace, pod, container, command, timeoutMs, signal });
  const shown = (text: string) =>
    withhold && text ? `${Buffer.byteLength(text)} bytes, left out since the backup is encrypted` : text;
  log("info", "A hook ended", { ...about, exitCode, stdout: shown(stdout), stderr: shown(stderr) });
  const where = withhold ? "" : "; the log has its output";
  return exitCode === 0 ? undefined : `its command ended with exit code ${exitCode}${where}`;
}
