import { compareKeys } from "../bucket.ts";
import { release } from "../release.ts";
import { expectOk, type Kube } from "./client.ts";
import { listItems } from "./json.ts";
import { type Resource, resourceApiVersion, resourceKey, resourcePath } from "./resource.ts";
import { parseStatus } from "./status.ts";

/** One page of a list. */
export interface ListPage {
  /** Each item's bytes exactly as the server sent them, but with `apiVersion` and `kind` where it left them out. */
  items: Buffer[];
  /** The revision this page shows. */
  resourceVersion: string;
  /** How many items follow, where the server says so. */
  remaining: number | undefined;
  /** Where the next page begins; absent at the last one. */
  next?: ListPosition;
}

/** A place in a list, as JSON: the server's token, and the key of the item before it. */
export interface ListPosition {
  continue: string;
  after: string;
}

/** Asks for objects of which only their metadata is told; a server that can't do that gives whole ones. */
export const METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

const PAGE_ITEMS = 250;
/** Pages that turn out larger than this make the following ones ask for fewer items. */
const PAGE_BYTES = 4 << 20;
/** A server that calls every continuation expired gives no list at all: give up after this many in a row. */
const MAX_EXPIRED = 3;

/**
 * Lists a resource page by page, of at most `limit` (250) items and, as far as can be foreseen, 4 MiB; yields at least
 * one page. With `resourceVersion`, the list is asked for as it was at exactly that revision.
 *
 * Continuations expire (410) when their revision is compacted away. The list then goes on at a newer revision with the
 * token the server offers for that, or, without one, begins anew and leaves out what was already given: items come in
 * the order of their keys, "namespace/name". Whether a page's `resourceVersion` is the one asked for is the caller's
 * to judge. `from`: where an earlier list of the same got to, in place of its beginning. Throws what `request` and `expectOk` throw: `conflict` where the revision is gone from the start (410).
 */
export async function* listPages(
  kube: Kube,
  resource: Pick<Resource, "group" | "version" | "name" | "kind">,
  options: {
    namespace?: string;
    labelSelector?: string;
    fieldSelector?: string;
    resourceVersion?: string;
    from?: ListPosition;
    limit?: number;
    /** In place of whole objects: `METADATA_ONLY`. */
    accept?: string;
    signal?: AbortSignal;
  } = {},
): AsyncGenerator<ListPage, void, undefined> {
  const { namespace, labelSelector, fieldSelector, resourceVersion, accept, signal } = options;
  const type = { apiVersion: resourceApiVersion(resource), kind: resource.kind };
  const path = resourcePath(resource, namespace);
  const most = options.limit ?? PAGE_ITEMS;
  let limit = most;
  const exact = resourceVersion === undefined ? {} : { resourceVersion, resourceVersionMatch: "Exact" as const };
  let from: { continue?: string; resourceVersion?: string; resourceVersionMatch?: "Exact" } = options.from
    ? { continue: options.from.continue }
    : exact;
  let lastKey = options.from?.after ?? "";
  let given = "";
  for (let expired = 0; ; ) {
    const query = { labelSelector, fieldSelector, limit: String(limit), ...from };
    const response = await kube.request({ path, query, accept, signal });
    if (response.status === 410 && from.continue && expired++ < MAX_EXPIRED) {
      const token = parseStatus(response.body).metadata?.continue;
      from = token ? { continue: token } : {};
      if (!token) given = lastKey;
      continue;
    }
    const { body } = expectOk(response, `list ${resourceKey(resource)}`);
    const bytes = body.length;
    const list = listItems(body, type);
    release(body);
    const items = given ? list.items.filter((item) => compareKeys(itemKey(item), given) > 0) : list.items;
    if (items.length > 0) {
      expired = 0;
      given = "";
      if (list.continue) lastKey = itemKey(items.at(-1)!);
    }
    const fitting = Math.floor((PAGE_BYTES * list.items.length) / bytes);
    if (list.items.length > 0) limit = Math.max(1, Math.min(most, fitting));
    from = { continue: list.continue };
    const next = list.continue && { next: { continue: list.continue, after: lastKey } };
    yield { items, resourceVersion: list.resourceVersion, remaining: list.remaining, ...next };
    if (!from.continue) return;
  }
}

/** The end of the object's key in etcd: lists are sorted by its bytes. */
function itemKey(item: Buffer): string {
  const { namespace, name } = JSON.parse(item.toString("utf8")).metadata;
  return namespace ? `${namespace}/${name}` : name;
}
