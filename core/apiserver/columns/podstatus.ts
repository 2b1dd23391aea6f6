import type { KubernetesObject } from "../../archive/item.ts";
import type { Fields } from "../../objects/fields.ts";
import { condition, entries, get, number, text } from "./column.ts";

/** What `kubectl get pods` tells of a Pod. */
interface PodStatus {
  /** "1/2" */
  ready: string;
  /** Its phase, or the reason that one of its containers gives. */
  reason: string;
  restarts: number;
  /** When a container ended last, where one was restarted. */
  last: string | undefined;
}

/**
 * A Pod in the words of the API server's printer (pkg/printers/internalversion, printPod): init containers speak until
 * the first that is neither done nor a started sidecar, then all containers, of which the first has the last word.
 */
export function podStatus(pod: KubernetesObject): PodStatus {
  const sidecars = new Set(
    entries(pod, "spec.initContainers")
      .filter(({ restartPolicy }) => restartPolicy === "Always")
      .map(({ name }) => name),
  );
  const total = entries(pod, "spec.containers").length + sidecars.size;
  const inits = entries(pod, "status.initContainerStatuses");
  const initial = initialStage(pod, inits, sidecars);
  const passed = initial.reason === undefined || condition(pod, "Initialized")?.status === "True";
  const main = passed ? mainStage(pod) : { ready: 0, reason: undefined };
  const counted = passed
    ? [
        ...inits.slice(0, initial.looked).filter(({ name }) => sidecars.has(name)),
        ...entries(pod, "status.containerStatuses"),
      ]
    : inits.slice(0, initial.looked);
  const reason =
    main.reason ?? initial.reason ?? (gated(pod) || text(pod, "status.reason") || text(pod, "status.phase"));
  return {
    ready: `${initial.ready + main.ready}/${total}`,
    reason: ending(pod) ?? reason,
    restarts: counted.reduce((sum, status) => sum + number(status, "restartCount"), 0),
    last: counted
      .map((status) => text(status, "lastState.terminated.finishedAt"))
      .sort()
      .at(-1),
  };
}

function gated(pod: KubernetesObject): string | undefined {
  return condition(pod, "PodScheduled")?.reason === "SchedulingGated" ? "SchedulingGated" : undefined;
}

function ending(pod: KubernetesObject): string | undefined {
  if (!pod.metadata.deletionTimestamp) return undefined;
  if (get(pod, "status.reason") === "NodeLost") return "Unknown";
  return ["Succeeded", "Failed"].includes(text(pod, "status.phase")) ? undefined : "Terminating";
}

/** `looked`: at how many init containers, until one that the Pod waits for. */
function initialStage(pod: KubernetesObject, inits: Fields[], sidecars: Set<unknown>) {
  let ready = 0;
  for (const [place, status] of inits.entries()) {
    if (get(status, "state.terminated") && number(status, "state.terminated.exitCode") === 0) continue;
    if (sidecars.has(status.name) && status.started) {
      ready += Number(status.ready === true);
      continue;
    }
    const waiting = text(status, "state.waiting.reason");
    const why = get(status, "state.terminated")
      ? exitText(status)
      : waiting && waiting !== "PodInitializing"
        ? waiting
        : `${place}/${entries(pod, "spec.initContainers").length}`;
    return { ready, looked: place + 1, reason: `Init:${why}` };
  }
  return { ready, looked: inits.length, reason: undefined };
}

function mainStage(pod: KubernetesObject): { ready: number; reason: string | undefined } {
  let ready = 0;
  let reason: string | undefined;
  let failed = "";
  for (const status of entries(pod, "status.containerStatuses").reverse()) {
    const waiting = text(status, "state.waiting.reason");
    if (waiting) reason = waiting;
    else if (get(status, "state.terminated")) {
      reason = exitText(status);
      if (number(status, "state.terminated.exitCode") !== 0) failed = reason;
    } else if (status.ready && get(status, "state.running")) ready += 1;
  }
  if (reason === "Completed" && ready && condition(pod, "Ready")?.status === "True") reason = "Running";
  else if (reason === "Completed" && failed) reason = failed;
  else if (reason === "Completed" && ready) reason = "NotReady";
  return { ready, reason };
}

function exitText(status: Fields): string {
  const reason = text(status, "state.terminated.reason");
  const signal = number(status, "state.terminated.signal");
  return reason || (signal ? `Signal:${signal}` : `ExitCode:${number(status, "state.terminated.exitCode")}`);
}
