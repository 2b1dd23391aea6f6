import type { KubernetesObject } from "../../archive/item.ts";
import { messageOf } from "../../errors.ts";
import { expectOk, type Kube, type KubeResponse } from "../../kube/client.ts";
import { parseExact } from "../../kube/json.ts";
import { type Resource, resourcePath } from "../../kube/resource.ts";
import { parseStatus } from "../../kube/status.ts";
import { type Fields, fieldsAt, goJson } from "../../objects/fields.ts";
import { SERVICES } from "../../objects/resources.ts";
import { type RestoreData, sharedText, sourceText } from "../data.ts";
import { type FixContext, fix, restoreLabels } from "../fixes.ts";
import { accountAdditions, merged, mergePatchBetween } from "../modifiers/patch.ts";
import { nodePorts } from "../nodeports.ts";
import { comparable, digest } from "../plan/comparable.ts";
import type { Policy } from "../plan/plan.ts";
import type { Target } from "../plan/target.ts";
import type { PlannedOn } from "../plan/unchanged.ts";
import type { Served } from "../served.ts";
import type { Item, RestoreSurvey } from "../survey.ts";
import { freeing, nodePath } from "../volumes.ts";
import { newReferences } from "./owners.ts";
import type { Statuses } from "./statuses.ts";
import type { Waiting } from "./waits.ts";

/** What applying one step needs. */
export interface Applying extends Waiting {
  served: Served;
  survey: RestoreSurvey;
  target: Target;
  fixing: FixContext;
  statuses: Statuses;
  policy: Policy;
  /** Where the data of claims and volumes come from; undefined where a restore is undone. */
  data?: RestoreData;
  /** Everything is checked by the API server, and nothing kept (`dryRun=All`). */
  dryRun?: boolean;
  /** A slice before this one that was killed may have done the same already, by the same plan. */
  repeats?: boolean;
}

/** One object on its way to the target. */
export interface Sending {
  item: Item;
  resource: Resource;
  body: Buffer;
  applying: Applying;
  /** What its step was planned on; undefined where the object was missing then. */
  plannedOn?: PlannedOn;
  /** What is made of it last, where it is created with its data. */
  amend?: (object: KubernetesObject) => KubernetesObject;
}

/** What is sent of an item, and what to tell of it. */
export interface Prepared {
  object: KubernetesObject;
  /** What is missing of the object: owners, its volume. */
  notes: string[];
  /** A note needs a person. */
  warning: boolean;
  /** Of a claim that brings no data along: whether its volume is an empty one, or the one that it had. */
  without?: "empty" | "same";
}

/** The object as it is created: fixed, its references rewritten. */
export function prepare({
  item,
  body,
  applying,
  amend,
}: Pick<Sending, "item" | "body" | "amend"> & {
  applying: Pick<Applying, "survey" | "target" | "fixing" | "data">;
}): Prepared {
  const { survey, target, fixing } = applying;
  const object = parseExact(body) as KubernetesObject;
  const { references, leftOut } = newReferences(object, item.entry.resource, survey, target.uids);
  const volume = volumeOf(object);
  fix(object, item.entry.resource, fixing);
  if (references.length) object.metadata.ownerReferences = references;
  const data = applying.data?.plan.of(item);
  const source = data && sourceText(data);
  const lost = volumeOf(object) || source ? undefined : volume;
  const notes = [];
  if (leftOut.length) notes.push(`without its owner ${leftOut.join(", ")}, which isn't restored`);
  if (source) notes.push(source);
  if (lost) notes.push(joined(`its volume ${lost} isn't restored: it gets a new, empty one`, data?.reason)!);
  const kept = volumeOf(object);
  const same = kept !== undefined && volume && !applying.data?.plan.remade.has(volume) ? "same" : undefined;
  const without = lost === undefined ? same : "empty";
  const shared = kept !== undefined && same && applying.data?.elsewhere(item, kept);
  if (shared) notes.push(sharedText(kept));
  const path = applying.data && nodePath(object);
  if (path) notes.push(`it is ${path} of a node: what the source's node has there doesn't come along`);
  const warning = lost !== undefined || path !== undefined || shared === true;
  return { object: amend?.(object) ?? object, notes, warning, ...(without && { without }) };
}

/** The name of a claim's volume; undefined where it has none, and for any other object. */
export function volumeOf({ kind, spec }: KubernetesObject): string | undefined {
  return kind === "PersistentVolumeClaim" ? (spec as { volumeName?: string } | undefined)?.volumeName : undefined;
}

/** The actions that change what exists. */
export type Change = "update" | "merge" | "free";

/** A change of a live object: its comparable forms before and after, and the merge patch that leads from one to the other. */
export interface Changing {
  from: Fields;
  to: Fields;
  patch: Fields;
}

/** What makes an existing object what it is to be; undefined where it is so already. */
export const CHANGES: Record<Change, (one: Sending, live: KubernetesObject) => Changing | undefined> = {
  update: (one, live) => {
    const { from, wanted, patch } = compare(one, live);
    const freed = one.applying.target.freed.has(live.metadata.name) ? freeing(live) : undefined;
    if (!patch && !freed) return undefined;
    const spec = { ...fieldsAt(patch, "spec"), ...fieldsAt(freed, "spec") };
    return { from, to: wanted, patch: freed ? { ...patch, spec } : patch! };
  },
  merge: (one, live) => {
    const { from, wanted } = compare(one, live);
    const patch = accountAdditions(live, wanted);
    return patch && { from, to: merged(from, patch), patch };
  },
  free: (_one, live) => {
    const patch = freeing(live);
    return patch && { from: live as Fields, to: merged(live as Fields, patch), patch };
  },
};

/** Whether an action changes an existing object. */
export function isChange(action: string): action is Change {
  return Object.hasOwn(CHANGES, action);
}

/** The body of a merge patch that changes `live`, as it was read, and says which restore did it. */
export function patchBody({ patch }: Changing, live: KubernetesObject, fixing: FixContext): string {
  const metadata = patch.metadata as KubernetesObject["metadata"] | undefined;
  const labels = { ...metadata?.labels, ...restoreLabels(fixing) };
  return goJson({ ...patch, metadata: { ...metadata, labels, resourceVersion: live.metadata.resourceVersion } });
}

/** Compares the live object with what the backup makes of it; `patch` leads from the one to the other. */
export function compare(one: Sending, live: KubernetesObject) {
  const { item, applying } = one;
  const { resource } = item.entry;
  const copy = parseExact(goJson(live)) as KubernetesObject;
  const { object } = prepare(one);
  const facts = { ...applying.target, askedPorts: resource === SERVICES ? nodePorts(object) : undefined };
  const [from, wanted] = [comparable(copy, resource, facts), comparable(object, resource, facts)];
  const equal = digest(from) === digest(wanted);
  return { equal, from, wanted, patch: equal ? undefined : mergePatchBetween(from, wanted, prepare(one).object) };
}

/** The live object; undefined where there is none. Throws where it may not be read. */
export async function readLive(one: Sending): Promise<KubernetesObject | undefined> {
  const response = await send(one, { path: pathOf(one) });
  if (response.status === 404) return undefined;
  return parseExact(expectOk(response, `get ${one.item.entry.resource} ${one.item.name}`).body) as KubernetesObject;
}

/** The path of the object itself. */
export function pathOf({ resource, item }: Sending): string {
  return resourcePath(resource, item.namespace, item.name);
}

/** The manager of the fields that we write. */
export const WRITER = "lifeboat";

/**
 * Who writes; and that warnings of unknown fields, which the API server drops as it drops them with warnings, are not asked
 * for: looking for them costs it a second reading of each object.
 */
const WRITING = { fieldManager: WRITER, fieldValidation: "Ignore" };

/** Sends a request for the object; a write bears our name, and is kept nowhere in a dry run. */
export function send({ applying }: Sending, request: Parameters<Kube["request"]>[0]): Promise<KubeResponse> {
  const isWrite = request.method !== undefined;
  return applying.kube.request({
    ...request,
    query: isWrite ? { ...WRITING, dryRun: applying.dryRun ? "All" : undefined } : undefined,
    signal: applying.signal,
  });
}

/** Reasons as one; undefined where there is none. */
export function joined(...reasons: (string | undefined)[]): string | undefined {
  return reasons.filter(Boolean).join("; ") || undefined;
}

/** What the server said, as a reason. Of a Secret it may have quoted the values: then only what it calls the fault is told. */
export function refusal(response: KubeResponse, { entry }: Item): string {
  if (entry.resource === "secrets")
    return `the API server did not take the Secret: ${parseStatus(response.body).reason ?? "it gave no reason"} (${response.status})`;
  try {
    expectOk(response, `take the ${entry.kind}`);
  } catch (error) {
    return messageOf(error);
  }
  return "";
}
