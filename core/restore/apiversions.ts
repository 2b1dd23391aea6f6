import type { IndexEntry } from "../archive/index.ts";
import { itemPath, type KubernetesObject } from "../archive/item.ts";
import type { Archive } from "../archive/reader.ts";
import { expectOk, type Kube } from "../kube/client.ts";
import type { Discovery } from "../kube/discovery.ts";
import { type Resource, resourceApiVersion, resourceKey, resourcePath } from "../kube/resource.ts";
import { at, fieldsAt } from "../objects/fields.ts";
import { DEFINITIONS } from "../objects/resources.ts";
import type { RestoreSurvey } from "./survey.ts";

/** A version that Kubernetes has dropped, whose objects say the same in a later one. */
interface Successor {
  /** Group-resource strings. */
  resources: string[];
  from: string[];
  to: string;
  /** What must be said differently; nothing where not given. */
  rewrite?: (object: KubernetesObject) => void;
}

/**
 * From Kubernetes' deprecated API migration guide (kubernetes.io/docs/reference/using-api/deprecation-guide): the rows that
 * have no notable changes, or one that can be rewritten. What isn't here (Ingresses, webhooks, definitions,
 * EndpointSlices of v1beta1) has other fields.
 */
const SUCCESSORS: Successor[] = [
  { resources: ["cronjobs.batch"], from: ["batch/v1beta1"], to: "batch/v1" },
  { resources: ["horizontalpodautoscalers.autoscaling"], from: ["autoscaling/v2beta2"], to: "autoscaling/v2" },
  {
    resources: ["poddisruptionbudgets.policy"],
    from: ["policy/v1beta1"],
    to: "policy/v1",
    // An empty selector selected no Pods in v1beta1, and selects all in v1.
    rewrite: ({ spec }) => {
      const holder = fieldsAt(spec);
      const selector = fieldsAt(holder, "selector");
      const empty = Object.values(selector ?? {}).every((part) => Object.keys(part as object).length === 0);
      if (holder && selector && empty) delete holder.selector;
    },
  },
  {
    resources: ["roles", "rolebindings", "clusterroles", "clusterrolebindings"].map(
      (name) => `${name}.rbac.authorization.k8s.io`,
    ),
    from: ["rbac.authorization.k8s.io/v1beta1", "rbac.authorization.k8s.io/v1alpha1"],
    to: "rbac.authorization.k8s.io/v1",
  },
  {
    resources: ["priorityclasses.scheduling.k8s.io"],
    from: ["scheduling.k8s.io/v1beta1", "scheduling.k8s.io/v1alpha1"],
    to: "scheduling.k8s.io/v1",
  },
  { resources: ["leases.coordination.k8s.io"], from: ["coordination.k8s.io/v1beta1"], to: "coordination.k8s.io/v1" },
  { resources: ["runtimeclasses.node.k8s.io"], from: ["node.k8s.io/v1beta1"], to: "node.k8s.io/v1" },
  { resources: ["ingressclasses.networking.k8s.io"], from: ["networking.k8s.io/v1beta1"], to: "networking.k8s.io/v1" },
  {
    resources: ["storageclasses", "csidrivers", "csistoragecapacities"].map((name) => `${name}.storage.k8s.io`),
    from: ["storage.k8s.io/v1beta1"],
    to: "storage.k8s.io/v1",
  },
  {
    resources: ["flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io"],
    from: ["flowcontrol.apiserver.k8s.io/v1beta3"],
    to: "flowcontrol.apiserver.k8s.io/v1",
  },
  {
    resources: [
      "validatingadmissionpolicies.admissionregistration.k8s.io",
      "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    ],
    from: ["admissionregistration.k8s.io/v1beta1"],
    to: "admissionregistration.k8s.io/v1",
  },
  {
    resources: ["apiservices.apiregistration.k8s.io"],
    from: ["apiregistration.k8s.io/v1beta1"],
    to: "apiregistration.k8s.io/v1",
  },
];

/**
 * Resources that have moved to another API group, and where to (the same guide). Their objects aren't converted: fields were
 * renamed or got other defaults on the way.
 */
const MOVED: Record<string, string> = {
  "daemonsets.extensions": "daemonsets.apps",
  "deployments.extensions": "deployments.apps",
  "ingresses.extensions": "ingresses.networking.k8s.io",
  "networkpolicies.extensions": "networkpolicies.networking.k8s.io",
  "replicasets.extensions": "replicasets.apps",
};

/** The resources that have become this one. */
export function movedTo(resource: string): string[] {
  return Object.keys(MOVED).filter((from) => MOVED[from] === resource);
}

/** What to do about an object whose resource or version isn't served: `served` are the versions of its resource that are. */
export function conversionHint(resource: string, served: string): string {
  const group = resource.split(".").slice(1);
  const custom = group.length > 1 && !resource.endsWith(".k8s.io");
  if (served && custom)
    return `, only as ${served}, which may have other fields: let its definition serve that version while you restore`;
  if (served) return `, only as ${served}, which has other fields: convert it by hand (kubectl convert)`;
  const moved = MOVED[resource];
  return moved ? `; they have become ${moved}, with other fields: convert it by hand (kubectl convert)` : "";
}

/**
 * Puts, in place of entries whose version the target doesn't serve, those of the same objects in the version that it likes
 * best of those that the backup holds: a Velero with EnableAPIGroupVersions stored several (velero-format: 5.11).
 */
export async function inServedVersions(
  entries: IndexEntry[],
  { otherVersions }: Archive,
  resources: Resource[],
): Promise<IndexEntry[]> {
  if (!otherVersions) return entries;
  const order = new Map(
    resources.map((one, place) => [conversionKey(resourceKey(one), resourceApiVersion(one)), place]),
  );
  const placeOf = ({ resource, apiVersion }: IndexEntry) => order.get(conversionKey(resource, apiVersion));
  const unserved = new Set(entries.filter((entry) => placeOf(entry) === undefined).map((entry) => itemPath(entry)));
  const best = new Map<string, IndexEntry>();
  if (unserved.size === 0) return entries;
  for await (const other of otherVersions()) {
    const path = itemPath(other);
    const place = placeOf(other);
    const known = best.get(path);
    if (place === undefined || !unserved.has(path) || (known && placeOf(known)! <= place)) continue;
    best.set(path, other);
  }
  return entries.map((entry) => {
    const { apiVersion, version, segment, offset, size, sha256 } = best.get(itemPath(entry)) ?? entry;
    return { ...entry, apiVersion, version, segment, offset, size, sha256 };
  });
}

/** From "<apiVersion> <resource>" of the backup to the `apiVersion` in which the target takes the same object. */
export type Conversions = Map<string, string>;

/** A key of `Conversions`. */
export function conversionKey(resource: string, apiVersion: string): string {
  return `${apiVersion} ${resource}`;
}

/** Brings an object into the version in which the target takes it, where that is another one. */
export function convert(object: KubernetesObject, resource: string, conversions: Conversions): void {
  const to = conversions.get(conversionKey(resource, object.apiVersion));
  if (to === undefined) return;
  successorOf(resource, object.apiVersion)?.rewrite?.(object);
  object.apiVersion = to;
}

function successorOf(resource: string, apiVersion: string): Successor | undefined {
  return SUCCESSORS.find(({ resources, from }) => resources.includes(resource) && from.includes(apiVersion));
}

/**
 * How items can be restored whose version the target doesn't serve: built-in ones by the table, custom ones in the version
 * that the target prefers, where their definition says that versions differ in nothing but their name (conversion strategy
 * None). One request for each such definition.
 */
export async function findConversions(
  { items }: RestoreSurvey,
  { resources }: Discovery,
  { kube, signal }: { kube: Kube; signal: AbortSignal },
): Promise<Conversions> {
  const served = new Map(resources.map((one) => [conversionKey(resourceKey(one), resourceApiVersion(one)), one]));
  const preferred = new Map(resources.filter((one) => one.preferred).map((one) => [resourceKey(one), one]));
  const conversions: Conversions = new Map();
  const asked = new Set<string>();
  for (const { entry } of items) {
    const key = conversionKey(entry.resource, entry.apiVersion);
    if (served.has(key) || asked.has(key)) continue;
    asked.add(key);
    const successor = successorOf(entry.resource, entry.apiVersion);
    if (successor && served.has(conversionKey(entry.resource, successor.to))) conversions.set(key, successor.to);
    const other = preferred.get(entry.resource);
    if (!successor && other?.group.includes(".") && (await differInName(entry.resource, { kube, signal })))
      conversions.set(key, resourceApiVersion(other));
  }
  return conversions;
}

const [, ...DEFINITIONS_GROUP] = DEFINITIONS.split(".");

async function differInName(resource: string, { kube, signal }: { kube: Kube; signal: AbortSignal }): Promise<boolean> {
  const definitions = { group: DEFINITIONS_GROUP.join("."), version: "v1", name: "customresourcedefinitions" };
  const response = await kube.request({ path: resourcePath(definitions, undefined, resource), signal });
  if (response.status === 404 || response.status === 403) return false;
  const definition = JSON.parse(expectOk(response, `get the definition of ${resource}`).body.toString("utf8"));
  return (at(definition, "spec", "conversion", "strategy") ?? "None") === "None";
}
