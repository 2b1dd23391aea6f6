import type { Discovery } from "../kube/discovery.ts";
import { someOf } from "../report.ts";

/**
 * Finalizers that Kubernetes' own components remove: the garbage collector's, and all of domains that are Kubernetes' own.
 * Those of cloud providers' controllers are among them (service.kubernetes.io/load-balancer-cleanup).
 */
const OWN = /^(orphan|foregroundDeletion|kubernetes)$|^([a-z0-9.-]+\.)?(kubernetes|k8s)\.io(\/|$)/;

/** Whether somebody outside Kubernetes must remove the finalizer before the object can be deleted. */
export function isForeign(finalizer: string): boolean {
  return !OWN.test(finalizer);
}

/**
 * Warnings of finalizers that nobody in the target will remove: the objects would be stuck when they are deleted. A
 * controller can't be seen from outside; what can is whether the target serves an API group of the finalizer's domain
 * ("finalizers.example.com/x", "x.finalizers.example.com": example.com). Where none is served there can't be a controller that
 * is of that domain. `held` has the names of the objects by finalizer; `restored` the groups that come with the restore.
 */
export function finalizerWarnings(
  held: Map<string, string[]>,
  { resources }: Discovery,
  restored: Iterable<string>,
): string[] {
  const groups = new Set([...resources.map(({ group }) => group), ...restored]);
  const known = (domain: string) => [...groups].some((group) => group !== "" && related(domain, group));
  return [...held].flatMap(([finalizer, names]) => {
    const domain = finalizer.split("/")[0]!;
    if (known(domain)) return [];
    const what = names.length === 1 ? "1 object holds" : `${names.length} objects hold`;
    return [
      `${what} the finalizer ${finalizer}, and the cluster serves no API of ${domain}: without its controller they can't be deleted later: ${someOf(names)}`,
    ];
  });
}

/** Controllers whose finalizers are of another domain than their APIs: the AWS Load Balancer Controller. */
const API_OF: Record<string, string> = { "ingress.k8s.aws": "elbv2.k8s.aws", "service.k8s.aws": "elbv2.k8s.aws" };

function related(domain: string, group: string): boolean {
  return domain === group || API_OF[domain] === group || domain.endsWith(`.${group}`) || group.endsWith(`.${domain}`);
}
