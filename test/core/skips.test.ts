import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parse } from "yaml";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { neverRestored, SKIPS, skipReason } from "../../core/skips.ts";

const facts = { nodes: new Set(["node-1"]), selectingServices: new Set(["shop/web"]) };

/** What becomes of an object, in YAML without apiVersion and kind: the reason it is left out, or "restored". */
function fate(resource: string, namespace: string, name: string, rest: string): string {
  const { metadata, ...fields } = (parse(rest) ?? {}) as Partial<KubernetesObject>;
  const object = {
    apiVersion: "v1",
    kind: "K",
    ...fields,
    metadata: { name, ...(namespace && { namespace }), ...metadata },
  };
  return skipReason(object.metadata, { resource, namespace, name }, facts, () => object) ?? "restored";
}

const owned = (kind: string) => `metadata: { ownerReferences: [{ kind: ${kind}, controller: true }] }`;
const onNode = (node: string) =>
  `{ ${owned("DaemonSet")}, spec: { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields: [{ key: metadata.name, operator: In, values: [${node}] }] }] } } } } }`;
const bootstrapping = (more = "") => `metadata: { labels: { kubernetes.io/bootstrapping: rbac-defaults }${more} }`;

describe("skips: what is never restored, and what looks like it", () => {
  const cases: [resource: string, namespace: string, name: string, rest: string, fate: RegExp][] = [
    ["nodes", "", "n", "", /own nodes/],
    ["events", "shop", "e", "", /source cluster/],
    ["backups.velero.io", "velero", "b", "", /Velero/],
    ["certificatesigningrequests.certificates.k8s.io", "", "c", "", /signers/],
    ["namespaces", "", "kube-system", "", /every cluster/],
    ["namespaces", "", "shop", "", /restored/],
    ["services", "default", "kubernetes", "", /publishes itself/],
    ["services", "shop", "kubernetes", "", /^restored/],
    ["endpointslices.discovery.k8s.io", "default", "kubernetes", "", /publishes itself/],
    ["configmaps", "shop", "kube-root-ca.crt", "", /certificate authority/],
    ["configmaps", "kube-system", "extension-apiserver-authentication", "", /own settings/],
    ["configmaps", "kube-system", "coredns", "", /^restored/],
    ["configmaps", "shop", "cluster-info", "", /^restored/],
    ["configmaps", "kube-public", "cluster-info", "", /own settings/],
    ["secrets", "kube-system", "bootstrap-token-abcdef", "type: bootstrap.kubernetes.io/token", /join/],
    ["clusterroles.rbac.authorization.k8s.io", "", "admin", bootstrapping(), /default roles/],
    [
      "clusterroles.rbac.authorization.k8s.io",
      "",
      "admin",
      bootstrapping(', annotations: { rbac.authorization.kubernetes.io/autoupdate: "false" }'),
      /^restored/,
    ],
    ["roles.rbac.authorization.k8s.io", "kube-system", "mine", "", /^restored/],
    [
      "flowschemas.flowcontrol.apiserver.k8s.io",
      "",
      "exempt",
      'metadata: { annotations: { apf.kubernetes.io/autoupdate-spec: "true" } }',
      /suggested/,
    ],
    [
      "flowschemas.flowcontrol.apiserver.k8s.io",
      "",
      "mine",
      'metadata: { annotations: { apf.kubernetes.io/autoupdate-spec: "false" } }',
      /^restored/,
    ],
    ["priorityclasses.scheduling.k8s.io", "", "system-node-critical", "", /every cluster/],
    ["priorityclasses.scheduling.k8s.io", "", "high", "", /^restored/],
    [
      "apiservices.apiregistration.k8s.io",
      "",
      "v1.apps",
      "metadata: { labels: { kube-aggregator.kubernetes.io/automanaged: onstart } }",
      /register/,
    ],
    ["apiservices.apiregistration.k8s.io", "", "v1beta1.metrics.k8s.io", "", /^restored/],
    ["leases.coordination.k8s.io", "kube-node-lease", "node-1", "", /heartbeat/],
    ["leases.coordination.k8s.io", "shop", "leader", "", /^restored/],
    [
      "ipaddresses.networking.k8s.io",
      "",
      "10.0.0.1",
      "metadata: { labels: { ipaddress.kubernetes.io/managed-by: ipallocator.k8s.io } }",
      /addresses/,
    ],
    ["servicecidrs.networking.k8s.io", "", "kubernetes", "", /range/],
    ["servicecidrs.networking.k8s.io", "", "more", "", /^restored/],
    [
      "endpointslices.discovery.k8s.io",
      "shop",
      "web-x",
      "metadata: { labels: { endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io } }",
      /made from/,
    ],
    [
      "endpointslices.discovery.k8s.io",
      "shop",
      "mine",
      "metadata: { labels: { endpointslice.kubernetes.io/managed-by: me } }",
      /^restored/,
    ],
    [
      "endpoints",
      "shop",
      "db",
      "metadata: { labels: { endpoints.kubernetes.io/managed-by: endpoint-controller } }",
      /made from/,
    ],
    ["endpoints", "shop", "web", "", /made from/],
    ["endpoints", "shop", "mine", "", /^restored/],
    [
      "secrets",
      "shop",
      "web-token-abcde",
      "{ type: kubernetes.io/service-account-token, metadata: { annotations: { kubernetes.io/service-account.name: web } } }",
      /made for a ServiceAccount/,
    ],
    [
      "secrets",
      "shop",
      "ci",
      "{ type: kubernetes.io/service-account-token, metadata: { annotations: { kubernetes.io/service-account.name: web } } }",
      /^restored/,
    ],
    ["secrets", "shop", "web-token-abcde", "type: Opaque", /^restored/],
    ["pods", "kube-system", "etcd-n", "metadata: { annotations: { kubernetes.io/config.mirror: x } }", /mirrors/],
    ["pods", "shop", "p", "status: { phase: Succeeded }", /finished/],
    ["pods", "shop", "p", "status: { phase: Failed }", /finished/],
    ["pods", "shop", "p", "status: { phase: Running }", /^restored/],
    ["pods", "shop", "p", owned("Job"), /Job makes/],
    ["pods", "shop", "p", owned("ReplicaSet"), /^restored/],
    ["pods", "shop", "p", onNode("node-1"), /^restored/],
    ["pods", "shop", "p", onNode("node-2"), /node isn't in this cluster/],
    ["jobs.batch", "shop", "j", "status: { completionTime: x }", /finished/],
    ["jobs.batch", "shop", "j", 'status: { conditions: [{ type: Failed, status: "True" }] }', /finished/],
    [
      "jobs.batch",
      "shop",
      "j",
      'status: { active: 1, conditions: [{ type: Suspended, status: "True" }] }',
      /^restored/,
    ],
    ["persistentvolumes", "", "v", "spec: { persistentVolumeReclaimPolicy: Delete }", /new, empty volume/],
    ["persistentvolumes", "", "v", "spec: { persistentVolumeReclaimPolicy: Retain }", /^restored/],
    [
      "resourceclaims.resource.k8s.io",
      "shop",
      "c",
      "metadata: { annotations: { resource.kubernetes.io/pod-claim-name: gpu } }",
      /for one Pod/,
    ],
    ["serviceaccounts", "shop", "default", "", /^restored/],
  ];
  for (const [resource, namespace, name, rest, expected] of cases) {
    it(`${resource} ${namespace && `${namespace}/`}${name} ${rest.slice(0, 60)}`, () =>
      assert.match(fate(resource, namespace, name, rest), expected));
  }

  it("gives every row a reason", () => assert.ok(SKIPS.every(({ why }) => why.length > 10)));

  it("knows the resources that aren't worth a list", () => {
    assert.deepEqual(["nodes", "events", "pods", "widgets.example.com"].map(neverRestored), [true, true, false, false]);
  });
});
