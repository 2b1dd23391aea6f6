import { hash } from "node:crypto";
import type { LimitFunction } from "p-limit";
import type { Archive } from "../archive/reader.ts";
import { HEADER_FILE } from "../archive/writer.ts";
import type { ArchiveHeader } from "../backup/record.ts";
import { LifeboatError } from "../errors.ts";
import { CLAIMS, NAMESPACES, VOLUMES } from "../objects/resources.ts";
import { someOf } from "../report.ts";
import type { CsiRestore } from "../volumes/csi/restore.ts";
import type { DiskCloud } from "../volumes/disk.ts";
import { noFiles, type VolumeMeans } from "../volumes/means.ts";
import { cloudOf } from "../volumes/native.ts";
import type { RestoredVolumes, StoredVolume } from "../volumes/record.ts";
import type { Placement } from "../volumes/restic/job.ts";
import { zoneFor } from "../volumes/zone.ts";
import { targetNamespace } from "./fixes.ts";
import type { PlannedStep } from "./plan/steps.ts";
import type { Target } from "./plan/target.ts";
import type { RestoreSpec } from "./spec.ts";
import type { Item } from "./survey.ts";

/** What the backup has of the data of a claim or volume that is restored, and what is done with it. */
export type ItemData = StoredVolume & {
  how: "csi" | "files" | "native" | "none";
  /** What this run lacks, so that data which the backup has don't come; undefined where it lacks nothing. */
  missing?: MissingMeans;
};

/** A means by which data of a backup are brought back, that a run doesn't have: why, and what to do. */
interface MissingMeans {
  reason: string;
  hint: string;
}

/** What becomes of the data of a backup's claims. */
export interface DataPlan {
  /** Of a claim, and of a volume that is made anew of a snapshot; undefined where nothing is known. */
  of(item: Item): ItemData | undefined;
  /** Names of volumes: see `SkipFacts`. */
  refilled: ReadonlySet<string>;
  remade: ReadonlySet<string>;
  forgone: ReadonlySet<string>;
  /** See `CompareFacts`. */
  snapshotSizes: ReadonlyMap<string, number>;
  /** Of volumes that are made anew for a claim in another namespace, beside the original: their names there. */
  clones: ReadonlyMap<string, string>;
}

/** What decides on it. */
export interface DataFacts {
  spec: Pick<RestoreSpec, "restorePVs">;
  means: VolumeMeans;
  /** Whether the target serves VolumeSnapshots. */
  snapshots: boolean;
  restoreName: string;
  namespaceMapping: Record<string, string>;
}

/** Decides where the data of each claim come from. Pure. */
export function planData(stored: StoredVolume[], facts: DataFacts): DataPlan {
  const claims = new Map<string, ItemData>();
  const volumes = new Map<string, ItemData>();
  const [refilled, remade, forgone] = [new Set<string>(), new Set<string>(), new Set<string>()];
  const snapshotSizes = new Map<string, number>();
  const clones = new Map<string, string>();
  for (const one of stored) {
    const { volume, claim } = one;
    const data = dataOf(one, facts);
    const native = data.how === "native";
    // The volume has the data, and the claim gets the volume.
    if (claim) claims.set(`${claim.namespace}/${claim.name}`, native ? { ...data, how: "none" } : data);
    if (claim && data.how === "csi")
      snapshotSizes.set(`${targetNamespace(claim.namespace, facts)}/${claim.name}`, data.csi!.restoreSize);
    if (volume) volumes.set(volume, data);
    if (data.how === "csi" || data.how === "files") refilled.add(volume);
    if (native) remade.add(volume);
    if (data.how === "none" && (data.csi || data.native || data.files)) forgone.add(volume);
    if (native && claim && targetNamespace(claim.namespace, facts) !== claim.namespace)
      clones.set(volume, cloneName(facts.restoreName, volume));
  }
  return {
    refilled,
    remade,
    forgone,
    snapshotSizes,
    clones,
    of({ entry: { resource, namespace, name } }) {
      if (resource === CLAIMS) return claims.get(`${namespace}/${name}`);
      const data = resource === VOLUMES ? volumes.get(name) : undefined;
      return data?.how === "native" ? data : undefined;
    },
  };
}

function dataOf(stored: StoredVolume, { spec, means, snapshots }: DataFacts): ItemData {
  const none = (reason: string): ItemData => ({ ...stored, how: "none", reason });
  const { csi, native, files } = stored;
  if (!csi && !native && !files) return { ...stored, how: "none" };
  if (spec.restorePVs === false) return none("restorePVs is false: no data are restored");
  const lack = (of: string, missing: MissingMeans): ItemData => ({
    ...none(`its data are in ${of}: ${missing.reason}`),
    missing,
  });
  if (csi) {
    if (snapshots) return { ...stored, how: "csi" };
    return lack(`the snapshot ${csi.snapshotHandle} of ${csi.driver}`, NO_SNAPSHOTS);
  }
  if (files) {
    const reason = noFiles(means.files);
    return reason === undefined ? { ...stored, how: "files" } : lack("a restic repository", { reason, hint: RESTIC });
  }
  const cloud = cloudOf(native!.snapshotHandle);
  if (means.disks?.[cloud]) return { ...stored, how: "native" };
  return lack(`the snapshot ${native!.snapshotHandle}`, noCloud(cloud));
}

const NO_SNAPSHOTS: MissingMeans = {
  reason: "the target serves no VolumeSnapshots",
  hint: "install the snapshot controller and its definitions (kubernetes-csi/external-snapshotter) in the target",
};

const RESTIC = "set up volumes.restic, with the password that the backup's copies were made with";

function noCloud(cloud: DiskCloud): MissingMeans {
  return {
    reason: `nothing here can ask that cloud (${cloud})`,
    hint: "restore where its snapshots can be had: by the command line, with its credentials",
  };
}

/**
 * Throws `invalid` where claims that a restore creates have data in the backup, and the means to bring them is missing: nothing
 * starts on empty volumes that nobody asked for.
 */
export function checkMeans(plan: DataPlan, steps: Pick<PlannedStep, "action" | "item">[]): void {
  const claims = new Map<string, { missing: MissingMeans; names: string[] }>();
  for (const { action, item } of steps) {
    const missing = action === "create" ? plan.of(item)?.missing : undefined;
    if (!missing) continue;
    const { names } = claims.get(missing.reason) ?? { names: [] };
    claims.set(missing.reason, { missing, names: [...names, `${item.namespace}/${item.name}`] });
  }
  if (claims.size === 0) return;
  const lacks = [...claims.values()];
  const told = lacks.map(({ missing, names }) => `${missing.reason} (${someOf(names)})`).join("; ");
  const count = lacks.reduce((sum, { names }) => sum + names.length, 0);
  throw new LifeboatError(
    "invalid",
    `the backup has data of ${count === 1 ? "a claim" : `${count} claims`} that can't be brought back here: ${told}`,
    {
      hint: `${lacks.map(({ missing }) => missing.hint).join("; ")}. Or leave these claims out, or restore all of them empty: --restore-volumes=false (restorePVs: false)`,
    },
  );
}

/** The name of a volume that is made anew beside its original: in Velero's form, and the same whenever this restore is run. */
function cloneName(restoreName: string, volume: string): string {
  const hex = hash("sha256", `${restoreName}/${volume}`, "hex");
  return `velero-clone-${hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, "$1-$2-$3-$4-$5")}`;
}

/** In which zone of the target the disk of a volume is made, or why it can't be; undefined for an item of other data. */
export function diskZone(
  { plan, zoneMapping }: Pick<RestoreData, "plan" | "zoneMapping">,
  { item, zones, restoreName }: { item: Item; zones: ReadonlySet<string>; restoreName: string },
): ReturnType<typeof zoneFor> | undefined {
  const data = plan.of(item);
  if (data?.how !== "native") return undefined;
  const { volumeAZ } = data.native!;
  const mapped = zoneMapping[volumeAZ];
  return mapped ? { zone: mapped } : zoneFor(volumeAZ, [...zones], `${restoreName}/${item.name}`);
}

/** Where an item's data come from, for people; undefined where they come from nowhere. */
export function sourceText({ how, csi, files, native }: ItemData): string | undefined {
  if (how === "csi") return `its data come from the snapshot ${csi!.snapshotHandle} of ${csi!.driver}`;
  if (how === "files") {
    const moment = files!.cut ? `, of a CSI snapshot cut ${files!.cut}` : "";
    return `its data come from the restic snapshot ${files!.snapshotId.slice(0, 8)}${moment}`;
  }
  if (how === "native") return `it is made of the snapshot ${native!.snapshotHandle}`;
  return undefined;
}

/** What a person should know of a claim that keeps its volume and isn't restored in place. */
export function sharedText(volume: string): string {
  return `it binds to the volume ${volume} that the backup's claim used, not to a copy of it: stop what uses that first`;
}

/** Which cluster a backup is of: the UID of its Namespace kube-system; undefined where the backup doesn't tell. */
export async function sourceUid(archive: Archive): Promise<string | undefined> {
  const header = await archive.file(HEADER_FILE);
  const { clusterUid } = header ? (JSON.parse(header.toString()) as Partial<ArchiveHeader>) : {};
  if (clusterUid) return clusterUid;
  return (await archive.find({ resource: NAMESPACES, namespace: "", name: "kube-system" }))?.uid || undefined;
}

/**
 * Whether a claim that keeps its volume comes to another place than the backup's: another namespace, or another cluster, where
 * nodes have other data. Where the backup doesn't tell its cluster, a target that has the volume already is taken for it. Pure.
 */
export function isElsewhere(
  { entry, namespace }: Item,
  volume: string,
  {
    source,
    target,
    onNodes,
  }: { source: string | undefined; target: Pick<Target, "clusterUid" | "volumes">; onNodes: ReadonlySet<string> },
): boolean {
  const known = source !== undefined && target.clusterUid !== "";
  const another = known ? source !== target.clusterUid : !target.volumes.has(volume);
  return another ? !onNodes.has(volume) : namespace !== entry.namespace;
}

/** What became of the data of the claims that are created; undefined where there are none. */
export function restoredVolumes(
  { brought, without, lacking }: Pick<RestoreData, "brought" | "without" | "lacking">,
  { restorePVs }: Pick<RestoreSpec, "restorePVs">,
): RestoredVolumes | undefined {
  if (brought.length + without.size + lacking.size === 0) return undefined;
  const of = (how: ItemData["how"]) => brought.flatMap(({ data }) => (data.how === how ? [data] : []));
  const [csi, files] = [of("csi"), of("files")];
  const came = (as: "empty" | "same") => [...without.values()].filter((one) => one === as).length;
  const empty = came("empty");
  return {
    csiSnapshots: csi.length,
    csiBytes: csi.reduce((sum, one) => sum + one.csi!.restoreSize, 0),
    nativeSnapshots: of("native").length,
    fileCopies: files.length,
    fileBytes: files.reduce((sum, one) => sum + one.files!.size, 0),
    leftOut: restorePVs === false ? empty : 0,
    stays: came("same"),
    lacking: restorePVs === false ? 0 : empty,
    failed: lacking.size,
  };
}

/** All that restoring data takes. */
export interface RestoreData extends VolumeMeans {
  plan: DataPlan;
  /** Holes of files are not written. */
  sparse: boolean;
  /** From a zone of the source to one of the target. */
  zoneMapping: Record<string, string>;
  /** How many claims' files are brought at a time. */
  limit: LimitFunction;
  /** What was brought back, or would be in a rehearsal, so far. */
  brought: { item: Item; data: ItemData }[];
  /** Whether the item, a claim that keeps its volume, isn't restored in place: others may use that volume's data. */
  elsewhere: (item: Item, volume: string) => boolean;
  /** Claims of the target ("namespace/name") that came, so far, with an empty volume, or with the one that they had. */
  without: Map<string, "empty" | "same">;
  /** Where claims of the target ("namespace/name") will be used, as far as the backup's Pods tell. */
  placements: Map<string, Placement>;
  /** Claims of the target ("namespace/name") whose data could not be brought back, so that they are not there. */
  lacking: Set<string>;
  /** Claims of the target ("namespace/name") that are there and have not all of their data yet. */
  filling: Set<string>;
  /** What its claims that are made of CSI snapshots have in common. */
  csi: CsiRestore;
}
