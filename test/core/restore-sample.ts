import type { KubernetesObject } from "../../core/archive/item.ts";
import { type Archive, openArchive } from "../../core/archive/reader.ts";
import { connect, type Kube, type KubeRequest, type KubeResponse } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { backupKeys } from "../../core/layout.ts";
import type { Bucket } from "../../core/ports.ts";
import { type Problem, problemLine } from "../../core/report.ts";
import { type ItemOutcome, type RestoreInput, type RestoreSpec, restore } from "../../core/restore/restore.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { KEYS, put, write } from "./archive-sample.ts";

const RESOURCES: Record<string, string> = {
  ClusterRoleBinding: "clusterrolebindings.rbac.authorization.k8s.io",
  ConfigMap: "configmaps",
  ControllerRevision: "controllerrevisions.apps",
  CronJob: "cronjobs.batch",
  CustomResourceDefinition: "customresourcedefinitions.apiextensions.k8s.io",
  DaemonSet: "daemonsets.apps",
  Deployment: "deployments.apps",
  Gadget: "gadgets.gone.example.com",
  HorizontalPodAutoscaler: "horizontalpodautoscalers.autoscaling",
  Ingress: "ingresses.networking.k8s.io",
  Job: "jobs.batch",
  Namespace: "namespaces",
  PersistentVolume: "persistentvolumes",
  PersistentVolumeClaim: "persistentvolumeclaims",
  Pod: "pods",
  PodDisruptionBudget: "poddisruptionbudgets.policy",
  PriorityClass: "priorityclasses.scheduling.k8s.io",
  ReplicaSet: "replicasets.apps",
  RoleBinding: "rolebindings.rbac.authorization.k8s.io",
  Secret: "secrets",
  Service: "services",
  ServiceAccount: "serviceaccounts",
  StatefulSet: "statefulsets.apps",
  StorageClass: "storageclasses.storage.k8s.io",
  VolumeSnapshotClass: "volumesnapshotclasses.snapshot.storage.k8s.io",
  Widget: "widgets.example.com",
};

/** The UID of an object of the backup, told by a number. */
export const uid = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;

/** An object of the backup; `name` is "namespace/name" or "name". */
export function sample(
  apiVersion: string,
  kind: string,
  name: string,
  more: Partial<KubernetesObject> = {},
): KubernetesObject {
  const [namespace, inner] = name.includes("/") ? name.split("/") : [undefined, name];
  const { metadata, ...fields } = more;
  return {
    apiVersion,
    kind,
    ...fields,
    metadata: { name: inner!, ...(namespace && { namespace }), resourceVersion: "1", ...metadata },
  };
}

/** Metadata of an owner, and of what it owns. */
export const owner = (number: number) => ({ metadata: { uid: uid(number) } as KubernetesObject["metadata"] });
export const ownedBy = (kind: string, name: string, number: number, more: object = {}) =>
  ({
    metadata: { ...more, ownerReferences: [{ apiVersion: "v1", kind, name, uid: uid(number), controller: true }] },
  }) as Partial<KubernetesObject>;

/** The archive of a backup that holds the objects, in the order of a real one. */
export async function archiveOf(objects: KubernetesObject[], damage?: (tar: Buffer) => void): Promise<Archive> {
  return await openArchive(await bucketOf(objects, damage), KEYS);
}

/** A bucket with that archive in it. */
export async function bucketOf(objects: KubernetesObject[], damage?: (tar: Buffer) => void): Promise<Bucket> {
  const items = objects.map((object) => {
    const { name, namespace = "" } = object.metadata;
    const resource = RESOURCES[object.kind]!;
    return {
      id: { resource, namespace, name },
      version: object.apiVersion.split("/").at(-1)!,
      body: Buffer.from(JSON.stringify(object)),
    };
  });
  const path = ({ id }: (typeof items)[number]) => `${id.resource} ${id.namespace} ${id.name}`;
  const archive = await write(items.sort((a, b) => (path(a) < path(b) ? -1 : 1)));
  damage?.(archive.tar);
  return await put(memoryBucket(), archive);
}

/** A bucket with the backup "b" of the objects. */
export async function backedUp(objects: KubernetesObject[]): Promise<Bucket> {
  const bucket = await bucketOf(objects);
  const record = { kind: "Backup", metadata: { name: "b" }, status: { phase: "Completed" } };
  await bucket.put(backupKeys("b").metadata, Buffer.from(JSON.stringify(record)));
  return bucket;
}

/** Answers a request, or leaves it to the server. */
export type Intercept = (
  request: KubeRequest,
  next: (instead?: KubeRequest) => Promise<KubeResponse>,
) => Promise<KubeResponse> | undefined;

/** A client and the writes that it has sent: "POST v1/namespaces/shop/pods". */
export type WatchedKube = Kube & { readonly writes: string[] };

/** A client that notes the writes it sends, with `intercept` in front. */
export function watchedKube(kubeconfig: string, intercept?: Intercept): WatchedKube {
  const kube = connect(readKubeconfig(kubeconfig));
  const writes: string[] = [];
  return {
    ...kube,
    writes,
    request(request) {
      if (request.method && request.method !== "GET")
        writes.push(`${request.method} ${request.path.replace(/^\/apis?\//, "")}`);
      return intercept?.(request, (instead) => kube.request(instead ?? request)) ?? kube.request(request);
    },
  };
}

/** A restore's result, and what became of each item: "created pods shop/web-1: why". */
export async function restored(
  kube: Kube,
  archive: Archive,
  spec: Partial<RestoreSpec> = {},
  more: Partial<RestoreInput> = {},
) {
  const outcomes: ItemOutcome[] = [];
  const result = await restore({
    kube,
    archive,
    name: "r",
    backupName: "b",
    spec: { backupName: "b", ...spec },
    signal: new AbortController().signal,
    log: () => {},
    outcome: (outcome) => outcomes.push(outcome),
    ...more,
  });
  const lines = outcomes.map(
    ({ action, resource, namespace, name, reason }) =>
      `${action} ${resource} ${namespace && `${namespace}/`}${name}${reason ? `: ${reason}` : ""}`,
  );
  return { result, outcomes, lines };
}

/** Problems as people read them. */
export const said = (problems: Problem[]) => problems.map(problemLine).join("\n");

/** An answer as the API server would give it. */
export function answer(status: number, body: object, more: Partial<KubeResponse> = {}): Promise<KubeResponse> {
  return Promise.resolve({
    status,
    headers: {},
    body: Buffer.from(JSON.stringify(body)),
    attempts: 1,
    latencyMs: 1,
    ...more,
  });
}

/** The owners that an object names. */
export const references = (object: KubernetesObject) =>
  object.metadata.ownerReferences?.map(({ kind, name, uid }) => ({ kind, name, uid }));

/** Defines Widgets. */
export const definition = sample("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com", {
  spec: {
    group: "example.com",
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList" },
    versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
  },
});
export const namespace = sample("v1", "Namespace", "shop", {
  metadata: { labels: { team: "web" } } as unknown as KubernetesObject["metadata"],
});

/** A custom resource that owns a Secret, and a Deployment with all below it. */
export const shop = [
  definition,
  namespace,
  sample("v1", "ConfigMap", "shop/settings", { data: { a: "b" } }),
  sample("v1", "ConfigMap", "shop/kube-root-ca.crt", { data: { "ca.crt": "the source's" } }),
  sample("v1", "ServiceAccount", "shop/default"),
  sample("example.com/v1", "Widget", "shop/w", owner(1)),
  sample("v1", "Secret", "shop/made", { type: "Opaque", ...ownedBy("Widget", "w", 1) }),
  sample("apps/v1", "Deployment", "shop/web", { spec: { replicas: 1 }, ...owner(2) }),
  sample("apps/v1", "ReplicaSet", "shop/web-1", {
    spec: { replicas: 1 },
    ...ownedBy("Deployment", "web", 2, { uid: uid(3) }),
  }),
  sample("v1", "Pod", "shop/web-1-a", {
    spec: { nodeName: "n" },
    status: { phase: "Running" },
    ...ownedBy("ReplicaSet", "web-1", 3),
  }),
  sample("v1", "Service", "shop/web", { spec: { clusterIP: "10.7.7.7", ports: [{ port: 80 }] } }),
];
