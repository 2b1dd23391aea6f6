import type { KubernetesObject } from "../../archive/item.ts";
import { messageOf } from "../../errors.ts";
import type { KubeResponse } from "../../kube/client.ts";
import { throwIfGone } from "../../kube/gone.ts";
import { metadataOf, parseExact } from "../../kube/json.ts";
import { resourcePath } from "../../kube/resource.ts";
import { parseStatus } from "../../kube/status.ts";
import { RESTORE_NAME } from "../../labels.ts";
import { at, canonical, entriesOf, goJson } from "../../objects/fields.ts";
import { NAMESPACES } from "../../objects/resources.ts";
import { refersElsewhere, restoreLabels } from "../fixes.ts";
import { BEING_DELETED, EQUAL, plan } from "../plan/plan.ts";
import type { PlannedStep } from "../plan/steps.ts";
import { CHANGED, isUnchanged, plannedOn } from "../plan/unchanged.ts";
import { pruneLive } from "../prune/pruning.ts";
import type { ItemOutcome } from "../report.ts";
import { BackendDown } from "./backends.ts";
import { neverDeleted } from "./deletions.ts";
import { type Create, createFilled } from "./filled.ts";
import { hollowClaim } from "./hollow.ts";
import {
  type Applying,
  CHANGES,
  type Change,
  compare,
  isChange,
  joined,
  patchBody,
  pathOf,
  prepare,
  readLive,
  refusal,
  type Sending,
  send,
  WRITER,
} from "./sending.ts";
import { namespaceActive, objectGone } from "./waits.ts";

/** How a step ended. */
export interface Applied {
  action: ItemOutcome["action"];
  reason?: string;
  warning?: boolean;
  /** The object's UID in the target, as far as it was seen and stays. */
  uid?: string;
  /** It ends otherwise once this is up (backends.ts). */
  awaits?: string;
  /** What the server made of a created object. */
  made?: () => KubernetesObject;
}

/** How often an update begins anew because the object was changed between reading and writing it. */
const UPDATE_ATTEMPTS = 5;

/**
 * Applies a step that writes, with the item's body. What the server refuses is in the answer; that
 * it is gone, or that the run is cancelled, throws.
 */
export async function applyStep(step: PlannedStep, body: Buffer, applying: Applying): Promise<Applied> {
  const { item, action, reason, awaits } = step;
  const resource = applying.served.find(item);
  if (!resource) return { action: "blocked", reason: applying.served.absence(item), awaits };
  const one = { item, resource, body, applying, plannedOn: plannedOn(step, applying.target) };
  try {
    if (action === "prune") return await pruneLive(one, step);
    if (action === "status") return await finishStatus(one);
    return isChange(action) ? await change(one, action) : await create(one, reason);
  } catch (error) {
    await throwIfGone(applying.kube, error, applying.signal);
    return {
      action: "failed",
      reason: messageOf(error),
      awaits: error instanceof BackendDown ? error.backend : undefined,
    };
  }
}

/** Creates the object, with what the backup has of its data; not where its controller would make up for data that are missing. */
async function create(one: Sending, reason: string | undefined): Promise<Applied> {
  const by = one.applying.data;
  const { entry, namespace } = one.item;
  const hollow = by && hollowClaim(entry.resource, one.body, namespace, by.lacking);
  if (hollow) return { action: "failed", reason: `it would make the claim ${hollow} anew, which has not its data` };
  const data = by?.plan.of(one.item);
  const plainly: Create = (amend) => createAs({ ...one, amend }, reason);
  return data && by ? createFilled({ one, data, by, create: plainly }) : plainly();
}

async function createAs(one: Sending, reason: string | undefined): Promise<Applied> {
  const { item, resource, applying } = one;
  const { body, notes, warning, wanted, without } = outgoing(one);
  const response = await send(one, { method: "POST", path: resourcePath(resource, item.namespace), body });
  const settled = response.status >= 400 && existsAlready(response) ? await settle(one, response) : undefined;
  if (settled && settled.action !== "created") return settled;
  if (!settled && response.status >= 400) return { action: "failed", reason: refusal(response, item) };
  // Of most objects only the UID matters, and parsing all of 25,000 takes seconds and memory.
  const made = settled?.made ?? (() => JSON.parse(response.body.toString("utf8")) as KubernetesObject);
  const inactive = item.entry.resource === NAMESPACES ? await notActive(made(), applying) : undefined;
  if (inactive) return { action: "failed", reason: inactive };
  if (without) applying.data?.without.set(`${item.namespace}/${item.name}`, without);
  const uid = settled ? settled.uid : (metadataOf(response.body) as KubernetesObject["metadata"]).uid;
  const left = wanted ? ((await restoreStatus(one, made())) ?? statusOfBefore(one, made())) : undefined;
  const notable = warning || left?.written === false;
  return { action: "created", reason: joined(reason, ...notes, left?.reason), warning: notable, uid, made };
}

/** What is sent to create the object, and whether its status is to follow. The object itself isn't kept while it is under way: many are. */
function outgoing(one: Sending) {
  const { object, ...told } = prepare(one);
  const wanted = one.applying.statuses.of(object.metadata, one.item.entry.resource);
  return { body: goJson(object), ...told, wanted };
}

/** Gives an object that an earlier run of this restore made the status that run didn't come to. */
async function finishStatus(one: Sending): Promise<Applied> {
  const live = await readLive(one);
  const { uid } = live?.metadata ?? {};
  const left = live && isOurs(live, one) ? await restoreStatus(one, live) : undefined;
  if (left?.written) return { action: "updated", reason: left.reason, uid };
  return { action: "skipped", reason: left?.reason ?? EQUAL, warning: left !== undefined, uid };
}

/** Whether this restore made or changed the object. Of what an undo writes nothing tells: it leaves no label. */
function isOurs({ metadata: { labels } }: KubernetesObject, { applying }: Sending): boolean {
  const ours = restoreLabels(applying.fixing)[RESTORE_NAME];
  return ours !== undefined && labels?.[RESTORE_NAME] === ours;
}

const WITH_STATUS = "with its status";

/** Whether we wrote to it: labels alone don't tell, for controllers copy them. */
function isWrittenByUs({ metadata }: KubernetesObject): boolean {
  return entriesOf(metadata, "managedFields").some(({ manager }) => manager === WRITER);
}

/** What became of a status, and what to tell of it. */
interface StatusWritten {
  written: boolean;
  reason: string;
}

/**
 * Writes the status that the backup holds, where it is to be restored and isn't there yet; undefined where there was
 * nothing to do, as for resources that have no status of their own. What the server refuses is a reason, not a failure
 * (Velero restoreItem, 5.5).
 */
async function restoreStatus(one: Sending, live: KubernetesObject): Promise<StatusWritten | undefined> {
  const { item, applying, body } = one;
  const { status, metadata } = parseExact(body) as KubernetesObject;
  if (status === undefined && !applying.fixing.exact) return undefined;
  if (!applying.statuses.of(metadata, item.entry.resource)) return undefined;
  let now: KubernetesObject | undefined = live;
  for (let attempt = 1; now; attempt++) {
    if (canonical(now.status ?? null) === canonical(status ?? null)) return undefined;
    const path = `${pathOf(one)}/status`;
    const response = await send(one, { method: "PUT", path, body: goJson({ ...now, status }) });
    if (response.status < 400) return { written: true, reason: WITH_STATUS };
    if (response.status === 404) return undefined;
    if (response.status !== 409 || attempt === UPDATE_ATTEMPTS)
      return { written: false, reason: `its status could not be restored: ${refusal(response, item)}` };
    now = await readLive(one);
  }
  return undefined;
}

/** That a slice which was killed has written the status of an object that is as the backup says. */
function statusOfBefore({ applying, item, body }: Sending, live: KubernetesObject): StatusWritten | undefined {
  if (!applying.repeats) return undefined;
  const { status, metadata } = parseExact(body) as KubernetesObject;
  const isThere =
    status !== undefined &&
    applying.statuses.of(metadata, item.entry.resource) &&
    canonical(live.status ?? null) === canonical(status);
  return isThere ? { written: true, reason: WITH_STATUS } : undefined;
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

/** An object of that name appeared meanwhile: a controller made it, or an earlier attempt of ours did. Plans the item again, once. */
async function settle(one: Sending, refused: KubeResponse): Promise<Applied> {
  const { item, applying } = one;
  const live = await readLive(one);
  if (!live) return { action: "failed", reason: refusal(refused, item) };
  const { uid, deletionTimestamp } = live.metadata;
  const { equal } = compare(one, live);
  const ours = isOurs(live, one);
  const isMade = equal ? ours || refused.attempts > 1 : applying.repeats && ours && isWrittenByUs(live);
  if (isMade && !deletionTimestamp) return { action: "created", uid, made: () => live };
  const state = deletionTimestamp ? "deleting" : equal ? "equal" : "different";
  const { resource } = item.entry;
  const leave = item.needed ? "it appeared meanwhile" : undefined;
  const shared = refersElsewhere(one.body, resource, applying.fixing);
  const { action, ...step } = plan({ resource, live: state, leave, shared }, applying.policy);
  // What others made since the plan is nowhere kept for an undo: it only gets what it lacks.
  if (isChange(action) && action !== "merge" && !ours)
    return { action: "skipped", reason: "it appeared meanwhile and differs: restore it again", warning: true, uid };
  if (isChange(action)) return await change({ ...one, plannedOn: undefined }, action);
  return { action: action === "blocked" ? "blocked" : "skipped", uid: deletionTimestamp ? undefined : uid, ...step };
}

/**
 * Makes an existing object what the backup says, gives a ServiceAccount what it lacks, frees a volume: as it was when that
 * was planned, whatever its status or controllers have become. What others have made of it since is kept nowhere, so it stays.
 */
async function change(one: Sending, how: Change): Promise<Applied> {
  const { applying, item, plannedOn: planned } = one;
  let unanswered: KubernetesObject | undefined;
  let status: StatusWritten | undefined;
  for (let attempt = 1; ; attempt++) {
    const live = await readLive(one);
    if (!live && !planned) return { action: "failed", reason: "it is being made and deleted by others all the time" };
    if (!live) {
      const made = await create(one, "it was deleted meanwhile");
      const isOf = applying.repeats && applying.policy === "recreate" && made.action === "created";
      return isOf ? { ...made, action: "recreated" } : made;
    }
    const { uid, deletionTimestamp } = live.metadata;
    if (deletionTimestamp) return { action: "blocked", reason: BEING_DELETED };
    const changing = CHANGES[how](one, live);
    const gotThrough = unanswered && (!changing || (isOurs(live, one) && !isOurs(unanswered, one)));
    if (gotThrough) return await updated(one, how, live, status);
    if (!changing && applying.repeats && planned && isOurs(live, one)) return await updated(one, how, live, status);
    if (!changing) return { action: "skipped", reason: how === "merge" ? "exists and lacks nothing" : EQUAL, uid };
    if (planned && !isUnchanged(live, item.entry.resource, planned, applying.target))
      return { action: "blocked", reason: CHANGED, uid };
    // An undo that dies is finished by the next, which knows what is left by the restore's label: so that goes last.
    if (applying.fixing.exact && how === "update" && !status) {
      status = await restoreStatus(one, live);
      if (status?.written) continue;
    }
    const contentType = "application/merge-patch+json";
    const body = patchBody(changing, live, applying.fixing);
    const response = await send(one, { method: "PATCH", path: pathOf(one), contentType, body });
    if (response.status < 400) return await updated(one, how, parseExact(response.body) as KubernetesObject, status);
    if (response.status === 409 && attempt < UPDATE_ATTEMPTS) {
      if (response.attempts > 1) unanswered ??= live;
      continue;
    }
    if (response.status !== 422) return { action: "failed", reason: unchangeable(response, one), uid };
    const { action, reason, warning } = await refusedUpdate(response, one, live);
    if (action !== "recreate") return { action: "skipped", reason, warning, uid };
    const applied = await recreate(one, live, reason);
    if (applied !== "changed") return applied;
    if (attempt >= UPDATE_ATTEMPTS)
      return { action: "failed", reason: "it is being changed by others all the time", uid };
  }
}

async function updated(
  one: Sending,
  how: Change,
  live: KubernetesObject,
  before: StatusWritten | undefined,
): Promise<Applied> {
  const status =
    before ?? (how === "update" ? ((await restoreStatus(one, live)) ?? statusOfBefore(one, live)) : undefined);
  return { action: "updated", reason: status?.reason, warning: status?.written === false, uid: live.metadata.uid };
}

/**
 * What an update becomes that the server finds invalid (422), as it does where a field can't be changed. Under `recreate`
 * the object is deleted only where the server, asked with a dry run, would take the new one.
 */
export async function refusedUpdate(
  response: KubeResponse,
  one: Sending,
  live: KubernetesObject,
): Promise<{ action: "skip" | "recreate"; reason: string; warning: boolean }> {
  const reason = unchangeable(response, one);
  const skip = (why: string) => ({ action: "skip", reason: `${reason}; ${why}`, warning: true }) as const;
  if (one.applying.policy !== "recreate")
    return skip("use --existing-resource-policy recreate to delete it and create it anew");
  if (!one.plannedOn) return skip("it is not deleted: somebody has just made it anew");
  const kept = neverDeleted(one.item.entry.resource, live);
  if (kept) return skip(`it is not deleted: ${kept}`);
  const refused = await refusedCreate(one);
  if (refused) return skip(`it is not deleted, for what the backup holds would be refused too: ${refused}`);
  return { action: "recreate", reason, warning: false };
}

/** Why the server would not take the backup's object; undefined where it would, were the live one not there. */
async function refusedCreate(one: Sending): Promise<string | undefined> {
  const rehearsing = { ...one, applying: { ...one.applying, dryRun: true } };
  const path = resourcePath(one.resource, one.item.namespace);
  const response = await send(rehearsing, { method: "POST", path, body: goJson(prepare(one).object) });
  return response.status < 400 || existsAlready(response) ? undefined : refusal(response, one.item);
}

function unchangeable(response: KubeResponse, { item }: Sending): string {
  return `exists and differs, and could not be updated: ${refusal(response, item)}`;
}

/**
 * Deletes the live object, as it was read, and nothing that it owns, and creates the backup's; "changed" where others
 * changed it meanwhile. A run that dies between the two is finished by the next, which finds the object missing.
 */
async function recreate(one: Sending, live: KubernetesObject, reason: string): Promise<Applied | "changed"> {
  const { uid = "", resourceVersion } = live.metadata;
  const response = await send(one, {
    method: "DELETE",
    path: pathOf(one),
    body: JSON.stringify({ preconditions: { uid, resourceVersion }, propagationPolicy: "Orphan" }),
  });
  if (response.status === 409) return "changed";
  if (response.status >= 400 && response.status !== 404)
    return { action: "failed", reason: `${reason}; nor could it be deleted: ${refusal(response, one.item)}`, uid };
  const stays = await objectGone(one.applying, pathOf(one), uid);
  if (stays) return { action: "failed", reason: stays };
  const applied = await create(one, reason);
  return applied.action === "created" ? { ...applied, action: "recreated" } : applied;
}

/** Whether a create was refused because the object is there, or, for Services, because its port is taken, maybe by itself (Velero, 5.5). */
function existsAlready({ status, body }: KubeResponse): boolean {
  const { reason, message = "" } = parseStatus(body);
  if (status === 409) return reason === "AlreadyExists";
  return status === 422 && message.includes("provided port is already allocated");
}
