import { createReadStream } from "node:fs";
import { createGunzip } from "node:zlib";
import { extract } from "tar-stream";
import type { KubeObject } from "../rig/api.ts";
import type { Cluster } from "../rig/cluster.ts";

/** Objects by "resource namespace/name", as the tests compare them. */
export type Objects = Map<string, KubeObject>;

interface ApiGroupList {
  groups: { name: string; preferredVersion: { groupVersion: string } }[];
}
interface ApiResourceList {
  resources: { name: string; namespaced: boolean; kind: string; verbs: string[] }[];
}

/**
 * What a whole backup must hold, by an account of its own: every resource of a preferred version that can be listed,
 * created, read and deleted, cohabiting ones once, listed through `kubectl get --raw` at exactly `revision`.
 */
export async function objectsAt(cluster: Cluster, revision: string): Promise<Objects> {
  const raw = async <T>(path: string) => JSON.parse(await cluster.kubectl(["get", "--raw", path])) as T;
  const { groups } = await raw<ApiGroupList>("/apis");
  const roots = ["/api/v1", ...groups.map(({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`)];
  const objects: Objects = new Map();
  for (const root of roots.filter((root) => !root.startsWith("/apis/events.k8s.io/"))) {
    const group = root === "/api/v1" ? "" : `.${root.split("/")[2]}`;
    const { resources } = await raw<ApiResourceList>(root);
    for (const { name, kind, verbs } of resources) {
      if (name.includes("/") || !["list", "create", "get", "delete"].every((verb) => verbs.includes(verb))) continue;
      const query = `resourceVersion=${revision}&resourceVersionMatch=Exact`;
      const list = await raw<{ items: KubeObject[]; apiVersion: string }>(`${root}/${name}?${query}`);
      for (const item of list.items) {
        const key = `${name}${group} ${item.metadata.namespace ? `${item.metadata.namespace}/` : ""}${item.metadata.name}`;
        objects.set(key, { ...item, apiVersion: list.apiVersion, kind });
      }
    }
  }
  return objects;
}

/** The objects of an archive, read by tar-stream alone; throws where the two paths of an item differ. */
export async function objectsIn(archive: string): Promise<Objects> {
  const classic: Objects = new Map();
  const preferred: Objects = new Map();
  const tar = createReadStream(archive).pipe(createGunzip()).pipe(extract());
  for await (const entry of tar) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const [root, resource, ...rest] = entry.header.name.split("/");
    if (root !== "resources") continue;
    const versioned = rest[0]?.endsWith("-preferredversion");
    const place = (versioned ? rest.slice(2) : rest.slice(1)).join("/").replace(/\.json$/, "");
    const objects = versioned ? preferred : classic;
    const key = `${resource} ${place}`;
    if (objects.has(key)) throw new Error(`${key} is in the archive twice`);
    objects.set(key, JSON.parse(Buffer.concat(chunks).toString()) as KubeObject);
  }
  if (classic.size !== preferred.size)
    throw new Error(`${classic.size} classic paths, ${preferred.size} versioned ones`);
  return classic;
}

/** The live names of one resource as "namespace/name", sorted. */
export async function names(cluster: Cluster, path: string): Promise<string[]> {
  const { items } = await cluster.api.request<{ items: KubeObject[] } & KubeObject>("GET", path);
  return items.map(({ metadata }) => `${metadata.namespace ?? ""}/${metadata.name}`).sort();
}
