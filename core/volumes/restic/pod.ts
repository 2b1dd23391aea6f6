import type { KubernetesObject } from "../../archive/item.ts";
import { at, entriesOf, type Fields, fieldsAt } from "../../objects/fields.ts";
import { CONTAINER } from "./job.ts";

/** How the Pod of a Job stands, as far as restic is concerned. */
export type PodState =
  /** It has not begun. `reason` is Kubernetes' word for what it waits for. */
  | { state: "waiting"; reason: string; message: string }
  | { state: "running" }
  /** restic, or what comes before it, has ended by itself. */
  | { state: "ended"; container: string; exitCode: number; reason: string; message: string }
  /** The cluster has ended it. */
  | { state: "lost"; reason: string; message: string };

/** Reads it out of the Pod. Containers that others have added count for nothing. */
export function podState(pod: KubernetesObject): PodState {
  const containers = ["initContainerStatuses", "containerStatuses"]
    .flatMap((list) => entriesOf(pod, "status", list))
    .filter(({ name }) => typeof name === "string" && name.startsWith(CONTAINER));
  const last = containers.find(({ name }) => name === CONTAINER);
  const ended = containers.flatMap((status) => {
    const end = fieldsAt(status, "state", "terminated");
    return end && (status === last || end.exitCode !== 0) ? [endOf(status, end)] : [];
  })[0];
  const words = { reason: text(at(pod, "status", "reason")), message: text(at(pod, "status", "message")) };
  if (ended?.exitCode === 0) return ended;
  // Of a Pod that was evicted, its containers only say that they were killed.
  if (words.reason) return { state: "lost", ...words };
  if (at(pod, "metadata", "deletionTimestamp")) {
    const disruption = conditionOf(pod, "DisruptionTarget");
    return {
      state: "lost",
      reason: text(disruption?.reason) || "Deleted",
      message: text(disruption?.message) || "somebody has deleted it",
    };
  }
  if (ended) return ended;
  if (at(pod, "status", "phase") === "Failed") return { state: "lost", reason: "Failed", message: "" };
  if (containers.some((status) => at(status, "state", "running"))) return { state: "running" };
  return { state: "waiting", ...waitOf(pod, containers) };
}

function endOf(status: Fields, end: Fields): Extract<PodState, { state: "ended" }> {
  const { exitCode } = end;
  return {
    state: "ended",
    container: text(status.name),
    exitCode: typeof exitCode === "number" ? exitCode : 1,
    reason: text(end.reason),
    message: typeof end.message === "string" ? end.message : "",
  };
}

function waitOf(pod: KubernetesObject, containers: Fields[]): { reason: string; message: string } {
  const scheduled = conditionOf(pod, "PodScheduled");
  if (scheduled?.status === "False") {
    return { reason: text(scheduled.reason) || "Unschedulable", message: text(scheduled.message) };
  }
  const waits = containers.map((status) => fieldsAt(status, "state", "waiting")).filter((wait) => wait !== undefined);
  const wait = waits.find(({ reason }) => reason !== "PodInitializing") ?? waits[0];
  return { reason: text(wait?.reason) || "Pending", message: text(wait?.message) };
}

function conditionOf(pod: KubernetesObject, type: string): Fields | undefined {
  return entriesOf(pod, "status", "conditions").find((condition) => condition.type === type);
}

function text(value: unknown): string {
  return typeof value === "string" ? value.replace(/\s+/g, " ").trim() : "";
}
