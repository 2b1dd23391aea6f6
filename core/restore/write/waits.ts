import { pause } from "../../abort.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { expectOk, type Kube } from "../../kube/client.ts";
import { type Discovery, discover } from "../../kube/discovery.ts";
import { listPages } from "../../kube/list.ts";
import { type Resource, resourceKey, resourcePath } from "../../kube/resource.ts";
import { at, entriesOf } from "../../objects/fields.ts";

/** Velero's --resource-timeout and --terminating-resource-timeout. */
export const WAIT_MS = 600_000;

const POLL_MS = 1000;

/** How long to wait, and for whom. */
export interface Waiting {
  kube: Kube;
  signal: AbortSignal;
  waitMs: number;
}

const NAMESPACE = { group: "", version: "v1", name: "namespaces" };

/** Waits until a Namespace that is being deleted is gone. Resolves with why it is not, or undefined. */
export async function namespaceGone(waiting: Waiting, name: string): Promise<string | undefined> {
  return poll(waiting, async () => {
    const namespace = await readNamespace(waiting, name);
    if (namespace?.metadata.deletionTimestamp === undefined) return undefined;
    const stuck = entriesOf(namespace, "status", "conditions").filter(({ status }) => status === "True");
    return `namespace ${name} is being deleted since ${namespace.metadata.deletionTimestamp}${stuck.map(({ message }) => `; ${message}`).join("")}`;
  });
}

/** Waits until a Namespace takes objects. Resolves with why it doesn't, or undefined. */
export async function namespaceActive(waiting: Waiting, name: string): Promise<string | undefined> {
  return poll(waiting, async () => {
    const phase = at(await readNamespace(waiting, name), "status", "phase");
    return phase === "Active" ? undefined : `namespace ${name} is ${phase ?? "gone"}, not Active`;
  });
}

/** Waits until the object at a path is gone, or another stands there. Resolves with why it is not, or undefined. */
export async function objectGone(waiting: Waiting, path: string, uid: string): Promise<string | undefined> {
  return poll(waiting, async () => {
    const response = await waiting.kube.request({ path, signal: waiting.signal });
    if (response.status === 404) return undefined;
    const { metadata } = JSON.parse(
      expectOk(response, "tell whether it is gone").body.toString("utf8"),
    ) as KubernetesObject;
    if (metadata.uid !== uid) return undefined;
    return `it is being deleted since ${metadata.deletionTimestamp}, held by ${metadata.finalizers?.join(", ") ?? "its containers"}; restore it again when it is gone`;
  });
}

async function readNamespace({ kube, signal }: Waiting, name: string): Promise<KubernetesObject | undefined> {
  const response = await kube.request({ path: resourcePath(NAMESPACE, undefined, name), signal });
  return response.status === 404
    ? undefined
    : JSON.parse(expectOk(response, `get namespace ${name}`).body.toString("utf8"));
}

/**
 * Waits until the definitions' names are accepted and their resources served, and asks discovery anew. `unready` holds
 * those that aren't, and why.
 */
export async function definitionsServed(
  waiting: Waiting,
  definitions: Resource,
  names: string[],
): Promise<{ unready: Map<string, string>; discovery: Discovery }> {
  const unready = new Map(names.map((name) => [name, `${name} is gone`]));
  await poll(waiting, () => establish(waiting, definitions, unready));
  let discovery = await discover(waiting.kube, waiting);
  const served = () => new Set(discovery.resources.map(resourceKey));
  await poll({ ...waiting, waitMs: Math.min(waiting.waitMs, PUBLISHED_MS) }, async () => {
    const missing = names.find((name) => !unready.has(name) && !served().has(name));
    if (missing !== undefined) discovery = await discover(waiting.kube, waiting);
    return missing;
  });
  return { unready, discovery };
}

/** An established definition is in discovery within seconds, or serves no version. */
const PUBLISHED_MS = 30_000;

/** Looks at the definitions once: takes the established ones out of `unready`. Resolves with one that is worth waiting for. */
async function establish(
  { kube, signal }: Waiting,
  definitions: Resource,
  unready: Map<string, string>,
): Promise<string | undefined> {
  let undecided: string | undefined;
  for await (const page of listPages(kube, definitions, { signal })) {
    for (const body of page.items) {
      const definition = JSON.parse(body.toString("utf8")) as KubernetesObject;
      const { name } = definition.metadata;
      if (!unready.has(name)) continue;
      const { final, reason } = stateOf(definition);
      if (reason === undefined) unready.delete(name);
      else unready.set(name, reason);
      if (!final) undecided = name;
    }
  }
  return undecided;
}

function stateOf(definition: KubernetesObject): { final: boolean; reason?: string } {
  const conditions = new Map(
    entriesOf(definition, "status", "conditions").map((condition) => [condition.type, condition]),
  );
  const [accepted, established] = [conditions.get("NamesAccepted"), conditions.get("Established")];
  if (accepted?.status === "True" && established?.status === "True") return { final: true };
  const { name } = definition.metadata;
  if (accepted?.status === "False")
    return { final: true, reason: `the names of ${name} were not accepted: ${accepted.message}` };
  return { final: false, reason: `${name} was not established in time` };
}

/** Asks until the answer is undefined, or time is up: then resolves with the last answer. */
async function poll(waiting: Waiting, ask: () => Promise<string | undefined>): Promise<string | undefined> {
  const deadline = performance.now() + waiting.waitMs;
  for (let wait = POLL_MS / 8; ; wait = Math.min(POLL_MS, wait * 2)) {
    const answer = await ask();
    if (answer === undefined || performance.now() + wait > deadline) return answer;
    await pause(wait, waiting.signal);
  }
}
