import { hash } from "node:crypto";
import type { KubernetesObject } from "../../archive/item.ts";
import { LifeboatError, messageOf } from "../../errors.ts";
import { deleteObject, getObject, patchObject } from "../../kube/object.ts";
import { resourcePath } from "../../kube/resource.ts";
import { snapshotForClaim } from "../../volumes/csi/restore.ts";
import { claimFromSnapshot } from "../../volumes/csi/stored.ts";
import { diskOf, withDisk } from "../../volumes/disk.ts";
import { restoreDisk, wholeHandle } from "../../volumes/native.ts";
import { endFills } from "../../volumes/restic/abandoned.ts";
import { fillClaim } from "../../volumes/restic/fill.ts";
import { CLAIM } from "../../volumes/volume.ts";
import { diskZone, type ItemData, type RestoreData } from "../data.ts";
import type { Applied } from "./apply.ts";
import { joined, readLive, type Sending } from "./sending.ts";
import { inherit } from "./settled.ts";
import { objectGone } from "./waits.ts";

/** Creates what `amend` makes of an object. */
export type Create = (amend?: (object: KubernetesObject) => KubernetesObject) => Promise<Applied>;

/** A claim or volume on its way to the target, with what the backup has of its data. */
interface Filling {
  one: Sending;
  data: ItemData;
  by: RestoreData;
  create: Create;
}

/** On a claim that exists and whose data are not all there yet: the name of the restore that brings them. */
export const FILLING = "lifeboat/filling";

/**
 * Creates a claim or a volume with the data that the backup has of it. Where they can't be had the step has failed, and neither
 * is there, so that no Pod starts on an empty one; the same restore run again brings them.
 */
export async function createFilled(filling: Filling): Promise<Applied> {
  const { one, data, by } = filling;
  const { namespace, name } = one.item;
  const claim = data.how === "csi" || data.how === "files" ? `${namespace}/${name}` : undefined;
  if (claim) by.lacking.add(claim);
  const applied = await HOW[data.how](filling);
  if (claim && applied.action !== "failed") by.lacking.delete(claim);
  if (applied.action === "created" && data.how !== "none") by.brought.push({ item: one.item, data });
  return applied;
}

const HOW: Record<ItemData["how"], (filling: Filling) => Promise<Applied>> = {
  csi: createOfSnapshot,
  files: createAndFill,
  native: createOnDisk,
  none: ({ create }) => create(),
};

async function createOfSnapshot({ one, data, by, create }: Filling): Promise<Applied> {
  const { namespace, name } = one.item;
  const { driver, snapshotHandle, restoreSize } = data.csi!;
  const from = { driver, snapshotHandle, restoreSize, snapshotName: snapshotHandle };
  const source = await snapshotForClaim(by.csi, { claim: { namespace, name }, from });
  return create((claim) => claimFromSnapshot(claim, source));
}

async function createAndFill({ one, data, by, create }: Filling): Promise<Applied> {
  const { item, applying } = one;
  const { kube, fixing, signal, target } = applying;
  const { restoreName } = fixing;
  const claim = { namespace: item.namespace, name: item.name };
  if (target.unfilled.has(`${claim.namespace}/${claim.name}`)) {
    await endFills(kube, by.files!, { claim, restoreName, signal });
    await removeUnfilled(one);
  }
  const marked = { [FILLING]: restoreName };
  const place = `${claim.namespace}/${claim.name}`;
  const applied = await create(({ metadata, ...object }) => ({
    ...object,
    metadata: { ...metadata, annotations: { ...metadata.annotations, ...marked } },
  }));
  if (applied.action !== "created") return applied;
  by.filling.add(place);
  try {
    const placement = by.placements.get(place);
    const files = { claim, from: data.files!, restoreName, placement, sparse: by.sparse, signal };
    const { warnings } = await by.limit(() => fillClaim(kube, by.files!, files));
    const lacks = await inherit(kube, claim, data, signal);
    await patchObject(kube, CLAIM, claim, { metadata: { annotations: { [FILLING]: null } } }, signal);
    by.filling.delete(place);
    const warning = applied.warning || warnings.length > 0 || lacks !== undefined;
    return { ...applied, reason: joined(applied.reason, ...warnings, lacks), warning };
  } catch (error) {
    signal.throwIfAborted();
    await removeUnfilled(one);
    by.filling.delete(place);
    const reason = `its data could not be brought back, so it was taken away again: ${messageOf(error)}`;
    return { action: "failed", reason: joined(applied.reason, reason) };
  }
}

/** Takes away a claim that this restore made and that has not all of its data. */
async function removeUnfilled({ item, applying }: Sending): Promise<void> {
  const { kube, fixing, signal } = applying;
  const place = { namespace: item.namespace, name: item.name };
  const { uid = "", annotations } = (await getObject(kube, CLAIM, place, signal))?.metadata ?? {};
  if (annotations?.[FILLING] !== fixing.restoreName) return;
  await deleteObject(kube, CLAIM, { ...place, uid }, signal);
  const stays = await objectGone(applying, resourcePath(CLAIM, place.namespace, place.name), uid);
  if (stays) throw new LifeboatError("conflict", `it has not all of its data, and could not be taken away: ${stays}`);
}

async function createOnDisk({ one, data, by, create }: Filling): Promise<Applied> {
  const { item, body, applying } = one;
  const { fixing, target, signal } = applying;
  const disk = diskOf(JSON.parse(body.toString()) as KubernetesObject);
  const open = disk && by.disks?.[disk.cloud];
  const native = { ...data.native!, snapshotHandle: wholeHandle(data.native!.snapshotHandle, disk?.id ?? "") };
  if (!open) return { action: "failed", reason: `no disk can be made here of the snapshot ${native.snapshotHandle}` };
  const place = diskZone(by, { item, zones: target.zones, restoreName: fixing.restoreName });
  if (!place || "reason" in place) return { action: "failed", reason: place?.reason };
  const { zone } = place;
  const disks = await open();
  const name = `lifeboat-${hash("sha256", `${fixing.restoreName}/${item.name}`, "hex").slice(0, 32)}`;
  const tags = { "velero.io/pv": item.name, "velero.io/restore": fixing.restoreName };
  const id = await restoreDisk(disks, native, { name, zone, node: target.providerId, tags, signal });
  const applied = await create((volume) => {
    withDisk(volume, id, zone);
    return volume;
  });
  if (applied.action === "created") return applied;
  const live = await readLive(one);
  // The answer was lost, and what came of it was taken for somebody else's.
  if (live && diskOf(live)?.id === id) return { action: "created", uid: live.metadata.uid };
  await disks.remove({ id, zone }, signal);
  return applied;
}
