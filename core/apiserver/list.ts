import { resourceApiVersion } from "../kube/resource.ts";
import { present } from "./objects.ts";
import type { Served } from "./resources.ts";
import { fieldSelector, labelSelector } from "./selectors.ts";
import { invalid, StatusError } from "./status.ts";
import type { Store } from "./store.ts";

/** Where a paged list goes on: after that key, at that revision. */
interface Continue {
  rv: number;
  start: string;
}

/**
 * A LIST's answer. `limit` cuts it into pages that all show the first one's revision; with
 * `resourceVersionMatch=Exact` it shows exactly `resourceVersion`. Items of built-in kinds come without apiVersion and
 * kind, as the real server sends them. BadRequest or Invalid for a wrong token, selector or combination; Timeout for a
 * revision that is not reached yet.
 */
export function list(store: Store, resource: Served, namespace: string, query: URLSearchParams): object {
  const selected = labelSelector(query.get("labelSelector") ?? "");
  const fielded = fieldSelector(query.get("fieldSelector") ?? "", resource.collection);
  const limit = wholeNumber(query, "limit") || Number.POSITIVE_INFINITY;
  const from = query.get("continue") ? parseContinue(query.get("continue")!, query) : undefined;
  const revision = from?.rv ?? exactRevision(store, query) ?? store.revision();
  const prefix = namespace === "" ? "" : `${namespace}/`;

  const items: object[] = [];
  const metadata: Record<string, unknown> = { resourceVersion: String(revision) };
  let last = "";
  let remaining = 0;
  for (const { key, object } of store.scan(resource.collection, { prefix, after: from?.start, revision })) {
    if (!selected(object) || !fielded(object)) continue;
    if (items.length === limit) {
      remaining += 1;
      continue;
    }
    items.push(listed(resource, present(resource, object)));
    last = key;
  }
  if (remaining > 0) {
    const token: Continue = { rv: revision, start: last };
    metadata.continue = Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", ...token })).toString("base64url");
    if (!query.get("labelSelector") && !query.get("fieldSelector")) metadata.remainingItemCount = remaining;
  }
  return { kind: resource.listKind, apiVersion: resourceApiVersion(resource), metadata, items };
}

function listed(resource: Served, object: object & { apiVersion: string; kind: string }): object {
  if (resource.custom) return object;
  const { apiVersion, kind, ...rest } = object;
  return rest;
}

const LIST_OPTIONS = { group: "meta.k8s.io", name: "", kind: "ListOptions" };

function exactRevision(store: Store, query: URLSearchParams): number | undefined {
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
  if (wanted !== undefined && wanted > store.revision()) {
    const message = `Too large resource version: ${wanted}, current: ${store.revision()}`;
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
