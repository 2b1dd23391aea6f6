import { sha256 } from "../../archive/gzip.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError, LifeboatError } from "../../errors.ts";
import { createObject, deleteObject, patchObject } from "../../kube/object.ts";
import { at } from "../../objects/fields.ts";
import {
  CONTENT_FINALIZER,
  CONTENTS,
  DELETION_SECRET_NAME,
  DELETION_SECRET_NAMESPACE,
  errorOf,
  SNAPSHOT_API,
} from "./kinds.ts";
import { removeContent } from "./removal.ts";
import type { CsiRun } from "./run.ts";

/** A snapshot in the storage that no object of a cluster stands for. */
export interface StoredSnapshot {
  driver: string;
  snapshotHandle: string;
  /** Where its driver's secret is, if it needs one to delete it. */
  secret?: { namespace: string; name: string };
}

/** The snapshot that a stored VolumeSnapshotContent stood for, ours or Velero's; undefined for one that never had any. */
export function storedSnapshot(content: KubernetesObject): StoredSnapshot | undefined {
  const snapshotHandle = at(content, "status", "snapshotHandle");
  if (typeof snapshotHandle !== "string") return undefined;
  const { [DELETION_SECRET_NAME]: name, [DELETION_SECRET_NAMESPACE]: namespace } = content.metadata.annotations ?? {};
  const secret = name && namespace ? { secret: { namespace, name } } : {};
  return { driver: String(at(content, "spec", "driver")), snapshotHandle, ...secret };
}

/** What drivers say of a handle that they don't know: the sidecar's own words, and gRPC's code. */
const UNKNOWN = /can ?not find snapshot|code = NotFound/i;

/**
 * Deletes a snapshot by the driver's handle, as Velero does with a backup (velero internal/delete/actions/csi): a content is made anew
 * for a VolumeSnapshot that never will be, with the policy Delete, and deleted once the driver has looked at it. Where Velero waits
 * for 2 s, it is waited until the driver has, since it leaves the snapshots of contents that it never saw. Gives "absent"
 * where the driver says that it has no such snapshot. Throws what the API server answers, `missing` where the cluster doesn't know
 * snapshots, `unreachable` with the driver's error, `timeout`; in the last two cases the content is left being deleted, or for the next attempt.
 */
export async function deleteByHandle(
  run: CsiRun,
  snapshot: StoredSnapshot,
  signal: AbortSignal,
): Promise<"deleted" | "absent"> {
  const { kube } = run;
  const content = contentToDelete(run, snapshot);
  const { name } = content.metadata;
  await createObject(kube, CONTENTS, content, signal).catch((error) => {
    if (!isLifeboatError(error, "conflict")) throw error;
  });
  try {
    if ((await takenUp(run, name, snapshot, signal)) === "present") {
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

/** Takes a content away that stands for nothing that its driver would delete. */
async function forget({ kube }: CsiRun, name: string, signal: AbortSignal): Promise<void> {
  await patchObject(kube, CONTENTS, { name }, { metadata: { finalizers: null } }, signal);
  await deleteObject(kube, CONTENTS, { name }, signal);
}

function contentToDelete({ labels }: CsiRun, { driver, snapshotHandle, secret }: StoredSnapshot): KubernetesObject {
  const id = sha256(Buffer.from(`${driver}/${snapshotHandle}`)).slice(0, 32);
  const annotations = secret && {
    [DELETION_SECRET_NAME]: secret.name,
    [DELETION_SECRET_NAMESPACE]: secret.namespace,
  };
  return {
    apiVersion: SNAPSHOT_API,
    kind: CONTENTS.kind,
    metadata: { name: `lifeboat-${id}`, labels, annotations, finalizers: [CONTENT_FINALIZER] },
    spec: {
      deletionPolicy: "Delete",
      driver,
      source: { snapshotHandle },
      volumeSnapshotRef: {
        apiVersion: SNAPSHOT_API,
        kind: "VolumeSnapshot",
        namespace: `ns-${id}`,
        name: `name-${id}`,
      },
    },
  };
}

/** Waits until the driver has looked at a content. */
function takenUp(
  { contents, removeMs, errorMs }: CsiRun,
  name: string,
  { driver, snapshotHandle }: StoredSnapshot,
  signal: AbortSignal,
): Promise<"present" | "absent"> {
  const what = `the snapshot ${snapshotHandle} of the CSI driver ${driver} could not be deleted`;
  const begun = performance.now();
  let failingSince: number | undefined;
  return contents.until(
    name,
    (live) => {
      if (!live) return "absent";
      const message = errorOf(live);
      if (at(live, "status", "snapshotHandle") !== undefined && message === undefined) return "present";
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
    },
    signal,
  );
}
