import type { KubernetesObject } from "../archive/item.ts";
import { at, drop, entriesOf, type Fields, fieldsAt } from "../objects/fields.ts";

const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/**
 * Removes from a Service the node ports that the source cluster chose, and keeps those its author chose: where
 * `kubectl apply` left its annotation, the ports given there, else those that `managedFields` shows were sent by a
 * client (Velero's `velero.io/service` action, velero-format: 5.7.1).
 */
export function dropChosenNodePorts(service: KubernetesObject): void {
  if (at(service, "spec", "type") !== "ExternalName") dropNodePorts(service, explicitPorts(service));
}

/** The node ports of a Service, by the port they are for; the health check's too. */
export function nodePorts({ spec }: KubernetesObject): Map<string, unknown> {
  const ports = entriesOf(spec, "ports").filter(({ nodePort }) => nodePort);
  const check = at(spec, HEALTH_CHECK);
  return new Map([
    ...ports.map((port) => [portKey(port), port.nodePort] as const),
    ...(check ? [[HEALTH_CHECK, check] as const] : []),
  ]);
}

/** Removes the node ports of a Service that nobody asked for; `asked` as the keys of `nodePorts`. */
export function dropNodePorts({ spec }: KubernetesObject, asked: { has(port: string): boolean }): void {
  for (const port of entriesOf(spec, "ports")) if (!asked.has(portKey(port))) delete port.nodePort;
  if (!asked.has(HEALTH_CHECK)) drop(spec, [], [HEALTH_CHECK]);
}

const HEALTH_CHECK = "healthCheckNodePort";

function explicitPorts(service: KubernetesObject): Set<string> {
  const applied = service.metadata.annotations?.[LAST_APPLIED];
  if (applied === undefined)
    return new Set(entriesOf(service, "metadata", "managedFields").flatMap(sentPorts(service)));
  const spec = at(parse(applied), "spec");
  const ports = entriesOf(spec, "ports").filter(({ nodePort }) => nodePort);
  return new Set([...ports.map(portKey), ...(at(spec, HEALTH_CHECK) ? [HEALTH_CHECK] : [])]);
}

/** A port is known by its name or, unnamed, by its number and protocol. */
function portKey({ name, port, protocol }: Fields): string {
  return name ? `name ${name}` : `port ${port}/${protocol ?? "TCP"}`;
}

function sentPorts(service: KubernetesObject): (manager: Fields) => string[] {
  const ports = entriesOf(service, "spec", "ports");
  return (manager) => {
    const spec = at(manager, "fieldsV1", "f:spec");
    const sent = Object.entries(fieldsAt(spec, "f:ports") ?? {}).filter(
      ([, fields]) => at(fields, "f:nodePort") !== undefined,
    );
    const named = sent.map(([key]) => {
      const { port, protocol = "TCP" } = (parse(key.replace(/^k:/, "")) ?? {}) as Fields;
      return ports.find((one) => one.port === port && (one.protocol ?? "TCP") === protocol);
    });
    return [
      ...named.filter((port) => port !== undefined).map(portKey),
      ...(at(spec, `f:${HEALTH_CHECK}`) ? [HEALTH_CHECK] : []),
    ];
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
