import { at, entriesOf, type Fields, fieldsAt } from "../../objects/fields.ts";
import { POD_SPECS } from "../../objects/places.ts";

/**
 * Writes out what the API server would fill in where a change of an object left it open, so that the object compares equal
 * once it is there: in containers that it didn't have before, in ports, volumes and the environment, and the number of replicas. From
 * Kubernetes' defaults (k8s.io/kubernetes pkg/apis/core/v1 and apps/v1, defaults.go).
 */
export function fillDefaults(object: Fields, before: Fields, resource: string): void {
  if (resource === "services") for (const port of entriesOf(object, "spec", "ports")) fillServicePort(port);
  const place = Object.hasOwn(POD_SPECS, resource) ? POD_SPECS[resource]! : undefined;
  if (place === undefined || resource === "controllerrevisions.apps") return;
  const [pod, old] = [object, before].map((one) => fieldsAt(one, ...place.split(".")));
  for (const list of ["containers", "initContainers"]) {
    const known = new Set(entriesOf(old, list).map(({ name }) => name));
    for (const container of entriesOf(pod, list)) fillContainer(container, !known.has(container.name));
  }
  for (const volume of entriesOf(pod, "volumes")) fillVolume(volume);
  const spec = fieldsAt(object, "spec");
  if (spec && at(before, "spec", "replicas") !== undefined) fill(spec, { replicas: 1 });
}

function fillServicePort(port: Fields): void {
  fill(port, { protocol: "TCP", targetPort: port.port });
}

function fillContainer(container: Fields, isNew: boolean): void {
  for (const port of entriesOf(container, "ports")) fill(port, { protocol: "TCP" });
  for (const variable of entriesOf(container, "env")) {
    const reference = fieldsAt(variable, "valueFrom", "fieldRef");
    if (reference) fill(reference, { apiVersion: "v1" });
  }
  if (!isNew) return;
  fill(container, {
    resources: {},
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    imagePullPolicy: /^[^@]*:(?!latest$)[^/:@]+$|@/.test(String(container.image)) ? "IfNotPresent" : "Always",
  });
}

function fillVolume(volume: Fields): void {
  for (const source of ["configMap", "secret", "projected", "downwardAPI"]) {
    const holder = fieldsAt(volume, source);
    if (holder) fill(holder, { defaultMode: 420 });
  }
}

function fill(holder: Fields, defaults: Fields): void {
  for (const [key, value] of Object.entries(defaults)) holder[key] ??= value;
}
