import type { KubernetesObject } from "../archive/item.ts";
import { at, entriesOf, type Fields, fieldsAt } from "../objects/fields.ts";
import { POD_SPECS } from "../objects/places.ts";
import { API_SERVICES, CLAIMS, DEFINITIONS } from "../objects/resources.ts";

/** What a restore of an object into an empty cluster would miss: another object that it names, or something of its own. */
export interface LintRule {
  rule: string;
  /** Group-resource strings of what it is about. */
  resources: string[];
  /** Objects without these bytes needn't be parsed for it. */
  marker?: string;
  /** A resource of `TARGETS`. */
  target?: string;
  /** Those of `target` that the object names: names, of its own namespace, or `{namespace, name}`. What is neither says nothing. */
  names?: (object: KubernetesObject, resource: string) => unknown[];
  /** In place of the two: whether the object itself comes back otherwise than it was. */
  when?: (object: KubernetesObject) => boolean;
  /** What comes of it, for people. */
  told: string;
}

/** What rules look for. Of these resources a backup's names are remembered. */
export const TARGETS: Record<string, { kind: string; namespaced: boolean }> = {
  secrets: { kind: "Secret", namespaced: true },
  configmaps: { kind: "ConfigMap", namespaced: true },
  serviceaccounts: { kind: "ServiceAccount", namespaced: true },
  services: { kind: "Service", namespaced: true },
  replicationcontrollers: { kind: "ReplicationController", namespaced: true },
  [CLAIMS]: { kind: "PersistentVolumeClaim", namespaced: true },
  "deployments.apps": { kind: "Deployment", namespaced: true },
  "statefulsets.apps": { kind: "StatefulSet", namespaced: true },
  "storageclasses.storage.k8s.io": { kind: "StorageClass", namespaced: false },
  "ingressclasses.networking.k8s.io": { kind: "IngressClass", namespaced: false },
  "priorityclasses.scheduling.k8s.io": { kind: "PriorityClass", namespaced: false },
  "runtimeclasses.node.k8s.io": { kind: "RuntimeClass", namespaced: false },
  [DEFINITIONS]: { kind: "CustomResourceDefinition", namespaced: false },
};

/** Whose Pods are looked at: of those that a controller makes, the controller's (lint.ts). Revisions are its past. */
const WITH_PODS = Object.keys(POD_SPECS).filter((resource) => resource !== "controllerrevisions.apps");
const INGRESSES = "ingresses.networking.k8s.io";

export const LINT_RULES: LintRule[] = [
  ofPods("absent-secret", "secrets", "its containers don't start without it", (pod) => [
    ...ofVolumes(pod, "secret", "secretName"),
    ...ofEnvironment(pod, "secretKeyRef", "secretRef"),
    ...entriesOf(pod, "volumes").map((volume) => at(volume, "csi", "nodePublishSecretRef", "name")),
  ]),
  ofPods("absent-config-map", "configmaps", "its containers don't start without it", (pod) => [
    ...ofVolumes(pod, "configMap", "name"),
    ...ofEnvironment(pod, "configMapKeyRef", "configMapRef"),
  ]),
  ofPods("absent-pull-secret", "secrets", "images that need it can't be pulled", (pod) =>
    entriesOf(pod, "imagePullSecrets").map(({ name }) => name),
  ),
  ofPods("absent-service-account", "serviceaccounts", "no Pod is created without it", (pod) => [
    pod.serviceAccountName,
  ]),
  ofPods("absent-claim", CLAIMS, "its Pods wait for it", (pod) =>
    entriesOf(pod, "volumes").map((volume) => at(volume, "persistentVolumeClaim", "claimName")),
  ),
  ofPods("absent-priority-class", "priorityclasses.scheduling.k8s.io", "no Pod is created without it", (pod) => [
    pod.priorityClassName,
  ]),
  ofPods("absent-runtime-class", "runtimeclasses.node.k8s.io", "no Pod is created without it", (pod) => [
    pod.runtimeClassName,
  ]),
  {
    rule: "absent-storage-class",
    resources: [CLAIMS],
    target: "storageclasses.storage.k8s.io",
    names: (claim) => (isBound(claim) && !isProvisioned(claim) ? [] : [at(claim, "spec", "storageClassName")]),
    told: "no volume is made for it",
  },
  {
    rule: "absent-ingress-class",
    resources: [INGRESSES],
    target: "ingressclasses.networking.k8s.io",
    names: (ingress) => [at(ingress, "spec", "ingressClassName")],
    told: "no controller knows that it is to serve it",
  },
  {
    rule: "absent-tls-secret",
    resources: [INGRESSES],
    target: "secrets",
    names: (ingress) =>
      getsCertificate(ingress) ? [] : entriesOf(ingress, "spec", "tls").map(({ secretName }) => secretName),
    told: "its hosts have no certificate",
  },
  ...["deployments.apps", "statefulsets.apps", "replicationcontrollers"].map(
    (target): LintRule => ({
      rule: "absent-scale-target",
      resources: ["horizontalpodautoscalers.autoscaling"],
      target,
      names(autoscaler) {
        const scaled = fieldsAt(autoscaler, "spec", "scaleTargetRef");
        return scaled?.kind === TARGETS[target]?.kind ? [scaled?.name] : [];
      },
      told: "there is nothing for it to scale",
    }),
  ),
  {
    rule: "absent-webhook-backend",
    resources: ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"].map(
      (name) => `${name}.admissionregistration.k8s.io`,
    ),
    target: "services",
    names: (configuration) =>
      entriesOf(configuration, "webhooks").map((webhook) => at(webhook, "clientConfig", "service")),
    told: "what the webhook is to judge is refused, unless its failurePolicy is Ignore",
  },
  {
    rule: "absent-conversion-backend",
    resources: [DEFINITIONS],
    marker: '"strategy":"Webhook"',
    target: "services",
    names: (definition) => [at(definition, "spec", "conversion", "webhook", "clientConfig", "service")],
    told: "objects in other versions than the stored one can be neither read nor written",
  },
  {
    rule: "absent-api-backend",
    resources: [API_SERVICES],
    target: "services",
    names: (service) => [at(service, "spec", "service")],
    told: "the API that it announces is not served",
  },
];

/**
 * The Secrets that a controller makes anew from an object of these resources, by its metadata and all of it: whether the backup
 * holds them too says nothing.
 */
export const SECRET_MAKERS: Record<string, (object: KubernetesObject) => unknown[]> = {
  "sealedsecrets.bitnami.com": ({ metadata }) => [metadata.name],
  "certificates.cert-manager.io": (object) => [at(object, "spec", "secretName")],
  "externalsecrets.external-secrets.io": (object) => [at(object, "spec", "target", "name") ?? object.metadata.name],
  "secretproviderclasses.secrets-store.csi.x-k8s.io": (object) =>
    entriesOf(object, "spec", "secretObjects").map(({ secretName }) => secretName),
};

/** A rule on what the specs of Pods name, wherever they stand. */
function ofPods(rule: string, target: string, told: string, names: (pod: Fields) => unknown[]): LintRule {
  return {
    rule,
    resources: WITH_PODS,
    target,
    names: (object, resource) => names(fieldsAt(object, ...POD_SPECS[resource]!.split(".")) ?? {}),
    told,
  };
}

/** What volumes are filled from. */
function ofVolumes(pod: Fields, kind: "secret" | "configMap", field: string): unknown[] {
  const volumes = entriesOf(pod, "volumes");
  const projected = volumes.flatMap((volume) => entriesOf(volume, "projected", "sources"));
  return [
    ...volumes.map((volume) => named(fieldsAt(volume, kind), field)),
    ...projected.map((source) => named(fieldsAt(source, kind), "name")),
  ];
}

/** What environment variables are taken from, one by one or as a whole. */
function ofEnvironment(pod: Fields, one: string, whole: string): unknown[] {
  return [...entriesOf(pod, "initContainers"), ...entriesOf(pod, "containers")].flatMap((container) => [
    ...entriesOf(container, "env").map((variable) => named(fieldsAt(variable, "valueFrom", one), "name")),
    ...entriesOf(container, "envFrom").map((source) => named(fieldsAt(source, whole), "name")),
  ]);
}

function named(source: Fields | undefined, field: string): unknown {
  return source?.optional === true ? undefined : source?.[field];
}

function isBound(claim: KubernetesObject): boolean {
  return at(claim, "status", "phase") === "Bound";
}

/** Whether a volume was made for the claim: where one was found for it, its class may be a mere word on both. */
function isProvisioned({ metadata: { annotations = {} } }: KubernetesObject): boolean {
  return ["volume.kubernetes.io", "volume.beta.kubernetes.io"].some(
    (group) => annotations[`${group}/storage-provisioner`],
  );
}

/** Whether cert-manager makes the Ingress's Secrets. */
function getsCertificate({ metadata: { annotations = {} } }: KubernetesObject): boolean {
  return ["cert-manager.io/issuer", "cert-manager.io/cluster-issuer", "kubernetes.io/tls-acme"].some(
    (key) => annotations[key],
  );
}
