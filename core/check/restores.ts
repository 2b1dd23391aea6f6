import type { KubernetesObject } from "../archive/item.ts";
import { listFolder } from "../contents.ts";
import { isLifeboatError } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import { readClusterUid } from "../kube/clusteruid.ts";
import { metadataOf } from "../kube/json.ts";
import { listPages, METADATA_ONLY } from "../kube/list.ts";
import { listObjects, placeOf } from "../kube/object.ts";
import { labelValue, MANAGED, RESTORE_NAME, selectorOf } from "../labels.ts";
import { NOTES, restoreKeys } from "../layout.ts";
import { lockState } from "../lock.ts";
import { undoName } from "../names.ts";
import { at } from "../objects/fields.ts";
import type { Bucket } from "../ports.ts";
import { someOf } from "../report.ts";
import { readNotes } from "../restore/undo/notes.ts";
import { FILLING } from "../restore/write/filled.ts";
import { restoredSnapshots } from "../volumes/csi/restored.ts";
import { JOBS } from "../volumes/restic/removal.ts";
import { CLAIM } from "../volumes/volume.ts";
import type { CheckedVolumes } from "./copying.ts";
import type { Judgement } from "./document.ts";

/** Something that a restore has left in the cluster. */
interface Left {
  /** The restore's name, or that as a label's value. */
  restore: string;
  what: string;
  /** What takes it away. */
  command: string;
}

/**
 * What restores from this location that are over have left in the cluster of what they brought volumes' data by: half-filled claims,
 * VolumeSnapshots and their contents, Jobs of restic with their Secrets. What a restore works on that lives, and the snapshot of a
 * claim that is not bound yet, is none of it; nor is what the location knows no restore of.
 */
export async function leftByRestores(
  kube: Kube,
  { bucket: open }: CheckedVolumes,
  signal: AbortSignal,
): Promise<Judgement> {
  let left: Left[];
  try {
    left = [...(await halfFilled(kube, signal)), ...(await snapshots(kube, signal)), ...(await jobs(kube, signal))];
  } catch (error) {
    if (isLifeboatError(error, "denied")) return { state: "notAsked", message: `it can't be listed: ${error.message}` };
    throw error;
  }
  const known = await restoresOver({ kube, open, left }, signal);
  if (!known) return { state: "notAsked", message: "the location can't be listed" };
  const over = left.filter(({ restore }) => known.has(restore));
  if (over.length === 0) return { state: "ok", message: "no restore has left anything of volumes' data" };
  const todo = new Set<string>();
  for (const { restore, command } of over) {
    const { name, repeatable } = known.get(restore)!;
    todo.add(
      repeatable ? `run "lifeboat restore create ${name}" again, with its flags: it ends what it began` : command,
    );
  }
  const things = over.map(({ what }) => what);
  return {
    state: "warning",
    message: `restores that are over have left ${someOf(things, 3)}`,
    todo: [...todo].join("\n"),
    resources: things,
  };
}

async function halfFilled(kube: Kube, signal: AbortSignal): Promise<Left[]> {
  const left: Left[] = [];
  for await (const { items } of listPages(kube, CLAIM, { accept: METADATA_ONLY, signal }))
    for (const item of items) {
      const { namespace, name, annotations } = metadataOf(item, []) as KubernetesObject["metadata"];
      const restore = annotations?.[FILLING];
      if (restore === undefined) continue;
      const what = `half-filled PersistentVolumeClaim ${placeOf({ namespace, name })}`;
      left.push({ restore, what, command: `kubectl delete -n ${namespace} persistentvolumeclaim ${name}` });
    }
  return left;
}

async function snapshots(kube: Kube, signal: AbortSignal): Promise<Left[]> {
  const found = await restoredSnapshots(kube, {}, signal);
  const idle = found.filter(({ claim }) => !claim || at(claim, "status", "phase") === "Bound");
  return idle.map(({ restore, kinds, snapshot }) => {
    const { namespace, name } = snapshot;
    const commands = [`volumesnapshotcontent ${name}`, `-n ${namespace} volumesnapshot ${name}`];
    return {
      restore,
      what: `${kinds.join(" and ")} ${placeOf(snapshot)}`,
      command: commands.map((one) => `kubectl delete --ignore-not-found ${one}`).join(" && "),
    };
  });
}

async function jobs(kube: Kube, signal: AbortSignal): Promise<Left[]> {
  const left: Left[] = [];
  const labelSelector = `${selectorOf(MANAGED)},${RESTORE_NAME}`;
  for await (const { metadata } of listObjects(kube, JOBS, { labelSelector, signal })) {
    const { namespace, name, labels } = metadata;
    const command = `kubectl delete --ignore-not-found -n ${namespace} job/${name} secret/${name}`;
    left.push({ restore: labels?.[RESTORE_NAME] ?? "", what: `Job ${placeOf(metadata)} with its Secret`, command });
  }
  return left;
}

/** A restore that is over, or died. */
interface Over {
  name: string;
  /** It has neither a record nor been undone: it is run again under its name. */
  repeatable: boolean;
}

/**
 * The restores from the location into this cluster that are over, of those that have left something, by their names and those as
 * labels' values: each notes what it is about to do before its first write. Undefined where the location can't be read.
 */
async function restoresOver(
  { kube, open, left }: { kube: Kube; open: () => Promise<Bucket>; left: Left[] },
  signal: AbortSignal,
): Promise<Map<string, Over> | undefined> {
  const over = new Map<string, Over>();
  const wanted = new Set(left.map(({ restore }) => restore));
  if (wanted.size === 0) return over;
  const cluster = await readClusterUid(kube, signal);
  try {
    const bucket = await open();
    for await (const { prefix = "" } of bucket.list(NOTES, { delimiter: "/", signal })) {
      const name = prefix.slice(NOTES.length, -1);
      const called = [name, labelValue(name)].filter((one) => wanted.has(one));
      if (called.length === 0) continue;
      const notes = await readNotes(bucket, name, signal);
      if (!notes.some(({ clusterUid }) => clusterUid === cluster)) continue;
      if ((await lockState({ bucket, kind: "restores", name }, { signal })).state === "held") continue;
      const ended = await Promise.all([name, undoName(name, 1)].map((one) => isRecorded(bucket, one, signal)));
      for (const one of called) over.set(one, { name, repeatable: !ended.includes(true) });
    }
    return over;
  } catch (error) {
    signal.throwIfAborted();
    if (isLifeboatError(error)) return undefined;
    throw error;
  }
}

async function isRecorded(bucket: Bucket, name: string, signal: AbortSignal): Promise<boolean> {
  const { folder, record } = restoreKeys(name);
  return (await listFolder(bucket, folder, signal)).has(record);
}
