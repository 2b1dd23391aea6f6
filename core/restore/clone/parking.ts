import type { KubernetesObject } from "../../archive/item.ts";
import { at, entriesOf, type Fields, fieldsAt, isFields } from "../../objects/fields.ts";
import type { Fix } from "../fixes.ts";

/**
 * How objects of some resources are brought up standing still, and set going later. Parking notes in an annotation
 * what the backup says; where the object stands still by itself, nothing is changed.
 */
export interface Parking {
  id: string;
  /** Group-resource strings, in the order in which they are set going. */
  resources: string[];
  why: string;
  annotation: string;
  /** Changes the object in place; gives the annotation's value, or undefined where nothing had to be changed. `scaleTo` is how many replicas it may have. */
  park: (object: KubernetesObject, scaleTo: number) => string | undefined;
  /** The merge patch, without metadata, that sets a parked object going; undefined where somebody else does that. `noted` is the annotation's value. */
  unpark: (live: KubernetesObject, noted: string) => Fields | undefined;
  /** What setting it going did, for people. */
  told: (noted: string) => string;
}

/** A label that no node has, and the name of a gate that no scheduler opens. */
export const PARKED = "lifeboat/parked";

const REPLICAS = "lifeboat/replicas";

/** Every way of standing still. */
export const PARKINGS: Parking[] = [
  {
    id: "park-replicas",
    resources: ["replicationcontrollers", "deployments.apps", "statefulsets.apps", "replicasets.apps"],
    why: "scaleTo; a HorizontalPodAutoscaler does nothing for what is scaled to zero",
    annotation: REPLICAS,
    park({ spec }, scaleTo) {
      const replicas = Number(at(spec, "replicas") ?? 1);
      if (!isFields(spec) || replicas <= scaleTo) return undefined;
      spec.replicas = scaleTo;
      return String(replicas);
    },
    unpark: (live, noted) =>
      /^\d+$/.test(noted) && !hasController(live) ? { spec: { replicas: Number(noted) } } : undefined,
    told: (noted) => `scaled to ${noted}`,
  },
  {
    id: "park-claims",
    resources: ["statefulsets.apps"],
    why: "one that exists and is scaled down would take its claims, and their data, with it",
    annotation: "lifeboat/when-scaled",
    park({ spec }) {
      const policy = fieldsAt(spec, "persistentVolumeClaimRetentionPolicy");
      if (policy?.whenScaled !== "Delete") return undefined;
      policy.whenScaled = "Retain";
      return "Delete";
    },
    unpark: () => ({ spec: { persistentVolumeClaimRetentionPolicy: { whenScaled: "Delete" } } }),
    told: () => "deletes claims again when it is scaled down",
  },
  {
    id: "park-daemon-sets",
    resources: ["daemonsets.apps"],
    why: "a DaemonSet can't be scaled: it is given a label to look for that no node has",
    annotation: PARKED,
    park({ spec }, scaleTo) {
      const pod = fieldsAt(spec, "template", "spec");
      if (scaleTo > 0 || !pod) return undefined;
      pod.nodeSelector = { ...fieldsAt(pod, "nodeSelector"), [PARKED]: "true" };
      return "node-selector";
    },
    unpark(live) {
      const others = Object.keys(fieldsAt(live, "spec", "template", "spec", "nodeSelector") ?? {}).length > 1;
      return { spec: { template: { spec: { nodeSelector: others ? { [PARKED]: null } : null } } } };
    },
    told: () => "given back its nodes",
  },
  {
    id: "park-pods",
    resources: ["pods"],
    why: "Pods that nothing of the above makes can't be scaled: none is scheduled while its gate is closed",
    annotation: PARKED,
    park({ spec }, scaleTo) {
      if (scaleTo > 0 || !isFields(spec)) return undefined;
      spec.schedulingGates = [...entriesOf(spec, "schedulingGates"), { name: PARKED }];
      return "scheduling-gate";
    },
    unpark(live) {
      const others = entriesOf(live, "spec", "schedulingGates").filter(({ name }) => name !== PARKED);
      return { spec: { schedulingGates: others.length ? others : null } };
    },
    told: () => "may be scheduled",
  },
  {
    id: "park-jobs",
    resources: ["jobs.batch", "cronjobs.batch"],
    why: "what runs in the original must not run a second time beside it",
    annotation: "lifeboat/suspend",
    park({ spec }) {
      if (!isFields(spec) || spec.suspend === true) return undefined;
      spec.suspend = true;
      return "false";
    },
    unpark: () => ({ spec: { suspend: false } }),
    told: () => "no longer suspended",
  },
];

/** `scaleTo`, as rows of the table of fixes. */
export const PARKING_FIXES: Fix[] = PARKINGS.map(({ id, resources, why, annotation, park }) => ({
  id,
  resources,
  why,
  source: "scaleTo",
  clusterOwned: false,
  idle: ({ scaleTo }) => scaleTo === undefined,
  apply(object, { scaleTo }) {
    const noted = scaleTo === undefined ? undefined : park(object, scaleTo);
    if (noted === undefined) return;
    object.metadata.annotations = { ...object.metadata.annotations, [annotation]: noted };
  },
}));

/** The merge patch that sets a parked object going, its annotation removed; undefined where it isn't parked. */
export function unparking(live: KubernetesObject, { annotation, unpark }: Parking): Fields | undefined {
  const noted = live.metadata.annotations?.[annotation];
  if (noted === undefined) return undefined;
  const { resourceVersion } = live.metadata;
  return { ...unpark(live, noted), metadata: { resourceVersion, annotations: { [annotation]: null } } };
}

function hasController({ metadata }: KubernetesObject): boolean {
  return metadata.ownerReferences?.some(({ controller }) => controller) ?? false;
}
