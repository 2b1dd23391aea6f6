import type { KubernetesObject } from "../archive/item.ts";
import { messageOf } from "../errors.ts";
import { expectOk, type Kube, type KubeResponse } from "../kube/client.ts";
import { throwIfGone } from "../kube/gone.ts";
import { parseExact } from "../kube/json.ts";
import { type Resource, resourcePath } from "../kube/resource.ts";
import { parseStatus } from "../kube/status.ts";
import { comparable, digest } from "./comparable.ts";
import { at, type Fields, fieldsAt, goJson } from "./fields.ts";
import { type FixContext, fix, refersElsewhere, restoreLabels } from "./fixes.ts";
import { nodePorts } from "./nodeports.ts";
import { newReferences } from "./owners.ts";
import { accountAdditions, mergePatchBetween } from "./patch.ts";
import { BEING_DELETED, plan } from "./plan.ts";
import type { ItemOutcome } from "./report.ts";
import type { Served } from "./served.ts";
import type { PlannedStep } from "./steps.ts";
import type { Item, Survey } from "./survey.ts";
import type { Target } from "./target.ts";
import { freeing } from "./volumes.ts";
import { namespaceActive, type Waiting } from "./waits.ts";

/** What applying one step needs. */
export interface Applying extends Waiting {
  served: Served;
  survey: Survey;
  target: Target;
  fixing: FixContext;
  policy: "none" | "update";
}

/** How a step ended. */
export interface Applied {
  action: ItemOutcome["action"];
  reason?: string;
  warning?: boolean;
  /** The object's UID in the target, as far as it was seen and stays. */
  uid?: string;
}

/** The actions that change what exists. */
type Change = "update" | "merge" | "free";

/** How often an update begins anew because the object was changed between reading and writing it. */
const UPDATE_ATTEMPTS = 5;

/**
 * Applies a step that writes, with the item's body. What the server refuses is in the answer; that
 * it is gone, or that the run is cancelled, throws.
 */
export async function applyStep(
  { item, action, reason }: PlannedStep,
  body: Buffer,
  applying: Applying,
): Promise<Applied> {
  const resource = applying.served.find(item);
  if (!resource) return { action: "blocked", reason: applying.served.absence(item) };
  const one = { item, resource, body, applying };
  try {
    return isChange(action) ? await change(one, action) : await create(one, reason);
  } catch (error) {
    await throwIfGone(applying.kube, error, applying.signal);
    return { action: "failed", reason: messageOf(error) };
  }
}

/** One object on its way to the target. */
interface Sending {
  item: Item;
  resource: Resource;
  body: Buffer;
  applying: Applying;
  /** It was found to exist when it was created: what is planned for it then isn't planned again. */
  settled?: boolean;
}

function isChange(action: PlannedStep["action"]): action is Change {
  return Object.hasOwn(PATCHES, action);
}

async function create(one: Sending, reason: string | undefined): Promise<Applied> {
  const { item, resource, applying } = one;
  const { object, leftOut, lostVolume } = prepare(one);
  const response = await send(one, {
    method: "POST",
    path: resourcePath(resource, item.namespace),
    body: goJson(object),
  });
  if (response.status >= 400) {
    if (existsAlready(response)) return await settle(one, response);
    return { action: "failed", reason: refusal(response, item) };
  }
  const reasons = [
    reason,
    leftOut.length ? `without its owner ${leftOut.join(", ")}, which isn't restored` : undefined,
    lostVolume ? `its volume ${lostVolume} isn't restored: it gets a new, empty one` : undefined,
  ].filter(Boolean);
  const made = JSON.parse(response.body.toString("utf8")) as KubernetesObject;
  const inactive = await notActive(made, applying);
  if (inactive) return { action: "failed", reason: inactive };
  const warning = lostVolume !== undefined;
  return { action: "created", reason: reasons.join("; ") || undefined, warning, uid: made.metadata.uid };
}

/** Waits for a new Namespace that doesn't take objects yet. */
async function notActive(
  { kind, metadata, status }: KubernetesObject,
  applying: Applying,
): Promise<string | undefined> {
  const phase = at(status, "phase");
  if (kind !== "Namespace" || phase === undefined || phase === "Active") return undefined;
  return await namespaceActive(applying, metadata.name);
}

/**
 * The object as it is created: fixed, its references rewritten. `lostVolume`: the volume a claim was bound to, where
 * it doesn't come back.
 */
function prepare({ item, body, applying }: Sending): {
  object: KubernetesObject;
  leftOut: string[];
  lostVolume?: string;
} {
  const { survey, target, fixing } = applying;
  const object = parseExact(body) as KubernetesObject;
  const { references, leftOut } = newReferences(object, item.entry.resource, survey, target.uids);
  const volume = volumeOf(object);
  fix(object, item.entry.resource, fixing);
  if (references.length) object.metadata.ownerReferences = references;
  return { object, leftOut, lostVolume: volumeOf(object) ? undefined : volume };
}

function volumeOf({ kind, spec }: KubernetesObject): string | undefined {
  return kind === "PersistentVolumeClaim" ? (spec as { volumeName?: string } | undefined)?.volumeName : undefined;
}

/** An object of that name appeared meanwhile: a controller made it, or an earlier attempt of ours did. Plans the item again, once. */
async function settle(one: Sending, refused: KubeResponse): Promise<Applied> {
  const { item, applying } = one;
  const live = await read(one);
  if (!live) return { action: "failed", reason: refusal(refused, item) };
  const { uid, deletionTimestamp, labels } = live.metadata;
  const { equal } = compare(one, live);
  const ours = labels?.["velero.io/restore-name"] === restoreLabels(applying.fixing)["velero.io/restore-name"];
  if (equal && !deletionTimestamp && (ours || refused.attempts > 1)) return { action: "created", uid };
  const state = deletionTimestamp ? "deleting" : equal ? "equal" : "different";
  const { resource } = item.entry;
  const leave = item.needed ? "it appeared meanwhile" : undefined;
  const shared = refersElsewhere(one.body, resource, applying.fixing);
  const { action, ...step } = plan({ resource, live: state, leave, shared }, applying.policy);
  if (isChange(action)) return await change({ ...one, settled: true }, action);
  return { action: action === "blocked" ? "blocked" : "skipped", uid: deletionTimestamp ? undefined : uid, ...step };
}

/** What makes an existing object what it is to be; undefined where it is so already. */
const PATCHES: Record<Change, (one: Sending, live: KubernetesObject) => Fields | undefined> = {
  update: (one, live) => {
    const { patch } = compare(one, live);
    const freed = one.applying.target.freed.has(live.metadata.name) ? PATCHES.free(one, live) : undefined;
    return freed ? { ...patch, spec: { ...fieldsAt(patch, "spec"), ...fieldsAt(freed, "spec") } } : patch;
  },
  merge: (one, live) => accountAdditions(live, compare(one, live).wanted),
  free: (_one, live) => freeing(live),
};

/** Makes an existing object what the backup says, gives a ServiceAccount what it lacks, frees a volume. */
async function change(one: Sending, how: Change): Promise<Applied> {
  const { item, resource, applying } = one;
  const path = resourcePath(resource, item.namespace, item.name);
  let maybeDone = false;
  for (let attempt = 1; ; attempt++) {
    const live = await read(one);
    if (!live && one.settled)
      return { action: "failed", reason: "it is being made and deleted by others all the time" };
    if (!live) return await create(one, "it was deleted meanwhile");
    const { uid, resourceVersion, deletionTimestamp } = live.metadata;
    if (deletionTimestamp) return { action: "blocked", reason: BEING_DELETED };
    const patch = PATCHES[how](one, live);
    if (!patch && maybeDone) return { action: "updated", uid };
    if (!patch)
      return { action: "skipped", reason: how === "merge" ? "exists and lacks nothing" : "exists, equal", uid };
    const metadata = patch.metadata as KubernetesObject["metadata"] | undefined;
    patch.metadata = {
      ...metadata,
      labels: { ...metadata?.labels, ...restoreLabels(applying.fixing) },
      resourceVersion,
    };
    const contentType = "application/merge-patch+json";
    const response = await send(one, { method: "PATCH", path, contentType, body: goJson(patch) });
    if (response.status < 400) return { action: "updated", uid };
    if (response.status === 409 && attempt < UPDATE_ATTEMPTS) {
      maybeDone ||= response.attempts > 1;
      continue;
    }
    const reason = `exists and differs, and could not be updated: ${refusal(response, item)}`;
    return response.status === 422
      ? { action: "skipped", reason, warning: true, uid }
      : { action: "failed", reason, uid };
  }
}

/** Compares the live object with what the backup makes of it; `patch` leads from the one to the other. */
function compare(one: Sending, live: KubernetesObject) {
  const { item, applying } = one;
  const { resource } = item.entry;
  const copy = parseExact(goJson(live)) as KubernetesObject;
  const { object } = prepare(one);
  const facts = { ...applying.target, askedPorts: resource === "services" ? nodePorts(object) : undefined };
  const [from, wanted] = [comparable(copy, resource, facts), comparable(object, resource, facts)];
  const equal = digest(from) === digest(wanted);
  return { equal, wanted, patch: equal ? undefined : mergePatchBetween(from, wanted, prepare(one).object) };
}

async function read(one: Sending): Promise<KubernetesObject | undefined> {
  const response = await send(one, { path: resourcePath(one.resource, one.item.namespace, one.item.name) });
  if (response.status === 404) return undefined;
  return parseExact(expectOk(response, `get ${one.item.entry.resource} ${one.item.name}`).body) as KubernetesObject;
}

function send({ applying }: Sending, request: Parameters<Kube["request"]>[0]): Promise<KubeResponse> {
  const writes = request.method !== undefined;
  return applying.kube.request({
    ...request,
    query: writes ? { fieldManager: "lifeboat" } : undefined,
    signal: applying.signal,
  });
}

/** Whether a create was refused because the object is there, or, for Services, because its port is taken, maybe by itself (Velero, 5.5). */
function existsAlready({ status, body }: KubeResponse): boolean {
  const { reason, message = "" } = parseStatus(body);
  if (status === 409) return reason === "AlreadyExists";
  return status === 422 && message.includes("provided port is already allocated");
}

function refusal(response: KubeResponse, { entry }: Item): string {
  try {
    expectOk(response, `take the ${entry.kind}`);
  } catch (error) {
    return messageOf(error);
  }
  return "";
}
