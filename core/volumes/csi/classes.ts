import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { listObjects } from "../../kube/object.ts";
import { at } from "../../objects/fields.ts";
import { CLASSES } from "./kinds.ts";

/** A VolumeSnapshotClass. */
export interface SnapshotClass {
  name: string;
  driver: string;
  /** As it is in the cluster. */
  object: KubernetesObject;
}

/** The classes of a cluster in the order of their names; undefined where it doesn't know snapshots at all. Throws as `listPages`. */
export async function snapshotClasses(kube: Kube, signal: AbortSignal): Promise<SnapshotClass[] | undefined> {
  const classes: SnapshotClass[] = [];
  try {
    for await (const object of listObjects(kube, CLASSES, { signal })) classes.push(snapshotClass(object));
  } catch (error) {
    if (isLifeboatError(error, "missing")) return undefined;
    throw error;
  }
  return classes;
}

export function snapshotClass(object: KubernetesObject): SnapshotClass {
  return { name: object.metadata.name, driver: String(at(object, "driver")), object };
}

/** What the choice of a claim's class depends on. */
export interface ClassWish {
  /** The CSI driver of its volume. */
  driver: string;
  claim: KubernetesObject;
  /** `snapshotClass` of the volume policy that matches it. */
  policyClass?: string;
  /** Of the Backup. */
  backupAnnotations?: Record<string, string>;
}

/** The class; `passedOver` are names that were asked for and led to none, for a warning. Or why there is no class. */
export type ClassChoice = { chosen: SnapshotClass; passedOver: string[] } | { reason: string };

const CLASS = "velero.io/csi-volumesnapshot-class";
const IS_DEFAULT = "snapshot.storage.kubernetes.io/is-default-class";

/** Who may name a class, in the order in which they are heard. */
const NAMED_BY: { by: string; name(wish: ClassWish): string | undefined }[] = [
  { by: `the claim's annotation ${CLASS}`, name: ({ claim }) => claim.metadata.annotations?.[CLASS] },
  { by: "the volume policy", name: ({ policyClass }) => policyClass },
  {
    by: `the backup's annotation ${CLASS}_<driver>`,
    name: ({ driver, backupAnnotations }) => backupAnnotations?.[`${CLASS}_${driver.toLowerCase()}`],
  },
];

/** What makes a class of the driver the one, where nobody named one; the first that has it. */
const DISTINGUISHED: ((one: SnapshotClass, all: SnapshotClass[]) => boolean)[] = [
  ({ object }) => object.metadata.labels?.[CLASS] !== undefined,
  ({ object }) => object.metadata.annotations?.[IS_DEFAULT] !== undefined,
  (_, all) => all.length === 1,
];

/**
 * Chooses the class of a claim's snapshot as Velero does (velero pkg/util/csi/volume_snapshot.go): a name that no class of
 * the driver has is passed over, whatever it says; names don't mind case, labels and annotations any value.
 */
export function chooseClass(wish: ClassWish, classes: SnapshotClass[]): ClassChoice {
  const { driver } = wish;
  const passedOver: string[] = [];
  for (const { by, name } of NAMED_BY) {
    const wanted = name(wish);
    if (!wanted) continue;
    const named = classes.find((one) => alike(one.name, wanted));
    if (named && alike(named.driver, driver)) return { chosen: named, passedOver };
    const why = named ? `which is of the driver ${named.driver}, not of ${driver}` : "which the cluster doesn't have";
    passedOver.push(`${by} names the VolumeSnapshotClass "${wanted}", ${why}`);
  }
  const own = classes.filter((one) => one.driver === driver);
  for (const distinguishes of DISTINGUISHED) {
    const chosen = own.find((one) => distinguishes(one, own));
    if (chosen) return { chosen, passedOver };
  }
  const found =
    own.length === 0 ? "no VolumeSnapshotClass" : `${own.length} VolumeSnapshotClasses, none with the label ${CLASS}`;
  return { reason: [...passedOver, `the driver ${driver} has ${found}`].join("; ") };
}

function alike(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}
