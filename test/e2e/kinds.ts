import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { KubernetesObject } from "../../core/index.ts";
import type { Cluster } from "../rig/cluster.ts";

type Rest = Record<string, unknown>;

const NAMESPACE = "kinds";
const labels = { app: "odd", tier: "back" };
const podSpec = (rest: Rest = {}) => ({
  schedulerName: "nobody",
  containers: [
    { name: "main", image: "main:1" },
    { name: "side", image: "side:2" },
  ],
  ...rest,
});
const template = { metadata: { labels }, spec: podSpec() };

function make(apiVersion: string, kind: string, name: string, rest: Rest = {}, metadata: Rest = {}): KubernetesObject {
  return { apiVersion, kind, metadata: { name, namespace: NAMESPACE, ...metadata }, ...rest };
}
function whole(apiVersion: string, kind: string, name: string, rest: Rest = {}, metadata: Rest = {}): KubernetesObject {
  return { apiVersion, kind, metadata: { name, ...metadata }, ...rest };
}

const terminated = (exitCode: number, reason = "", signal = 0) => ({
  terminated: { exitCode, reason, signal, startedAt: "2026-01-01T00:00:00Z", finishedAt: "2026-01-01T01:00:00Z" },
});
const running = { running: { startedAt: "2026-01-01T00:00:00Z" } };
const waiting = (reason: string) => ({ waiting: { reason } });
const of = (name: string, state: object, rest: Rest = {}) => ({
  ...{ name, state, ready: false, restartCount: 0, image: "x", imageID: "x" },
  ...rest,
});
const is = (type: string, status = "True", reason = "") => ({ type, status, reason });
const inits = {
  initContainers: [
    { name: "first", image: "first:1" },
    { name: "sidecar", image: "sidecar:1", restartPolicy: "Always" },
    { name: "last", image: "last:1" },
  ],
};

/** Pods in about every state that `kubectl get pods` has a word for: spec and status. */
const PODS: Record<string, [spec: Rest, status: Rest]> = {
  new: [{}, {}],
  "two-running": [
    { readinessGates: [{ conditionType: "a.b/c" }, { conditionType: "d.e/f" }] },
    {
      phase: "Running",
      podIPs: [{ ip: "10.1.2.3" }],
      podIP: "10.1.2.3",
      conditions: [is("Ready"), is("a.b/c")],
      containerStatuses: [of("main", running, { ready: true }), of("side", running, { ready: true })],
    },
  ],
  crashing: [
    {},
    {
      phase: "Running",
      containerStatuses: [
        of("main", waiting("CrashLoopBackOff"), { restartCount: 4, lastState: terminated(1, "Error") }),
        of("side", running, { ready: true, restartCount: 1, lastState: terminated(0, "Completed") }),
      ],
    },
  ],
  killed: [{}, { phase: "Failed", containerStatuses: [of("main", terminated(137, "", 9)), of("side", terminated(2))] }],
  evicted: [{}, { phase: "Failed", reason: "Evicted" }],
  completed: [
    {},
    {
      phase: "Succeeded",
      containerStatuses: [of("main", terminated(0, "Completed")), of("side", terminated(0, "Completed"))],
    },
  ],
  "half-done": [
    {},
    {
      phase: "Running",
      conditions: [is("Ready", "False")],
      containerStatuses: [of("main", terminated(0, "Completed")), of("side", running, { ready: true })],
    },
  ],
  "half-done-ready": [
    {},
    {
      phase: "Running",
      conditions: [is("Ready")],
      containerStatuses: [of("main", terminated(0, "Completed")), of("side", running, { ready: true })],
    },
  ],
  "half-failed": [
    {},
    {
      phase: "Running",
      containerStatuses: [of("main", terminated(0, "Completed")), of("side", terminated(3, "Error"))],
    },
  ],
  "init-first": [inits, { phase: "Pending", initContainerStatuses: [of("first", waiting("PodInitializing"))] }],
  "init-pulls": [inits, { phase: "Pending", initContainerStatuses: [of("first", waiting("ImagePullBackOff"))] }],
  "init-fails": [
    inits,
    { phase: "Pending", initContainerStatuses: [of("first", terminated(1, "Error"), { restartCount: 2 })] },
  ],
  "init-exits": [inits, { phase: "Pending", initContainerStatuses: [of("first", terminated(7))] }],
  "init-signal": [inits, { phase: "Pending", initContainerStatuses: [of("first", terminated(137, "", 9))] }],
  "init-last": [
    inits,
    {
      phase: "Pending",
      initContainerStatuses: [
        of("first", terminated(0, "Completed"), { restartCount: 1 }),
        of("sidecar", running, { started: true, ready: true, restartCount: 2, lastState: terminated(1) }),
        of("last", waiting("PodInitializing")),
      ],
    },
  ],
  "init-done": [
    inits,
    {
      phase: "Running",
      conditions: [is("Initialized")],
      initContainerStatuses: [
        of("first", terminated(0, "Completed"), { restartCount: 1 }),
        of("sidecar", running, { started: true, ready: true, restartCount: 2, lastState: terminated(1) }),
        of("last", terminated(0, "Completed")),
      ],
      containerStatuses: [of("main", running, { ready: true }), of("side", waiting("ErrImagePull"))],
    },
  ],
  gated: [{ schedulingGates: [{ name: "x.y/z" }] }, {}],
};

const metrics = [
  { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 70 } } },
  { type: "Resource", resource: { name: "memory", target: { type: "AverageValue", averageValue: "500Mi" } } },
  { type: "Pods", pods: { metric: { name: "hits" }, target: { type: "AverageValue", averageValue: "10" } } },
];
const scaler = (name: string, some: unknown[], rest: Rest = {}) =>
  make("autoscaling/v2", "HorizontalPodAutoscaler", name, {
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "none" },
      maxReplicas: 5,
      metrics: some,
      ...rest,
    },
  });
const service = (name: string, spec: Rest) => make("v1", "Service", name, { spec });
const http = { name: "http", port: 80 };
const rule = (host?: string) => ({
  host,
  http: { paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "x", port: { number: 80 } } } }] },
});
const ingress = (name: string, hosts: (string | undefined)[], rest: Rest = {}) =>
  make("networking.k8s.io/v1", "Ingress", name, { spec: { rules: hosts.map(rule), ...rest } });
const webhook = (name: string) => ({
  name,
  clientConfig: { url: "https://127.0.0.1:1/" },
  sideEffects: "None",
  admissionReviewVersions: ["v1"],
  rules: [],
});
const subjects = [
  { apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "jane" },
  { apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "joe" },
  { apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "ops" },
  { kind: "ServiceAccount", name: "robot", namespace: "kinds" },
];
const binding = (kind: string) => ({
  subjects,
  roleRef: { apiGroup: "rbac.authorization.k8s.io", kind, name: "odd" },
});
const matchResources = {
  resourceRules: [{ apiGroups: ["x.y"], apiVersions: ["v1"], operations: ["*"], resources: ["z"] }],
};
const ADMISSION = "admissionregistration.k8s.io/v1";
const RESOURCE = "resource.k8s.io/v1";
const STORAGE = "storage.k8s.io/v1";
const RBAC = "rbac.authorization.k8s.io/v1";

/** Objects of the kinds that a cluster rarely has, and rare states of others; nothing acts on them. */
function oddObjects(request: string): KubernetesObject[] {
  return [
    whole("v1", "Namespace", NAMESPACE),
    ...Object.entries(PODS).map(([name, [spec]]) => make("v1", "Pod", name, { spec: podSpec(spec) })),
    make("v1", "PodTemplate", "odd", { template }),
    make("v1", "ReplicationController", "odd", { spec: { replicas: 0, selector: labels, template } }),
    make("apps/v1", "ReplicaSet", "odd", {
      spec: {
        replicas: 0,
        template,
        selector: {
          matchLabels: { tier: "back" },
          matchExpressions: [
            { key: "app", operator: "In", values: ["odd", "even"] },
            { key: "zone", operator: "DoesNotExist" },
          ],
        },
      },
    }),
    make("batch/v1", "Job", "many", {
      spec: { parallelism: 3, suspend: true, template: { spec: podSpec({ restartPolicy: "Never" }) } },
    }),
    make("batch/v1", "CronJob", "nightly", {
      spec: {
        schedule: "0 3 * * *",
        timeZone: "Europe/Paris",
        suspend: true,
        jobTemplate: { spec: { template: { spec: podSpec({ restartPolicy: "Never" }) } } },
      },
    }),
    scaler("one", metrics.slice(0, 1), { minReplicas: 2 }),
    scaler("three", metrics),
    scaler("none", []),
    make("policy/v1", "PodDisruptionBudget", "min", {
      spec: { minAvailable: "50%", selector: { matchLabels: labels } },
    }),
    make("policy/v1", "PodDisruptionBudget", "max", { spec: { maxUnavailable: 1, selector: { matchLabels: labels } } }),
    service("node-port", { type: "NodePort", ports: [http, { ...http, name: "dns", port: 53, protocol: "UDP" }] }),
    service("balanced", { type: "LoadBalancer", ports: [http], selector: labels }),
    service("pending", { type: "LoadBalancer", ports: [http] }),
    service("external", { type: "ExternalName", externalName: "example.com" }),
    service("headless", { clusterIP: "None", externalIPs: ["192.0.2.1", "192.0.2.2"] }),
    ingress("none", [undefined]),
    ingress("two", ["a.example.com", "b.example.com"], {
      tls: [{ hosts: ["a.example.com"] }],
      ingressClassName: "odd",
    }),
    ingress("four", ["a.example.com", "b.example.com", "c.example.com", "d.example.com"]),
    whole("networking.k8s.io/v1", "IngressClass", "odd", {
      spec: { controller: "example.com/odd", parameters: { apiGroup: "example.com", kind: "Odd", name: "x" } },
    }),
    make("networking.k8s.io/v1", "NetworkPolicy", "all", { spec: { podSelector: {} } }),
    make("networking.k8s.io/v1", "NetworkPolicy", "some", {
      spec: { podSelector: { matchExpressions: [{ key: "tier", operator: "NotIn", values: ["b", "a"] }] } },
    }),
    make("v1", "Endpoints", "many", {
      subsets: [
        { addresses: [{ ip: "10.9.0.1" }, { ip: "10.9.0.2" }], ports: [http, { ...http, name: "b", port: 81 }] },
        { addresses: [{ ip: "fd00::1" }], ports: [http] },
      ],
    }),
    make("v1", "Endpoints", "none"),
    make("discovery.k8s.io/v1", "EndpointSlice", "slice", {
      addressType: "IPv4",
      endpoints: [{ addresses: ["10.9.0.1"] }, { addresses: ["10.9.0.2"] }],
      ports: [1, 2, 3, 4].map((port) => ({ name: `p${port}`, port, protocol: "TCP" })),
    }),
    make("v1", "ConfigMap", "both", { data: { a: "1" }, binaryData: { b: "AA==" } }),
    make("v1", "Secret", "typed", { type: "example.com/odd", stringData: { a: "1", b: "2" } }),
    make("v1", "ResourceQuota", "odd", {
      spec: { hard: { pods: "100", "limits.cpu": "4", "requests.memory": "1Gi" } },
    }),
    make("v1", "LimitRange", "odd", { spec: { limits: [{ type: "Pod", max: { cpu: "4" } }] } }),
    make("v1", "PersistentVolumeClaim", "waits", {
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } }, storageClassName: "odd" },
    }),
    whole("v1", "PersistentVolume", "odd", {
      spec: {
        accessModes: ["ReadWriteMany", "ReadWriteOnce"],
        capacity: { storage: "2Gi" },
        persistentVolumeReclaimPolicy: "Retain",
        hostPath: { path: "/tmp/x" },
        claimRef: { namespace: NAMESPACE, name: "nobody" },
      },
    }),
    whole(STORAGE, "StorageClass", "odd", {
      provisioner: "example.com/none",
      allowVolumeExpansion: true,
      volumeBindingMode: "WaitForFirstConsumer",
    }),
    whole(
      STORAGE,
      "StorageClass",
      "usual",
      { provisioner: "example.com/none" },
      { annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
    ),
    whole(STORAGE, "VolumeAttributesClass", "odd", { driverName: "example.com", parameters: { a: "b" } }),
    whole(STORAGE, "CSIDriver", "example.com", {
      spec: { attachRequired: false, tokenRequests: [{ audience: "a" }, { audience: "b" }] },
    }),
    whole(STORAGE, "CSIDriver", "other.example.com"),
    whole(STORAGE, "VolumeAttachment", "odd", {
      spec: { attacher: "example.com", nodeName: "none", source: { persistentVolumeName: "odd" } },
    }),
    make(STORAGE, "CSIStorageCapacity", "odd", { storageClassName: "odd", capacity: "5Gi" }),
    make(RBAC, "Role", "odd", { rules: [] }),
    make(RBAC, "RoleBinding", "odd", binding("Role")),
    whole(RBAC, "ClusterRoleBinding", "odd", binding("ClusterRole")),
    make("coordination.k8s.io/v1", "Lease", "odd", { spec: { holderIdentity: "somebody" } }),
    whole("scheduling.k8s.io/v1", "PriorityClass", "odd", { value: 7, preemptionPolicy: "Never" }),
    whole("node.k8s.io/v1", "RuntimeClass", "odd", { handler: "runsc" }),
    whole(ADMISSION, "MutatingWebhookConfiguration", "odd", { webhooks: [webhook("a.b.c"), webhook("d.e.f")] }),
    whole(ADMISSION, "ValidatingWebhookConfiguration", "odd", { webhooks: [webhook("a.b.c")] }),
    whole(ADMISSION, "ValidatingAdmissionPolicy", "odd", {
      spec: {
        matchConstraints: matchResources,
        paramKind: { apiVersion: "v1", kind: "ConfigMap" },
        validations: [{ expression: "true" }],
      },
    }),
    whole(ADMISSION, "ValidatingAdmissionPolicyBinding", "odd", {
      spec: {
        policyName: "odd",
        paramRef: { name: "both", parameterNotFoundAction: "Deny" },
        validationActions: ["Deny"],
      },
    }),
    whole(ADMISSION, "MutatingAdmissionPolicy", "odd", {
      spec: {
        matchConstraints: matchResources,
        reinvocationPolicy: "Never",
        mutations: [{ patchType: "ApplyConfiguration", applyConfiguration: { expression: "Object{}" } }],
      },
    }),
    whole(ADMISSION, "MutatingAdmissionPolicyBinding", "odd", { spec: { policyName: "odd" } }),
    whole(STORAGE, "CSINode", "odd", { spec: { drivers: [{ name: "a.example.com", nodeID: "x" }] } }),
    whole(RESOURCE, "DeviceClass", "odd", { spec: {} }),
    make(RESOURCE, "ResourceClaim", "odd", { spec: { devices: {} } }),
    make(RESOURCE, "ResourceClaimTemplate", "odd", { spec: { spec: { devices: {} } } }),
    whole(RESOURCE, "ResourceSlice", "odd", {
      spec: { driver: "example.com", nodeName: "none", pool: { name: "pool", generation: 1, resourceSliceCount: 1 } },
    }),
    whole("certificates.k8s.io/v1", "CertificateSigningRequest", "odd", {
      spec: { signerName: "example.com/odd", request, usages: ["client auth"], expirationSeconds: 7200 },
    }),
    make("v1", "Event", "old", {
      involvedObject: { kind: "Pod", namespace: NAMESPACE, name: "crashing", fieldPath: "spec.containers{main}" },
      ...{ reason: "BackOff", message: "Back-off restarting", type: "Warning", count: 3 },
      source: { component: "kubelet", host: "node-1" },
      ...{ firstTimestamp: "2026-01-01T00:00:00Z", lastTimestamp: "2026-01-02T00:00:00Z" },
    }),
    whole("apiextensions.k8s.io/v1", "CustomResourceDefinition", "gadgets.example.com", {
      spec: {
        group: "example.com",
        scope: "Namespaced",
        names: { plural: "gadgets", singular: "gadget", kind: "Gadget", shortNames: ["gd"], categories: ["all"] },
        versions: [
          {
            ...{ name: "v1", served: true, storage: true },
            schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
            additionalPrinterColumns: [
              { name: "Size", type: "integer", jsonPath: ".spec.size" },
              { name: "Ratio", type: "number", jsonPath: ".spec.ratio" },
              { name: "On", type: "boolean", jsonPath: ".spec.on" },
              { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
              { name: "First", type: "string", jsonPath: ".spec.names[0]" },
              { name: "Names", type: "string", jsonPath: ".spec.names", priority: 1 },
              { name: "Note", type: "string", jsonPath: ".metadata.annotations.example\\.com/note" },
              { name: "Quoted", type: "string", jsonPath: ".metadata.annotations['example\\.com/note']" },
              { name: "Every", type: "string", jsonPath: ".spec.names[*]" },
              { name: "Since", type: "date", jsonPath: ".spec.since" },
              { name: "Missing", type: "string", jsonPath: ".spec.nothing.here" },
              { name: "Wrong", type: "integer", jsonPath: ".spec.note" },
            ],
          },
        ],
      },
    }),
  ];
}

/** What needs other objects to be there first. */
function lateObjects(): KubernetesObject[] {
  const spec = { size: 3, ratio: 0.5, on: true, names: ["a", "b"], since: "2026-01-01T00:00:00Z", note: "text" };
  return [
    make(
      "example.com/v1",
      "Gadget",
      "full",
      { spec, status: { conditions: [is("Ready", "Maybe")] } },
      {
        annotations: { "example.com/note": "noted" },
      },
    ),
    make("example.com/v1", "Gadget", "empty"),
  ];
}

/** A request for a certificate, as CertificateSigningRequests hold it. */
async function certificateRequest(): Promise<string> {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "/dev/null"];
  const { stdout } = await promisify(execFile)("openssl", ["req", "-new", ...key, "-subj", "/CN=odd"]);
  return Buffer.from(stdout).toString("base64");
}

/** Fills a cluster with objects of all kinds and in rare states, whose rows `kubectl get` has a rule for. */
export async function applyKinds(cluster: Cluster): Promise<void> {
  const apply = (objects: KubernetesObject[]) =>
    cluster.kubectl(["create", "--validate=false", "-f", "-"], {
      input: JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }),
    });
  await apply(oddObjects(await certificateRequest()));
  await cluster.kubectl(["wait", "--for=condition=Established", "--timeout=30s", "crd/gadgets.example.com"]);
  await apply(lateObjects());
  const patch = (path: string, status: Rest) => cluster.api.request("PATCH", `${path}/status`, { status });
  for (const [name, [, status]] of Object.entries(PODS))
    if (Object.keys(status).length) await patch(`/api/v1/namespaces/${NAMESPACE}/pods/${name}`, status);
  const loadBalancer = { ingress: [{ ip: "192.0.2.9" }, { hostname: "lb.example.com" }] };
  await patch(`/api/v1/namespaces/${NAMESPACE}/services/balanced`, { loadBalancer });
  await patch(`/apis/networking.k8s.io/v1/namespaces/${NAMESPACE}/ingresses/two`, { loadBalancer });
}
