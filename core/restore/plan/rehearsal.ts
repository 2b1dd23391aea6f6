import type { KubernetesObject } from "../../archive/item.ts";
import type { Archive } from "../../archive/reader.ts";
import { messageOf } from "../../errors.ts";
import type { KubeResponse } from "../../kube/client.ts";
import { throwIfGone } from "../../kube/gone.ts";
import { parseExact } from "../../kube/json.ts";
import { resourcePath } from "../../kube/resource.ts";
import { parseStatus } from "../../kube/status.ts";
import { type FieldChange, fieldChanges } from "../../objects/diff.ts";
import { goJson } from "../../objects/fields.ts";
import { RESERVE, WITHHELD } from "../prune/extras.ts";
import { pruneLive } from "../prune/pruning.ts";
import { type PlanInput, type RestorePlan, writesOf } from "../restore.ts";
import type { Item } from "../survey.ts";
import { refusedUpdate } from "../write/apply.ts";
import { adaptivePace, pacedKube } from "../write/pace.ts";
import {
  type Applying,
  CHANGES,
  isChange,
  joined,
  type Prepared,
  patchBody,
  pathOf,
  prepare,
  readLive,
  refusal,
  type Sending,
  send,
} from "../write/sending.ts";
import { WAIT_MS } from "../write/waits.ts";
import { bodies, waves } from "../write/writes.ts";
import { gitOwner } from "./gitops.ts";
import { EQUAL } from "./plan.ts";
import { type DataSource, sourceOf } from "./sources.ts";
import type { PlannedStep } from "./steps.ts";
import { plannedOn } from "./unchanged.ts";

/** What a step of a plan does, for people: a change of any kind is an update. */
export type PlanAction = "create" | "update" | "recreate" | "prune" | "skip" | "blocked";

/** What becomes of one step when it is rehearsed. */
export interface Rehearsed {
  action: PlanAction;
  reason?: string;
  /** How its data come. */
  data?: DataSource;
  /** The reason needs a person. */
  warning?: boolean;
  /** From the live object to what it will be, server-managed fields left aside. */
  diff?: FieldChange[];
}

/**
 * Rehearses the steps of a plan that write: each object goes to the API server as it would, with `dryRun=All`, where its
 * Namespace exists and its kind is served already; what would change of an existing one is told field by field. What would be
 * pruned is blocked where the server would refuse something else (extras.ts). Calls `listen` with what became of each step, in
 * no certain order. Throws as `restore`; nothing is written.
 */
export async function rehearse(
  { archive, kube, signal, waitMs = WAIT_MS }: PlanInput & { archive: Archive },
  planned: RestorePlan,
  listen: (step: PlannedStep, rehearsed: Rehearsed) => void,
): Promise<void> {
  const pace = adaptivePace();
  const failure = new AbortController();
  const applying: Applying = {
    ...planned,
    kube: pacedKube(kube, pace),
    signal: AbortSignal.any([signal, failure.signal]),
    waitMs,
    dryRun: true,
    target: { ...planned.target, uids: expectedUids(planned) },
  };
  let lacking = false;
  const tell = (step: PlannedStep, rehearsed: Rehearsed) => {
    lacking ||= rehearsed.action === "blocked";
    listen(step, rehearsed);
  };
  const rehearseSome = async (steps: PlannedStep[]) => {
    for (const wave of waves(steps)) {
      for await (const { step, body } of bodies(archive, wave)) {
        await pace.room();
        applying.signal.throwIfAborted();
        pace
          .run(async () => tell(step, await rehearseStep(step, body, applying)))
          .catch((error) => failure.abort(error));
      }
    }
    await pace.idle();
  };
  const writes = writesOf(planned.steps);
  const prunes = writes.filter(({ action }) => action === "prune");
  try {
    await rehearseSome(writes.filter(({ action }) => action !== "prune"));
    if (lacking && !planned.fixing.exact)
      for (const step of prunes) listen(step, { action: "blocked", reason: WITHHELD });
    else await rehearseSome(prunes);
  } finally {
    await pace.idle();
  }
  applying.signal.throwIfAborted();
}

/** The UIDs of owners: those that are there, and one for each that will be, so that the children name them. */
function expectedUids({ target, steps }: RestorePlan): Map<number, string> {
  const uids = new Map(target.uids);
  for (const { place, action } of steps) {
    if (place !== undefined && action === "create") uids.set(place, "00000000-0000-0000-0000-000000000000");
  }
  return uids;
}

async function rehearseStep(step: PlannedStep, body: Buffer, applying: Applying): Promise<Rehearsed> {
  const { item, action, reason } = step;
  const resource = applying.served.find(item);
  const there = item.namespace === "" || applying.target.namespaces.has(item.namespace);
  try {
    if (action === "status") return { action: "skip", reason };
    const one = resource && { item, resource, body, applying, plannedOn: plannedOn(step, applying.target) };
    if (one && isChange(action)) return await rehearseChange(one, action);
    if (one && action === "prune") return await rehearsePrune(step, one);
    const { without, ...described } = describeCreate(body, { item, applying }, reason);
    const rehearsed = one && there ? await rehearseCreate(one, described) : described;
    if (rehearsed.action !== "create") return rehearsed;
    noteData(applying.data, item, without);
    return { ...rehearsed, data: sourceOf(item, { data: applying.data, without }) };
  } catch (error) {
    await throwIfGone(applying.kube, error, applying.signal);
    return { action: "blocked", reason: messageOf(error) };
  }
}

function describeCreate(
  body: Buffer,
  sending: Pick<Sending, "item" | "applying">,
  reason: string | undefined,
): Rehearsed & Pick<Prepared, "without"> {
  const { notes, warning, without } = prepare({ ...sending, body });
  const owner = keptBy(parseExact(body) as KubernetesObject);
  return { action: "create", reason: joined(reason, ...notes, owner), warning, without };
}

/** Counts the data of what would be created as those of a restore are. */
function noteData(by: Applying["data"], item: Item, without: Prepared["without"]): void {
  const data = by?.plan.of(item);
  if (data && data.how !== "none") by?.brought.push({ item, data });
  if (without) by?.without.set(`${item.namespace}/${item.name}`, without);
}

async function rehearseCreate(one: Sending, rehearsed: Rehearsed): Promise<Rehearsed> {
  const { resource, item } = one;
  const path = resourcePath(resource, item.namespace);
  const response = await send(one, { method: "POST", path, body: goJson(prepare(one).object) });
  if (response.status < 400) return rehearsed;
  const reason = refusal(response, item);
  if (isFinal(response)) return { action: "blocked", reason: joined(rehearsed.reason, reason) };
  return { ...rehearsed, reason: joined(rehearsed.reason, `not yet: ${reason}`) };
}

async function rehearseChange(one: Sending, how: keyof typeof CHANGES): Promise<Rehearsed> {
  const live = await readLive(one);
  if (!live) return { action: "create", reason: "it was deleted meanwhile" };
  const changing = CHANGES[how](one, live);
  if (!changing) return { action: "skip", reason: EQUAL };
  const diff = fieldChanges(changing.from, changing.to, one.item.entry.resource);
  const body = patchBody(changing, live, one.applying.fixing);
  const contentType = "application/merge-patch+json";
  const response = await send(one, { method: "PATCH", path: pathOf(one), contentType, body });
  const owner = keptBy(live);
  if (response.status < 400) return { action: "update", reason: joined("exists and differs", owner), diff };
  if (response.status !== 422) return { action: "blocked", reason: refusal(response, one.item), diff };
  const refused = await refusedUpdate(response, one, live);
  return { ...refused, reason: joined(refused.reason, owner), diff };
}

async function rehearsePrune(step: PlannedStep, one: Sending): Promise<Rehearsed> {
  const { action, reason } = await pruneLive(one, step);
  const reserve = one.applying.fixing.exact ? undefined : RESERVE;
  if (action === "pruned") return { action: "prune", reason: joined(reason, reserve), warning: step.warning };
  return { action: action === "skipped" ? "skip" : "blocked", reason };
}

/** Whether the server would say the same whatever else is restored first: the object is invalid, or may not be created. */
function isFinal({ status, body }: KubeResponse): boolean {
  const { message = "" } = parseStatus(body);
  if (status === 403) return /cannot \w+ resource/.test(message);
  return status === 422 || (status === 400 && !message.includes("does not support dry run"));
}

function keptBy(object: KubernetesObject): string | undefined {
  const owner = gitOwner(object);
  return owner && `kept by ${owner}, which may change it back`;
}
