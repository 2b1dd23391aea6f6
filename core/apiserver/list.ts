import type { KubernetesObject } from "../archive/item.ts";
import type { ServedResource } from "./resources.ts";
import { fieldSelector, labelSelector, selectedName } from "./selectors.ts";
import { type Presentation, showList } from "./shown.ts";
import { invalid, StatusError } from "./status.ts";

/** The objects that a server shows. */
export interface Objects {
  /** The revision of the newest of them. */
  revision(): number;
  get(
    resource: ServedResource,
    namespace: string,
    name: string,
  ): KubernetesObject | undefined | Promise<KubernetesObject | undefined>;
  /** In an order that stays; each with a key that tells its place in it. May throw a StatusError. */
  scan(resource: ServedResource, range: Scan): Iterable<Keyed> | AsyncIterable<Keyed>;
  /** How many a scan gives, where that is cheap to tell. */
  count?(resource: ServedResource, range: Scan): number;
}

/** An object with its key. */
export interface Keyed {
  key: string;
  object: KubernetesObject;
}

/** Which of a resource's objects. */
export interface Scan {
  /** "" for all. */
  namespace: string;
  /** Only those that come after this key. */
  after?: string;
  /** As they were at this revision. */
  revision?: number;
  /** Which may be wanted, by what is known without looking into them; others need not be given. */
  likely?: (facts: Pick<KubernetesObject["metadata"], "name" | "labels">) => boolean;
}

/** Where a paged list goes on: after that key, at that revision. */
interface Continue {
  rv: number;
  start: string;
}

/**
 * A LIST's answer, in pieces. `limit` cuts it into pages that all show the first one's revision; with
 * `resourceVersionMatch=Exact` it shows exactly `resourceVersion`. Items of built-in kinds come without apiVersion and
 * kind, as the real server sends them. BadRequest or Invalid for a wrong token, selector or combination; Timeout for a
 * revision that is not reached yet.
 */
export async function* list(
  objects: Objects,
  resource: ServedResource,
  namespace: string,
  query: URLSearchParams,
  shown: Presentation,
): AsyncGenerator<string> {
  const limit = wholeNumber(query, "limit") || Number.POSITIVE_INFINITY;
  const from = query.get("continue") ? parseContinue(query.get("continue")!, query) : undefined;
  const revision = from?.rv ?? exactRevision(objects, query) ?? objects.revision();
  const metadata: Record<string, unknown> = { resourceVersion: String(revision) };

  async function* page(): AsyncGenerator<KubernetesObject> {
    let items = 0;
    let last = "";
    for await (const { key, object } of selected(objects, resource, namespace, query, {
      after: from?.start,
      revision,
    })) {
      if (items === limit) {
        const token: Continue = { rv: revision, start: last };
        metadata.continue = Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", ...token })).toString("base64url");
        if (query.get("labelSelector") || query.get("fieldSelector")) return;
        metadata.remainingItemCount = objects.count?.(resource, { namespace, after: last, revision });
        return;
      }
      items += 1;
      last = key;
      yield object;
    }
  }
  yield* showList(shown, page(), metadata);
}

/** The objects that a query's selectors select. */
export async function* selected(
  objects: Objects,
  resource: ServedResource,
  namespace: string,
  query: URLSearchParams,
  range: Omit<Scan, "namespace" | "likely"> = {},
): AsyncGenerator<Keyed> {
  const labelled = labelSelector(query.get("labelSelector") ?? "");
  const fields = query.get("fieldSelector") ?? "";
  const fielded = fieldSelector(fields, resource.collection);
  const only = selectedName(fields);
  const likely: Scan["likely"] = ({ name, labels }) =>
    (only === undefined || name === only) && labelled({ metadata: { labels } });
  for await (const keyed of objects.scan(resource, { ...range, namespace, likely }))
    if (labelled(keyed.object) && fielded(keyed.object)) yield keyed;
}

const LIST_OPTIONS = { group: "meta.k8s.io", name: "", kind: "ListOptions" };

function exactRevision(objects: Objects, query: URLSearchParams): number | undefined {
  const match = query.get("resourceVersionMatch") ?? "";
  const wanted = wholeNumber(query, "resourceVersion");
  const refuse = (why: string) => invalid(LIST_OPTIONS, "", "resourceVersionMatch", why);
  if (match !== "" && wanted === undefined) {
    throw refuse("Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided");
  }
  if (match !== "" && match !== "Exact" && match !== "NotOlderThan") {
    throw refuse(`NotSupported value: "${match}": supported values: "Exact", "NotOlderThan"`);
  }
  if (match === "Exact" && wanted === 0) {
    throw refuse('Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
  }
  if (wanted !== undefined && wanted > objects.revision()) {
    const message = `Too large resource version: ${wanted}, current: ${objects.revision()}`;
    throw new StatusError("Timeout", message, { causes: [{ reason: "ResourceVersionTooLarge", message }] });
  }
  return match === "Exact" ? wanted : undefined;
}

function wholeNumber(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name) ?? "";
  if (text === "") return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new StatusError("BadRequest", `${name}: Invalid value: "${text}": not a number`);
  return Number(text);
}

function parseContinue(token: string, query: URLSearchParams): Continue {
  if (query.get("resourceVersion")) {
    throw new StatusError("BadRequest", "specifying resource version is not allowed when using continue");
  }
  try {
    const { rv, start } = JSON.parse(Buffer.from(token, "base64url").toString());
    if (Number.isSafeInteger(rv) && typeof start === "string") return { rv, start };
  } catch {
    // Not a token of this server: the answer below says so.
  }
  throw new StatusError("BadRequest", `continue key is not valid: ${token.slice(0, 80)}`);
}
