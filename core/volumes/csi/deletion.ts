import pLimit from "p-limit";
import { sha256 } from "../../archive/gzip.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError, LifeboatError } from "../../errors.ts";
import { createObject, deleteObject, patchObject } from "../../kube/object.ts";
import { resourceApiVersion } from "../../kube/resource.ts";
import { at } from "../../objects/fields.ts";
import { groupKinds, groupVersion, NO_GROUPS } from "./groups.ts";
import { DELETION_SECRET_NAME, DELETION_SECRET_NAMESPACE, errorOf } from "./kinds.ts";
import { removeContent } from "./removal.ts";
import { type CsiRun, lookingAt } from "./run.ts";

/** A snapshot in the storage that no object of a cluster stands for. */
export interface StoredSnapshot {
  driver: string;
  snapshotHandle: string;
  /** Of the group that it was taken with: drivers delete its members together. */
  groupHandle?: string;
  /** Where its driver's secret is, if it needs one to delete it. */
  secret?: { namespace: string; name: string };
}

/** The snapshot that a stored VolumeSnapshotContent stood for, ours or Velero's; undefined for one that never had any. */
export function storedSnapshot(content: KubernetesObject): StoredSnapshot | undefined {
  const snapshotHandle = at(content, "status", "snapshotHandle");
  if (typeof snapshotHandle !== "string") return undefined;
  const groupHandle = at(content, "status", "volumeGroupSnapshotHandle");
  const { [DELETION_SECRET_NAME]: name, [DELETION_SECRET_NAMESPACE]: namespace } = content.metadata.annotations ?? {};
  return {
    ...{ driver: String(at(content, "spec", "driver")), snapshotHandle },
    ...(typeof groupHandle === "string" && { groupHandle }),
    ...(name && namespace && { secret: { namespace, name } }),
  };
}

const AT_ONCE = 8;

/**
 * Deletes the snapshots of one backup by the drivers' handles, groups as wholes: all of its members must be given. Gives those
 * that could not be deleted, with the reason. Throws only where `signal` aborts.
 */
export async function deleteSnapshots(
  run: CsiRun,
  snapshots: StoredSnapshot[],
  signal: AbortSignal,
): Promise<{ snapshot: StoredSnapshot; error: unknown }[]> {
  const together = Map.groupBy(snapshots, ({ driver, snapshotHandle, groupHandle }) =>
    groupHandle === undefined ? `snapshot ${driver}/${snapshotHandle}` : `group ${driver}/${groupHandle}`,
  );
  const failed = await pLimit(AT_ONCE).map(together.values(), async (members) => {
    try {
      await (members[0]!.groupHandle === undefined
        ? deleteByHandle(run, members[0]!, signal)
        : deleteGroup(run, members, signal));
      return [];
    } catch (error) {
      signal.throwIfAborted();
      return members.map((snapshot) => ({ snapshot, error }));
    }
  });
  return failed.flat();
}

/**
 * Deletes a snapshot by the driver's handle, as Velero does with a backup (velero internal/delete/actions/csi): a content is
 * made anew for a VolumeSnapshot that never will be, with the policy Delete, and deleted once the driver has looked at it, for
 * which Velero waits 2 s: snapshots of contents that it never saw stay. Gives "absent" where the driver says that it has
 * no such snapshot. Throws what the API server answers, `missing` where the cluster doesn't know snapshots, `unreachable`
 * with the driver's error, `timeout`.
 */
export function deleteByHandle(
  run: CsiRun,
  { driver, snapshotHandle, secret }: StoredSnapshot,
  signal: AbortSignal,
): Promise<"deleted" | "absent"> {
  const wanted = { driver, handle: snapshotHandle, secret, source: { snapshotHandle }, reference: "volumeSnapshotRef" };
  return deleteContent(run, wanted, signal);
}

/** Deletes a group of snapshots, by all of its members. As `deleteByHandle`. */
export async function deleteGroup(
  run: CsiRun,
  members: StoredSnapshot[],
  signal: AbortSignal,
): Promise<"deleted" | "absent"> {
  const { driver, groupHandle = "", secret } = members[0]!;
  const version = await groupVersion(run.kube, signal);
  if (!version)
    throw new LifeboatError("invalid", `the snapshots of the group ${groupHandle} can't be deleted: ${NO_GROUPS}`);
  const volumeSnapshotHandles = members.map(({ snapshotHandle }) => snapshotHandle);
  const source = { groupSnapshotHandles: { volumeGroupSnapshotHandle: groupHandle, volumeSnapshotHandles } };
  const wanted = { driver, handle: groupHandle, secret, source, reference: "volumeGroupSnapshotRef" };
  return deleteContent({ ...run, ...lookingAt(run.kube, run.labels, run, groupKinds(version)) }, wanted, signal);
}

/** What a content is made of only to be deleted. */
interface Doomed {
  driver: string;
  handle: string;
  secret: StoredSnapshot["secret"];
  source: object;
  /** The field of its spec that names its VolumeSnapshot. */
  reference: string;
}

async function deleteContent(run: CsiRun, doomed: Doomed, signal: AbortSignal): Promise<"deleted" | "absent"> {
  const { kube, kinds } = run;
  const content = contentOf(run, doomed);
  const { name } = content.metadata;
  await createObject(kube, kinds.content, content, signal).catch((error) => {
    if (!isLifeboatError(error, "conflict")) throw error;
  });
  try {
    if ((await takenUp(run, name, doomed, signal)) === "present") {
      await removeContent(run, name, signal);
      return "deleted";
    }
  } catch (error) {
    signal.throwIfAborted();
    await forget(run, name, signal).catch(() => {});
    throw error;
  }
  await forget(run, name, signal);
  return "absent";
}

/** Takes a content away that its driver never saw. */
async function forget({ kube, kinds }: CsiRun, name: string, signal: AbortSignal): Promise<void> {
  await patchObject(kube, kinds.content, { name }, { metadata: { finalizers: null } }, signal);
  await deleteObject(kube, kinds.content, { name }, signal);
}

function contentOf({ labels, kinds }: CsiRun, { driver, handle, secret, source, reference }: Doomed): KubernetesObject {
  const id = sha256(Buffer.from(`${driver}/${handle}`)).slice(0, 32);
  const { content, snapshot, finalizer } = kinds;
  const apiVersion = resourceApiVersion(content);
  const secrets = secret && { [DELETION_SECRET_NAME]: secret.name, [DELETION_SECRET_NAMESPACE]: secret.namespace };
  const never = { apiVersion, kind: snapshot.kind, namespace: `ns-${id}`, name: `name-${id}` };
  return {
    apiVersion,
    kind: content.kind,
    metadata: { name: `lifeboat-${id}`, labels, annotations: secrets, finalizers: [finalizer] },
    spec: { deletionPolicy: "Delete", driver, source, [reference]: never },
  };
}

/** What drivers say of a handle that they don't know: the sidecar's own words, and gRPC's code. */
const UNKNOWN = /can ?not find snapshot|code = NotFound/i;

/** Waits until the driver has looked at a content. */
function takenUp(
  { contents, kinds, removeMs, errorMs }: CsiRun,
  name: string,
  { driver, handle }: Doomed,
  signal: AbortSignal,
): Promise<"present" | "absent"> {
  const what = `the snapshot ${handle} of the CSI driver ${driver} could not be deleted`;
  const begun = performance.now();
  let failingSince: number | undefined;
  const judge = (live: KubernetesObject | undefined) => {
    if (!live) return "absent";
    const message = errorOf(live);
    if (at(live, "status", kinds.handle) !== undefined && message === undefined) return "present";
    if (message !== undefined && UNKNOWN.test(message)) return "absent";
    const now = performance.now();
    failingSince = message === undefined ? undefined : (failingSince ?? now);
    if (failingSince !== undefined && now - failingSince >= Math.min(errorMs, removeMs))
      throw new LifeboatError("unreachable", `${what}: ${message}`);
    if (now - begun >= removeMs)
      throw new LifeboatError("timeout", `${what}: the driver doesn't answer`, {
        hint: "delete it from a cluster in which that driver runs",
      });
    return undefined;
  };
  return contents.until(name, judge, signal);
}
