import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parseAllDocuments } from "yaml";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { openArchive } from "../../core/archive/reader.ts";
import { type Finding, looksInto, startLint } from "../../core/backup/lint.ts";
import { LINT_RULES, TARGETS } from "../../core/backup/lintrules.ts";
import { metadataOf } from "../../core/kube/json.ts";
import { backupKeys } from "../../core/layout.ts";
import { problemLine } from "../../core/report.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";
import { requireOrSkip, sharedDir } from "../rig/require.ts";

const GROUPS_OF_ODD_PLURALS: Record<string, string> = {
  Ingress: "ingresses.networking.k8s.io",
  IngressClass: "ingressclasses.networking.k8s.io",
  PriorityClass: "priorityclasses.scheduling.k8s.io",
  RuntimeClass: "runtimeclasses.node.k8s.io",
  StorageClass: "storageclasses.storage.k8s.io",
  NetworkPolicy: "networkpolicies.networking.k8s.io",
};

function resourceOf({ apiVersion, kind }: KubernetesObject): string {
  const group = apiVersion.includes("/") ? `.${apiVersion.split("/")[0]}` : "";
  return GROUPS_OF_ODD_PLURALS[kind] ?? `${kind.toLowerCase()}s${group}`;
}

/** What is found in a backup of these objects, which are told as a backup tells them: bodies that needn't be parsed aren't. */
function lint(objects: KubernetesObject[]): Finding[] {
  const looker = startLint();
  for (const object of objects) {
    const resource = resourceOf(object);
    const { name, namespace = "" } = object.metadata;
    const body = Buffer.from(JSON.stringify(object));
    const metadata = metadataOf(body) as KubernetesObject["metadata"];
    looker.add(
      { resource, namespace, name },
      looksInto(resource, body) ? object : { ...object, spec: undefined, metadata },
    );
  }
  return looker.findings();
}

const parse = (yaml: string) =>
  parseAllDocuments(yaml)
    .map((document) => document.toJS() as KubernetesObject)
    .filter(Boolean);
const lines = (findings: Finding[]) => findings.map((finding) => `${finding.rule} ${problemLine(finding)}`);
const deployment = (pod: string, more = "") =>
  `{ apiVersion: apps/v1, kind: Deployment, metadata: { name: web, namespace: shop${more} }, spec: { template: { spec: ${pod} } } }`;
const named = (kind: string, name: string, more = "") =>
  `{ apiVersion: v1, kind: ${kind}, metadata: { name: ${name}, namespace: shop }${more} }`;
const clusterScoped = (apiVersion: string, kind: string, name: string) =>
  `{ apiVersion: ${apiVersion}, kind: ${kind}, metadata: { name: ${name} } }`;
const claim = (more: string, annotations = "{}") =>
  `{ apiVersion: v1, kind: PersistentVolumeClaim, metadata: { name: data, namespace: shop, annotations: ${annotations} }, ${more} }`;
const ingress = (spec: string, annotations = "{}") =>
  `{ apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: { name: web, namespace: shop, annotations: ${annotations} }, spec: ${spec} }`;
const scaler = (kind: string) =>
  `{ apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: { name: web, namespace: shop }, spec: { scaleTargetRef: { kind: ${kind}, name: web } } }`;
const service = "clientConfig: { service: { namespace: hooks, name: hook } }";
const HOOK_SERVICE = "{ apiVersion: v1, kind: Service, metadata: { name: hook, namespace: hooks } }";
const crd = (name: string, conversion: string) =>
  `{ apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: { name: ${name} }, spec: { conversion: ${conversion} } }`;

const WEB = "deployments.apps shop/web";
const NO_START = "is not in the backup: its containers don't start without it";
const NO_POD = "is not in the backup: no Pod is created without it";
/** `objects` miss something; with `mended` added to them they don't. */
const missing: { objects: string; found: string | string[]; mended?: string | undefined }[] = [
  ...[
    "{ volumes: [{ secret: { secretName: a } }] }",
    "{ volumes: [{ projected: { sources: [{ secret: { name: a } }, { downwardAPI: {} }] } }] }",
    "{ volumes: [{ csi: { nodePublishSecretRef: { name: a } } }] }",
    "{ containers: [{ envFrom: [{ secretRef: { name: a } }] }] }",
    "{ containers: [{ env: [{ valueFrom: { secretKeyRef: { name: a, key: k } } }, { name: X, value: y }] }] }",
    "{ initContainers: [{ envFrom: [{ secretRef: { name: a } }, { secretRef: { name: a } }] }] }",
  ].map((pod) => ({
    objects: deployment(pod),
    found: `absent-secret ${WEB}: Secret a ${NO_START}`,
    mended: named("Secret", "a"),
  })),
  ...[
    "{ volumes: [{ configMap: { name: a } }] }",
    "{ volumes: [{ projected: { sources: [{ configMap: { name: a } }] } }] }",
    "{ containers: [{ envFrom: [{ configMapRef: { name: a } }] }] }",
    "{ containers: [{ env: [{ valueFrom: { configMapKeyRef: { name: a, key: k } } }] }] }",
  ].map((pod) => ({
    objects: deployment(pod),
    found: `absent-config-map ${WEB}: ConfigMap a ${NO_START}`,
    mended: named("ConfigMap", "a"),
  })),
  {
    objects: deployment("{ imagePullSecrets: [{ name: a }] }"),
    found: `absent-pull-secret ${WEB}: Secret a is not in the backup: images that need it can't be pulled`,
    mended: named("Secret", "a"),
  },
  {
    objects: deployment("{ serviceAccountName: a }"),
    found: `absent-service-account ${WEB}: ServiceAccount a ${NO_POD}`,
    mended: named("ServiceAccount", "a"),
  },
  {
    objects: deployment("{ volumes: [{ persistentVolumeClaim: { claimName: a } }] }"),
    found: `absent-claim ${WEB}: PersistentVolumeClaim a is not in the backup: its Pods wait for it`,
    mended: named("PersistentVolumeClaim", "a"),
  },
  {
    objects: deployment("{ priorityClassName: a }"),
    found: `absent-priority-class ${WEB}: PriorityClass a ${NO_POD}`,
    mended: clusterScoped("scheduling.k8s.io/v1", "PriorityClass", "a"),
  },
  {
    objects: deployment("{ runtimeClassName: a }"),
    found: `absent-runtime-class ${WEB}: RuntimeClass a ${NO_POD}`,
    mended: clusterScoped("node.k8s.io/v1", "RuntimeClass", "a"),
  },
  ...[
    "{ apiVersion: v1, kind: Pod, metadata: { name: web, namespace: shop }, spec: POD }",
    "{ apiVersion: v1, kind: PodTemplate, metadata: { name: web, namespace: shop }, template: { spec: POD } }",
    "{ apiVersion: batch/v1, kind: CronJob, metadata: { name: web, namespace: shop }, spec: { jobTemplate: { spec: { template: { spec: POD } } } } }",
    ...[
      "v1 ReplicationController",
      "apps/v1 ReplicaSet",
      "apps/v1 StatefulSet",
      "apps/v1 DaemonSet",
      "batch/v1 Job",
    ].map((type) => {
      const [apiVersion, kind] = type.split(" ");
      return `{ apiVersion: ${apiVersion}, kind: ${kind}, metadata: { name: web, namespace: shop }, spec: { template: { spec: POD } } }`;
    }),
  ].map((holder) => {
    const objects = holder.replace("POD", "{ serviceAccountName: a }");
    const resource = resourceOf(parse(objects)[0]!);
    return {
      objects,
      found: `absent-service-account ${resource} shop/web: ServiceAccount a ${NO_POD}`,
      mended: named("ServiceAccount", "a"),
    };
  }),
  {
    objects: claim("spec: { storageClassName: fast }, status: { phase: Pending }"),
    found:
      "absent-storage-class persistentvolumeclaims shop/data: StorageClass fast is not in the backup: no volume is made for it",
    mended: clusterScoped("storage.k8s.io/v1", "StorageClass", "fast"),
  },
  ...["volume.kubernetes.io", "volume.beta.kubernetes.io"].map((group) => ({
    objects: claim(
      "spec: { storageClassName: fast }, status: { phase: Bound }",
      `{ ${group}/storage-provisioner: ebs }`,
    ),
    found:
      "absent-storage-class persistentvolumeclaims shop/data: StorageClass fast is not in the backup: no volume is made for it",
  })),
  {
    objects: ingress("{ ingressClassName: nginx }"),
    found:
      "absent-ingress-class ingresses.networking.k8s.io shop/web: IngressClass nginx is not in the backup: no controller knows that it is to serve it",
    mended: clusterScoped("networking.k8s.io/v1", "IngressClass", "nginx"),
  },
  {
    objects: ingress("{ tls: [{ hosts: [a.example], secretName: a }, { hosts: [b.example] }] }"),
    found:
      "absent-tls-secret ingresses.networking.k8s.io shop/web: Secret a is not in the backup: its hosts have no certificate",
    mended: named("Secret", "a"),
  },
  ...["apps/v1 Deployment", "apps/v1 StatefulSet", "v1 ReplicationController"].map((type) => {
    const [apiVersion, kind = ""] = type.split(" ");
    return {
      objects: scaler(kind),
      found: `absent-scale-target horizontalpodautoscalers.autoscaling shop/web: ${kind} web is not in the backup: there is nothing for it to scale`,
      mended: `{ apiVersion: ${apiVersion}, kind: ${kind}, metadata: { name: web, namespace: shop } }`,
    };
  }),
  ...["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"].map((kind) => ({
    objects: `{ apiVersion: admissionregistration.k8s.io/v1, kind: ${kind}, metadata: { name: a }, webhooks: [{ ${service} }, { ${service} }, { clientConfig: { url: "https://a.example" } }] }`,
    found: `absent-webhook-backend ${kind.toLowerCase()}s.admissionregistration.k8s.io a: Service hooks/hook is not in the backup: what the webhook is to judge is refused, unless its failurePolicy is Ignore`,
    mended: HOOK_SERVICE,
  })),
  {
    objects: crd("widgets.example.com", `{ strategy: Webhook, webhook: { ${service} } }`),
    found:
      "absent-conversion-backend customresourcedefinitions.apiextensions.k8s.io widgets.example.com: Service hooks/hook is not in the backup: objects in other versions than the stored one can be neither read nor written",
    mended: HOOK_SERVICE,
  },
  {
    objects:
      "{ apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: { name: v1.a.example }, spec: { group: a.example, service: { namespace: hooks, name: hook } } }",
    found:
      "absent-api-backend apiservices.apiregistration.k8s.io v1.a.example: Service hooks/hook is not in the backup: the API that it announces is not served",
    mended: HOOK_SERVICE,
  },
  {
    objects: `${named("Widget", "a").replace("v1", "example.com/v1")}\n---\n${named("Widget", "b").replace("v1", "example.com/v1")}`,
    found:
      "absent-definition widgets.example.com: its definition is not in the backup: of 2 objects none is restored into a cluster without it",
    mended: crd("widgets.example.com", "{ strategy: None }"),
  },
];

const NEEDY = "{ serviceAccountName: a, volumes: [{ secret: { secretName: a } }] }";
const owned = (kind: string) => `, ownerReferences: [{ kind: ${kind}, name: o, controller: true }]`;
const pod = (more: string, status = "{}") =>
  `{ apiVersion: v1, kind: Pod, metadata: { name: a, namespace: shop${more} }, spec: ${NEEDY}, status: ${status} }`;

/** Nothing is wrong with these. */
const sound: [what: string, objects: string][] = [
  [
    "what may be absent",
    deployment(
      "{ volumes: [{ secret: { secretName: a, optional: true } }, { configMap: { name: a, optional: true } }, { projected: { sources: [{ secret: { name: a, optional: true } }] } }, { emptyDir: {} }], containers: [{ envFrom: [{ secretRef: { name: a, optional: true } }], env: [{ valueFrom: { configMapKeyRef: { name: a, key: k, optional: true } } }] }] }",
    ),
  ],
  [
    "what every cluster has",
    deployment(
      "{ serviceAccountName: default, priorityClassName: system-cluster-critical, volumes: [{ projected: { sources: [{ configMap: { name: kube-root-ca.crt } }] } }] }",
    ),
  ],
  ["a Pod that its ReplicaSet makes anew", pod(owned("ReplicaSet"))],
  ["a Pod that has finished", pod("", "{ phase: Succeeded }")],
  ["a Pod that mirrors a file", pod(", annotations: { kubernetes.io/config.mirror: x }")],
  [
    "a ReplicaSet of an older revision",
    `{ apiVersion: apps/v1, kind: ReplicaSet, metadata: { name: a, namespace: shop${owned("Rollout")} }, spec: { replicas: 0, template: { spec: ${NEEDY} } } }`,
  ],
  [
    "a Job that has finished",
    `{ apiVersion: batch/v1, kind: Job, metadata: { name: a, namespace: shop }, spec: { template: { spec: ${NEEDY} } }, status: { completionTime: x } }`,
  ],
  [
    "a revision of a StatefulSet",
    `{ apiVersion: apps/v1, kind: ControllerRevision, metadata: { name: a, namespace: shop }, data: { spec: { template: { spec: ${NEEDY} } } } }`,
  ],
  [
    "a claim without a class, and a Pod's claim that waits",
    claim("spec: { storageClassName: '' }, status: { phase: Pending }"),
  ],
  ["a target of another kind", scaler("Rollout")],
  [
    "a host that cert-manager sees to",
    ingress("{ tls: [{ secretName: a }] }", "{ cert-manager.io/cluster-issuer: ca }"),
  ],
  [
    "a webhook of the API server itself",
    `{ apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: { name: a }, webhooks: [{ clientConfig: { service: { namespace: default, name: kubernetes } } }] }`,
  ],
  [
    "Kubernetes' own kinds",
    "{ apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: { name: a, namespace: shop } }",
  ],
  [
    "kinds of an API that another server serves",
    `{ apiVersion: example.com/v1, kind: Widget, metadata: { name: a, namespace: shop } }\n---\n{ apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: { name: v1.example.com }, spec: { group: example.com, service: { namespace: hooks, name: hook } } }\n---\n${HOOK_SERVICE}`,
  ],
];

/** What a controller makes a Secret from, with its definition. */
const makers: [resource: string, object: string][] = [
  [
    "sealedsecrets.bitnami.com",
    "{ apiVersion: bitnami.com/v1alpha1, kind: SealedSecret, metadata: { name: a, namespace: shop } }",
  ],
  [
    "certificates.cert-manager.io",
    "{ apiVersion: cert-manager.io/v1, kind: Certificate, metadata: { name: x, namespace: shop }, spec: { secretName: a } }",
  ],
  [
    "externalsecrets.external-secrets.io",
    "{ apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: { name: a, namespace: shop } }",
  ],
  [
    "externalsecrets.external-secrets.io",
    "{ apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: { name: x, namespace: shop }, spec: { target: { name: a } } }",
  ],
];

describe("what a restore would miss", () => {
  for (const { objects, found, mended } of missing) {
    it(`of ${objects.replaceAll("\n---\n", " and ")}`, () => {
      assert.deepEqual(lines(lint(parse(objects))), [found].flat());
      if (mended) {
        assert.deepEqual(lines(lint(parse(`${objects}\n---\n${mended}`))), []);
        assert.deepEqual(lines(lint(parse(`${mended}\n---\n${objects}`))), []);
        const elsewhere = mended.replace(/namespace: \w+/, "namespace: other");
        if (elsewhere !== mended) assert.deepEqual(lines(lint(parse(`${elsewhere}\n---\n${objects}`))), [found].flat());
      }
    });
  }

  for (const [what, objects] of sound) {
    it(`is nothing of ${what}`, () => assert.deepEqual(lines(lint(parse(objects))), []));
  }

  for (const [definition, object] of makers) {
    it(`is no Secret that is made from ${object}`, () => {
      const objects = [
        object,
        crd(definition, "{ strategy: None }"),
        deployment("{ volumes: [{ secret: { secretName: a } }] }"),
      ];
      assert.deepEqual(lines(lint(parse(objects.join("\n---\n")))), []);
    });
  }

  it("is told by every rule, of targets that are remembered", () => {
    const told = new Set(missing.flatMap(({ found }) => [found].flat()).map((line) => line.split(" ")[0]));
    assert.deepEqual(
      LINT_RULES.filter(({ rule }) => !told.has(rule)),
      [],
    );
    for (const { target, names, when } of LINT_RULES) assert.ok(names ? TARGETS[target ?? ""] : when);
  });

  it("is nothing of the rig's shop", () => {
    const shop = join(import.meta.dirname, "../rig/shop");
    const objects = ["crds.yaml", "shop.yaml"].flatMap((file) => parse(readFileSync(join(shop, file), "utf8")));
    assert.deepEqual(lines(lint(objects)), []);
  });

  it("of a backup that Velero made is what is missing from it", {
    skip: requireOrSkip("shared"),
  }, async () => {
    const archive = await openArchive(directoryBucket(join(sharedDir, "fixtures/velero-1.18.3")), backupKeys("shop"));
    try {
      const looker = startLint();
      for await (const { entry, body } of archive.read(archive.entries()))
        looker.add(entry, JSON.parse(body.toString()) as KubernetesObject);
      assert.deepEqual(lines(looker.findings()), [
        "absent-api-backend apiservices.apiregistration.k8s.io v1beta1.metrics.k8s.io: Service monitoring/prometheus-adapter is not in the backup: the API that it announces is not served",
      ]);
    } finally {
      await archive.close();
    }
  });
});
