import { pause } from "../../abort.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import type { Kube } from "../../kube/client.ts";
import { deleteObject, getObject, type Kind, listObjects } from "../../kube/object.ts";
import { resourcePath } from "../../kube/resource.ts";
import type { ResticTiming } from "./settings.ts";

export const JOBS: Kind = { group: "batch", version: "v1", name: "jobs", kind: "Job" };
export const SECRETS: Kind = { group: "", version: "v1", name: "secrets", kind: "Secret" };
export const PODS: Kind = { group: "", version: "v1", name: "pods", kind: "Pod" };

/** After a Pod was taken away by force, the Job is gone in some seconds. */
const FORCED_MS = 30_000;

/** The Pods of a Job. */
export function podsOf(
  kube: Kube,
  { namespace, name }: { namespace: string; name: string },
  signal: AbortSignal,
): AsyncGenerator<KubernetesObject> {
  return listObjects(kube, PODS, { namespace, labelSelector: `batch.kubernetes.io/job-name=${name}`, signal });
}

/**
 * Deletes a Job with its Pod and its Secret, and waits until they are gone: a Pod that does not end in time, or with `force` at once,
 * is taken away without asking its node. No signal ends it. Never throws: gives what is left, in words; the cluster itself
 * deletes that some time later, where it can.
 */
export async function removeJob(
  kube: Kube,
  job: { namespace: string; name: string },
  { timing, force = false }: { timing: Pick<ResticTiming, "end" | "poll">; force?: boolean },
): Promise<string[]> {
  const signal = AbortSignal.timeout(timing.end + FORCED_MS);
  const { namespace, name } = job;
  const left = new Set([`Secret ${namespace}/${name}`, `Job ${namespace}/${name} with its Pod`]);
  const [secret = "", whole = ""] = left;
  try {
    // First, so that a Pod which has not begun yet never does.
    await deleteObject(kube, SECRETS, job, signal);
    left.delete(secret);
    // In the foreground: the Job is gone once its Pod is.
    await deleteObject(kube, JOBS, job, signal, "Foreground");
    const patience = performance.now() + (force ? 0 : timing.end);
    for (let forced = false; await getObject(kube, JOBS, job, signal); await pause(timing.poll, signal)) {
      if (forced || performance.now() < patience) continue;
      for await (const pod of podsOf(kube, job, signal)) await takeAway(kube, pod, signal);
      forced = true;
    }
    left.delete(whole);
  } catch {
    // What has not been seen to be gone is left.
  }
  return [...left];
}

/** Deletes a Pod whose node may never tell that it has ended. */
async function takeAway(kube: Kube, { metadata }: KubernetesObject, signal: AbortSignal): Promise<void> {
  const path = resourcePath(PODS, metadata.namespace, metadata.name);
  await kube.request({ method: "DELETE", path, body: JSON.stringify({ gracePeriodSeconds: 0 }), signal });
}
