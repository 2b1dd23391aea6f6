import { listObjects } from "../once.ts";
import type { Bucket } from "../ports.ts";

/** What lies below one name: objects by their keys. */
export type Folder = Map<string, { size: number; modified: Date }>;

/** What lies below a prefix, by the part of the keys that follows it. */
export async function foldersIn(bucket: Bucket, prefix: string, signal?: AbortSignal): Promise<Map<string, Folder>> {
  const folders = new Map<string, Folder>();
  for await (const { key, size, modified } of listObjects(bucket, prefix, signal)) {
    const name = key.slice(prefix.length).split("/", 1)[0]!;
    const folder: Folder = folders.get(name) ?? new Map();
    folders.set(name, folder.set(key, { size, modified }));
  }
  return folders;
}

/** What lies below the same names in two places, together. */
export function joinFolders(some: Map<string, Folder>, others: Map<string, Folder>): Map<string, Folder> {
  const names = new Set([...some.keys(), ...others.keys()]);
  return new Map([...names].map((name) => [name, new Map([...(some.get(name) ?? []), ...(others.get(name) ?? [])])]));
}

/** How much lies in folders. */
export function sizeOf(...folders: (Folder | undefined)[]): { objects: number; bytes: number } {
  const objects = folders.flatMap((folder) => [...(folder?.values() ?? [])]);
  return { objects: objects.length, bytes: objects.reduce((sum, { size }) => sum + size, 0) };
}

/** When the newest object of a folder was stored. */
export function newestIn(folder: Folder): Date {
  return new Date(Math.max(...[...folder.values()].map(({ modified }) => modified.getTime())));
}
