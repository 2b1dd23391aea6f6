import type { Objects, Scan } from "../apiserver/list.ts";
import type { ServedResource } from "../apiserver/resources.ts";
import { StatusError } from "../apiserver/status.ts";
import { objectKey } from "../apiserver/store.ts";
import type { IndexEntry } from "../archive/index.ts";
import { itemPath, itemsPath, type KubernetesObject } from "../archive/item.ts";
import type { Archive } from "../archive/reader.ts";
import { parseExact } from "../kube/json.ts";
import { readItem } from "../reading/find.ts";
import type { OpenBackup } from "../reading/open.ts";
import type { Holdings } from "./served.ts";

/**
 * A backup's objects as an API server shows them, each in the version in which it is stored, byte for byte. The index is
 * read for each question, bodies only of what may be wanted.
 */
export function backupObjects({ archive, withoutSecrets }: OpenBackup, { revision, sorted }: Holdings): Objects {
  function refuseSecrets(resource: ServedResource): void {
    if (resource.collection !== "secrets" || !withoutSecrets) return;
    const { message, hint } = withoutSecrets;
    throw new StatusError("Forbidden", `secrets is forbidden: ${message}${hint ? `; ${hint}` : ""}`);
  }

  return {
    revision: () => revision,
    async get(resource, namespace, name) {
      refuseSecrets(resource);
      const entry = await archive.find({ resource: resource.collection, namespace, name });
      if (entry?.version !== resource.version) return undefined;
      return parse(await readItem(archive, entry));
    },
    async *scan(resource, range) {
      refuseSecrets(resource);
      if (range.revision !== undefined && range.revision !== revision) {
        throw new StatusError("Expired", `the backup holds revision ${revision} alone, not ${range.revision}`);
      }
      const entries = entriesOf(archive, resource, range, sorted.has(resource.collection));
      for await (const { entry, body } of archive.read(entries, { passing: true }))
        yield { key: objectKey(entry.namespace, entry.name), object: parse(body) };
    },
  };
}

async function* entriesOf(
  archive: Archive,
  { collection: resource, version }: ServedResource,
  { namespace, after, likely = () => true }: Scan,
  sorted: boolean,
): AsyncGenerator<IndexEntry> {
  const within = [itemsPath(resource, namespace || undefined)];
  const from = after && sorted ? pathOf(resource, after) : undefined;
  const isOne = (id: { resource: string; namespace: string }) =>
    id.resource === resource && (namespace === "" || id.namespace === namespace);
  let passed = after === undefined;
  for await (const entry of archive.entries(isOne, { within, from })) {
    if (passed && entry.version === version && likely(entry)) yield entry;
    passed ||= objectKey(entry.namespace, entry.name) === after;
  }
}

/** How the paths of an item and of those after it begin, at least. */
function pathOf(resource: string, key: string): string {
  const [name = "", namespace = ""] = key.split("/").reverse();
  return itemPath({ resource, namespace, name }).replace(/\.json$/, "");
}

function parse(body: Buffer): KubernetesObject {
  return parseExact(body) as KubernetesObject;
}
