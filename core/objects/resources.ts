/** The group-resource strings of resources that several rules name. */
export const NAMESPACES = "namespaces";
export const DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io";
export const SERVICES = "services";
export const API_SERVICES = "apiservices.apiregistration.k8s.io";
export const CLAIMS = "persistentvolumeclaims";
export const VOLUMES = "persistentvolumes";
export const SNAPSHOTS = "volumesnapshots.snapshot.storage.k8s.io";
export const SNAPSHOT_CONTENTS = "volumesnapshotcontents.snapshot.storage.k8s.io";
export const SNAPSHOT_CLASSES = "volumesnapshotclasses.snapshot.storage.k8s.io";
/** The same objects in two groups. */
export const EVENTS = ["events", "events.events.k8s.io"];
export const ACCOUNTS = "serviceaccounts";
export const BINDINGS = "clusterrolebindings.rbac.authorization.k8s.io";
export const CLUSTER_ROLES = "clusterroles.rbac.authorization.k8s.io";
export const PRIORITY_CLASSES = "priorityclasses.scheduling.k8s.io";

const OWN_GROUPS = new Set([
  "",
  "admissionregistration.k8s.io",
  "apps",
  "autoscaling",
  "batch",
  "discovery.k8s.io",
  "flowcontrol.apiserver.k8s.io",
  "networking.k8s.io",
  "node.k8s.io",
  "policy",
  "rbac.authorization.k8s.io",
  "resource.k8s.io",
  "scheduling.k8s.io",
  "storage.k8s.io",
]);

/** Whether it is a resource (a group-resource string) of Kubernetes itself. */
export function isOwn(resource: string): boolean {
  return OWN_GROUPS.has(groupOf(resource));
}

/** The API group of a group-resource string. */
export function groupOf(resource: string): string {
  const dot = resource.indexOf(".");
  return dot < 0 ? "" : resource.slice(dot + 1);
}
