import { z } from "zod";
import type { KubernetesObject } from "../archive/item.ts";
import { isLifeboatError } from "../errors.ts";
import { strictFields } from "../fields.ts";
import { at, type Fields, fieldsAt } from "../objects/fields.ts";
import { parseQuantity } from "../objects/quantity.ts";

/** Velero's names of the sources of volumes. A source has the same name in objects, but for `storageOS`. */
const VOLUME_TYPES = [
  "awsAzureDisk",
  "awsElasticBlockStore",
  "azureDisk",
  "azureFile",
  "cephfs",
  "cinder",
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "fc",
  "flexVolume",
  "flocker",
  "gcePersistentDisk",
  "gitRepo",
  "glusterfs",
  "hostPath",
  "iscsi",
  "local",
  "nfs",
  "photonPersistentDisk",
  "portworxVolume",
  "projected",
  "quobyte",
  "rbd",
  "scaleIO",
  "secret",
  "storageOS",
  "vsphereVolume",
] as const;

/** A text, or what YAML makes of one that looks like a number or a boolean: Velero takes them for the text. */
const word = z.union([z.string(), z.number(), z.boolean()]).transform(String);
const words = z.array(z.string()).nullish();

/** "10Gi,100Gi": bytes from and to; 0 for a side that is empty. */
const capacity = z.string().transform((text, context) => {
  const sides = text === "" ? ["", ""] : text.split(",");
  try {
    const [from = 0, to = 0] = sides.map((side) => (side.trim() === "" ? 0 : parseQuantity(side.trim())));
    if (sides.length === 2 && (to === 0 || from <= to)) return { from, to };
    context.addIssue(
      sides.length === 2 ? "begins above its end" : 'should be two quantities, "10Gi,100Gi", or one: "10Gi,"',
    );
  } catch (error) {
    if (!isLifeboatError(error)) throw error;
    context.addIssue(error.message);
  }
  return z.NEVER;
});

const conditions = strictFields({
  capacity: capacity.nullish(),
  storageClass: words,
  nfs: strictFields({ server: z.string().nullish(), path: z.string().nullish() }).nullish(),
  csi: strictFields({ driver: z.string().nullish(), volumeAttributes: z.record(z.string(), word).nullish() })
    .refine(
      ({ driver, volumeAttributes }) => driver || !volumeAttributes,
      "needs a driver where it has volumeAttributes",
    )
    .nullish(),
  volumeTypes: z.array(z.enum(VOLUME_TYPES)).nullish(),
  pvcLabels: z.record(z.string(), word).nullish(),
  pvcPhase: words,
  pvcVolumeMode: z.string().nullish(),
  pvcAccessModes: words,
});

/** Parameters of the action `snapshot`. Those of other actions are for whoever carries them out. */
const parameters = z.looseObject({
  /** A VolumeSnapshotClass. */
  snapshotClass: z.string().min(1, "is empty").optional(),
  /** Without effect: restic alone moves data. */
  dataMover: z.enum(["", "velero", "velero-fs", "velero-block"]).optional(),
});

const action = strictFields({
  type: z.enum(["skip", "snapshot", "fs-backup", "custom"]),
  parameters: parameters.nullish(),
}).superRefine(({ type, parameters: given }, context) => {
  if (type === "snapshot" || !given) return;
  for (const name of Object.keys(parameters.shape).filter((one) => Object.hasOwn(given, one)))
    context.addIssue({ code: "custom", path: ["parameters", name], message: "goes with the action snapshot" });
});

/**
 * One of Velero's volume policies (velero-format: 4.10): what is done with the volumes that all its conditions match; without
 * conditions, with all volumes.
 */
export const volumePolicy = strictFields({ conditions: conditions.nullish(), action });

export type VolumePolicy = z.infer<typeof volumePolicy>;
export type VolumeAction = VolumePolicy["action"];

/** What policies look at: a claim, the volume it is bound to, or a volume of a Pod's own. */
export interface PolicySubject {
  claim?: KubernetesObject;
  volume?: KubernetesObject;
  /** An entry of a Pod's `spec.volumes`. */
  podVolume?: Fields;
}

/** The action of the first policy that matches, and its place among them; undefined where none does. */
export function matchPolicy(
  policies: VolumePolicy[],
  subject: PolicySubject,
): { action: VolumeAction; place: number } | undefined {
  const place = policies.findIndex((policy) => matches(policy.conditions ?? {}, subject));
  return place < 0 ? undefined : { action: policies[place]!.action, place };
}

/** Velero's name of a volume's source, out of a PersistentVolume's spec or a Pod's entry; undefined for one without a name. */
export function volumeType(source: Fields | undefined): (typeof VOLUME_TYPES)[number] | undefined {
  return VOLUME_TYPES.find((type) => source?.[type === "storageOS" ? "storageos" : type] != null);
}

function matches(wanted: z.infer<typeof conditions>, { claim, volume, podVolume }: PolicySubject): boolean {
  const source = volume ? fieldsAt(volume, "spec") : podVolume;
  const labels = claim?.metadata.labels ?? {};
  return (
    holds(wanted.capacity, ({ from, to }) => {
      const bytes = bytesOf(volume);
      return from <= bytes && (to === 0 || bytes <= to);
    }) &&
    holds(some(wanted.storageClass), (names) => isAmong(names, at(volume, "spec", "storageClassName"))) &&
    holds(wanted.nfs, ({ server, path }) => {
      const nfs = fieldsAt(source, "nfs");
      return !!nfs && (!server || nfs.server === server) && (!path || nfs.path === path);
    }) &&
    holds(wanted.csi, ({ driver, volumeAttributes }) => {
      const csi = fieldsAt(source, "csi");
      return !!csi && (!driver || csi.driver === driver) && hasAll(fieldsAt(csi, "volumeAttributes"), volumeAttributes);
    }) &&
    holds(some(wanted.volumeTypes), (types) => types.some((type) => type === volumeType(source))) &&
    hasAll(labels, wanted.pvcLabels) &&
    holds(some(wanted.pvcPhase), (phases) => isAmong(phases, at(claim, "status", "phase"))) &&
    holds(wanted.pvcVolumeMode || undefined, (mode) => at(claim, "spec", "volumeMode") === mode) &&
    holds(some(wanted.pvcAccessModes), (modes) => isSameSet(modes, at(claim, "spec", "accessModes")))
  );
}

/** A condition that isn't given holds. */
function holds<T>(wanted: T | null | undefined, check: (wanted: T) => boolean): boolean {
  return wanted == null || check(wanted);
}

function some<T>(list: T[] | null | undefined): T[] | undefined {
  return list?.length ? list : undefined;
}

function hasAll(found: Fields | undefined, wanted: Record<string, string> | null | undefined): boolean {
  return Object.entries(wanted ?? {}).every(([key, value]) => at(found, key) === value);
}

function isSameSet(wanted: string[], found: unknown): boolean {
  if (!Array.isArray(found) || found.length !== wanted.length) return false;
  return wanted.every((one) => found.includes(one)) && found.every((one) => wanted.includes(one));
}

/** An empty value is none, whatever the list holds. */
function isAmong(list: string[], value: unknown): boolean {
  return !!value && list.some((one) => one === value);
}

function bytesOf(volume: KubernetesObject | undefined): number {
  return parseQuantity(String(at(volume, "spec", "capacity", "storage") ?? 0));
}
