import type { KubernetesObject } from "../archive/item.ts";
import { messageOf } from "../errors.ts";
import { matchesSelector, parseSelector } from "../select.ts";
import { StatusError } from "./status.ts";

/** Whether an object is selected. */
export type Selector = (object: KubernetesObject) => boolean;

/** Whether an object is selected of which only these are known. */
export type LabelMatch = (object: { metadata: { labels?: Record<string, string> } }) => boolean;

/**
 * Parses a label selector (`app=web,tier!=db,env in (a,b),!legacy`); empty selects all. BadRequest where it is no
 * selector; of Kubernetes' operators `>` and `<` are not known here.
 */
export function labelSelector(text: string): LabelMatch {
  if (text === "") return () => true;
  try {
    const selector = parseSelector(text);
    return (object) => matchesSelector(selector, object.metadata.labels);
  } catch (error) {
    throw new StatusError("BadRequest", `unable to parse requirement: ${messageOf(error)}`);
  }
}

/** The fields that objects can be selected by, besides those of all (a custom resource has no others). */
const FIELDS: Record<string, string[]> = {
  events: [
    "involvedObject.kind",
    "involvedObject.name",
    "involvedObject.namespace",
    "involvedObject.uid",
    "reason",
    "type",
  ],
  namespaces: ["status.phase"],
  nodes: ["spec.unschedulable"],
  pods: [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
  ],
  secrets: ["type"],
  services: ["spec.clusterIP", "spec.type"],
};
const FIELDS_OF_ALL = ["metadata.name", "metadata.namespace"];

/** Parses a field selector (`metadata.name=web,status.phase!=Running`) for a collection; BadRequest for other fields. */
export function fieldSelector(text: string, collection: string): Selector {
  const fields = [...FIELDS_OF_ALL, ...(FIELDS[collection] ?? [])];
  const terms = text
    .split(",")
    .filter(Boolean)
    .map((term) => {
      const match = /^([\w.]+)\s*(==|!=|=)\s*(.*)$/.exec(term.trim());
      if (!match) throw new StatusError("BadRequest", `invalid selector: '${text}'; can't understand '${term}'`);
      const [, path, operator, value] = match;
      if (!fields.includes(path!)) throw new StatusError("BadRequest", `field label not supported: ${path}`);
      return (object: KubernetesObject) => (fieldText(object, path!) === value) === (operator !== "!=");
    });
  return (object) => terms.every((term) => term(object));
}

/** The name that a field selector asks for, where it asks for one. */
export function selectedName(text: string): string | undefined {
  return /(?:^|,)\s*metadata\.name\s*==?\s*([^,]*)/.exec(text)?.[1];
}

function fieldText(object: KubernetesObject, path: string): string {
  const value = path
    .split(".")
    .reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], object);
  return value === undefined || value === null ? "" : String(value);
}
