import type { IndexEntry } from "../../archive/index.ts";
import { type ItemId, itemFacts, type KubernetesObject } from "../../archive/item.ts";
import type { Archive } from "../../archive/reader.ts";
import { backupResources, storedBy } from "../../backup/scope.ts";
import { type Backup, BEFORE_RESTORE_LABEL, OMITTED, SECRETS } from "../../catalog.ts";
import { LifeboatError } from "../../errors.ts";
import type { Discovery } from "../../kube/discovery.ts";
import { parseExact } from "../../kube/json.ts";
import { type Resource, resourceKey } from "../../kube/resource.ts";
import { EXCLUDE_LABEL } from "../../labels.ts";
import { DEFINITIONS, isOwn, NAMESPACES } from "../../objects/resources.ts";
import { someOf } from "../../report.ts";
import { isGlob, resourceFilter } from "../../select.ts";
import { filtersOf } from "../../specs.ts";
import { targetNamespace } from "../fixes.ts";
import type { PlannedStep } from "../plan/steps.ts";
import type { Extras, Target } from "../plan/target.ts";
import { stateOf } from "../plan/unchanged.ts";
import type { Selectable, Selection } from "../selection.ts";
import type { RestoreSpec } from "../spec.ts";
import type { RestoreSurvey } from "../survey.ts";
import { waveOf } from "../write/waves.ts";
import { keptReason, neverPruned } from "./prune.ts";

interface Input {
  archive: Archive;
  backup: Backup | undefined;
  spec: RestoreSpec;
  discovery: Discovery;
  survey: RestoreSurvey;
  selection: Selection;
}

/**
 * What a restore with `prune` deletes: what its filters take (in the namespaces of the target that those of the backup are mapped
 * to), and the backup's own would have taken, and no rule of prune.ts keeps. With `namespaceMapping` that is only
 * what lies in namespaces: what doesn't belongs to the unmapped ones too. Throws `invalid` for a backup that doesn't
 * say of everything in its scope whether it was there, for single objects, and for filters that name what is nowhere: a typing error must not
 * delete, nor leave unguarded, what it didn't mean.
 */
export async function findExtras(input: Input): Promise<Extras> {
  const { archive, backup, spec, discovery, survey, selection } = input;
  const { namespaceMapping = {} } = spec;
  if (spec.includedItems?.length) {
    throw new LifeboatError("invalid", "single objects have nothing around them that could be pruned", {
      hint: "leave out includedItems, or prune",
    });
  }
  const [typo] = survey.errors;
  if (typo) throw new LifeboatError("invalid", `nothing is pruned by filters that fit nothing: ${typo}`);
  const served = backupResources(discovery);
  const backedUp = scopeOf(backup, served);
  const { held, definitions, namespaces, kinds } = await heldBy(archive, namespaceMapping);
  const mapped = Object.keys(namespaceMapping).length > 0;
  const named = new Set(
    (spec.includedNamespaces ?? [])
      .filter((name) => !isGlob(name))
      .map((name) => targetNamespace(name, { namespaceMapping })),
  );
  const excluded = new Set<string>();
  const steps = new Map<string, PlannedStep>();
  const kept = new Map<string, { why: string; resource: string; names: string[] }>();

  /** The namespaces of the backup that become this one; "" for what lies in none. */
  const sources = (namespace: string) => [
    ...(Object.hasOwn(namespaceMapping, namespace) ? [] : [namespace]),
    ...Object.entries(namespaceMapping).flatMap(([from, to]) => (to === namespace ? [from] : [])),
  ];
  const kindOf = new Map(served.map((resource) => [resourceKey(resource), resource.kind]));
  const inScope = (entry: Selectable) =>
    (entry.namespace ? sources(entry.namespace) : mapped ? [] : [""]).some(
      (namespace) => selection.takes({ ...entry, namespace }) && backedUp({ ...entry, namespace }),
    );

  const listed = resourceFilter(spec.includedResources, spec.excludedResources, served);
  const namespace = namespaceOf(spec, named);
  return {
    resources: served.filter(
      (resource) =>
        listed(resource) &&
        (resource.namespaced || !(mapped || namespace)) &&
        neverPruned(resourceKey(resource), definitions) === undefined,
    ),
    namespace,
    saw({ resource, metadata, body }, place, target) {
      if (resource === NAMESPACES) {
        if (metadata.labels?.[EXCLUDE_LABEL] === "true") excluded.add(metadata.name);
        return;
      }
      const { name, namespace = "", labels = {} } = metadata;
      if (place !== undefined || held.has(idOf({ resource, namespace, name }))) return;
      if (!inScope({ resource, kind: kindOf.get(resource) ?? "", namespace, name, labels })) return;
      const object = parseExact(body) as KubernetesObject;
      const entry = liveEntry(resource, object);
      const skips = { selectingServices: NONE, nodes: target.nodes };
      const keep = keptReason(object, entry, { skips, named, excluded, definitions });
      if (!keep) {
        steps.set(idOf(entry), pruneStep(entry, object, target, "the backup doesn't hold it"));
      } else if (keep.tell) {
        const key = `${resource} ${keep.why}`;
        const told = kept.get(key) ?? { why: keep.why, resource, names: [] };
        told.names.push(nameOf(entry));
        kept.set(key, told);
      }
    },
    async found({ target }) {
      const known = new Map([...kinds, ...kindOf]);
      const [miss] = selection.unmatched(new Set([...namespaces, ...target.namespaces]), known).excluded;
      if (miss)
        throw new LifeboatError(
          "invalid",
          `nothing is pruned with filters that fit nothing: ${miss}, nor does the cluster`,
        );
      const unread = served
        .map(resourceKey)
        .flatMap((key) => target.blocked.get(key) ?? target.unlisted.get(key) ?? []);
      return {
        steps: [...steps.values()].sort((a, b) => a.rank - b.rank),
        warnings: [
          ...[...kept.values()].map(({ why, resource, names }) => `${resource} ${someOf(names)}: not pruned: ${why}`),
          ...unread.map((reason) => `nothing of it is pruned: ${reason}`),
        ],
      };
    },
  };
}

/**
 * Steps that prune, or, where an object of the backup can't be restored, that are blocked: what should stand in the place
 * of what they delete may be missing.
 */
export function withheld(prunes: PlannedStep[], steps: PlannedStep[]): PlannedStep[] {
  if (!steps.some(({ action }) => action === "blocked")) return prunes;
  return prunes.map((step) => ({ ...step, action: "blocked", reason: WITHHELD }));
}

export const WITHHELD =
  "not pruned, since other objects could not be restored, and one of them may be meant to replace it";

/** What a plan adds to the reason of a prune, since WITHHELD may come of it: whether all else succeeds only shows then. */
export const RESERVE = "only if nothing fails";

/**
 * The step that deletes a live object: after everything else, in the reverse order of the waves, but custom resources with
 * finalizers first of all: who acts on those still lives then.
 */
export function pruneStep(entry: IndexEntry, live: KubernetesObject, target: Target, reason: string): PlannedStep {
  const { resource, namespace, name } = entry;
  const awaited = !isOwn(resource) && (live.metadata.finalizers?.length ?? 0) > 0;
  return {
    action: "prune",
    reason,
    item: { entry: { ...entry, labels: {}, images: [], owners: [] }, namespace, name, needed: false },
    place: undefined,
    rank: awaited ? PRUNED / 2 : PRUNED - waveOf(resource),
    awaited,
    state: stateOf(live, resource, target),
  };
}

/** Far above any other rank: ranks are waves, of a thousand each. What is awaited comes half way. */
const PRUNED = 1_000_000;

/** A live object as an index would have it, which says which version of it is meant. */
export function liveEntry(resource: string, object: KubernetesObject): IndexEntry {
  const { name, namespace = "" } = object.metadata;
  const version = object.apiVersion.split("/").at(-1)!;
  const body = { segment: 0, offset: 0, size: 0, sha256: "" };
  return { resource, namespace, name, version, ...itemFacts(object), ...body };
}

/** Whether the backup would have stored an object, whose namespace is one of the backup's. */
function scopeOf(backup: Backup | undefined, served: Resource[]): (entry: Selectable) => boolean {
  const { metadata, status } = backup ?? {};
  const refused = (message: string, hint: string) => new LifeboatError("invalid", message, { hint });
  const name = `backup "${metadata?.name ?? ""}"`;
  if (status?.phase !== "Completed") {
    const hint = "prune from a backup that is Completed, or restore without prune";
    throw refused(`${name} is ${status?.phase}: what it doesn't hold may have been there all the same`, hint);
  }
  if (metadata?.labels?.[BEFORE_RESTORE_LABEL] !== undefined) {
    throw refused(
      `${name} holds only what a restore was about to touch`,
      '"lifeboat restore undo" brings back what was there before that restore',
    );
  }
  const stored = storedBy(filtersOf(backup!), served);
  const withoutSecrets = metadata?.annotations?.[SECRETS] === OMITTED;
  return (entry) => !(withoutSecrets && entry.resource === "secrets") && stored(entry);
}

/** What the backup holds, as it is named in the target, whether the restore's filters take it or not. */
async function heldBy(archive: Archive, namespaceMapping: Record<string, string>) {
  const held = new Set<string>();
  const definitions = new Set<string>();
  const namespaces = new Set<string>();
  const kinds = new Map<string, string>();
  for await (const { resource, kind, namespace, name } of archive.entries()) {
    kinds.set(resource, kind);
    namespaces.add(resource === NAMESPACES ? name : namespace);
    held.add(idOf({ resource, namespace: targetNamespace(namespace, { namespaceMapping }), name }));
    if (resource === DEFINITIONS) definitions.add(name);
  }
  return { held, definitions, namespaces, kinds };
}

/** The one namespace of the target that the restore is limited to, where it is. */
function namespaceOf(spec: RestoreSpec, named: Set<string>): string | undefined {
  const plain = spec.includedNamespaces?.length && !spec.includedNamespaces.some(isGlob);
  return plain && named.size === 1 && !spec.includeClusterResources ? [...named][0] : undefined;
}

function idOf({ resource, namespace, name }: ItemId): string {
  return `${resource} ${namespace}/${name}`;
}

function nameOf({ namespace, name }: ItemId): string {
  return namespace ? `${namespace}/${name}` : name;
}

const NONE = new Set<string>();
