import type { KubernetesObject } from "../../archive/item.ts";
import { messageOf } from "../../errors.ts";
import { type Fields, flawOf, isFields } from "../../objects/fields.ts";
import { type LabelSelector, matchesSelector } from "../../select.ts";
import { fillDefaults } from "./defaults.ts";
import { copyOf, type Operation, patched } from "./jsonpatch.ts";
import { mergeRules } from "./mergekeys.ts";
import { merged } from "./patch.ts";
import { strategicallyMerged } from "./strategic.ts";

/** One rule of resource modifiers (velero-format: 5.10): which objects it concerns and how it changes them. */
export interface ModifierRule {
  /** For messages: where it stands, "rules.yaml, line 3". */
  name: string;
  /** Of the group-resource string. */
  resource: RegExp;
  /** Of the object's name, anywhere in it. */
  object?: { test(name: string): boolean };
  /** Of the namespace in the backup; those without a namespace always pass. */
  namespaces?: RegExp[];
  labels?: LabelSelector;
  /** Tests that must all hold. */
  matches: Operation[];
  patch: ModifierPatch;
}

export type ModifierPatch =
  | { kind: "json"; operations: Operation[] }
  | { kind: "merge" | "strategic"; patches: Fields[] };

/**
 * Applies the rules, in their order, to an object as Velero does: which ones concern it is judged by what it was before. Gives what
 * could not be done, a line for each rule, which then changes nothing; a test of a patch that fails is no problem.
 * Namespaces are not changed: Velero restores them apart. An object stays what and whose it is: a
 * rule can't give it another name or type.
 */
export function modify(object: KubernetesObject, resource: string, rules: ModifierRule[] = []): string[] {
  const before = mayModify(resource, rules) ? copyOf(object) : object;
  const problems: string[] = [];
  for (const rule of rules) {
    if (!mayModify(resource, [rule]) || !concerns(rule, before)) continue;
    const { result, problem } = changed(object, resource, rule.patch);
    const wrong = problem ?? (result && flawOfChange(result, before));
    if (wrong) problems.push(`resource modifier (${rule.name}): ${wrong}`);
    else if (result) replaceFields(object, result);
    if (result && !wrong) {
      dropEmpty(object, resource);
      fillDefaults(object as Fields, before as Fields, resource);
    }
  }
  return problems;
}

/** Whether a rule could concern objects of the resource. */
export function mayModify(resource: string, rules: ModifierRule[] = []): boolean {
  return resource !== "namespaces" && rules.some((rule) => rule.resource.test(resource));
}

function concerns({ object: name, namespaces, labels, matches }: ModifierRule, object: KubernetesObject): boolean {
  const { metadata } = object;
  if (metadata.namespace && namespaces && !namespaces.some((glob) => glob.test(metadata.namespace!))) return false;
  if (name && !name.test(metadata.name)) return false;
  if (labels && !matchesSelector(labels, metadata.labels)) return false;
  return matches.length === 0 || !patched(object as Fields, matches).fault;
}

function changed(
  object: KubernetesObject,
  resource: string,
  patch: ModifierPatch,
): { result?: KubernetesObject; problem?: string } {
  if (patch.kind === "json") {
    const { document, fault } = { document: undefined, ...patched(object as Fields, patch.operations) };
    return fault
      ? { problem: fault.kind === "test" ? undefined : fault.message }
      : { result: document as unknown as KubernetesObject };
  }
  const rules = mergeRules(resource);
  if (patch.kind === "strategic" && !rules)
    return { problem: `${resource} has no strategic merge: only Kubernetes' own resources do; use mergePatches` };
  const merge =
    patch.kind === "merge" ? merged : (from: Fields, data: Fields) => strategicallyMerged(from, data, rules!);
  try {
    return { result: patch.patches.map(copyOf).reduce(merge, copyOf(object as Fields)) as unknown as KubernetesObject };
  } catch (error) {
    return { problem: messageOf(error) };
  }
}

/** Why what a rule made of an object can't be restored in its place. */
function flawOfChange({ apiVersion, kind, metadata }: KubernetesObject, before: KubernetesObject): string | undefined {
  const stays = { apiVersion: before.apiVersion, kind: before.kind, "metadata.name": before.metadata.name };
  const becomes = { apiVersion, kind, "metadata.name": isFields(metadata) ? metadata.name : undefined };
  const other = (Object.keys(stays) as (keyof typeof stays)[]).find((field) => stays[field] !== becomes[field]);
  return other ? `it changes ${other}, which must stay "${stays[other]}"` : flawOf(metadata);
}

/** Maps that the API server leaves out when they are empty; an empty list it leaves out anywhere. */
const MAPS = [
  ...["labels", "annotations", "matchLabels", "nodeSelector", "limits", "requests", "parameters"],
  ...["data", "binaryData", "stringData"],
];

/** What others than the API server keep as it is, though it is empty. */
const VERBATIM = ["controllerrevisions.apps", "customresourcedefinitions.apiextensions.k8s.io"];

/** Removes what a rule left empty and the API server would not keep, so that the object compares equal once it is there. */
function dropEmpty(object: KubernetesObject, resource: string): void {
  const typed = mergeRules(resource) && !VERBATIM.includes(resource);
  for (const holder of typed ? [object] : [object.metadata]) dropEmptyIn(holder as Fields);
}

function dropEmptyIn(holder: Fields): void {
  for (const [key, value] of Object.entries(holder)) {
    const entries = Array.isArray(value) ? value : isFields(value) ? [value] : [];
    for (const entry of entries) if (isFields(entry)) dropEmptyIn(entry);
    const empty = Array.isArray(value) ? value.length === 0 : MAPS.includes(key) && isFields(value) && isEmpty(value);
    if (empty) delete holder[key];
  }
}

function isEmpty(fields: Fields): boolean {
  return Object.keys(fields).length === 0;
}

/** The namespace is that of the restore whatever a rule says. */
function replaceFields(object: KubernetesObject, result: KubernetesObject): void {
  const { namespace } = object.metadata;
  for (const key of Object.keys(object)) delete object[key];
  Object.assign(object, result);
  if (namespace === undefined) delete object.metadata.namespace;
  else object.metadata.namespace = namespace;
}
