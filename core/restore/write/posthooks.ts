import pLimit from "p-limit";
import { orAborted, pause } from "../../abort.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { messageOf } from "../../errors.ts";
import { hookFailure, runHook } from "../../hooks.ts";
import type { Kube } from "../../kube/client.ts";
import { throwIfGone } from "../../kube/gone.ts";
import { listPages } from "../../kube/list.ts";
import { RESTORE_NAME } from "../../labels.ts";
import type { Log } from "../../log.ts";
import { at, entriesOf } from "../../objects/fields.ts";
import type { RestoreReport } from "../report.ts";
import type { Item } from "../survey.ts";
import { type ExecHook, execHooks, type RestoreHookRule, readiness } from "./hooks.ts";
import { WRITER } from "./sending.ts";

const POLL_MS = 1000;
/** However many Pods come and hooks end: no two LISTs are nearer to each other. */
const LEAST_POLL_MS = 125;
const LISTS_AT_ONCE = 4;
/** Pods whose hooks run at the same time. */
const PODS_AT_ONCE = 64;

export const PODS = "pods";
const PODS_V1 = { group: "", version: "v1", name: PODS, kind: "Pod" };

export interface PostHooksInput {
  kube: Kube;
  /** Of the spec. */
  rules: RestoreHookRule[];
  /** The value of the label velero.io/restore-name on what this restore makes. */
  restoreLabel: string;
  /** Pods that exist already, by "namespace/name": an earlier run of this restore may have made them. */
  existing: Map<string, Item>;
  /** How long a container may take to be up whose hook sets no limit. */
  waitMs: number;
  log: Log;
  /** As of `runHook`. */
  withhold?: boolean;
  report: Pick<RestoreReport, "error" | "warn" | "tell">;
}

/** The exec hooks of one restore. */
export interface PostHooks {
  /** A Pod was created, and this is what the server made of it. */
  created(item: Item, pod: KubernetesObject): void;
  /** No more will be created. */
  close(): void;
  /**
   * Runs the hooks of each Pod once its containers are up, until none are left after `close`; what becomes of them is in
   * the report and the log. Throws where the server is gone or `signal` aborts.
   */
  run(signal: AbortSignal): Promise<void>;
}

/** A Pod with hooks that have not been run. */
export interface AwaitedPod {
  item: Item;
  uid: string | undefined;
  /** In their order. */
  hooks: ExecHook[];
  since: number;
  /** When the last hook's wait is over. */
  deadline: number;
  running: boolean;
}

/** The hooks of one restore under way. */
interface Hooking extends PostHooksInput {
  awaited: Set<AwaitedPod>;
  /** More Pods may be created. */
  open: boolean;
  /** Ends the rest between two looks. */
  wake(): void;
}

/**
 * To run Velero's exec hooks beside a restore (velero-format: 5.9). Velero watches each Pod; here one LIST a second of each namespace
 * tells of all its Pods that wait. Hooks of one Pod run one after the other, in their order per container; a failed one is an
 * error of the restore, and with on-error Fail the Pod's others are not run.
 *
 * They run once for each Pod that a restore creates. Of Pods that a run of the same restore created which then died, nobody
 * knows whether theirs were run: they are run by the run that ends it, maybe again.
 */
export function postHooks(input: PostHooksInput): PostHooks {
  const hooking: Hooking = { ...input, awaited: new Set(), open: true, wake: () => {} };
  return {
    created: (item, pod) => expect(hooking, item, pod),
    close() {
      hooking.open = false;
      hooking.wake();
    },
    run: (signal) => runAll(hooking, signal),
  };
}

function expect(hooking: Hooking, item: Item, pod: KubernetesObject): void {
  const { rules, waitMs, awaited, report } = hooking;
  const { hooks, warnings } = execHooks(pod, rules);
  for (const warning of warnings) report.warn(item, warning);
  if (hooks.length === 0) return;
  const since = performance.now();
  const deadline = since + Math.max(...hooks.map(({ waitTimeoutMs = waitMs }) => waitTimeoutMs));
  awaited.add({ item, uid: pod.metadata.uid, hooks, since, deadline, running: false });
  hooking.wake();
}

/** Looks at what waits, and runs what can be run beside it, until nothing is left and no more comes. */
async function runAll(hooking: Hooking, outer: AbortSignal): Promise<void> {
  const { awaited } = hooking;
  const failure = new AbortController();
  const signal = AbortSignal.any([outer, failure.signal]);
  const limit = pLimit(PODS_AT_ONCE);
  const tasks = new Set<Promise<void>>();
  const start = (pod: AwaitedPod, containers: Set<string>) => {
    pod.running = true;
    const task = limit(() => runHooks(hooking, pod, containers, signal))
      .catch((error) => failure.abort(error))
      .finally(() => {
        tasks.delete(task);
        hooking.wake();
      });
    tasks.add(task);
  };
  try {
    await resume(hooking, signal);
    for (let wait = POLL_MS / 8; hooking.open || awaited.size > 0; wait = Math.min(POLL_MS, wait * 2)) {
      const next = performance.now() + LEAST_POLL_MS;
      await look(hooking, signal, start);
      const polls = [...awaited].some(({ running }) => !running);
      if (hooking.open || awaited.size > 0) await rest(hooking, polls ? wait : undefined, signal);
      const early = next - performance.now();
      if (early > 0 && awaited.size > 0) await pause(early, signal);
    }
  } finally {
    failure.abort(new Error("the hooks have ended"));
    await Promise.allSettled(tasks);
  }
}

/** Waits until something changes, or so many milliseconds. */
function rest(hooking: Hooking, milliseconds: number | undefined, signal: AbortSignal): Promise<void> {
  const woken = new Promise<void>((resolve) => {
    const timer = milliseconds === undefined ? undefined : setTimeout(resolve, milliseconds);
    hooking.wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
  return orAborted(woken, signal);
}

/** Takes up the Pods that an earlier run of this restore made. */
async function resume(hooking: Hooking, signal: AbortSignal): Promise<void> {
  const { kube, existing, report } = hooking;
  if (existing.size === 0) return;
  try {
    for await (const pod of livePods(hooking, signal)) {
      const { namespace, name, deletionTimestamp } = pod.metadata;
      const item = existing.get(`${namespace}/${name}`);
      if (item && !deletionTimestamp && wasCreated(pod)) expect(hooking, item, pod);
    }
  } catch (error) {
    await throwIfGone(kube, error, signal);
    report.tell("warnings", `hooks that an earlier run of this restore left can't be found: ${messageOf(error)}`);
  }
}

/** Looks once at all Pods that wait, and starts the hooks whose turn it is. */
async function look(
  hooking: Hooking,
  signal: AbortSignal,
  start: (pod: AwaitedPod, containers: Set<string>) => void,
): Promise<void> {
  const waiting = [...hooking.awaited].filter(({ running }) => !running);
  await pLimit(LISTS_AT_ONCE).map(
    Map.groupBy(waiting, ({ item }) => item.namespace),
    async ([namespace, pods]) => {
      try {
        const live = new Map<string, KubernetesObject>();
        for await (const pod of livePods(hooking, signal, namespace)) live.set(pod.metadata.name, pod);
        for (const pod of pods) {
          const turn = turnOf(pod, live.get(pod.item.name), performance.now());
          if ("never" in turn) giveUp(hooking, pod, turn.never);
          else if (turn.containers.size > 0) start(pod, turn.containers);
        }
      } catch (error) {
        await throwIfGone(hooking.kube, error, signal);
        for (const pod of pods) giveUp(hooking, pod, `whether the Pod is up can't be told: ${messageOf(error)}`);
      }
    },
  );
}

async function* livePods(
  { kube, restoreLabel }: Hooking,
  signal: AbortSignal,
  namespace?: string,
): AsyncGenerator<KubernetesObject> {
  const labelSelector = `${RESTORE_NAME}=${restoreLabel}`;
  for await (const page of listPages(kube, PODS_V1, { namespace, labelSelector, signal }))
    for (const body of page.items) yield JSON.parse(body.toString("utf8")) as KubernetesObject;
}

/** The containers with hooks whose turn it is, of a Pod as it is now; or why it will never be anyone's turn. Pure. */
export function turnOf(
  { uid, hooks, since, deadline }: Pick<AwaitedPod, "uid" | "hooks" | "since" | "deadline">,
  live: KubernetesObject | undefined,
  now: number,
): { containers: Set<string> } | { never: string } {
  if (!live || live.metadata.uid !== uid) return { never: "the Pod was deleted" };
  const containers = new Set<string>();
  for (const [container, own] of Map.groupBy(hooks, (hook) => hook.container)) {
    const waitForReady = own.some((hook) => hook.waitForReady);
    const state = readiness(live, container, waitForReady);
    if (typeof state === "object") return { never: state.ended };
    if (state === "up") containers.add(container);
  }
  if (containers.size === 0 && now > deadline)
    return { never: `the container was not up within ${seconds(deadline - since)}` };
  return { containers };
}

/** Runs the hooks of containers that are up. */
async function runHooks(
  hooking: Hooking,
  pod: AwaitedPod,
  containers: Set<string>,
  signal: AbortSignal,
): Promise<void> {
  for (const hook of pod.hooks.filter(({ container }) => containers.has(container))) {
    pod.hooks.splice(pod.hooks.indexOf(hook), 1);
    const why = await tryHook(hooking, pod, hook, signal);
    if (why === undefined) continue;
    fail(hooking, pod, hook, why);
    if (hook.onError === "Fail") return giveUp(hooking, pod, `hook ${hook.name} failed, whose on-error is Fail`);
  }
  if (pod.hooks.length === 0) hooking.awaited.delete(pod);
  pod.running = false;
}

/** Runs one hook; resolves with why it failed. */
async function tryHook(
  { kube, log, withhold }: Hooking,
  { item, since }: AwaitedPod,
  hook: ExecHook,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { waitTimeoutMs = Number.POSITIVE_INFINITY } = hook;
  if (performance.now() - since > waitTimeoutMs)
    return `not run: its time to wait, ${seconds(waitTimeoutMs)}, was over`;
  try {
    return await runHook(kube, hook, { namespace: item.namespace, pod: item.name, log, withhold, signal });
  } catch (error) {
    await throwIfGone(kube, error, signal);
    return messageOf(error);
  }
}

function giveUp(hooking: Hooking, pod: AwaitedPod, why: string): void {
  for (const hook of pod.hooks.splice(0)) fail(hooking, pod, hook, `not run: ${why}`);
  hooking.awaited.delete(pod);
}

function fail({ log, report }: Hooking, { item }: AwaitedPod, hook: ExecHook, why: string): void {
  const message = hookFailure(hook, why);
  log("error", message, { pod: `${item.namespace}/${item.name}` });
  report.error(item, message);
}

/** Whether Lifeboat created the Pod, and didn't only change it: who creates one owns what can't be changed. */
function wasCreated({ metadata }: KubernetesObject): boolean {
  return entriesOf(metadata, "managedFields").some(
    (entry) => entry.manager === WRITER && at(entry, "fieldsV1", "f:spec", "f:restartPolicy") !== undefined,
  );
}

function seconds(milliseconds: number): string {
  return `${Math.round(milliseconds / 100) / 10} s`;
}
