import type { ItemId, KubernetesObject } from "./archive/item.ts";
import { BACKUP_NAME } from "./labels.ts";
import { at, entriesOf } from "./objects/fields.ts";
import { EVENTS, SNAPSHOT_CLASSES, SNAPSHOT_CONTENTS, SNAPSHOTS, VOLUMES } from "./objects/resources.ts";
import { rowsByResource } from "./objects/rows.ts";

/** What the rules know beside the object itself. */
export interface SkipFacts {
  /** "namespace/name" (of the source) of the Services with a selector. */
  selectingServices: Set<string>;
  /** Names of the target's Nodes. */
  nodes: Set<string>;
  /** The spec's. */
  scaleTo?: number;
  /** Names of volumes whose claims get new ones, filled with copies of their data; and of those that are made anew of a snapshot. */
  refilled?: ReadonlySet<string>;
  remade?: ReadonlySet<string>;
  /** Names of volumes whose data the backup has, and that don't come back. */
  forgone?: ReadonlySet<string>;
  /** Whether the target knows VolumeSnapshots, or will; it does where not given. */
  snapshots?: boolean;
}

type Metadata = KubernetesObject["metadata"];

/** Objects that are not restored, and why; never a warning. All of the resources' objects where neither `when` nor `inside` is given. */
export interface Skip {
  /** Group-resource strings; undefined stands for all. */
  resources?: string[];
  why: string;
  /** Which objects, by their metadata (without `managedFields`). `id` is the identity in the backup. */
  when?: (metadata: Metadata, id: ItemId, facts: SkipFacts) => boolean;
  /** Which of them, by what is inside them. Objects are parsed for it, so it doesn't go without `resources`. */
  inside?: (object: KubernetesObject, facts: SkipFacts) => boolean;
}

/** What every cluster has of itself or makes by itself, and what is over; first match wins. */
export const SKIPS: Skip[] = [
  { resources: ["nodes"], why: "every cluster has its own nodes" },
  { resources: EVENTS, why: "events tell what happened in the source cluster" },
  {
    resources: ["csinodes.storage.k8s.io", "csistoragecapacities.storage.k8s.io"],
    why: "storage drivers report it for this cluster's nodes",
  },
  { resources: ["volumeattachments.storage.k8s.io"], why: "volumes are attached where their Pods run now" },
  { resources: ["resourceslices.resource.k8s.io"], why: "device drivers report it for this cluster's nodes" },
  {
    resources: [
      "backups.velero.io",
      "restores.velero.io",
      "resticrepositories.velero.io",
      "backuprepositories.velero.io",
    ],
    why: "Velero never restores its own records",
  },
  {
    resources: ["certificatesigningrequests.certificates.k8s.io", "podcertificaterequests.certificates.k8s.io"],
    why: "a request to the source cluster's signers",
  },
  {
    resources: ["storageversions.internal.apiserver.k8s.io", "leasecandidates.coordination.k8s.io"],
    why: "the API servers' own bookkeeping",
  },
  { resources: ["componentstatuses"], why: "a report of the API server, not an object" },
  {
    resources: ["namespaces"],
    why: "every cluster has it of itself",
    when: ({ name }) => ["default", "kube-system", "kube-public", "kube-node-lease"].includes(name),
  },
  {
    resources: ["services", "endpoints", "endpointslices.discovery.k8s.io"],
    why: "every API server publishes itself",
    when: (_object, { namespace, name }) => namespace === "default" && name === "kubernetes",
  },
  {
    resources: ["configmaps"],
    why: "every cluster publishes its own certificate authority",
    when: (_object, { name }) => name === "kube-root-ca.crt",
  },
  {
    resources: ["configmaps"],
    why: "this cluster's components keep their own settings in it",
    when: (_object, { namespace, name }) =>
      (namespace === "kube-system" &&
        /^(extension-apiserver-authentication|kube-apiserver-legacy-service-account-token-tracking|kubeadm-config|kubelet-config.*)$/.test(
          name,
        )) ||
      (namespace === "kube-public" && name === "cluster-info"),
  },
  {
    resources: ["secrets"],
    why: "it lets nodes join the source cluster",
    when: (_metadata, { namespace }) => namespace === "kube-system",
    inside: ({ type }) => type === "bootstrap.kubernetes.io/token",
  },
  {
    why: "API servers make the default roles, bindings and policies themselves",
    when: ({ labels, annotations }) =>
      labels?.["kubernetes.io/bootstrapping"] !== undefined &&
      annotations?.["rbac.authorization.kubernetes.io/autoupdate"] !== "false",
  },
  {
    resources: ["flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io"],
    why: "API servers make and keep the suggested ones themselves",
    when: ({ annotations }) => annotations?.["apf.kubernetes.io/autoupdate-spec"] === "true",
  },
  {
    resources: ["priorityclasses.scheduling.k8s.io"],
    why: "every cluster has it of itself",
    when: ({ name }) => name.startsWith("system-"),
  },
  {
    resources: ["apiservices.apiregistration.k8s.io"],
    why: "API servers register what they serve themselves",
    when: ({ labels }) => labels?.["kube-aggregator.kubernetes.io/automanaged"] !== undefined,
  },
  {
    resources: ["leases.coordination.k8s.io"],
    why: "a heartbeat of the source cluster's components",
    when: ({ labels }, { namespace }) =>
      ["kube-system", "kube-node-lease"].includes(namespace) ||
      labels?.["apiserver.kubernetes.io/identity"] !== undefined,
  },
  {
    resources: ["ipaddresses.networking.k8s.io"],
    why: "API servers make them when Services get their addresses",
    when: ({ labels }) => labels?.["ipaddress.kubernetes.io/managed-by"] === "ipallocator.k8s.io",
  },
  {
    resources: ["servicecidrs.networking.k8s.io"],
    why: "every cluster has its own range of addresses",
    when: ({ name }) => name === "kubernetes",
  },
  {
    resources: ["clustertrustbundles.certificates.k8s.io"],
    why: "the cluster's own signers publish it",
    when: ({ name }) => name.startsWith("kubernetes.io:"),
  },
  {
    resources: ["endpointslices.discovery.k8s.io"],
    why: "made from its Service or Endpoints",
    when: ({ labels }) =>
      /^endpointslice(mirroring)?-controller\.k8s\.io$/.test(labels?.["endpointslice.kubernetes.io/managed-by"] ?? ""),
  },
  {
    resources: ["endpoints"],
    why: "made from its Service",
    when: ({ labels }, { namespace, name }, { selectingServices }) =>
      labels?.["endpoints.kubernetes.io/managed-by"] === "endpoint-controller" ||
      selectingServices.has(`${namespace}/${name}`),
  },
  {
    resources: ["secrets"],
    why: "a token that the source cluster made for a ServiceAccount",
    when: ({ name, annotations }) => {
      const account = annotations?.["kubernetes.io/service-account.name"];
      return !!account && name.startsWith(`${account}-token-`);
    },
    inside: ({ type }) => type === "kubernetes.io/service-account-token",
  },
  {
    resources: ["pods"],
    why: "it mirrors a file on a node of the source cluster",
    when: ({ annotations }) => annotations?.["kubernetes.io/config.mirror"] !== undefined,
  },
  {
    resources: ["pods"],
    why: "it has finished",
    inside: (object) => ["Succeeded", "Failed"].includes(String(at(object, "status", "phase"))),
  },
  {
    resources: ["jobs.batch"],
    why: "it has finished",
    inside: (object) =>
      at(object, "status", "completionTime") !== undefined ||
      entriesOf(object, "status", "conditions").some(
        ({ type, status }) => ["Complete", "Failed"].includes(String(type)) && status === "True",
      ),
  },
  {
    resources: ["pods"],
    why: "its Job makes new ones",
    when: (metadata) => controllerOf(metadata)?.kind === "Job",
  },
  {
    resources: ["pods"],
    why: "scaleTo: what makes it is scaled, and makes new ones",
    when: (metadata, _id, { scaleTo }) => isScaledAway(metadata, scaleTo),
  },
  {
    resources: ["pods"],
    why: "its node isn't in this cluster; its DaemonSet makes one for each node there is",
    inside: (object, { nodes }) => {
      const node = boundNode(object);
      return controllerOf(object.metadata)?.kind === "DaemonSet" && node !== undefined && !nodes.has(node);
    },
  },
  {
    resources: [SNAPSHOTS, SNAPSHOT_CONTENTS],
    why: "a backup took it: a restore makes it anew of its handle, for the claim whose data it holds",
    when: ({ annotations, labels }) =>
      annotations?.["velero.io/csi-volumesnapshot-handle"] !== undefined || labels?.[BACKUP_NAME] !== undefined,
  },
  {
    resources: [SNAPSHOTS, SNAPSHOT_CONTENTS, SNAPSHOT_CLASSES],
    why: "this cluster knows no VolumeSnapshots: it is of no use here",
    when: (_metadata, _id, { snapshots }) => snapshots === false,
  },
  {
    resources: [VOLUMES],
    why: "its claim gets a new one, which is filled with the copy of its data",
    when: (_metadata, { name }, { refilled }) => refilled?.has(name) === true,
  },
  {
    resources: [VOLUMES],
    why: "its data are in the backup and don't come back, as its claim tells, and its reclaim policy is Delete: its claim gets a new, empty volume",
    when: (_metadata, { name }, { forgone }) => forgone?.has(name) === true,
    inside: (object) => at(object, "spec", "persistentVolumeReclaimPolicy") === "Delete",
  },
  {
    resources: [VOLUMES],
    why: "its data isn't in the backup and its reclaim policy is Delete: its claim gets a new, empty volume",
    when: (_metadata, { name }, { remade }) => remade?.has(name) !== true,
    inside: (object) => at(object, "spec", "persistentVolumeReclaimPolicy") === "Delete",
  },
  {
    resources: ["resourceclaims.resource.k8s.io"],
    why: "made for one Pod from its template; the Pod gets a new one",
    when: ({ annotations }) => annotations?.["resource.kubernetes.io/pod-claim-name"] !== undefined,
  },
];

const skipsOf = rowsByResource(SKIPS);

/** Why an object isn't restored; undefined where it is. `parsed` gives all of it: it is asked for where a rule looks inside. */
export function skipReason(
  metadata: Metadata,
  id: ItemId,
  facts: SkipFacts,
  parsed: () => KubernetesObject,
): string | undefined {
  return skipsOf(id.resource).find(
    ({ when, inside }) => (!when || when(metadata, id, facts)) && (!inside || inside(parsed(), facts)),
  )?.why;
}

/** Whether no object of the resource (a group-resource string) is ever restored. */
export function neverRestored(resource: string): boolean {
  return SKIPS.some(({ resources, when, inside }) => !when && !inside && resources?.includes(resource));
}

/** Controllers whose Pods come back by themselves when they are set going, by kind; DaemonSets only where they stand still at all. */
const SCALED_KINDS = ["ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet"];

/** Whether a Pod belongs to what `scaleTo` scales: restored, its controller would delete it at once. */
function isScaledAway(metadata: Metadata, scaleTo: number | undefined): boolean {
  const kind = controllerOf(metadata)?.kind ?? "";
  return scaleTo !== undefined && SCALED_KINDS.includes(kind) && (kind !== "DaemonSet" || scaleTo === 0);
}

function controllerOf({ ownerReferences }: Metadata) {
  return ownerReferences?.find(({ controller }) => controller);
}

/** The node that a DaemonSet's Pod is for: its affinity names it, as the DaemonSet controller wrote it. */
function boundNode(object: KubernetesObject): string | undefined {
  const terms = entriesOf(
    object,
    "spec",
    "affinity",
    "nodeAffinity",
    "requiredDuringSchedulingIgnoredDuringExecution",
    "nodeSelectorTerms",
  );
  for (const term of terms) {
    for (const { key, values } of entriesOf(term, "matchFields")) {
      if (key === "metadata.name" && Array.isArray(values)) return String(values[0]);
    }
  }
  return undefined;
}
