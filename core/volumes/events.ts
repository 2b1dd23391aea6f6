import type { Kube } from "../kube/client.ts";
import type { Kind } from "../kube/object.ts";
import { resourcePath } from "../kube/resource.ts";
import { entriesOf } from "../objects/fields.ts";

const EVENTS: Kind = { group: "", version: "v1", name: "events", kind: "Event" };

/** The newest warning of the events about an object, or the newest with a reason; undefined where there is none, or none may be read. */
export async function newestWarning(
  kube: Kube,
  { namespace, uid, reason }: { namespace: string; uid: string; reason?: string },
  signal: AbortSignal,
): Promise<string | undefined> {
  const query = { fieldSelector: `involvedObject.uid=${uid},type=Warning` };
  const response = await kube.request({ path: resourcePath(EVENTS, namespace), query, signal });
  if (response.status >= 400) return undefined;
  const events = entriesOf(JSON.parse(response.body.toString("utf8")), "items");
  const newest = events.findLast((event) => reason === undefined || event.reason === reason);
  return (
    newest &&
    String(newest.message ?? "")
      .replace(/\s+/g, " ")
      .trim()
  );
}
