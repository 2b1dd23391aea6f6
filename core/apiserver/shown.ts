import type { KubernetesObject } from "../archive/item.ts";
import { resourceApiVersion } from "../kube/resource.ts";
import { accepted } from "./discovery.ts";
import type { ServedResource } from "./resources.ts";
import { type Table, tableOf } from "./table.ts";

/** How a request wants objects to be shown: as they are, their metadata alone, or as rows of a table. */
export interface Presentation {
  as: "object" | "metadata" | "table";
  resource: ServedResource;
  table: Table;
  /** Of what goes with each row of a table. */
  include: string;
}

/** Reads how a request wants objects to be shown. `now`: when it is, for ages. */
export function shownAs(
  call: { accept: string; query: URLSearchParams },
  resource: ServedResource,
  now: () => Date,
): Presentation {
  const [wanted = ""] = accepted(call.accept, "meta.k8s.io", "v1");
  const as = wanted === "Table" ? "table" : wanted.startsWith("PartialObjectMetadata") ? "metadata" : "object";
  return { as, resource, table: tableOf(resource, now), include: call.query.get("includeObject") || "Metadata" };
}

/** One object. */
export function showOne(shown: Presentation, object: KubernetesObject): object {
  if (shown.as === "object") return object;
  if (shown.as === "metadata") return metadataOf(object);
  const { resourceVersion } = object.metadata;
  return { ...TABLE, metadata: { resourceVersion }, ...columnsOf(shown), rows: [rowOf(shown, object)] };
}

/** A list, in pieces; `metadata` may get more while the objects come. Items of built-in kinds come without their type. */
export async function* showList(
  shown: Presentation,
  objects: AsyncIterable<KubernetesObject>,
  metadata: object,
): AsyncGenerator<string> {
  const { as, resource } = shown;
  const head = {
    object: { kind: resource.listKind, apiVersion: resourceApiVersion(resource) },
    metadata: { kind: "PartialObjectMetadataList", apiVersion: "meta.k8s.io/v1" },
    table: { ...TABLE, ...columnsOf(shown) },
  }[as];
  const items: Record<Presentation["as"], (object: KubernetesObject) => object> = {
    object: resource.custom ? (object) => object : ({ apiVersion, kind, ...rest }) => rest,
    metadata: metadataOf,
    table: (object) => rowOf(shown, object),
  };
  yield `${JSON.stringify(head).slice(0, -1)},"${as === "table" ? "rows" : "items"}":[`;
  let comma = "";
  for await (const object of objects) {
    yield `${comma}${JSON.stringify(items[as](object))}`;
    comma = ",";
  }
  yield `],"metadata":${JSON.stringify(metadata)}}`;
}

const TABLE = { kind: "Table", apiVersion: "meta.k8s.io/v1" };

function columnsOf({ table }: Presentation): object {
  return { columnDefinitions: table.columns };
}

function rowOf({ table, include }: Presentation, object: KubernetesObject): object {
  const cells = table.cells(object);
  if (include === "None") return { cells };
  return { cells, object: include === "Object" ? object : metadataOf(object) };
}

function metadataOf({ metadata }: KubernetesObject): object {
  return { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata };
}
