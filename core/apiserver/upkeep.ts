import { randomInt } from "node:crypto";
import { isIP } from "node:net";
import type { KubernetesObject } from "../archive/item.ts";
import { DEFINITIONS } from "../objects/resources.ts";
import { timestamp } from "../timestamp.ts";
import { isRecord } from "./patch.ts";
import { builtIn, type DefinitionSpec, definitionSpec, type ServedResource } from "./resources.ts";
import { invalid, StatusError } from "./status.ts";
import type { Store } from "./store.ts";

/** Where the resource definitions lie. */

const ADDRESSES = "ipaddresses.networking.k8s.io";

/** The range that Services get their addresses from; the first one is the Service `kubernetes`. */
export const SERVICE_RANGE = { cidr: "10.96.0.0/16", first: "10.96.0.1" };

type Fill = (
  resource: ServedResource,
  object: KubernetesObject,
  store: Store,
  live?: KubernetesObject,
) => KubernetesObject;

/** What the API server itself writes into objects of some kinds, on create and on update. */
const FILLS: Record<string, Fill> = {
  namespaces: (_resource, object) => ({
    ...object,
    metadata: {
      ...object.metadata,
      labels: { ...object.metadata.labels, "kubernetes.io/metadata.name": object.metadata.name },
    },
    spec: { finalizers: ["kubernetes"], ...record(object.spec) },
  }),
  services: withAddress,
  [DEFINITIONS]: withConditions,
};

/** `object` with what the server writes into objects of its kind; Invalid where that can't be. */
export function filled(
  resource: ServedResource,
  object: KubernetesObject,
  store: Store,
  live?: KubernetesObject,
): KubernetesObject {
  return FILLS[resource.collection]?.(resource, object, store, live) ?? object;
}

function withAddress(
  resource: ServedResource,
  object: KubernetesObject,
  store: Store,
  live?: KubernetesObject,
): KubernetesObject {
  const spec = record(object.spec);
  if (spec.type === "ExternalName") return object;
  const { name, namespace } = object.metadata;
  const address = spec.clusterIP || record(live?.spec).clusterIP || freeAddress(store);
  const holder = record(record(store.get(ADDRESSES, String(address))?.spec).parentRef);
  if (holder.name !== undefined && (holder.name !== name || holder.namespace !== namespace)) {
    const why = `Invalid value: ["${address}"]: failed to allocate IP ${address}: provided IP is already allocated`;
    throw invalid(resource, name, "spec.clusterIPs", why);
  }
  const addresses = spec.clusterIP && spec.clusterIPs ? spec.clusterIPs : [address];
  return { ...object, spec: { ...spec, clusterIP: address, clusterIPs: addresses } };
}

/** Any that is free, as the real allocator does. */
function freeAddress(store: Store): string {
  for (let tries = 0; tries < 1000; tries++) {
    const address = `10.96.${randomInt(1, 256)}.${randomInt(256)}`;
    if (!store.get(ADDRESSES, address)) return address;
  }
  throw new StatusError("InternalError", "failed to allocate a serviceIP: range is full");
}

function withConditions(resource: ServedResource, object: KubernetesObject): KubernetesObject {
  const { name } = object.metadata;
  const spec = definitionSpec(object);
  if (!spec) throw invalid(resource, name, "spec", "Required value: group, names.plural, names.kind and versions");
  const { group, names, versions } = spec;
  if (name !== `${names.plural}.${group}`) {
    const why = `Invalid value: "${name}": must be spec.names.plural+"."+spec.group`;
    throw invalid(resource, name, "metadata.name", why);
  }
  const { conditions, storedVersions } = record(object.status);
  if (Array.isArray(conditions) && conditions.length > 0) {
    return { ...object, status: { ...record(object.status), acceptedNames: names } };
  }
  const accepted = { reason: "NoConflicts", message: "no conflicts found" };
  const established = { reason: "InitialNamesAccepted", message: "the initial names have been accepted" };
  const head = { status: "True", lastTransitionTime: timestamp(new Date()) };
  const status = {
    conditions: [
      { type: "NamesAccepted", ...head, ...accepted },
      { type: "Established", ...head, ...established },
    ],
    acceptedNames: names,
    storedVersions: storedVersions ?? versions.filter((version) => version.storage).map((version) => version.name),
  };
  return { ...object, status };
}

/** What a cluster's own controllers keep beside objects of some kinds; here it appears, and goes, together with them. */
const COMPANIONS: Record<string, (object: KubernetesObject) => KubernetesObject[]> = {
  namespaces: ({ metadata: { name: namespace } }) => [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace } },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "kube-root-ca.crt", namespace },
      data: { "ca.crt": "# This API server speaks plain HTTP: it has no certificate authority.\n" },
    },
  ],
  services: ({ metadata: { name, namespace }, spec }) => {
    const address = record(spec).clusterIP;
    return typeof address === "string" && isIP(address) ? [ipAddress(address, namespace, name)] : [];
  },
  [DEFINITIONS]: ({ spec }) => {
    const { group, versions } = spec as DefinitionSpec;
    return versions.filter(({ served }) => served).map(({ name }) => apiService(group, name, "true"));
  },
};

/** The objects that come and go with `object`. */
export function companions(resource: ServedResource, object: KubernetesObject): KubernetesObject[] {
  return COMPANIONS[resource.collection]?.(object) ?? [];
}

function ipAddress(address: string, namespace: string | undefined, name: string): KubernetesObject {
  const labels = {
    "ipaddress.kubernetes.io/ip-family": isIP(address) === 6 ? "IPv6" : "IPv4",
    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
  };
  const spec = { parentRef: { group: "", resource: "services", namespace, name } };
  return { apiVersion: "networking.k8s.io/v1", kind: "IPAddress", metadata: { name: address, labels }, spec };
}

/** The APIServices of the built-in groups, as a server registers them at its start. */
export function builtInApiServices(): KubernetesObject[] {
  const versions = new Map(builtIn.map(({ group, version }) => [`${version}.${group}`, { group, version }]));
  return [...versions.values()].map(({ group, version }) => apiService(group, version, "onstart"));
}

function apiService(group: string, version: string, automanaged: "onstart" | "true"): KubernetesObject {
  const available = { type: "Available", status: "True", reason: "Local", lastTransitionTime: timestamp(new Date()) };
  const labels = { "kube-aggregator.kubernetes.io/automanaged": automanaged };
  return {
    apiVersion: "apiregistration.k8s.io/v1",
    kind: "APIService",
    metadata: { name: `${version}.${group}`, labels },
    spec: { group, version, groupPriorityMinimum: automanaged === "true" ? 1000 : 17_000, versionPriority: 100 },
    status: { conditions: [{ ...available, message: "Local APIServices are always available" }] },
  };
}

const record = (value: unknown): Record<string, unknown> => (isRecord(value) ? value : {});
