import type { KubernetesObject } from "../../../core/index.ts";
import { condition, digest, type Fields, INSTALLED, letters, make, ownedBy, RELEASED } from "./object.ts";

/** A Deployment of the shop, its Service's backend. */
export interface App {
  namespace: string;
  name: string;
  port: number;
  replicas: number;
  /** The image's tag, and that of the release before, whose ReplicaSet is still there. */
  release: string;
  previous: string;
}

export const NODES = ["node-1", "node-2", "node-3"];

/** A Deployment, its two ReplicaSets, its Pods, and what belongs to it: ServiceAccount, ConfigMap, Service. */
export function deployment({ namespace, name, port, replicas, release, previous }: App): KubernetesObject[] {
  const labels = { app: name, "app.kubernetes.io/part-of": namespace };
  const settings = { ports: [{ name: "http", containerPort: port }], envFrom: [{ configMapRef: { name } }] };
  const template = (tag: string, hash: Fields = {}) =>
    podTemplate(`registry.example.com/${namespace}/${name}:${tag}`, { ...labels, ...hash }, settings, {
      serviceAccountName: name,
      ...(namespace === "payments" ? { priorityClassName: "business-critical" } : {}),
    });
  const annotations = (revision: number) => ({ "deployment.kubernetes.io/revision": String(revision) });
  const counts = { replicas, readyReplicas: replicas, availableReplicas: replicas };
  const owner = make(
    `apps/v1 Deployment ${namespace}/${name}`,
    {
      spec: {
        replicas,
        revisionHistoryLimit: 10,
        selector: { matchLabels: { app: name } },
        template: template(release),
      },
      status: { ...counts, updatedReplicas: replicas, observedGeneration: 2, conditions: [condition("Available")] },
    },
    { labels, generation: 2, annotations: annotations(2) },
  );
  const replicaSet = (tag: string, revision: number, creationTimestamp: string) => {
    const hash = { "pod-template-hash": letters(`${name}:${tag}`, 10) };
    const count = tag === release ? replicas : 0;
    const spec = { replicas: count, selector: { matchLabels: { app: name, ...hash } }, template: template(tag, hash) };
    return make(
      `apps/v1 ReplicaSet ${namespace}/${name}-${hash["pod-template-hash"]}`,
      { spec, status: { ...(count > 0 ? counts : { replicas: 0 }), observedGeneration: 1 } },
      { labels: { ...labels, ...hash }, creationTimestamp, annotations: annotations(revision), ...ownedBy(owner) },
    );
  };
  const current = replicaSet(release, 2, RELEASED);
  const ordinals = Array.from({ length: replicas }, (_, index) => letters(`${name}-${index}`, 5));
  const running = pods(current, ordinals);
  return [
    ...[owner, replicaSet(previous, 1, INSTALLED), current, ...running],
    make(`v1 ServiceAccount ${namespace}/${name}`, {}, { labels }),
    make(`v1 ConfigMap ${namespace}/${name}`, { data: { LOG_LEVEL: "info", PORT: String(port) } }, { labels }),
    ...service(namespace, name, port, running, name === "web" ? { type: "NodePort", nodePort: 30080 } : {}),
  ];
}

/** A StatefulSet with its claims and their volumes, bound. Of the volumes' disks only the names exist. */
export function database(): KubernetesObject[] {
  const labels = { app: "db" };
  const mounts = { volumeMounts: [{ name: "data", mountPath: "/data" }], envFrom: [{ secretRef: { name: "db" } }] };
  const template = podTemplate("docker.io/library/postgres:17.5", labels, mounts);
  const size = { storage: "10Gi" };
  const claim = { accessModes: ["ReadWriteOnce"], storageClassName: "fast", volumeMode: "Filesystem" };
  const revision = `db-${letters("db", 9)}`;
  const set = make("apps/v1 StatefulSet shop/db", {
    spec: {
      ...{ replicas: 2, serviceName: "db", selector: { matchLabels: labels }, template },
      volumeClaimTemplates: [{ metadata: { name: "data" }, spec: { ...claim, resources: { requests: size } } }],
    },
    status: { replicas: 2, readyReplicas: 2, currentRevision: revision, updateRevision: revision },
  });
  const running = pods(set, ["0", "1"], (name) => ({
    volumes: [{ name: "data", persistentVolumeClaim: { claimName: `data-${name}` } }],
  }));
  const storage = running.flatMap(({ metadata: { name } }) => {
    const volumeName = `pvc-${digest(name).slice(0, 8)}`;
    const spec = { ...claim, resources: { requests: size }, volumeName };
    const bound = { phase: "Bound", accessModes: claim.accessModes, capacity: size };
    const marks = { "pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes" };
    const metadata = { labels, annotations: marks, finalizers: ["kubernetes.io/pvc-protection"] };
    const held = make(`v1 PersistentVolumeClaim shop/data-${name}`, { spec, status: bound }, metadata);
    const claimRef = { kind: held.kind, namespace: "shop", name: held.metadata.name, uid: held.metadata.uid };
    const disk = { capacity: size, csi: { driver: "disks.example.com", volumeHandle: `disk-${name}` } };
    const volume = { spec: { ...claim, ...disk, claimRef, persistentVolumeReclaimPolicy: "Retain" }, status: bound };
    return [held, make(`v1 PersistentVolume ${volumeName}`, volume, { finalizers: ["kubernetes.io/pv-protection"] })];
  });
  const history = make(
    `apps/v1 ControllerRevision shop/${revision}`,
    { revision: 1, data: { spec: { template } } },
    ownedBy(set),
  );
  return [set, history, ...running, ...storage, ...service("shop", "db", 5432, running, { clusterIP: "None" })];
}

/** A DaemonSet with a Pod on each node. */
export function nodeExporter(): KubernetesObject[] {
  const labels = { app: "node-exporter" };
  const template = podTemplate("quay.io/prometheus/node-exporter:v1.9.1", labels, {}, { hostNetwork: true });
  const set = make("apps/v1 DaemonSet monitoring/node-exporter", {
    spec: { selector: { matchLabels: labels }, template },
    status: { desiredNumberScheduled: 3, currentNumberScheduled: 3, numberReady: 3, numberMisscheduled: 0 },
  });
  const line = `apps/v1 ControllerRevision monitoring/node-exporter-${letters("node-exporter", 9)}`;
  const history = make(line, { revision: 1, data: { spec: { template } } }, ownedBy(set));
  return [
    set,
    history,
    ...pods(
      set,
      NODES.map((name) => letters(name, 5)),
    ),
  ];
}

/** A CronJob with its last Job, finished, and that Job's Pod. */
export function report(): KubernetesObject[] {
  const [startTime, completionTime] = ["2026-11-12T04:00:00Z", "2026-11-12T04:00:41Z"];
  const template = podTemplate("registry.example.com/shop/report:1.3.0", {}, {}, { restartPolicy: "OnFailure" });
  const cron = make("batch/v1 CronJob shop/report", {
    spec: { schedule: "0 4 * * *", concurrencyPolicy: "Forbid", jobTemplate: { spec: { template } } },
    status: { lastScheduleTime: startTime, lastSuccessfulTime: completionTime },
  });
  const line = "batch/v1 Job shop/report-29910240";
  const selected = { "batch.kubernetes.io/controller-uid": make(line).metadata.uid };
  const labels = { ...selected, "batch.kubernetes.io/job-name": "report-29910240" };
  const spec = { completions: 1, backoffLimit: 6, selector: { matchLabels: selected } };
  const status = { succeeded: 1, startTime, completionTime, conditions: [condition("Complete")] };
  const metadata = { labels, creationTimestamp: startTime, ...ownedBy(cron) };
  const job = make(line, { spec: { ...spec, template: { ...template, metadata: { labels } } }, status }, metadata);
  const finished = pods(job, [letters("report", 5)]).map((pod) => ({
    ...pod,
    status: { phase: "Succeeded", startTime },
  }));
  return [cron, job, ...finished];
}

function podTemplate(image: string, labels: Fields, container: Fields, spec: Fields = {}): Fields {
  const name = /([^/:]+):[^/]*$/.exec(image)?.[1];
  const containers = [{ name, image, imagePullPolicy: "IfNotPresent", resources: {}, ...container }];
  const defaults = { restartPolicy: "Always", dnsPolicy: "ClusterFirst", schedulerName: "default-scheduler" };
  return { metadata: { labels }, spec: { containers, ...defaults, securityContext: {}, ...spec } };
}

/** A Pod for each suffix from the owner's template, as kubelets report them running. */
function pods(
  owner: KubernetesObject,
  suffixes: string[],
  more: (name: string) => Fields = () => ({}),
): KubernetesObject[] {
  const { template } = owner.spec as { template: { metadata: Fields; spec: Fields & { containers: Fields[] } } };
  return suffixes.map((suffix, index) => {
    const name = `${owner.metadata.name}-${suffix}`;
    const node = index % NODES.length;
    const podIP = `10.244.${node}.${Number.parseInt(digest(name).slice(0, 2), 16)}`;
    const containerStatuses = template.spec.containers.map((container) => ({
      ...{ name: container.name, image: container.image, ready: true, restartCount: 0 },
      state: { running: { startedAt: RELEASED } },
    }));
    const conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map((type) => condition(type));
    const status = { phase: "Running", podIP, startTime: RELEASED, conditions, containerStatuses };
    const spec = { ...template.spec, nodeName: NODES[node], priority: 0, ...more(name) };
    const { namespace } = owner.metadata;
    const metadata = { ...template.metadata, creationTimestamp: RELEASED, ...ownedBy(owner) };
    return make(`v1 Pod ${namespace}/${name}`, { spec, status }, metadata);
  });
}

/** A Service, with the Endpoints and the EndpointSlice that controllers keep for it. */
function service(
  namespace: string,
  name: string,
  port: number,
  backends: KubernetesObject[],
  how: Fields,
): KubernetesObject[] {
  const { nodePort, ...spec } = how;
  const labels = { app: name };
  const ports = [{ name: "http", port: 80, targetPort: port, protocol: "TCP", ...(nodePort ? { nodePort } : {}) }];
  const front = make(
    `v1 Service ${namespace}/${name}`,
    { spec: { type: "ClusterIP", selector: labels, ports, ...spec }, status: { loadBalancer: {} } },
    { labels },
  );
  const open = [{ name: "http", port, protocol: "TCP" }];
  const targets = backends.map(({ kind, metadata, spec, status }) => ({
    ip: (status as Fields).podIP,
    nodeName: (spec as Fields).nodeName,
    targetRef: { kind, namespace, name: metadata.name, uid: metadata.uid },
  }));
  const endpoints = targets.map(({ ip, ...rest }) => ({ addresses: [ip], conditions: { ready: true }, ...rest }));
  const managed = {
    "kubernetes.io/service-name": name,
    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
  };
  return [
    front,
    make(`v1 Endpoints ${namespace}/${name}`, { subsets: [{ addresses: targets, ports: open }] }, { labels }),
    make(
      `discovery.k8s.io/v1 EndpointSlice ${namespace}/${name}-${letters(`slice of ${name}`, 5)}`,
      { addressType: "IPv4", endpoints, ports: open },
      { labels: managed, generateName: `${name}-`, ...ownedBy(front) },
    ),
  ];
}
