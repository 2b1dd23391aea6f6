import pLimit from "p-limit";
import { together } from "../abort.ts";
import type { KubernetesObject } from "../archive/item.ts";
import { isLifeboatError, messageOf } from "../errors.ts";
import { hookFailure, runHook } from "../hooks.ts";
import { expectOk, type Kube } from "../kube/client.ts";
import { throwIfGone } from "../kube/gone.ts";
import { listPages, METADATA_ONLY } from "../kube/list.ts";
import { type Resource, resourceKey, resourcePath } from "../kube/resource.ts";
import type { Log } from "../log.ts";
import { at, entriesOf } from "../objects/fields.ts";
import type { Problem } from "../report.ts";
import { LISTS_AHEAD } from "./collect.ts";
import { type BackupHook, type BackupHookRule, HOOK_ANNOTATION, type HookPhase, hooksOf, PODS } from "./hooks.ts";
import { type Namespaces, participants } from "./participants.ts";
import type { Listing } from "./photograph.ts";
import { readAhead } from "./readahead.ts";
import type { BackupScope } from "./scope.ts";

/** Pods whose hooks run at the same time. */
const PODS_AT_ONCE = 8;

/** Metadata is small: larger pages than a backup's spare round trips. */
const METADATA_PAGE = 1000;

const PODS_V1 = { group: "", version: "v1", name: PODS };

/** How the hooks of a backup went, as its record says. */
export interface HookStatus {
  hooksAttempted: number;
  hooksFailed: number;
}

/**
 * The hooks of one backup (velero-format: 4.8). All pre-hooks of all Pods run before the revision is fixed, and post-hooks as
 * soon as all is read at it: so the photograph shows what they prepared. Disposing of it runs the post-hooks of
 * Pods whose pre-hooks have begun, unless that was done: what they froze does not stay so when the run fails.
 */
export interface PodHooks extends AsyncDisposable {
  /** How many Pods have some. */
  readonly pods: number;
  /**
   * Resolves when all have ended, however; then `unprepared` is known. Throws where the server is gone or `signal` aborts, but not
   * before those under way have ended: a post-hook must not overtake what it is to undo.
   */
  pre(signal: AbortSignal): Promise<void>;
  /** "namespace/name" of Pods of which a pre-hook with on-error Fail failed. */
  readonly unprepared: ReadonlySet<string>;
  /** Never throws, and nothing but their time ends them. */
  post(): Promise<void>;
  /** So far. */
  readonly status: HookStatus;
}

export interface HookRun {
  kube: Kube;
  /** Of the spec. */
  rules: BackupHookRule[];
  log: Log;
  /** As of `runHook`. */
  withhold?: boolean;
  report: (level: "warning" | "error", problem: Problem) => void;
}

interface HookedPod {
  namespace: string;
  name: string;
  hooks: Record<HookPhase, BackupHook[]>;
  /** Those in which a command can be run; undefined while nobody has looked, none where the Pod has ended. */
  containers: string[] | undefined;
  /** Whether a pre-hook was run. */
  begun: boolean;
}

/**
 * The hooks of all Pods that take part, by one LIST of the Pods' metadata. One that fails is an error of the report. A backup
 * of single objects, which is what a restore keeps, takes `podHooks` of none.
 */
export async function findHooks(
  run: HookRun & { resources: Resource[]; scope: BackupScope; namespaces: Namespaces },
  signal: AbortSignal,
): Promise<PodHooks> {
  const { kube, rules, resources, scope, namespaces, report } = run;
  const { listings, listed, takesPart } = participants(scope, namespaces);
  /** By name: several selectors may select the same. */
  const found = new Map<string, KubernetesObject["metadata"]>();
  const wanted = resources.filter((resource) => resourceKey(resource) === PODS && scope.collects(resource));
  const pages = ({ resource, ...listing }: Listing) =>
    listPages(kube, resource, { ...listing, limit: METADATA_PAGE, accept: METADATA_ONLY, signal });
  try {
    for await (const { source, element } of readAhead(wanted.flatMap(listings), pages, LISTS_AHEAD)) {
      for (const body of element.items) {
        if (rules.length === 0 && !body.includes(HOOK_ANNOTATION)) continue;
        const pod = JSON.parse(body.toString("utf8")) as KubernetesObject;
        if (listed(source.resource, pod) && takesPart(source.resource, pod))
          found.set(`${pod.metadata.namespace}/${pod.metadata.name}`, pod.metadata);
      }
    }
  } catch (error) {
    await throwIfGone(kube, error, signal);
    report("error", { resource: PODS, message: `which Pods have hooks can't be told: ${messageOf(error)}` });
  }
  return podHooks([...found.values()], run);
}

/** The hooks of these Pods, of which their metadata is known. Says what of their annotations isn't understood. */
export function podHooks(
  metadata: KubernetesObject["metadata"][],
  { kube, rules, log, withhold, report }: HookRun,
): PodHooks {
  const limit = pLimit(PODS_AT_ONCE);
  const status: HookStatus = { hooksAttempted: 0, hooksFailed: 0 };
  const unprepared = new Set<string>();
  let over = false;

  const pods = metadata.flatMap((found): HookedPod[] => {
    const id = { namespace: found.namespace ?? "", name: found.name };
    const [pre, post] = [hooksOf(found, "pre", rules), hooksOf(found, "post", rules)];
    for (const message of [...pre.warnings, ...post.warnings]) report("warning", { resource: PODS, ...id, message });
    if (pre.hooks.length + post.hooks.length === 0) return [];
    return [{ ...id, hooks: { pre: pre.hooks, post: post.hooks }, containers: undefined, begun: false }];
  });

  /** Runs the Pod's hooks of a phase, one after the other. With `signal` it throws what `pre` throws. */
  async function run(pod: HookedPod, phase: HookPhase, signal?: AbortSignal): Promise<void> {
    const { namespace, name } = pod;
    const tell: Log = (level, message, fields) => log(level, message, { ...fields, phase });
    for (const hook of pod.hooks[phase]) {
      signal?.throwIfAborted();
      let container = hook.container;
      let why: string | undefined;
      try {
        pod.containers ??= await findContainers(kube, pod);
        if (pod.containers.length === 0) return;
        container ??= pod.containers[0]!;
        pod.begun ||= phase === "pre";
        why = pod.containers.includes(container)
          ? await runHook(kube, { ...hook, container }, { namespace, pod: name, log: tell, withhold })
          : "the Pod has no such container";
      } catch (error) {
        if (signal) await throwIfGone(kube, error, signal);
        why = messageOf(error);
      }
      status.hooksAttempted++;
      if (why === undefined) continue;
      status.hooksFailed++;
      const message = `${phase} ${hookFailure({ ...hook, container }, why)}`;
      report("error", { resource: PODS, namespace, name, message });
      // Of post-hooks the others are run: one that fails must not keep what another one would thaw.
      if (phase === "post" || hook.onError === "Continue") continue;
      unprepared.add(`${namespace}/${name}`);
      return;
    }
  }

  async function post(whose: HookedPod[]): Promise<void> {
    if (over) return;
    over = true;
    await limit.map(whose, (pod) => run(pod, "post"));
  }

  return {
    pods: pods.length,
    unprepared,
    status,
    pre: (signal) =>
      together(
        signal,
        pods.map((pod) => (either) => limit(run, pod, "pre", either)),
      ),
    post: () => post(pods),
    [Symbol.asyncDispose]: () => post(pods.filter(({ begun }) => begun)),
  };
}

/** The containers of a Pod in which a command can be run, native sidecars last; none where it has ended or is gone. */
async function findContainers(kube: Kube, { namespace, name }: HookedPod): Promise<string[]> {
  try {
    const answer = expectOk(await kube.request({ path: resourcePath(PODS_V1, namespace, name) }), `get pod ${name}`);
    const pod = JSON.parse(answer.body.toString("utf8")) as KubernetesObject;
    if (["Succeeded", "Failed"].includes(String(at(pod, "status", "phase")))) return [];
    const sidecars = entriesOf(pod, "spec", "initContainers").filter(({ restartPolicy }) => restartPolicy === "Always");
    return [...entriesOf(pod, "spec", "containers"), ...sidecars].map((container) => String(container.name));
  } catch (error) {
    if (isLifeboatError(error, "missing")) return [];
    throw error;
  }
}
