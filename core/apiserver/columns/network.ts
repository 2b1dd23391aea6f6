import { isIPv6 } from "node:net";
import type { KubernetesObject } from "../../archive/item.ts";
import {
  AGE,
  type Column,
  column,
  entries,
  get,
  labelsText,
  NAME,
  NONE,
  selectorText,
  some,
  text,
  UNSET,
  values,
  wide,
} from "./column.ts";

/** What leads to Pods, or keeps from them. */
export const NETWORK: Record<string, Column[]> = {
  services: [
    NAME,
    column("Type", "spec.type"),
    column("Cluster-IP", (service) => String(values(service, "spec.clusterIPs")[0] ?? NONE)),
    column("External-IP", externalAddress),
    column("Port(s)", (service) => entries(service, "spec.ports").map(portText).join(",") || NONE),
    AGE,
    wide(column("Selector", (service) => labelsText(get(service, "spec.selector")))),
  ],
  "ingresses.networking.k8s.io": [
    NAME,
    column("Class", "spec.ingressClassName", NONE),
    column("Hosts", hosts),
    column("Address", loadBalancer),
    column("Ports", (ingress) => (entries(ingress, "spec.tls").length ? "80, 443" : "80")),
    AGE,
  ],
  "ingressclasses.networking.k8s.io": [
    { ...NAME, cell: defaultMarked("ingressclass.kubernetes.io/is-default-class") },
    column("Controller", "spec.controller"),
    column("Parameters", (object) => {
      const group = text(object, "spec.parameters.apiGroup");
      const kind = text(object, "spec.parameters.kind");
      return kind ? `${kind}${group && `.${group}`}/${text(object, "spec.parameters.name")}` : NONE;
    }),
    AGE,
  ],
  "networkpolicies.networking.k8s.io": [
    NAME,
    column("Pod-Selector", (object) => selectorText(get(object, "spec.podSelector"))),
    AGE,
  ],
  "servicecidrs.networking.k8s.io": [NAME, column("CIDRs", (o) => values(o, "spec.cidrs").join(",")), AGE],
  "ipaddresses.networking.k8s.io": [
    NAME,
    column("ParentRef", (object) => {
      const part = (field: string) => text(object, `spec.parentRef.${field}`);
      const resource = [part("resource"), part("group")].filter(Boolean).join(".").toLowerCase();
      return resource ? [resource, part("namespace"), part("name")].filter(Boolean).join("/") : NONE;
    }),
  ],
  endpoints: [NAME, column("Endpoints", endpoints), AGE],
  "endpointslices.discovery.k8s.io": [
    NAME,
    column("AddressType", "addressType"),
    column("Ports", (slice) => {
      const ports = entries(slice, "ports").map((port) => String(get(port, "port") ?? get(port, "name") ?? "*"));
      return some(ports, 3) || UNSET;
    }),
    column("Endpoints", (slice) => {
      const addresses = entries(slice, "endpoints").flatMap((one) => values(one, "addresses").map(String));
      return some(addresses, 3) || UNSET;
    }),
    AGE,
  ],
};

/** The name, and whether it is the one that is taken where none is named. */
export function defaultMarked(annotation: string): Column["cell"] {
  return ({ metadata }) => `${metadata.name}${metadata.annotations?.[annotation] === "true" ? " (default)" : ""}`;
}

function portText(port: object): string {
  const node = get(port, "nodePort");
  return `${text(port, "port")}${node ? `:${node}` : ""}/${text(port, "protocol")}`;
}

function externalAddress(service: KubernetesObject): string {
  const type = text(service, "spec.type");
  const given = values(service, "spec.externalIPs").map(String);
  if (type === "ExternalName") return text(service, "spec.externalName");
  if (type !== "LoadBalancer") return given.join(",") || NONE;
  return [loadBalancer(service), ...given].filter(Boolean).join(",") || "<pending>";
}

function loadBalancer(object: KubernetesObject): string {
  const points = entries(object, "status.loadBalancer.ingress").map((one) => text(one, "ip") || text(one, "hostname"));
  return [...new Set(points.filter(Boolean))].sort().join(",");
}

/** Of the first three rules; whether there are more is told by the rules, with hosts or without. */
function hosts(ingress: KubernetesObject): string {
  const rules = entries(ingress, "spec.rules");
  const named = rules.map((rule) => text(rule, "host")).filter(Boolean);
  if (named.length === 0) return "*";
  return named.length < 3 || rules.length === 3 ? named.slice(0, 3).join(",") : some(named, 3, rules.length);
}

function endpoints(object: KubernetesObject): string {
  if (entries(object, "subsets").length === 0) return NONE;
  const all = entries(object, "subsets").flatMap((subset) => {
    const addresses = entries(subset, "addresses").map((one) => text(one, "ip"));
    const ports = entries(subset, "ports").map((one) => text(one, "port"));
    if (ports.length === 0) return addresses;
    return ports.flatMap((port) => addresses.map((ip) => `${isIPv6(ip) ? `[${ip}]` : ip}:${port}`));
  });
  return some(all, 3);
}
