import { randomUUID } from "node:crypto";
import type { KubernetesObject } from "../../archive/item.ts";
import { EXCLUDE_LABEL, MANAGED } from "../../labels.ts";
import { DATA } from "./commands.ts";
import type { ResticSecrets } from "./credentials.ts";
import type { Repository } from "./repository.ts";

/** A name for a Job that no other has, of which its Pod's is made, and those of Events about both. */
export function newJobName(): string {
  return `lifeboat-${randomUUID()}`;
}

/** Whether an Event of this name tells of a Job of ours, or of its Pod: an Event has no labels that would. */
export function isJobsEvent(name: string): boolean {
  return /^lifeboat-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}[-.]/.test(name);
}

/** The container that restic runs in; those before it, which prepare the repository, are numbered. */
export const CONTAINER = "restic";

/** What a Job of restic is to do, and where. */
export interface ResticJob {
  /** Of the Job and its Secret. */
  name: string;
  namespace: string;
  /** Beside those of every Job. */
  labels: Record<string, string>;
  image: string;
  serviceAccount?: string;
  repository: Repository;
  secrets: ResticSecrets;
  /** restic's commands, one after the other: what the last one says is the result. */
  commands: string[][];
  /** The claim that is mounted, and why; none for work on the repository alone. */
  claim?: { name: string; use: ClaimUse };
  /** The one node that can mount the claim. */
  node?: string;
  /** Where its Pod may or had better run, as in its spec: where the Pods that will use the claim may, say. */
  placement?: Placement;
  /** Seconds after which the cluster itself ends the Job. */
  deadline: number;
}

/** Fields of a Pod's spec that say where it may run. */
export interface Placement {
  nodeSelector?: Record<string, string>;
  affinity?: unknown;
  tolerations?: unknown[];
}

export type ClaimUse = "read" | "write";

/** Seconds that a Job which has ended is kept by the cluster, should nobody be left to delete it. */
const KEPT = 300;
const SCRATCH = "/scratch";
const GOOGLE_KEY = "google-key.json";
const SECRETS = "/secrets";

/** What root may do in the container, with a reason; none of it is more than Kubernetes' baseline for Pods allows. */
const CAPABILITIES: Record<ClaimUse, string[]> = {
  /** To read what others may not; the volume is mounted read-only, so there is nothing to write. */
  read: ["DAC_OVERRIDE"],
  /** To write anywhere, give files their owner, mode with its setuid and setgid bits, times, devices and capabilities. */
  write: ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP"],
};

/**
 * The Job. It has one Pod that is never made again: what went wrong is told at once, and who began the work decides what comes of
 * it. Nothing secret stands in it. It ends and goes by itself should nobody be left to see to it.
 */
export function jobObject(job: ResticJob): KubernetesObject {
  const { name, namespace, deadline } = job;
  const labels = labelsOf(job);
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, namespace, labels },
    spec: {
      backoffLimit: 0,
      activeDeadlineSeconds: deadline,
      ttlSecondsAfterFinished: KEPT,
      template: {
        // Proxies that meshes put beside every container would begin too late and never end.
        metadata: {
          labels: { ...labels, "sidecar.istio.io/inject": "false" },
          annotations: { "linkerd.io/inject": "disabled" },
        },
        spec: podSpec(job),
      },
    },
  };
}

/** The Job's Secret, which the cluster takes away with the Job, of this `uid`. */
export function secretObject(job: ResticJob, uid: string): KubernetesObject {
  const { name, namespace, secrets } = job;
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const values = { ...secrets.variables, ...(secrets.googleKey && { [GOOGLE_KEY]: secrets.googleKey }) };
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: {
      name,
      namespace,
      labels: labelsOf(job),
      ownerReferences: [{ apiVersion: "batch/v1", kind: "Job", name, uid }],
    },
    type: "Opaque",
    data: Object.fromEntries(Object.entries(values).map(([key, value]) => [key, base64(value)])),
  };
}

function labelsOf({ labels, serviceAccount, repository }: ResticJob): Record<string, string> {
  const azureIdentity = serviceAccount !== undefined && repository.url.startsWith("azure:");
  return {
    ...labels,
    [EXCLUDE_LABEL]: "true",
    ...MANAGED,
    ...(azureIdentity && { "azure.workload.identity/use": "true" }),
  };
}

function podSpec(job: ResticJob): object {
  const { name, commands, claim, serviceAccount, secrets } = job;
  const containers = commands.map((command, index) => {
    const last = index === commands.length - 1;
    return container(job, command, last ? CONTAINER : `${CONTAINER}-${index + 1}`);
  });
  return {
    restartPolicy: "Never",
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    ...(serviceAccount && { serviceAccountName: serviceAccount }),
    ...placementOf(job),
    securityContext: { seccompProfile: { type: "RuntimeDefault" } },
    ...(containers.length > 1 && { initContainers: containers.slice(0, -1) }),
    containers: containers.slice(-1),
    volumes: [
      { name: "scratch", emptyDir: {} },
      ...(claim ? [{ name: "data", persistentVolumeClaim: { claimName: claim.name } }] : []),
      ...(secrets.googleKey
        ? [
            {
              name: "secrets",
              secret: { secretName: name, defaultMode: 0o444, items: [{ key: GOOGLE_KEY, path: GOOGLE_KEY }] },
            },
          ]
        : []),
    ],
  };
}

function container(job: ResticJob, command: string[], name: string): object {
  const { image, repository, secrets, claim } = job;
  const plain = {
    RESTIC_REPOSITORY: repository.url,
    RESTIC_CACHE_DIR: `${SCRATCH}/cache`,
    // A line of progress in two seconds, not sixty in one.
    RESTIC_PROGRESS_FPS: "0.5",
    TMPDIR: SCRATCH,
    HOME: SCRATCH,
    ...repository.env,
    ...(secrets.googleKey && { GOOGLE_APPLICATION_CREDENTIALS: `${SECRETS}/${GOOGLE_KEY}` }),
  };
  return {
    name,
    image,
    args: [...repository.flags, ...command],
    env: [
      ...Object.entries(plain).map(([name, value]) => ({ name, value })),
      ...Object.keys(secrets.variables).map((key) => ({
        name: key,
        valueFrom: { secretKeyRef: { name: job.name, key } },
      })),
    ],
    // What restic said last then stands in the Pod's status, where its node need not be asked.
    terminationMessagePolicy: "FallbackToLogsOnError",
    resources: { requests: { cpu: "100m", memory: "256Mi" } },
    securityContext: {
      ...(claim ? { runAsUser: 0, runAsGroup: 0 } : { runAsUser: 65532, runAsGroup: 65532, runAsNonRoot: true }),
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"], ...(claim && { add: CAPABILITIES[claim.use] }) },
    },
    volumeMounts: [
      { name: "scratch", mountPath: SCRATCH },
      ...(claim ? [{ name: "data", mountPath: DATA, readOnly: claim.use === "read" }] : []),
      ...(secrets.googleKey ? [{ name: "secrets", mountPath: SECRETS, readOnly: true }] : []),
    ],
  };
}

/** A volume that a Pod has mounted is to be had on that Pod's node alone, whatever that is tainted with. The image is one of Linux. */
function placementOf({ node, placement }: ResticJob): Placement {
  const linux = { "kubernetes.io/os": "linux" };
  if (node === undefined) return { ...placement, nodeSelector: { ...linux, ...placement?.nodeSelector } };
  const here = [{ key: "metadata.name", operator: "In", values: [node] }];
  return {
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields: here }] },
      },
    },
    tolerations: [{ operator: "Exists" }],
  };
}
