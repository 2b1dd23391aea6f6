/** Resources that are restored together, after those of the rows above. */
export interface Wave {
  /** Group-resource strings; undefined stands for every resource that no row names. */
  resources?: string[];
  /** Why they come after the rows above and before those below. */
  why: string;
}

/**
 * The order of a restore. Built on Velero's restore priorities (velero pkg/cmd/server/config, velero-format: 5.3), with
 * what they leave to chance: custom resources before the Pods of the operators that act on them, what could refuse an
 * object (quotas, admission policies, webhooks) after all objects.
 */
export const WAVES: Wave[] = [
  {
    resources: ["customresourcedefinitions.apiextensions.k8s.io"],
    why: "custom resources can't be created before their type is served",
  },
  { resources: ["namespaces"], why: "everything namespaced lives in one" },
  {
    resources: [
      "storageclasses.storage.k8s.io",
      "csidrivers.storage.k8s.io",
      "volumeattributesclasses.storage.k8s.io",
      "volumesnapshotclasses.snapshot.storage.k8s.io",
    ],
    why: "volumes, claims and snapshots name their class",
  },
  {
    resources: ["priorityclasses.scheduling.k8s.io", "runtimeclasses.node.k8s.io", "ingressclasses.networking.k8s.io"],
    why: "admission refuses Pods whose class is missing; controllers ignore what names a missing class",
  },
  { resources: ["volumesnapshotcontents.snapshot.storage.k8s.io"], why: "they hold the snapshots' handles" },
  { resources: ["volumesnapshots.snapshot.storage.k8s.io"], why: "claims may name them as their source" },
  { resources: ["persistentvolumes"], why: "claims bind to them" },
  {
    resources: ["serviceaccounts"],
    why: "token Secrets and Pods are refused, or deleted, whose account is missing: those that fill claims first of all",
  },
  { resources: ["persistentvolumeclaims"], why: "Pods mount them" },
  {
    resources: ["clusterroles.rbac.authorization.k8s.io", "roles.rbac.authorization.k8s.io"],
    why: "a binding is refused whose role is missing",
  },
  {
    resources: ["clusterrolebindings.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io"],
    why: "Pods need their permissions from their first second",
  },
  { resources: ["secrets", "configmaps"], why: "Pods mount them and read them into their environment" },
  { resources: ["networkpolicies.networking.k8s.io"], why: "no Pod may run without the policies that guarded it" },
  {
    resources: ["endpoints", "endpointslices.discovery.k8s.io"],
    why: "hand-made ones must be there before their Service, so that no others are made",
  },
  { resources: ["services"], why: "Pods get the addresses of the Services that exist when they start" },
  { resources: ["clusterclasses.cluster.x-k8s.io"], why: "Cluster API's Clusters name their class" },
  {
    why: "everything else, custom resources above all: before the Pods of their operators, which would make the owned objects anew",
  },
  {
    resources: ["controllerrevisions.apps", "pods"],
    why: "before their controllers, which adopt what matches their selector and make only what is missing",
  },
  {
    resources: ["limitranges"],
    why: "Pods and claims come back as they were, not with defaults or limits set since; what controllers make anew gets them",
  },
  {
    resources: ["replicasets.apps", "replicationcontrollers"],
    why: "after their Pods, before the Deployments that adopt them",
  },
  { resources: ["deployments.apps", "statefulsets.apps", "daemonsets.apps"], why: "after all they adopt" },
  { resources: ["cronjobs.batch", "jobs.batch"], why: "they begin work at once, so what they use must be there" },
  {
    resources: ["horizontalpodautoscalers.autoscaling", "poddisruptionbudgets.policy"],
    why: "they act on workloads, and would act on half-restored ones",
  },
  { resources: ["resourcequotas"], why: "a quota refuses objects until its controller has counted them" },
  {
    resources: [
      "clusterbootstraps.run.tanzu.vmware.com",
      "clusters.cluster.x-k8s.io",
      "clusterresourcesets.addons.cluster.x-k8s.io",
      "apps.kappctrl.k14s.io",
      "packageinstalls.packaging.carvel.dev",
    ],
    why: "Velero's low priorities: they make whole clusters or applications out of the rest",
  },
  {
    resources: [
      "validatingadmissionpolicies.admissionregistration.k8s.io",
      "validatingadmissionpolicybindings.admissionregistration.k8s.io",
      "mutatingadmissionpolicies.admissionregistration.k8s.io",
      "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
      "mutatingwebhookconfigurations.admissionregistration.k8s.io",
      "validatingwebhookconfigurations.admissionregistration.k8s.io",
    ],
    why: "a webhook whose Pods aren't up yet refuses everything, and all of the backup was admitted once",
  },
  {
    resources: ["apiservices.apiregistration.k8s.io"],
    why: "an API whose server isn't up yet breaks discovery for everybody",
  },
];

/** Ranks between two waves: room for objects that follow their owner, before the next wave begins. */
const STEP = 1000;

const ROWS = new Map(WAVES.flatMap(({ resources = [] }, row) => resources.map((resource) => [resource, row] as const)));
const OTHERS = WAVES.findIndex(({ resources }) => !resources);

/** The rank of the wave that a resource (group-resource string) belongs to; lower ones are restored first. */
export function waveOf(resource: string): number {
  return (ROWS.get(resource) ?? OTHERS) * STEP;
}
