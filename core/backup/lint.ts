import type { ItemId, KubernetesObject } from "../archive/item.ts";
import { at, isFields } from "../objects/fields.ts";
import { API_SERVICES, DEFINITIONS, groupOf, isOwn } from "../objects/resources.ts";
import { rowsByResource } from "../objects/rows.ts";
import { neverRestored, skipReason } from "../skips.ts";
import { LINT_RULES, type LintRule, SECRET_MAKERS, TARGETS } from "./lintrules.ts";
import { type NamesState, startNames } from "./names.ts";

/** Something that a restore of the backup into an empty cluster would miss. The run of the backup went no worse for it. */
export interface Finding extends ItemId {
  /** A rule of lintrules.ts, `claim-without-data`, or `absent-definition`, which is about a whole resource: its `name` is "". */
  rule: string;
  message: string;
}

/** Looks at each object of a backup as it is stored. It remembers names, and no objects. */
export interface Lint {
  /** An object that is stored, in any order: its metadata, and all of it where `looksInto` says so. */
  add(id: ItemId, object: KubernetesObject): void;
  /** What somebody else has found. */
  tell(finding: Finding): void;
  /** Sorted: the same for the same objects. */
  findings(): Finding[];
  /** All that it remembers, for another to go on from. */
  state(): LintState;
}

/** As JSON. */
export interface LintState {
  /** By resource: "namespace/name" or "/name". */
  held: [resource: string, names: NamesState][];
  custom: [resource: string, count: number][];
  announced: string[];
  found: Finding[];
  /** `rule`: its place in the table. */
  named: { id: ItemId; target: ItemId; rule: number }[];
}

/** Groups of Kubernetes itself beside those of `isOwn`, which leaves out what must not be pruned. */
const MORE_OWN_GROUPS = new Set([
  "apiextensions.k8s.io",
  "apiregistration.k8s.io",
  "certificates.k8s.io",
  "coordination.k8s.io",
  "events.k8s.io",
  "extensions",
  "internal.apiserver.k8s.io",
  "storagemigration.k8s.io",
]);

/** What is made by these is made anew by them, and they are looked into themselves. */
const CONTROLLERS = new Set([
  "ReplicationController",
  "ReplicaSet",
  "Deployment",
  "StatefulSet",
  "DaemonSet",
  "Job",
  "CronJob",
]);

const rulesOf = rowsByResource(LINT_RULES);
const NO_FACTS = { selectingServices: new Set<string>(), nodes: new Set<string>() };

/** Whether all of an object of the resource (a group-resource string) is needed, whose bytes these are. */
export function looksInto(resource: string, body: Buffer): boolean {
  return resource in SECRET_MAKERS || rulesOf(resource).some(({ marker }) => !marker || body.includes(marker));
}

/** Starts to look at a backup, or goes on. */
export function startLint(from?: LintState): Lint {
  const held = new Map(from?.held.map(([resource, names]) => [resource, startNames(names)]));
  const custom = new Map(from?.custom);
  const announced = new Set(from?.announced);
  const found = [...(from?.found ?? [])];
  const named = (from?.named ?? []).map(({ rule, ...one }) => ({ ...one, rule: LINT_RULES[rule]! }));

  const hold = ({ resource, namespace, name }: ItemId) => {
    const names = held.get(resource) ?? startNames();
    held.set(resource, names);
    names.add(`${namespace}/${name}`);
  };
  const holds = ({ resource, namespace, name }: ItemId) => held.get(resource)?.has(`${namespace}/${name}`) === true;

  return {
    add(id, object) {
      const { resource, namespace } = id;
      if (resource in TARGETS) hold(id);
      for (const name of SECRET_MAKERS[resource]?.(object) ?? [])
        hold({ resource: "secrets", namespace, name: String(name) });
      if (!isOwn(resource) && !MORE_OWN_GROUPS.has(groupOf(resource)))
        custom.set(resource, (custom.get(resource) ?? 0) + 1);
      if (resource === API_SERVICES && isFields(at(object, "spec", "service")))
        announced.add(String(at(object, "spec", "group")));
      const rules = rulesOf(resource);
      if (rules.length === 0 || isMadeAnew(id, object)) return;
      for (const rule of rules) {
        if (rule.when?.(object)) found.push({ ...id, rule: rule.rule, message: rule.told });
        for (const target of targetsOf(rule, id, object)) if (!holds(target)) named.push({ id, target, rule });
      }
    },
    tell: (finding) => void found.push(finding),
    state: () => ({
      held: [...held].map(([resource, names]) => [resource, names.state()]),
      custom: [...custom],
      announced: [...announced],
      found: [...found],
      named: named.map(({ rule, ...one }) => ({ ...one, rule: LINT_RULES.indexOf(rule) })),
    }),
    findings() {
      const absent = named
        .filter(({ target }) => !holds(target) && !isEverywhere(target))
        .map(({ id, target, rule }): Finding => {
          const namespace = target.namespace === id.namespace ? "" : target.namespace;
          const name = `${TARGETS[target.resource]?.kind} ${namespace && `${namespace}/`}${target.name}`;
          return { ...id, rule: rule.rule, message: `${name} is not in the backup: ${rule.told}` };
        });
      const undefinedOnes = [...custom]
        .filter(([name]) => !holds({ resource: DEFINITIONS, namespace: "", name }))
        .filter(([resource]) => !announced.has(groupOf(resource)) && !neverRestored(resource))
        .map(([resource, count]): Finding => {
          const message = `its definition is not in the backup: of ${count} objects none is restored into a cluster without it`;
          return { resource, namespace: "", name: "", rule: "absent-definition", message };
        });
      const keyOf = ({ resource, namespace, name, rule, message }: Finding) =>
        [resource, namespace, name, rule, message].join("\0");
      return [...found, ...absent, ...undefinedOnes].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
    },
  };
}

/** What of its target the object names, each once. */
function targetsOf({ target = "", names }: LintRule, id: ItemId, object: KubernetesObject): ItemId[] {
  const targets = new Map<string, ItemId>();
  for (const given of names?.(object, id.resource) ?? []) {
    const [namespace, name] = isFields(given)
      ? [String(given.namespace), given.name]
      : [TARGETS[target]?.namespaced ? id.namespace : "", given];
    if (typeof name === "string" && name !== "")
      targets.set(`${namespace}/${name}`, { resource: target, namespace, name });
  }
  return [...targets.values()];
}

/** Whether it is not restored, or only until its controller, which is looked into itself, makes the next one. */
function isMadeAnew(id: ItemId, object: KubernetesObject): boolean {
  const controller = object.metadata.ownerReferences?.find(({ controller }) => controller);
  if (controller && CONTROLLERS.has(controller.kind)) return true;
  // Past revisions of what rolls out by ReplicaSets, Argo's Rollouts for one.
  if (id.resource === "replicasets.apps" && at(object, "spec", "replicas") === 0) return true;
  return skipReason(object.metadata, id, NO_FACTS, () => object) !== undefined;
}

/** Whether every cluster has it of itself. */
function isEverywhere(target: ItemId): boolean {
  if (target.resource === "serviceaccounts" && target.name === "default") return true;
  const unknown = { apiVersion: "", kind: "", metadata: { name: target.name } };
  return skipReason(unknown.metadata, target, NO_FACTS, () => unknown) !== undefined;
}
