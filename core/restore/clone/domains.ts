import { parseExact } from "../../kube/json.ts";
import { type Fields, goJson, isFields } from "../../objects/fields.ts";
import { annotation, changeAt, type Place } from "../../objects/places.ts";
import type { Fix } from "../fixes.ts";

/** From domains of the source to those of the clone. */
export type DomainMapping = Record<string, string>;

/**
 * The host's name in the clone: a mapped domain stands for itself and all below it, `*.` too; the longest one wins. In
 * any case, as DNS has it; what is below the domain, and the dot at the end, stay as they are written.
 */
export function mapHost(host: string, mapping: DomainMapping): string {
  const dot = host.endsWith(".") ? "." : "";
  const name = dot ? host.slice(0, -1) : host;
  const domain = longest(Object.keys(mapping).filter((domain) => isWithin(name, domain)));
  return domain === undefined ? host : name.slice(0, name.length - domain.length) + mapping[domain] + dot;
}

/** Whether a host is the domain, or below it. */
export function isWithin(host: string, domain: string): boolean {
  const [name, parent] = [host.toLowerCase(), domain.toLowerCase()];
  return name === parent || name.endsWith(`.${parent}`);
}

export function longest(texts: string[]): string | undefined {
  return texts.reduce<string | undefined>(
    (best, text) => (best && best.length >= text.length ? best : text),
    undefined,
  );
}

/** Where hosts stand that the clone must have its own of. All else that names a domain is reported (leftovers.ts). */
interface HostPlaces {
  id: string;
  /** Group-resource strings; undefined stands for all. */
  resources?: string[];
  /** Texts of one host, or of several with commas between them. */
  places: Place[];
  why: string;
  source: string;
}

const HOSTS: HostPlaces[] = [
  {
    id: "domain-ingress",
    resources: ["ingresses.networking.k8s.io", "ingresses.extensions"],
    places: ["spec.rules[].host", "spec.tls[].hosts[]"],
    why: "the hosts that requests are routed by, and that the certificate is for",
    source: "Kubernetes Ingress v1",
  },
  {
    id: "domain-gateway",
    resources: [
      "gateways.gateway.networking.k8s.io",
      "listenersets.gateway.networking.k8s.io",
      "xlistenersets.gateway.networking.x-k8s.io",
    ],
    places: ["spec.listeners[].hostname"],
    why: "a listener takes only requests and routes of its host",
    source: "Gateway API Listener.hostname",
  },
  {
    id: "domain-route",
    resources: [
      "httproutes.gateway.networking.k8s.io",
      "grpcroutes.gateway.networking.k8s.io",
      "tlsroutes.gateway.networking.k8s.io",
    ],
    places: ["spec.hostnames[]"],
    why: "the hosts that requests are routed by; they must agree with the listener's",
    source: "Gateway API HTTPRoute, GRPCRoute, TLSRoute hostnames",
  },
  {
    id: "domain-redirect",
    resources: ["httproutes.gateway.networking.k8s.io"],
    places: [
      "spec.rules[].filters[].requestRedirect.hostname",
      "spec.rules[].filters[].urlRewrite.hostname",
      "spec.rules[].backendRefs[].filters[].requestRedirect.hostname",
      "spec.rules[].backendRefs[].filters[].urlRewrite.hostname",
    ],
    why: "a redirect would send the clone's visitors to the original",
    source: "Gateway API HTTPRequestRedirectFilter, HTTPURLRewriteFilter",
  },
  {
    id: "domain-certificate",
    resources: ["certificates.cert-manager.io"],
    places: ["spec.commonName", "spec.dnsNames[]"],
    why: "the certificate is asked for these names; the original's must not be asked for twice",
    source: "cert-manager Certificate v1",
  },
  {
    id: "domain-issuer",
    resources: ["issuers.cert-manager.io", "clusterissuers.cert-manager.io"],
    places: ["spec.acme.solvers[].selector.dnsNames[]", "spec.acme.solvers[].selector.dnsZones[]"],
    why: "a solver is chosen by the names it is for",
    source: "cert-manager CertificateDNSNameSelector",
  },
  {
    id: "domain-external-dns",
    places: [
      annotation("external-dns.alpha.kubernetes.io/hostname"),
      annotation("external-dns.alpha.kubernetes.io/internal-hostname"),
    ],
    why: "ExternalDNS would point the original's records at the clone",
    source: "ExternalDNS annotations",
  },
  {
    id: "domain-dns-endpoint",
    resources: ["dnsendpoints.externaldns.k8s.io"],
    places: ["spec.endpoints[].dnsName"],
    why: "ExternalDNS would point the original's records at the clone",
    source: "ExternalDNS DNSEndpoint v1alpha1",
  },
];

const LAST_APPLIED = annotation("kubectl.kubernetes.io/last-applied-configuration");

/** `domainMapping`, place by place. What `kubectl apply` noted of an object is changed with it, or the old name would stand there. */
export const DOMAIN_FIXES: Fix[] = HOSTS.map(({ id, resources, places, why, source }) => ({
  id,
  ...(resources && { resources }),
  why,
  source,
  clusterOwned: false,
  idle: ({ domainMapping }) => domainMapping === undefined,
  apply(object, { domainMapping }) {
    if (!domainMapping) return;
    const mapHosts = (text: string) => text.replace(/[^,\s]+/g, (host) => mapHost(host, domainMapping));
    const change = (one: Fields) => {
      for (const place of places) changeAt(one, place, mapHosts);
    };
    change(object);
    changeAt(object, LAST_APPLIED, (text) => changeJson(text, change));
  },
}));

/** JSON in which nothing is to be changed stays as it is written. */
function changeJson(text: string, change: (value: Fields) => void): string {
  const [value, before] = [parsed(text), parsed(text)];
  if (!isFields(value)) return text;
  change(value);
  return goJson(value) === goJson(before) ? text : `${goJson(value)}\n`;
}

function parsed(text: string): unknown {
  try {
    return parseExact(text);
  } catch {
    return undefined;
  }
}
