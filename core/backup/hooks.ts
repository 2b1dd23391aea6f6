import type { KubernetesObject } from "../archive/item.ts";
import { FROM_ANNOTATION, type Hook, hookAnnotations, hookDuration, hookSelector, parseCommand } from "../hooks.ts";
import type { Resource } from "../kube/resource.ts";
import { resourceFilter } from "../select.ts";
import type { BackupSpec } from "../specs.ts";

/** When a hook of a backup runs: before the revision is fixed, or after all has been read at it. */
export type HookPhase = "pre" | "post";

/** A hook whose container, where it names none, is the first one of the Pod. Unlike with Velero its `onError` is Fail where nothing is said, as Velero documents. */
export type BackupHook = Omit<Hook, "container"> & { container?: string };

/** One entry of `spec.hooks.resources`, whose selectors are read. */
export type BackupHookRule = Record<HookPhase, BackupHook[]> & {
  /** To a Pod of these labels. */
  applies(namespace: string, labels: Record<string, string>): boolean;
};

type SpecHooks = NonNullable<NonNullable<NonNullable<BackupSpec["hooks"]>["resources"]>[number]["pre"]>;
type Metadata = KubernetesObject["metadata"];

export const PODS = "pods";

/** Of each phase, the beginnings of its annotations' keys; the first one counts whose command is there. */
const PREFIXES: Record<HookPhase, string[]> = {
  pre: ["pre.hook.backup.velero.io/", "hook.backup.velero.io/"],
  post: ["post.hook.backup.velero.io/"],
};

/** No hook is annotated in a Pod whose JSON is without it. */
export const HOOK_ANNOTATION = "hook.backup.velero.io/command";

const MODES = new Map((["Continue", "Fail"] as const).map((mode) => [mode as string, mode]));
const LONGEST_MS = 4 * 3_600_000;

/** Reads `spec.hooks`. Entries that are for no Pods are left out. Throws `invalid` for names or selectors that can't be. */
export function readHooks(hooks: BackupSpec["hooks"], resources: Resource[]): BackupHookRule[] {
  return (hooks?.resources ?? []).flatMap(({ name, includedResources, excludedResources, pre, post, ...selector }) => {
    const read = (given: SpecHooks = []) =>
      given.map(({ exec }): BackupHook => {
        const { container, command, onError = "Fail", timeout } = exec;
        return { name, container: container || undefined, command, onError, timeoutMs: limited(hookDuration(timeout)) };
      });
    const rule = { applies: hookSelector(selector), pre: read(pre), post: read(post) };
    return resourceFilter(includedResources, excludedResources, resources)(PODS) ? [rule] : [];
  });
}

/**
 * What is run in a Pod, in its order: the command of its annotations, or else those of the spec (velero-format: 4.8).
 * `warnings` says what of the annotations is not understood.
 */
export function hooksOf(
  { annotations, namespace = "", labels = {} }: Metadata,
  phase: HookPhase,
  rules: BackupHookRule[],
): { hooks: BackupHook[]; warnings: string[] } {
  for (const prefix of PREFIXES[phase]) {
    const { text, oneOf, duration, warnings } = hookAnnotations(annotations, prefix);
    const command = text("command");
    if (command === undefined) continue;
    const hook: BackupHook = {
      name: FROM_ANNOTATION,
      container: text("container"),
      command: parseCommand(command),
      onError: oneOf("on-error", MODES) ?? "Fail",
      timeoutMs: limited(duration("timeout")),
    };
    return { hooks: [hook], warnings };
  }
  return {
    hooks: rules.filter(({ applies }) => applies(namespace, labels)).flatMap((rule) => rule[phase]),
    warnings: [],
  };
}

function limited(timeoutMs: number | undefined): number | undefined {
  return timeoutMs && Math.min(timeoutMs, LONGEST_MS);
}
