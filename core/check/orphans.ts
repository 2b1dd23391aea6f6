import { basename } from "node:path/posix";
import { readBackup } from "../catalog.ts";
import { folderNames } from "../contents.ts";
import { isLifeboatError } from "../errors.ts";
import { readStoredVolumes } from "../integrity/volumes.ts";
import type { Kube } from "../kube/client.ts";
import { listObjects, placeOf } from "../kube/object.ts";
import { BACKUP_NAME, LOCATION, labelValue, MANAGED, selectorOf } from "../labels.ts";
import { BACKUPS, REMOVALS } from "../layout.ts";
import { placeDigest, samePlace } from "../location.ts";
import { lockState } from "../lock.ts";
import { at } from "../objects/fields.ts";
import type { Bucket, InZone, Platform } from "../ports.ts";
import { someOf } from "../report.ts";
import { standingClones } from "../volumes/csi/clone.ts";
import { contentNameOf } from "../volumes/csi/kinds.ts";
import { namedBy, type Standing, standingSnapshots } from "../volumes/csi/standing.ts";
import { type DiskCloud, diskOf } from "../volumes/disk.ts";
import type { StoredVolume } from "../volumes/record.ts";
import { JOBS } from "../volumes/restic/removal.ts";
import { VOLUME } from "../volumes/volume.ts";
import { regionOfZone } from "../volumes/zone.ts";
import type { CheckedVolumes } from "./copying.ts";
import type { Judgement } from "./document.ts";

/**
 * What runs to this location that died have left in the cluster: VolumeSnapshots and their contents, claims that were made of them,
 * and Jobs of restic, which end and go by themselves, with their Secrets. What a run works on that lives is none of it. Nothing is to
 * be deleted that takes data with it which a backup has, or may have.
 */
export async function leftInCluster(
  kube: Kube,
  { bucket: open }: CheckedVolumes,
  signal: AbortSignal,
): Promise<Judgement> {
  const left: string[] = [];
  const todo: string[] = [];
  const risky: string[] = [];
  try {
    const standing = await standingSnapshots(kube, undefined, signal);
    // Only now: what has been stored since then may name them.
    const known = await knownIn(open, signal);
    if (!known) return UNKNOWN;
    for await (const { metadata } of listObjects(kube, JOBS, { labelSelector: selectorOf(MANAGED), signal })) {
      const { namespace = "", name, labels = {} } = metadata;
      // Those of retention tell no backup; they live as long as their run, or end soon. Restores: restores.ts.
      const backup = labels[BACKUP_NAME];
      if (!backup || isElsewhere(labels, known) || (await known.isHeld(backup))) continue;
      left.push(`Job ${placeOf({ namespace, name })}`);
      todo.push(`kubectl delete -n ${namespace} job ${name}`);
    }
    for await (const { metadata } of standingClones(kube, undefined, signal)) {
      const { namespace = "", name, labels = {} } = metadata;
      const backup = labels[BACKUP_NAME] ?? "";
      if (isElsewhere(labels, known) || (backup && (await known.isHeld(backup)))) continue;
      left.push(`PersistentVolumeClaim ${placeOf({ namespace, name })}`);
      todo.push(`kubectl delete -n ${namespace} persistentvolumeclaim ${name}`);
    }
    for (const one of standing) {
      const { kind, metadata } = one.snapshot ?? one.content;
      const { labels = {} } = metadata;
      if (isElsewhere(labels, known)) continue;
      const backup = labels[BACKUP_NAME] ?? "";
      if (backup && (await known.isHeld(backup))) continue;
      const what = `${kind} ${placeOf(metadata)}`;
      const { keeps, command } = await settling(one, backup, known);
      left.push(what);
      if (keeps) risky.push(what);
      todo.splice(keeps ? 0 : todo.length, 0, command);
    }
  } catch (error) {
    if (isLifeboatError(error, "denied")) return { state: "notAsked", message: `it can't be listed: ${error.message}` };
    throw error;
  }
  if (left.length === 0) return { state: "ok", message: "no run has left anything of its copies of volumes" };
  const risk =
    risky.length > 0
      ? `; whoever deletes one of these, or its namespace, deletes data of a stored backup: ${someOf(risky, 3)}`
      : "";
  return {
    state: "warning",
    message: `runs that died have left ${someOf(left, 3)}${risk}`,
    todo: todo.join("\n"),
    resources: left,
  };
}

/** Whether an object was made for a backup that is stored in another place. */
function isElsewhere(labels: Record<string, string>, { location }: Known): boolean {
  return ![undefined, placeDigest(location)].includes(labels[LOCATION]);
}

/**
 * What is to be done about a snapshot that stands in the cluster, by what the location knows of its backup; `keeps`: that keeps data of a
 * stored backup, which now go with the object.
 */
async function settling(one: Standing, backup: string, known: Known): Promise<{ command: string; keeps?: boolean }> {
  const { kinds, snapshot } = one;
  const content = snapshot ? contentNameOf(snapshot, kinds) : one.content.metadata.name;
  const remove = ({ kind, metadata: { namespace, name } }: NonNullable<typeof snapshot>) =>
    `kubectl delete ${namespace ? `-n ${namespace} ` : ""}${kind.toLowerCase()} ${name}`;
  const copies = await known.copiesOf(backup);
  if (copies === "unfinished")
    return { command: `do the interrupted command again: "lifeboat backup create ${backup}", or "… delete ${backup}"` };
  if (copies === "unknown")
    return { command: `see by "lifeboat backup describe ${backup} --details" whether it names ${content}` };
  if (!namedBy(copies)(one)) return { command: remove(snapshot ?? one.content) };
  const kind = kinds.content.kind.toLowerCase();
  const command = [
    // The backup's data are the storage's to keep.
    `kubectl patch ${kind} ${content} --type merge -p '{"spec":{"deletionPolicy":"Retain"}}'`,
    ...(snapshot ? [remove(snapshot)] : []),
    `kubectl delete ${kind} ${content}`,
  ].join(" && ");
  return { command, keeps: at(one.content, "spec", "deletionPolicy") !== "Retain" };
}

/**
 * What of backups is there in the location. First is asked whether one is held: what it names is read after that, so that one that has
 * just ended is known.
 */
interface Known {
  location: string;
  /** Whether a run works on a backup, by its name or that as a label's value. Each is asked for once. */
  isHeld(backup: string): Promise<boolean>;
  /**
   * What backups name of that name, or that as a label's value: "unfinished" where one has no record yet, "unknown" where one can't be
   * read. Each is read once.
   */
  copiesOf(backup: string): Promise<StoredVolume[] | Unnamed>;
  /** Whether what lies below a backup's name has a snapshot of a disk, or may have it. Each is read once. */
  hasSnapshot(backup: string, id: string): Promise<boolean>;
}

/** Undefined where the location can't be listed, which is a question of its own. */
async function knownIn(open: () => Promise<Bucket>, signal: AbortSignal): Promise<Known | undefined> {
  try {
    const bucket = await open();
    const names: string[] = [];
    for (const folder of [BACKUPS, REMOVALS]) names.push(...(await folderNames(bucket, folder, { signal })));
    const states = new Map<string, Promise<boolean>>();
    const meant = (backup: string) =>
      backup.length < 63 ? [backup] : [...new Set([backup, ...names.filter((name) => labelValue(name) === backup)])];
    const ask = async (backup: string) => {
      const asking = meant(backup).map((name) => lockState({ bucket, kind: "backups", name }, { signal }));
      return (await Promise.all(asking)).some(({ state }) => state === "held");
    };
    const isHeld = (backup: string) => {
      const asked = states.get(backup) ?? ask(backup);
      states.set(backup, asked);
      return asked;
    };
    const read = new Map<string, ReturnType<typeof volumesOf>>();
    const volumes = async (name: string) => {
      const reading = read.get(name) ?? volumesOf(bucket, name, signal);
      read.set(name, reading);
      const found = await reading;
      return found === "unfinished" && !names.includes(name) ? [] : found;
    };
    const copiesOf = async (backup: string) => {
      const found = await Promise.all(meant(backup).map(volumes));
      const untold = found.find((one) => typeof one === "string");
      return untold ?? found.flatMap((one) => (typeof one === "string" ? [] : one));
    };
    const hasSnapshot = async (backup: string, id: string) => {
      const found = await volumes(backup);
      if (typeof found === "string") return true;
      return found.some(({ native }) => native && snapshotName(native.snapshotHandle) === snapshotName(id));
    };
    return { location: bucket.location, isHeld, copiesOf, hasSnapshot };
  } catch (error) {
    signal.throwIfAborted();
    if (isLifeboatError(error)) return undefined;
    throw error;
  }
}

/** Why it can't be told what a backup names: it has no record, or can't be read. */
type Unnamed = "unfinished" | "unknown";

async function volumesOf(bucket: Bucket, name: string, signal: AbortSignal): Promise<StoredVolume[] | Unnamed> {
  try {
    return await readStoredVolumes(bucket, await readBackup(bucket, name, signal), signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!isLifeboatError(error)) throw error;
    return error.kind === "missing" ? "unfinished" : "unknown";
  }
}

/** What is unique in the cloud's name of a snapshot: clouds write what stands before it in several ways. */
function snapshotName(id: string): string {
  return basename(id).toLowerCase();
}

const UNKNOWN: Judgement = { state: "notAsked", message: "the location can't be listed" };

/** How somebody deletes a snapshot by hand. */
const DELETE: Record<DiskCloud, (id: string) => string> = {
  aws: (id) => `aws ec2 delete-snapshot --snapshot-id ${id}`,
  gcp: (id) => `gcloud compute snapshots delete ${id}`,
  azure: (id) => `az snapshot delete --ids ${id}`,
};

/**
 * Snapshots of disks that backups to this location made, and that none of it has any more, wherever disks of this cluster are. Their
 * tags tell: that of the location, which only Lifeboat sets, and Velero's, of the backup.
 */
export async function orphanedSnapshots(
  kube: Kube,
  { disks = {}, bucket: open }: CheckedVolumes,
  signal: AbortSignal,
): Promise<Judgement> {
  const orphans: { cloud: DiskCloud; id: string }[] = [];
  let seen = 0;
  try {
    const places = await placesOf(kube, disks, signal);
    if (places.length === 0)
      return { state: "notAsked", message: "no volume is a disk whose cloud can be asked from here" };
    const tagged: { cloud: DiskCloud; id: string; backup: string; location: string }[] = [];
    for (const { cloud, disk } of places) {
      const those = await disks[cloud]!();
      for await (const { id, tags } of those.snapshots({ name: LOCATION }, disk, signal))
        tagged.push({ cloud, id, backup: tags["velero.io/backup"] ?? "", location: tags[LOCATION] ?? "" });
    }
    // Only now: what has been stored since then may name them.
    const known = await knownIn(open, signal);
    if (!known) return UNKNOWN;
    for (const { cloud, id, backup, location } of tagged) {
      if (!samePlace(location, known.location)) continue;
      seen++;
      if (!backup || (await known.isHeld(backup)) || (await known.hasSnapshot(backup, id))) continue;
      orphans.push({ cloud, id });
    }
  } catch (error) {
    if (isLifeboatError(error, "denied"))
      return { state: "notAsked", message: `they can't be listed: ${error.message}` };
    throw error;
  }
  if (orphans.length === 0)
    return { state: "ok", message: `${seen} of backups of this location, none of one that is gone` };
  const ids = orphans.map(({ id }) => id);
  return {
    state: "warning",
    message: `${orphans.length} of ${seen} are in no backup any more: ${someOf(ids, 3)}`,
    todo: orphans.map(({ cloud, id }) => DELETE[cloud](id)).join("\n"),
    resources: ids,
  };
}

/** One disk of each cloud, account and region in which the cluster has some. */
async function placesOf(
  kube: Kube,
  disks: NonNullable<Platform["disks"]>,
  signal: AbortSignal,
): Promise<{ cloud: DiskCloud; disk: InZone }[]> {
  const places = new Map<string, { cloud: DiskCloud; disk: InZone }>();
  if (Object.keys(disks).length === 0) return [];
  for await (const volume of listObjects(kube, VOLUME, { signal })) {
    const found = diskOf(volume);
    if (!found || !disks[found.cloud]) continue;
    const { cloud, ...disk } = found;
    const place = cloud === "aws" ? regionOfZone(disk.zone) : disk.id.split("/").slice(0, 3).join("/");
    const key = `${cloud} ${place}`;
    if (!places.has(key)) places.set(key, { cloud, disk });
  }
  return [...places.values()];
}
