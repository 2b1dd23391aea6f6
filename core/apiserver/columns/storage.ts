import type { KubernetesObject } from "../../archive/item.ts";
import {
  AGE,
  type Column,
  column,
  count,
  entries,
  flag,
  get,
  NAME,
  NONE,
  text,
  UNSET,
  values,
  wide,
} from "./column.ts";
import { defaultMarked } from "./network.ts";

const MODES: Record<string, string> = {
  ReadWriteOnce: "RWO",
  ReadOnlyMany: "ROX",
  ReadWriteMany: "RWX",
  ReadWriteOncePod: "RWOP",
};
const CLASS = "volume.beta.kubernetes.io/storage-class";
const storageClass = column(
  "StorageClass",
  (object) => object.metadata.annotations?.[CLASS] ?? text(object, "spec.storageClassName"),
);
const attributesClass = column("VolumeAttributesClass", "spec.volumeAttributesClassName", UNSET);
const volumeMode = wide(column("VolumeMode", "spec.volumeMode", UNSET));

/** Volumes, and what they are made by. */
export const STORAGE: Record<string, Column[]> = {
  persistentvolumes: [
    NAME,
    column("Capacity", "spec.capacity.storage", "0"),
    column("Access Modes", (volume) => modes(volume, "spec.accessModes")),
    column("Reclaim Policy", "spec.persistentVolumeReclaimPolicy"),
    column("Status", phase),
    column("Claim", (volume) => {
      const claim = get(volume, "spec.claimRef");
      return claim ? `${text(claim, "namespace")}/${text(claim, "name")}` : "";
    }),
    ...[storageClass, attributesClass, column("Reason", "status.reason"), AGE, volumeMode],
  ],
  persistentvolumeclaims: [
    NAME,
    column("Status", phase),
    column("Volume", "spec.volumeName"),
    column("Capacity", (claim) => bound(claim) && (text(claim, "status.capacity.storage") || "0")),
    column("Access Modes", (claim) => bound(claim) && modes(claim, "status.accessModes")),
    ...[storageClass, attributesClass, AGE, volumeMode],
  ],
  "storageclasses.storage.k8s.io": [
    { ...NAME, cell: defaultClass },
    column("Provisioner", "provisioner"),
    column("ReclaimPolicy", "reclaimPolicy", "Delete"),
    column("VolumeBindingMode", "volumeBindingMode", "Immediate"),
    column("AllowVolumeExpansion", "allowVolumeExpansion", false),
    AGE,
  ],
  "volumeattributesclasses.storage.k8s.io": [NAME, column("DriverName", "driverName"), AGE],
  "volumeattachments.storage.k8s.io": [
    NAME,
    column("Attacher", "spec.attacher", "", { format: "name" }),
    column("PV", "spec.source.persistentVolumeName"),
    column("Node", "spec.nodeName"),
    flag("Attached", "status.attached"),
    AGE,
  ],
  "csinodes.storage.k8s.io": [NAME, count("Drivers", (node) => entries(node, "spec.drivers").length), AGE],
  "csidrivers.storage.k8s.io": [
    NAME,
    flag("AttachRequired", "spec.attachRequired", true),
    flag("PodInfoOnMount", "spec.podInfoOnMount"),
    flag("StorageCapacity", "spec.storageCapacity"),
    column("TokenRequests", (driver) => {
      const requests = get(driver, "spec.tokenRequests");
      return Array.isArray(requests) ? requests.map((one) => text(one, "audience")).join(",") : UNSET;
    }),
    flag("RequiresRepublish", "spec.requiresRepublish"),
    column("Modes", (driver) => values(driver, "spec.volumeLifecycleModes").join(",") || NONE),
    AGE,
  ],
};

function defaultClass(object: KubernetesObject, since: (time: unknown) => string): unknown {
  const [stable, beta] = ["storageclass.kubernetes.io", "storageclass.beta.kubernetes.io"].map((domain) =>
    defaultMarked(`${domain}/is-default-class`)(object, since),
  );
  return stable === object.metadata.name ? beta : stable;
}

function phase(object: KubernetesObject): string {
  return object.metadata.deletionTimestamp ? "Terminating" : text(object, "status.phase");
}

function bound(claim: KubernetesObject): string {
  return text(claim, "spec.volumeName");
}

/** Each mode once, in Kubernetes' own order. */
function modes(object: KubernetesObject, path: string): string {
  const given = values(object, path).map(String);
  return Object.keys(MODES)
    .filter((mode) => given.includes(mode))
    .map((mode) => MODES[mode])
    .join(",");
}
