import type { ItemId, KubernetesObject } from "../archive/item.ts";
import type { Kube } from "../kube/client.ts";
import { parseExact } from "../kube/json.ts";
import { getObject, listObjects } from "../kube/object.ts";
import type { Resource } from "../kube/resource.ts";
import { at } from "../objects/fields.ts";
import { CLAIMS, SNAPSHOT_CLASSES, VOLUMES } from "../objects/resources.ts";
import { claimsOf, mountsOf, OPT_IN, type PodVolume, podVolumes } from "../volumes/mounts.ts";
import type { VolumePolicy } from "../volumes/policies.ts";
import { type Mount, POD, VOLUME } from "../volumes/volume.ts";
import { PODS } from "./hooks.ts";

/** An object that is stored later: its bytes, and nothing that was parsed. */
export interface HeldObject {
  id: ItemId;
  resource: Resource;
  body: Buffer;
}

/** What a backup keeps of what it reads until the data of its claims are copied: no more of each object than that takes. */
export interface SeenVolumes {
  /** The claims that have a volume. */
  held: HeldObject[];
  /** PersistentVolumes by their names. */
  volumes: Map<string, KubernetesObject>;
  /** By the claim ("namespace/name"), running Pods first. */
  mounts: Map<string, Mount[]>;
  /** The name of a Pod that was not made ready, by the claims that it uses. */
  unprepared: Map<string, string>;
  /** Namespaces whose Pods were listed once more. */
  lookedInto: Map<string, Promise<void>>;
  /** Names of the VolumeSnapshotClasses that are stored. */
  classes: Set<string>;
}

/** The same as JSON, of a backup without hooks. Objects are JSON's text, in which numbers stay exact. */
export interface SeenState {
  held: { id: ItemId; resource: Resource; body: string }[];
  volumes: string[];
  mounts: [claim: string, mounts: Mount[]][];
  classes: string[];
}

/** Nothing seen yet, or what another has seen. */
export function seenVolumes(from?: SeenState): SeenVolumes {
  const volumes = from?.volumes.map((text) => parseExact(Buffer.from(text)) as KubernetesObject);
  return {
    held: from?.held.map(({ body, ...one }) => ({ ...one, body: Buffer.from(body) })) ?? [],
    volumes: new Map(volumes?.map((volume) => [volume.metadata.name, volume])),
    mounts: new Map(from?.mounts),
    unprepared: new Map(),
    lookedInto: new Map(),
    classes: new Set(from?.classes),
  };
}

export function seenState({ held, volumes, mounts, classes }: SeenVolumes): SeenState {
  return {
    held: held.map(({ body, ...one }) => ({ ...one, body: body.toString() })),
    volumes: [...volumes.values()].map((volume) => JSON.stringify(volume)),
    mounts: [...mounts],
    classes: [...classes],
  };
}

/** Takes account of an object that is about to be stored. True for a claim that has a volume, which is held. */
export function see(seen: SeenVolumes, { id, resource, body }: HeldObject): boolean {
  if (id.resource === SNAPSHOT_CLASSES) seen.classes.add(id.name);
  if (id.resource === VOLUMES) seen.volumes.set(id.name, lean(parseExact(body) as KubernetesObject));
  if (id.resource !== CLAIMS || !at(parseExact(body), "spec", "volumeName")) return false;
  seen.held.push({ id, resource, body: Buffer.from(body) });
  return true;
}

/** Pods without any of these have no volume to copy, and none that somebody wants to be copied. */
const MARKERS = ['"persistentVolumeClaim"', '"ephemeral"', OPT_IN].map((text) => Buffer.from(text));

/** Takes account of what an object mounts that is about to be stored, if it is a Pod. Gives what of it can't be copied though somebody wants it. */
export function seePod(seen: SeenVolumes, { id, body }: HeldObject, policies: VolumePolicy[]): PodVolume[] {
  if (id.resource !== PODS) return [];
  if (policies.length === 0 && !MARKERS.some((marker) => body.includes(marker))) return [];
  const pod = JSON.parse(body.toString()) as KubernetesObject;
  for (const one of mountsOf(pod)) addMount(seen, id.namespace, one);
  return podVolumes(pod, policies);
}

/** Takes account of a Pod that is not stored, since a pre-hook of it failed. */
export function seeUnprepared(seen: SeenVolumes, { namespace, name }: ItemId, body: Buffer): void {
  const pod = JSON.parse(body.toString()) as KubernetesObject;
  for (const claim of claimsOf(pod)) seen.unprepared.set(`${namespace}/${claim}`, name);
  for (const one of mountsOf(pod)) addMount(seen, namespace, one);
}

/** A held claim as its copy takes it. */
export function claimOf({ body }: HeldObject): KubernetesObject {
  return lean(parseExact(body) as KubernetesObject);
}

/** A PersistentVolume as a copy takes it, asked for where it was not seen; undefined where there is none. Throws as `getObject`. */
export async function volumeNamed(
  seen: SeenVolumes,
  name: string,
  kube: Kube,
  signal: AbortSignal,
): Promise<KubernetesObject | undefined> {
  const known = seen.volumes.get(name);
  if (known) return known;
  const found = await getObject(kube, VOLUME, { name }, signal);
  return found && lean(found);
}

/** What the Pods of a namespace mount, stored or not: whose files are read, and on which node, depends on it. Throws as `listObjects`. */
export function seeAllPods(seen: SeenVolumes, namespace: string, kube: Kube, signal: AbortSignal): Promise<void> {
  const looking = seen.lookedInto.get(namespace) ?? listMounts(seen, namespace, kube, signal);
  seen.lookedInto.set(namespace, looking);
  return looking;
}

async function listMounts(seen: SeenVolumes, namespace: string, kube: Kube, signal: AbortSignal): Promise<void> {
  const known = new Set(seen.mounts.keys());
  const found: ReturnType<typeof mountsOf> = [];
  for await (const pod of listObjects(kube, POD, { namespace, signal })) found.push(...mountsOf(pod));
  for (const one of found) if (!known.has(`${namespace}/${one.claim}`)) addMount(seen, namespace, one);
}

function addMount({ mounts }: SeenVolumes, namespace: string, { claim, mount }: ReturnType<typeof mountsOf>[number]) {
  const name = `${namespace}/${claim}`;
  const known = mounts.get(name) ?? [];
  mounts.set(name, mount.running ? [mount, ...known] : [...known, mount]);
}

/** An object without what no copy asks for, which is most of it: managed fields above all. */
function lean({ apiVersion, kind, metadata, spec, status }: KubernetesObject): KubernetesObject {
  const { name, namespace, uid, labels, annotations } = metadata;
  return { apiVersion, kind, metadata: { name, namespace, uid, labels, annotations }, spec, status };
}
