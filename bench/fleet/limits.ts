import { PRICES, type Target } from "../cost.ts";

/** A limit that a platform publishes, or, without a `source`, what is taken for lack of one. */
export interface Limit {
  what: string;
  value: number;
  unit: string;
  source?: string;
}

const LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html";
const LAMBDA_SCALING = "https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html";
const STATES = "https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html";
const AWS_SECRETS = "https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html";
const S3 = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html";
const RUN = "https://cloud.google.com/run/docs/configuring/max-instances-limits";
const RUN_QUOTAS = "https://cloud.google.com/run/quotas";
const WORKFLOWS = "https://cloud.google.com/workflows/quotas";
const SECRET_MANAGER = "https://cloud.google.com/secret-manager/quotas";
const STORAGE = "https://cloud.google.com/storage/docs/request-rate";
const FLEX = "https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan";
const QUEUES = "https://learn.microsoft.com/azure/storage/queues/scalability-targets";
const BLOBS = "https://learn.microsoft.com/azure/storage/common/scalability-targets-standard-account";
const VAULT = "https://learn.microsoft.com/azure/key-vault/general/service-limits";
const RESOURCE_MANAGER =
  "https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling";

/**
 * The platforms' limits, as noted in November 2026. Quotas are those of an account that has asked for nothing more.
 * `duration`: of one invocation, as the modules set it. `parts`: what an engine runs of one job at a time. `payload`: what may be
 * handed over at once. `cloud`: asking for a managed cluster's endpoint; `secrets`: reading secrets; `writes`: to one bucket.
 */
export const LIMITS = {
  aws: {
    duration: { what: "duration of an invocation", value: 900, unit: "s", source: LAMBDA },
    instances: { what: "concurrent executions of an account", value: 1000, unit: "", source: LAMBDA },
    scaling: { what: "new instances of a function", value: 100, unit: "/s", source: LAMBDA_SCALING },
    parts: { what: "parts of one Distributed Map at a time", value: 10_000, unit: "", source: STATES },
    payload: { what: "input or output of a state", value: 262_144, unit: "B", source: STATES },
    history: { what: "events of one execution", value: 25_000, unit: "", source: STATES },
    transitions: {
      what: "state transitions, outside the three largest regions",
      value: 800,
      unit: "/s",
      source: STATES,
    },
    begins: { what: "StartExecution, likewise", value: 150, unit: "/s", source: STATES },
    cloud: { what: "DescribeCluster of EKS", value: 10, unit: "/s" },
    secrets: { what: "GetSecretValue", value: 10_000, unit: "/s", source: AWS_SECRETS },
    writes: { what: "PUTs to one prefix", value: 3500, unit: "/s", source: S3 },
  },
  gcp: {
    duration: { what: "duration of an invocation", value: 1800, unit: "s", source: RUN_QUOTAS },
    instances: { what: "vCPUs of a project in a region", value: 1000, unit: "", source: RUN },
    scaling: { what: "new instances of a function", value: 100, unit: "/s" },
    parts: { what: "parallel iterations of one execution", value: 20, unit: "", source: WORKFLOWS },
    payload: { what: "variables of one execution", value: 524_288, unit: "B", source: WORKFLOWS },
    history: { what: "steps of one execution", value: 100_000, unit: "", source: WORKFLOWS },
    transitions: { what: "steps", value: 10_000, unit: "/s" },
    begins: { what: "executions begun", value: 100, unit: "/s", source: WORKFLOWS },
    cloud: { what: "GetCluster of GKE", value: 50, unit: "/s" },
    secrets: { what: "accesses of secrets", value: 1500, unit: "/s", source: SECRET_MANAGER },
    writes: { what: "writes to one bucket, at first", value: 1000, unit: "/s", source: STORAGE },
  },
  azure: {
    duration: { what: "duration of an invocation", value: 7200, unit: "s", source: FLEX },
    instances: { what: "memory of all instances of a region", value: 512_000, unit: "MB", source: FLEX },
    scaling: { what: "new instances of a function", value: 10, unit: "/s" },
    parts: { what: "instances of one app", value: 1000, unit: "", source: FLEX },
    payload: { what: "a message of a queue", value: 65_536, unit: "B", source: QUEUES },
    history: { what: "deliveries of one message", value: 3, unit: "" },
    transitions: { what: "messages of one queue", value: 2000, unit: "/s", source: QUEUES },
    begins: { what: "messages of one queue", value: 2000, unit: "/s", source: QUEUES },
    cloud: { what: "listClusterUserCredential of AKS", value: 10, unit: "/s", source: RESOURCE_MANAGER },
    secrets: { what: "reads of one vault", value: 400, unit: "/s", source: VAULT },
    writes: { what: "requests to one account", value: 20_000, unit: "/s", source: BLOBS },
  },
} as const satisfies Record<Target, Record<string, Limit>>;

/** For how long an API server has a revision at least: etcd is compacted so often. */
export const REVISION: Limit = {
  what: "age of a revision that an API server still has",
  value: 300,
  unit: "s",
  source: "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/",
};

/** How many calls of `cloud` may come at once before its rate counts. */
export const CLOUD_BURST: Record<Target, number> = { aws: 100, gcp: 500, azure: 200 };

/** Sizes of functions: MB of memory, and the vCPUs that come with it. */
export const SIZES: Record<Target, [memoryMB: number, cpus: number][]> = {
  aws: [512, 1024, 1769, 3538, 7076].map((memoryMB) => [memoryMB, memoryMB / 1769]),
  gcp: [
    [512, 0.333],
    [1024, 0.583],
    [2048, 1],
    [4096, 2],
  ],
  azure: [
    [512, 0.25],
    [2048, 1],
    [4096, 2],
  ],
};

/** What the clouds add to a cold start before the function's own code begins, in seconds: taken for lack of a measurement. */
export const PROVISIONING: Record<Target, number> = { aws: 0.4, gcp: 1.5, azure: 3 };

/** How many instances there may be at once of a function of that size. */
export function instancesOf(target: Target, memoryMB: number): number {
  const { value } = LIMITS[target].instances;
  if (target === "azure") return Math.min(LIMITS.azure.parts.value, Math.floor(value / memoryMB));
  return target === "gcp" ? Math.floor(value / cpusOf(target, memoryMB)) : value;
}

export function cpusOf(target: Target, memoryMB: number): number {
  if (target === "aws") return memoryMB / 1769;
  const size = SIZES[target].find(([memory]) => memory === memoryMB);
  if (!size) throw new Error(`${target} has no function of ${memoryMB} MB here`);
  return size[1];
}

/** One line of what the engines cost, in US dollars for one of `unit`. */
export const ENGINE_PRICES: Record<Target, { unit: string; price: number; source: string }> = {
  aws: { unit: "state transition", price: 0.000025, source: "https://aws.amazon.com/step-functions/pricing/" },
  gcp: { unit: "step of a workflow", price: 0.00001, source: "https://cloud.google.com/workflows/pricing" },
  azure: {
    unit: "operation of a queue",
    price: 0.00000004,
    source: "https://azure.microsoft.com/pricing/details/storage/queues/",
  },
};

/** A second of a function of that size, in US dollars. */
export function secondPrice(target: Target, memoryMB: number): number {
  if (target === "gcp") return cpusOf(target, memoryMB) * 0.000024 + (memoryMB / 1024) * 0.0000025;
  return (memoryMB / 1024) * PRICES[target].compute.price;
}
