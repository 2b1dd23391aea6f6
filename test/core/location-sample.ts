import { basename } from "node:path/posix";
import { gzipSync } from "node:zlib";
import { builtIn, definedResources } from "../../core/apiserver/resources.ts";
import { digestingIndex } from "../../core/archive/index.ts";
import { type ItemId, itemFacts, itemPath, type KubernetesObject } from "../../core/archive/item.ts";
import { HEADER_FILE, OUTCOME_FILE, together, writeArchive } from "../../core/archive/writer.ts";
import { type ArchiveHeader, type ArchiveOutcome, backupRecord } from "../../core/backup/record.ts";
import { writeSideFile } from "../../core/contents.ts";
import { sealRecord } from "../../core/integrity/seal.ts";
import { resourceApiVersion, resourceKey } from "../../core/kube/resource.ts";
import { backupKeys } from "../../core/layout.ts";
import type { Bucket } from "../../core/ports.ts";
import { type VolumeRecord, volumeInfos } from "../../core/volumes/record.ts";
import { tarOf } from "./archive-sample.ts";

/** What a backup says beside its objects. */
export interface SampleBackup {
  at?: string;
  spec?: ArchiveHeader["spec"];
  labels?: Record<string, string>;
  cluster?: string;
  errors?: ArchiveOutcome["errors"];
  /** What became of the data of claims; its side file is put then. */
  volumes?: VolumeRecord[];
}

/** Commits a backup of the objects as a run would, without side files. Their kinds are built in, or defined by one of them. */
export async function putBackup(
  bucket: Bucket,
  name: string,
  objects: KubernetesObject[],
  { at = "2026-11-01T00:00:00Z", spec = {}, labels, cluster, errors = [], volumes }: SampleBackup = {},
): Promise<void> {
  const header: ArchiveHeader = {
    schemaVersion: 1,
    run: name,
    startTimestamp: at,
    resourceVersion: "1000",
    source: { gitVersion: "v1.36.3", major: "1", minor: "36" },
    spec,
    labels,
    cluster,
  };
  const items = itemsOf(objects);
  const consistency = { grade: "exact" as const, resourceVersion: header.resourceVersion, exceptions: [] };
  const outcome: ArchiveOutcome = {
    ...{ schemaVersion: 1, consistency, items: items.length, bytes: 0 },
    ...{ warnings: [], errors, ...(volumes && { volumes }) },
  };
  const writer = writeArchive({ mtime: new Date(at) });
  const fill = async () => {
    await writer.file(HEADER_FILE, Buffer.from(JSON.stringify(header)));
    for (const { id, object } of items) {
      const body = Buffer.from(JSON.stringify(object));
      await writer.item({ id, version: object.apiVersion.split("/").at(-1)!, body, facts: itemFacts(object) });
    }
    if (volumes) await writer.file(OUTCOME_FILE, Buffer.from(JSON.stringify(outcome)));
    await writer.finish();
  };
  const keys = backupKeys(name);
  const index = digestingIndex(writer.index);
  await together(writer, [bucket.put(keys.tar, writer.tar), bucket.put(keys.index, index.bytes), fill()]);
  const record = backupRecord(
    name,
    { header, outcome },
    { completedAt: new Date(Date.parse(at) + 2000), location: bucket.location },
  );
  const info = volumes && (await writeSideFile(bucket, keys.volumeInfo, JSON.stringify(volumeInfos([], volumes))));
  const files = info ? { [basename(keys.volumeInfo)]: info } : {};
  const { body } = await sealRecord(record, { files, indexEnd: index.digests().end });
  await bucket.put(keys.metadata, body);
}

/** Commits a backup as Velero would have made it, without side files. */
export async function putVelero(
  bucket: Bucket,
  name: string,
  objects: KubernetesObject[],
  { at = "2026-11-01T00:00:00Z", phase = "Completed" } = {},
): Promise<void> {
  const files = itemsOf(objects).map(({ id, object }) => [itemPath(id), JSON.stringify(object)] as const);
  const tar = await tarOf(Object.fromEntries([["metadata/version", "1.1.0\n"], ...files]));
  const status = { phase, formatVersion: "1.1.0", startTimestamp: at };
  const record = { apiVersion: "velero.io/v1", kind: "Backup", metadata: { name }, spec: {}, status };
  await bucket.put(backupKeys(name).tar, gzipSync(tar));
  await bucket.put(backupKeys(name).metadata, Buffer.from(JSON.stringify(record)));
}

/** The objects with what they are called in an archive, in its order. */
function itemsOf(objects: KubernetesObject[]): { id: ItemId; object: KubernetesObject }[] {
  const served = [...builtIn, ...objects.flatMap(definedResources)];
  const items = objects.map((object) => {
    const { apiVersion, kind, metadata } = object;
    const resource = served.find((one) => one.kind === kind && resourceApiVersion(one) === apiVersion)!;
    return {
      id: { resource: resourceKey(resource), namespace: metadata.namespace ?? "", name: metadata.name },
      object,
    };
  });
  const place = ({ resource, namespace, name }: ItemId) => `${resource} ${namespace}/${name}`;
  return items.sort((a, b) => (place(a.id) < place(b.id) ? -1 : 1));
}

/** A CustomResourceDefinition with the short name "wd". */
export const WIDGETS: KubernetesObject = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.example.com", uid: "uid-widgets" },
  spec: {
    group: "example.com",
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList", shortNames: ["wd"] },
    versions: [{ name: "v1", served: true, storage: true }],
  },
};
