import type { KubernetesObject } from "../../archive/item.ts";
import type { Fields } from "../../objects/fields.ts";
import { humanDuration } from "../age.ts";
import {
  AGE,
  type Column,
  column,
  condition,
  containers,
  count,
  entries,
  get,
  labelsText,
  NAME,
  NONE,
  number,
  selectorText,
  some,
  text,
  UNSET,
  wide,
} from "./column.ts";
import { podStatus } from "./podstatus.ts";

const SELECTOR = wide(column("Selector", (object) => selectorText(get(object, "spec.selector"))));
const TEMPLATE = containers("spec.template.spec.containers");
const ready = column(
  "Ready",
  (object) => `${number(object, "status.readyReplicas")}/${number(object, "spec.replicas")}`,
);
const replicas: Column[] = [
  count("Desired", "spec.replicas"),
  count("Current", "status.replicas"),
  count("Ready", "status.readyReplicas"),
];

/** What runs Pods, and they themselves. */
export const WORKLOADS: Record<string, Column[]> = {
  pods: [
    NAME,
    column("Ready", (pod) => podStatus(pod).ready),
    column("Status", (pod) => podStatus(pod).reason),
    column("Restarts", (pod, since) => {
      const { restarts, last } = podStatus(pod);
      return restarts && last ? `${restarts} (${since(last)} ago)` : String(restarts);
    }),
    AGE,
    wide(column("IP", (pod) => text(entries(pod, "status.podIPs")[0], "ip") || NONE)),
    wide(column("Node", (pod) => text(pod, "spec.nodeName") || NONE)),
    wide(column("Nominated Node", (pod) => text(pod, "status.nominatedNodeName") || NONE)),
    wide(column("Readiness Gates", readinessGates)),
  ],
  podtemplates: [
    NAME,
    ...containers("template.spec.containers").map((one) => ({ ...one, wide: false })),
    column("Pod Labels", (object) => labelsText(get(object, "template.metadata.labels"))),
  ],
  replicationcontrollers: [
    ...[NAME, ...replicas, AGE, ...TEMPLATE],
    wide(column("Selector", (object) => labelsText(get(object, "spec.selector")))),
  ],
  "replicasets.apps": [NAME, ...replicas, AGE, ...TEMPLATE, SELECTOR],
  "deployments.apps": [
    ...[NAME, ready, column("Up-to-date", "status.updatedReplicas", 0)],
    ...[column("Available", "status.availableReplicas", 0), AGE, ...TEMPLATE, SELECTOR],
  ],
  "statefulsets.apps": [NAME, ready, AGE, ...TEMPLATE],
  "daemonsets.apps": [
    NAME,
    count("Desired", "status.desiredNumberScheduled"),
    count("Current", "status.currentNumberScheduled"),
    count("Ready", "status.numberReady"),
    count("Up-to-date", "status.updatedNumberScheduled"),
    count("Available", "status.numberAvailable"),
    column("Node Selector", (object) => labelsText(get(object, "spec.template.spec.nodeSelector"))),
    ...[AGE, ...TEMPLATE, SELECTOR],
  ],
  "controllerrevisions.apps": [
    NAME,
    column("Controller", ({ metadata }) => {
      const owner = metadata.ownerReferences?.find(({ controller }) => controller);
      if (!owner) return NONE;
      const group = owner.apiVersion.includes("/") ? `.${owner.apiVersion.split("/")[0]}` : "";
      return `${owner.kind}${group}`.toLowerCase().concat(`/${owner.name}`);
    }),
    column("Revision", "revision", 0),
    AGE,
  ],
  "jobs.batch": [
    NAME,
    column("Status", jobStatus),
    column("Completions", completions),
    column("Duration", (job, since) => {
      const [start, end] = [get(job, "status.startTime"), get(job, "status.completionTime")];
      if (!start) return "";
      return end ? humanDuration((Date.parse(String(end)) - Date.parse(String(start))) / 1000) : since(start);
    }),
    ...[AGE, ...TEMPLATE, SELECTOR],
  ],
  "cronjobs.batch": [
    NAME,
    column("Schedule", "spec.schedule"),
    column("Timezone", "spec.timeZone", NONE),
    column("Suspend", (job) => suspended(get(job, "spec.suspend")), "", { type: "boolean" }),
    count("Active", (job) => entries(job, "status.active").length),
    column("Last Schedule", (job, since) => {
      const last = get(job, "status.lastScheduleTime");
      return last ? since(last) : NONE;
    }),
    AGE,
    ...containers("spec.jobTemplate.spec.template.spec.containers"),
    wide(column("Selector", (job) => selectorText(get(job, "spec.jobTemplate.spec.selector")))),
  ],
  "horizontalpodautoscalers.autoscaling": [
    NAME,
    column("Reference", (o) => `${text(o, "spec.scaleTargetRef.kind")}/${text(o, "spec.scaleTargetRef.name")}`),
    column("Targets", scalerTargets),
    column("MinPods", (object) => String(get(object, "spec.minReplicas") ?? UNSET)),
    column("MaxPods", "spec.maxReplicas", 0),
    column("Replicas", "status.currentReplicas", 0),
    AGE,
  ],
  "poddisruptionbudgets.policy": [
    NAME,
    column("Min Available", (object) => String(get(object, "spec.minAvailable") ?? "N/A")),
    column("Max Unavailable", (object) => String(get(object, "spec.maxUnavailable") ?? "N/A")),
    count("Allowed Disruptions", "status.disruptionsAllowed"),
    AGE,
  ],
};

function readinessGates(pod: KubernetesObject): string {
  const gates = entries(pod, "spec.readinessGates");
  const open = gates.filter((gate) => condition(pod, text(gate, "conditionType"))?.status === "True");
  return gates.length ? `${open.length}/${gates.length}` : NONE;
}

function suspended(value: unknown): string {
  return value === undefined ? UNSET : value ? "True" : "False";
}

function jobStatus(job: KubernetesObject): string {
  const is = (type: string) => condition(job, type)?.status === "True";
  if (is("Complete")) return "Complete";
  if (is("Failed")) return "Failed";
  if (job.metadata.deletionTimestamp) return "Terminating";
  return ["Suspended", "FailureTarget", "SuccessCriteriaMet"].find(is) ?? "Running";
}

function completions(job: KubernetesObject): string {
  const done = number(job, "status.succeeded");
  const wanted = get(job, "spec.completions");
  if (wanted !== undefined) return `${done}/${wanted}`;
  const parallelism = number(job, "spec.parallelism");
  return parallelism > 1 ? `${done}/1 of ${parallelism}` : `${done}/1`;
}

/** Each metric as current/target; at most two of them. */
function scalerTargets(scaler: KubernetesObject): string {
  const percent = get(scaler, "spec.targetCPUUtilizationPercentage");
  if (percent !== undefined) {
    const current = get(scaler, "status.currentCPUUtilizationPercentage");
    return `cpu: ${current === undefined ? "<unknown>" : `${current}%`}/${percent}%`;
  }
  const statuses = entries(scaler, "status.currentMetrics");
  const metrics = entries(scaler, "spec.metrics").map((metric, place) => metricText(metric, statuses[place]));
  return metrics.length ? some(metrics, 2, metrics.length, ", ") : NONE;
}

function metricText(metric: Fields, status: Fields | undefined): string {
  const type = text(metric, "type");
  const field = `${type.charAt(0).toLowerCase()}${type.slice(1)}`;
  const current = (kind: string) => String(get(status, `${field}.current.${kind}`) ?? "<unknown>");
  const target = (kind: string) => get(metric, `${field}.target.${kind}`);
  const average = target("averageValue");
  if (type === "Pods") return `${current("averageValue")}/${average}`;
  if (type === "Resource" || type === "ContainerResource") {
    const name = text(metric, `${field}.name`);
    if (average !== undefined) return `${name}: ${current("averageValue")}/${average}`;
    const used = get(status, `${field}.current.averageUtilization`);
    const wanted = target("averageUtilization");
    return `${name}: ${used === undefined ? "<unknown>" : `${used}%`}/${wanted === undefined ? "<auto>" : `${wanted}%`}`;
  }
  if (type !== "External" && type !== "Object") return "<unknown type>";
  return average === undefined
    ? `${current("value")}/${target("value")}`
    : `${current("averageValue")}/${average} (avg)`;
}
