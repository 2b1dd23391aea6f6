import type { KubernetesObject } from "../../archive/item.ts";
import { humanDuration } from "../age.ts";
import {
  AGE,
  type Column,
  column,
  condition,
  count,
  createdAt,
  entries,
  flag,
  get,
  NAME,
  NONE,
  sizeOf,
  text,
  UNSET,
  values,
  wide,
} from "./column.ts";

const BINDING: Column[] = [
  NAME,
  column("Role", (binding) => `${text(binding, "roleRef.kind")}/${text(binding, "roleRef.name")}`),
  AGE,
  wide(column("Users", (binding) => subjects(binding, "User"))),
  wide(column("Groups", (binding) => subjects(binding, "Group"))),
  wide(column("ServiceAccounts", (binding) => subjects(binding, "ServiceAccount"))),
];
const WEBHOOKS: Column[] = [NAME, count("Webhooks", (object) => entries(object, "webhooks").length), AGE];
const paramKind = column("ParamKind", (policy) => {
  const kind = get(policy, "spec.paramKind");
  return kind ? `${text(kind, "apiVersion")}/${text(kind, "kind")}` : UNSET;
});
const POLICY_BINDING: Column[] = [NAME, column("PolicyName", "spec.policyName"), column("ParamRef", paramRef), AGE];

/** Nodes, settings, rights, and what the API server keeps for itself. */
export const OTHERS: Record<string, Column[]> = {
  nodes: [
    NAME,
    column("Status", nodeStatus),
    column("Roles", nodeRoles),
    AGE,
    column("Version", "status.nodeInfo.kubeletVersion"),
    wide(column("Internal-IP", (node) => nodeAddress(node, "InternalIP"))),
    wide(column("External-IP", (node) => nodeAddress(node, "ExternalIP"))),
    wide(column("OS-Image", (node) => text(node, "status.nodeInfo.osImage") || "<unknown>")),
    wide(
      column("Kernel-Version", (node) => {
        const architecture = text(node, "status.nodeInfo.architecture");
        const version = text(node, "status.nodeInfo.kernelVersion") || "<unknown>";
        return architecture ? `${version} (${architecture})` : version;
      }),
    ),
    wide(column("Container-Runtime", (node) => text(node, "status.nodeInfo.containerRuntimeVersion") || "<unknown>")),
  ],
  namespaces: [NAME, column("Status", "status.phase"), AGE],
  configmaps: [NAME, column("Data", (object) => sizeOf(object, "data") + sizeOf(object, "binaryData")), AGE],
  secrets: [NAME, column("Type", "type"), column("Data", (object) => sizeOf(object, "data")), AGE],
  serviceaccounts: [NAME, AGE],
  resourcequotas: [
    NAME,
    column("Request", (quota) => quotaText(quota, false)),
    column("Limit", (quota) => quotaText(quota, true)),
    AGE,
  ],
  limitranges: [NAME, createdAt],
  events: [
    column("Last Seen", (event, since) => since(lastSeen(event))),
    column("Type", "type"),
    column("Reason", "reason"),
    column("Object", (event) => {
      const parts = [text(event, "involvedObject.kind").toLowerCase(), text(event, "involvedObject.name")];
      return parts.filter(Boolean).join("/");
    }),
    wide(column("Subobject", "involvedObject.fieldPath")),
    wide(
      column("Source", (event) => {
        const component = text(event, "source.component") || text(event, "reportingComponent");
        const host = text(event, "source.host") || text(event, "reportingInstance");
        return host ? `${component}, ${host}` : component;
      }),
    ),
    column("Message", (event) => text(event, "message").trim()),
    wide(column("First Seen", (event, since) => since(get(event, "firstTimestamp") ?? get(event, "eventTime")))),
    wide(column("Count", (event) => get(event, "series.count") ?? (get(event, "count") || 1))),
    wide(NAME),
  ],
  "rolebindings.rbac.authorization.k8s.io": BINDING,
  "clusterrolebindings.rbac.authorization.k8s.io": BINDING,
  "certificatesigningrequests.certificates.k8s.io": [
    ...[NAME, AGE, column("SignerName", (o) => text(o, "spec.signerName") || NONE)],
    column("Requestor", "spec.username"),
    column("RequestedDuration", (request) => {
      const seconds = get(request, "spec.expirationSeconds");
      return seconds === undefined ? NONE : humanDuration(Number(seconds));
    }),
    column("Condition", requestStatus),
  ],
  "leases.coordination.k8s.io": [NAME, column("Holder", "spec.holderIdentity"), AGE],
  "priorityclasses.scheduling.k8s.io": [
    ...[NAME, count("Value", "value"), flag("Global-Default", "globalDefault"), AGE],
    column("PreemptionPolicy", "preemptionPolicy"),
  ],
  "runtimeclasses.node.k8s.io": [NAME, column("Handler", "handler"), AGE],
  "apiservices.apiregistration.k8s.io": [
    NAME,
    column("Service", (object) => {
      const service = get(object, "spec.service");
      return service ? `${text(service, "namespace")}/${text(service, "name")}` : "Local";
    }),
    column("Available", (object) => {
      const { status = "Unknown", reason } = condition(object, "Available") ?? {};
      return status === "True" || !reason ? status : `${status} (${reason})`;
    }),
    AGE,
  ],
  "mutatingwebhookconfigurations.admissionregistration.k8s.io": WEBHOOKS,
  "validatingwebhookconfigurations.admissionregistration.k8s.io": WEBHOOKS,
  "validatingadmissionpolicies.admissionregistration.k8s.io": [
    ...[NAME, count("Validations", (policy) => entries(policy, "spec.validations").length), paramKind, AGE],
  ],
  "mutatingadmissionpolicies.admissionregistration.k8s.io": [
    ...[NAME, count("Mutations", (policy) => entries(policy, "spec.mutations").length), paramKind, AGE],
  ],
  "validatingadmissionpolicybindings.admissionregistration.k8s.io": POLICY_BINDING,
  "mutatingadmissionpolicybindings.admissionregistration.k8s.io": POLICY_BINDING,
  "flowschemas.flowcontrol.apiserver.k8s.io": [
    NAME,
    column("PriorityLevel", "spec.priorityLevelConfiguration.name"),
    column("MatchingPrecedence", "spec.matchingPrecedence", 0),
    column("DistinguisherMethod", "spec.distinguisherMethod.type", NONE),
    AGE,
    column("MissingPL", (schema) => condition(schema, "Dangling")?.status ?? "?"),
  ],
  "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": [
    NAME,
    column("Type", "spec.type"),
    column("NominalConcurrencyShares", "spec.limited.nominalConcurrencyShares", NONE),
    column("Queues", "spec.limited.limitResponse.queuing.queues", NONE),
    column("HandSize", "spec.limited.limitResponse.queuing.handSize", NONE),
    column("QueueLengthLimit", "spec.limited.limitResponse.queuing.queueLengthLimit", NONE),
    AGE,
  ],
  "deviceclasses.resource.k8s.io": [NAME, AGE],
  "resourceclaims.resource.k8s.io": [NAME, column("State", claimState), AGE],
  "resourceclaimtemplates.resource.k8s.io": [NAME, AGE],
  "resourceslices.resource.k8s.io": [
    ...[NAME, column("Node", "spec.nodeName"), column("Driver", "spec.driver")],
    ...[column("Pool", "spec.pool.name"), AGE],
  ],
};

function subjects(binding: KubernetesObject, kind: string): string {
  return entries(binding, "subjects")
    .filter((subject) => subject.kind === kind)
    .map((subject) => `${subject.namespace ? `${subject.namespace}/` : ""}${subject.name}`)
    .join(", ");
}

function paramRef(binding: KubernetesObject): string {
  const name = text(binding, "spec.paramRef.name");
  return name ? `${text(binding, "spec.paramRef.namespace") || "*"}/${name}` : UNSET;
}

function nodeStatus(node: KubernetesObject): string {
  const ready = condition(node, "Ready");
  const state = ready ? (ready.status === "True" ? "Ready" : "NotReady") : "Unknown";
  return get(node, "spec.unschedulable") ? `${state},SchedulingDisabled` : state;
}

function nodeRoles({ metadata: { labels = {} } }: KubernetesObject): string {
  const prefix = "node-role.kubernetes.io/";
  const roles = Object.keys(labels).flatMap((key) => (key.startsWith(prefix) ? key.slice(prefix.length) : []));
  return [...new Set([...roles, labels["kubernetes.io/role"] ?? ""])].filter(Boolean).sort().join(",") || NONE;
}

function nodeAddress(node: KubernetesObject, type: string): string {
  return (
    text(
      entries(node, "status.addresses").find((address) => address.type === type),
      "address",
    ) || NONE
  );
}

function quotaText(quota: KubernetesObject, limits: boolean): string {
  const hard = (get(quota, "status.hard") ?? {}) as Record<string, unknown>;
  const used = (get(quota, "status.used") ?? {}) as Record<string, unknown>;
  return Object.keys(hard)
    .filter((name) => name.startsWith("limits.") === limits)
    .sort()
    .map((name) => `${name}: ${used[name] ?? 0}/${hard[name]}`)
    .join(", ");
}

function lastSeen(event: KubernetesObject): unknown {
  const first = get(event, "firstTimestamp") ?? get(event, "eventTime");
  return get(event, "series.lastObservedTime") ?? get(event, "lastTimestamp") ?? first;
}

function requestStatus(request: KubernetesObject): string {
  const [approved, denied, failed] = ["Approved", "Denied", "Failed"].map((type) => condition(request, type));
  const status = denied ? "Denied" : approved ? "Approved" : "Pending";
  return `${status}${failed ? ",Failed" : ""}${text(request, "status.certificate") ? ",Issued" : ""}`;
}

function claimState(claim: KubernetesObject): string {
  const gone = claim.metadata.deletionTimestamp ? ["deleted"] : [];
  if (!get(claim, "status.allocation")) return gone.length ? "deleted" : "pending";
  return [...gone, "allocated", ...(values(claim, "status.reservedFor").length ? ["reserved"] : [])].join(",");
}
