import { createHash } from "node:crypto";
import { pack } from "tar-stream";
import { type ItemId, itemFacts, type KubernetesObject } from "../../core/archive/item.ts";
import { type ArchiveState, type ArchiveWriter, together, writeArchive } from "../../core/archive/writer.ts";
import type { Bucket } from "../../core/ports.ts";

export const KEYS = { tar: "backups/b/b.tar.gz", index: "backups/b/b-index.json.gz" };
export const MTIME = new Date("2026-01-02T03:04:05.678Z");

export interface SampleItem {
  id: ItemId;
  version: string;
  body: Buffer;
}

/** A ConfigMap ("" as namespace: a ClusterRole) with `data` in it. */
export function sampleItem(namespace: string, name: string, data = ""): SampleItem {
  const resource = namespace === "" ? "clusterroles.rbac.authorization.k8s.io" : "configmaps";
  const object = {
    apiVersion: namespace === "" ? "rbac.authorization.k8s.io/v1" : "v1",
    kind: namespace === "" ? "ClusterRole" : "ConfigMap",
    metadata: {
      labels: { app: "a" },
      name,
      namespace: namespace || undefined,
      resourceVersion: "7",
      uid: `uid-${name}`,
    },
    data: { data },
  };
  return { id: { resource, namespace, name }, version: "v1", body: Buffer.from(JSON.stringify(object)) };
}

/** Text that compresses badly, the same for the same seed. */
export function noise(length: number, seed: number): string {
  return createHash("shake256", { outputLength: length }).update(String(seed)).digest("base64").slice(0, length);
}

/** Items that fill some segments. */
export function manyItems(count: number, size = 20_000): SampleItem[] {
  return Array.from({ length: count }, (_, i) => sampleItem(`ns-${i % 3}`, `item-${i}`, noise(size, i)));
}

/** Writes an archive with its index and gives the bytes of both. */
export async function write(items: Iterable<SampleItem>, files: Record<string, string> = {}) {
  const writer = writeArchive({ mtime: MTIME });
  const tar = collect(writer.tar);
  const index = collect(writer.index);
  const fill = (async () => {
    for (const [path, text] of Object.entries(files)) await writer.file(path, Buffer.from(text));
    for (const item of items) await writer.item({ ...item, facts: itemFacts(objectOf(item)) });
    return await writer.finish();
  })();
  await together(writer, [tar, index, fill]);
  return { tar: await tar, index: await index, totals: await fill };
}

/** As `write`, by a writer that pauses after as many items as each of `stops` says, and by those that go on. */
export async function writeCut(items: SampleItem[], stops: number[]) {
  const tars: Buffer[] = [];
  const indexes: Buffer[] = [];
  let from: ArchiveState | undefined;
  let done = 0;
  const take = async <T>(count: number, end: (writer: ArchiveWriter) => Promise<T>): Promise<T> => {
    const writer = writeArchive({ mtime: MTIME, from });
    const fill = (async () => {
      for (const item of items.slice(done, count)) await writer.item({ ...item, facts: itemFacts(objectOf(item)) });
      done = count;
      return await end(writer);
    })();
    const streams = [collect(writer.tar), collect(writer.index)] as const;
    await together(writer, [...streams, fill]);
    tars.push(await streams[0]);
    indexes.push(await streams[1]);
    return fill;
  };
  for (const stop of stops.toSorted((a, b) => a - b))
    from = JSON.parse(JSON.stringify(await take(stop, (writer) => writer.pause())));
  const totals = await take(items.length, (writer) => writer.finish());
  return { tar: Buffer.concat(tars), index: Buffer.concat(indexes), totals };
}

export function objectOf(item: SampleItem): KubernetesObject {
  return JSON.parse(item.body.toString());
}

export async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream));
}

/** A tar of files and, where a name ends with a slash, folders, as others than us write it. */
export async function tarOf(files: Record<string, string>): Promise<Buffer> {
  const archive = pack();
  for (const [name, text] of Object.entries(files)) {
    if (name.endsWith("/")) archive.entry({ name, type: "directory" });
    else archive.entry({ name, mode: 0o755 }, text);
  }
  archive.finalize();
  return await collect(archive as unknown as AsyncIterable<Buffer>);
}

/** Puts what there is of an archive below KEYS. */
export async function put(bucket: Bucket, archive: { tar?: Buffer; index?: Buffer }): Promise<Bucket> {
  if (archive.tar) await bucket.put(KEYS.tar, archive.tar);
  if (archive.index) await bucket.put(KEYS.index, archive.index);
  return bucket;
}

/** `bytes` as a stream of chunks of `size`. */
export async function* streamOf(bytes: Buffer, size = 50_000): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}
