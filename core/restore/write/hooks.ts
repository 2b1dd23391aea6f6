import { createHash } from "node:crypto";
import type { KubernetesObject } from "../../archive/item.ts";
import { FROM_ANNOTATION, type Hook, hookAnnotations, hookDuration, hookSelector, parseCommand } from "../../hooks.ts";
import { at, entriesOf, type Fields, fieldsAt } from "../../objects/fields.ts";
import type { RestoreSpec } from "../../specs.ts";
import { PARKED } from "../clone/parking.ts";

/** A command that is run in a container of a restored Pod. Its "Continue" is Velero's default of a restore. */
export interface ExecHook extends Hook {
  /** How long the container may take to be up; undefined where nothing is said. */
  waitTimeoutMs: number | undefined;
  /** Up is Ready, not only running. */
  waitForReady: boolean;
}

/** The hooks of a Pod, and what can't be done as it is written there. */
export interface ExecHooks {
  hooks: ExecHook[];
  warnings: string[];
}

/** One entry of `spec.hooks.resources`, whose selectors are read. */
export interface RestoreHookRule {
  name: string;
  /** Of a Pod in the target: its namespace and labels. */
  applies(namespace: string, labels: Record<string, string>): boolean;
  initContainers: Fields[];
  exec: NonNullable<Entry["exec"]>[];
}

type Entry = NonNullable<NonNullable<NonNullable<RestoreSpec["hooks"]>["resources"]>[number]["postHooks"]>[number];

const INIT = "init.hook.restore.velero.io/";
const POST = "post.hook.restore.velero.io/";
/** No init hook stands in a Pod whose JSON is without it. */
export const INIT_ANNOTATION = `${INIT}container-image`;
/** Velero's init container that waits for the Pod's volumes to be restored: hooks may need them. */
const VOLUMES_WAIT = "restore-wait";

/** Reads `spec.hooks`. Throws `invalid` for namespaces or selectors that can't be. The resources named in it mean nothing: hooks are for Pods. */
export function readHooks(hooks: RestoreSpec["hooks"]): RestoreHookRule[] {
  return (hooks?.resources ?? []).map(({ name, postHooks = [], ...selector }) => ({
    name,
    applies: hookSelector(selector),
    initContainers: postHooks.flatMap(({ init }) => init?.initContainers ?? []),
    exec: postHooks.flatMap(({ exec }) => exec ?? []),
  }));
}

/** Whether commands may be to be run in a Pod, given as JSON, once it is up. */
export function mayHaveExecHooks(pod: Buffer, rules: RestoreHookRule[] = []): boolean {
  return pod.includes(POST) || rules.some(({ exec }) => exec.length > 0);
}

/** The init containers that hooks give a Pod, which is in its namespace of the target: of its annotations, or else of the spec. */
export function hookContainers(pod: KubernetesObject, namespace: string, rules: RestoreHookRule[]): Fields[] {
  const annotated = annotatedContainer(pod);
  if (annotated) return [annotated];
  return rules
    .filter(({ applies }) => applies(namespace, pod.metadata.labels ?? {}))
    .flatMap(({ initContainers }) => structuredClone(initContainers));
}

/**
 * Puts the hooks' init containers before the Pod's own. One of that name that the Pod has already came out of an earlier
 * restore's hook, and is replaced.
 */
export function addHookContainers(pod: KubernetesObject, namespace: string, rules: RestoreHookRule[]): void {
  const added = hookContainers(pod, namespace, rules);
  const spec = fieldsAt(pod, "spec");
  if (!spec || added.length === 0) return;
  const own = withoutNamed(entriesOf(spec, "initContainers"), added);
  const first = own[0]?.name === VOLUMES_WAIT ? 1 : 0;
  spec.initContainers = [...own.slice(0, first), ...added, ...own.slice(first)];
}

/** Removes the hooks' init containers from a Pod, live or to be created: they are how it was restored, not what it is. */
export function dropHookContainers(pod: KubernetesObject, rules: RestoreHookRule[]): void {
  const spec = fieldsAt(pod, "spec");
  const added = hookContainers(pod, pod.metadata.namespace ?? "", rules);
  if (!spec?.initContainers || added.length === 0) return;
  const own = withoutNamed(entriesOf(spec, "initContainers"), added);
  if (own.length) spec.initContainers = own;
  else delete spec.initContainers;
}

function withoutNamed(containers: Fields[], named: Fields[]): Fields[] {
  const names = new Set(named.map(({ name }) => name));
  return containers.filter(({ name }) => !names.has(name));
}

function annotatedContainer({ metadata }: KubernetesObject): Fields | undefined {
  const { annotations = {} } = metadata;
  const image = annotations[INIT_ANNOTATION];
  if (!image) return undefined;
  const text = annotations[`${INIT}command`];
  const name = annotations[`${INIT}container-name`] || `velero-restore-init-${namesake(metadata.name, image, text)}`;
  return { name, image, ...(text && { command: parseCommand(text) }) };
}

/** In place of Velero's random eight digits: the same for the same Pod, so that two restores of it are alike. */
function namesake(...parts: (string | undefined)[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 8);
}

/** The commands to run in a Pod as it is in the target, in their order: that of its annotations, or else those of the spec. */
export function execHooks(pod: KubernetesObject, rules: RestoreHookRule[]): ExecHooks {
  const containers = entriesOf(pod, "spec", "containers").map(({ name }) => String(name));
  const { hooks, warnings } = annotatedHook(pod, containers[0] ?? "") ?? {
    hooks: ruledHooks(pod, containers[0] ?? "", rules),
    warnings: [],
  };
  if (hooks.length > 0 && pod.metadata.annotations?.[PARKED] !== undefined)
    return { hooks: [], warnings: ["its hooks are not run: it stands still until restore activate"] };
  const missing = new Set(hooks.map(({ container }) => container).filter((name) => !containers.includes(name)));
  return {
    hooks: hooks.filter(({ container }) => !missing.has(container)),
    warnings: [
      ...warnings,
      ...[...missing].map((name) => `it has no container "${name}": the hooks for it are not run`),
    ],
  };
}

function ruledHooks({ metadata }: KubernetesObject, first: string, rules: RestoreHookRule[]): ExecHook[] {
  const { namespace = "", labels = {} } = metadata;
  return rules
    .filter(({ applies }) => applies(namespace, labels))
    .flatMap(({ name, exec }) =>
      exec.map((hook) => ({
        name,
        container: hook.container || first,
        command: hook.command,
        onError: hook.onError ?? "Continue",
        timeoutMs: hookDuration(hook.execTimeout),
        waitTimeoutMs: hookDuration(hook.waitTimeout),
        waitForReady: hook.waitForReady ?? false,
      })),
    );
}

function annotatedHook({ metadata }: KubernetesObject, first: string): ExecHooks | undefined {
  const { text, oneOf, duration, warnings } = hookAnnotations(metadata.annotations, POST);
  const command = text("command");
  if (!command) return undefined;
  const hook: ExecHook = {
    name: FROM_ANNOTATION,
    container: text("container") ?? first,
    command: parseCommand(command),
    onError: text("on-error") === "Fail" ? "Fail" : "Continue",
    timeoutMs: duration("exec-timeout"),
    waitTimeoutMs: duration("wait-timeout"),
    waitForReady: oneOf("wait-for-ready", BOOLEANS) ?? false,
  };
  return { hooks: [hook], warnings };
}

/** Go's strconv.ParseBool. */
const BOOLEANS = new Map([
  ...["1", "t", "T", "TRUE", "true", "True"].map((text) => [text, true] as const),
  ...["0", "f", "F", "FALSE", "false", "False"].map((text) => [text, false] as const),
]);

/** How a Pod stands to a hook's container. */
export type Readiness = "up" | "waiting" | { ended: string };

/** Whether the hooks of a container can be run; a Pod that has ended runs none any more. */
export function readiness(pod: KubernetesObject, container: string, waitForReady: boolean): Readiness {
  const phase = at(pod.status, "phase");
  if (phase === "Succeeded" || phase === "Failed") return { ended: `the Pod is ${phase}` };
  const status = entriesOf(pod.status, "containerStatuses").find(({ name }) => name === container);
  const up = waitForReady ? status?.ready === true : fieldsAt(status, "state", "running") !== undefined;
  return up ? "up" : "waiting";
}
