import { itemPath, type KubernetesObject } from "../../archive/item.ts";
import type { Archive } from "../../archive/reader.ts";
import { LifeboatError } from "../../errors.ts";
import { metadataOf, parseExact } from "../../kube/json.ts";
import { listPages } from "../../kube/list.ts";
import { resourcePath } from "../../kube/resource.ts";
import { labelValue, RESTORE_NAME } from "../../labels.ts";
import { at, entriesOf } from "../../objects/fields.ts";
import { CLAIMS, DEFINITIONS, NAMESPACES, VOLUMES } from "../../objects/resources.ts";
import type { PlannedStep } from "../plan/steps.ts";
import type { Extras } from "../plan/target.ts";
import { liveEntry, pruneStep } from "../prune/extras.ts";
import type { RestoreSurvey } from "../survey.ts";
import { compactUid } from "../uid.ts";
import { objectGone } from "../write/waits.ts";
import { hasName, type ObjectNames } from "./kin.ts";

/** A restore that is undone, as far as its notes tell. */
export interface Undoing {
  restore: string;
  /** The cluster that it was into. */
  clusterUid: string;
  /** When it ended, or its last attempt began. */
  since: Date;
  /** What was missing before it, and it was going to create. */
  creates: ObjectNames;
  /** What it was going to give a status. */
  statuses: ObjectNames;
  /** What its backups hold though it didn't touch it: it is given back only where it is missing. */
  kin: ObjectNames;
}

/** What is told of what goes with an object that is deleted. */
const TAKES: Record<string, string> = {
  [NAMESPACES]: "all that is in it goes with it, whoever made it",
  [DEFINITIONS]: "all custom resources of its kind go with it, whoever made them",
  [CLAIMS]: "what was written to its volume since may go with it",
  [VOLUMES]: "what was written to it since may go with it",
};

/** What writes to objects as part of the cluster's work, not because somebody wanted something else. */
const CLUSTERS_MANAGERS =
  /^(lifeboat|kube-controller-manager|kube-scheduler|kubelet|kube-apiserver|cloud-controller-manager)$/;

/**
 * What is left of a restore that is undone: what it created, found by its label and only where its notes say that it was
 * missing before. What it changed carries its label, too: what doesn't is left where it differs, with a warning. It was left or
 * not come to, and is as others made it, or it is a later restore's now. Of what others have changed beside the label is told
 * that it is undone with the rest. Makes of the survey's items those that are only given back where they are missing.
 */
export async function findRemains(undoing: Undoing, survey: RestoreSurvey, archive: Archive): Promise<Extras> {
  const { restore, clusterUid, since, creates, kin } = undoing;
  const ours = labelValue(restore);
  for (const item of survey.items) if (hasName(kin, { ...item, resource: item.entry.resource })) item.needed = true;
  const held = new Map<string, string | undefined>();
  for await (const entry of archive.entries()) held.set(itemPath(entry), entry.labels[RESTORE_NAME]);
  const warnings: string[] = [];
  const tellChange = (resource: string, object: KubernetesObject) => {
    const by = changedBy(object, since);
    const { namespace, name } = object.metadata;
    if (by)
      warnings.push(
        `${resource} ${namespace ? `${namespace}/` : ""}${name} was changed since by ${by}: that is undone, too`,
      );
  };
  const uids = new Map<number, string>();
  const owners = new Map<number, string[]>();
  return {
    resources: [],
    saw({ resource, metadata, body }, place, target) {
      if (place === undefined) return;
      uids.set(place, metadata.uid ?? "");
      owners.set(
        place,
        (metadata.ownerReferences ?? []).map(({ uid }) => uid),
      );
      const { needed, entry } = survey.items[place]!;
      const label = metadata.labels?.[RESTORE_NAME];
      const isLater = label !== undefined && label !== held.get(itemPath(entry));
      if (label !== ours) target.others.set(place, isLater ? changedLater(label) : notLeftBy(restore));
      else if (!needed) tellChange(resource, parseExact(body) as KubernetesObject);
    },
    async settle({ served, target, ...waiting }) {
      const limited = { ...waiting, waitMs: Math.min(waiting.waitMs, COLLECTED_MS) };
      await Promise.all(
        uncollected(survey, uids, owners).map(async (place) => {
          const item = survey.items[place]!;
          const resource = served.find(item);
          if (!resource) return;
          const path = resourcePath(resource, item.namespace, item.name);
          if ((await objectGone(limited, path, uids.get(place)!)) === undefined) target.digests.delete(place);
        }),
      );
    },
    async found({ kube, served, target, signal }) {
      if (target.clusterUid !== clusterUid) {
        throw intoAnother(restore);
      }
      const steps: PlannedStep[] = [];
      for (const key of creates.keys()) {
        const resource = served.preferred(key);
        if (!resource) continue;
        for await (const page of listPages(kube, resource, { labelSelector: RESTORE_NAME, signal })) {
          for (const body of page.items) {
            const { labels, ...metadata } = metadataOf(body) as KubernetesObject["metadata"];
            const { namespace = "", name, deletionTimestamp } = metadata;
            const id = { resource: key, namespace, name };
            if (!hasName(creates, id) || held.has(itemPath(id)) || deletionTimestamp) continue;
            const object = parseExact(body) as KubernetesObject;
            const label = labels?.[RESTORE_NAME] ?? "";
            if (label === ours) tellChange(key, object);
            const reason = [`made by restore ${restore}`, TAKES[key]].filter(Boolean).join("; ");
            const step = { ...pruneStep(liveEntry(key, object), object, target, reason), warning: key in TAKES };
            steps.push(label === ours ? step : { ...step, action: "skip", reason: changedLater(label), warning: true });
          }
        }
      }
      return { steps: steps.sort((a, b) => a.rank - b.rank), warnings };
    },
  };
}

function notLeftBy(restore: string): string {
  return `it is not as restore ${restore} left it, and stays: others have made it anew, or changed it before that restore came to it`;
}

function changedLater(restore: string): string {
  return `restore ${restore} has changed it since, and it stays: undo ${restore} first, then this again`;
}

/** How long garbage collection is waited for; it looks for new kinds every 30 seconds. */
const COLLECTED_MS = 60_000;

/**
 * The live objects, by their places, all of whose owners are gone: garbage collection, which works with a delay, is about to
 * take them, so that they must be given back though they are still there. `uids` and `owners` are those of the live
 * objects; the survey knows the owners' UIDs as they were before. Pure.
 */
export function uncollected(
  survey: Pick<RestoreSurvey, "owners">,
  uids: Map<number, string>,
  owners: Map<number, string[]>,
): number[] {
  const doomed = new Set<number>();
  const isGone = (uid: string) => {
    const owner = survey.owners.get(compactUid(uid));
    return owner !== undefined && (doomed.has(owner) || uids.get(owner) !== uid);
  };
  for (let before = -1; before < doomed.size; ) {
    before = doomed.size;
    for (const [place, references] of owners) if (references.length && references.every(isGone)) doomed.add(place);
  }
  return [...doomed];
}

/** Who wrote to an object after a time, otherwise than its status: "kubectl-edit at 2026-11-26T12:00:00Z". */
export function changedBy(object: KubernetesObject, since: Date): string | undefined {
  const writes = entriesOf(object, "metadata", "managedFields").filter(
    ({ manager, time, subresource }) =>
      !subresource && !CLUSTERS_MANAGERS.test(String(manager)) && Date.parse(String(time)) > since.getTime(),
  );
  const last = writes.sort((a, b) => Date.parse(String(a.time)) - Date.parse(String(b.time))).at(-1);
  return last && `${at(last, "manager")} at ${at(last, "time")}`;
}

/** What was restored into another cluster is neither undone nor activated in this one. */
export function intoAnother(restore: string): LifeboatError {
  return new LifeboatError("invalid", `restore "${restore}" was into another cluster than this one`, {
    hint: "name the cluster that it was into: --kubeconfig FILE --context NAME",
  });
}
