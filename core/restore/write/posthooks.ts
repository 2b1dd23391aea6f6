import pLimit from "p-limit";
import { orAborted, pause } from "../../abort.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { messageOf } from "../../errors.ts";
import { hookFailure, runHook } from "../../hooks.ts";
import type { Kube } from "../../kube/client.ts";
import { throwIfGone } from "../../kube/gone.ts";
import { listPages } from "../../kube/list.ts";
import type { Log } from "../../log.ts";
import { at, entriesOf } from "../fields.ts";
import { RESTORE_NAME } from "../fixes.ts";
import type { Report } from "../report.ts";
import type { Item } from "../survey.ts";
import { type ExecHook, execHooks, type HookRule, readiness } from "./hooks.ts";

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
  rules: HookRule[];
  /** The value of the label velero.io/restore-name on what this restore makes. */
  restoreLabel: string;
  /** Pods that exist already, by "namespace/name": an earlier run of this restore may have made them. */
  existing: Map<string, Item>;
  /** How long a container may take to be up whose hook sets no limit. */
  waitMs: number;
  log: Log;
  report: Pick<Report, "error" | "warn" | "tell">;
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
interface Awaited {
  item: Item;
  uid: string | undefined;
  /** In their order. */
  hooks: ExecHook[];
  since: number;
  /** When the last hook's wait is over. */
  deadline: number;
  running: boolean;
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
  const { kube, rules, existing, waitMs, log, report } = input;
  const labelSelector = `${RESTORE_NAME}=${input.restoreLabel}`;
  const awaited = new Set<Awaited>();
  const limit = pLimit(PODS_AT_ONCE);
  let open = true;
  let wake = () => {};

  const expect = (item: Item, pod: KubernetesObject) => {
    const { hooks, warnings } = execHooks(pod, rules);
    for (const warning of warnings) report.warn(item, warning);
    if (hooks.length === 0) return;
    const since = performance.now();
    const deadline = since + Math.max(...hooks.map(({ waitTimeoutMs = waitMs }) => waitTimeoutMs));
    awaited.add({ item, uid: pod.metadata.uid, hooks, since, deadline, running: false });
    wake();
  };

  const fail = ({ item }: Awaited, hook: ExecHook, why: string) => {
    const message = hookFailure(hook, why);
    log("error", message, { pod: `${item.namespace}/${item.name}` });
    report.error(item, message);
  };
  const giveUp = (pod: Awaited, why: string) => {
    for (const hook of pod.hooks.splice(0)) fail(pod, hook, `not run: ${why}`);
    awaited.delete(pod);
  };

  /** Runs one hook; resolves with why it failed. */
  async function tryHook(pod: Awaited, hook: ExecHook, signal: AbortSignal): Promise<string | undefined> {
    const { item, since } = pod;
    const { waitTimeoutMs = Number.POSITIVE_INFINITY } = hook;
    if (performance.now() - since > waitTimeoutMs)
      return `not run: its time to wait, ${seconds(waitTimeoutMs)}, was over`;
    try {
      return await runHook(kube, hook, { namespace: item.namespace, pod: item.name, log, signal });
    } catch (error) {
      await throwIfGone(kube, error, signal);
      return messageOf(error);
    }
  }

  async function runHooks(pod: Awaited, containers: Set<string>, signal: AbortSignal): Promise<void> {
    for (const hook of pod.hooks.filter(({ container }) => containers.has(container))) {
      pod.hooks.splice(pod.hooks.indexOf(hook), 1);
      const why = await tryHook(pod, hook, signal);
      if (why === undefined) continue;
      fail(pod, hook, why);
      if (hook.onError === "Fail") return giveUp(pod, `hook ${hook.name} failed, whose on-error is Fail`);
    }
    if (pod.hooks.length === 0) awaited.delete(pod);
    pod.running = false;
  }

  /** The containers with hooks whose turn it is. Gives up where none will come. */
  function ready(pod: Awaited, live: KubernetesObject | undefined): Set<string> {
    const up = new Set<string>();
    if (!live || live.metadata.uid !== pod.uid) {
      giveUp(pod, "the Pod was deleted");
      return up;
    }
    const containers = Map.groupBy(pod.hooks, ({ container }) => container);
    for (const [container, hooks] of containers) {
      const waitForReady = hooks.some((hook) => hook.waitForReady);
      const state = readiness(live, container, waitForReady);
      if (typeof state === "object") {
        giveUp(pod, state.ended);
        return up;
      }
      if (state === "up") up.add(container);
    }
    if (up.size === 0 && performance.now() > pod.deadline)
      giveUp(pod, `the container was not up within ${seconds(pod.deadline - pod.since)}`);
    return up;
  }

  async function look(signal: AbortSignal, start: (pod: Awaited, containers: Set<string>) => void): Promise<void> {
    const waiting = [...awaited].filter(({ running }) => !running);
    const listing = pLimit(LISTS_AT_ONCE);
    await listing.map(
      Map.groupBy(waiting, ({ item }) => item.namespace),
      async ([namespace, pods]) => {
        try {
          const live = new Map<string, KubernetesObject>();
          for await (const pod of livePods(signal, namespace)) live.set(pod.metadata.name, pod);
          for (const pod of pods) {
            const containers = ready(pod, live.get(pod.item.name));
            if (containers.size) start(pod, containers);
          }
        } catch (error) {
          await throwIfGone(kube, error, signal);
          for (const pod of pods) giveUp(pod, `whether the Pod is up can't be told: ${messageOf(error)}`);
        }
      },
    );
  }

  async function* livePods(signal: AbortSignal, namespace?: string): AsyncGenerator<KubernetesObject> {
    for await (const page of listPages(kube, PODS_V1, { namespace, labelSelector, signal }))
      for (const body of page.items) yield JSON.parse(body.toString("utf8")) as KubernetesObject;
  }

  async function resume(signal: AbortSignal): Promise<void> {
    if (existing.size === 0) return;
    try {
      for await (const pod of livePods(signal)) {
        const { namespace, name, deletionTimestamp } = pod.metadata;
        const item = existing.get(`${namespace}/${name}`);
        if (item && !deletionTimestamp && wasCreated(pod)) expect(item, pod);
      }
    } catch (error) {
      await throwIfGone(kube, error, signal);
      report.tell("warnings", `hooks that an earlier run of this restore left can't be found: ${messageOf(error)}`);
    }
  }

  return {
    created: expect,
    close() {
      open = false;
      wake();
    },
    async run(signal) {
      const failure = new AbortController();
      const either = AbortSignal.any([signal, failure.signal]);
      const tasks = new Set<Promise<void>>();
      const start = (pod: Awaited, containers: Set<string>) => {
        pod.running = true;
        const task = limit(() => runHooks(pod, containers, either))
          .catch((error) => failure.abort(error))
          .finally(() => {
            tasks.delete(task);
            wake();
          });
        tasks.add(task);
      };
      const rest = (milliseconds?: number) =>
        orAborted(
          new Promise<void>((resolve) => {
            const timer = milliseconds === undefined ? undefined : setTimeout(resolve, milliseconds);
            wake = () => {
              clearTimeout(timer);
              resolve();
            };
          }),
          either,
        );
      try {
        await resume(either);
        for (let wait = POLL_MS / 8; open || awaited.size > 0; wait = Math.min(POLL_MS, wait * 2)) {
          const next = performance.now() + LEAST_POLL_MS;
          await look(either, start);
          if (open || awaited.size > 0) await rest([...awaited].some(({ running }) => !running) ? wait : undefined);
          const early = next - performance.now();
          if (early > 0 && awaited.size > 0) await pause(early, either);
        }
      } finally {
        failure.abort(new Error("the hooks have ended"));
        await Promise.allSettled(tasks);
      }
    },
  };
}

/** Whether Lifeboat created the Pod, and didn't only change it: who creates one owns what can't be changed. */
function wasCreated({ metadata }: KubernetesObject): boolean {
  return entriesOf(metadata, "managedFields").some(
    (entry) => entry.manager === "lifeboat" && at(entry, "fieldsV1", "f:spec", "f:restartPolicy") !== undefined,
  );
}

function seconds(milliseconds: number): string {
  return `${Math.round(milliseconds / 100) / 10} s`;
}
