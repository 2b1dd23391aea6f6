import { once } from "node:events";
import { resourceApiVersion } from "../kube/resource.ts";
import { type Objects, selected } from "./list.ts";
import type { Call, RequestTarget } from "./routes.ts";
import { type Presentation, showOne } from "./shown.ts";

/** Whether a query asks for a watch. */
export function isWatch(query: URLSearchParams): boolean {
  return ["true", "1"].includes(query.get("watch") ?? "");
}

/**
 * A watch of what never changes, in pieces: what there is, unless the client has listed it (it names its list's
 * revision) or doesn't want it; a bookmark, where it takes one; then nothing until `timeoutSeconds` are over or the client
 * is gone.
 */
export async function* watch(
  objects: Objects,
  { resource, namespace, name }: RequestTarget,
  { query: given, signal }: Call,
  shown: Presentation,
): AsyncGenerator<string> {
  const query = new URLSearchParams(given);
  if (name !== undefined) query.set("fieldSelector", `metadata.name=${name}`);
  const initial = query.get("sendInitialEvents");
  const unlisted = ["", "0"].includes(query.get("resourceVersion") ?? "");
  if (initial === "true" || (initial === null && unlisted)) {
    for await (const { object } of selected(objects, resource, namespace, query))
      yield event("ADDED", showOne(shown, object));
  }
  if (["true", "1"].includes(query.get("allowWatchBookmarks") ?? "")) {
    const annotations = initial === "true" ? { "k8s.io/initial-events-end": "true" } : undefined;
    const metadata = { name: "", resourceVersion: String(objects.revision()), annotations };
    const { kind } = resource;
    yield event("BOOKMARK", showOne(shown, { kind, apiVersion: resourceApiVersion(resource), metadata }));
  } else yield "";
  const seconds = Number(query.get("timeoutSeconds")) || 0;
  const over = seconds > 0 ? AbortSignal.any([signal, AbortSignal.timeout(seconds * 1000)]) : signal;
  if (!over.aborted) await once(over, "abort");
}

function event(type: string, object: object): string {
  return `${JSON.stringify({ type, object })}\n`;
}
